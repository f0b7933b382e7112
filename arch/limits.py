"""Limits of integer networks, and the checks that hold them: what layers of both families have in common.

:mod:`arch.network` and :mod:`arch.ttfs.network` check their parts with these functions, as the trained layers of
:mod:`arch.ttfs.trained_layers` do. Spike maps are ``(channels, height, width)``.
"""

import math
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.strict_json import short
from support.errors import InputError

__all__ = [
    "MAX_CHANNELS",
    "MAX_CLASSES",
    "MAX_CONSTANT",
    "MAX_FRACTION",
    "MAX_KERNEL",
    "MAX_LEAK_SHIFT",
    "MAX_POOL",
    "MAX_SIDE",
    "MAX_STRIDE",
    "MAX_TIMESTEPS",
    "NetworkError",
    "Shape",
    "Weights",
    "check_classes",
    "check_fan_in",
    "check_integer",
    "check_kernel",
    "check_map",
    "check_neurons",
    "check_order",
    "check_ternary",
    "convolved_shape",
    "freeze",
    "pooled_shape",
]

#: Largest number of timesteps of a network.
MAX_TIMESTEPS = 64
#: Largest side of an image or spike map, in pixels.
MAX_SIDE = 1024
#: Largest number of channels of a map, or of neurons of a fully connected layer.
MAX_CHANNELS = 65536
#: Largest number of classes of a readout.
MAX_CLASSES = 1024
#: Largest kernel of a convolution, in pixels a side.
MAX_KERNEL = 7
#: Largest stride of a convolution.
MAX_STRIDE = 7
#: Largest window of an OR-pool, or of a convolution's current pooling, in pixels a side.
MAX_POOL = 7
#: Most fractional bits of a membrane. Export tries 0 to this many.
MAX_FRACTION = 16
#: Largest leak shift; a membrane is at most 48 bits wide, so more would never leak.
MAX_LEAK_SHIFT = 31
#: Magnitude limit of a stored threshold, bias or initial membrane: they are signed 48-bit integers.
MAX_CONSTANT = 2**47

#: Shape of a spike map: channels, height, width.
Shape = tuple[int, int, int]
#: Weights or weight codes of a layer.
Weights = npt.NDArray[np.int8]


class NetworkError(InputError):
    """A network is malformed, or its parts do not fit together."""


def check_integer(where: str, value: Any, low: int, high: int) -> None:
    """Check that ``value`` is an integer from ``low`` to ``high``; raises :exc:`NetworkError`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise NetworkError(f"{where} must be an integer from {low} to {high}, not {short(value)}")


def freeze(where: str, array: Any, dtype: type[np.signedinteger] | type[np.floating], dimensions: int) -> npt.NDArray:
    """Return a read-only copy of ``array``.

    Raises
    ------
    :exc:`NetworkError`
        If it is not an array of ``dtype`` with that many ``dimensions``, or is empty.
    """
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise NetworkError(f"{where} must be an array of {np.dtype(dtype).name}, not {kind}")
    if array.ndim != dimensions or not array.size:
        raise NetworkError(f"{where} must have {dimensions} dimensions and no empty one, "
                           f"not shape {array.shape}")
    array = array.copy()
    array.flags.writeable = False
    return array


def check_map(channels: Any, height: Any, width: Any) -> None:
    """Check the size of an input map, channels 1 to 64, sides 1 to :data:`MAX_SIDE`; raises :exc:`NetworkError`."""
    check_integer("input channels", channels, 1, 64)
    check_integer("input height", height, 1, MAX_SIDE)
    check_integer("input width", width, 1, MAX_SIDE)


def check_ternary(where: str, weights: Weights) -> None:
    """Check that all ``weights`` are -1, 0 or +1; raises :exc:`NetworkError`."""
    wrong = (weights < -1) | (weights > 1)
    if wrong.any():
        at = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise NetworkError(f"{where} must be -1, 0 or +1, not {weights[at]} at {at}")


def check_kernel(weights: Weights) -> None:
    """Check the sizes of a convolution's ``weights``, ``[out, in, kernel, kernel]``; raises :exc:`NetworkError`."""
    out, into, rows, columns = weights.shape
    if rows != columns or not 1 <= rows <= MAX_KERNEL:
        raise NetworkError(f"kernel must be square, 1 x 1 to {MAX_KERNEL} x {MAX_KERNEL}, "
                           f"not {rows} x {columns}")
    if max(out, into) > MAX_CHANNELS:
        raise NetworkError(f"channels must be at most {MAX_CHANNELS}, not {max(out, into)}")


def check_neurons(weights: Weights) -> None:
    """Check the number of neurons of ``weights``, ``[neurons, inputs]``; raises :exc:`NetworkError`."""
    if weights.shape[0] > MAX_CHANNELS:
        raise NetworkError(f"neurons must be at most {MAX_CHANNELS}, not {weights.shape[0]}")


def check_classes(weights: Weights) -> None:
    """Check the number of classes of ``weights``, ``[classes, inputs]``; raises :exc:`NetworkError`."""
    if not 2 <= weights.shape[0] <= MAX_CLASSES:
        raise NetworkError(f"classes must be 2 to {MAX_CLASSES}, not {weights.shape[0]}")


def check_fan_in(weights: Weights, shape: Shape) -> None:
    """Check that ``weights``, ``[out, inputs]``, fit a map of ``shape``; raises :exc:`NetworkError`."""
    inputs = math.prod(shape)
    if weights.shape[1] != inputs:
        raise NetworkError(f"weights must have {inputs} inputs for a map of {shape}, "
                           f"not {weights.shape[1]}")


def convolved_shape(weights: Weights, shape: Shape, stride: int, padding: int) -> Shape:
    """Shape of the convolution of a map of ``shape`` with ``weights``; raises :exc:`NetworkError`."""
    channels, height, width = shape
    out, into, kernel, _ = weights.shape
    if into != channels:
        raise NetworkError(f"weights must have {channels} input channels, not {into}")
    height, width = height + 2 * padding, width + 2 * padding
    if min(height, width) < kernel:
        raise NetworkError(f"kernel {kernel} must fit in the padded map of {height} x {width}")
    return out, (height - kernel) // stride + 1, (width - kernel) // stride + 1


def pooled_shape(shape: Shape, size: int) -> Shape:
    """Shape of a map of ``shape`` after a pool of whole ``size x size`` windows; raises :exc:`NetworkError`."""
    channels, height, width = shape
    if min(height, width) < size:
        raise NetworkError(f"pool size {size} must fit in the map of {height} x {width}")
    return channels, height // size, width // size


def check_order(index: int, layers: Sequence[Any], kinds: types.UnionType, readout: type) -> None:
    """Check that layer ``index`` is one of ``kinds``, and a ``readout`` exactly if it is the last of ``layers``.

    Raises
    ------
    :exc:`NetworkError`
        If it is not.
    """
    last = index == len(layers) - 1
    if not isinstance(layers[index], kinds):
        raise NetworkError(f"layer {index} must be a layer, not {type(layers[index]).__name__}")
    if isinstance(layers[index], readout) != last:
        raise NetworkError(f"layer {index} must {'' if last else 'not '}be a readout: "
                           f"a network has one, at its end")
