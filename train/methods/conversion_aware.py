"""Conversion-aware training of networks with time-to-first-spike coding, on the trainer (Lew et al. 2022).

The pieces are :mod:`train.ttfs.neurons` and :mod:`train.ttfs.network`; the way to integers is ``export.ttfs``.
The schedule is a reconstruction (``docs/algorithms.md``, section 3.3): ReLU, then its clipped form, then the values of
spike times.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from arch.architecture import CheckpointError
from arch.strict_json import short
from train.datasets import Split
from train.methods.context import TrainingContext
from train.methods.method import Method, MethodError, Outcome, check_integer
from train.neurons import INITIAL_MEMBRANE
from train.ttfs import exact
from train.ttfs.network import WEIGHTS, TtfsNetwork, build_ttfs_network

__all__ = ["ConversionAware"]

#: Validation images on which float32 is compared with the exact forward at the end.
FLOAT_IMAGES = 200


@dataclasses.dataclass(kw_only=True, eq=False)
class ConversionAware(Method):
    """Train a network whose activations are values of spike times, so that its conversion loses nothing.

    The recipe's own ``weights`` must be ``float``; the option here quantises.

    Parameters
    ----------
    timesteps : int
        T, the window in which a neuron spikes once or not at all, from 2.
    tau : int
        Timesteps in which the value of a spike halves, from 1.
    weights : str
        ``log5``, ``ternary`` or ``float``, of :data:`train.ttfs.network.WEIGHTS`.
    relu_epochs, clip_epochs : int
        First epochs with ReLU, and epochs with its clipped form after them, from 0.

    Raises
    ------
    MethodError
        An option is wrong; in :meth:`begin`: the recipe has no epochs left for spike times, or chooses how membranes
        start.
    """

    kind: ClassVar[str] = "conversion-aware"
    decides: ClassVar[frozenset[str]] = frozenset({"what neurons pass on", "how weights are quantised"})

    timesteps: int = 24
    tau: int = 4
    weights: str = "log5"
    relu_epochs: int = 0
    clip_epochs: int = 0

    def __post_init__(self) -> None:
        check_integer("timesteps of conversion-aware", self.timesteps, 2)
        check_integer("tau of conversion-aware", self.tau, 1)
        check_integer("relu_epochs of conversion-aware", self.relu_epochs, 0)
        check_integer("clip_epochs of conversion-aware", self.clip_epochs, 0)
        if self.weights not in WEIGHTS:
            raise MethodError(f"weights of conversion-aware must be {' or '.join(WEIGHTS)}, "
                              f"not {short(self.weights)}")

    def exported_architecture(self, architecture: Mapping[str, Any]) -> None:
        """Return none: networks of spike times do not run on the array."""

    def make_network(self, architecture: Mapping[str, Any], weights: str) -> TtfsNetwork:
        """Return the network of the recipe's architecture; see :func:`train.ttfs.network.build_ttfs_network`."""
        if weights != "float":
            raise MethodError(f"weights of a recipe with conversion-aware must be float, not {short(weights)}: the "
                              f"method's own option quantises")
        try:
            return build_ttfs_network(architecture, T=self.timesteps, tau=self.tau, weights=self.weights)
        except CheckpointError:
            raise
        except ValueError as error:
            raise MethodError(f"conversion-aware: {error}") from None

    def begin(self, training: TrainingContext) -> None:
        """Compare with the recipe."""
        if self.relu_epochs + self.clip_epochs >= training.recipe.epochs:
            raise MethodError(f"relu_epochs and clip_epochs of conversion-aware must be below the recipe's "
                              f"{training.recipe.epochs} epochs together, not {self.relu_epochs + self.clip_epochs}")
        if training.recipe.initial_membrane != INITIAL_MEMBRANE:
            raise MethodError("initial_membrane must be left out of a recipe with conversion-aware: its membranes "
                              "start at 0")
        self._network = training.network

    def begin_epoch(self, epoch: int) -> None:
        """Choose the activations."""
        mode = ("relu" if epoch < self.relu_epochs
                else "clip" if epoch < self.relu_epochs + self.clip_epochs else "ttfs")
        self._network.use_form(mode)

    def finish(self, training: TrainingContext, test: Split) -> Outcome:
        """Measure the exact forward, which the integer network repeats; nothing for float weights."""
        network = training.network
        assert isinstance(network, TtfsNetwork)
        if network.code is None:
            return Outcome()
        network = network.cpu()
        wrong, compared = exact.mismatches(network, training.validation.images[:FLOAT_IMAGES])
        measured = {
            "float32_mismatches": wrong, "float32_compared": compared,
            "validation_accuracy": exact.accuracy(network, training.validation.images, training.validation.labels),
            "test_accuracy": exact.accuracy(network, test.images, test.labels)}
        code = {"timesteps": self.timesteps, "tau": self.tau, "weights": self.weights}
        return Outcome(entries={"code": code, **measured}, checkpoint=network.checkpoint(measured))
