"""The trained network with spike times in float64, straight from the checkpoint: what the integers must reproduce.

It shares no code with the integer reference: spikes are their values, sums of float64 are exact because every value is
dyadic, and gain and offset are applied as :mod:`arch.ttfs.checkpoint` defines. The exact forward of ``train`` computes
the same with PyTorch.
"""

import numpy as np
import numpy.typing as npt

from arch.ttfs.checkpoint import Checkpoint
from arch.ttfs.code import TimeCode
from arch.ttfs.network import EarliestPool
from arch.ttfs.trained_layers import Convolution, Layer, Readout

__all__ = ["exact_forward", "fire", "pixel_times", "thresholds"]

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


def thresholds(checkpoint: Checkpoint) -> Floats:
    """Return ``theta0 2^(-t/tau)`` for each time, ``float64[T]``, falling."""
    return checkpoint.theta0 * checkpoint.code.values()[:-1]


def fire(values: Floats, theta: Floats) -> Times:
    """Return the first time at which each value reaches its threshold, ``int64`` of the values' shape; T for never."""
    # The thresholds rise when read from the end; a value on one of them reaches it.
    return len(theta) - np.searchsorted(theta[::-1], values, side="right").astype(np.int64)


def pixel_times(checkpoint: Checkpoint) -> Times:
    """Return the time of the spike of each pixel value, ``int64[256]``."""
    return fire(np.arange(256, dtype=np.float64) * checkpoint.input.scale, thresholds(checkpoint))


def _weight_values(code: TimeCode, codes: npt.NDArray[np.int8]) -> Floats:
    """Return what each code does to a spike at each time below tau, ``float64[tau, *codes.shape]``.

    A spike at ``t = tau h + b`` is that at ``b``, halved h times, exactly: products of one octave are all there is.
    """
    octave = TimeCode(timesteps=code.tau, tau=code.tau, p=code.p, bits=code.bits, fraction=code.fraction)
    table = octave.products()[:, :-1].astype(np.float64) * 2.0**-octave.unit_bits
    return np.moveaxis(table[np.abs(codes.astype(np.int64))], -1, 0) * np.sign(codes)


def _sums(code: TimeCode, layer: Layer, times: Times) -> Floats:
    """Return the sums of a layer with weights, ``float64[N, out, H, W]``, of the spikes ``times[N, in, H, W]``."""
    assert not isinstance(layer, EarliestPool)
    values = _weight_values(code, layer.weights)
    if not isinstance(layer, Convolution):
        values = values.reshape(*values.shape[:2], *times.shape[1:])
        stride, padding = 1, 0
    else:
        stride, padding = layer.stride, layer.padding
    border = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    total: Floats | None = None
    for phase in range(code.tau):
        spikes = (times < code.timesteps) & (times % code.tau == phase)
        maps = np.pad(np.where(spikes, np.ldexp(1.0, -(times // code.tau)), 0.0), border)
        windows = np.lib.stride_tricks.sliding_window_view(maps, values.shape[3:], axis=(2, 3))
        sums = np.tensordot(windows[:, :, ::stride, ::stride], values[phase], axes=((1, 4, 5), (1, 2, 3)))
        total = sums if total is None else total + sums
    assert total is not None
    return np.moveaxis(total, -1, 1)


def _earliest(times: Times, size: int) -> Times:
    """Return the earliest time of each window; rows and columns that fill none are dropped."""
    rows, columns = (side // size for side in times.shape[2:])
    cut = times[:, :, :rows * size, :columns * size]
    return cut.reshape(*times.shape[:2], rows, size, columns, size).min(axis=(3, 5))


def exact_forward(checkpoint: Checkpoint, images: npt.NDArray[np.uint8]) -> tuple[Floats, list[Times]]:
    """Return the scores and every spike time of the trained network.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its sums must stay below 2^53 units of its code (:func:`arch.ttfs.widths.membrane_range`).
    images : ``uint8[N, C, H, W]``
        Of the checkpoint's input.

    Returns
    -------
    scores : ``float64[N, classes]``
        Sums of the readout, without its scale and ``theta0``; exact.
    times : list of ``int64[N, C, H, W]``
        Of the input and of each layer before the readout, pools included; T for no spike.
    """
    theta = thresholds(checkpoint)
    times = [pixel_times(checkpoint)[images]]
    for layer in checkpoint.layers:
        if isinstance(layer, EarliestPool):
            times.append(_earliest(times[-1], layer.size))
            continue
        sums = _sums(checkpoint.code, layer, times[-1])
        if isinstance(layer, Readout):
            break
        gain, offset = (values[:, None, None] for values in layer.gain_and_offset(checkpoint.theta0))
        # Two roundings, never a fused one: so the thresholds of the integers are found.
        times.append(fire(sums * gain + offset, theta))
    return sums.reshape(len(images), -1), times
