"""Spiking networks by conversion: train an ordinary network with ReLU, and choose the thresholds afterwards.

The method is that of Lu and Sengupta, "Exploring the Connection Between Binary and Spiking Neural Networks" (arXiv
2002.10064), as far as their code shows it (``docs/algorithms.md``, section 2). The network that is trained (ANN,
artificial neural network, in what follows) has weights of two or three values and neurons that pass on real numbers.

Why it can be converted: an integrate-and-fire neuron with soft reset and a constant current spikes at a rate that is
the ReLU of the current divided by the threshold, rounded down to a multiple of 1 / T and cut off at 1. So a spiking
network with the same weights computes nearly the same, if the threshold of each layer is large enough that few of its
activations are cut off, and small enough that the steps of 1 / T are fine. The threshold of a layer is therefore a high
percentile of its activations on some training images; choosing it is called balancing.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from arch.checkpoint import Checkpoint
from arch.network import MAX_TIMESTEPS
from arch.strict_json import short
from train import exact, neurons
from train.datasets import Split
from train.methods.activations import activation_percentiles, ann_accuracy, least_error_maxima, passing_on
from train.methods.balancing import balance, check_convertible
from train.methods.context import TrainingContext
from train.methods.method import (
    Method,
    MethodError,
    Outcome,
    check_calibration,
    check_choice,
    check_integer,
    check_number,
)
from train.network import SpikingNetwork
from train.quantisers import make_quantiser
from train.synapses import TernaryConv2d, TernaryLinear

__all__ = ["LEAST_ERROR", "PERCENTILES", "Conversion", "PercentileSweep", "convert_network", "sweep_percentiles"]

_log = logging.getLogger(__name__)

#: In place of a percentile: thresholds of :func:`train.methods.activations.least_error_maxima`.
LEAST_ERROR = "least error"
#: What a sweep tries: the paper's percentiles, 99.7 and 99.9, their surroundings up to the maximum, the least error.
PERCENTILES = (99.0, 99.5, 99.7, 99.9, 99.97, 100.0, LEAST_ERROR)


def _find_maxima(network: SpikingNetwork, images: Tensor, percentiles: Sequence[float | str], *, timesteps: int,
                 initial: float) -> list[dict[str, float]]:
    """Return the maxima of every layer, by name, for each of the percentiles or :data:`LEAST_ERROR`."""
    numbers = [value for value in percentiles if not isinstance(value, str)]
    found = activation_percentiles(network, images, numbers) if numbers or not percentiles else {}
    maxima = []
    for value in percentiles:
        if isinstance(value, str):
            if value != LEAST_ERROR:
                raise MethodError(f"percentile must be a number from 0 to 100 or {LEAST_ERROR!r}, not {short(value)}")
            maxima.append(least_error_maxima(network, images, timesteps=timesteps, initial=initial))
        else:
            maxima.append({name: values[numbers.index(value)] for name, values in found.items()})
    return maxima


def _described(checkpoint: Checkpoint, percentile: float | str, initial: float, images: Tensor,
               maxima: Mapping[str, float]) -> Checkpoint:
    made = {"percentile": percentile, "initial": initial, "calibration_images": len(images), "maxima": dict(maxima)}
    return dataclasses.replace(checkpoint, provenance={**checkpoint.provenance, "conversion": made})


def convert_network(network: SpikingNetwork, images: Tensor, *, percentile: float | str = 99.7,
                    timesteps: int | None = None, initial: float = 0.0) -> Checkpoint:
    """Return the spiking network that a trained ANN becomes.

    Its thresholds are those of :func:`train.methods.balancing.balance`, with percentiles of the activations of the ANN.
    Any chain of layers can be converted. Average pooling belongs between convolution and neurons (``pool`` of the
    convolution), where it is exact. An or-pool passes on the OR of spikes where the ANN passes on the largest
    activation of the window: the OR has more spikes than the largest rate, unless the spikes of the window coincide.

    Parameters
    ----------
    network : SpikingNetwork
        Trained with ReLU neurons and ternary or binary weights.
    images : uint8 ``[N, C, H, W]``, or events ``[N, T, C, H, W]``
        Calibration images, of the training set.
    percentile : float or str
        0 to 100 (the paper's code: 99.7; for CIFAR-100 99.9), or :data:`LEAST_ERROR`.
    timesteps : int, optional
        T; by default the network's.
    initial : float
        As of :func:`train.methods.balancing.balance`.

    Raises
    ------
    :exc:`MethodError`
        As of :func:`train.methods.balancing.balance` and :func:`train.methods.activations.activation_percentiles`.
    :exc:`arch.checkpoint.CheckpointError`
        If the weights are float, or timesteps are not 1 to 64.
    """
    with passing_on(network, neurons.Mode.SPIKES):
        checkpoint = network.checkpoint()
    timesteps = network.timesteps if timesteps is None else timesteps
    [maxima] = _find_maxima(network, images, [percentile], timesteps=timesteps, initial=initial)
    converted = balance(checkpoint, maxima, timesteps=timesteps, initial=initial)
    return _described(converted, percentile, initial, images, maxima)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PercentileSweep:
    """Spiking networks of one ANN, by the percentile of their conversion."""

    #: The percentile of the highest accuracy, or :data:`LEAST_ERROR`; the first of equals.
    percentile: float | str
    #: The network converted with it.
    checkpoint: Checkpoint
    #: Accuracy on the validation images, by percentile.
    accuracies: Mapping[float | str, float]
    #: Accuracy of the ANN on the same images.
    ann_accuracy: float


def sweep_percentiles(network: SpikingNetwork, images: Tensor, validation: Split, *,
                      percentiles: Sequence[float | str] = PERCENTILES, timesteps: int | None = None,
                      initial: float = 0.0) -> PercentileSweep:
    """Convert with each percentile, and choose by the accuracy on validation images in the exact forward.

    Parameters are those of :func:`convert_network`; it raises the same.
    """
    with passing_on(network, neurons.Mode.SPIKES):
        checkpoint = network.checkpoint()
    timesteps = network.timesteps if timesteps is None else timesteps
    found = _find_maxima(network, images, percentiles, timesteps=timesteps, initial=initial)
    accuracies: dict[float | str, float] = {}
    best = checkpoint
    chosen = percentiles[0]
    for index, (percentile, maxima) in enumerate(zip(percentiles, found, strict=True)):
        converted = balance(checkpoint, maxima, timesteps=timesteps, initial=initial)
        accuracies[percentile] = exact.accuracy(converted, validation.images, validation.labels)
        if not index or accuracies[percentile] > accuracies[chosen]:
            best, chosen = _described(converted, percentile, initial, images, maxima), percentile
    return PercentileSweep(percentile=chosen, checkpoint=best, accuracies=accuracies,
                           ann_accuracy=ann_accuracy(network, validation.images, validation.labels))


@dataclasses.dataclass(kw_only=True, eq=False)
class Conversion(Method):
    """Train an ANN with ReLU neurons and few-valued weights, and convert it at the end (:func:`convert_network`).

    As in the XNOR-Net script that the paper builds on, latent weights are centred over their input channels and clamped
    to [-1, 1] after each step. The paper leaves the weights of the first and of the last layer in float. Here those
    layers are quantised too, because an exported network stores no float weights; ``outer_weights`` can give them three
    values where the others have two. Their latent weights are not centred, because an image has too few channels for a
    mean. The gradient goes straight through the quantiser, without XNOR-Net's terms for the scale. The accuracies
    ``validation_accuracy`` of the epochs and ``float_test_accuracy`` of the result are those of the ANN.

    Raises
    ------
    :exc:`MethodError`
        If an option is wrong; in :meth:`begin`: there are fewer training images than are to be calibrated on, or
        neurons that cannot be converted.
    """

    kind: ClassVar[str] = "conversion"
    needs_spiking_network: ClassVar[bool] = True
    decides: ClassVar[frozenset[str]] = frozenset({
        "what neurons pass on", "how weights are quantised", "the spike's derivative"})

    #: ``binary``, ``ternary``, or ``float``: then nothing is centred, clamped or converted.
    weights: str = "binary"
    #: Weights of the first and of the last layer, ``binary`` or ``ternary``; None: as all others.
    outer_weights: str | None = None
    #: Percentile of the activations that becomes a layer's threshold, or :data:`LEAST_ERROR`; None: the best of
    #: :data:`PERCENTILES` by validation.
    percentile: float | str | None = 99.7
    #: T of the spiking network, 1 to 64; None: the architecture's.
    timesteps: int | None = None
    #: Membrane before the first timestep, in units of the threshold, 0 to 1: 0 as in the paper, 1/2 for small T.
    initial: float = 0.0
    #: Training images on which percentiles are measured, from 1.
    calibration_images: int = 3500
    #: Validation images on which percentiles are compared, from 1; all, if there are fewer.
    sweep_images: int = 1000
    #: Subtract the mean over input channels from latent weights after each step, but in the first and last layer.
    centre: bool = True
    #: Clamp latent weights to [-1, 1] after each step.
    clamp: bool = True
    _parts: list[TernaryConv2d | TernaryLinear] = dataclasses.field(init=False, repr=False)
    _sweep: dict[str, Any] | None = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice(f"{self.kind} weights", self.weights, ("binary", "ternary", "float"))
        if self.outer_weights is not None:
            check_choice(f"{self.kind} outer_weights", self.outer_weights, ("binary", "ternary"))
            if self.weights == "float":
                raise MethodError(f"{self.kind} outer_weights must be null when the others are float: nothing of the "
                                  f"network is exported")
        if self.percentile not in (None, LEAST_ERROR):
            check_number(f"{self.kind} percentile", self.percentile, 0, 100)
        check_number(f"{self.kind} initial", self.initial, 0, 1)
        if self.timesteps is not None:
            check_integer(f"{self.kind} timesteps", self.timesteps, 1, MAX_TIMESTEPS)
        check_integer(f"{self.kind} calibration_images", self.calibration_images, 1)
        check_integer(f"{self.kind} sweep_images", self.sweep_images, 1)
        for name in ("centre", "clamp"):
            if not isinstance(getattr(self, name), bool):
                raise MethodError(f"{self.kind} {name} must be true or false, not {short(getattr(self, name))}")

    def exported_architecture(self, architecture: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return that of the converted network, which may have other timesteps; None if its weights are float."""
        if self.weights == "float":
            return None
        return {**architecture, "timesteps": self.timesteps or architecture["timesteps"]}

    def keeps_quantisers(self, weights: str) -> bool:
        """Only if the recipe names the same for all layers."""
        return self.weights == weights and self.outer_weights in (None, weights)

    def begin(self, training: TrainingContext) -> None:
        """Turn the network into an ANN with weights of this method."""
        check_calibration(self.kind, self.calibration_images, training)
        architecture = training.recipe.architecture
        check_convertible(architecture)
        if architecture["input"]["encoding"] == "events" and self.timesteps not in (None, architecture["timesteps"]):
            raise MethodError(f"{self.kind} timesteps must be the architecture's {architecture['timesteps']} or null, "
                              f"not {self.timesteps}: that is how many frames of events there are")
        training.network.use_mode(neurons.Mode.RELU)
        self._parts = list(training.network.synapses())
        for part in self._parts:
            part.quantiser = make_quantiser(self.weights)
        if self.outer_weights is not None:
            for part in (self._parts[0], self._parts[-1]):
                part.quantiser = make_quantiser(self.outer_weights)

    @torch.no_grad()
    def after_step(self) -> None:
        """Centre and clamp the latent weights."""
        if self.weights == "float":
            return
        for index, part in enumerate(self._parts):
            # Of one input channel nothing would be left.
            if self.centre and 0 < index < len(self._parts) - 1 and part.weight.shape[1] > 1:
                part.weight.sub_(part.weight.mean(1, keepdim=True))
            if self.clamp:
                part.weight.clamp_(-1, 1)

    def export(self, training: TrainingContext) -> Checkpoint | None:
        """Convert the best network; None if its weights are float."""
        if self.weights == "float":
            return None
        images = training.train.images[:self.calibration_images]
        options: dict[str, Any] = {"timesteps": self.timesteps, "initial": self.initial}
        if self.percentile is not None:
            return convert_network(training.network, images, percentile=self.percentile, **options)
        compared = Split(images=training.validation.images[:self.sweep_images],
                         labels=training.validation.labels[:self.sweep_images])
        sweep = sweep_percentiles(training.network, images, compared, **options)
        _log.info("ANN: validation accuracy %.2f %%; converted with percentiles %s", 100 * sweep.ann_accuracy,
                  ", ".join(f"{key}: {100 * value:.2f} %" for key, value in sweep.accuracies.items()))
        self._sweep = {"images": len(compared), "ann_accuracy": sweep.ann_accuracy,
                       "accuracies": {str(key): value for key, value in sweep.accuracies.items()}}
        return sweep.checkpoint

    def finish(self, training: TrainingContext, test: Split) -> Outcome:
        """Report what the percentiles gave on validation images, where several were compared."""
        return Outcome() if self._sweep is None else Outcome(entries={"threshold_sweep": self._sweep})
