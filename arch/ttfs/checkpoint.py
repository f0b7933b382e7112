"""The trained network with spike times as data: what ``train`` writes and ``export.ttfs`` reads.

A checkpoint is one file in the container of :mod:`arch.container`: a safetensors file with a versioned header and its
own hashes, in exactly one form for one network. Reading it needs NumPy only, and no code in it runs. The five strings
of its header are ``sterna_ttfs_checkpoint``, the version of the format; ``network``, what the network is; ``metadata``,
how it was made (provenance), which changes no result; and ``content_sha256`` and ``metadata_sha256`` over them.

``network`` is the JSON object::

    {"input": {"channels": 1, "height": 28, "width": 28, "scale": 0.00390625},
     "code": {"timesteps": 24, "tau": 4, "p": 2, "bits": 5, "fraction": 16},
     "theta0": 1.0,
     "layers": [
       {"kind": "convolution", "name": "conv1", "shape": [16, 1, 3, 3], "stride": 1, "padding": 1, "epsilon": 1e-05},
       {"kind": "earliest-pool", "size": 2},
       {"kind": "fully-connected", "name": "fc1", "shape": [64, 3136], "epsilon": 1e-05},
       {"kind": "readout", "name": "readout", "shape": [10, 64]}]}

``code`` is a :class:`arch.ttfs.code.TimeCode`, and ``theta0`` the value of a spike at time 0. The tensors of layer I,
in this order, each flattened in C order:

==================  ====  =====================================================================================
I.weights           U8    weight codes, int8 in two's complement
I.scale             F32   scale of the codes, ``[out]``, not negative; one value for the readout
I.gamma, I.beta     F32   BatchNorm's gain and offset, ``[out]``; not for a readout, as those below
I.mean, I.variance  F32   BatchNorm's statistics, ``[out]``; variances are not negative
==================  ====  =====================================================================================

What the network computes, in float64: a pixel ``p`` has the value ``scale p`` and spikes at the first time ``t`` with
``scale p >= theta0 2^(-t/tau)``. A neuron sums the products of its weight codes and the values of its input spikes,
``2^(-t/tau)`` without ``theta0``, which is exact; with that sum ``a`` it spikes at the first ``t`` with
``g a + d >= theta0 2^(-t/tau)``, where ``g = theta0 scale slope``, ``d = beta - slope mean`` and
``slope = gamma / sqrt(variance + epsilon)``, rounded after each operation
(:meth:`arch.ttfs.trained_layers.BatchNorm.gain_and_offset`). A pool passes on the earliest spike of its window. The
scores are the sums of the readout, in units of its scale times ``theta0``.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from arch import container
from arch.architecture import CheckpointError
from arch.container import MAX_FILE_BYTES, MAX_HEADER_BYTES
from arch.foreign import Kind
from arch.limits import NetworkError, Shape, check_map, check_order
from arch.strict_json import short
from arch.ttfs.code import TimeCode
from arch.ttfs.network import EarliestPool
from arch.ttfs.trained_layers import (
    NORM_PARTS,
    BatchNorm,
    Convolution,
    FullyConnected,
    Layer,
    Readout,
    Reals,
    check_positive,
)
from support.files import write_atomically

__all__ = ["VERSION", "Checkpoint", "Input", "digest", "dumps", "load", "loads", "save"]

#: Version of the format; a file of another version is refused.
VERSION = 1

_FORMAT = container.Format(
    key="sterna_ttfs_checkpoint", version=VERSION, dtypes=("U8", "F32"),
    stranger="not a checkpoint of a network with spike times: the header names no version of one",
    hints={
        Kind.CHECKPOINT: "not a checkpoint of a network with spike times but one of rates: give it to python -m export",
        Kind.NETWORK: "not a checkpoint but a network that was exported already: give it to python -m sim",
        Kind.TTFS_NETWORK: "not a checkpoint but a network that was exported already: docs/ttfs.md says what runs it",
        Kind.TENSORS: "not a checkpoint but a safetensors file of another program: train the network with the method "
                      "conversion-aware, docs/ttfs.md",
        Kind.TORCH: "not a checkpoint but a file of torch.save: give the NAME.safetensors that lies beside it",
        Kind.HDF5: "not a checkpoint but an HDF5 file: train the network with the method conversion-aware, "
                   "docs/ttfs.md",
        Kind.DATA: "not a checkpoint but a data set: give the NAME.safetensors that python -m train wrote",
    })
_CODE_KEYS = ("timesteps", "tau", "p", "bits", "fraction")
_INPUT_KEYS = ("channels", "height", "width", "scale")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """A uint8 image whose pixel ``p`` has the value ``scale p``."""

    #: Channels, 1 to 64.
    channels: int
    #: Rows, 1 to :data:`arch.network.MAX_SIDE`.
    height: int
    #: Columns, 1 to :data:`arch.network.MAX_SIDE`.
    width: int
    #: Value of a pixel of 1, positive.
    scale: float

    def __post_init__(self) -> None:
        check_map(self.channels, self.height, self.width)
        check_positive("input scale", self.scale)

    @property
    def shape(self) -> Shape:
        """Channels, height, width."""
        return self.channels, self.height, self.width


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checkpoint:
    """A trained network with spike times: what it is, its numbers, and how they were made.

    Raises
    ------
    :exc:`CheckpointError`
        If layers do not fit together, or a weight is no code.
    """

    #: What the network gets.
    input: Input
    #: What times and weight codes stand for.
    code: TimeCode
    #: Value of a spike at time 0, positive.
    theta0: float
    #: Layers in order; exactly the last one is a :class:`Readout`.
    layers: tuple[Layer, ...]
    #: How the network was made: command, revision, recipe, accuracies. JSON values only.
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            check_positive("theta0", self.theta0)
            object.__setattr__(self, "layers", tuple(self.layers))
            self._check_layers()
        except NetworkError as error:
            raise CheckpointError(str(error)) from None

    def _check_layers(self) -> None:
        if not self.layers:
            raise NetworkError("layers must end in a readout, not be empty")
        names: set[str] = set()
        for index, (layer, _, _) in enumerate(self.shapes()):
            check_order(index, self.layers, Layer, Readout)
            if isinstance(layer, EarliestPool):
                if not index:
                    raise NetworkError("layer 0 must have weights, not be an earliest-pool")
                continue
            if layer.name in names:
                raise NetworkError(f"layer {index} name must be one that no other layer has, not {short(layer.name)}")
            names.add(layer.name)
            levels = self.code.levels
            wrong = layer.weights[(layer.weights < -levels) | (layer.weights > levels)]
            if len(wrong):
                raise NetworkError(f"layer {index} ({layer.name}): weights must be codes from {-levels} to {levels}, "
                                   f"not {wrong[0]}")

    def shapes(self) -> Iterator[tuple[Layer, Shape, Shape]]:
        """Iterate over layers with the shapes of their input and output maps; raises :exc:`NetworkError`."""
        shape = self.input.shape
        for index, layer in enumerate(self.layers):
            try:
                output = layer.output_shape(shape)
            except NetworkError as error:
                raise NetworkError(f"layer {index} ({layer.kind}): {error}") from None
            yield layer, shape, output
            shape = output

    def save(self, path: str | os.PathLike[str]) -> None:
        """As :func:`save`."""
        save(self, path)


def _describe_layer(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, EarliestPool):
        return {"kind": layer.kind, "size": layer.size}
    described: dict[str, Any] = {"kind": layer.kind, "name": layer.name, "shape": list(layer.weights.shape)}
    if isinstance(layer, Convolution):
        described |= {"stride": layer.stride, "padding": layer.padding}
    if not isinstance(layer, Readout):
        described["epsilon"] = float(layer.norm.epsilon)
    return described


def _describe(checkpoint: Checkpoint) -> str:
    source = checkpoint.input
    return container.canonical({
        "input": {"channels": source.channels, "height": source.height, "width": source.width,
                  "scale": float(source.scale)},
        "code": {key: getattr(checkpoint.code, key) for key in _CODE_KEYS},
        "theta0": float(checkpoint.theta0),
        "layers": [_describe_layer(layer) for layer in checkpoint.layers],
    })


def _tensors(checkpoint: Checkpoint) -> Iterator[container.Tensor]:
    for index, layer in enumerate(checkpoint.layers):
        if isinstance(layer, EarliestPool):
            continue
        yield f"{index}.weights", "U8", layer.weights.reshape(-1).view(np.uint8)
        yield f"{index}.scale", "F32", layer.scale.astype("<f4")
        if not isinstance(layer, Readout):
            for part in NORM_PARTS:
                yield f"{index}.{part}", "F32", getattr(layer.norm, part).astype("<f4")


def digest(checkpoint: Checkpoint) -> str:
    """SHA-256 of what ``checkpoint`` computes, as 64 hexadecimal digits. Its provenance does not count."""
    return container.digest(_describe(checkpoint), _tensors(checkpoint))


def dumps(checkpoint: Checkpoint) -> bytes:
    """Content of the file of ``checkpoint``; raises :exc:`CheckpointError` for a provenance that is not JSON."""
    try:
        return container.dumps(_FORMAT, _describe(checkpoint), _tensors(checkpoint), checkpoint.provenance,
                               max_header_bytes=MAX_HEADER_BYTES)
    except NetworkError as error:
        raise CheckpointError(str(error)) from None


def save(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Write ``checkpoint`` to ``path`` atomically. The same checkpoint gives the same bytes."""
    write_atomically(path, dumps(checkpoint))


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read and check the file ``path``.

    Raises
    ------
    :exc:`CheckpointError`
        If the file is not a whole, unaltered checkpoint of a known version; one line that begins with the path.
    :exc:`OSError`
        If the file cannot be read.
    """
    try:
        return container.load(path, _loads, max_file_bytes=MAX_FILE_BYTES)
    except NetworkError as error:
        raise CheckpointError(str(error)) from None


def loads(content: bytes) -> Checkpoint:
    """Read and check the content of a file; the inverse of :func:`dumps`. Raises :exc:`CheckpointError`."""
    try:
        return _loads(content)
    except NetworkError as error:
        raise CheckpointError(str(error)) from None


def _loads(content: bytes) -> Checkpoint:
    description, provenance, reader = container.loads(_FORMAT, content, max_file_bytes=MAX_FILE_BYTES,
                                                      max_header_bytes=MAX_HEADER_BYTES)
    container.check_keys("network", description, ("input", "code", "theta0", "layers"))
    source = Input(**container.check_keys("input", description["input"], _INPUT_KEYS))
    code = TimeCode(**container.check_keys("code", description["code"], _CODE_KEYS))
    layers = container.build_layers(container.check_list("layers", description["layers"]),
                                    lambda index, layer: _build_layer(index, layer, reader))
    reader.finish()
    try:
        checkpoint = Checkpoint(input=source, code=code, theta0=description["theta0"], layers=layers,
                                provenance=provenance)
        container.check_canonical(content, dumps(checkpoint))
    except CheckpointError as error:
        # container.load puts the path before errors of this class.
        raise NetworkError(str(error)) from None
    return checkpoint


_LAYER_KEYS = {
    Convolution.kind: ("kind", "name", "shape", "stride", "padding", "epsilon"),
    FullyConnected.kind: ("kind", "name", "shape", "epsilon"),
    EarliestPool.kind: ("kind", "size"),
    Readout.kind: ("kind", "name", "shape"),
}


def _build_layer(index: int, layer: Any, reader: container.Reader) -> Layer:
    kind = container.check_kind(layer, _LAYER_KEYS)
    if kind == EarliestPool.kind:
        return EarliestPool(size=layer["size"])
    shape = container.check_shape(layer["shape"], 4 if kind == Convolution.kind else 2)
    weights = reader.take(f"{index}.weights", "U8", math.prod(shape)).view(np.int8).reshape(shape)

    def reals(part: str, count: int) -> Reals:
        return reader.take(f"{index}.{part}", "F32", count).astype(np.float32)

    name = layer["name"]
    if kind == Readout.kind:
        return Readout(name=name, weights=weights, scale=reals("scale", 1))
    channels = shape[0]
    scale = reals("scale", channels)
    gamma, beta, mean, variance = (reals(part, channels) for part in NORM_PARTS)
    norm = BatchNorm(gamma=gamma, beta=beta, mean=mean, variance=variance, epsilon=layer["epsilon"])
    if kind == FullyConnected.kind:
        return FullyConnected(name=name, weights=weights, scale=scale, norm=norm)
    return Convolution(name=name, weights=weights, scale=scale, norm=norm, stride=layer["stride"],
                       padding=layer["padding"])
