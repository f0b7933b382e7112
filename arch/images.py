"""Reads images, event frames and labels: idx (also .gz), npy, npz and PNG.

Files are foreign input: nothing in them is executed (no pickles), sizes are checked before they are allocated, and
nothing is decompressed beyond the size that the format promises or :data:`MAX_BYTES`.
"""

import contextlib
import gzip
import lzma
import math
import os
import pathlib
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from arch.network import Encoding, Input, Network
from support.errors import InputError

__all__ = ["MAX_BYTES", "ImageError", "image_bytes", "load_array", "load_images", "load_labels", "shape_images"]

#: Most bytes that one file may hold, uncompressed.
MAX_BYTES = 2**30
#: Types of an idx file by code; only these are read.
_IDX_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"), 0x09: np.dtype("i1"), 0x0B: np.dtype(">i2"), 0x0C: np.dtype(">i4")}


class ImageError(InputError):
    """A file of images or labels is malformed or does not fit the network. The message is one line."""


def load_images(path: str | os.PathLike[str], network: Network, *, first: int | None = None) -> npt.NDArray[Any]:
    """Read inputs for ``network``; raises :exc:`ImageError` or :exc:`OSError`.

    Parameters
    ----------
    path : idx, idx.gz, npy, npz (its only array, or ``images``) or one PNG
    network : its input gives the expected shape
    first : only this many

    Returns
    -------
    ``uint8[n, channels, height, width]`` or ``bool[n, T, channels, height, width]``
    """
    array = load_array(path, "images", pixels=network.input)
    try:
        return shape_images(array, network)[:first]
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def shape_images(array: npt.NDArray[Any], network: Network) -> npt.NDArray[Any]:
    """Check inputs for ``network``, and add the axis of a single channel; raises :exc:`ImageError`."""
    source = network.input
    events = source.encoding is Encoding.EVENTS
    shape: tuple[int, ...] = (network.timesteps, *source.shape) if events else source.shape
    if array.dtype.kind not in "bu" or array.dtype.itemsize != 1:
        raise ImageError(f"images must be {'bool or ' * events}uint8, not {array.dtype}")
    if array.shape[1:] != shape:
        if source.channels != 1 or array.shape[1:] != (*shape[:-3], *shape[-2:]):
            raise ImageError(f"images must have shape (n, {', '.join(map(str, shape))}), not {array.shape}")
        array = np.expand_dims(array, -3)
    if not len(array):
        raise ImageError("images must be one or more, not none")
    if not events:
        return array.astype(np.uint8, copy=False)
    if array.max() > 1:
        raise ImageError(f"events must be 0 or 1, not {array.max()}")
    return array.astype(bool, copy=False)


def load_labels(path: str | os.PathLike[str], *, classes: int, first: int | None = None) -> npt.NDArray[np.int64]:
    """Read labels, ``int64[n]``, 0 to ``classes - 1``; raises :exc:`ImageError` or :exc:`OSError`.

    Parameters
    ----------
    path : idx, idx.gz, npy or npz (its only array, or ``labels``)
    classes : number of classes
    first : only this many
    """
    labels = load_array(path, "labels")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ImageError(f"{path}: labels must be integers of shape (n), not {labels.dtype} of shape {labels.shape}")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ImageError(f"{path}: label {wrong[0]} must be 0 to {classes - 1}, not {labels[wrong[0]]}")
    return labels.astype(np.int64)[:first]


def load_array(path: str | os.PathLike[str], name: str, *, pixels: Input | None = None) -> npt.NDArray[Any]:
    """Read one array; raises :exc:`ImageError` or :exc:`OSError`.

    Parameters
    ----------
    path : the file; its first bytes tell the format
    name : which array of an npz with several
    pixels : the input whose size and channels a PNG must have; None: no PNG
    """
    path = pathlib.Path(path)
    try:
        with _decompressed(path) as (file, size):
            magic = file.read(8)
            file.seek(0)
            if magic[:6] == b"\x93NUMPY":
                return _read_npy(file, size)
            if size is None and magic[:2] != b"\0\0":
                raise ImageError("compressed file must be an idx or npy file")
            if magic[:4] == b"PK\x03\x04":
                return _read_npz(file, name)
            if magic == b"\x89PNG\r\n\x1a\n":
                if pixels is None:
                    raise ImageError(f"{name} must be an idx, npy or npz file, not PNG")
                return _read_png(file, pixels)
            if magic[:2] == b"\0\0" and len(magic) >= 4:
                return _read_idx(file, size)
            raise ImageError("must be an idx, idx.gz, npy, npz or PNG file" if pixels else
                             "must be an idx, idx.gz, npy or npz file")
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile):
        raise ImageError(f"{path}: damaged or truncated compressed file") from None


@contextlib.contextmanager
def _decompressed(path: pathlib.Path) -> Iterator[tuple[IO[bytes], int | None]]:
    """Open ``path``, through gzip if it is compressed, with its size in bytes if that is known."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            yield file, path.stat().st_size
            return
        with gzip.open(file) as unpacked:
            yield unpacked, None  # type: ignore[misc]


def _read(file: IO[bytes], count: int, *, last: bool = True) -> bytes:
    """Read ``count`` bytes, to the end of the file if ``last``; ``count`` is a promise of the file's header."""
    if count > MAX_BYTES:
        raise ImageError(f"must hold at most {MAX_BYTES} bytes, not {count}")
    content = file.read(count)
    if len(content) < count:
        raise ImageError(f"truncated: the header promises {count} bytes, and {len(content)} follow")
    if last and file.read(1):
        raise ImageError(f"must end after the {count} bytes that the header promises")
    return content


def _check_size(size: int | None, promised: int) -> None:
    """Refuse before allocation what cannot be in a file of ``size`` bytes."""
    if size is not None and promised > size:
        raise ImageError(f"truncated: the header promises {promised} bytes, and the file has {size}")


def _read_idx(file: IO[bytes], size: int | None) -> npt.NDArray[Any]:
    _, _, code, dimensions = _read(file, 4, last=False)
    if code not in _IDX_TYPES or not 1 <= dimensions <= 5:
        raise ImageError(f"idx type must be an integer of 1 to 5 dimensions, not type {code:#04x} of {dimensions}")
    sizes = np.frombuffer(_read(file, 4 * dimensions, last=False), dtype=">u4").tolist()
    count = math.prod(sizes) * _IDX_TYPES[code].itemsize
    _check_size(size, count)
    array = np.frombuffer(_read(file, count), dtype=_IDX_TYPES[code]).reshape(sizes)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _read_npy(file: IO[bytes], size: int | None) -> npt.NDArray[Any]:
    version = tuple(file.read(8)[6:])
    if version not in ((1, 0), (2, 0)):
        raise ImageError(f"npy version must be 1.0 or 2.0, not {'.'.join(map(str, version))}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a damaged header may be one of Python 2
            shape, fortran, dtype = read_header(file)
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError):
        raise ImageError("damaged npy header") from None
    if dtype.kind not in "biu":
        raise ImageError(f"npy must hold integers, not {dtype}")
    if min(shape, default=0) < 0:
        raise ImageError(f"npy must have a shape of natural numbers, not {shape}")
    count = math.prod(shape) * dtype.itemsize
    _check_size(size, count)
    array = np.frombuffer(_read(file, count), dtype=dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), order="C", copy=False)


def _read_npz(file: IO[bytes], name: str) -> npt.NDArray[Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(members) == 1:
                info = next(iter(members.values()))
            elif name in members:
                info = members[name]
            else:
                raise ImageError(f"npz must hold one array, or one named {name}, not {', '.join(members) or 'none'}")
            if info.file_size > MAX_BYTES:
                raise ImageError(f"must hold at most {MAX_BYTES} bytes, not {info.file_size}")
            with archive.open(info) as member:
                return _read_npy(member, info.file_size)
    except (ImageError, zipfile.BadZipFile, zlib.error, EOFError):
        raise
    # Unknown compression, a password, names and offsets that make no sense.
    except (RuntimeError, ValueError, OverflowError, OSError, struct.error, lzma.LZMAError):
        raise ImageError("damaged npz, or of an unknown kind") from None


def _read_png(file: IO[bytes], pixels: Input) -> npt.NDArray[Any]:
    import PIL.Image

    mode = {1: "L", 3: "RGB"}.get(pixels.channels)
    if mode is None or pixels.encoding is Encoding.EVENTS:
        raise ImageError(f"PNG serves networks of 1 or 3 channels of pixels, not {pixels.channels} of "
                         f"{pixels.encoding.value}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(file, formats=["PNG"]) as image:
                # Size and mode are in the header, so this is before anything is decompressed.
                if image.size != (pixels.width, pixels.height) or image.mode != mode:
                    raise ImageError(f"PNG must be {pixels.width} x {pixels.height} of mode {mode}, not "
                                     f"{image.width} x {image.height} of mode {image.mode}")
                array = np.asarray(image)
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        raise ImageError("damaged PNG") from None
    return (array[None] if array.ndim == 2 else array.transpose(2, 0, 1))[None]


def image_bytes(network: Network, image: npt.NDArray[Any]) -> bytes:
    """Order the values of one input as they are sent: row, column, channel; an event's byte holds its timesteps."""
    if network.input.encoding is Encoding.EVENTS:
        image = (image.astype(np.uint8) << np.arange(len(image), dtype=np.uint8)[:, None, None, None]).sum(
            0, dtype=np.uint8)
    return image.astype(np.uint8).transpose(1, 2, 0).tobytes()
