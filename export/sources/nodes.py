"""What every reader checks of the numbers and settings of a node, whatever the network was stored as.

The lines of all errors name the node and a remedy.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.limits import MAX_KERNEL, MAX_POOL, MAX_STRIDE
from export.sources.chain import Convolution, OrPool, Pool, SourceError
from support.errors import printable

__all__ = ["channel_bias", "convolution", "finite", "one", "or_of", "pool", "same_over_positions"]

#: A setting of a package for rows and columns: one number, or one for each.
_Setting = int | Iterable[int] | npt.NDArray[Any]


def finite(name: str, key: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``values``, the numbers ``key`` of node ``name``; raises :exc:`SourceError` if one is not finite."""
    if not np.isfinite(values).all():
        raise SourceError(f"node {name}: {key} must be finite, not {values[~np.isfinite(values)].flat[0]}")
    return values


def one(name: str, key: str, setting: _Setting) -> int:
    """Return a setting, an integer that is the same for rows and columns; raises :exc:`SourceError` if it is not."""
    values = np.ravel(np.asarray(setting if isinstance(setting, int | np.ndarray) else tuple(setting)))
    if len(np.unique(finite(name, key, values))) != 1:
        raise SourceError(f"node {name}: {key} must be the same for rows and columns, not "
                          f"{', '.join(map(str, values.tolist()))}: use one")
    if values[0] != int(values[0]):
        raise SourceError(f"node {name}: {key} must be an integer, not {values[0]:.12g}")
    return int(values[0])


def same_over_positions(name: str, key: str, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``[channels]`` of values ``[channels, positions]``, which must not vary over the positions.

    Values that are not numbers are left to whoever needs them. Raises :exc:`SourceError`.
    """
    varied = (rows != rows[:, :1]).any(axis=1) & ~np.isnan(rows).any(axis=1)
    if varied.any():
        raise SourceError(f"node {name}: {key} must be the same at all positions of a channel, but differs in channel "
                          f"{int(np.flatnonzero(varied)[0])}: train with one value a channel")
    return rows[:, 0]


def channel_bias(name: str, values: npt.NDArray[Any] | None, channels: int) -> npt.NDArray[Any]:
    """Return one bias for each of the ``channels`` of node ``name``, zeros for None; raises :exc:`SourceError`."""
    if values is None:
        return np.zeros(channels)
    bias = np.ravel(finite(name, "bias", values))
    if len(bias) != channels:
        raise SourceError(f"node {name}: bias must have {channels} values like the weights, not {len(bias)}")
    return bias


def convolution(name: str, weight: npt.NDArray[Any], bias: npt.NDArray[Any] | None, *, stride: _Setting,
                padding: _Setting | str, groups: _Setting, dilation: _Setting) -> Convolution:
    """Return a convolution with ``weight``, ``[out, in, rows, columns]``; settings are those of the package.

    Raises
    ------
    :exc:`SourceError`
        If no layer of a network has such numbers or settings.
    """
    finite(name, "weight", weight)
    if weight.ndim != 4 or not weight.size:
        raise SourceError(f"node {name}: weights must be out x in x rows x columns, not "
                          f"{'x'.join(map(str, weight.shape))}")
    rows, columns = weight.shape[2:]
    if rows != columns or rows > MAX_KERNEL:
        raise SourceError(f"node {name}: kernel must be square, at most {MAX_KERNEL} x {MAX_KERNEL}, not {rows} x "
                          f"{columns}: train with a smaller one")
    for key, setting in (("groups", groups), ("dilation", dilation)):
        value = one(name, key, setting)
        if value != 1:
            raise SourceError(f"node {name}: {key} must be 1, not {value}: train with a plain convolution")
    step = one(name, "stride", stride)
    if not 1 <= step <= MAX_STRIDE:
        raise SourceError(f"node {name}: stride must be 1 to {MAX_STRIDE}, not {step}")
    border = _border(name, padding, rows, step)
    return Convolution(name=name, weight=weight, bias=channel_bias(name, bias, len(weight)), stride=step,
                       padding=border)


def _border(name: str, padding: _Setting | str, kernel: int, stride: int) -> int:
    """Return the pixels of zeros on each side of a map."""
    if not isinstance(padding, str):
        border = one(name, "padding", padding)
    elif padding == "valid":
        border = 0
    elif padding == "same" and kernel % 2 and stride == 1:
        border = kernel // 2
    else:
        where = f" with a kernel of {kernel} and a stride of {stride}" if padding == "same" else ""
        raise SourceError(f"node {name}: padding must be the same on all sides, not {printable(padding)!r}{where}: "
                          f"give a number")
    if not 0 <= border < kernel:
        raise SourceError(f"node {name}: padding must be 0 to {kernel - 1} with a kernel of {kernel}, not {border}")
    return border


def pool(name: str, *, size: _Setting, stride: _Setting, padding: _Setting, mean: bool,
         dilation: _Setting = 1) -> Pool:
    """Return the mean, or else the sum, of windows; settings are those of the package.

    Raises :exc:`SourceError` if windows overlap, leave something out, or are padded.
    """
    side = one(name, "kernel_size", size)
    settings = {key: one(name, key, value) for key, value in
                (("stride", stride), ("padding", padding), ("dilation", dilation))}
    if settings != {"stride": side, "padding": 0, "dilation": 1} or side < 1:
        # Not every package has a dilation.
        *stated, last = [f"{key} {value}" for key, value in settings.items() if key != "dilation" or value != 1]
        raise SourceError(f"node {name}: windows must lie side by side, without padding, not be of {side} with "
                          f"{', '.join(stated)} and {last}: pool with a stride like the window")
    return Pool(name=name, size=side, mean=mean)


def or_of(windows: Pool) -> OrPool:
    """Return the OR of the windows of spikes that ``windows`` has counted; raises :exc:`SourceError` for its size."""
    if not 2 <= windows.size <= MAX_POOL:
        raise SourceError(f"node {windows.name}: windows of an OR must be 2 to {MAX_POOL} pixels a side, not "
                          f"{windows.size}")
    return OrPool(name=windows.name, size=windows.size)
