"""The bit-exact reference: what every engine must compute, for many images at a time.

Currents are matrix products in floating point, which are exact here: every partial sum is an integer no larger than
the sum of the magnitudes of its terms, and that is checked against the largest integer of the type (2^24 for float32,
2^53 for float64) before the type is chosen. Everything else is integer arithmetic.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.images import TakesImages, check_array
from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Input,
    Layer,
    Network,
    NetworkError,
    Neurons,
    OrPool,
    Readout,
    Reset,
    filters_of,
    projection_of,
    shortcut_of,
)
from arch.widths import LayerWidths, Range, layer_widths

__all__ = ["Internals", "Reference", "Result", "check_images", "classify", "pif"]

#: Images computed together: their spikes fit in the processor's caches or nearly so.
_BATCH = 64

Spikes = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Internals:
    """What one layer of neurons computed on the way to its spikes."""

    #: Currents, ``int64[images, T, channels, height, width]``.
    currents: Integers
    #: Membranes after the addition, compared with the threshold; same shape.
    compared: Integers
    #: Membranes after the reset; same shape.
    membranes: Integers


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Result:
    """What the network computed for some images."""

    #: Currents of the readout summed over time, ``int64[images, classes]``.
    scores: Integers
    #: Index of the largest score, the lowest one on a tie, ``int64[images]``.
    classes: Integers
    #: Currents of the readout in each timestep, ``int64[images, T, classes]``; None if not asked for.
    step_scores: Integers | None = None
    #: Spikes of each layer but the readout, ``bool[images, T, channels, height, width]``; None if not asked for.
    spikes: tuple[Spikes, ...] | None = None
    #: Internals of each layer but the readout, None for an OR-pool; None if not asked for.
    internals: tuple[Internals | None, ...] | None = None


def classify(scores: Integers) -> Integers:
    """Return the index of the largest score of each row, the lowest one on a tie."""
    return np.argmax(scores, axis=-1).astype(np.int64)  # argmax takes the first


def check_images(network: TakesImages, images: npt.NDArray[Any]) -> None:
    """Check type and shape of a batch of inputs; raises :exc:`NetworkError`.

    Pixels are ``uint8[images, channels, height, width]``; events are ``bool[images, T, channels, height, width]``. What
    is no plain array raises :exc:`arch.images.ImageError`.
    """
    check_array(images)
    source = network.input
    events = source.encoding is Encoding.EVENTS
    dtype, shape = np.dtype(bool if events else np.uint8), (network.timesteps, *source.shape)[not events:]
    if images.dtype != dtype:
        raise NetworkError(f"images must be {dtype.name} for {source.encoding.value}, not {images.dtype}")
    if images.shape[1:] != shape:
        raise NetworkError(f"images must have shape (n, {', '.join(map(str, shape))}), not {images.shape}")


def pif(neurons: Neurons, currents: Integers) -> tuple[Spikes, Internals]:
    """Run PIF neurons over time: the software twin of the PIF unit.

    Parameters
    ----------
    neurons : the neurons of the C channels
    currents : ``int64[images, T, C, height, width]``

    Returns
    -------
    spikes : ``bool``, the shape of ``currents``
    internals : currents and membranes, the shape of ``currents``
    """
    compared, membranes = np.empty_like(currents), np.empty_like(currents)
    spikes = np.empty(currents.shape, dtype=bool)
    steps = _steps(neurons, np.moveaxis(currents, (1, 2), (0, -1)))
    for timestep, (fired, before, after) in enumerate(steps):
        spikes[:, timestep] = np.moveaxis(fired, -1, 1)
        compared[:, timestep] = np.moveaxis(before, -1, 1)
        membranes[:, timestep] = np.moveaxis(after, -1, 1)
    return spikes, Internals(currents=currents, compared=compared, membranes=membranes)


def _steps(neurons: Neurons, currents: Integers, timesteps: int | None = None,
           ) -> Iterator[tuple[Spikes, Integers, Integers]]:
    """Iterate over timesteps: spikes, membrane compared, membrane after the reset.

    Currents are ``[T, ..., C]`` of a type that holds every membrane; one timestep stands for all ``timesteps``.
    """
    threshold, bias = neurons.threshold.astype(currents.dtype), neurons.bias.astype(currents.dtype)
    v = neurons.initial.astype(currents.dtype)
    for timestep in range(timesteps or len(currents)):
        if neurons.leak_shift is not None:
            v = v - (v >> neurons.leak_shift)
        added = (currents[timestep if len(currents) > 1 else 0] << neurons.fraction) + bias
        before = added + v
        fired = before >= threshold
        if neurons.reset is Reset.SUBTRACT:
            v = before - fired * threshold
        else:
            v = before * ~fired
        yield fired, before, v


class Reference:
    """Computes a network for batches of images, exactly.

    Parameters
    ----------
    network : the network

    Raises
    ------
    :exc:`NetworkError`
        If a membrane may need more than :data:`arch.widths.MAX_MEMBRANE_BITS` bits.
    """

    def __init__(self, network: Network):
        self.network = network
        self._stages = [_Stage(layer, widths) for layer, widths in
                        zip(network.layers, layer_widths(network), strict=True)]
        self._sources = {shortcut_of(layer) for layer in network.layers} | {
            projection.source for projection in map(projection_of, network.layers) if projection}

    def run(self, images: npt.NDArray[Any], *, spikes: bool = False, internals: bool = False,
            step_scores: bool = False) -> Result:
        """Compute scores and classes of ``images``.

        Parameters
        ----------
        images : see :func:`check_images`
        spikes : bool
            Return every layer's spikes too.
        internals : bool
            Return every layer's currents and membranes too: 24 bytes per neuron, timestep and image.
        step_scores : bool
            Return the readout's currents of each timestep too: what an early exit or a measure of uncertainty sees.

        Raises
        ------
        :exc:`NetworkError`
            If type or shape of the images is not that of the network's input.
        """
        check_images(self.network, images)
        batches = [self._batch(images[start:start + _BATCH], spikes, internals)
                   for start in range(0, max(len(images), 1), _BATCH)]
        scores = np.concatenate([batch.scores for batch in batches])
        return Result(
            scores=scores, classes=classify(scores),
            spikes=_join_spikes(batches) if spikes else None,
            internals=_join_internals(batches) if internals else None,
            step_scores=np.concatenate([batch.step_scores for batch in batches]) if step_scores else None)

    def _batch(self, images: npt.NDArray[Any], keep_spikes: bool, keep_internals: bool) -> Result:
        timesteps = self.network.timesteps
        # Maps are [T, images, height, width, channels] in here; a first axis of one stands for T equal timesteps.
        maps = _encode(self.network.input, images)
        kept: list[Spikes] = []
        internals: list[Internals | None] = []
        added: dict[int, Spikes] = {}
        for index, stage in enumerate(self._stages):
            shortcut = shortcut_of(stage.layer)
            if shortcut is not None:
                maps = maps.astype(np.int8) + added[shortcut]
            projection = projection_of(stage.layer)
            beside = None if projection is None else added[projection.source]
            if isinstance(stage.layer, OrPool):
                maps = _or_pool(maps, stage.layer.size)
                details = None
            elif isinstance(stage.layer, Readout):
                currents = stage.currents(maps).astype(np.int64)
                steps = np.broadcast_to(currents[:, :, 0, 0], (timesteps, len(images), self.network.classes))
                break
            else:
                maps, details = stage.fire(stage.currents(maps, beside), timesteps, keep_internals)
            if index in self._sources:
                added[index] = maps
            if keep_spikes:
                kept.append(_outward(maps))
            if keep_internals:
                internals.append(details)
        scores = steps.sum(axis=0)
        return Result(scores=scores, classes=classify(scores), step_scores=steps.transpose(1, 0, 2),
                      spikes=tuple(kept), internals=tuple(internals))


def _encode(source: Input, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if source.encoding is Encoding.EVENTS:
        return np.ascontiguousarray(images.transpose(1, 0, 3, 4, 2))
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)[None].astype(np.int16) - source.zero_point)


def _outward(maps: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn ``[T, images, height, width, channels]`` into ``[images, T, channels, height, width]``."""
    return np.ascontiguousarray(maps.transpose(1, 0, 4, 2, 3))


def _join_spikes(batches: list[Result]) -> tuple[Spikes, ...]:
    return tuple(np.concatenate(layers) for layers in zip(*(batch.spikes or () for batch in batches), strict=True))


def _join_internals(batches: list[Result]) -> tuple[Internals | None, ...]:
    joined: list[Internals | None] = []
    for layers in zip(*(batch.internals or () for batch in batches), strict=True):
        parts = [layer for layer in layers if layer is not None]
        joined.append(Internals(**{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(Internals)}) if parts else None)
    return tuple(joined)


def _or_pool(maps: npt.NDArray[Any], size: int) -> Spikes:
    height, width = maps.shape[2] // size, maps.shape[3] // size
    pooled = np.zeros((*maps.shape[:2], height, width, maps.shape[4]), dtype=bool)
    for row in range(size):
        for column in range(size):
            pooled |= maps[:, :, row:height * size:size, column:width * size:size]
    return pooled


def _sum_windows(currents: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    height, width = currents.shape[2] // size, currents.shape[3] // size
    summed = np.zeros((*currents.shape[:2], height, width, currents.shape[4]), dtype=currents.dtype)
    for row in range(size):
        for column in range(size):
            summed += currents[:, :, row:height * size:size, column:width * size:size]
    return summed


class _Stage:
    """A layer with its weights as a matrix, in types in which all its sums are exact."""

    def __init__(self, layer: Layer, widths: LayerWidths | None):
        self.layer = layer
        if isinstance(layer, OrPool) or widths is None:
            return
        weights = layer.weights
        matrix = weights.reshape(len(weights), -1) if weights.ndim == 2 else weights.transpose(0, 2, 3, 1).reshape(
            len(weights), -1)
        terms = int(np.count_nonzero(filters_of(layer), axis=1).max())
        largest = terms * max(-widths.input.low, widths.input.high)
        self._exact: type[np.floating] = np.float32 if largest <= 2**24 else np.float64
        assert largest <= 2**53, "a matrix of 2^45 weights does not fit in memory"
        self._matrix = np.ascontiguousarray(matrix.T.astype(self._exact))
        self._projection = projection_of(layer)
        ranges = (widths.current, widths.shifted, widths.membrane, widths.difference)
        self._integer = np.int32 if all(_fits_int32(entry) for entry in ranges if entry) else np.int64

    def currents(self, maps: npt.NDArray[Any], beside: Spikes | None = None) -> npt.NDArray[Any]:
        """Sum the weighted inputs, over windows if pooled: ``[T or 1, images, height, width, channels]``.

        ``beside``: the map that a projection sees.
        """
        layer = self.layer
        if isinstance(layer, Convolution):
            pad = layer.padding
            padded = np.zeros((*maps.shape[:2], maps.shape[2] + 2 * pad, maps.shape[3] + 2 * pad, maps.shape[4]),
                              dtype=self._exact)
            padded[:, :, pad:pad + maps.shape[2], pad:pad + maps.shape[3]] = maps
            windows = np.lib.stride_tricks.sliding_window_view(padded, (layer.kernel, layer.kernel), axis=(2, 3))
            windows = windows[:, :, ::layer.stride, ::layer.stride].transpose(0, 1, 2, 3, 5, 6, 4)
            rows = windows.reshape(-1, len(self._matrix))
            shape = windows.shape[:4]
        else:
            assert isinstance(layer, FullyConnected | Readout)
            # Weights see the map flattened as channel, row, column.
            rows = maps.transpose(0, 1, 4, 2, 3).reshape(-1, len(self._matrix)).astype(self._exact)
            shape = (*maps.shape[:2], 1, 1)
        sums = (rows @ self._matrix).reshape(*shape, self._matrix.shape[1])
        if self._projection is not None:
            assert beside is not None
            stride = self._projection.stride
            weights = self._projection.weights[:, :, 0, 0].T.astype(self._exact)
            sums += beside[:, :, ::stride, ::stride].astype(self._exact) @ weights
        sums = sums.astype(self._integer)
        return _sum_windows(sums, layer.pool) if isinstance(layer, Convolution) and layer.pool > 1 else sums

    def fire(self, currents: npt.NDArray[Any], timesteps: int,
             keep: bool) -> tuple[Spikes, Internals | None]:
        """Run the neurons over ``timesteps``: their spikes and, if ``keep``, how they came about."""
        assert isinstance(self.layer, Convolution | FullyConnected)
        shape = (timesteps, *currents.shape[1:])
        spikes = np.empty(shape, dtype=bool)
        before, after = (np.empty(shape if keep else 0, dtype=np.int64) for _ in range(2))
        for timestep, (fired, compared, left) in enumerate(_steps(self.layer.neurons, currents, timesteps)):
            spikes[timestep] = fired
            if keep:
                before[timestep], after[timestep] = compared, left
        if not keep:
            return spikes, None
        return spikes, Internals(currents=_outward(np.broadcast_to(currents, shape).astype(np.int64)),
                                 compared=_outward(before), membranes=_outward(after))


def _fits_int32(values: Range) -> bool:
    return values.bits <= 32
