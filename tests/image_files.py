"""Files of images as other programs write them."""

import io
import struct
import zlib

import numpy as np
import PIL.Image

from arch.network import Encoding, Input, Network, Readout

__all__ = ["chunk", "idx", "make_network", "npy", "npz", "picture", "png", "raw_png"]


def make_network(channels=1, height=4, width=5, encoding=Encoding.PIXELS, timesteps=2):
    """Return a network that takes such images."""
    return Network(input=Input(encoding=encoding, channels=channels, height=height, width=width), timesteps=timesteps,
                   layers=(Readout(weights=np.ones((2, channels * height * width), dtype=np.int8)),))


def idx(array, code=8):
    """Return an idx file, with the bytes of ``array``."""
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def npy(array, **options):
    """Return an npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def npz(**arrays):
    """Return an npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def picture(image, **options):
    """Return a PNG file of a :class:`PIL.Image.Image`."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def png(array, mode=None):
    """Return a PNG file of 8-bit grey or RGB, or of ``mode``."""
    return picture(PIL.Image.fromarray(array).convert(mode or {2: "L", 3: "RGB"}[array.ndim]))


def chunk(kind, data):
    """Return one chunk of a PNG file."""
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(rows, *, bits=8, colour=0, interlace=0, size, extra=b""):
    """Return a PNG file of rows of bytes, without filters; ``size`` is width and height."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlace)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b""))
