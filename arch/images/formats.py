"""Arrays in files: idx (LeCun's MNIST format), npy and npz (NumPy). Bytes come out in the order of this computer.

The first bytes of a file tell its format; its name does not matter. An array keeps its type: what a network or a label
may be is the business of :mod:`arch.images.inputs`.
"""

import contextlib
import gzip
import io
import lzma
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from arch import strict_json
from arch.images.files import MAX_BYTES, ImageError, Progress, check_size, opened, read_exactly, unpacked
from arch.images.png import SIGNATURE, read_png
from arch.network import Input
from arch.strict_json import short

__all__ = ["load_array", "naming", "parse_array", "read_idx"]

#: Types of an idx file by code; only these are read.
_IDX_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"), 0x09: np.dtype("i1"), 0x0B: np.dtype(">i2"), 0x0C: np.dtype(">i4")}
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
#: Begin and size of the last record of a zip archive, which only a comment follows.
_ZIP_END, _ZIP_END_BYTES = b"PK\x05\x06", 22
#: Arrays of an npz that an error names.
_NAMED = 5


def load_array(path: str | os.PathLike[str], name: str, *, pixels: Input | None = None,
               progress: Progress | None = None) -> npt.NDArray[Any]:
    """Read one array.

    Parameters
    ----------
    path
        The file: idx or npy, plain or gzip, npz, or a PNG.
    name
        Which array of an npz with several: ``images`` or ``labels``.
    pixels
        The input whose size and channels a PNG must have; None refuses PNG.
    progress
        Told how many bytes of how many have been read.

    Returns
    -------
    array
        Integers or bool, in C order and this computer's byte order. A PNG gives ``uint8[1, channels, height, width]``.

    Raises
    ------
    :exc:`support.errors.InputError`
        If ``path`` is no file; :exc:`ImageError` if the file is malformed. The message begins with ``path``.
    :exc:`OSError`
        If it cannot be read.
    """
    with naming(os.fspath(path)), opened(path) as (file, size):
        return _read_array(file, size, name, pixels, progress)


def parse_array(content: bytes, source: str, name: str, *, pixels: Input | None = None) -> npt.NDArray[Any]:
    """Read one array from the ``content`` of a file that is in memory; otherwise as :func:`load_array`.

    Parameters
    ----------
    content
        All bytes of the file.
    source
        What it is called: the message of an error begins with it.
    name, pixels
        As of :func:`load_array`.
    """
    with naming(source), unpacked(io.BytesIO(content), len(content)) as (file, size):
        return _read_array(file, size, name, pixels, None)


@contextlib.contextmanager
def naming(source: str) -> Iterator[None]:
    """Let the error of a malformed file begin with its name."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{source}: {error}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile):
        raise ImageError(f"{source}: damaged or truncated compressed file") from None


def _read_array(file: IO[bytes], size: int | None, name: str, pixels: Input | None,
                progress: Progress | None) -> npt.NDArray[Any]:
    magic = file.read(8)
    file.seek(0)
    if magic.startswith(_NPY):
        return _read_npy(file, size, progress)
    if magic.startswith(b"\0\0") and len(magic) >= 4:
        return read_idx(file, size, progress)
    if size is None:
        raise ImageError("compressed file must be an idx or npy file")
    if magic.startswith(_ZIP):
        return _read_npz(file, name, progress)
    if magic == SIGNATURE:
        if pixels is None:
            raise ImageError(f"{name} must be an idx, npy or npz file, not PNG")
        return read_png(file, pixels)
    raise ImageError("must be an idx, idx.gz, npy, npz or PNG file" if pixels else
                     "must be an idx, idx.gz, npy or npz file")


def read_idx(file: IO[bytes], size: int | None, progress: Progress | None = None) -> npt.NDArray[Any]:
    """Read an idx file of integers, 1 to 5 dimensions.

    Source of the format: LeCun, Cortes, Burges, "The MNIST database of handwritten digits". Two zero bytes, a type, the
    number of dimensions, each dimension in 4 bytes, then the data; all numbers are big-endian.

    Parameters
    ----------
    file
        The file, unpacked, at its begin.
    size
        Its size in bytes; None if that is not known.
    progress
        Told how many bytes of how many have been read.

    Raises
    ------
    :exc:`ImageError`
        If it is no such file, truncated, or longer than its header says.
    """
    zeros, code, dimensions = struct.unpack(">HBB", read_exactly(file, 4, last=False))
    if zeros or code not in _IDX_TYPES or not 1 <= dimensions <= 5:
        raise ImageError("idx file must begin with two zeros, the type of an integer and 1 to 5 dimensions, not "
                         f"{struct.pack('>HBB', zeros, code, dimensions).hex(' ')}")
    sizes = np.frombuffer(read_exactly(file, 4 * dimensions, last=False), dtype=">u4").tolist()
    count = math.prod(sizes) * _IDX_TYPES[code].itemsize
    check_size(size, count)
    return _array(read_exactly(file, count, progress=progress), _IDX_TYPES[code], sizes)


def _array(content: bytearray, dtype: np.dtype[Any], shape: Any, order: Any = "C") -> npt.NDArray[Any]:
    try:
        array = np.frombuffer(content, dtype=dtype).reshape(shape, order=order)
    except (ValueError, TypeError, OverflowError):
        # Too many dimensions, or sizes beyond an index beside a size of 0, which makes the count look right.
        raise ImageError(f"must have a shape that an array can have, not {short(shape)}") from None
    return array.astype(dtype.newbyteorder("="), order="C", copy=False)


def _read_npy(file: IO[bytes], size: int | None, progress: Progress | None) -> npt.NDArray[Any]:
    begin = file.read(8)
    if not begin.startswith(_NPY):
        raise ImageError("array of an npz must be an npy file: write it with numpy.savez")
    version = tuple(begin[6:])
    if version not in ((1, 0), (2, 0)):
        raise ImageError(f"npy version must be 1.0 or 2.0, not {'.'.join(map(str, version))}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers of Python 2, and of old names of types
            shape, fortran, dtype = read_header(file)
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError):
        raise ImageError("damaged npy header") from None
    if dtype.kind not in "biu":
        raise ImageError(f"npy must hold integers, not {_shown(dtype)}")
    if min(shape, default=0) < 0:
        raise ImageError(f"npy must have a shape of natural numbers, not {short(shape)}")
    count = math.prod(shape) * dtype.itemsize
    check_size(size, count)
    content = read_exactly(file, count, progress=progress)
    if dtype.kind == "b" and (wrong := content.translate(None, b"\0\1")):
        # NumPy would take any other byte for true in one operation and compare it as a number in the next.
        raise ImageError(f"npy of bool must hold the bytes 0 and 1, not {wrong[0]}")
    return _array(content, dtype, shape, "F" if fortran else "C")


def _shown(dtype: np.dtype[Any]) -> str:
    """Name of a type, cut if it is long: that of a structure lists its fields."""
    text = str(dtype)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _read_npz(file: IO[bytes], name: str, progress: Progress | None) -> npt.NDArray[Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            file.seek(-_ZIP_END_BYTES - len(archive.comment), os.SEEK_END)
            if file.read(len(_ZIP_END)) != _ZIP_END:
                raise ImageError("npz must end where its zip archive does, not have more bytes: save it again")
            info = _choose(archive.infolist(), name)
            if info.file_size > MAX_BYTES:
                raise ImageError(f"must hold at most {MAX_BYTES} bytes, not {info.file_size}")
            with archive.open(info) as member:
                return _read_npy(member, info.file_size, progress)
    except (ImageError, zipfile.BadZipFile, zlib.error, EOFError):
        raise
    # Unknown compression, a password, names and offsets that make no sense.
    except (RuntimeError, ValueError, OverflowError, OSError, struct.error, lzma.LZMAError):
        raise ImageError("damaged npz, or of an unknown kind") from None


def _choose(members: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    """Return the only array of an npz, or the one with a ``name``."""
    named = [member for member in members if member.filename.removesuffix(".npy") == name]
    if len(members) == 1 or len(named) == 1:
        return (named or members)[0]
    names = strict_json.names((member.filename.removesuffix(".npy") for member in members), most=_NAMED)
    raise ImageError(f"npz must hold one array, or one named {name}, not {names or 'none'}")
