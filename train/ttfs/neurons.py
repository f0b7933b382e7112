"""Conversion-aware training: activations and weights that a time-to-first-spike network computes without loss.

After Lew et al., arXiv 2208.04494: the network is trained with the very values that its spikes will stand for. The
text of the paper was out of reach. From its abstract are the idea (an activation that simulates the spiking network
during training), the coding and the 5-bit logarithmic weights; base 2, the formulas of the activations and the choice
of the codes are a reconstruction (``docs/algorithms.md``, section 3.1). Values are those of
:class:`arch.ttfs.code.TimeCode`.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from arch.ttfs.code import TimeCode
from train import compilation
from train.quantisers import Quantiser

__all__ = ["MODES", "LogQuantiser", "TtfsActivation", "decode_time", "encode_time", "phi_clip", "phi_ttfs",
           "thresholds"]

#: What :class:`TtfsActivation` can be, from the easiest to train to the one that is converted.
MODES = ("relu", "clip", "ttfs")


def _check_theta0(theta0: float) -> None:
    if not 0 < theta0 < float("inf"):
        raise ValueError(f"theta0 must be positive and finite, not {theta0!r}")


def thresholds(T: int, tau: int, theta0: float, *, fraction: int = 16) -> Tensor:
    """Return ``theta(t) = theta0 2^(-t/tau)`` for each timestep, float64 ``[T]``, falling.

    Powers are those of the fixed-point table of :class:`arch.ttfs.code.TimeCode` with ``fraction`` fractional bits;
    with a ``theta0`` that is a power of two, float32 holds them exactly too. Raises :exc:`ValueError`.
    """
    _check_theta0(theta0)
    # Values of spikes do not depend on the weights' code: take the smallest.
    values = TimeCode(timesteps=T, tau=tau, p=1, bits=2, fraction=fraction).values()
    return theta0 * torch.from_numpy(values[:-1])


def encode_time(x: Tensor, T: int, tau: int, theta0: float, *, fraction: int = 16) -> Tensor:
    """Return the time of the spike of each value, ``t = ceil(-tau log2(x / theta0))``, at least 0.

    That is the first ``t`` with ``x >= theta(t)``, which is how it is computed: with a table of thresholds and no
    logarithm, so that a value on a threshold spikes there. A value below ``theta(T - 1)`` gives T, no spike.

    Parameters
    ----------
    x : float32 or float64, any shape
    T, tau, theta0, fraction
        As of :func:`thresholds`, which are compared in the type of ``x``.

    Returns
    -------
    times : int64, the shape of ``x``
    """
    rising = thresholds(T, tau, theta0, fraction=fraction).flip(0).to(x)
    return T - torch.bucketize(x.detach().contiguous(), rising, right=True)


def decode_time(times: Tensor, T: int, tau: int, theta0: float, *, fraction: int = 16,
                dtype: torch.dtype = torch.float32) -> Tensor:
    """Return what spikes at ``times`` (int64, any shape) stand for: ``theta0 2^(-t/tau)``, and 0 for T."""
    values = thresholds(T, tau, theta0, fraction=fraction)
    return torch.cat([values, values.new_zeros(1)]).to(times.device, dtype)[times]


def _largest_level(x: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Return the largest of ``levels``, which fall, that is no more than ``x``, or 0: in the type of ``x``."""
    value = torch.zeros_like(x)
    for level in reversed(levels):
        value = torch.where(x >= level, level, value)
    return value


class _StraightThrough(torch.autograd.Function):
    """A given value, with the gradient 1 where ``0 < x < theta0``, else 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, theta0: float) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward((x > 0) & (x < theta0))
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None


def phi_clip(x: Tensor, theta0: float) -> Tensor:
    """Return ``x`` clipped to 0..theta0; the gradient is 1 strictly between them, else 0."""
    return _StraightThrough.apply(x, x.detach().clamp(0, theta0), theta0)  # type: ignore[no-any-return]


def phi_ttfs(x: Tensor, T: int, tau: int, theta0: float, *, fraction: int = 16, compiled: bool = False) -> Tensor:
    """Return what the spike of each value stands for: the largest ``theta(t)`` up to ``x``, or 0.

    Parameters as of :func:`encode_time`; ``compiled`` as of :func:`train.neurons.pif`. The gradient is that of
    :func:`phi_clip`.
    """
    if compiled:
        levels = tuple(thresholds(T, tau, theta0, fraction=fraction).tolist())
        value = compilation.compiled(_largest_level)(x.detach(), levels)
        return _StraightThrough.apply(x, value, theta0)  # type: ignore[no-any-return]
    times = encode_time(x, T, tau, theta0, fraction=fraction)
    value = decode_time(times, T, tau, theta0, fraction=fraction, dtype=x.dtype)
    return _StraightThrough.apply(x, value, theta0)  # type: ignore[no-any-return]


class TtfsActivation(nn.Module):
    """Activation of a neuron that will spike once, in one of three forms.

    ``relu`` (unbounded) and ``clip`` (:func:`phi_clip`) for the start of a training, ``ttfs`` (:func:`phi_ttfs`) for
    its end: what is converted.

    Parameters
    ----------
    T, tau, theta0, fraction
        As of :func:`thresholds`.
    mode : str
        One of :data:`MODES`; may be changed at any time with :meth:`set_mode`.
    """

    def __init__(self, T: int, tau: int, theta0: float = 1.0, *, mode: str = "ttfs", fraction: int = 16) -> None:
        super().__init__()
        self.T = T
        self.tau = tau
        self.theta0 = theta0
        self.fraction = fraction
        self.compiled = False
        # Refuses what is wrong now and not in the first forward.
        self.thresholds()
        self.set_mode(mode)

    def set_mode(self, mode: str) -> None:
        """Choose the form; raises :exc:`ValueError`."""
        if mode not in MODES:
            raise ValueError(f"mode must be {', '.join(MODES)}, not {mode!r}")
        self.mode = mode

    def thresholds(self) -> Tensor:
        """As of :func:`thresholds`."""
        return thresholds(self.T, self.tau, self.theta0, fraction=self.fraction)

    def encode(self, x: Tensor) -> Tensor:
        """As of :func:`encode_time`."""
        return encode_time(x, self.T, self.tau, self.theta0, fraction=self.fraction)

    def decode(self, times: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """As of :func:`decode_time`."""
        return decode_time(times, self.T, self.tau, self.theta0, fraction=self.fraction, dtype=dtype)

    def extra_repr(self) -> str:
        """As of :class:`torch.nn.Module`."""
        return f"T={self.T}, tau={self.tau}, theta0={self.theta0}, mode={self.mode}"

    def forward(self, x: Tensor) -> Tensor:
        """Activation of ``x``, any shape, in its type; bfloat16 of autocast is compared in float32."""
        if self.mode == "relu":
            return x.relu()
        if self.mode == "clip":
            return phi_clip(x, self.theta0)
        exact = x if x.dtype == torch.float64 else x.float()
        return phi_ttfs(exact, self.T, self.tau, self.theta0, fraction=self.fraction,
                        compiled=self.compiled).to(x.dtype)


class LogQuantiser(Quantiser):
    """Weights of a sign and an exponent: codes 0 and ``+-2^(-q/p)``, q = 0 to ``2^(bits - 1) - 2``.

    The scale is the largest magnitude of the filter (or layer), so q = 0 is used; q is rounded in the logarithm, as
    Miyashita et al. do (arXiv 1603.01025): its bounds are ``2^(-(q + 1/2)/p)``. What is below the last of them is 0:
    one of the exponent's codes stands for zero.

    Parameters
    ----------
    bits : int
        Width of a code, sign included, 2 to 8; 5 of Lew et al.
    p : int
        Exponents in which a weight halves, positive. 2 is our choice; the paper's is not known.
    """

    #: The codes are more than -1, 0 and +1.
    discrete: ClassVar[bool] = False

    def __init__(self, bits: int = 5, p: int = 2) -> None:
        # Checks both.
        self.levels = TimeCode(timesteps=1, tau=1, p=p, bits=bits).levels
        self.bits = bits
        self.p = p

    @torch.no_grad()
    def integer_codes(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """Return the codes that are stored, int8: ``+-(q + 1)`` and 0; and the scale of :meth:`codes_and_scale`."""
        if weight.dtype != torch.float32:
            raise TypeError(f"weights must be float32, not {str(weight.dtype).removeprefix('torch.')}")
        rows = weight.detach().abs().flatten(1) if per_channel else weight.detach().abs().reshape(1, -1)
        scale = rows.amax(1)
        ratio = (rows.double() / scale.double().clamp(min=torch.finfo(torch.float64).tiny)[:, None]).contiguous()
        rising = torch.tensor([2.0**(-(q + 0.5) / self.p) for q in reversed(range(self.levels))], dtype=torch.float64,
                              device=weight.device)
        q = self.levels - torch.bucketize(ratio, rising, right=True)
        codes = torch.where(q < self.levels, q + 1, 0).reshape(weight.shape) * weight.detach().sign().long()
        return codes.to(torch.int8), scale if per_channel else scale.reshape(())

    @torch.no_grad()
    def codes_and_scale(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """Return codes and scale of ``weight``.

        Parameters
        ----------
        weight : ``[out, ...]``, float32
            Latent weights.
        per_channel : bool
            Scale per output channel; False: one for the whole layer.

        Returns
        -------
        codes : the shape of ``weight``, float32, values 0 and ``+-2^(-q/p)``
        scale : ``[out]`` or ``[]``, float32, not negative; 0 for a filter of zeros
        """
        codes, scale = self.integer_codes(weight, per_channel=per_channel)
        table = weight.new_tensor([0.0, *(2.0**(-q / self.p) for q in range(self.levels))])
        return table[codes.abs().long()] * codes.sign(), scale

    def quantise(self, weight: Tensor, *, per_channel: bool = True) -> Tensor:
        """Return ``scale * codes``; its gradient is given to ``weight`` unchanged."""
        codes, scale = self.codes_and_scale(weight, per_channel=per_channel)
        value = codes * scale.reshape(-1, *[1] * (weight.dim() - 1))
        return value.reshape(weight.shape) + (weight - weight.detach())
