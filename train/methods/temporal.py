"""A loss of every timestep: temporal efficient training (TET, Deng et al., arXiv 2202.11946)."""

import dataclasses
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from train.methods.context import TrainingContext
from train.methods.method import Batch, Method, check_number

__all__ = ["TemporalLoss"]


@dataclasses.dataclass(kw_only=True, eq=False)
class TemporalLoss(Method):
    """TET: the mean over time of the cross-entropy of each timestep's scores, not that of the mean scores.

    ``(1 - lamb) mean_t CE(z_t) + lamb mean (z_t - target)^2``, the last mean over timesteps, images and classes. By the
    convexity of the cross-entropy the first mean is never below the loss it replaces. The recipe's label smoothing
    holds. While time is folded, there is one timestep, and with ``lamb`` 0 nothing changes.

    Parameters
    ----------
    lamb : float
        Share of the second term, 0 to 1, which keeps scores from running off. The authors' scripts have 0 or 0.001, by
        data set.
    target : float
        What all scores are drawn to, right and wrong classes alike; -1000 to 1000. 1 in the authors' scripts.

    Raises
    ------
    MethodError
        An option is wrong.
    """

    kind: ClassVar[str] = "temporal-loss"
    decides: ClassVar[frozenset[str]] = frozenset({"the loss"})

    lamb: float = 0.0
    target: float = 1.0

    def __post_init__(self) -> None:
        check_number("lamb of temporal-loss", self.lamb, 0, 1)
        check_number("target of temporal-loss", self.target, -1000, 1000)

    def begin(self, training: TrainingContext) -> None:
        """Take the recipe's label smoothing."""
        self._smoothing = training.recipe.label_smoothing

    def replace_loss(self, batch: Batch) -> Tensor:
        """Return the whole loss."""
        scores = batch.scores
        labels = batch.labels.repeat(len(scores))
        loss = functional.cross_entropy(scores.flatten(0, 1), labels, label_smoothing=self._smoothing)
        return (1 - self.lamb) * loss + self.lamb * (scores - self.target).square().mean()
