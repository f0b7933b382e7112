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

import contextlib
import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from arch.checkpoint import Checkpoint
from arch.network import MAX_TIMESTEPS
from train import exact, layers, neurons
from train.datasets import Split
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

__all__ = ["LEAST_ERROR", "PERCENTILES", "Conversion", "PercentileSweep", "activation_percentiles", "ann_accuracy",
           "balance", "balance_network", "convert_network", "least_error_maxima", "sweep_percentiles"]

_log = logging.getLogger(__name__)

#: In place of a percentile: thresholds of :func:`least_error_maxima`.
LEAST_ERROR = "least error"
#: What a sweep tries: the paper's percentiles, 99.7 and 99.9, their surroundings up to the maximum, the least error.
PERCENTILES = (99.0, 99.5, 99.7, 99.9, 99.97, 100.0, LEAST_ERROR)
#: Bins of a histogram of activations, and shares of the largest one that are tried as maximum.
_BINS = 16384
_SHARES = [share / 100 for share in range(1, 101)]
#: Images whose activations of all layers are held at once.
_BATCH = 100


@contextlib.contextmanager
def _passing_on(network: SpikingNetwork, mode: neurons.Mode) -> Iterator[torch.device]:
    """Let the network pass on what ``mode`` says, in evaluation mode, for a while; gives its device."""
    modes = [(module, module.mode) for module in network.modules() if isinstance(module, neurons.PIF | layers.OrPool)]
    training = network.training
    network.eval()
    network.use_mode(mode)
    try:
        with torch.no_grad():
            yield next(network.parameters()).device
    finally:
        network.train(training)
        for module, mode in modes:
            module.mode = mode


def ann_accuracy(network: SpikingNetwork, images: Tensor, labels: Tensor) -> float:
    """Share of right classes of the network with ReLU neurons, in evaluation mode.

    Images are uint8 ``[N, C, H, W]``, or events ``[N, T, C, H, W]``; labels int64 ``[N]``.
    """
    right = 0
    with _passing_on(network, neurons.Mode.RELU) as device:
        for batch, classes in zip(images.split(_BATCH), labels.split(_BATCH), strict=True):
            right += int((network(batch.to(device)).argmax(1).cpu() == classes).sum())
    return right / len(labels)


class _Highest:
    """The largest values of a stream, enough of them for percentiles from ``lowest`` on."""

    def __init__(self, total: int, lowest: float) -> None:
        self.total = total
        self.kept = torch.empty(0)
        self._count = total - math.floor((total - 1) * lowest / 100)

    def add(self, values: Tensor) -> None:
        values = values.float().cpu().reshape(-1)
        if len(self.kept) == self._count:
            # Most values of later parts are below all that are kept, and selecting is cheaper than sorting.
            values = values[values > self.kept[-1]]
        kept = torch.cat([self.kept, values])
        self.kept = kept.topk(min(self._count, len(kept))).values

    def percentile(self, percentile: float) -> float:
        """Interpolate linearly between the two values next to the rank ``(total - 1) percentile / 100``."""
        rank = (self.total - 1) * percentile / 100
        below = math.floor(rank)
        low, high = (float(self.kept[self.total - 1 - index]) for index in (below, min(below + 1, self.total - 1)))
        return low + (high - low) * (rank - below)


def _activations(network: SpikingNetwork, images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Give name and activations ``[1, B, ..., C]`` of every layer with neurons, batch after batch, as an ANN."""
    with _passing_on(network, neurons.Mode.RELU) as device:
        for batch in images.split(_BATCH):
            maps: list[Tensor] = []
            network(batch.to(device), maps)
            for layer, values in zip(network.architecture["layers"][:-1], maps, strict=True):
                if layer["kind"] != "or-pool":
                    yield layer["name"], values


def activation_percentiles(network: SpikingNetwork, images: Tensor,
                           percentiles: Sequence[float]) -> dict[str, list[float]]:
    """Return percentiles of the activations of every layer with neurons, by its name.

    The activations are those of the network with ReLU neurons, in evaluation mode: all neurons, positions and images of
    a layer together, zeros too, as :func:`numpy.percentile` with linear interpolation.

    Parameters
    ----------
    network : SpikingNetwork
    images : uint8 ``[N, C, H, W]``, or events ``[N, T, C, H, W]``
        Calibration images, of the training set, without distortions.
    percentiles : sequence of numbers from 0 to 100, at least one

    Raises
    ------
    :exc:`MethodError`
        If there are no images or percentiles, or a percentile is out of range.
    """
    if not len(images) or not percentiles:
        raise MethodError(f"calibration must have images and percentiles, not {len(images)} and {len(percentiles)}")
    for percentile in percentiles:
        check_number("percentile", percentile, 0, 100)
    streams: dict[str, _Highest] = {}
    for name, values in _activations(network, images):
        if name not in streams:
            streams[name] = _Highest(values.numel() // values.shape[1] * len(images), min(percentiles))
        streams[name].add(values)
    return {name: [stream.percentile(value) for value in percentiles] for name, stream in streams.items()}


def least_error_maxima(network: SpikingNetwork, images: Tensor, *, timesteps: int,
                       initial: float) -> dict[str, float]:
    """Return the activation ``lambda`` of every layer with neurons that a spike in each timestep should stand for.

    It is the one for which the values that spike counts can stand for, ``n lambda / T`` with ``n = floor(a T / lambda +
    initial)`` from 0 to T, are closest to the activations ``a`` in the mean square: a small one cuts off large
    activations, a large one makes coarse steps (as the thresholds of SNN calibration, arXiv 2106.06984). Tried are
    hundredths of the largest activation, on a histogram of :data:`_BINS` bins.

    Parameters
    ----------
    network, images
        As of :func:`activation_percentiles`.
    timesteps : int
        T of the spiking network.
    initial : float
        As of :func:`balance`.

    Raises
    ------
    :exc:`MethodError`
        If there are no images.
    """
    highest = {name: values[0] for name, values in activation_percentiles(network, images, [100]).items()}
    counts = {name: torch.zeros(_BINS, dtype=torch.float64) for name in highest}
    for name, values in _activations(network, images):
        seen = values[values > 0].float().cpu()
        counts[name] += torch.histc(seen, _BINS, 0, highest[name])
    centres = (torch.arange(_BINS, dtype=torch.float64) + 0.5) / _BINS
    found = {}
    for name, count in counts.items():
        errors = []
        for share in _SHARES:
            spikes = (centres * (timesteps / share) + initial).floor().clamp(max=timesteps)
            errors.append(float((count * (spikes * (share / timesteps) - centres).square()).sum()))
        found[name] = highest[name] * _SHARES[errors.index(min(errors))]
    return found


def _find_maxima(network: SpikingNetwork, images: Tensor, percentiles: Sequence[float | str], *, timesteps: int,
                 initial: float) -> list[dict[str, float]]:
    """Return the maxima of every layer, by name, for each of the percentiles or :data:`LEAST_ERROR`."""
    numbers = [value for value in percentiles if not isinstance(value, str)]
    found = activation_percentiles(network, images, numbers) if numbers or not percentiles else {}
    maxima = []
    for value in percentiles:
        if isinstance(value, str):
            if value != LEAST_ERROR:
                raise MethodError(f"percentile must be a number from 0 to 100 or {LEAST_ERROR!r}, not {value!r}")
            maxima.append(least_error_maxima(network, images, timesteps=timesteps, initial=initial))
        else:
            maxima.append({name: values[numbers.index(value)] for name, values in found.items()})
    return maxima


def _check_convertible(architecture: Mapping[str, Any]) -> None:
    """Raise :exc:`MethodError` if spikes of the architecture's neurons cannot stand for the activations of an ANN."""
    for layer in architecture["layers"]:
        if layer["kind"] in ("or-pool", "readout"):
            continue
        if layer["reset"] != "subtract" or layer["leak_shift"] is not None:
            raise MethodError(f"{layer['name']} must subtract its threshold and not leak to be converted: "
                              f"other neurons have no rate that is a ReLU")
        if "shortcut" in layer:
            raise MethodError(f"{layer['name']} must not add the spikes of {layer['shortcut']} to be converted: "
                              f"spikes of two layers stand for different activations")


def _balancing(architecture: Mapping[str, Any], maxima: Mapping[str, float]) -> Iterator[tuple[str, float,
                                                                                              float | None]]:
    """Give the factors of each layer's weights and of its threshold, None of the readout's; raises MethodError."""
    _check_convertible(architecture)
    incoming = 1.0
    for layer in architecture["layers"]:
        if layer["kind"] == "or-pool":
            continue
        name = layer["name"]
        if layer["kind"] == "readout":
            yield name, incoming, None
            continue
        if not maxima[name] > 0:
            raise MethodError(f"{name} must have activations above 0 at that percentile to be converted, "
                              f"not {maxima[name]:g}")
        yield name, incoming, maxima[name]
        incoming = maxima[name]


def balance(checkpoint: Checkpoint, maxima: Mapping[str, float], *, timesteps: int, initial: float) -> Checkpoint:
    """Balance the thresholds of a network that was trained with ReLU neurons.

    With ``lambda`` the layer's entry of ``maxima``: its threshold is multiplied by ``lambda``, and so is the scale of
    the weights of the next layer, whose inputs are spikes of height 1 where the ANN had activations up to about
    ``lambda``. BatchNorm sees what it saw in the ANN. (The paper's ``W lambda_in / lambda_out`` with thresholds of 1.)

    Parameters
    ----------
    checkpoint : Checkpoint
        The trained ANN, with few-valued weights.
    maxima : mapping
        Activation that gets a spike in each timestep, by name of the layer.
    timesteps : int
        T of the spiking network.
    initial : float
        Membrane before the first timestep, in units of the threshold: 0 as in the paper rounds rates down, 1/2 rounds
        to the nearest.

    Raises
    ------
    :exc:`MethodError`
        If neurons leak or reset to zero, a layer adds the spikes of two, or has no activation.
    """
    tensors = dict(checkpoint.tensors)
    for name, incoming, outgoing in _balancing(checkpoint.architecture, maxima):
        for part in ("weight", "alpha"):
            scaled = tensors[f"{name}.{part}"].astype(np.float64) * incoming
            tensors[f"{name}.{part}"] = np.asarray(scaled, dtype=np.float32)
        if outgoing is None:
            continue
        theta = np.asarray(tensors[f"{name}.theta"].astype(np.float64) * outgoing, dtype=np.float32)
        if theta.ndim and initial:
            raise MethodError(f"{name} must have one threshold for the layer when its membranes start above 0")
        tensors[f"{name}.theta"] = theta
        tensors[f"{name}.initial"] = np.asarray(theta.reshape(-1)[0] * initial, dtype=np.float32)
    return dataclasses.replace(checkpoint, architecture={**checkpoint.architecture, "timesteps": timesteps},
                               tensors=tensors)


@torch.no_grad()
def balance_network(network: SpikingNetwork, images: Tensor, percentile: float) -> None:
    """Turn a network that was trained with ReLU neurons into the spiking one, in place: :func:`balance`.

    Weights may be float: so a network made by conversion can be trained further. Membranes start where the network's
    neurons let them.

    Parameters
    ----------
    network : SpikingNetwork
        Trained with ReLU neurons. Passes on spikes afterwards.
    images : uint8 ``[N, C, H, W]``, or events ``[N, T, C, H, W]``
        Calibration images, of the training set.
    percentile : float
        0 to 100.

    Raises
    ------
    :exc:`MethodError`
        As of :func:`balance` and :func:`activation_percentiles`.
    """
    found = activation_percentiles(network, images, [percentile])
    factors = list(_balancing(network.architecture, {name: values[0] for name, values in found.items()}))
    weighted = (layer for layer in network.chain
                if isinstance(layer, layers.Convolution | layers.FullyConnected | layers.Readout))
    for (_, incoming, outgoing), layer in zip(factors, weighted, strict=True):
        layer.synapses.weight.mul_(incoming)
        if outgoing is not None and not isinstance(layer, layers.Readout):
            layer.neurons.theta.mul_(outgoing)
    network.use_mode(neurons.Mode.SPIKES)


def _described(checkpoint: Checkpoint, percentile: float | str, initial: float, images: Tensor,
               maxima: Mapping[str, float]) -> Checkpoint:
    made = {"percentile": percentile, "initial": initial, "calibration_images": len(images), "maxima": dict(maxima)}
    return dataclasses.replace(checkpoint, provenance={**checkpoint.provenance, "conversion": made})


def convert_network(network: SpikingNetwork, images: Tensor, *, percentile: float | str = 99.7,
                    timesteps: int | None = None, initial: float = 0.0) -> Checkpoint:
    """Return the spiking network that a trained ANN becomes: :func:`balance` with percentiles of its activations.

    Any chain of layers. Average pooling belongs between convolution and neurons (``pool`` of the convolution), where it
    is exact. An or-pool passes on the OR of spikes for what was the largest activation of the window: more spikes than
    the largest rate, unless the spikes of the window coincide.

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
        As of :func:`balance`.

    Raises
    ------
    :exc:`MethodError`
        As of :func:`balance` and :func:`activation_percentiles`.
    :exc:`arch.checkpoint.CheckpointError`
        If the weights are float, or timesteps are not 1 to 64.
    """
    with _passing_on(network, neurons.Mode.SPIKES):
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
    with _passing_on(network, neurons.Mode.SPIKES):
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
    _parts: list[layers.TernaryConv2d | layers.TernaryLinear] = dataclasses.field(init=False, repr=False)
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
                raise MethodError(f"{self.kind} {name} must be true or false, not {getattr(self, name)!r}")

    def keeps_quantisers(self, weights: str) -> bool:
        """Only if the recipe names the same for all layers."""
        return self.weights == weights and self.outer_weights in (None, weights)

    def begin(self, training: TrainingContext) -> None:
        """Turn the network into an ANN with weights of this method."""
        check_calibration(self.kind, self.calibration_images, training)
        architecture = training.recipe.architecture
        _check_convertible(architecture)
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
