"""Ternary weights after TWN: codes -1, 0, +1 and a scale per output channel, learned through latent float weights."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["THRESHOLD", "codes_and_scale", "ternarise"]

#: Weights up to this share of the mean magnitude become zero (TWN, arXiv 1605.04711, eq. 6).
THRESHOLD = 0.7


@torch.no_grad()
def codes_and_scale(weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
    """Return the ternary codes of ``weight`` and their scale.

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
    if weight.dtype != torch.float32:
        raise TypeError(f"weights must be float32, not {str(weight.dtype).removeprefix('torch.')}")
    magnitude = weight.abs()
    flat = magnitude.flatten(1) if per_channel else magnitude.reshape(1, -1)
    coded = flat > THRESHOLD * flat.mean(1, keepdim=True)
    scale = (flat * coded).sum(1) / coded.sum(1).clamp(min=1)
    codes = weight.sign() * coded.reshape(weight.shape)
    return codes, scale if per_channel else scale.reshape(())


class _Ternarise(torch.autograd.Function):
    """Straight-through: the gradient of ``scale * codes`` goes to the latent weights unchanged."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, per_channel: bool) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        codes, scale = codes_and_scale(weight, per_channel=per_channel)
        ctx.save_for_backward(scale)
        ctx.mark_non_differentiable(scale)
        return codes, scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        by_codes = gradients[0]
        (scale,) = ctx.saved_tensors
        # A filter of zeros has scale 0: the layer after it sees nothing, and no gradient is due.
        inverse = torch.where(scale > 0, 1 / scale, 0)
        return by_codes * inverse.reshape(-1, *[1] * (by_codes.dim() - 1)), None


def ternarise(weight: Tensor, *, per_channel: bool = True) -> tuple[Tensor, Tensor]:
    """Return codes and scale as :func:`codes_and_scale`, with TSNN's straight-through gradient.

    A layer computes ``scale * f(x, codes)`` with a linear ``f``; the gradient with respect to ``scale * codes`` is
    given to ``weight``. The scale itself gets none.
    """
    codes, scale = _Ternarise.apply(weight, per_channel)
    return codes, scale
