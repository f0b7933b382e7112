"""Indirect ternary quantisation: training in full precision in turn with projection onto ternary weights.

The alternative to direct quantisation in the fourth source paper (Ternary quantization of SNNs, doi
10.1007/s11704-025-51519-1). Its schedule could not be reached; this one is a reconstruction
(``docs/algorithms.md``, section 4.2).
"""

import dataclasses
from typing import Any, ClassVar

import torch
from torch import Tensor

from train import quantisers
from train.methods.context import TrainingContext
from train.methods.method import Method, MethodError, check_integer, check_number
from train.synapses import TernaryConv2d, TernaryLinear

__all__ = ["Indirect", "projected"]

Part = TernaryConv2d | TernaryLinear


@torch.no_grad()
def projected(part: Part, quantiser: quantisers.Quantiser) -> Tensor:
    """Return ``scale * codes`` of the latent weights of ``part``, float32 of their shape ``[out, ...]``."""
    per_channel = part.per_channel if isinstance(part, TernaryLinear) else True
    codes, scale = quantiser.codes_and_scale(part.weight.detach(), per_channel=per_channel)
    return codes * scale.reshape(-1, *[1] * (codes.dim() - 1))


@dataclasses.dataclass(kw_only=True, eq=False)
class Indirect(Method):
    """Train in full precision, set the weights to their ternary values every ``period`` epochs, end quantised.

    In the float epochs the forward pass uses the latent weights and their plain gradient; at the end of each period
    ``W <- alpha T(W)``, and the training goes on from there, with the optimiser's moments as they are. In the last
    ``final_epochs`` the weights are quantised in every forward pass with a straight-through gradient, so that the
    finished network can be exported. ``T`` is the quantiser that the recipe chose (ternary by default).

    Projections happen at the begin of the epoch after a period. Which epochs they are follows from the options and the
    recipe alone, and a state saved before one is projected on resumption: there is no state to keep.

    Parameters
    ----------
    period : int
        Epochs of the first period, from 1.
    final_epochs : int
        Last epochs, quantised; from 1, fewer than the recipe's.
    shrink : float
        Each period is this many times as long as the one before, rounded down but at least one epoch; 0 to 1.

    Raises
    ------
    MethodError
        An option is wrong; in :meth:`begin`: the recipe has too few epochs to project once and train quantised, or
        no weights of few values.
    """

    kind: ClassVar[str] = "indirect"
    needs_spiking_network: ClassVar[bool] = True
    decides: ClassVar[frozenset[str]] = frozenset({"how weights are quantised"})

    period: int
    final_epochs: int
    shrink: float = 1.0

    def __post_init__(self) -> None:
        check_integer("period of indirect", self.period, 1)
        check_integer("final_epochs of indirect", self.final_epochs, 1)
        check_number("shrink of indirect", self.shrink, 0, 1)

    def begin(self, training: TrainingContext) -> None:
        """Set the quantisers aside."""
        total = training.recipe.epochs
        if self.final_epochs >= total:
            raise MethodError(f"final_epochs of indirect must be below the recipe's {total} epochs, "
                              f"not {self.final_epochs}")
        if self.period > total - self.final_epochs:
            raise MethodError(f"period of indirect must be at most the {total - self.final_epochs} epochs before the "
                              f"final ones, not {self.period}: nothing would be projected")
        self._parts = [(part, part.quantiser) for part in training.network.synapses()]
        if not all(quantiser.discrete for _, quantiser in self._parts):
            raise MethodError("weights must be ternary or binary for indirect, not float")
        self._first_final = total - self.final_epochs

    def projections(self, last: int) -> list[int]:
        """Return the epochs, counted from 0 and up to ``last``, that begin with a projection."""
        found, length, epoch = [], self.period, self.period
        while epoch <= last:
            found.append(epoch)
            length = max(1, int(length * self.shrink))
            epoch += length
        return found

    def begin_epoch(self, epoch: int) -> None:
        """Project, if it is time to, and choose how weights are seen."""
        due = epoch in self.projections(self._first_final)
        for part, quantiser in self._parts:
            if due:
                with torch.no_grad():
                    part.weight.copy_(projected(part, quantiser))
            part.quantiser = quantiser if epoch >= self._first_final else quantisers.Float()

    @torch.no_grad()
    def end_epoch(self, entry: dict[str, Any]) -> None:
        """Note how far the latent weights are from ternary: ``|W - alpha T(W)|^2 / |W|^2`` of the network."""
        wrong = sum(float((part.weight - projected(part, quantiser)).square().sum())
                    for part, quantiser in self._parts)
        entry["quantisation_error"] = wrong / sum(float(part.weight.square().sum()) for part, _ in self._parts)
