"""The bytes of one image, in the order in which a host sends them and the engine takes them."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.images.files import ImageError
from arch.images.inputs import TakesImages, check_array
from arch.link import MAX_EVENT_TIMESTEPS
from arch.network import Encoding

__all__ = ["image_bytes", "images_digest"]


def image_bytes(network: TakesImages, image: npt.NDArray[Any]) -> bytes:
    """Order the values of one image: by row, column and channel.

    A byte is a pixel, or the spikes of one position and channel: bit t is that of timestep t (:mod:`arch.link`).

    Parameters
    ----------
    network
        Its input is what ``image`` was checked against.
    image
        ``uint8[channels, height, width]`` or ``bool[T, channels, height, width]``: a row of what
        :func:`arch.images.inputs.shape_images` returns.

    Raises
    ------
    :exc:`ImageError`
        If the events have more timesteps than a byte has bits, or ``image`` is masked or another subclass of an array.
    """
    check_array(image)
    if network.input.encoding is Encoding.EVENTS:
        if len(image) > MAX_EVENT_TIMESTEPS:
            raise ImageError(f"events must have at most {MAX_EVENT_TIMESTEPS} timesteps to be sent, not {len(image)}")
        image = np.packbits(image, axis=0, bitorder="little")[0]
    return image.astype(np.uint8, copy=False).transpose(1, 2, 0).tobytes()


def images_digest(images: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of images, by which a report says which ones it is of; the format of their file is not in it.

    Parameters
    ----------
    images
        ``uint8[n, channels, height, width]`` or ``bool[n, T, channels, height, width]``: what
        :func:`arch.images.inputs.shape_images` returns. A spike counts as a byte, 0 or 1.

    Raises
    ------
    :exc:`ImageError`
        If ``images`` is masked or another subclass of an array.
    """
    check_array(images)
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
