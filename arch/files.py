"""The network file: a safetensors file with a versioned JSON header and its own hashes.

The layout is that of safetensors: 8 bytes, the length of the header (unsigned, little-endian); the header, a JSON
object; then the tensors, back to back. ``docs/formats.md`` describes every byte. The header names the tensors and, in
``__metadata__``, holds five strings:

===================  ===============================================================================================
sterna_network       version of the format, "1"
network              what is computed, JSON: input, timesteps, layers
content_sha256       SHA-256 over the text of ``network``, one zero byte, and all tensor bytes: :func:`digest`
metadata             facts that change no result, JSON: name, data set, measured accuracy, certificate
metadata_sha256      SHA-256 over the text of ``metadata``
===================  ===============================================================================================

There is one file for one network: JSON has sorted keys and no spaces, tensors are in the order of the layers. A file
in any other form is refused, so that no altered byte goes unnoticed. Nothing in a file is executed, and nothing is
allocated before its size is checked against the file's.
"""

import hashlib
import json
import math
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from arch import ternary
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
    Readout,
    Reset,
    shortcut_of,
)

__all__ = ["MAX_FILE_BYTES", "MAX_HEADER_BYTES", "VERSION", "digest", "dumps", "load", "loads", "save",
           "write_atomically"]

#: Version of the format; a file of another version is refused.
VERSION = 1
#: Largest network file that is read, in bytes.
MAX_FILE_BYTES = 2**30
#: Largest header that is read or written, in bytes.
MAX_HEADER_BYTES = 2**24

_METADATA_KEYS = ("sterna_network", "network", "content_sha256", "metadata", "metadata_sha256")
_NEURON_KEYS = ("fraction", "reset", "leak_shift")
#: Keys that are written only where a layer has them: files of plain chains stay as they are, byte for byte.
_OPTIONAL_KEYS = {Convolution.kind: ("pool", "shortcut"), FullyConnected.kind: ("shortcut",)}
_LAYER_KEYS = {
    Convolution.kind: ("kind", "shape", "stride", "padding", *_NEURON_KEYS),
    FullyConnected.kind: ("kind", "shape", *_NEURON_KEYS),
    OrPool.kind: ("kind", "size"),
    Readout.kind: ("kind", "shape"),
}
_CONSTANTS = ("threshold", "bias", "initial")
_DTYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype("u1"), "I64": np.dtype("<i8")}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


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
    if not isinstance(layer, Readout):
        neurons = layer.neurons
        described |= {"fraction": neurons.fraction, "reset": neurons.reset.value, "leak_shift": neurons.leak_shift}
    return described


def _describe(network: Network) -> str:
    source = network.input
    return _canonical({
        "input": {"encoding": source.encoding.value, "channels": source.channels, "height": source.height,
                  "width": source.width, "zero_point": source.zero_point},
        "timesteps": network.timesteps,
        "layers": [_describe_layer(layer) for layer in network.layers],
    })


def _tensors(network: Network) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    for index, layer in enumerate(network.layers):
        if isinstance(layer, OrPool):
            continue
        yield f"{index}.weights", "U8", ternary.pack_array(layer.weights)
        if not isinstance(layer, Readout):
            for name in _CONSTANTS:
                yield f"{index}.{name}", "I64", getattr(layer.neurons, name).astype("<i8")


def _content_digest(description: str, data: bytes) -> str:
    return hashlib.sha256(description.encode(errors="surrogatepass") + b"\0" + data).hexdigest()


def _data(network: Network) -> bytes:
    return b"".join(array.tobytes() for _, _, array in _tensors(network))


def digest(network: Network) -> str:
    """SHA-256 of what ``network`` computes, as 64 hexadecimal digits. Its metadata do not count."""
    return _content_digest(_describe(network), _data(network))


def _header(metadata: Mapping[str, str], tensors: Mapping[str, Mapping[str, Any]]) -> bytes:
    # The order of the tensors is that of their data, so keys are not sorted here.
    header = json.dumps({"__metadata__": dict(sorted(metadata.items())), **tensors}, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % 8)


def dumps(network: Network) -> bytes:
    """Content of the file of ``network``; raises :exc:`NetworkError` for metadata that are not JSON."""
    try:
        metadata = _canonical(dict(network.metadata))
    except (TypeError, ValueError, RecursionError):
        raise NetworkError("metadata must hold only finite JSON values") from None
    description, data = _describe(network), _data(network)
    tensors: dict[str, dict[str, Any]] = {}
    offset = 0
    for name, dtype, array in _tensors(network):
        tensors[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    header = _header({
        "sterna_network": str(VERSION),
        "network": description,
        "content_sha256": _content_digest(description, data),
        "metadata": metadata,
        "metadata_sha256": hashlib.sha256(metadata.encode()).hexdigest(),
    }, tensors)
    if len(header) > MAX_HEADER_BYTES:
        raise NetworkError(f"header must be at most {MAX_HEADER_BYTES} bytes, not {len(header)}: metadata are too long")
    return len(header).to_bytes(8, "little") + header + data


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path``; an interruption leaves the old file or none."""
    path = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o644)  # mkstemp's files are private
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        pathlib.Path(temporary).replace(path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


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
    path = pathlib.Path(path)
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    try:
        return loads(content)
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None


def loads(content: bytes) -> Network:
    """Read and check the content of a network file; the inverse of :func:`dumps`. Raises :exc:`NetworkError`."""
    if len(content) > MAX_FILE_BYTES:
        raise NetworkError(f"file must be at most {MAX_FILE_BYTES} bytes")
    if len(content) < 8:
        raise NetworkError(f"file is truncated: {len(content)} bytes, and the first 8 are the header's length")
    length = int.from_bytes(content[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise NetworkError(f"header must be at most {MAX_HEADER_BYTES} bytes, not {length}: not a network file")
    if len(content) < 8 + length:
        raise NetworkError(f"file is truncated: {len(content)} bytes, and the header ends at {8 + length}")
    header, data = content[8:8 + length], content[8 + length:]
    metadata, tensors = _split(_json("header", header))
    if metadata["sterna_network"] != str(VERSION):
        raise NetworkError(f"version must be {VERSION}, not {_short(metadata['sterna_network'])}")
    _check_offsets(tensors, len(data))
    if metadata["content_sha256"] != _content_digest(metadata["network"], data):
        raise NetworkError("network does not match its SHA-256: the file was altered")
    if metadata["metadata_sha256"] != hashlib.sha256(metadata["metadata"].encode(errors="surrogatepass")).hexdigest():
        raise NetworkError("metadata do not match their SHA-256: the file was altered")
    network = _build(_json("network", metadata["network"]), _json("metadata", metadata["metadata"]), tensors, data)
    if dumps(network) != content:
        raise NetworkError("header is not in canonical form: the file was altered, or written by another program")
    return network


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _json(where: str, text: bytes | str) -> dict[str, Any]:
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        value = json.loads(decoded, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise NetworkError(f"{where} must be a JSON object: not a network file, or altered") from None
    if not isinstance(value, dict):
        raise NetworkError(f"{where} must be a JSON object, not {_short(value)}")
    return value


def _keys(where: str, value: Any, keys: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NetworkError(f"{where} must be an object, not {_short(value)}")
    if not set(keys) <= set(value) <= {*keys, *optional}:
        may = f" and may have {', '.join(optional)}" if optional else ""
        raise NetworkError(f"{where} must have the keys {', '.join(keys)}{may}, not {_short(', '.join(value))}")
    return value


def _split(header: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or "sterna_network" not in metadata:
        raise NetworkError("not a Sterna network: the header names no version")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise NetworkError(f"header {_short(key)} must be a string, not {_short(value)}")
    # The version comes first: another one may have other keys.
    if metadata["sterna_network"] == str(VERSION):
        _keys("header", metadata, _METADATA_KEYS)
    return metadata, header


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_FILE_BYTES * 4


def _check_offsets(tensors: dict[str, Any], size: int) -> None:
    """Check that the tensors fill the ``size`` bytes of data exactly, one after the other."""
    end = 0
    for name, tensor in tensors.items():
        where = f"tensor {_short(name)}"
        _keys(where, tensor, ("dtype", "shape", "data_offsets"))
        dtype = _DTYPES.get(tensor["dtype"]) if isinstance(tensor["dtype"], str) else None
        if dtype is None:
            raise NetworkError(f"{where} must be U8 or I64, not {_short(tensor['dtype'])}")
        shape, offsets = tensor["shape"], tensor["data_offsets"]
        if not isinstance(shape, list) or len(shape) != 1 or not _natural(shape[0]):
            raise NetworkError(f"{where} must have one dimension, not shape {_short(shape)}")
        expected = [end, end + shape[0] * dtype.itemsize]
        if offsets != expected:
            raise NetworkError(f"{where} must be at bytes {expected[0]} to {expected[1]}, not {_short(offsets)}")
        end = expected[1]
    if end > size:
        raise NetworkError(f"file is truncated: {size} bytes of tensors, and the header promises {end}")
    if end < size:
        raise NetworkError(f"file must end after {end} bytes of tensors, not {size}")


def _build(description: dict[str, Any], metadata: dict[str, Any], tensors: dict[str, Any], data: bytes) -> Network:
    _keys("network", description, ("input", "timesteps", "layers"))
    source = dict(_keys("input", description["input"], ("encoding", "channels", "height", "width", "zero_point")))
    try:
        source["encoding"] = Encoding(source["encoding"])
    except ValueError:
        raise NetworkError(f"input encoding must be pixels or events, not {_short(source['encoding'])}") from None
    if not isinstance(description["layers"], list):
        raise NetworkError(f"layers must be a list, not {_short(description['layers'])}")
    reader = _Reader(tensors, data)
    layers = []
    for index, layer in enumerate(description["layers"]):
        try:
            layers.append(_build_layer(index, layer, reader))
        except NetworkError as error:
            raise NetworkError(f"layer {index}: {error}") from None
    reader.finish()
    return Network(input=Input(**source), layers=tuple(layers), timesteps=description["timesteps"], metadata=metadata)


class _Reader:
    """Gives out each tensor once, and knows whether one is left."""

    def __init__(self, tensors: dict[str, Any], data: bytes):
        self._tensors = dict(tensors)
        self._data = data

    def take(self, name: str, dtype: str, count: int) -> npt.NDArray[Any]:
        if name not in self._tensors:
            raise NetworkError(f"tensor {name!r} is missing")
        tensor = self._tensors.pop(name)
        if tensor["dtype"] != dtype:
            raise NetworkError(f"tensor {name!r} must be {dtype}, not {tensor['dtype']}")
        if tensor["shape"] != [count]:
            raise NetworkError(f"tensor {name!r} must have shape [{count}], not {_short(tensor['shape'])}")
        start, end = tensor["data_offsets"]
        return np.frombuffer(self._data[start:end], dtype=_DTYPES[dtype])

    def finish(self) -> None:
        if self._tensors:
            raise NetworkError(f"tensor {_short(next(iter(self._tensors)))} belongs to no layer")


def _build_layer(index: int, layer: Any, reader: _Reader) -> Layer:
    kind = layer.get("kind") if isinstance(layer, dict) else None
    if not isinstance(kind, str) or kind not in _LAYER_KEYS:
        raise NetworkError(f"kind must be {', '.join(_LAYER_KEYS)}, not {_short(kind)}")
    _keys(kind, layer, _LAYER_KEYS[kind], _OPTIONAL_KEYS.get(kind, ()))
    if kind == OrPool.kind:
        return OrPool(size=layer["size"])
    shape = layer["shape"]
    dimensions = 4 if kind == Convolution.kind else 2
    if not isinstance(shape, list) or len(shape) != dimensions or not all(_natural(size) and size for size in shape):
        raise NetworkError(f"shape must be {dimensions} positive integers, not {_short(shape)}")
    # The tensor is in the file already, so this bounds what unpacking allocates.
    packed = reader.take(f"{index}.weights", "U8", -(-math.prod(shape) // 4))
    try:
        weights = ternary.unpack_array(packed, math.prod(shape)).reshape(shape)
    except ValueError as error:
        raise NetworkError(str(error)) from None
    if kind == Readout.kind:
        return Readout(weights=weights)
    constants = {name: reader.take(f"{index}.{name}", "I64", shape[0]).astype(np.int64) for name in _CONSTANTS}
    try:
        reset = Reset(layer["reset"])
    except ValueError:
        raise NetworkError(f"reset must be subtract or zero, not {_short(layer['reset'])}") from None
    neurons = Neurons(**constants, fraction=layer["fraction"], reset=reset, leak_shift=layer["leak_shift"])
    shortcut = layer.get("shortcut")
    if kind == FullyConnected.kind:
        return FullyConnected(weights=weights, neurons=neurons, shortcut=shortcut)
    return Convolution(weights=weights, neurons=neurons, stride=layer["stride"], padding=layer["padding"],
                       pool=layer.get("pool", 1), shortcut=shortcut)
