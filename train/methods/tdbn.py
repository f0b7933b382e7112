"""Threshold-dependent BatchNorm (tdBN, Zheng et al., arXiv 2011.05280)."""

import dataclasses
from typing import ClassVar

import torch
from torch import nn

from train.methods.context import TrainingContext
from train.methods.method import Method, MethodError, check_number
from train.neurons import PIF

__all__ = ["ThresholdNorm"]


@dataclasses.dataclass(kw_only=True, eq=False)
class ThresholdNorm(Method):
    """Let BatchNorm's gain start at ``alpha theta``: currents have the standard deviation of the threshold, scaled.

    tdBN normalises over batch, places and time together, as all layers here do, and multiplies by ``alpha V_th`` and
    a gain that starts at 1. The two factors are one number; it is stored in the gain, so folding does not change. The
    threshold learns and the gain does not follow it. Layers start with a threshold of 1, so ``alpha`` 1 is how they
    start anyway.

    Parameters
    ----------
    alpha : float
        0.001 to 1000; 1 in the paper for layers in a chain.

    Raises
    ------
    MethodError
        The option is wrong; in :meth:`begin`: the recipe starts from trained weights, whose gains would be lost.
    """

    kind: ClassVar[str] = "threshold-norm"
    needs_spiking_network: ClassVar[bool] = True
    decides: ClassVar[frozenset[str]] = frozenset({"the gains that BatchNorm begins with"})

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_number("alpha of threshold-norm", self.alpha, 0.001, 1000)

    @torch.no_grad()
    def begin(self, training: TrainingContext) -> None:
        """Set the gains."""
        if training.recipe.start is not None:
            raise MethodError(f"threshold-norm must begin with a new network, not with the gains of "
                              f"{training.recipe.start!r}: leave out one of the two")
        for layer in training.recipe.architecture["layers"]:
            if layer.get("epsilon", 0) is None:
                raise MethodError(f"threshold-norm must have BatchNorm in every layer, not none in {layer['name']}: "
                                  f"give it an epsilon")
        for layer in training.network.modules():
            norm, pif = getattr(layer, "norm", None), getattr(layer, "neurons", None)
            if isinstance(norm, nn.BatchNorm1d) and isinstance(pif, PIF):
                norm.weight.copy_((self.alpha * pif.theta).expand_as(norm.weight))
