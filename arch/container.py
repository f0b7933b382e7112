"""The container of a network's file: a canonical safetensors file with a versioned JSON header and its own hashes.

What the formats of :mod:`arch.network_file`, :mod:`arch.ttfs.network_file` and :mod:`arch.ttfs.checkpoint` share;
``docs/formats.md`` shows the bytes of one. The layout is that of safetensors: 8 bytes, the length of the header
(unsigned, little-endian); the header, a JSON object; then the tensors, each of one dimension, back to back. The header
names the tensors and, in ``__metadata__``, holds five strings:

===================  ===============================================================================================
:attr:`Format.key`   version of the format
network              what is computed, JSON
content_sha256       SHA-256 over the text of ``network``, one zero byte, and all tensor bytes: :func:`digest`
metadata             facts that change no result, JSON
metadata_sha256      SHA-256 over the text of ``metadata``
===================  ===============================================================================================

There is one file for one network: JSON has sorted keys and no spaces, tensors are in the order in which they are
written. Nothing in a file is executed, and nothing is allocated before its size is checked against the file's. Every
check raises :exc:`NetworkError`, in one line.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from arch import foreign, strict_json
from arch.network import NetworkError
from arch.strict_json import canonical, short
from support.errors import InputError
from support.files import read_file

__all__ = ["MAX_FILE_BYTES", "MAX_HEADER_BYTES", "Format", "Reader", "Tensor", "build_layers", "canonical",
           "check_canonical", "check_keys", "check_kind", "check_list", "check_shape", "digest", "dumps", "load",
           "loads", "short"]

#: Largest network file that is read, in bytes.
MAX_FILE_BYTES = 2**30
#: Largest header that is read or written, in bytes.
MAX_HEADER_BYTES = 2**24

#: A tensor of a file: name, dtype ("U8", "I64" or "F32"), elements in one dimension.
Tensor = tuple[str, str, npt.NDArray[Any]]

_DTYPES: dict[str, np.dtype[Any]] = {"U8": np.dtype("u1"), "I64": np.dtype("<i8"), "F32": np.dtype("<f4")}

_Built = TypeVar("_Built")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """What tells the files of one kind of network from those of another."""

    #: Key of the version in ``__metadata__``.
    key: str
    #: Version of the format; a file of another version is refused.
    version: int
    #: Error for a file whose ``__metadata__`` has no such key, one line.
    stranger: str
    #: What to say instead about files of known other kinds, one line each that says what to do.
    hints: Mapping[foreign.Kind, str] = dataclasses.field(default_factory=dict)
    #: Dtypes that its tensors may have.
    dtypes: tuple[str, ...] = ("U8", "I64")

    @property
    def metadata_keys(self) -> tuple[str, ...]:
        """Keys of ``__metadata__``."""
        return self.key, "network", "content_sha256", "metadata", "metadata_sha256"


def _content_digest(description: str, data: bytes) -> str:
    return hashlib.sha256(description.encode(errors="surrogatepass") + b"\0" + data).hexdigest()


def _metadata_digest(metadata: str) -> str:
    return hashlib.sha256(metadata.encode(errors="surrogatepass")).hexdigest()


def _join(tensors: Iterable[Tensor]) -> bytes:
    return b"".join(array.tobytes() for _, _, array in tensors)


def digest(description: str, tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the text ``description`` and of ``tensors``, as 64 hexadecimal digits."""
    return _content_digest(description, _join(tensors))


def dumps(form: Format, description: str, tensors: Iterable[Tensor], metadata: Mapping[str, Any], *,
          max_header_bytes: int) -> bytes:
    """Content of the file of a network.

    Parameters
    ----------
    form
        The format of the file.
    description
        What is computed, as :func:`canonical` text.
    tensors
        Tensors in the order of the file.
    metadata
        Facts that change no result. JSON values only.
    max_header_bytes
        Largest header that is written, in bytes.

    Raises
    ------
    :exc:`NetworkError`
        If ``metadata`` are not JSON, or the header becomes too long.
    """
    try:
        facts = canonical(dict(metadata))
    except (TypeError, ValueError, RecursionError):
        raise NetworkError("metadata must hold only finite JSON values") from None
    tensors = list(tensors)
    data = _join(tensors)
    strings = {
        form.key: str(form.version),
        "network": description,
        "content_sha256": _content_digest(description, data),
        "metadata": facts,
        "metadata_sha256": _metadata_digest(facts),
    }
    entries: dict[str, dict[str, Any]] = {"__metadata__": dict(sorted(strings.items()))}
    offset = 0
    for name, dtype, array in tensors:
        entries[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    # The order of the tensors is that of their data, so keys are not sorted here.
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > max_header_bytes:
        raise NetworkError(f"header must be at most {max_header_bytes} bytes, not {len(header)}: metadata are too long")
    return len(header).to_bytes(8, "little") + header + data


def load(path: str | os.PathLike[str], read: Callable[[bytes], _Built], *, max_file_bytes: int) -> _Built:
    """Return what ``read`` makes of the content of ``path``.

    Raises
    ------
    :exc:`NetworkError`
        If ``path`` is no file of at most ``max_file_bytes``, or that of ``read``; the line begins with the path.
    :exc:`OSError`
        If the file cannot be read.
    """
    try:
        content = read_file(path, limit=max_file_bytes)
    except InputError as error:
        raise NetworkError(str(error)) from None
    try:
        return read(content)
    except NetworkError as error:
        raise NetworkError(f"{os.fspath(path)}: {error}") from None


def loads(form: Format, content: bytes, *, max_file_bytes: int,
          max_header_bytes: int) -> tuple[dict[str, Any], dict[str, Any], "Reader"]:
    """Check the content of a file, but for the meaning of its description: that is left to the format.

    The format builds the network, and then compares the file with the one that it would write: see
    :func:`check_canonical`.

    Parameters
    ----------
    form
        The format that the file must have.
    content
        The whole file.
    max_file_bytes, max_header_bytes
        Largest file and header that are read, in bytes.

    Returns
    -------
    description
        What is computed: the object ``network`` of the header.
    metadata
        Facts that change no result.
    reader
        Gives out the tensors.

    Raises
    ------
    :exc:`NetworkError`
        If the file is truncated, altered, too large, or of another format or version.
    """
    if len(content) > max_file_bytes:
        raise NetworkError(f"file must be at most {max_file_bytes} bytes")
    try:
        return _loads(form, content, max_header_bytes)
    except NetworkError:
        kind = foreign.kind_of(content)
        if kind is None or kind not in form.hints:
            raise
        raise NetworkError(form.hints[kind]) from None


def _loads(form: Format, content: bytes, max_header_bytes: int) -> tuple[dict[str, Any], dict[str, Any], "Reader"]:
    if not content:
        raise NetworkError(foreign.EMPTY)
    if len(content) < 8:
        raise NetworkError(f"file is truncated: {len(content)} bytes, and the first 8 are the header's length")
    length = int.from_bytes(content[:8], "little")
    if length > max_header_bytes:
        what, _, _ = form.stranger.partition(":")
        raise NetworkError(f"{what}: its header must be at most {max_header_bytes} bytes, not {length}")
    if len(content) < 8 + length:
        raise NetworkError(f"file is truncated: {len(content)} bytes, and the header ends at {8 + length}")
    header, data = content[8:8 + length], content[8 + length:]
    metadata, tensors = _split(form, _json("header", header))
    _check_offsets(form, tensors, len(data))
    if metadata["content_sha256"] != _content_digest(metadata["network"], data):
        raise NetworkError("network does not match its SHA-256: the file was altered")
    if metadata["metadata_sha256"] != _metadata_digest(metadata["metadata"]):
        raise NetworkError("metadata do not match their SHA-256: the file was altered")
    return _json("network", metadata["network"]), _json("metadata", metadata["metadata"]), Reader(tensors, data)


def check_canonical(content: bytes, written: bytes) -> None:
    """Check that ``content`` is the one file of its network: ``written``, what the format writes for it."""
    if written != content:
        raise NetworkError("header is not in canonical form: the file was altered, or written by another program")


def _json(where: str, text: bytes | str) -> dict[str, Any]:
    try:
        value = strict_json.parse(text)
    except ValueError:
        raise NetworkError(f"{where} must be a JSON object: not a network file, or altered") from None
    if not isinstance(value, dict):
        raise NetworkError(f"{where} must be a JSON object, not {short(value)}")
    return value


def _split(form: Format, header: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Split ``header`` into its strings and its tensors."""
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or form.key not in metadata:
        raise NetworkError(form.stranger)
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise NetworkError(f"header {short(key)} must be a string, not {short(value)}")
    # The version comes first: another one may have other keys.
    if metadata[form.key] != str(form.version):
        raise NetworkError(f"version must be {form.version}, not {short(metadata[form.key])}")
    check_keys("header", metadata, form.metadata_keys)
    return metadata, header


def _is_size(value: Any) -> bool:
    # A byte of a file holds four weights at the most.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_FILE_BYTES * 4


def _check_offsets(form: Format, tensors: dict[str, Any], size: int) -> None:
    """Check that the tensors fill the ``size`` bytes of data exactly, one after the other."""
    end = 0
    for name, tensor in tensors.items():
        where = f"tensor {short(name)}"
        check_keys(where, tensor, ("dtype", "shape", "data_offsets"))
        if not isinstance(tensor["dtype"], str) or tensor["dtype"] not in form.dtypes:
            raise NetworkError(f"{where} must be {' or '.join(form.dtypes)}, not {short(tensor['dtype'])}")
        dtype = _DTYPES[tensor["dtype"]]
        shape, offsets = tensor["shape"], tensor["data_offsets"]
        if not isinstance(shape, list) or len(shape) != 1 or not _is_size(shape[0]):
            raise NetworkError(f"{where} must have one dimension, not shape {short(shape)}")
        expected = [end, end + shape[0] * dtype.itemsize]
        # 5.0 and true are equal to integers, and none.
        if offsets != expected or not all(type(offset) is int for offset in offsets):
            raise NetworkError(f"{where} must be at bytes {expected[0]} to {expected[1]}, not {short(offsets)}")
        end = expected[1]
    if end > size:
        raise NetworkError(f"file is truncated: {size} bytes of tensors, and the header promises {end}")
    if end < size:
        raise NetworkError(f"file must end after {end} bytes of tensors, not {size}")


class Reader:
    """Gives out each tensor of a file once, and knows whether one is left.

    Parameters
    ----------
    tensors
        Entries of the header by name, checked against ``data``.
    data
        Bytes of all tensors.
    """

    def __init__(self, tensors: Mapping[str, Any], data: bytes):
        self._tensors = dict(tensors)
        self._data = data

    def take(self, name: str, dtype: str, count: int) -> npt.NDArray[Any]:
        """Take the tensor ``name`` out.

        Parameters
        ----------
        name
            Name of the tensor.
        dtype
            "U8" for ``uint8``, "I64" for ``int64``, "F32" for ``float32``.
        count
            Number of elements that it must have; nothing of that size is allocated before.

        Returns
        -------
        array
            ``uint8[count]``, ``int64[count]`` or ``float32[count]``, little-endian, read-only.

        Raises
        ------
        :exc:`NetworkError`
            If the file has no such tensor, or it was taken, or its dtype or size is another.
        """
        if name not in self._tensors:
            raise NetworkError(f"tensor {name!r} is missing")
        tensor = self._tensors.pop(name)
        if tensor["dtype"] != dtype:
            raise NetworkError(f"tensor {name!r} must be {dtype}, not {tensor['dtype']}")
        if tensor["shape"] != [count]:
            raise NetworkError(f"tensor {name!r} must have shape [{count}], not {short(tensor['shape'])}")
        start, end = tensor["data_offsets"]
        return np.frombuffer(self._data[start:end], dtype=_DTYPES[dtype])

    def finish(self) -> None:
        """Check that every tensor was taken."""
        if self._tensors:
            raise NetworkError(f"tensor {short(next(iter(self._tensors)))} belongs to no layer")


def check_keys(where: str, value: Any, keys: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Check that ``value`` is an object with all of ``keys`` and none but those of ``optional`` beside; return it."""
    if not isinstance(value, dict):
        raise NetworkError(f"{where} must be an object, not {short(value)}")
    if not set(keys) <= set(value) <= {*keys, *optional}:
        may = f" and may have {', '.join(optional)}" if optional else ""
        raise NetworkError(f"{where} must have the keys {', '.join(keys)}{may}, not {short(', '.join(value))}")
    return value


def check_list(where: str, value: Any) -> list[Any]:
    """Check that ``value`` is a list, and return it."""
    if not isinstance(value, list):
        raise NetworkError(f"{where} must be a list, not {short(value)}")
    return value


def build_layers(layers: list[Any], build: Callable[[int, Any], _Built]) -> tuple[_Built, ...]:
    """Return what ``build`` makes of each index and description; its errors begin with the index."""
    built = []
    for index, layer in enumerate(layers):
        try:
            built.append(build(index, layer))
        except NetworkError as error:
            raise NetworkError(f"layer {index}: {error}") from None
    return tuple(built)


def check_kind(layer: Any, keys: Mapping[str, tuple[str, ...]],
               optional: Mapping[str, tuple[str, ...]] | None = None) -> str:
    """Check the kind of the described ``layer`` and its keys, and return the kind.

    Parameters
    ----------
    layer
        Description of a layer, as read.
    keys
        Keys that a layer must have, by kind.
    optional
        Keys that it may have beside, by kind; None is none.
    """
    kind = layer.get("kind") if isinstance(layer, dict) else None
    if not isinstance(kind, str) or kind not in keys:
        raise NetworkError(f"kind must be {', '.join(keys)}, not {short(kind)}")
    check_keys(kind, layer, keys[kind], (optional or {}).get(kind, ()))
    return kind


def check_shape(shape: Any, dimensions: int) -> list[int]:
    """Check that ``shape`` is a list of ``dimensions`` sizes that a file may hold, none of them zero; return it."""
    if not isinstance(shape, list) or len(shape) != dimensions or not all(_is_size(size) and size for size in shape):
        raise NetworkError(f"shape must be {dimensions} positive integers, not {short(shape)}")
    return shape
