"""Weights of few values: the codes that the hardware stores, a scale, and the gradient that the latent weights get.

A quantiser turns the latent float weights of a layer into codes and a scale, ``scale * codes``, one scale per output
channel or one for the layer (the readout). Every quantiser's gradient is straight-through: what ``scale * codes``
would get goes to the latent weights.
"""

import abc
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = ["QUANTISERS", "THRESHOLD", "Binary", "EdgeTernary", "Fixed", "Float", "Levels", "Quantiser", "Ternary",
           "codes_and_scale", "make_quantiser", "straight_through", "ternarise"]

#: Weights up to this share of the mean magnitude become zero (TWN, arXiv 1605.04711, eq. 6).
THRESHOLD = 0.7


def _check_dtype(weight: Tensor) -> None:
    if weight.dtype != torch.float32:
        raise TypeError(f"weights must be float32, not {str(weight.dtype).removeprefix('torch.')}")


def _rows(weight: Tensor, per_channel: bool) -> Tensor:
    """Weights that share a scale, ``[scales, ...]``."""
    return weight.flatten(1) if per_channel else weight.reshape(1, -1)


@torch.no_grad()
def codes_and_scale(weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
    """Return the ternary codes of ``weight`` and their scale, after TWN.

    With ``Delta = 0.7 mean |w|``: the code is +1 if ``w > Delta``, -1 if ``w < -Delta``, else 0 (a tie is 0), and the
    scale is the mean of ``|w|`` over the weights with a code. A filter of zeros has codes and scale 0.

    Parameters
    ----------
    weight : ``[out, ...]``, float32
        Latent weights.
    per_channel : bool
        Threshold and scale per output channel (TSNN); False: one for the whole layer (the readout).

    Returns
    -------
    codes : the shape and dtype of ``weight``, values -1, 0, +1
    scale : ``[out]`` or ``[]``, the dtype of ``weight``, not negative
    """
    _check_dtype(weight)
    flat = _rows(weight.abs(), per_channel)
    coded = flat > THRESHOLD * flat.mean(1, keepdim=True)
    scale = (flat * coded).sum(1) / coded.sum(1).clamp(min=1)
    codes = weight.sign() * coded.reshape(weight.shape)
    return codes, scale if per_channel else scale.reshape(())


class _StraightThrough(torch.autograd.Function):
    """Codes whose gradient, times what one over the scale makes of it, goes to the latent weights unchanged."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, codes: Tensor, scale: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(scale)
        return codes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        by_codes = gradients[0]
        (scale,) = ctx.saved_tensors
        # A filter of zeros has scale 0: the layer after it sees nothing, and no gradient is due.
        inverse = torch.where(scale > 0, 1 / scale, 0)
        return by_codes * inverse.reshape(-1, *[1] * (by_codes.dim() - 1)), None, None


def straight_through(weight: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
    """Return ``codes``; the gradient with respect to ``scale * codes`` is given to ``weight``, the scale gets none.

    Shapes as of :func:`codes_and_scale`.
    """
    return _StraightThrough.apply(weight, codes, scale)  # type: ignore[no-any-return]


def ternarise(weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
    """Return codes and scale as :func:`codes_and_scale`, with TSNN's straight-through gradient.

    A layer computes ``scale * f(x, codes)`` with a linear ``f``; the gradient with respect to ``scale * codes`` is
    given to ``weight``. The scale itself gets none.
    """
    return Ternary()(weight, per_channel=per_channel)


class Quantiser(abc.ABC):
    """What becomes of latent weights; calling it gives codes and scale with the straight-through gradient."""

    #: The codes are -1, 0 and +1: the layer can be exported.
    discrete: ClassVar[bool] = True

    @abc.abstractmethod
    def codes_and_scale(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """Return codes, in the shape of ``weight`` ``[out, ...]`` float32, and scale, ``[out]`` or ``[]``."""

    def __call__(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """Return the same, differentiable with respect to ``weight``."""
        with torch.no_grad():
            codes, scale = self.codes_and_scale(weight.detach(), per_channel=per_channel)
        return straight_through(weight, codes, scale), scale


class Ternary(Quantiser):
    """TWN per output channel (:func:`codes_and_scale`): TSNN's weights."""

    def codes_and_scale(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """As of :class:`Quantiser`."""
        return codes_and_scale(weight, per_channel=per_channel)


class EdgeTernary(Quantiser):
    """Ternary weights with twice TWN's spread: ``s = 2 mean |w|``, code ``round(w / s)`` clipped to -1..1, scale ``s``.

    A tie (``|w| = s / 2``) is 0. The choice of EdgeRazor's code (``docs/algorithms.md``, section 4.2), offered beside
    TWN.
    """

    def codes_and_scale(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """As of :class:`Quantiser`."""
        _check_dtype(weight)
        flat = _rows(weight.abs(), per_channel)
        mean = flat.mean(1, keepdim=True)
        codes = weight.sign() * (flat > mean).reshape(weight.shape)
        scale = (2 * mean[:, 0]) * (flat > mean).any(1)
        return codes, scale if per_channel else scale.reshape(())


class Binary(Quantiser):
    """XNOR-Net's weights: sign and mean magnitude of the filter (arXiv 1603.05279, eq. 6); the sign of 0 is +1."""

    def codes_and_scale(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """As of :class:`Quantiser`."""
        _check_dtype(weight)
        scale = _rows(weight.abs(), per_channel).mean(1)
        return torch.where(weight >= 0, 1.0, -1.0), scale if per_channel else scale.reshape(())


class Float(Quantiser):
    """The latent weights themselves, scale 1: teachers, and networks to be quantised after training."""

    discrete = False

    def codes_and_scale(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """As of :class:`Quantiser`."""
        return weight, weight.new_ones(len(weight) if per_channel else ())

    def __call__(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """Return the same, with the plain gradient."""
        return self.codes_and_scale(weight, per_channel=per_channel)


class Levels(Quantiser):
    """Weights of one layer, rounded to fixed levels: ``{-a, a}`` or ``{-a, 0, a}``.

    The levels of CBP: ``docs/algorithms.md``, section 5.1.

    Parameters
    ----------
    scale : float
        ``a``, the same for all channels, positive: the mean magnitude of the pre-trained layer.
    ternary : bool
        Three levels, with medians at ``+-a / 2``; otherwise two, with the median 0. A weight on a median gets 0, or
        +1 of two levels.
    """

    def __init__(self, scale: float, *, ternary: bool) -> None:
        if not scale > 0:
            raise ValueError(f"scale of a layer's levels must be positive, not {scale!r}")
        self.scale = scale
        self.ternary = ternary

    def codes_and_scale(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """As of :class:`Quantiser`."""
        _check_dtype(weight)
        if self.ternary:
            codes = weight.sign() * (weight.abs() > self.scale / 2)
        else:
            codes = torch.where(weight >= 0, 1.0, -1.0)
        return codes, weight.new_full((len(weight),) if per_channel else (), self.scale)


class Fixed(Quantiser):
    """The codes and the scale of a checkpoint, whatever the latent weights are.

    Parameters
    ----------
    codes : float32, the shape of the weights
    scale : float32, ``[out]`` or ``[]``
    """

    def __init__(self, codes: Tensor, scale: Tensor) -> None:
        self.codes = codes
        self.scale = scale

    def codes_and_scale(self, weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
        """As of :class:`Quantiser`."""
        if weight.shape != self.codes.shape:
            raise ValueError(f"weights must have the shape of the codes, {tuple(self.codes.shape)}, "
                             f"not {tuple(weight.shape)}")
        return self.codes, self.scale.expand(len(weight)) if per_channel else self.scale


#: Quantisers that a recipe can name.
QUANTISERS: dict[str, type[Quantiser]] = {"ternary": Ternary, "edge-ternary": EdgeTernary, "binary": Binary,
                                          "float": Float}


def make_quantiser(name: str) -> Quantiser:
    """Return the quantiser ``name`` of :data:`QUANTISERS`; raises :exc:`ValueError`."""
    if name not in QUANTISERS:
        raise ValueError(f"weights must be {', '.join(QUANTISERS)}, not {name!r}")
    return QUANTISERS[name]()
