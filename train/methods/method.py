"""The interface of a method: what a paper changes about a training, as hooks that the training loop calls.

A recipe lists its methods as objects ``{"kind": ..., option: value}``, and :mod:`train.methods` makes a
:class:`Method` of each. The loop calls the hooks of all methods, in the order of the recipe:

1. :meth:`Method.make_network`, once: a method may make a network of its own in place of the spiking one.
2. :meth:`Method.begin`, once, before the optimiser is made. Here a method gets the training, as
   :class:`train.methods.context.TrainingContext`; it may exchange quantisers, choose what neurons pass on, or load the
   weights of another training.
3. In every epoch :meth:`Method.begin_epoch`; in every step :meth:`Method.replace_loss`, :meth:`Method.add_loss`,
   :meth:`Method.before_step` and :meth:`Method.after_step`; then :meth:`Method.end_epoch`.
4. After the last epoch :meth:`Method.export` and :meth:`Method.finish`, for networks that are not exported as they are;
   then :meth:`Method.measure`.

What a method must remember across an interruption is its :meth:`Method.state`. All hooks of the base class do nothing.
"""

import dataclasses
import math
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor

from arch.checkpoint import Checkpoint
from arch.strict_json import short
from support.errors import InputError
from train.datasets import Split
from train.methods.context import TrainingContext
from train.trainable import TrainableNetwork

__all__ = ["Batch", "Described", "Method", "MethodError", "Outcome", "check_calibration", "check_choice",
           "check_integer", "check_number", "check_trained"]


class MethodError(InputError):
    """A method cannot be used as a recipe says. The message is one line."""


def check_number(where: str, value: Any, low: float, high: float = math.inf) -> None:
    """Raise :exc:`MethodError` unless ``value`` is a finite number from ``low`` to ``high``."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # An integer may be too large for a float.
    if not number or not low <= value <= min(high, sys.float_info.max):
        limit = f"from {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise MethodError(f"{where} must be a number {limit}, not {short(value)}")


def check_integer(where: str, value: Any, low: int, high: int | None = None) -> None:
    """Raise :exc:`MethodError` unless ``value`` is an integer from ``low`` to ``high``, both included."""
    integer = isinstance(value, int) and not isinstance(value, bool)
    if not integer or value < low or (high is not None and value > high):
        # A limit may be another value of the recipe.
        limit = f"from {short(low)}" if high is None else f"from {short(low)} to {high}"
        raise MethodError(f"{where} must be an integer {limit}, not {short(value)}")


def check_trained(where: str, value: Any) -> None:
    """Raise :exc:`MethodError` unless ``value`` can be the name of a recipe, and so of the folder of its training."""
    named = isinstance(value, str) and value not in ("", ".", "..")
    if not named or pathlib.PurePath(value).name != value:
        raise MethodError(f"{where} must be the name of a recipe, not {short(value)}")


def check_choice(where: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise :exc:`MethodError` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise MethodError(f"{where} must be {' or '.join(choices)}, not {short(value)}")


def check_calibration(kind: str, count: int, training: TrainingContext) -> None:
    """Raise :exc:`MethodError` if ``calibration_images`` of a method are more than there are to train with."""
    if count > len(training.train):
        raise MethodError(f"{kind} calibration_images must be at most {len(training.train)}, the training images, "
                          f"not {count}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One step's data, as a method's loss sees them."""

    #: Distorted images, float32 or uint8 ``[B, C, H, W]``, pixels 0 to 255; or events ``[B, T, C, H, W]``.
    images: Tensor
    #: Classes, int64 ``[B]``.
    labels: Tensor
    #: Scores of each timestep, float32 ``[T, B, classes]``; of one timestep while time is folded.
    scores: Tensor
    #: Spike maps (or rates) of the layers before the readout, ``[T, B, H, W, C]``, with gradients; empty unless a
    #: method has :attr:`Method.needs_spikes`.
    spikes: tuple[Tensor, ...] = ()


class Described(Protocol):
    """A checkpoint of any family: a dataclass with a provenance, which can be written."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How the network was made."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint to ``path``."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a method adds to a finished training."""

    #: More entries of ``result.json``.
    entries: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: The trained network as data, where it is not of :mod:`arch.checkpoint`; the training completes its provenance
    #: and writes it.
    checkpoint: Described | None = None


class Method:
    """A method that changes nothing; the base of all."""

    #: Name in recipes.
    kind: ClassVar[str]
    #: :attr:`Batch.spikes` is wanted.
    needs_spikes: ClassVar[bool] = False
    #: The method works on spiking neurons, their time or their weights, and so not beside ``conversion-aware``.
    needs_spiking_network: ClassVar[bool] = False
    #: What of a training only one method can decide, in words: a recipe has at most one for each.
    decides: ClassVar[frozenset[str]] = frozenset()

    def make_network(self, architecture: Mapping[str, Any], weights: str) -> TrainableNetwork | None:
        """Return another network than :func:`train.network.build` makes, or None; ``weights`` as in the recipe.

        Raises :exc:`MethodError`, :exc:`arch.checkpoint.CheckpointError`.
        """
        return None

    def exported_architecture(self, architecture: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the architecture of what is exported of a network of ``architecture``; None if nothing is."""
        return architecture

    def keeps_quantisers(self, weights: str) -> bool:
        """Whether the finished network quantises its weights as a recipe with these ``weights`` says."""
        return True

    def begin(self, training: TrainingContext) -> None:
        """Prepare the network, before the optimiser is made. Raises :exc:`MethodError`."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare epoch ``epoch``, counted from 0. Called again for the first epoch after a resumption."""

    def rate_share(self, epochs: float) -> float | None:
        """Return the share of the largest learning rate after ``epochs``, counted from the start, or None.

        It takes the place of the cosine; the ramp at the start stays.
        """
        return None

    def replace_loss(self, batch: Batch) -> Tensor | None:
        """Return the loss that takes the place of the cross-entropy of the mean scores, or None."""
        return None

    def add_loss(self, batch: Batch) -> Tensor | None:
        """Return a term that is added to the loss, or None."""
        return None

    def before_step(self) -> None:
        """Change gradients, after the backward pass and before the optimiser's step."""

    def after_step(self) -> None:
        """Change weights, after the optimiser's step."""

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """Take the epoch's metrics (``loss`` is the mean of the total loss); may add entries of its own."""

    def export(self, training: TrainingContext) -> Checkpoint | None:
        """Return the spiking network that a trained network without spikes becomes, or None.

        Called once, after the last epoch, with the best network in ``training.network``, and only if that is not
        :attr:`train.network.SpikingNetwork.exportable`.
        """
        return None

    def finish(self, training: TrainingContext, test: Split) -> Outcome:
        """Return what only this method knows of the finished training; called once, after :meth:`export`.

        The best network is in ``training.network``; it is called only if that is not
        :attr:`train.trainable.TrainableNetwork.exportable`. ``test`` is for measurements, not for choices.
        """
        return Outcome()

    def measure(self, test: Split) -> Mapping[str, Any]:
        """Return entries of ``result.json`` about other networks than the trained one; called once, at the end.

        ``test`` is for measurements, not for choices.
        """
        return {}

    def state(self) -> dict[str, Any]:
        """Everything that a resumed training needs, of tensors and plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back :meth:`state`."""
