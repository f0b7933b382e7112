"""A learning rate that falls in steps, as TSNN's scripts have it (``docs/algorithms.md``, section 1.5)."""

import bisect
import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

from arch.strict_json import short
from train.methods.context import TrainingContext
from train.methods.method import Method, MethodError, check_integer, check_number

__all__ = ["StepDecay"]


@dataclasses.dataclass(kw_only=True, eq=False)
class StepDecay(Method):
    """Multiply the learning rate by a factor after some epochs; it takes the place of the cosine.

    Parameters
    ----------
    after : sequence of integers
        Numbers of epochs, rising, from 1 to below those of the recipe. In TSNN after 50, 70 and 90 % for CIFAR, every
        10 epochs for N-MNIST.
    factor : float
        0 to 1; in TSNN 0.1 for CIFAR, 0.5 for N-MNIST.

    Raises
    ------
    MethodError
        An option is wrong; in :meth:`begin`: the recipe has fewer epochs.
    """

    kind: ClassVar[str] = "step-decay"
    decides: ClassVar[frozenset[str]] = frozenset({"the learning rate"})

    after: Sequence[int]
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.after, list | tuple) or not self.after:
            raise MethodError(f"after of step-decay must be a list of numbers of epochs, not {short(self.after)}")
        for index, count in enumerate(self.after):
            check_integer(f"after[{index}] of step-decay", count, self.after[index - 1] + 1 if index else 1)
        check_number("factor of step-decay", self.factor, 0, 1)

    def begin(self, training: TrainingContext) -> None:
        """Compare with the recipe."""
        if self.after[-1] >= training.recipe.epochs:
            raise MethodError(f"after of step-decay must be below the recipe's {training.recipe.epochs} epochs, "
                              f"not {self.after[-1]}")

    def rate_share(self, epochs: float) -> float:
        """Return the factor to the power of the steps made."""
        return math.pow(self.factor, bisect.bisect_right(self.after, epochs))
