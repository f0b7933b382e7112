"""The file of a network with time-to-first-spike coding, in the container of :mod:`arch.container`.

The five strings are ``sterna_ttfs_network``, the version of the format; ``network``, what is computed; ``metadata``,
facts that change no result; and ``content_sha256`` and ``metadata_sha256`` over them. The tensors, in the order of the
layers I:

=============  =====  ========================================================================
threshold      I64    thresholds of the pixels, one per timestep
I.weights      U8     weight codes, int8 in two's complement, flattened in C order
I.threshold    I64    thresholds, ``[channels, T]`` flattened in C order; not for a readout
=============  =====  ========================================================================

There is one file for one network; a file in any other form is refused, so that no altered byte goes unnoticed.
"""

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from arch import container
from arch.container import MAX_FILE_BYTES, MAX_HEADER_BYTES
from arch.foreign import Kind
from arch.ttfs.code import TimeCode
from arch.ttfs.network import Convolution, EarliestPool, FullyConnected, Input, Layer, Network, Readout
from support.files import write_atomically

__all__ = ["VERSION", "digest", "dumps", "load", "loads", "save"]

#: Version of the format; a file of another version is refused.
VERSION = 1

_TRAIN = "train the network with the method conversion-aware and export that, docs/ttfs.md"
_FORMAT = container.Format(
    key="sterna_ttfs_network", version=VERSION,
    stranger="not a network with time-to-first-spike coding: the header names no version of one",
    hints={
        Kind.TTFS_CHECKPOINT: "not a network but a checkpoint: export it first, "
                              "python -m export.ttfs CHECKPOINT -o NETWORK",
        Kind.CHECKPOINT: "not a network with time-to-first-spike coding but a checkpoint of one of rates: give it to "
                         "python -m export",
        Kind.NETWORK: "not a network with time-to-first-spike coding but one of rates: give it to python -m sim or "
                      "python -m gateware.build",
        Kind.TENSORS: f"not a network but a safetensors file of another program: {_TRAIN}",
        Kind.TORCH: f"not a network but a file of torch.save: {_TRAIN}",
        Kind.HDF5: f"not a network but an HDF5 file: {_TRAIN}",
        Kind.DATA: "not a network but images or arrays: give the network that python -m export.ttfs wrote",
    })
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
    return container.canonical({
        "input": {key: getattr(network.input, key) for key in _INPUT_KEYS},
        "code": {key: getattr(network.code, key) for key in _CODE_KEYS},
        "layers": [_describe_layer(layer) for layer in network.layers],
    })


def _tensors(network: Network) -> Iterator[container.Tensor]:
    yield "threshold", "I64", network.input.threshold.astype("<i8")
    for index, layer in enumerate(network.layers):
        if isinstance(layer, EarliestPool):
            continue
        yield f"{index}.weights", "U8", layer.weights.reshape(-1).view(np.uint8)
        if not isinstance(layer, Readout):
            yield f"{index}.threshold", "I64", layer.threshold.reshape(-1).astype("<i8")


def digest(network: Network) -> str:
    """SHA-256 of what ``network`` computes, as 64 hexadecimal digits. Its metadata do not count."""
    return container.digest(_describe(network), _tensors(network))


def dumps(network: Network) -> bytes:
    """Content of the file of ``network``; raises :exc:`arch.network.NetworkError` for metadata that are not JSON."""
    return container.dumps(_FORMAT, _describe(network), _tensors(network), network.metadata,
                           max_header_bytes=MAX_HEADER_BYTES)


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write ``network`` to ``path`` atomically. The same network gives the same bytes."""
    write_atomically(path, dumps(network))


def load(path: str | os.PathLike[str]) -> Network:
    """Read and check the network file ``path``.

    Raises
    ------
    :exc:`arch.network.NetworkError`
        If the file is not a whole, unaltered network of a known version; one line that begins with the path.
    :exc:`OSError`
        If the file cannot be read.
    """
    return container.load(path, loads, max_file_bytes=MAX_FILE_BYTES)


def loads(content: bytes) -> Network:
    """Read and check the content of a network file; the inverse of :func:`dumps`.

    Raises :exc:`arch.network.NetworkError`.
    """
    description, metadata, reader = container.loads(_FORMAT, content, max_file_bytes=MAX_FILE_BYTES,
                                                    max_header_bytes=MAX_HEADER_BYTES)
    network = _build(description, metadata, reader)
    container.check_canonical(content, dumps(network))
    return network


def _build(description: dict[str, Any], metadata: dict[str, Any], reader: container.Reader) -> Network:
    container.check_keys("network", description, ("input", "code", "layers"))
    source = container.check_keys("input", description["input"], _INPUT_KEYS)
    code = TimeCode(**container.check_keys("code", description["code"], _CODE_KEYS))
    described = container.check_list("layers", description["layers"])
    threshold = reader.take("threshold", "I64", code.timesteps).astype(np.int64)
    layers = container.build_layers(described, lambda index, layer: _build_layer(index, layer, code, reader))
    reader.finish()
    return Network(input=Input(**source, threshold=threshold), code=code, layers=layers, metadata=metadata)


def _build_layer(index: int, layer: Any, code: TimeCode, reader: container.Reader) -> Layer:
    kind = container.check_kind(layer, _LAYER_KEYS)
    if kind == EarliestPool.kind:
        return EarliestPool(size=layer["size"])
    shape = container.check_shape(layer["shape"], 4 if kind == Convolution.kind else 2)
    weights = reader.take(f"{index}.weights", "U8", math.prod(shape)).view(np.int8).reshape(shape)
    if kind == Readout.kind:
        return Readout(weights=weights)
    threshold = reader.take(f"{index}.threshold", "I64", shape[0] * code.timesteps).astype(np.int64)
    threshold = threshold.reshape(shape[0], code.timesteps)
    if kind == FullyConnected.kind:
        return FullyConnected(weights=weights, threshold=threshold)
    return Convolution(weights=weights, threshold=threshold, stride=layer["stride"], padding=layer["padding"])
