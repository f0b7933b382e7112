"""The file of a network with time-to-first-spike coding: a safetensors file like that of :mod:`arch.files`.

The header's ``__metadata__`` holds five strings: ``sterna_ttfs_network``, the version of the format; ``network``, what
is computed; ``metadata``, facts that change no result; and ``content_sha256`` and ``metadata_sha256`` over them, as in
:mod:`arch.files`. The tensors, each of one dimension, in the order of the layers I:

=============  =====  ========================================================================
threshold      I64    thresholds of the pixels, one per timestep
I.weights      U8     weight codes, int8 in two's complement, flattened in C order
I.threshold    I64    thresholds, ``[channels, T]`` flattened in C order; not for a readout
=============  =====  ========================================================================

There is one file for one network; a file in any other form is refused, so that no altered byte goes unnoticed. Nothing
in a file is executed, and nothing is allocated before its size is checked against the file's.
"""

import hashlib
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.files import (
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    _canonical,
    _check_offsets,
    _content_digest,
    _header,
    _json,
    _keys,
    _natural,
    _Reader,
    _short,
    write_atomically,
)
from arch.network import NetworkError
from arch.ttfs import Convolution, EarliestPool, FullyConnected, Input, Layer, Network, Readout, TimeCode

__all__ = ["VERSION", "digest", "dumps", "load", "loads", "save"]

#: Version of the format; a file of another version is refused.
VERSION = 1

_FORMAT = "sterna_ttfs_network"
_METADATA_KEYS = (_FORMAT, "network", "content_sha256", "metadata", "metadata_sha256")
_INPUT_KEYS = ("channels", "height", "width")
_CODE_KEYS = ("timesteps", "tau", "p", "bits", "fraction")
_LAYER_KEYS = {
    Convolution.kind: ("kind", "shape", "stride", "padding"),
    FullyConnected.kind: ("kind", "shape"),
    EarliestPool.kind: ("kind", "size"),
    Readout.kind: ("kind", "shape"),
}


def _describe_layer(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, EarliestPool):
        return {"kind": layer.kind, "size": layer.size}
    described: dict[str, Any] = {"kind": layer.kind, "shape": list(layer.weights.shape)}
    if isinstance(layer, Convolution):
        described |= {"stride": layer.stride, "padding": layer.padding}
    return described


def _describe(network: Network) -> str:
    return _canonical({
        "input": {key: getattr(network.input, key) for key in _INPUT_KEYS},
        "code": {key: getattr(network.code, key) for key in _CODE_KEYS},
        "layers": [_describe_layer(layer) for layer in network.layers],
    })


def _tensors(network: Network) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    yield "threshold", "I64", network.input.threshold.astype("<i8")
    for index, layer in enumerate(network.layers):
        if isinstance(layer, EarliestPool):
            continue
        yield f"{index}.weights", "U8", layer.weights.reshape(-1).view(np.uint8)
        if not isinstance(layer, Readout):
            yield f"{index}.threshold", "I64", layer.threshold.reshape(-1).astype("<i8")


def _data(network: Network) -> bytes:
    return b"".join(array.tobytes() for _, _, array in _tensors(network))


def digest(network: Network) -> str:
    """SHA-256 of what ``network`` computes, as 64 hexadecimal digits. Its metadata do not count."""
    return _content_digest(_describe(network), _data(network))


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
        _FORMAT: str(VERSION),
        "network": description,
        "content_sha256": _content_digest(description, data),
        "metadata": metadata,
        "metadata_sha256": hashlib.sha256(metadata.encode()).hexdigest(),
    }, tensors)
    if len(header) > MAX_HEADER_BYTES:
        raise NetworkError(f"header must be at most {MAX_HEADER_BYTES} bytes, not {len(header)}: metadata are too long")
    return len(header).to_bytes(8, "little") + header + data


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
    data = content[8 + length:]
    metadata, tensors = _split(_json("header", content[8:8 + length]))
    _check_offsets(tensors, len(data))
    if metadata["content_sha256"] != _content_digest(metadata["network"], data):
        raise NetworkError("network does not match its SHA-256: the file was altered")
    if metadata["metadata_sha256"] != hashlib.sha256(metadata["metadata"].encode(errors="surrogatepass")).hexdigest():
        raise NetworkError("metadata do not match their SHA-256: the file was altered")
    network = _build(_json("network", metadata["network"]), _json("metadata", metadata["metadata"]),
                     _Reader(tensors, data))
    if dumps(network) != content:
        raise NetworkError("header is not in canonical form: the file was altered, or written by another program")
    return network


def _split(header: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or _FORMAT not in metadata:
        raise NetworkError("not a network with time-to-first-spike coding: the header names no version of one")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise NetworkError(f"header {_short(key)} must be a string, not {_short(value)}")
    # The version comes first: another one may have other keys.
    if metadata[_FORMAT] != str(VERSION):
        raise NetworkError(f"version must be {VERSION}, not {_short(metadata[_FORMAT])}")
    _keys("header", metadata, _METADATA_KEYS)
    return metadata, header


def _build(description: dict[str, Any], metadata: dict[str, Any], reader: _Reader) -> Network:
    _keys("network", description, ("input", "code", "layers"))
    source = _keys("input", description["input"], _INPUT_KEYS)
    code = TimeCode(**_keys("code", description["code"], _CODE_KEYS))
    if not isinstance(description["layers"], list):
        raise NetworkError(f"layers must be a list, not {_short(description['layers'])}")
    threshold = reader.take("threshold", "I64", code.timesteps).astype(np.int64)
    layers = []
    for index, layer in enumerate(description["layers"]):
        try:
            layers.append(_build_layer(index, layer, code, reader))
        except NetworkError as error:
            raise NetworkError(f"layer {index}: {error}") from None
    reader.finish()
    return Network(input=Input(**source, threshold=threshold), code=code, layers=tuple(layers), metadata=metadata)


def _build_layer(index: int, layer: Any, code: TimeCode, reader: _Reader) -> Layer:
    kind = layer.get("kind") if isinstance(layer, dict) else None
    if not isinstance(kind, str) or kind not in _LAYER_KEYS:
        raise NetworkError(f"kind must be {', '.join(_LAYER_KEYS)}, not {_short(kind)}")
    _keys(kind, layer, _LAYER_KEYS[kind])
    if kind == EarliestPool.kind:
        return EarliestPool(size=layer["size"])
    shape = layer["shape"]
    dimensions = 4 if kind == Convolution.kind else 2
    if not isinstance(shape, list) or len(shape) != dimensions or not all(_natural(size) and size for size in shape):
        raise NetworkError(f"shape must be {dimensions} positive integers, not {_short(shape)}")
    weights = reader.take(f"{index}.weights", "U8", math.prod(shape)).view(np.int8).reshape(shape)
    if kind == Readout.kind:
        return Readout(weights=weights)
    threshold = reader.take(f"{index}.threshold", "I64", shape[0] * code.timesteps).astype(np.int64)
    threshold = threshold.reshape(shape[0], code.timesteps)
    if kind == FullyConnected.kind:
        return FullyConnected(weights=weights, threshold=threshold)
    return Convolution(weights=weights, threshold=threshold, stride=layer["stride"], padding=layer["padding"])
