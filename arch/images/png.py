"""PNG pictures, of exactly the pixels that a network takes: 8-bit grey for one channel, 8-bit RGB for three.

Pillow would show 16 bits, 4 bits, palettes and transparency as 8 bits a channel too, and so show the network another
picture than the user sees. The header and the list of chunks say what a file holds, so they are read first.

Source of the format: Portable Network Graphics (PNG) Specification, Third Edition, W3C 2025, sections 5 and 11.
"""

import io
import struct
import warnings
import zlib
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from arch.images.files import ImageError
from arch.network import Encoding, Input

__all__ = ["SIGNATURE", "read_png"]

#: First bytes of every PNG.
SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Most bytes of a file: many times those of the largest picture that a network takes.
_MAX_FILE_BYTES = 2**26
#: Colour types by number (section 11.2.1).
_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
#: Colour type by number of channels.
_WANTED = {1: 0, 3: 2}
#: Chunks without which a picture cannot be shown (section 11.2). The palette of an RGB picture is a suggestion.
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
#: Rows and columns of the passes of an interlaced picture: first and step of each (section 8.1, Adam7).
_ADAM7 = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """Data of each kind of chunk, joined; an error is raised for every damaged one, and for another order."""
    chunks: dict[bytes, bytes] = {}
    kinds: list[bytes] = []
    at = len(SIGNATURE)
    while b"IEND" not in chunks:
        if len(content) < at + 12:
            raise ImageError("damaged PNG")
        size, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 4:at + 8 + size]
        check = content[at + 8 + size:at + 12 + size]
        if len(check) < 4 or zlib.crc32(body) != int.from_bytes(check, "big"):
            raise ImageError("damaged PNG")
        chunks[kind] = chunks.get(kind, b"") + body[4:]
        kinds.append(kind)
        at += 12 + size
    if len(content) > at:
        raise ImageError(f"PNG must end after its last chunk, not have {len(content) - at} more bytes: save it again")
    # The header comes first and once, and nothing is between the parts of the rows (section 5.6). A chunk that a
    # decoder must know begins with a capital letter (section 5.4).
    first = kinds.index(b"IDAT") if b"IDAT" in kinds else 0
    rows = kinds[first:first + kinds.count(b"IDAT")]
    if kinds[0] != b"IHDR" or kinds.count(b"IHDR") != 1 or set(rows) - {b"IDAT"} or any(
            not kind[0] & 0x20 and kind not in _CRITICAL for kind in kinds):
        raise ImageError("damaged PNG")
    return chunks


def read_png(file: IO[bytes], pixels: Input) -> npt.NDArray[np.uint8]:
    """Read one picture, interlaced or not.

    Parameters
    ----------
    file
        The file, at its begin.
    pixels
        The network's input: the picture must have its size and its channels.

    Returns
    -------
    array
        ``uint8[1, channels, height, width]``.

    Raises
    ------
    :exc:`ImageError`
        If the network takes no pictures, or the file is damaged or holds another picture than the network takes.
    """
    colour = _WANTED.get(pixels.channels)
    if colour is None or pixels.encoding is Encoding.EVENTS:
        raise ImageError(f"PNG serves networks of 1 or 3 channels of pixels, not {pixels.channels} of "
                         f"{pixels.encoding.value}")
    content = file.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise ImageError(f"PNG must have at most {_MAX_FILE_BYTES} bytes")
    chunks = _chunks(content)
    if len(chunks.get(b"IHDR", b"")) != 13:
        raise ImageError("damaged PNG")
    width, height, bits, found = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    if (width, height, bits, found) != (pixels.width, pixels.height, 8, colour):
        raise ImageError(f"PNG must be {pixels.width} x {pixels.height} of 8-bit {_COLOURS[colour]}, not "
                         f"{width} x {height} of {bits}-bit {_COLOURS.get(found, f'colour type {found}')}")
    if b"tRNS" in chunks:
        raise ImageError(f"PNG must be 8-bit {_COLOURS[colour]}, not one with a transparent colour")
    if b"acTL" in chunks:
        raise ImageError("PNG must hold one picture, not an animation")
    compression, filtering, interlace = chunks[b"IHDR"][10:]
    if compression or filtering or interlace > 1:
        raise ImageError("damaged PNG")
    packed = chunks.get(b"IDAT", b"")
    _check_pixels(packed, pixels, interlaced=interlace == 1)
    return _decoded(chunks[b"IHDR"], packed)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))


def _check_pixels(packed: bytes, pixels: Input, *, interlaced: bool) -> None:
    """Check that all rows are there: Pillow makes missing ones black."""
    size = 0
    for top, down, left, right in _ADAM7 if interlaced else ((0, 1, 0, 1),):
        rows, columns = len(range(top, pixels.height, down)), len(range(left, pixels.width, right))
        # A byte before each row says how it is filtered; a pass without columns has no rows.
        size += rows * (1 + columns * pixels.channels) if columns else 0
    unpacking = zlib.decompressobj()
    try:
        found = len(unpacking.decompress(packed, size + 1))
    except zlib.error:
        raise ImageError("damaged PNG") from None
    if found != size or not unpacking.eof:
        raise ImageError("damaged PNG")


def _decoded(header: bytes, packed: bytes) -> npt.NDArray[Any]:
    """Decode the rows. Pillow gets no other chunk: some that show nothing make it fail in ways of its own."""
    content = SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")
    # Only who reads a picture needs Pillow.
    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with PIL.Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                array = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Warning, PIL.Image.DecompressionBombError):
        raise ImageError("damaged PNG") from None
    return (array[None] if array.ndim == 2 else array.transpose(2, 0, 1))[None]
