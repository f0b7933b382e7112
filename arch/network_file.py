"""The network file: a safetensors file with a versioned JSON header and its own hashes.

The container is that of :mod:`arch.container`, which checks sizes, hashes and form; ``docs/formats.md`` describes every
byte. Its five strings are

===================  ===============================================================================================
sterna_network       version of the format, "1"
network              what is computed, JSON: input, timesteps, layers
content_sha256       SHA-256 over the text of ``network``, one zero byte, and all tensor bytes: :func:`digest`
metadata             facts that change no result, JSON: name, data set, measured accuracy, certificate
metadata_sha256      SHA-256 over the text of ``metadata``
===================  ===============================================================================================

There is one file for one network, with the tensors in the order of the layers. A file in any other form is refused, so
that no altered byte goes unnoticed.
"""

import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import container, ternary
from arch.container import MAX_FILE_BYTES, MAX_HEADER_BYTES
from arch.foreign import Kind
from arch.limits import check_integer
from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Input,
    Layer,
    Network,
    NetworkError,
    Neurons,
    OrPool,
    Projection,
    Readout,
    Reset,
    projection_of,
    shortcut_of,
)
from support.files import write_atomically

__all__ = ["MAX_FILE_BYTES", "MAX_HEADER_BYTES", "VERSION", "digest", "dumps", "load", "loads", "name_of",
           "save"]

#: Version of the format; a file of another version is refused.
VERSION = 1

#: Most images that an accuracy may be of.
_MAX_IMAGES = 2**53

_EXPORT = "bring the network into a checkpoint as docs/your-network.md shows, and export that"
_FORMAT = container.Format(
    key="sterna_network", version=VERSION,
    stranger="not a network that python -m export writes: the header names no version of one",
    hints={
        Kind.CHECKPOINT: "not a network but a checkpoint: export it first, python -m export CHECKPOINT -o NETWORK",
        Kind.TTFS_CHECKPOINT: "not a network but a checkpoint with times to first spike: export it first, "
                              "python -m export.ttfs CHECKPOINT -o NETWORK",
        Kind.TTFS_NETWORK: "not a network of rates but one with times to first spike: docs/ttfs.md says what runs it",
        Kind.TENSORS: f"not a network but a safetensors file of another program: {_EXPORT}",
        Kind.TORCH: f"not a network but a file of torch.save: {_EXPORT}",
        Kind.HDF5: "not a network but an HDF5 file: if it is a NIR graph, export it first, python -m export GRAPH -o "
                   "NETWORK, as docs/nir.md shows",
        Kind.DATA: "not a network but images or arrays: give the network that python -m export wrote",
        Kind.FLASH: "not a network but an image of models for a flash: give the network of one of them, and the image "
                    "with --flash to python -m sim",
    })
_INPUT_KEYS = ("encoding", "channels", "height", "width", "zero_point")
_NEURON_KEYS = ("fraction", "reset", "leak_shift")
#: Keys that are written only where a layer has them: files of plain chains stay as they are, byte for byte.
_OPTIONAL_KEYS = {Convolution.kind: ("pool", "shortcut", "projection"), FullyConnected.kind: ("shortcut",)}
_PROJECTION_KEYS = ("source", "shape", "stride")
_LAYER_KEYS = {
    Convolution.kind: ("kind", "shape", "stride", "padding", *_NEURON_KEYS),
    FullyConnected.kind: ("kind", "shape", *_NEURON_KEYS),
    OrPool.kind: ("kind", "size"),
    Readout.kind: ("kind", "shape"),
}
_CONSTANTS = ("threshold", "bias", "initial")


def _describe_layer(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, OrPool):
        return {"kind": layer.kind, "size": layer.size}
    described: dict[str, Any] = {"kind": layer.kind, "shape": list(layer.weights.shape)}
    if isinstance(layer, Convolution):
        described |= {"stride": layer.stride, "padding": layer.padding}
        if layer.pool > 1:
            described["pool"] = layer.pool
    shortcut = shortcut_of(layer)
    if shortcut is not None:
        described["shortcut"] = shortcut
    projection = projection_of(layer)
    if projection is not None:
        described["projection"] = {"source": projection.source, "shape": list(projection.weights.shape),
                                   "stride": projection.stride}
    if not isinstance(layer, Readout):
        neurons = layer.neurons
        described |= {"fraction": neurons.fraction, "reset": neurons.reset.value, "leak_shift": neurons.leak_shift}
    return described


def _describe(network: Network) -> str:
    source = network.input
    return container.canonical({
        "input": {"encoding": source.encoding.value, "channels": source.channels, "height": source.height,
                  "width": source.width, "zero_point": source.zero_point},
        "timesteps": network.timesteps,
        "layers": [_describe_layer(layer) for layer in network.layers],
    })


def _tensors(network: Network) -> Iterator[container.Tensor]:
    for index, layer in enumerate(network.layers):
        if isinstance(layer, OrPool):
            continue
        yield f"{index}.weights", "U8", ternary.pack_array(layer.weights)
        projection = projection_of(layer)
        if projection is not None:
            yield f"{index}.projection", "U8", ternary.pack_array(projection.weights)
        if not isinstance(layer, Readout):
            for name in _CONSTANTS:
                yield f"{index}.{name}", "I64", getattr(layer.neurons, name).astype("<i8")


def digest(network: Network) -> str:
    """SHA-256 of what ``network`` computes, as 64 hexadecimal digits. Its metadata do not count."""
    return container.digest(_describe(network), _tensors(network))


def name_of(network: Network, path: str | os.PathLike[str]) -> str:
    """Return the name in the metadata of ``network``; without one, the stem of its file ``path``."""
    name = network.metadata.get("name")
    return name if isinstance(name, str) and name else pathlib.Path(path).stem


def _check_facts(metadata: Mapping[str, Any]) -> None:
    """Check the metadata that commands compute with and print, which anybody may have written; null is not known."""
    accuracy, images, exact, command = (
        metadata.get(key) for key in ("accuracy", "accuracy_images", "exact", "accuracy_command"))
    if accuracy is not None and (type(accuracy) not in (int, float) or not 0 <= accuracy <= 1):
        raise NetworkError(f"metadata: accuracy must be a number from 0 to 1, not {container.short(accuracy)}")
    if images is not None:
        check_integer("metadata: accuracy_images", images, 1, _MAX_IMAGES)
    if exact is not None and type(exact) is not bool:
        raise NetworkError(f"metadata: exact must be true, false or null, not {container.short(exact)}")
    if command is not None and not isinstance(command, str):
        raise NetworkError(f"metadata: accuracy_command must be a string, not {container.short(command)}")


def dumps(network: Network) -> bytes:
    """Content of the file of ``network``.

    Raises
    ------
    :exc:`NetworkError`
        If the metadata are not JSON, or have an accuracy or another fact that commands read in a form that is none.
    """
    _check_facts(network.metadata)
    return container.dumps(_FORMAT, _describe(network), _tensors(network), network.metadata,
                           max_header_bytes=MAX_HEADER_BYTES)


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write ``network`` to ``path`` atomically. The same network gives the same bytes."""
    write_atomically(path, dumps(network))


def load(path: str | os.PathLike[str]) -> Network:
    """Read and check the network file ``path``.

    Raises
    ------
    :exc:`NetworkError`
        If the file is not a whole, unaltered network of a known version; one line that begins with the path.
    :exc:`OSError`
        If the file cannot be read.
    """
    return container.load(path, loads, max_file_bytes=MAX_FILE_BYTES)


def loads(content: bytes) -> Network:
    """Read and check the content of a network file; the inverse of :func:`dumps`. Raises :exc:`NetworkError`."""
    description, metadata, reader = container.loads(_FORMAT, content, max_file_bytes=MAX_FILE_BYTES,
                                                    max_header_bytes=MAX_HEADER_BYTES)
    network = _build(description, metadata, reader)
    # Written again, the metadata are checked, too.
    container.check_canonical(content, dumps(network))
    return network


def _build(description: dict[str, Any], metadata: dict[str, Any], reader: container.Reader) -> Network:
    container.check_keys("network", description, ("input", "timesteps", "layers"))
    source = dict(container.check_keys("input", description["input"], _INPUT_KEYS))
    try:
        source["encoding"] = Encoding(source["encoding"])
    except ValueError:
        raise NetworkError(f"input encoding must be pixels or events, "
                           f"not {container.short(source['encoding'])}") from None
    described = container.check_list("layers", description["layers"])
    layers = container.build_layers(described, lambda index, layer: _build_layer(index, layer, reader))
    reader.finish()
    return Network(input=Input(**source), layers=layers, timesteps=description["timesteps"], metadata=metadata)


def _build_layer(index: int, layer: Any, reader: container.Reader) -> Layer:
    kind = container.check_kind(layer, _LAYER_KEYS, _OPTIONAL_KEYS)
    if kind == OrPool.kind:
        return OrPool(size=layer["size"])
    shape = container.check_shape(layer["shape"], 4 if kind == Convolution.kind else 2)
    weights = _take_weights(reader, f"{index}.weights", shape)
    if kind == Readout.kind:
        return Readout(weights=weights)
    constants = {name: reader.take(f"{index}.{name}", "I64", shape[0]).astype(np.int64) for name in _CONSTANTS}
    try:
        reset = Reset(layer["reset"])
    except ValueError:
        raise NetworkError(f"reset must be subtract or zero, not {container.short(layer['reset'])}") from None
    neurons = Neurons(**constants, fraction=layer["fraction"], reset=reset, leak_shift=layer["leak_shift"])
    shortcut = layer.get("shortcut")
    if kind == FullyConnected.kind:
        return FullyConnected(weights=weights, neurons=neurons, shortcut=shortcut)
    projection = _build_projection(index, layer["projection"], reader) if "projection" in layer else None
    return Convolution(weights=weights, neurons=neurons, stride=layer["stride"], padding=layer["padding"],
                       pool=layer.get("pool", 1), shortcut=shortcut, projection=projection)


def _build_projection(index: int, described: Any, reader: container.Reader) -> Projection:
    container.check_keys("projection", described, _PROJECTION_KEYS)
    shape = container.check_shape(described["shape"], 4)
    weights = _take_weights(reader, f"{index}.projection", shape, where="projection: ")
    return Projection(source=described["source"], weights=weights, stride=described["stride"])


def _take_weights(reader: container.Reader, name: str, shape: list[int], *, where: str = "") -> npt.NDArray[np.int8]:
    # The tensor is in the file already, so this bounds what unpacking allocates.
    packed = reader.take(name, "U8", -(-math.prod(shape) // 4))
    try:
        return ternary.unpack_array(packed, math.prod(shape)).reshape(shape)
    except ValueError as error:
        raise NetworkError(f"{where}{error}") from None
