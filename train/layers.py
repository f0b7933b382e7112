"""Layers of ternary spiking networks: what a user composes in :class:`train.network.SpikingNetwork`.

Spike maps are ``[T, B, H, W, C]`` with values 0 and 1, and 2 where a shortcut sums two of them: channels last, because
that is how the elementwise work of neurons and pooling is fast. A map that is constant over time (a direct-encoded
image) has ``T = 1``, and its current is computed once. Convolutions and linear layers compute in the dtype of their
input with codes -1, 0, +1: spikes of bfloat16 autocast give sums that are exact integers up to 256, which then meet
scale, BatchNorm and neurons in float32.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from arch.network import Reset
from train import compilation, distributed, fused, neurons, quantisers

__all__ = ["Convolution", "FullyConnected", "OrPool", "Readout", "TernaryConv2d", "TernaryLinear", "normalise",
           "or_pool"]


class TernaryConv2d(nn.Module):
    """Ternary convolution without bias, ``[N, H, W, in]`` -> float32 ``[N, H', W', out]``.

    ``scale * conv2d(x, codes)`` with the codes and the scale per output channel of its
    :mod:`quantiser <train.quantisers>`, by default TWN's.
    The latent weights are ``[out, in, kernel, kernel]``, as PyTorch's.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding
        self.quantiser: quantisers.Quantiser = quantisers.Ternary()
        self.weight = nn.Parameter(torch.empty(channels, in_channels, kernel, kernel))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Current of the input ``x``."""
        sums, scale = self.sums_and_scale(x[None])
        return sums[0].float() * scale

    def sums_and_scale(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``conv2d(maps, codes)``, ``[T, B, H', W', out]`` of ``[T, B, H, W, in]``, and the scale ``[out]``."""
        with torch.autocast(maps.device.type, enabled=False):
            codes, scale = self.quantiser(self.weight)
            codes = codes.to(maps.dtype, memory_format=torch.channels_last)
            sums = functional.conv2d(maps.flatten(0, 1).movedim(-1, 1), codes, stride=self.stride,
                                     padding=self.padding)
            return sums.movedim(1, -1).unflatten(0, maps.shape[:2]), scale


class TernaryLinear(nn.Module):
    """Ternary linear layer without bias, ``[N, in]`` -> float32 ``[N, out]``; one scale per output or for the layer."""

    def __init__(self, inputs: int, outputs: int, *, per_channel: bool = True) -> None:
        super().__init__()
        self.per_channel = per_channel
        self.quantiser: quantisers.Quantiser = quantisers.Ternary()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Current of the input ``x``."""
        sums, scale = self.sums_and_scale(x[None])
        return sums[0].float() * scale

    def sums_and_scale(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``linear(maps, codes)``, ``[T, B, out]`` of ``[T, B, in]``, and the scale, ``[out]`` or ``[]``."""
        with torch.autocast(maps.device.type, enabled=False):
            codes, scale = self.quantiser(self.weight, per_channel=self.per_channel)
            return functional.linear(maps, codes.to(maps.dtype)), scale


def normalise(current: Tensor, norm: nn.BatchNorm1d | None, *, over_mean: bool = False) -> Tensor:
    """Return BatchNorm of the current ``[T, B, H, W, C]``, in training with statistics over all of it.

    Without a ``norm`` the current is returned as it is.
    ``over_mean``: with those of its mean over time, as if time were folded.
    """
    if norm is None:
        return current
    if not over_mean or not norm.training or len(current) == 1:
        return norm(current.flatten(0, -2)).reshape(current.shape)  # type: ignore[no-any-return]
    mean = current.mean(0, keepdim=True)
    rows = mean.flatten(0, -2)
    slope = (distributed.moments(rows)[1] + norm.eps).rsqrt()
    if norm.weight is not None:
        slope = norm.weight * slope
    return norm(rows).reshape(mean.shape) + (current - mean) * slope


def _norm(channels: int, norm: bool, epsilon: float) -> nn.BatchNorm1d | None:
    return nn.BatchNorm1d(channels, eps=epsilon) if norm else None


def _neurons_of(sums: Tensor, scale: Tensor, norm: nn.BatchNorm1d | None, pif: neurons.PIF) -> Tensor:
    """Return what neurons pass on whose current is ``sums * scale``, ``[T or 1, B, H, W, C]``, normalised."""
    if norm is not None and fused.applies(norm, pif, len(sums)):
        return fused.normalised_spikes(sums, scale, norm, pif, pif.spike_dtype(sums.device))
    return pif(normalise(sums.float() * scale, norm, over_mean=pif.norm_over_mean))


def _flatten(spikes: Tensor) -> Tensor:
    """Flatten maps ``[T, B, H, W, C]`` to ``[T, B, C * H * W]``, in the order channel, row, column."""
    return spikes.movedim(-1, 2).flatten(2)


class Convolution(nn.Module):
    """Ternary convolution, average pooling, BatchNorm with one set of statistics over all timesteps, PIF neurons.

    Parameters
    ----------
    in_channels, channels : int
        Channels of the input and of the output map.
    kernel : int
        Side of the kernel, 1 to 7 pixels.
    stride, padding : int
        As of :class:`torch.nn.Conv2d`; the border has the value 0 (of pixels: the zero point).
    pool : int
        Side of the windows of which the neurons see the mean current, 1 (none) to 7 positions. Windows do not overlap;
        rows and columns that fill none are dropped.
    shortcut : int, optional
        Index in the chain of an earlier layer, or or-pool, whose spikes the network adds to the input map; not that of
        the previous layer. The map may hold 2 then.
    timesteps : int, optional
        T; by default that of the network that the layer becomes part of.
    reset, leak_shift
        As of :func:`train.neurons.pif`.
    norm : bool
        False leaves BatchNorm out: the neurons see the scaled sums.
    epsilon : float
        BatchNorm's.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, *, stride: int = 1, padding: int = 0,
                 pool: int = 1, shortcut: int | None = None, timesteps: int | None = None,
                 reset: Reset = Reset.SUBTRACT, leak_shift: int | None = None, norm: bool = True,
                 epsilon: float = 1e-5) -> None:
        super().__init__()
        if pool < 1:
            raise ValueError(f"pool must be at least 1, not {pool!r}")
        self.pool = pool
        self.shortcut = shortcut
        self.synapses = TernaryConv2d(in_channels, channels, kernel, stride=stride, padding=padding)
        self.norm = _norm(channels, norm, epsilon)
        self.neurons = neurons.PIF(timesteps, reset=reset, leak_shift=leak_shift)

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes ``[T, B, H', W', out]`` of the map ``[T or 1, B, H, W, in]``."""
        sums, scale = self.synapses.sums_and_scale(spikes)
        if self.pool > 1:
            # A mean of integers needs more bits than bfloat16 has.
            pooled = functional.avg_pool2d(sums.float().flatten(0, 1).movedim(-1, 1), self.pool).movedim(1, -1)
            sums = pooled.unflatten(0, sums.shape[:2])
        return _neurons_of(sums, scale, self.norm, self.neurons)


class FullyConnected(nn.Module):
    """Ternary linear layer on the flattened map, BatchNorm over all timesteps, PIF neurons.

    Parameters
    ----------
    inputs, outputs : int
        Size of the flattened map (in the order channel, row, column) and number of neurons.
    shortcut, timesteps, reset, leak_shift, norm, epsilon
        As of :class:`Convolution`.
    """

    def __init__(self, inputs: int, outputs: int, *, shortcut: int | None = None, timesteps: int | None = None,
                 reset: Reset = Reset.SUBTRACT, leak_shift: int | None = None, norm: bool = True,
                 epsilon: float = 1e-5) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.synapses = TernaryLinear(inputs, outputs)
        self.norm = _norm(outputs, norm, epsilon)
        self.neurons = neurons.PIF(timesteps, reset=reset, leak_shift=leak_shift)

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes ``[T, B, 1, 1, outputs]`` of the map ``[T or 1, B, H, W, C]``."""
        sums, scale = self.synapses.sums_and_scale(_flatten(spikes))
        return _neurons_of(sums[:, :, None, None], scale, self.norm, self.neurons)


def _pool(maps: Tensor, size: int) -> Tensor:
    window = _windows(maps, size)
    pooled = window[..., 0, :, 0, :]
    for row in range(size):
        for column in range(size):
            pooled = torch.maximum(pooled, window[..., row, :, column, :])
    return pooled


def _propagate_pool(by_pooled: Tensor, maps: Tensor, pooled: Tensor, size: int) -> Tensor:
    window = _windows(maps, size)
    count = torch.zeros_like(by_pooled)
    for row in range(size):
        for column in range(size):
            count = count + (window[..., row, :, column, :] == pooled)
    share = by_pooled / count
    by_window = torch.where(window == pooled[..., None, :, None, :], share[..., None, :, None, :], 0)
    return _fill(by_window.flatten(-3, -2).flatten(-4, -3), maps)


def _fill(by_maps: Tensor, maps: Tensor) -> Tensor:
    """Add zeros for the rows and columns of ``maps`` that fill no window."""
    rows, columns = (maps.shape[axis] - by_maps.shape[axis] for axis in (-3, -2))
    return functional.pad(by_maps, (0, 0, 0, columns, 0, rows)) if rows or columns else by_maps


def _pool_rates(maps: Tensor, size: int) -> Tensor:
    window = _windows(maps, size).float()
    silent = torch.ones_like(window[..., 0, :, 0, :])
    for row in range(size):
        for column in range(size):
            silent = silent * (1 - window[..., row, :, column, :])
    return (1 - silent).to(maps.dtype)


def _propagate_pool_rates(by_pooled: Tensor, maps: Tensor, pooled: Tensor, size: int) -> Tensor:
    silent = 1 - _windows(maps, size).float()
    places = [(row, column) for row in range(size) for column in range(size)]
    by_window = []
    for place in places:
        others = by_pooled.float()
        for row, column in places:
            if (row, column) != place:
                others = others * silent[..., row, :, column, :]
        by_window.append(others)
    stacked = torch.stack(by_window, -2).unflatten(-2, (size, size)).movedim(-3, -4)
    return _fill(stacked.flatten(-3, -2).flatten(-4, -3).to(maps.dtype), maps)


def _pool_kernels(compiled: bool, rates: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    forward, backward = (_pool_rates, _propagate_pool_rates) if rates else (_pool, _propagate_pool)
    return (compilation.compiled(forward), compilation.compiled(backward)) if compiled else (forward, backward)


class _OrPool(torch.autograd.Function):
    """Largest value of windows, or the OR of rates; the gradient of the first is shared by the neurons that have it."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: int, compiled: bool, rates: bool) -> Tensor:  # type: ignore[override]
        pooled = _pool_kernels(compiled, rates)[0](maps, size)
        ctx.save_for_backward(maps, pooled)
        ctx.constants = size, compiled, rates
        return pooled  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        size, compiled, rates = ctx.constants
        return _pool_kernels(compiled, rates)[1](gradients[0], *ctx.saved_tensors, size), None, None, None


def _windows(spikes: Tensor, size: int) -> Tensor:
    """View ``[..., H, W, C]`` as ``[..., H // size, size, W // size, size, C]``, with rows and columns apart."""
    height, width = (side // size for side in spikes.shape[-3:-1])
    cut = spikes[..., :height * size, :width * size, :]
    return cut.unflatten(-2, (width, size)).unflatten(-4, (height, size))


def or_pool(spikes: Tensor, size: int, *, rates: bool = False, compiled: bool = False) -> Tensor:
    """Return the OR of the spikes of each ``size x size`` window, ``[..., H // size, W // size, C]``.

    Rows and columns that fill no window are dropped: the same as max-pool, which it is for real numbers. The gradient
    is that of ``amax``, shared equally by the neurons that decide: those that spiked or, in a silent window, all.

    ``rates``: the maps are shares of timesteps with a spike, 0 to 1, and the result is the expected share of timesteps
    with a spike in the window if neurons spike independently, ``1 - prod (1 - r)``: max-pool would miss that they
    spike at different times. ``compiled`` as of :func:`train.neurons.pif`.
    """
    return _OrPool.apply(spikes, size, compiled, rates)


class OrPool(nn.Module):
    """Pooling of spikes by :func:`or_pool`, per timestep."""

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 2:
            raise ValueError(f"pool size must be at least 2, not {size!r}")
        self.size = size
        self.compiled = False
        self.mode = neurons.Mode.SPIKES
        #: Whether rates are pooled as if neurons spike independently; otherwise the largest rate counts.
        self.independent = True

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes ``[T, B, H // size, W // size, C]`` of the map ``[T, B, H, W, C]``; the largest of real numbers."""
        rates = self.mode is neurons.Mode.RATES and self.independent
        return or_pool(spikes, self.size, rates=rates, compiled=self.compiled)


class Readout(nn.Module):
    """Ternary linear layer without neurons, bias and BatchNorm, one scale for the layer; mean over time.

    The integer network sums over time instead: the same order of classes.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.synapses = TernaryLinear(inputs, classes, per_channel=False)

    def forward(self, spikes: Tensor) -> Tensor:
        """Scores ``[B, classes]``, float32, of the map ``[T, B, H, W, C]``."""
        return self.synapses(_flatten(spikes).float().sum(0)) / len(spikes)

    def by_step(self, spikes: Tensor) -> Tensor:
        """Scores of each timestep, ``[T, B, classes]``, float32; their mean over time is that of :meth:`forward`."""
        return self.synapses(_flatten(spikes).float())
