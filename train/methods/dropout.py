"""Dropout before the classifier, as TSNN's networks for CIFAR have it (``docs/algorithms.md``, section 1.4)."""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from train import distributed, layers
from train.description import training_only
from train.methods.context import TrainingContext
from train.methods.method import Method, check_number

__all__ = ["Dropout"]


@dataclasses.dataclass(kw_only=True, eq=False)
class Dropout(Method):
    """Drop spikes before the first fully connected layer, or before the readout of a network without one.

    Each timestep drops others, and what is left is divided by the share that is. Only in training steps: nothing of it
    is in the exported network. Draws follow from the recipe's seed and the epoch, so a resumed training needs no state.

    Parameters
    ----------
    share : float
        Share of the spikes that are dropped, 0 to 0.99; 0.2 in TSNN.

    Raises
    ------
    MethodError
        The option is wrong.
    """

    kind: ClassVar[str] = "dropout"
    needs_spiking_network: ClassVar[bool] = True
    decides: ClassVar[frozenset[str]] = frozenset({"dropout"})

    share: float = 0.2

    def __post_init__(self) -> None:
        check_number("share of dropout", self.share, 0, 0.99)

    def begin(self, training: TrainingContext) -> None:
        """Hook into the layer."""
        self._seed = training.recipe.seed
        self._generator = torch.Generator(training.device)
        first = next(layer for layer in training.network.chain
                     if isinstance(layer, layers.FullyConnected | layers.Readout))
        first.register_forward_pre_hook(self._drop)

    def begin_epoch(self, epoch: int) -> None:
        """Seed the draws."""
        # Processes see different images; to each its own draws.
        entropy = np.random.SeedSequence((self._seed, epoch, distributed.rank()))
        self._generator.manual_seed(int(entropy.generate_state(1)[0]))

    @training_only
    def _drop(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor, ...] | None:
        if not module.training:
            return None
        maps: Tensor = inputs[0]
        drawn = torch.rand(maps.shape, generator=self._generator, device=maps.device)
        return (maps * ((drawn >= self.share) / (1 - self.share)).to(maps.dtype), *inputs[1:])
