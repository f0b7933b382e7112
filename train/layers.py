"""Layers of ternary spiking networks: what a user composes in :class:`train.network.SpikingNetwork`.

Spike maps are ``[T, B, H, W, C]`` with values 0 and 1, and 2 where a shortcut sums two of them: channels last, because
that is how the elementwise work of neurons and pooling is fast. A map that is constant over time (a direct-encoded
image) has ``T = 1``, and its current is computed once. Convolutions and linear layers compute in the dtype of their
input with codes -1, 0, +1: spikes of bfloat16 autocast give sums that are exact integers up to 256, which then meet
scale, BatchNorm and neurons in float32.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from arch.network import Reset
from train import compilation, distributed, fused, neurons
from train.synapses import ProjectedConv2d, TernaryConv2d, TernaryLinear

__all__ = ["Convolution", "FullyConnected", "Identity", "OrPool", "Projection", "Readout", "normalise", "or_pool"]


@dataclasses.dataclass(kw_only=True, slots=True)
class Identity:
    """Further input of a convolution: each channel sees the same channel of an earlier map, with a weight of 1."""

    #: Index in the chain of the earlier layer, or or-pool, which has as many channels as the convolution.
    source: int
    #: Step between the positions that are seen, in pixels.
    stride: int = 1


@dataclasses.dataclass(kw_only=True, slots=True)
class Projection:
    """Further input of a convolution: its filters see an earlier map through trained 1 x 1 weights."""

    #: Index in the chain of the earlier layer, or or-pool.
    source: int
    #: Channels of its map.
    channels: int
    #: Step between the positions that are seen, in pixels.
    stride: int = 1


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


def _check_size(where: str, size: int) -> None:
    if size < 1:
        raise ValueError(f"{where} must be at least 1, not {size!r}")


def _window_means(maps: Tensor, size: int) -> Tensor:
    """Return the mean of each ``size x size`` window of ``[..., H, W, C]``."""
    return _windows(maps, size).mean((-4, -2)) if size > 1 else maps


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
    projection : Identity or Projection, optional
        Further input of the filters, in place of a shortcut: the same scale, BatchNorm and neurons. The network gives
        its map to :meth:`forward`.
    input_pool : int
        Side of the windows of the input map of which the layer sees the mean, 1 (none) or a divisor of both sides of
        the map; not beside a projection. The export repeats the weights instead, so that ``input_pool`` times the
        kernel, and times the stride, is at most 7.
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
                 pool: int = 1, shortcut: int | None = None, projection: Identity | Projection | None = None,
                 input_pool: int = 1, timesteps: int | None = None, reset: Reset = Reset.SUBTRACT,
                 leak_shift: int | None = None, norm: bool = True, epsilon: float = 1e-5) -> None:
        super().__init__()
        _check_size("pool", pool)
        _check_size("input_pool", input_pool)
        self.pool = pool
        self.shortcut = shortcut
        self.projection = projection
        self.input_pool = input_pool
        self.synapses: TernaryConv2d
        if isinstance(projection, Projection):
            self.synapses = ProjectedConv2d(in_channels, channels, kernel, stride=stride, padding=padding,
                                            beside=projection.channels)
        else:
            self.synapses = TernaryConv2d(in_channels, channels, kernel, stride=stride, padding=padding)
        self.norm = _norm(channels, norm, epsilon)
        self.neurons = neurons.PIF(timesteps, reset=reset, leak_shift=leak_shift)

    def _sums_and_scale(self, spikes: Tensor, beside: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.projection is None:
            return self.synapses.sums_and_scale(spikes)
        if beside is None:
            raise TypeError("a convolution with a projection must be given the map that the projection sees")
        seen = beside[:, :, ::self.projection.stride, ::self.projection.stride]
        if isinstance(self.synapses, ProjectedConv2d):
            return self.synapses.sums_of_both(spikes, seen)
        sums, scale = self.synapses.sums_and_scale(spikes)
        return sums + seen, scale

    def forward(self, spikes: Tensor, beside: Tensor | None = None) -> Tensor:
        """Spikes ``[T, B, H', W', out]`` of the map ``[T or 1, B, H, W, in]``, and of the one of a projection."""
        sums, scale = self._sums_and_scale(_window_means(spikes, self.input_pool), beside)
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
        Size of the flattened map (in the order channel, row, column; after ``input_pool``) and number of neurons.
    input_pool : int
        Side of the windows of the input map of which the layer sees the mean, 1 (none) or a divisor of both sides of
        the map.
    shortcut, timesteps, reset, leak_shift, norm, epsilon
        As of :class:`Convolution`.
    """

    def __init__(self, inputs: int, outputs: int, *, shortcut: int | None = None, input_pool: int = 1,
                 timesteps: int | None = None, reset: Reset = Reset.SUBTRACT, leak_shift: int | None = None,
                 norm: bool = True, epsilon: float = 1e-5) -> None:
        super().__init__()
        _check_size("input_pool", input_pool)
        self.shortcut = shortcut
        self.input_pool = input_pool
        self.synapses = TernaryLinear(inputs, outputs)
        self.norm = _norm(outputs, norm, epsilon)
        self.neurons = neurons.PIF(timesteps, reset=reset, leak_shift=leak_shift)

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes ``[T, B, 1, 1, outputs]`` of the map ``[T or 1, B, H, W, C]``."""
        sums, scale = self.synapses.sums_and_scale(_flatten(_window_means(spikes, self.input_pool)))
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

    Parameters
    ----------
    inputs, classes : int
        Size of the flattened map (in the order channel, row, column; after ``input_pool``) and number of classes.
    input_pool : int
        As of :class:`FullyConnected`; the side of the map is global average pooling.
    """

    def __init__(self, inputs: int, classes: int, *, input_pool: int = 1) -> None:
        super().__init__()
        _check_size("input_pool", input_pool)
        self.input_pool = input_pool
        self.synapses = TernaryLinear(inputs, classes, per_channel=False)

    def forward(self, spikes: Tensor) -> Tensor:
        """Scores ``[B, classes]``, float32, of the map ``[T, B, H, W, C]``."""
        return self.synapses(self._seen(spikes).sum(0)) / len(spikes)

    def by_step(self, spikes: Tensor) -> Tensor:
        """Scores of each timestep, ``[T, B, classes]``, float32; their mean over time is that of :meth:`forward`."""
        return self.synapses(self._seen(spikes))

    def _seen(self, spikes: Tensor) -> Tensor:
        return _flatten(_window_means(spikes.float(), self.input_pool))
