"""The trained network as data: what ``train`` writes and ``export`` reads.

A checkpoint is one safetensors file. No code runs on load, and torch is not needed. Its metadata holds five strings:

=====================  =============================================================================================
``sterna_checkpoint``  version of the format, "2"
``architecture``       what the network is, JSON
``provenance``         how it was made, JSON
``content_sha256``     SHA-256 over architecture and tensors: :meth:`Checkpoint.digest`
``provenance_sha256``  SHA-256 over the provenance in canonical form (:func:`arch.strict_json.canonical`)
=====================  =============================================================================================

A file of version 1 has no hashes, and BatchNorm in every layer; it is read, and :attr:`Checkpoint.protected` is false.

The architecture is that of :mod:`arch.architecture`. A pixel ``p`` is seen as ``x = scale (p - zero_point)``. A layer
NAME with weights has the tensors

====================  =========  ==========================================================================
NAME.weight           float32    latent weights, ``[out, in, kernel, kernel]`` or ``[out, in]``
NAME.ternary          int8       frozen codes -1, 0, +1 that the exact forward used, same shape
NAME.alpha            float32    scale of the codes, ``[out]``; the readout's is a scalar, ``[]``
NAME.bias             float32    bias of the convolution, ``[out]``, optional; without it 0
NAME.gamma, .beta     float32    BatchNorm's scale and shift, ``[out]``, optional; without them 1 and 0
NAME.mean, .variance  float32    BatchNorm's statistics, the same for all timesteps, ``[out]``
NAME.theta            float32    threshold, ``[out]`` or ``[]``, positive
NAME.initial          float32    membrane before the first timestep, ``[]``
====================  =========  ==========================================================================

A convolution with a projection whose weights are trained has two more:

========================  =======  =======================================================
NAME.projection_weight    float32  latent weights of the projection, ``[out, channels, 1, 1]``
NAME.projection_ternary   int8     their frozen codes -1, 0, +1, same shape
========================  =======  =======================================================

They are weights of the same filters: alpha, BatchNorm and threshold of a channel are those of both. An identity has no
tensors; its codes are the unit matrix.

and its neurons compute, with ``a`` the integer sum of ``ternary`` over the spikes (or over ``p - zero_point``),
``u += g a + d`` where ``g = scale alpha gamma / sqrt(variance + epsilon)`` (``scale`` in the first layer only) and
``d = beta + gamma (bias - mean) / sqrt(variance + epsilon)``; they spike where ``u >= theta``. A layer whose
``epsilon`` is null has no BatchNorm, and none of its four tensors: ``g = scale alpha`` and ``d = bias``. A readout has
only ``weight``, ``ternary`` and ``alpha``.

With ``pool`` the neurons see the mean of the currents of each window (average pooling between convolution and
BatchNorm; windows do not overlap, rows and columns that fill none are dropped): ``a`` is the integer sum over the
window, and ``g`` is divided by ``pool ** 2``, while ``d`` stays as it is. In the same way a layer with ``input_pool``
sees the mean of each window of its input map: ``a`` is the sum over those windows, and ``g`` is divided by
``input_pool ** 2``. A readout's scores have no gain; they are sums over the windows.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from arch import foreign, strict_json, tensor_file
from arch.architecture import (
    CheckpointError,
    check_keys,
    check_positive,
    mean_size,
    projection_shapes,
    weighted_layers,
)
from arch.foreign import Kind
from arch.strict_json import short
from support.errors import InputError
from support.files import read_file, write_atomically

__all__ = ["MAX_BYTES", "VERSION", "Checkpoint", "CheckpointError"]

#: Version of the format that is written. Version 1 is read too; a file of any other version is refused.
VERSION = 2
_FIRST_VERSION = 1
#: Largest file that is read, in bytes.
MAX_BYTES = 2**32

_NORM = ("gamma", "beta", "mean", "variance")
_METADATA_KEYS = ("sterna_checkpoint", "architecture", "provenance")
_HASH_KEYS = ("content_sha256", "provenance_sha256")

_BRING = "docs/your-network.md shows how to bring a network into a checkpoint"
#: What to do with files that are no checkpoints.
_HINTS = {
    Kind.NETWORK: "it is a network that was exported already: give it to python -m sim or python -m gateware.build, "
                  "or make an image of it with --flash",
    Kind.TTFS_CHECKPOINT: "it is one of a network with times to first spike: give it to python -m export.ttfs",
    Kind.TTFS_NETWORK: "it is an exported network with times to first spike: docs/ttfs.md says what runs it",
    Kind.TENSORS: f"its metadata name no version of a checkpoint: {_BRING}",
    Kind.TORCH: f"it is a file of torch.save, which may run code when it is read: {_BRING}",
    Kind.HDF5: "it is an HDF5 file: if it is a NIR graph, export it with python -m export GRAPH, as docs/nir.md shows",
    Kind.DATA: "it holds images or arrays: give the NAME.safetensors that a training leaves",
    Kind.FLASH: "it is an image of models for a flash: give the checkpoint or the networks that it was made of",
}


def _expected(architecture: Mapping[str, Any]) -> dict[str, tuple[str, tuple[tuple[int, ...], ...], bool]]:
    """Tensors by name: dtype, allowed shapes, and whether it must be there."""
    expected: dict[str, tuple[str, tuple[tuple[int, ...], ...], bool]] = {}
    projections = projection_shapes(architecture)
    for name, (layer, shape) in weighted_layers(architecture).items():
        out = (shape[0],)
        readout = layer["kind"] == "readout"
        expected[f"{name}.weight"] = "float32", (shape,), True
        expected[f"{name}.ternary"] = "int8", (shape,), True
        expected[f"{name}.alpha"] = "float32", ((),) if readout else (out,), True
        if not readout:
            expected[f"{name}.bias"] = "float32", (out,), False
            if layer["epsilon"] is not None:
                for part in _NORM:
                    expected[f"{name}.{part}"] = "float32", (out,), part in ("mean", "variance")
            expected[f"{name}.theta"] = "float32", (out, ()), True
            expected[f"{name}.initial"] = "float32", ((),), True
        if name in projections and layer["projection"]["weights"] == "trained":
            expected[f"{name}.projection_weight"] = "float32", (projections[name],), True
            expected[f"{name}.projection_ternary"] = "int8", (projections[name],), True
    return expected


def _check_tensors(architecture: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    expected = _expected(architecture)
    for name, (_, _, required) in expected.items():
        if required and name not in tensors:
            raise CheckpointError(f"tensor {name} is missing")
    for name, array in tensors.items():
        if name not in expected:
            layer, _, part = name.rpartition(".")
            raise CheckpointError(f"tensor {strict_json.name(name)} belongs to no layer" + (
                f": {layer} has no BatchNorm, as its epsilon is null" if f"{layer}.theta" in expected and part in _NORM
                else ""))
        dtype, shapes, _ = expected[name]
        if not isinstance(array, np.ndarray) or array.dtype.name != dtype:
            kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise CheckpointError(f"tensor {name} must be {dtype}, not {kind}")
        if array.shape not in shapes:
            raise CheckpointError(f"tensor {name} must have shape {' or '.join(map(str, shapes))}, not {array.shape}")
        if dtype == "int8":
            _refuse(name, "be -1, 0 or +1", array, (array < -1) | (array > 1))
        else:
            _refuse(name, "be finite", array, ~np.isfinite(array))
        part = name.rpartition(".")[2]
        if part == "theta":
            _refuse(name, "be positive", array, array <= 0)
        if part in ("variance", "alpha"):
            _refuse(name, "be 0 or more", array, array < 0)


def _refuse(name: str, rule: str, array: npt.NDArray[Any], wrong: npt.NDArray[np.bool_]) -> None:
    """Name the first value that is ``wrong``, with the channel that it belongs to."""
    if wrong.any():
        at = tuple(int(index) for index in np.argwhere(wrong)[0])
        where = f" in channel {at[0]}" if at else ""
        raise CheckpointError(f"tensor {name} must {rule}, not {array[at]}{where}")


def _plain(where: str, value: Any) -> Any:
    """Return a copy of ``value`` made of JSON's types only."""
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
        strict_json.check_depth(plain)
    except (TypeError, ValueError, RecursionError):
        raise CheckpointError(f"{where} must hold only finite JSON values") from None
    return plain


def _canonical(content: bytes) -> bytes:
    """Sort the header of a safetensors file: the library's order of metadata differs from call to call."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size:]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checkpoint:
    """A trained network: what it is, its numbers, and how they were made."""

    #: Input, timesteps and layers, as in the module's docstring.
    architecture: Mapping[str, Any]
    #: Tensors by name, as in the module's docstring.
    tensors: Mapping[str, npt.NDArray[Any]]
    #: How the network was made: command, git revision, data set, seed, epochs, accuracies. JSON values only.
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: False if it was read from a file of version 1, in which a damaged byte goes unnoticed.
    protected: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "architecture", _plain("architecture", self.architecture))
        if not isinstance(self.provenance, Mapping):
            raise CheckpointError(f"provenance must be an object, not {type(self.provenance).__name__}")
        object.__setattr__(self, "provenance", _plain("provenance", self.provenance))
        _check_tensors(self.architecture, self.tensors)
        frozen = {name: np.array(array, order="C") for name, array in self.tensors.items()}
        for array in frozen.values():
            array.flags.writeable = False
        object.__setattr__(self, "tensors", frozen)

    def gain_and_offset(self, index: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return ``g`` and ``d`` of the module's docstring, ``float64[out]``, for layer ``index``, which has neurons.

        The means over windows, of currents or of the input, are not in ``g`` yet. The operations are those of IEEE 754,
        one after the other, which NumPy rounds correctly on every machine: products from left to right,
        ``slope = gamma / sqrt(variance + epsilon)`` before ``g = (scale alpha) slope`` and
        ``d = beta + slope (bias - mean)``. PyTorch's square root of float64 is not rounded correctly: with MKL it
        misses the last bit of one value in eighty.
        """
        layer = self.architecture["layers"][index]
        name = layer["name"]
        alpha = self.tensors[f"{name}.alpha"].astype(np.float64)

        def get(part: str, absent: float) -> npt.NDArray[np.float64]:
            values = self.tensors.get(f"{name}.{part}")
            return np.full_like(alpha, absent) if values is None else values.astype(np.float64)

        gain = (self.architecture["input"]["scale"] if index == 0 else 1.0) * alpha
        bias = get("bias", 0)
        if layer["epsilon"] is None:
            return gain, bias
        slope = get("gamma", 1) / np.sqrt(get("variance", 1) + layer["epsilon"])
        return gain * slope, get("beta", 0) + slope * (bias - get("mean", 0))

    def projection(self, index: int) -> npt.NDArray[np.int8] | None:
        """Return the codes of the projection of layer ``index``, ``int8[out, channels, 1, 1]``; None without one.

        Those of an identity are the unit matrix.
        """
        layer = self.architecture["layers"][index]
        if "projection" not in layer:
            return None
        if layer["projection"]["weights"] == "identity":
            return np.eye(layer["channels"], dtype=np.int8)[..., None, None]
        return self.tensors[f"{layer['name']}.projection_ternary"]

    @property
    def score_scale(self) -> float:
        """Factor that makes real scores of a timestep of integer ones: the readout's alpha, over its input's windows.

        The real scores are those of means over the windows of an ``input_pool``, the integer ones of sums.
        """
        readout = self.architecture["layers"][-1]
        return float(self.tensors[f"{readout['name']}.alpha"]) / mean_size(readout)

    def digest(self) -> str:
        """SHA-256 of what the network computes, as 64 hexadecimal digits; the provenance does not count.

        It is over the canonical JSON of ``{"architecture": ..., "tensors": {NAME: [dtype, shape]}}``, one zero byte,
        and the little-endian bytes of the tensors in the order of their names.
        """
        names = sorted(self.tensors)
        found = {name: [self.tensors[name].dtype.name, list(self.tensors[name].shape)] for name in names}
        text = strict_json.canonical({"architecture": self.architecture, "tensors": found})
        digest = hashlib.sha256(text.encode() + b"\0")
        for name in names:
            digest.update(self.tensors[name].astype(self.tensors[name].dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def _hashes(self) -> dict[str, str]:
        provenance = strict_json.canonical(self.provenance).encode()
        return {"content_sha256": self.digest(), "provenance_sha256": hashlib.sha256(provenance).hexdigest()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to ``path`` atomically: an interruption leaves the old file or none."""
        metadata = {"sterna_checkpoint": str(VERSION),
                    "architecture": json.dumps(self.architecture, sort_keys=True),
                    "provenance": json.dumps(self.provenance, sort_keys=True),
                    **self._hashes()}
        content = _canonical(safetensors.numpy.save(dict(self.tensors), metadata))
        write_atomically(path, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read and check ``path``; raises :exc:`CheckpointError` or :exc:`OSError`."""
        try:
            content = read_file(path, limit=MAX_BYTES)
        except InputError as error:
            raise CheckpointError(str(error)) from None
        try:
            return cls._read(content)
        except CheckpointError as error:
            raise CheckpointError(f"{os.fspath(path)}: {error}") from None

    @classmethod
    def _read(cls, content: bytes) -> "Checkpoint":
        if not content:
            raise CheckpointError(foreign.EMPTY)
        try:
            file = tensor_file.loads(content)
        except tensor_file.TensorFileError as error:
            kind = foreign.kind_of(content)
            if kind in _HINTS and kind is not Kind.TENSORS:
                raise CheckpointError(f"not a Sterna checkpoint: {_HINTS[kind]}") from None
            if kind is not None:
                raise CheckpointError(str(error)) from None
            raise CheckpointError(f"not a safetensors file, or truncated: {error}") from None
        metadata = file.metadata
        version = metadata.get("sterna_checkpoint")
        if version is None:
            raise CheckpointError(f"not a Sterna checkpoint: {_HINTS[Kind.TENSORS]}")
        if version not in (str(_FIRST_VERSION), str(VERSION)):
            raise CheckpointError(f"version must be {_FIRST_VERSION} or {VERSION}, not {short(version)}")
        protected = version == str(VERSION)
        check_keys("metadata", metadata, (*_METADATA_KEYS, *_HASH_KEYS) if protected else _METADATA_KEYS)
        try:
            architecture = strict_json.parse(metadata["architecture"])
            provenance = strict_json.parse(metadata["provenance"])
        except ValueError:
            raise CheckpointError("metadata must hold architecture and provenance as JSON") from None
        made = cls(architecture=architecture, tensors=file.tensors, provenance=provenance, protected=protected)
        if protected:
            made._check_hashes(metadata)
        else:
            made._check_first_version()
        return made

    def _check_hashes(self, metadata: Mapping[str, str]) -> None:
        hashes = self._hashes()
        for key, what in zip(_HASH_KEYS, ("architecture and tensors do", "provenance does"), strict=True):
            if metadata[key] != hashes[key]:
                raise CheckpointError(f"{what} not match {key}: the file was damaged or altered, copy it again")

    def _check_first_version(self) -> None:
        """Check what version 1 demanded beside: BatchNorm with scale and shift in every layer."""
        for name, (layer, _) in weighted_layers(self.architecture).items():
            if layer["kind"] == "readout":
                continue
            check_positive(f"layer {name} epsilon", layer["epsilon"])
            for part in _NORM:
                if f"{name}.{part}" not in self.tensors:
                    raise CheckpointError(f"tensor {name}.{part} is missing")
