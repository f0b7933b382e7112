"""Scale, BatchNorm and PIF neurons in few passes over memory: of a training step, or of a teacher.

What :class:`torch.nn.BatchNorm1d` and :mod:`train.neurons` do one after the other, for sums of channels-last maps: the
normalised currents are never stored, and the backward pass computes membranes again instead of reading them. On a CPU
these passes are a third of a step, and bound by memory. The formulas are the same, the order of additions is not:
results agree within the noise of float32, in which a current at the threshold may fall to either side.
"""

from typing import Any

import torch
from torch import Tensor, nn

from arch.network import Reset
from train import neurons
from train.compilation import compiled

__all__ = ["applies", "normalised_spikes"]


def _statistics(sums: Tensor, shift: Tensor, over_mean: bool) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each channel; ``shift`` is a guess of the mean, against cancellation."""
    centred = sums.float() - shift
    if over_mean:
        centred = centred.mean(0, keepdim=True)
    count = centred[..., 0].numel()
    # First over places: shorter sums of float32 lose less.
    mean = centred.sum((2, 3)).sum((0, 1)) / count
    square = (centred * centred).sum((2, 3)).sum((0, 1)) / count
    return shift + mean, (square - mean * mean).clamp(min=0)


def _fire(sums: Tensor, slope: Tensor, offset: Tensor, theta: Tensor, initial: float, timesteps: int, hard: bool,
          keep: float, spike_dtype: torch.dtype) -> Tensor:
    return neurons.fire(sums.float() * slope + offset, theta, initial, timesteps, hard, keep, spike_dtype)[1]


def _rate(sums: Tensor, slope: Tensor, offset: Tensor, theta: Tensor, initial: float, timesteps: int,
          rate_dtype: torch.dtype) -> Tensor:
    return neurons.quantised_rate(sums.float() * slope + offset, theta, timesteps, initial, rate_dtype)


def _normalise_backward(by_current: Tensor, whitened: Tensor, gamma: Tensor, inverse: Tensor, dtype: torch.dtype,
                        over_mean: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of BatchNorm's sums, gain and bias."""
    count = by_current[..., 0].numel()
    by_beta, by_gamma = (values.sum((2, 3)).sum((0, 1)) for values in (by_current, by_current * whitened))
    # The variance is that of these values, or of their mean over time.
    varied = whitened.mean(0, keepdim=True) if over_mean else whitened
    by_sums = gamma * inverse * (by_current - by_beta / count - varied * (by_gamma / count))
    return by_sums.to(dtype), by_gamma, by_beta


def _through_time(by_spikes: Tensor, sums: Tensor, mean: Tensor, inverse: Tensor, gamma: Tensor, beta: Tensor,
                  theta: Tensor, initial: float, timesteps: int, hard: bool, keep: float, shape: str,
                  over_mean: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    whitened = (sums.float() - mean) * inverse
    membranes, _ = neurons.fire(whitened * gamma + beta, theta, initial, timesteps, hard, keep, torch.float32)
    by_current, by_theta = neurons.propagate(by_spikes, membranes, theta, initial, len(sums), hard, keep, shape)
    return *_normalise_backward(by_current, whitened, gamma, inverse, sums.dtype, over_mean), by_theta


def _by_rate(by_rate: Tensor, sums: Tensor, mean: Tensor, inverse: Tensor, gamma: Tensor, beta: Tensor,
             theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    whitened = (sums.float() - mean) * inverse
    by_current, by_theta = neurons.propagate_rate(by_rate, whitened * gamma + beta, theta)
    return *_normalise_backward(by_current, whitened, gamma, inverse, sums.dtype), by_theta


def _relu(sums: Tensor, slope: Tensor, offset: Tensor, theta: Tensor, dtype: torch.dtype) -> Tensor:
    return ((sums.float() * slope + offset).relu() / theta).to(dtype)


def _through_relu(by_values: Tensor, sums: Tensor, mean: Tensor, inverse: Tensor, gamma: Tensor, beta: Tensor,
                  theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    whitened = (sums.float() - mean) * inverse
    current = whitened * gamma + beta
    by_current = torch.where(current > 0, by_values.float(), 0) / theta
    by_theta = -(by_current * current / theta).sum_to_size(theta.shape)
    return *_normalise_backward(by_current, whitened, gamma, inverse, sums.dtype), by_theta


def _dynamics(layer: neurons.PIF) -> tuple[float, int, bool, float]:
    return layer.initial, layer.timesteps, layer.reset is Reset.ZERO, layer.keep


def _passed_on(sums: Tensor, slope: Tensor, offset: Tensor, layer: neurons.PIF, dtype: torch.dtype) -> Tensor:
    """Return what the neurons pass on of the currents ``sums * slope + offset``; it has no gradient."""
    function, constants = {neurons.Mode.SPIKES: (_fire, _dynamics(layer)),
                           neurons.Mode.RATES: (_rate, (layer.initial, layer.timesteps)),
                           neurons.Mode.RELU: (_relu, ())}[layer.mode]
    return compiled(function)(sums, slope, offset, layer.theta, *constants, dtype)  # type: ignore[no-any-return]


class _NormalisedSpikes(torch.autograd.Function):
    """What neurons pass on of sums ``[T or 1, B, H, W, C]``; ``mean`` and ``inverse`` are functions of the sums."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, gamma: Tensor, beta: Tensor, theta: Tensor, mean: Tensor,  # type: ignore[override]
                inverse: Tensor, layer: neurons.PIF, dtype: torch.dtype) -> Tensor:
        slope = gamma * inverse
        ctx.save_for_backward(sums, mean, inverse, gamma, beta, theta)
        ctx.mode, ctx.constants = layer.mode, ()
        if layer.mode is neurons.Mode.SPIKES:
            ctx.constants = *_dynamics(layer), layer.surrogate, layer.norm_over_mean
        return _passed_on(sums, slope, beta - slope * mean, layer, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kernel = {neurons.Mode.SPIKES: _through_time, neurons.Mode.RATES: _by_rate, neurons.Mode.RELU: _through_relu}
        found = compiled(kernel[ctx.mode])(gradients[0], *ctx.saved_tensors, *ctx.constants)
        return *found, None, None, None, None


def applies(norm: nn.Module, layer: neurons.PIF, copies: int) -> bool:
    """Whether :func:`normalised_spikes` computes what ``norm`` and ``layer`` would: on compiled loops.

    Not with statistics of several processes or that are not kept, not without a momentum, not for the mean of several
    currents, and not for a gradient in evaluation mode.
    """
    return (layer.compiled and (norm.training or not torch.is_grad_enabled()) and type(norm) is nn.BatchNorm1d
            and norm.running_mean is not None and norm.momentum is not None
            and (layer.mode is neurons.Mode.SPIKES or copies == 1))


def _gain_and_shift(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return what BatchNorm multiplies by and adds; a norm may lack either, and has 1 and 0 then."""
    assert norm.running_mean is not None
    gamma: Tensor | None = norm.weight
    beta: Tensor | None = norm.bias
    return (torch.ones_like(norm.running_mean) if gamma is None else gamma,
            torch.zeros_like(norm.running_mean) if beta is None else beta)


def normalised_spikes(sums: Tensor, scale: Tensor, norm: nn.BatchNorm1d, layer: neurons.PIF,
                      dtype: torch.dtype) -> Tensor:
    """Return ``layer(norm(sums * scale))``, and update the running statistics in training mode.

    Parameters
    ----------
    sums : ``[T or 1, B, H, W, C]``, floating
        Sums of weight codes.
    scale : float32 ``[C]``
        Of the weights; it gets no gradient.
    norm, layer
        For which :func:`applies` holds.
    dtype : dtype of the spikes

    Returns
    -------
    Spikes ``[T, B, H, W, C]``, or ``[1, B, H, W, C]`` in the modes RATES and RELU
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    gamma, beta = _gain_and_shift(norm)
    if not norm.training:
        gain = gamma * torch.rsqrt(norm.running_var + norm.eps)
        return _passed_on(sums, gain * scale, beta - gain * norm.running_mean, layer, dtype)
    with torch.no_grad():
        # A filter of zeros has scale 0, and nothing to guess.
        shift = torch.where(scale > 0, norm.running_mean / scale, 0)
        mean, variance = compiled(_statistics)(sums, shift, layer.norm_over_mean)
        count = sums[:1 if layer.norm_over_mean else None, ..., 0].numel()
        scaled = scale * scale * variance
        norm.running_mean.lerp_(scale * mean, norm.momentum)
        norm.running_var.lerp_(scaled * (count / max(count - 1, 1)), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        inverse = scale * torch.rsqrt(scaled + norm.eps)
    return _NormalisedSpikes.apply(sums, gamma, beta, layer.theta,  # type: ignore[no-any-return]
                                   mean, inverse, layer, dtype)
