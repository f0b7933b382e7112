"""Measures of a trained network: accuracy, calibration, uncertainty, firing rates and synaptic operations.

Scores are those of each timestep, ``[T, N, classes]``: of a network in training (``forward(..., by_step=True)``), or
the integers of :func:`readout_scores` for the exported one. The integers are the real scores divided by
:attr:`arch.checkpoint.Checkpoint.score_scale`: give that as ``scale``. Timesteps are taken as the samples of an
ensemble (as AOT-SNN does, arXiv 2304.10191), so that the predictive distribution is ``p = mean_t softmax(scale z_t)``.
Nothing is fitted: the temperature is 1, unless a caller divides ``scale`` by that of :func:`fit_temperature`.

To measure ``softmax(mean_t z_t)`` instead, the distribution whose cross-entropy a training minimises, give
``scores.mean(0, keepdims=True)``.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.network import Convolution, Encoding, Network, OrPool, Projection, Readout, Shape, shortcut_of

__all__ = [
    "BINS",
    "TEMPERATURES",
    "Activity",
    "Calibration",
    "accuracy",
    "activity",
    "brier",
    "calibration",
    "calibration_error",
    "entropy",
    "fit_temperature",
    "log_probabilities",
    "mutual_information",
    "negative_log_likelihood",
    "readout_scores",
]

#: Bins of the expected calibration error (``docs/algorithms.md``, section 4.2).
BINS = 15
#: Bit-planes in which the first layer gets a pixel.
PIXEL_BITS = 8
#: Smallest and largest temperature that :func:`fit_temperature` returns.
TEMPERATURES = 0.01, 100.0

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Spikes = npt.NDArray[np.bool_]


def _check(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
    if scores.ndim != 3 or not scores.size:
        raise ValueError(f"scores must be [T, N, classes] and not empty, not {list(scores.shape)}")
    if labels.shape != scores.shape[1:2] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be {scores.shape[1]} integers like the scores' images, "
                         f"not {labels.dtype} {list(labels.shape)}")
    wrong = np.flatnonzero((labels < 0) | (labels >= scores.shape[2]))
    if len(wrong):
        raise ValueError(f"label of image {wrong[0]} must be from 0 to {scores.shape[2] - 1}, not {labels[wrong[0]]}")


def log_probabilities(scores: npt.NDArray[Any], scale: float = 1.0) -> Floats:
    """Return ``log softmax(scale z)`` over the last axis, float64 of the shape of ``scores`` (numbers of any type).

    Raises :exc:`ValueError` unless ``scale`` is positive and finite.
    """
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"scale of scores must be positive and finite, not {scale!r}")
    real = scores.astype(np.float64) * scale
    real -= real.max(-1, keepdims=True)
    return real - np.log(np.exp(real).sum(-1, keepdims=True))


def _predictive(logarithms: Floats) -> Floats:
    """Return the logarithm of the mean over time, ``[N, classes]``, of probabilities given as logarithms."""
    highest = logarithms.max(0)
    return highest + np.log(np.exp(logarithms - highest).mean(0))


def accuracy(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Return the share of images whose largest sum of scores over time has the label, the lowest index on a tie.

    The rule of the integer network. Scores ``[T, N, classes]``, labels integers ``[N]``; raises :exc:`ValueError`.
    """
    _check(scores, labels)
    return float((scores.sum(0).argmax(-1) == labels).mean())


def calibration_error(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any], bins: int = BINS) -> float:
    """Return the expected calibration error, from 0 to 1.

    ``sum_b |B_b| / N |accuracy(B_b) - confidence(B_b)|``: images are binned by their largest probability into ``bins``
    of equal width, ``((b - 1) / bins, b / bins]`` (Guo et al., arXiv 1706.04599, section 2). Probabilities
    ``[N, classes]``, labels integers ``[N]``.
    """
    confidence = probabilities.max(-1).astype(np.float64)
    right = probabilities.argmax(-1) == labels
    # Only inner edges: rounding may leave a probability just above 1.
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def negative_log_likelihood(scores: npt.NDArray[Any], labels: npt.NDArray[Any], scale: float = 1.0) -> float:
    """Return the mean over images of ``-log p`` of the label, in nats; finite even where ``p`` underflows.

    Scores ``[T, N, classes]``, labels integers ``[N]``; raises :exc:`ValueError`.
    """
    _check(scores, labels)
    return float(-_predictive(log_probabilities(scores, scale))[np.arange(len(labels)), labels].mean())


def brier(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Return the mean over images of ``sum_c (p_c - [c is the label])^2``, from 0 to 2 (Brier's own form, not halved).

    Probabilities ``[N, classes]``, labels integers ``[N]``.
    """
    wanted = np.eye(probabilities.shape[-1])[labels]
    return float(np.square(probabilities - wanted).sum(-1).mean())


def entropy(probabilities: npt.NDArray[Any]) -> Floats:
    """Return ``-sum_c p log p`` in nats over the last axis, float64 of the other axes; 0 log 0 is 0."""
    logarithms = np.log(probabilities, out=np.zeros(probabilities.shape), where=probabilities > 0)
    return -(probabilities * logarithms).sum(-1)  # type: ignore[no-any-return]


def mutual_information(probabilities: npt.NDArray[Any]) -> Floats:
    """Return ``H(mean_t p_t) - mean_t H(p_t)`` in nats, ``[N]``: what timesteps disagree on, from 0 to ``log T``.

    Probabilities of each timestep, ``[T, N, classes]``.
    """
    return entropy(probabilities.mean(0)) - entropy(probabilities).mean(0)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """How right and how sure a network is."""

    #: Share of right classes by the sum of scores: what the integer network answers.
    accuracy: float
    #: Share of right classes by the predictive distribution, whose confidence the calibration error compares.
    predictive_accuracy: float
    #: Mean largest probability.
    confidence: float
    #: Expected calibration error, 0 to 1.
    calibration_error: float
    #: In nats.
    negative_log_likelihood: float
    #: Brier score, 0 to 2.
    brier: float
    #: Mean entropy of the predictive distribution, in nats.
    entropy: float
    #: Mean mutual information between class and timestep, in nats.
    mutual_information: float


def calibration(scores: npt.NDArray[Any], labels: npt.NDArray[Any], scale: float = 1.0) -> Calibration:
    """Measure everything.

    Parameters
    ----------
    scores : ``[T, N, classes]``, floating or integers
        Scores of each timestep.
    labels : ``[N]``, integers
        Classes.
    scale : float
        Factor of the scores: 1 for those of a training, the checkpoint's ``score_scale`` for integers.

    Raises
    ------
    ValueError
        Shapes do not fit, a label is no class, or the scale is not positive.
    """
    _check(scores, labels)
    by_step = np.exp(log_probabilities(scores, scale))
    mean = by_step.mean(0)
    return Calibration(
        accuracy=accuracy(scores, labels), predictive_accuracy=float((mean.argmax(-1) == labels).mean()),
        confidence=float(mean.max(-1).mean()), calibration_error=calibration_error(mean, labels),
        negative_log_likelihood=negative_log_likelihood(scores, labels, scale), brier=brier(mean, labels),
        entropy=float(entropy(mean).mean()), mutual_information=float(mutual_information(by_step).mean()))


def fit_temperature(scores: npt.NDArray[Any], labels: npt.NDArray[Any], scale: float = 1.0) -> float:
    """Return the temperature, within :data:`TEMPERATURES`, for which ``scale / temperature`` has the least NLL.

    Temperature scaling (arXiv 1706.04599, section 4.2), here of every timestep before the mean. To be fitted on
    validation images only, and to be named wherever a number was measured with it. Arguments and errors as of
    :func:`calibration`; the result is exact to 0.1 %.
    """
    low, high = (math.log(value) for value in TEMPERATURES)
    while True:
        grid = np.linspace(low, high, 21)
        losses = [negative_log_likelihood(scores, labels, scale / math.exp(value)) for value in grid]
        best, step = int(np.argmin(losses)), grid[1] - grid[0]
        if step < 1e-3:
            return math.exp(grid[best])
        # The mean over timesteps may make the loss uneven: one step to both sides of the best is kept.
        low, high = max(low, grid[best] - step), min(high, grid[best] + step)


def readout_scores(network: Network, spikes: Sequence[Spikes]) -> npt.NDArray[np.int64]:
    """Return the integer network's scores of each timestep, ``int64[T, N, classes]``; their sum over T is its scores.

    Parameters
    ----------
    network : Network
        With at least one layer before the readout.
    spikes : sequence of ``bool[N, T, C, H, W]``
        Of each layer but the readout, as the reference returns them.

    Raises
    ------
    ValueError
        There is not one map per layer before the readout, or none.
    """
    _check_spikes(network, spikes)
    if not spikes:
        raise ValueError("network must have a layer before the readout, which gets no spikes otherwise")
    readout = network.layers[-1]
    assert isinstance(readout, Readout)
    last = spikes[-1]
    flat = last.reshape(*last.shape[:2], -1).astype(np.float64)
    # Sums of at most 2^32 ones: exact in float64.
    return (flat @ readout.weights.T.astype(np.float64)).astype(np.int64).swapaxes(0, 1)


def _check_spikes(network: Network, spikes: Sequence[Spikes]) -> None:
    shapes = [(network.timesteps, *output) for _, _, output in network.shapes()][:-1]
    if [maps.shape[1:] for maps in spikes] != shapes:
        raise ValueError(f"spikes must be maps of {', '.join(map(str, shapes)) or 'no layer'} per image, "
                         f"not {', '.join(str(maps.shape[1:]) for maps in spikes) or 'none'}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """What a layer does for an image, on average."""

    #: Index of the layer in the network.
    layer: int
    #: Its kind, of :mod:`arch.network`.
    kind: str
    #: Neurons of its output map; classes of the readout.
    neurons: int
    #: Spikes of its output map over neurons x timesteps; None for the readout.
    firing_rate: float | None
    #: Synaptic operations of an event-driven machine: for each spike of its input the non-zero weights that it meets.
    #: 0 for pixels and OR-pools.
    event_operations: float
    #: Synapses x timesteps, whether a spike arrives or not and whether the weight is zero or not; padding is none.
    #: Twice as many where a shortcut adds a second map; those of a projection count, of an identity one per neuron's
    #: position. 0 for pixels and OR-pools.
    dense_operations: int
    #: First layer of an image of pixels: synapses x :data:`PIXEL_BITS`, its bit-planes, computed once for all
    #: timesteps. 0 elsewhere. Kept apart from the others: a bit of a pixel is no spike.
    pixel_operations: int


def _fan_out(layer: Any, shape: Shape, outputs: Shape, synapses: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Count the ``synapses`` (of the shape of the weights) that each place of the input map meets, ``[C, H, W]``."""
    if not isinstance(layer, Convolution):
        return synapses.sum(0, dtype=np.int64).reshape(shape)
    # Positions that fill no window of a pool of currents are not counted.
    positions = outputs[1] * layer.pool, outputs[2] * layer.pool
    return _convolved_fan_out(synapses, shape, positions, stride=layer.stride, pad=layer.padding)


def _convolved_fan_out(synapses: npt.NDArray[np.bool_], shape: Shape, positions: tuple[int, int], *, stride: int,
                       pad: int) -> npt.NDArray[np.int64]:
    (channels, height, width), (rows, columns) = shape, positions
    counts = np.zeros((channels, height + 2 * pad, width + 2 * pad), dtype=np.int64)
    per_tap = synapses.sum(0, dtype=np.int64)
    for y, x in np.ndindex(synapses.shape[2:]):
        counts[:, y:y + stride * (rows - 1) + 1:stride,
               x:x + stride * (columns - 1) + 1:stride] += per_tap[:, y, x, None, None]
    return counts[:, pad:pad + height, pad:pad + width]


def _beside(layer: Convolution, projection: Projection, outputs: Shape, spikes: Spikes) -> tuple[int, int]:
    """Count the synapses of a projection at all positions, and how often ``spikes`` of its source meet one."""
    positions = outputs[1] * layer.pool, outputs[2] * layer.pool
    # Off the diagonal of an identity there are no synapses: it is wiring.
    there = np.eye(outputs[0], dtype=bool)[..., None, None] if projection.diagonal else np.ones(
        projection.weights.shape, dtype=bool)
    shape = spikes.shape[2], spikes.shape[3], spikes.shape[4]
    slots, met = (_convolved_fan_out(synapses, shape, positions, stride=projection.stride, pad=0)
                  for synapses in (there, projection.weights != 0))
    return int(slots.sum()), int((spikes.sum((0, 1), dtype=np.int64) * met).sum())


def activity(network: Network, images: npt.NDArray[Any], spikes: Sequence[Spikes]) -> list[Activity]:
    """Count firing rates and synaptic operations of each layer, per image.

    Parameters
    ----------
    network : Network
        The integer network.
    images : ``uint8[N, C, H, W]`` pixels or ``bool[N, T, C, H, W]`` events, N from 1
        What it was run on: events are the first layer's spikes; of pixels only the number counts.
    spikes : sequence of ``bool[N, T, C, H, W]``
        Of each layer but the readout, as the reference returns them for these images.

    Raises
    ------
    ValueError
        Spikes are not those of the network's layers, or not of as many images.
    """
    _check_spikes(network, spikes)
    if not len(images) or any(len(maps) != len(images) for maps in spikes):
        raise ValueError(f"spikes must be of as many images, at least one: {len(images)}, "
                         f"not {', '.join(str(len(maps)) for maps in spikes) or 'none'}")
    found = []
    events = network.input.encoding is Encoding.EVENTS
    inputs: npt.NDArray[Any] | None = images if events else None
    for index, (layer, shape, outputs) in enumerate(network.shapes()):
        event, dense, pixel = 0.0, 0, 0
        shortcut = shortcut_of(layer)
        if inputs is not None and shortcut is not None:
            inputs = inputs.astype(np.int8) + spikes[shortcut]
        if not isinstance(layer, OrPool):
            slots = int(_fan_out(layer, shape, outputs, np.ones(layer.weights.shape, dtype=bool)).sum())
            if inputs is None:
                pixel = slots * PIXEL_BITS
            else:
                dense = slots * network.timesteps * (1 if shortcut is None else 2)
                met = _fan_out(layer, shape, outputs, layer.weights != 0)
                event = float((inputs.sum((0, 1), dtype=np.int64) * met).sum() / len(images))
        if isinstance(layer, Convolution) and layer.projection is not None:
            slots, met_spikes = _beside(layer, layer.projection, outputs, spikes[layer.projection.source])
            dense += slots * network.timesteps
            event += met_spikes / len(images)
        maps = spikes[index] if index < len(spikes) else None
        found.append(Activity(
            layer=index, kind=layer.kind, neurons=math.prod(outputs),
            firing_rate=None if maps is None else float(maps.mean()),
            event_operations=event, dense_operations=dense, pixel_operations=pixel))
        inputs = maps
    return found
