"""The trained network as data: what ``train`` writes and ``export`` reads.

A checkpoint is one safetensors file. Its metadata holds three strings: ``sterna_checkpoint`` (the version of the
format), ``architecture`` and ``provenance`` (both JSON). No code runs on load, and torch is not needed.

The architecture is a mapping::

    {"input": {"encoding": "pixels", "channels": 1, "height": 28, "width": 28, "zero_point": 0, "scale": 0.00390625},
     "timesteps": 4,
     "layers": [
       {"kind": "convolution", "name": "conv1", "channels": 16, "kernel": 7, "stride": 2, "padding": 3,
        "reset": "subtract", "leak_shift": null, "epsilon": 1e-05},
       {"kind": "or-pool", "size": 2},
       {"kind": "fully-connected", "name": "fc1", "neurons": 64,
        "reset": "subtract", "leak_shift": null, "epsilon": 1e-05},
       {"kind": "readout", "name": "readout", "classes": 10}]}

Further keys are optional. A convolution may have ``pool``, the side of windows (1 to 7), and a convolution or
fully-connected layer ``shortcut``, the name of an earlier layer with neurons, or of an or-pool, whose spikes are added
to its input map: values 0 to 2. An or-pool may have a ``name`` for that. The map that is added must have the shape of
the input map, and must not be that map itself.

A pixel ``p`` is seen as ``x = scale (p - zero_point)``. A layer NAME with weights has the tensors

====================  =========  ==========================================================================
NAME.weight           float32    latent weights, ``[out, in, kernel, kernel]`` or ``[out, in]``
NAME.ternary          int8       frozen codes -1, 0, +1 that the exact forward used, same shape
NAME.alpha            float32    scale of the codes, ``[out]``; the readout's is a scalar, ``[]``
NAME.bias             float32    bias of the convolution, ``[out]``, optional
NAME.gamma, .beta     float32    BatchNorm's scale and shift, ``[out]``
NAME.mean, .variance  float32    BatchNorm's statistics, the same for all timesteps, ``[out]``
NAME.theta            float32    threshold, ``[out]`` or ``[]``, positive
NAME.initial          float32    membrane before the first timestep, ``[]``
====================  =========  ==========================================================================

and its neurons compute, with ``a`` the integer sum of ``ternary`` over the spikes (or over ``p - zero_point``),
``u += g a + d`` where ``g = scale alpha gamma / sqrt(variance + epsilon)`` (``scale`` in the first layer only) and
``d = beta + gamma (bias - mean) / sqrt(variance + epsilon)``; they spike where ``u >= theta``. A readout has only
``weight``, ``ternary`` and ``alpha``.

With ``pool`` the neurons see the mean of the currents of each window (average pooling between convolution and
BatchNorm; windows do not overlap, rows and columns that fill none are dropped): ``a`` is the integer sum over the
window, and ``g`` is divided by ``pool ** 2``, while ``d`` stays as it is.
"""

import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from arch import network
from support.errors import InputError
from support.files import write_atomically

__all__ = ["VERSION", "Checkpoint", "CheckpointError", "layer_shapes", "shortcut_sources", "weighted_layers"]

#: Version of the format; a file of another version is refused.
VERSION = 1
#: Largest file that is read, in bytes.
MAX_BYTES = 2**32

_INPUT_KEYS = ("encoding", "channels", "height", "width", "zero_point", "scale")
_NEURON_KEYS = ("reset", "leak_shift", "epsilon")
_LAYER_KEYS = {
    "convolution": ("name", "channels", "kernel", "stride", "padding", *_NEURON_KEYS),
    "or-pool": ("size",),
    "fully-connected": ("name", "neurons", *_NEURON_KEYS),
    "readout": ("name", "classes"),
}
#: Keys that a layer may have; without them it is a link of a plain chain.
_OPTIONAL_KEYS = {"convolution": ("pool", "shortcut"), "or-pool": ("name",), "fully-connected": ("shortcut",)}
_PER_CHANNEL = ("gamma", "beta", "mean", "variance")


class CheckpointError(InputError):
    """A checkpoint is malformed, incomplete or of another version. The message is one line."""


def _integer(where: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise CheckpointError(f"{where} must be an integer from {low} to {high}, not {value!r}")
    return value


def _positive(where: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise CheckpointError(f"{where} must be a positive number, not {value!r}")


def _keys(where: str, value: Any, keys: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{where} must be an object, not {type(value).__name__}")
    if not set(keys) <= set(value) <= {*keys, *optional}:
        may = f" and may have {', '.join(optional)}" if optional else ""
        raise CheckpointError(f"{where} must have the keys {', '.join(keys)}{may}, not {', '.join(map(str, value))}")


def layer_shapes(architecture: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], network.Shape, network.Shape]]:
    """Iterate over the layers with the shapes (channels, height, width) of their input and output maps.

    Checks the whole architecture on the way; raises :exc:`CheckpointError`.
    """
    _keys("architecture", architecture, ("input", "timesteps", "layers"))
    source = architecture["input"]
    _keys("input", source, _INPUT_KEYS)
    if source["encoding"] not in ("pixels", "events"):
        raise CheckpointError(f"input encoding must be pixels or events, not {source['encoding']!r}")
    channels = _integer("input channels", source["channels"], 1, 64)
    height = _integer("input height", source["height"], 1, network.MAX_SIDE)
    width = _integer("input width", source["width"], 1, network.MAX_SIDE)
    allowed = (0, 128) if source["encoding"] == "pixels" else (0,)
    if source["zero_point"] not in allowed or isinstance(source["zero_point"], bool):
        raise CheckpointError(f"input zero point must be {' or '.join(map(str, allowed))} for {source['encoding']}, "
                              f"not {source['zero_point']!r}")
    _positive("input scale", source["scale"])
    if source["encoding"] == "events" and source["scale"] != 1:
        raise CheckpointError(f"input scale must be 1 for events, not {source['scale']!r}")
    _integer("timesteps", architecture["timesteps"], 1, network.MAX_TIMESTEPS)
    layers = architecture["layers"]
    if not isinstance(layers, list | tuple) or not layers:
        raise CheckpointError("layers must be a list that ends in a readout")
    names: set[str] = set()
    sources: dict[str, network.Shape] = {}
    previous: str | None = None
    shape: network.Shape = (channels, height, width)
    for index, layer in enumerate(layers):
        where = f"layer {index}"
        kind = layer.get("kind") if isinstance(layer, Mapping) else None
        if not isinstance(kind, str) or kind not in _LAYER_KEYS:
            raise CheckpointError(f"{where} must be of kind {', '.join(_LAYER_KEYS)}, not {kind!r}")
        _keys(where, layer, ("kind", *_LAYER_KEYS[kind]), _OPTIONAL_KEYS.get(kind, ()))
        if (kind == "readout") != (index == len(layers) - 1):
            raise CheckpointError(f"{where} must {'not ' if kind == 'readout' else ''}be a readout: "
                                  f"a network has one, at its end")
        if index == 0 and kind == "or-pool":
            raise CheckpointError("layer 0 must have weights, not be an or-pool")
        if "name" in layer:
            name = layer["name"]
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or name in names:
                raise CheckpointError(f"{where} name must be a word of letters, digits, - and _ that no other layer "
                                      f"has, not {name!r}")
            names.add(name)
        if "reset" in _LAYER_KEYS[kind]:
            if layer["reset"] not in ("subtract", "zero"):
                raise CheckpointError(f"{where} reset must be subtract or zero, not {layer['reset']!r}")
            if layer["leak_shift"] is not None:
                _integer(f"{where} leak shift", layer["leak_shift"], 1, network.MAX_LEAK_SHIFT)
            _positive(f"{where} epsilon", layer["epsilon"])
        if "shortcut" in layer:
            _check_source(where, layer["shortcut"], index, sources, previous, shape)
        output = _output_shape(where, layer, shape)
        yield layer, shape, output
        previous = layer.get("name")
        if previous is not None:
            sources[previous] = output
        shape = output


def _check_source(where: str, source: Any, index: int, sources: Mapping[str, network.Shape], previous: str | None,
                  shape: network.Shape) -> None:
    """Check the shortcut of layer ``index``, which sees a map of ``shape``, behind the named layers ``sources``."""
    if index == 0:
        raise CheckpointError(f"{where} shortcut must add to spikes, not be {source!r}: this layer sees the input")
    if not isinstance(source, str) or source not in sources:
        raise CheckpointError(f"{where} shortcut must be the name of an earlier layer ({', '.join(sources)}), "
                              f"not {source!r}")
    if source == previous:
        raise CheckpointError(f"{where} shortcut must be a layer before the previous one, not {source!r}: that map is "
                              f"the input")
    if sources[source] != shape:
        raise CheckpointError(f"{where} shortcut must have a map of {shape} like the input, not that of {source}, "
                              f"{sources[source]}")


def _output_shape(where: str, layer: Mapping[str, Any], shape: network.Shape) -> network.Shape:
    channels, height, width = shape
    if layer["kind"] == "convolution":
        out = _integer(f"{where} channels", layer["channels"], 1, network.MAX_CHANNELS)
        kernel = _integer(f"{where} kernel", layer["kernel"], 1, network.MAX_KERNEL)
        stride = _integer(f"{where} stride", layer["stride"], 1, network.MAX_STRIDE)
        padding = _integer(f"{where} padding", layer["padding"], 0, kernel - 1)
        if min(height, width) + 2 * padding < kernel:
            raise CheckpointError(f"{where} kernel must fit in the padded map of {height + 2 * padding} x "
                                  f"{width + 2 * padding}, not be {kernel}")
        rows, columns = (height + 2 * padding - kernel) // stride + 1, (width + 2 * padding - kernel) // stride + 1
        pool = _integer(f"{where} pool", layer.get("pool", 1), 1, network.MAX_POOL)
        if min(rows, columns) < pool:
            raise CheckpointError(f"{where} pool must fit in the currents of {rows} x {columns}, not be {pool}")
        return out, rows // pool, columns // pool
    if layer["kind"] == "or-pool":
        size = _integer(f"{where} size", layer["size"], 2, network.MAX_POOL)
        if min(height, width) < size:
            raise CheckpointError(f"{where} size must fit in the map of {height} x {width}, not be {size}")
        return channels, height // size, width // size
    if layer["kind"] == "fully-connected":
        return _integer(f"{where} neurons", layer["neurons"], 1, network.MAX_CHANNELS), 1, 1
    return _integer(f"{where} classes", layer["classes"], 2, network.MAX_CLASSES), 1, 1


def shortcut_sources(architecture: Mapping[str, Any]) -> dict[int, int]:
    """Index of the layer whose spikes are added to the input map, by the index of the layer that sees the sum."""
    layers = architecture["layers"]
    indices = {layer["name"]: index for index, layer in enumerate(layers) if "name" in layer}
    return {index: indices[layer["shortcut"]] for index, layer in enumerate(layers) if "shortcut" in layer}


def weighted_layers(architecture: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, Any], tuple[int, ...]]]:
    """Layers with weights by name, in order, each with the shape of its weight tensor."""
    found: dict[str, tuple[Mapping[str, Any], tuple[int, ...]]] = {}
    for layer, shape, output in layer_shapes(architecture):
        if layer["kind"] == "convolution":
            found[layer["name"]] = layer, (output[0], shape[0], layer["kernel"], layer["kernel"])
        elif layer["kind"] != "or-pool":
            found[layer["name"]] = layer, (output[0], math.prod(shape))
    return found


def _expected(architecture: Mapping[str, Any]) -> dict[str, tuple[str, tuple[tuple[int, ...], ...], bool]]:
    """Tensors by name: dtype, allowed shapes, and whether it must be there."""
    expected: dict[str, tuple[str, tuple[tuple[int, ...], ...], bool]] = {}
    for name, (layer, shape) in weighted_layers(architecture).items():
        out = (shape[0],)
        readout = layer["kind"] == "readout"
        expected[f"{name}.weight"] = "float32", (shape,), True
        expected[f"{name}.ternary"] = "int8", (shape,), True
        expected[f"{name}.alpha"] = "float32", ((),) if readout else (out,), True
        if not readout:
            expected[f"{name}.bias"] = "float32", (out,), False
            for part in _PER_CHANNEL:
                expected[f"{name}.{part}"] = "float32", (out,), True
            expected[f"{name}.theta"] = "float32", (out, ()), True
            expected[f"{name}.initial"] = "float32", ((),), True
    return expected


def _check_tensors(architecture: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    expected = _expected(architecture)
    for name, (_, _, required) in expected.items():
        if required and name not in tensors:
            raise CheckpointError(f"tensor {name} is missing")
    for name, array in tensors.items():
        if name not in expected:
            raise CheckpointError(f"tensor {name} belongs to no layer")
        dtype, shapes, _ = expected[name]
        if not isinstance(array, np.ndarray) or array.dtype.name != dtype:
            kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise CheckpointError(f"tensor {name} must be {dtype}, not {kind}")
        if array.shape not in shapes:
            raise CheckpointError(f"tensor {name} must have shape {' or '.join(map(str, shapes))}, not {array.shape}")
        if dtype == "int8":
            if ((array < -1) | (array > 1)).any():
                raise CheckpointError(f"tensor {name} must hold only -1, 0 and +1")
        elif not np.isfinite(array).all():
            raise CheckpointError(f"tensor {name} must be finite")
        part = name.rpartition(".")[2]
        if part == "theta" and (array <= 0).any():
            raise CheckpointError(f"tensor {name} must be positive")
        if part in ("variance", "alpha") and (array < 0).any():
            raise CheckpointError(f"tensor {name} must not be negative")


def _plain(where: str, value: Any) -> Any:
    """Return a copy of ``value`` made of JSON's types only."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise CheckpointError(f"{where} must hold only finite JSON values") from None


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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to ``path`` atomically: an interruption leaves the old file or none."""
        metadata = {"sterna_checkpoint": str(VERSION),
                    "architecture": json.dumps(self.architecture, sort_keys=True),
                    "provenance": json.dumps(self.provenance, sort_keys=True)}
        content = _canonical(safetensors.numpy.save(dict(self.tensors), metadata))
        write_atomically(path, content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read and check ``path``; raises :exc:`CheckpointError` or :exc:`OSError`."""
        path = pathlib.Path(path)
        size = path.stat().st_size
        if not path.is_file():
            raise CheckpointError(f"{path}: must be a file, as the NAME.safetensors that a training leaves")
        if size > MAX_BYTES:
            raise CheckpointError(f"{path}: file must be at most {MAX_BYTES} bytes, not {size}")
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                version = metadata.get("sterna_checkpoint")
                if version is None:
                    raise CheckpointError(f"{path}: not a Sterna checkpoint: the metadata names no version")
                if version != str(VERSION):
                    raise CheckpointError(f"{path}: version must be {VERSION}, not {version!r}")
                try:
                    architecture = json.loads(metadata["architecture"])
                    provenance = json.loads(metadata["provenance"])
                except (KeyError, ValueError, RecursionError):
                    raise CheckpointError(f"{path}: metadata must hold architecture and provenance as JSON") from None
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except safetensors.SafetensorError as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{path}: not a safetensors file, or truncated: {reason}") from None
        except TypeError:
            raise CheckpointError(f"{path}: tensors must be float32 or int8") from None
        try:
            return cls(architecture=architecture, tensors=tensors, provenance=provenance)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None
