"""What a network takes: images of its shape and type, labels of its classes. Nothing is converted."""

import os
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from arch.images.files import ImageError, Progress
from arch.images.formats import load_array, naming, parse_array
from arch.network import Encoding, Input

__all__ = ["TakesImages", "check_array", "load_images", "load_labels", "parse_images", "shape_images"]


class TakesImages(Protocol):
    """A network, or the info block of a device that runs one."""

    @property
    def input(self) -> Input:
        """Encoding and shape of an image."""

    @property
    def timesteps(self) -> int:
        """Frames of an image, where the input is events."""


def load_images(path: str | os.PathLike[str], network: TakesImages, *, first: int | None = None,
                asked_by: str | None = None, progress: Progress | None = None) -> npt.NDArray[Any]:
    """Read the inputs of ``network`` from a file: one, or several.

    Parameters
    ----------
    path
        An idx or npy file, plain or gzip, an npz (its only array, or ``images``), or one PNG.
    network
        Its input gives the shape that an image must have.
    first
        Only this many, from 1; None for all.
    asked_by
        The option that asked for ``first`` images, which must be there then; None takes what there is of them.
    progress
        Told how many bytes of how many have been read.

    Returns
    -------
    array
        ``uint8[n, channels, height, width]`` or ``bool[n, T, channels, height, width]``.

    Raises
    ------
    :exc:`ImageError`
        If the file is malformed, or holds no such images; the message begins with ``path``.
    :exc:`OSError`
        If it cannot be read.
    """
    array = load_array(path, "images", pixels=network.input, progress=progress)
    with naming(os.fspath(path)):
        images = shape_images(array, network)[:first]
        if asked_by is not None and first is not None and len(images) < first:
            raise ImageError(f"images must be at least {first} for {asked_by} {first}, not {len(images)}: give "
                             f"{asked_by} {len(images)}, or leave the option out")
    return images


def parse_images(content: bytes, source: str, network: TakesImages) -> npt.NDArray[Any]:
    """Read the inputs of ``network`` from the content of a file that is in memory; otherwise as :func:`load_images`.

    Parameters
    ----------
    content
        All bytes of the file.
    source
        What it is called: the message of an error begins with it.
    network
        Its input gives the shape that an image must have.
    """
    array = parse_array(content, source, "images", pixels=network.input)
    with naming(source):
        images = shape_images(array, network)
    return images


def check_array(images: object) -> None:
    """Raise :exc:`ImageError` if ``images`` are no plain array: what a subclass means by its bytes, nobody can know.

    The bytes of a masked value, say, are those of whatever stood there before. A memory-mapped file is a plain array.
    """
    if type(images) not in (np.ndarray, np.memmap):
        remedy = ("fill the masked values, with filled(VALUE)" if isinstance(images, np.ma.MaskedArray)
                  else "convert them, with numpy.asarray()")
        raise ImageError(f"images must be a numpy.ndarray, not {type(images).__name__}: {remedy}")


def shape_images(array: npt.NDArray[Any], network: TakesImages) -> npt.NDArray[Any]:
    """Check inputs of ``network``, and add the axes that may be left out: that of a single channel, and the first one.

    Parameters
    ----------
    array
        Pixels are ``uint8[n, channels, height, width]``; events are 0 or 1, uint8 or bool, ``[n, T, channels, height,
        width]``. A single channel needs no axis, and neither does a single image.
    network
        Its input gives the shape that an image must have.

    Returns
    -------
    array
        ``uint8[n, channels, height, width]`` or ``bool[n, T, channels, height, width]``, ``n`` from 1.

    Raises
    ------
    :exc:`ImageError`
        If type, shape or values are others, or ``array`` is masked or another subclass of an array.
    """
    check_array(array)
    source = network.input
    events = source.encoding is Encoding.EVENTS
    if array.dtype != np.uint8 and not (events and array.dtype == np.bool_):
        raise ImageError(f"images must be {'bool or ' * events}uint8, not {array.dtype}")
    whole: tuple[int, ...] = (network.timesteps, *source.shape) if events else source.shape
    flat = (*whole[:-3], *whole[-2:]) if source.channels == 1 else None
    if array.shape[1:] == flat or array.shape == flat:
        array = np.expand_dims(array, -3)
    if array.shape == whole:
        array = array[None]
    if array.shape[1:] != whole:
        raise ImageError(f"images must have shape (n, {', '.join(map(str, whole))}), not {array.shape}")
    if not len(array):
        raise ImageError("images must be one or more, not none")
    if not events:
        return array
    if array.max() > 1:
        raise ImageError(f"events must be 0 or 1, not {array.max()}")
    return array.astype(bool, copy=False)


def load_labels(path: str | os.PathLike[str], *, classes: int, first: int | None = None,
                count: int | None = None) -> npt.NDArray[np.int64]:
    """Read labels from a file.

    Parameters
    ----------
    path
        An idx or npy file, plain or gzip, or an npz (its only array, or ``labels``), of integers.
    classes
        Number of classes.
    first
        Only this many, from 1; None for all.
    count
        How many there must be then: as many as images; None for any number.

    Returns
    -------
    array
        ``int64[n]``, 0 to ``classes - 1``.

    Raises
    ------
    :exc:`ImageError`
        If the file is malformed, or holds no such labels; the message begins with ``path``.
    :exc:`OSError`
        If it cannot be read.
    """
    path = os.fspath(path)
    labels = load_array(path, "labels")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ImageError(f"{path}: labels must be integers of shape (n), not {labels.dtype} of shape {labels.shape}")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ImageError(f"{path}: label {wrong[0]} must be 0 to {classes - 1}, not {labels[wrong[0]]}")
    labels = labels[:first].astype(np.int64)
    if count is not None and len(labels) != count:
        raise ImageError(f"{path}: labels must be {count} like the images, not {len(labels)}")
    return labels
