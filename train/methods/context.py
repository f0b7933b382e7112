"""What a method may ask of the training that it takes part in.

Imports point one way: a method knows this interface, and the training, which knows the methods, is one of its
implementations. A test may give a method any object with these attributes.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from train.datasets import Split
from train.trainable import TrainableNetwork

__all__ = ["Plan", "TrainingContext"]


class Plan(Protocol):
    """What methods read of a recipe; :class:`train.recipe.Recipe` states all of it."""

    @property
    def architecture(self) -> Mapping[str, Any]:
        """Architecture of the network, as in :mod:`arch.checkpoint`."""

    @property
    def epochs(self) -> int:
        """Epochs of the training."""

    @property
    def methods(self) -> Sequence[Mapping[str, Any]]:
        """Methods of the recipe, as it describes them."""

    @property
    def start(self) -> str | None:
        """Recipe whose trained weights the network began with, or None."""

    @property
    def initial_membrane(self) -> float:
        """Membrane before the first timestep, in units of the threshold."""

    @property
    def label_smoothing(self) -> float:
        """Share of the target that is spread over all classes."""

    @property
    def seed(self) -> int:
        """Seed of all that is random."""

    @property
    def compiled(self) -> bool:
        """Whether the neurons' loops are compiled."""


class TrainingContext(Protocol):
    """A training, as its methods see it."""

    @property
    def recipe(self) -> Plan:
        """What is trained and how."""

    @property
    def network(self) -> Any:
        """The network in training: a :class:`train.trainable.TrainableNetwork`.

        It is a :class:`train.network.SpikingNetwork` for methods with ``needs_spiking_network``, and otherwise may be
        the one that a method made.
        """

    @property
    def train(self) -> Split:
        """Images to learn from, without distortions."""

    @property
    def validation(self) -> Split:
        """Images for all choices."""

    @property
    def device(self) -> torch.device:
        """Where the network is trained."""

    def folder_of(self, name: str) -> pathlib.Path:
        """Return the folder of the training of another recipe: it lies beside the folder of this training."""

    def load_trained(self, name: str) -> TrainableNetwork:
        """Return the trained network of the recipe ``name``, in evaluation mode, on the CPU.

        Raises :exc:`train.folder.TrainingError` if its training is missing or not finished.
        """

    def load_weights(self, name: str) -> str:
        """Copy the trained weights of the recipe ``name`` into :attr:`network`; return the form that they had.

        Raises :exc:`train.folder.TrainingError` if its training is missing or not finished, or has other layers.
        """

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply the learning rate of all steps to come by ``factor``."""
