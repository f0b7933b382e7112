"""Training with time folded into one step of rates, then with spikes (QCFS, Bu et al., arXiv 2303.04347)."""

import dataclasses
from typing import ClassVar

from arch.checkpoint import Checkpoint
from train.methods.context import TrainingContext
from train.methods.method import Method, MethodError, check_integer
from train.neurons import Mode

__all__ = ["FoldedTime"]


@dataclasses.dataclass(kw_only=True, eq=False)
class FoldedTime(Method):
    """Let neurons pass on rates (:func:`train.neurons.rate`) in the first epochs, and spikes in the others.

    A step in rates costs about a T-th of one in spikes. For a current that is constant over time the rate is the spike
    count of neurons with soft reset and without leak; later layers see spikes whose order differs: hence the epochs
    with spikes at the end. So that they begin where the others end, BatchNorm's statistics are those of the mean over
    time in all epochs, and or-pools of rates expect neurons to spike independently (:func:`train.layers.or_pool`). With
    the largest rate instead a network learns better and is further from spikes: a choice for the first epochs.

    The epoch's number decides, so a resumed training needs no state. If all epochs are folded, the same weights with
    spikes are what is exported: QCFS's conversion.

    Parameters
    ----------
    epochs : int
        First epochs with rates, from 0; -1: all.
    largest : int
        Of these, the first ones in which or-pools take the largest rate, from 0; -1: all.

    Raises
    ------
    MethodError
        An option is wrong; in :meth:`begin`: more epochs than the recipe has, or neurons that have no such rate.
    """

    kind: ClassVar[str] = "folded-time"
    needs_spiking_network: ClassVar[bool] = True
    decides: ClassVar[frozenset[str]] = frozenset({"what neurons pass on"})

    epochs: int
    largest: int = 0

    def __post_init__(self) -> None:
        check_integer("epochs of folded-time", self.epochs, -1)
        check_integer("largest of folded-time", self.largest, -1)
        if self.largest > self.epochs >= 0:
            raise MethodError(f"largest of folded-time must be at most its {self.epochs} epochs, not {self.largest}: "
                              f"-1 takes all")

    def begin(self, training: TrainingContext) -> None:
        """Compare with the recipe."""
        if self.epochs > training.recipe.epochs:
            raise MethodError(f"epochs of folded-time must be at most the recipe's {training.recipe.epochs}, "
                              f"not {self.epochs}: -1 folds all")
        if self.largest > training.recipe.epochs:
            raise MethodError(f"largest of folded-time must be at most the recipe's {training.recipe.epochs} epochs, "
                              f"not {self.largest}: -1 takes all")
        if self.epochs:
            for layer in training.recipe.architecture["layers"]:
                if layer.get("reset", "subtract") != "subtract" or layer.get("leak_shift") is not None:
                    raise MethodError(f"{layer['name']} must subtract its threshold and not leak to be folded: the "
                                      f"spikes of other neurons have no such rate")
        self._network = training.network
        self._network.use_norm_over_mean(True)

    def begin_epoch(self, epoch: int) -> None:
        """Choose what neurons pass on."""
        folded = self.epochs == -1 or epoch < self.epochs
        self._network.use_mode(Mode.RATES if folded else Mode.SPIKES)
        self._network.use_independent_rates(self.largest != -1 and epoch >= self.largest)

    def export(self, training: TrainingContext) -> Checkpoint | None:
        """Return the trained network with spikes in place of rates; None if its weights are float."""
        training.network.use_mode(Mode.SPIKES)
        return training.network.checkpoint() if training.network.exportable else None
