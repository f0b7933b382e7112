"""The real-valued network in float64, straight from the checkpoint: what the integer network must reproduce.

It shares nothing with folding, certificate and reference: currents are sums over kernel taps of the frozen codes, then
``u += g a + d`` and ``u >= theta`` in float64, as in the exact forward of ``train``. Both take ``g`` and ``d`` from
:meth:`arch.checkpoint.Checkpoint.gain_and_offset`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.architecture import mean_size
from export.sources.rational import RationalNetwork, Trained, exact_spikes

__all__ = ["layer_currents", "layer_spikes", "windows_of"]


def windows_of(maps: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Return the windows of ``size x size`` of maps ``[..., H, W]``, as ``[..., H // size, size, W // size, size]``.

    Rows and columns that fill none are dropped.
    """
    rows, columns = maps.shape[-2] // size, maps.shape[-1] // size
    kept = maps[..., :rows * size, :columns * size]
    return kept.reshape(*maps.shape[:-2], rows, size, columns, size)


def _summed(maps: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Sum ``[..., H, W]`` over windows of ``size x size``."""
    return windows_of(maps, size).sum(axis=(-3, -1))


def layer_currents(codes: npt.NDArray[np.int8], layer: Mapping[str, Any], maps: npt.NDArray[Any],
                   beside: tuple[npt.NDArray[np.int8], npt.NDArray[Any]] | None = None) -> npt.NDArray[Any]:
    """Sum ``codes`` over ``maps``, ``[images, T or 1, C, H, W]``: float64 of the same form, integers below 2^53.

    An input that is pooled is summed over its windows, and so are the currents of a convolution with a pool.
    ``beside``: codes of a projection, and the map that it sees.
    """
    maps = _summed(maps, layer.get("input_pool", 1))
    if layer["kind"] != "convolution":
        return _product(maps.reshape(*maps.shape[:2], -1), codes)[..., None, None]
    stride, padding, kernel = layer["stride"], layer["padding"], layer["kernel"]
    height, width = maps.shape[3] + 2 * padding, maps.shape[4] + 2 * padding
    padded = np.zeros((*maps.shape[:2], height, width, maps.shape[2]), dtype=maps.dtype)
    padded[:, :, padding:padding + maps.shape[3], padding:padding + maps.shape[4]] = maps.transpose(0, 1, 3, 4, 2)
    rows, columns = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    total = np.zeros((*maps.shape[:2], rows, columns, len(codes)))
    for y in range(kernel):
        for x in range(kernel):
            tap = padded[:, :, y:y + stride * (rows - 1) + 1:stride, x:x + stride * (columns - 1) + 1:stride]
            total += _product(tap, codes[:, :, y, x])
    if beside is not None:
        step = layer["projection"]["stride"]
        total += _product(beside[1].transpose(0, 1, 3, 4, 2)[:, :, ::step, ::step], beside[0][:, :, 0, 0])
    return _summed(total.transpose(0, 1, 4, 2, 3), layer.get("pool", 1))


def _product(places: npt.NDArray[Any], weights: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Sum ``[..., in]`` with ``[out, in]``, codes of -1 to 1: float64 ``[..., out]``, exact.

    Both are copied into one piece first: NumPy multiplies others without BLAS, a hundred times as slowly.
    """
    largest = max(int(np.max(places, initial=0)), -int(np.min(places, initial=0))) * places.shape[-1]
    exact: type[np.floating] = np.float32 if largest <= 2**24 else np.float64
    rows = np.ascontiguousarray(places, dtype=exact).reshape(-1, places.shape[-1])
    columns = np.ascontiguousarray(weights, dtype=exact)
    sums: npt.NDArray[np.float64] = (rows @ columns.T).reshape(*places.shape[:-1], len(columns)).astype(np.float64)
    return sums


def layer_spikes(checkpoint: Trained, index: int, maps: npt.NDArray[Any],
                 beside: npt.NDArray[Any] | None = None) -> npt.NDArray[np.bool_]:
    """Spikes of layer ``index``, which has neurons, ``bool[images, T, C, H, W]``.

    ``maps`` are its inputs: spikes ``[images, T, C, H, W]``, two maps summed where it has a shortcut, or pixels minus
    the zero point ``[images, 1, C, H, W]``. ``beside`` are the spikes that its projection sees, if it has one.
    """
    architecture = checkpoint.architecture
    layer = architecture["layers"][index]
    if isinstance(checkpoint, RationalNetwork):
        return exact_spikes(
            checkpoint.neurons[layer["name"]], layer_currents(checkpoint.codes[layer["name"]], layer, maps),
            timesteps=architecture["timesteps"], hard=layer["reset"] == "zero", leak_shift=layer["leak_shift"])
    tensors, name = checkpoint.tensors, layer["name"]

    def get(part: str) -> npt.NDArray[np.float64]:
        values = tensors[f"{name}.{part}"].astype(np.float64)
        return values.reshape(-1, 1, 1) if values.ndim else values

    gain, offset = (values[:, None, None] for values in checkpoint.gain_and_offset(index))
    keep = 1.0 if layer["leak_shift"] is None else 1 - 2.0**-layer["leak_shift"]
    projection, area = checkpoint.projection(index), mean_size(layer)
    seen = None if projection is None or beside is None else (projection, beside)
    currents = layer_currents(tensors[f"{name}.ternary"], layer, maps, seen)
    theta, u = get("theta"), np.broadcast_to(get("initial"), currents[:, 0].shape)
    spikes = np.empty((len(currents), architecture["timesteps"], *currents.shape[2:]), dtype=bool)
    for timestep in range(architecture["timesteps"]):
        # Products first: where they are exact, the mean of a window is only rounded once.
        u = u * keep + (gain * currents[:, timestep if currents.shape[1] > 1 else 0] / area + offset)
        fired = u >= theta
        spikes[:, timestep] = fired
        u = np.where(fired, 0, u) if layer["reset"] == "zero" else u - fired * theta
    return spikes
