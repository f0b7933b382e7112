"""Read one image for the host link from a file that anybody may have written."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from arch.link import Info, InputEncoding
from support.errors import InputError

__all__ = ["ImageError", "read_image"]


class ImageError(InputError):
    """A file does not hold an image for this device."""


def read_image(path: Path, info: Info) -> bytes:
    """Read an image and lay it out as the payload of a CLASSIFY: row, column, channel.

    PNG: one channel is read as grey, three as RGB. NumPy: uint8 of (channels, height, width); for event input 0 or 1 of
    (timesteps, channels, height, width). The axis of a single channel may be left out.

    Raises
    ------
    :exc:`ImageError`
        If the file is not such an image, or not of the device's size.
    """
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                if file.read(6) != b"\x93NUMPY":
                    raise ValueError("not a NumPy file")
            values = np.load(path, allow_pickle=False, mmap_mode="r")
        else:
            values = _read_picture(path, info)
    except (OSError, ValueError, EOFError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(f"{path}: {reason}") from error
    events = info.encoding is InputEncoding.EVENTS
    times = (info.timesteps,) if events else ()
    size = (info.image_height, info.image_width)
    if info.channels == 1 and values.shape == (*times, *size):
        values = values.reshape(*times, 1, *size)
    if values.shape != (shape := (*times, info.channels, *size)):
        raise ImageError(f"{path}: image must be {_times(shape)}, not {_times(values.shape) or 'a number'}")
    values = np.moveaxis(values, -3, -1)
    if not events:
        if values.dtype != np.uint8:
            raise ImageError(f"{path}: pixels must be uint8, not {values.dtype}")
        return values.tobytes()
    if values.dtype.kind not in "bui" or not np.isin(values, (0, 1)).all():
        raise ImageError(f"{path}: spikes must be 0 or 1")
    bits = np.arange(info.timesteps, dtype=np.uint8).reshape(-1, 1, 1, 1)
    packed: np.ndarray = np.bitwise_or.reduce(values.astype(np.uint8) << bits, axis=0)
    return packed.tobytes()


def _read_picture(path: Path, info: Info) -> np.ndarray:
    with Image.open(path, formats=["PNG"]) as picture:
        # Compare before decoding: a small file may claim billions of pixels.
        if picture.size != (info.image_width, info.image_height):
            width, height = picture.size
            raise ValueError(f"image must be {info.image_height} x {info.image_width}, not {height} x {width}")
        if info.channels not in (1, 3):
            raise ValueError(f"a PNG has 1 or 3 channels, the network takes {info.channels}")
        if info.channels == 1:
            return np.asarray(picture.convert("L"))
        return np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
