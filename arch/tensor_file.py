"""The tensors of a safetensors file that anybody may have written.

The layout is 8 bytes, the length of the header (unsigned, little-endian); the header, a JSON object with an entry
``{"dtype": ..., "shape": [...], "data_offsets": [begin, end]}`` per tensor and strings in ``__metadata__``; then the
data, which the tensors fill without gaps. Nothing is allocated before its size is checked against the file's.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import strict_json
from support.errors import InputError

__all__ = ["DTYPES", "TensorFile", "TensorFileError", "loads"]

#: Types of tensors that are read, by their name in a safetensors file.
DTYPES: Mapping[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I8": np.dtype("i1")}

#: Largest header that is read, in bytes.
_MAX_HEADER_BYTES = 2**24
_KEYS = {"dtype", "shape", "data_offsets"}


class TensorFileError(InputError):
    """The bytes are no safetensors file, or one with tensors of other types. The message is one line."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TensorFile:
    """What a file holds."""

    #: Strings by key; empty if the file has none.
    metadata: Mapping[str, str]
    #: Tensors by name, read-only, of :data:`DTYPES`.
    tensors: Mapping[str, npt.NDArray[Any]]


def _header(content: bytes) -> tuple[dict[str, Any], int]:
    if len(content) < 8:
        raise TensorFileError(f"{len(content)} bytes, and the first 8 are the header's length")
    length = int.from_bytes(content[:8], "little")
    if length > _MAX_HEADER_BYTES:
        raise TensorFileError(f"header must be at most {_MAX_HEADER_BYTES} bytes, not {length}")
    if len(content) < 8 + length:
        raise TensorFileError(f"{len(content)} bytes, and the header ends at {8 + length}")
    try:
        header = strict_json.parse(content[8:8 + length])
    except ValueError:
        raise TensorFileError("header must be a JSON object") from None
    if not isinstance(header, dict):
        raise TensorFileError(f"header must be a JSON object, not {strict_json.short(header)}")
    return header, 8 + length


def _sizes(where: str, what: str, value: Any) -> list[int]:
    if not isinstance(value, list) or not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0
                                              for size in value):
        raise TensorFileError(f"{where} {what} must be a list of sizes, not {strict_json.short(value)}")
    return value


def _tensor(name: str, entry: Any, data: memoryview) -> tuple[int, int, npt.NDArray[Any]]:
    """Return begin, end and content of the tensor ``name``."""
    where = f"tensor {strict_json.name(name)}"
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        raise TensorFileError(f"{where} must be an object of dtype, shape and data_offsets, "
                              f"not {strict_json.short(entry)}")
    kind = entry["dtype"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise TensorFileError(f"tensors must be float32 or int8, not {strict_json.name(kind)} as {where} is")
    shape, offsets = _sizes(where, "shape", entry["shape"]), _sizes(where, "data_offsets", entry["data_offsets"])
    dtype = DTYPES[kind]
    if len(shape) > 8 or len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
        raise TensorFileError(f"{where} of shape {strict_json.short(shape)} must have {dtype.itemsize} bytes for each "
                              f"element, not be at {strict_json.short(offsets)}")
    if offsets[1] > len(data):
        raise TensorFileError(f"{len(data)} bytes of tensors, and {where} ends at {offsets[1]}")
    array = np.frombuffer(data[offsets[0]:offsets[1]], dtype=dtype).reshape(shape)
    return offsets[0], offsets[1], array


def loads(content: bytes) -> TensorFile:
    """Return strings and tensors of the safetensors file with this ``content``; raises :exc:`TensorFileError`."""
    header, begin = _header(content)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TensorFileError(f"__metadata__ must hold strings, not {strict_json.short(metadata)}")
    data = memoryview(content)[begin:]
    found = {name: _tensor(name, entry, data) for name, entry in header.items()}
    end = 0
    for name, (first, last, _) in sorted(found.items(), key=lambda item: item[1][:2]):
        if first != end:
            raise TensorFileError(f"tensor {strict_json.name(name)} must begin at byte {end} of the data, not {first}")
        end = last
    if end != len(data):
        raise TensorFileError(f"data must end after {end} bytes of tensors, not {len(data)}")
    return TensorFile(metadata, {name: array for name, (_, _, array) in found.items()})
