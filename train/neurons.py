"""PIF neurons: integrate and fire with a learnable threshold, and their surrogate gradient.

The neuron and its surrogate are TSNN's (``docs/algorithms.md``, sections 1.1 and 1.2), with one correction: the same
``>=`` decides the spike and the reset, so that float training, integer reference and RTL agree on a membrane exactly at
the threshold.
"""

import enum
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from arch.network import Reset
from train import compilation

__all__ = ["INITIAL_MEMBRANE", "PIF", "SURROGATES", "SURROGATE_GAIN", "Mode", "fire", "pif", "propagate",
           "propagate_rate", "quantised_rate", "rate", "surrogate"]

#: Membrane before the first timestep unless it is given, in units of the threshold: rates are rounded (QCFS).
INITIAL_MEMBRANE = 0.5
#: Height of the triangular surrogate at the threshold (TSNN's 0.3 x 2).
SURROGATE_GAIN = 0.6


class Mode(enum.Enum):
    """What neurons pass on."""

    #: Spikes over T timesteps: the network as the hardware computes it.
    SPIKES = "spikes"
    #: The share of timesteps with a spike, if the current were constant: time folded into one step (:func:`rate`).
    RATES = "rates"
    #: The current over the threshold where it is positive: a network without spikes.
    RELU = "relu"


def surrogate(z: Tensor, shape: str = "triangle") -> Tensor:
    """Return the stand-in for the derivative of the spike with respect to ``z = u / theta - 1``.

    Elementwise; any shape, the dtype of ``z``. ``triangle`` is ``0.6 max(0, 1 - |z|)``, of TSNN's training script: the
    linear surrogate of DIET-SNN (arXiv 2008.03658) with gain 0.6. ``rectangle`` is 1 for ``|z| < 1/2`` (STBP, arXiv
    1706.02609); ``arctangent`` is ``1 / (1 + (pi z)^2)`` (SpikingJelly's, alpha = 2).
    """
    if shape == "triangle":
        return SURROGATE_GAIN * (1 - z.abs()).clamp(min=0)
    if shape == "rectangle":
        return (z.abs() < 0.5).to(z.dtype)
    return 1 / (1 + (math.pi * z).square())


#: Shapes of the surrogate.
SURROGATES = ("triangle", "rectangle", "arctangent")


def quantised_rate(current: Tensor, theta: Tensor, timesteps: int, initial: float, rate_dtype: torch.dtype) -> Tensor:
    """Return :func:`rate`, for its kernels."""
    steps = torch.floor(current * (timesteps / theta) + initial).clamp(0, timesteps)
    return (steps * (1 / timesteps)).to(rate_dtype)


def propagate_rate(by_rate: Tensor, current: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients with respect to the current and the threshold: those of ``clip(current / theta, 0, 1)``."""
    inverse = 1 / theta
    open_ = (current > 0) & (current < theta)
    by_current = torch.where(open_, by_rate.to(current.dtype), 0) * inverse
    return by_current, -(by_current * current * inverse).sum_to_size(theta.shape)


def _rate_kernels(compiled: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    if compiled:
        return compilation.compiled(quantised_rate), compilation.compiled(propagate_rate)
    return quantised_rate, propagate_rate


class _Rate(torch.autograd.Function):
    """Quantised rate with the gradient of the clipped line."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, theta: Tensor, initial: float, timesteps: int,  # type: ignore[override]
                rate_dtype: torch.dtype, compiled: bool) -> Tensor:
        ctx.save_for_backward(current, theta)
        ctx.compiled = compiled
        return _rate_kernels(compiled)[0](current, theta, timesteps, initial, rate_dtype)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return *_rate_kernels(ctx.compiled)[1](gradients[0], *ctx.saved_tensors), None, None, None, None


def rate(current: Tensor, theta: Tensor, *, timesteps: int, initial: float = INITIAL_MEMBRANE,
         rate_dtype: torch.dtype | None = None, compiled: bool = False) -> Tensor:
    """Share of timesteps with a spike of neurons with soft reset under a constant current.

    ``clip(floor(T x / theta + initial), 0, T) / T``: exactly the spike count of :func:`pif` for a constant current
    (QCFS, arXiv 2303.04347, eq. 10, with the threshold left to the next layer's scale). The gradient is that of
    ``clip(x / theta, 0, 1)``.

    Parameters
    ----------
    current : any shape ``[..., C]``, floating
    theta : ``[]`` or ``[C]``, positive
    timesteps : int
        T.
    initial : float
        Membrane before the first timestep, in units of the threshold.
    rate_dtype : dtype of the rates; that of ``current`` by default
    compiled : bool
        As of :func:`pif`.

    Returns
    -------
    The shape of ``current``, multiples of ``1 / T`` from 0 to 1
    """
    return _Rate.apply(current, theta, initial, timesteps, rate_dtype or current.dtype,  # type: ignore[no-any-return]
                       compiled)


def fire(current: Tensor, theta: Tensor, initial: float, timesteps: int, hard: bool, keep: float,
          spike_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return membranes before the reset and spikes, ``[T, B, ..., C]``."""
    rest = theta * initial
    membranes, spikes = [], []
    for t in range(timesteps):
        u = torch.add(current[t if len(current) > 1 else 0], rest, alpha=keep)
        fired = (u >= theta).to(u.dtype)
        membranes.append(u)
        spikes.append(fired)
        rest = u * (1 - fired) if hard else u - fired * theta
    return torch.stack(membranes), torch.stack(spikes).to(spike_dtype)


def propagate(by_spikes: Tensor, membranes: Tensor, theta: Tensor, initial: float, copies: int, hard: bool,
               keep: float, shape: str) -> tuple[Tensor, Tensor]:
    """Return the gradients with respect to the current, ``[copies, B, ..., C]``, and the threshold."""
    inverse = 1 / theta
    by_theta = by_rest = torch.zeros_like(membranes[0])
    by_current = []
    for t in reversed(range(len(membranes))):
        u = membranes[t]
        fired = (u >= theta).to(u.dtype)  # as in fire: u / theta >= 1 would round differently
        ratio = u * inverse
        by_spike = by_spikes[t].to(u.dtype) - by_rest * (u if hard else theta)
        by_u = by_spike * surrogate(ratio - 1, shape) * inverse
        by_theta = by_theta - by_u * ratio
        if hard:
            by_u = by_u + by_rest * (1 - fired)
        else:
            by_theta = by_theta - by_rest * fired
            by_u = by_u + by_rest
        by_current.append(by_u)
        by_rest = by_u * keep
    by_theta = (by_theta + by_rest * initial).sum_to_size(theta.shape)
    stacked = torch.stack(by_current[::-1])
    return stacked.sum(0, keepdim=True) if copies < len(membranes) else stacked, by_theta


def _kernels(compiled: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return (compilation.compiled(fire), compilation.compiled(propagate)) if compiled else (fire, propagate)


class _PIF(torch.autograd.Function):
    """Integrate, fire and reset over T timesteps; the backward pass is written out to save time and memory."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, theta: Tensor, initial: float, timesteps: int, hard: bool,  # type: ignore[override]
                keep: float, shape: str, spike_dtype: torch.dtype, compiled: bool) -> Tensor:
        fire, _ = _kernels(compiled)
        membranes, spikes = fire(current, theta, initial, timesteps, hard, keep, spike_dtype)
        ctx.save_for_backward(membranes, theta)
        ctx.constants = initial, len(current), hard, keep, shape
        ctx.compiled = compiled
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        _, propagate = _kernels(ctx.compiled)
        by_current, by_theta = propagate(gradients[0], *ctx.saved_tensors, *ctx.constants)
        return by_current, by_theta, None, None, None, None, None, None, None


def _keep(leak_shift: int | None) -> float:
    return 1.0 if leak_shift is None else 1 - 2.0**-leak_shift


def pif(current: Tensor, theta: Tensor, *, timesteps: int, initial: float = INITIAL_MEMBRANE,
        reset: Reset = Reset.SUBTRACT, leak_shift: int | None = None, shape: str = "triangle",
        spike_dtype: torch.dtype | None = None, compiled: bool = False) -> Tensor:
    """Run PIF neurons over ``timesteps`` and return their spikes.

    ``u[t] = v[t-1] + current[t]``; spike if ``u[t] >= theta``; then ``v[t] = u[t] - theta`` (``Reset.SUBTRACT``) or 0
    (``Reset.ZERO``) where it spiked, ``u[t]`` elsewhere; ``v[-1] = initial * theta``. A leak multiplies ``v`` by
    ``1 - 2^-leak_shift`` before the addition. Gradients flow through the spike, by :func:`surrogate`, and through
    the reset.

    Parameters
    ----------
    current : ``[T, B, ..., C]`` or ``[1, B, ..., C]``, floating
        The latter is a current that is constant over time (direct encoding).
    theta : ``[]`` or ``[C]``, floating, positive
        Threshold of the layer or of each channel.
    timesteps : int
        T.
    initial : float
        Membrane before the first timestep, in units of the threshold.
    reset : Reset
        What a spike does to the membrane.
    leak_shift : int or None
        Leak, as of the integer rule.
    shape : str
        Surrogate, of :data:`SURROGATES`.
    spike_dtype : dtype of the spikes; that of ``current`` by default
    compiled : bool
        Compile the loops with :func:`torch.compile` (needs g++): three to eight times faster on a CPU.

    Returns
    -------
    ``[T, B, ..., C]``, values 0 and 1
    """
    if len(current) not in (1, timesteps):
        raise ValueError(f"current must have 1 or {timesteps} timesteps, not {len(current)}")
    if shape not in SURROGATES:
        raise ValueError(f"surrogate must be {', '.join(SURROGATES)}, not {shape!r}")
    keep = _keep(leak_shift)
    return _PIF.apply(current, theta, initial, timesteps, reset is Reset.ZERO, keep, shape,
                      spike_dtype or current.dtype, compiled)


class PIF(nn.Module):
    """Layer of PIF neurons with one learnable threshold (or one per channel).

    Parameters
    ----------
    timesteps : int, optional
        T; by default that of the network that the neurons become part of.
    channels : int or None
        Channels with a threshold of their own; by default the layer has one.
    theta : float
        Threshold at the start of training (TSNN: 1.0).
    initial : float
        Membrane before the first timestep, in units of the threshold. One half makes the spike count round to the
        nearest instead of down (QCFS, arXiv 2303.04347).
    reset, leak_shift
        As of :func:`pif`.
    """

    #: Smallest threshold that :meth:`clamp` leaves.
    MIN_THETA = 0.05

    def __init__(self, timesteps: int | None = None, *, channels: int | None = None, theta: float = 1.0,
                 initial: float = INITIAL_MEMBRANE, reset: Reset = Reset.SUBTRACT,
                 leak_shift: int | None = None) -> None:
        super().__init__()
        if not math.isfinite(theta) or theta < self.MIN_THETA:
            raise ValueError(f"theta must be at least {self.MIN_THETA}, not {theta!r}")
        if not isinstance(reset, Reset):
            raise TypeError(f"reset must be a Reset, not {reset!r}")
        self._timesteps = timesteps
        self.initial = initial
        self.reset = reset
        self.leak_shift = leak_shift
        self.compiled = False
        self.mode = Mode.SPIKES
        self.surrogate = "triangle"
        #: Whether BatchNorm before these neurons takes its statistics from the mean over time.
        self.norm_over_mean = False
        self.theta = nn.Parameter(torch.full(() if channels is None else (channels,), theta))

    @property
    def timesteps(self) -> int:
        """T; raises :exc:`ValueError` if neither the neurons nor a network have been told."""
        if self._timesteps is None:
            raise ValueError("timesteps must be given to a layer that is part of no network")
        return self._timesteps

    @timesteps.setter
    def timesteps(self, timesteps: int) -> None:
        self._timesteps = timesteps

    @property
    def follows_network(self) -> bool:
        """Whether T is not known yet, and a network may choose it."""
        return self._timesteps is None

    @property
    def keep(self) -> float:
        """Share of the membrane that a leak leaves."""
        return _keep(self.leak_shift)

    def forward(self, current: Tensor) -> Tensor:
        """Spikes ``[T, B, ..., C]`` of the current ``[T or 1, B, ..., C]``; bfloat16 inside bfloat16 autocast.

        In the modes RATES and RELU, one value per neuron, ``[1, B, ..., C]``, of the mean current.
        """
        spike_dtype = self.spike_dtype(current.device, current.dtype)
        if self.mode is not Mode.SPIKES:
            mean = current.mean(0, keepdim=True) if len(current) > 1 else current
            if self.mode is Mode.RELU:
                return (mean.relu() / self.theta).to(spike_dtype)
            return rate(mean, self.theta, timesteps=self.timesteps, initial=self.initial, rate_dtype=spike_dtype,
                        compiled=self.compiled)
        return pif(current, self.theta, timesteps=self.timesteps, initial=self.initial, reset=self.reset,
                   leak_shift=self.leak_shift, shape=self.surrogate, spike_dtype=spike_dtype, compiled=self.compiled)

    @staticmethod
    def spike_dtype(device: torch.device, otherwise: torch.dtype = torch.float32) -> torch.dtype:
        """Dtype of spikes: autocast's, where that is on."""
        return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else otherwise

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep the threshold positive; call after each step of the optimiser."""
        self.theta.clamp_(min=self.MIN_THETA)
