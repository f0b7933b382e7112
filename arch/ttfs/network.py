"""The integer network with time-to-first-spike coding and logarithmic weights.

Another network than that of :mod:`arch.network`: a neuron spikes at most once, and *when* it spikes is its value. What
times and weight codes stand for is in :mod:`arch.ttfs.code`, with the symbols used here. A neuron adds, without
rounding, in units of ``2^-(F + S)``, where S is the largest ``e div D``::

    A[r] = sum of +-2^(S - e div D) over its inputs with e mod D = r        D accumulators, shifts and additions only
    V    = sum over r of K[r] A[r]                                          D products per neuron
    t    = first t with V >= threshold[channel][t], T if there is none

Gain, offset and bias of a channel are in its thresholds, so weights stay codes. A pool takes the earliest spike of its
window, which is the largest value. The readout's scores are its membranes.

A :class:`Network` is an :class:`Input` and ``(Convolution | FullyConnected | EarliestPool)* -> Readout``; maps are
``(channels, height, width)``, flattened in that order.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from arch.limits import (
    MAX_POOL,
    MAX_STRIDE,
    NetworkError,
    Shape,
    check_classes,
    check_fan_in,
    check_integer,
    check_kernel,
    check_map,
    check_neurons,
    check_order,
    convolved_shape,
    freeze,
    pooled_shape,
)
from arch.ttfs.code import TimeCode

__all__ = ["MAX_THRESHOLD", "Convolution", "EarliestPool", "FullyConnected", "Input", "Layer", "Network", "Readout"]

#: Largest magnitude of a threshold; no membrane is as large.
MAX_THRESHOLD = 2**53

Weights = npt.NDArray[np.int8]
Thresholds = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Input:
    """A uint8 image: pixel ``p`` spikes at the first time with ``p >= threshold[t]``."""

    #: Channels, 1 to 64.
    channels: int
    #: Rows, 1 to :data:`arch.network.MAX_SIDE`.
    height: int
    #: Columns, 1 to :data:`arch.network.MAX_SIDE`.
    width: int
    #: Threshold per time, ``int64[T]``, 1 to 256, never rising. Pixel 0 never spikes, nor does padding.
    threshold: Thresholds

    def __post_init__(self) -> None:
        check_map(self.channels, self.height, self.width)
        object.__setattr__(self, "threshold", freeze("input threshold", self.threshold, np.int64, 1))
        wrong = np.flatnonzero((self.threshold < 1) | (self.threshold > 256))
        if len(wrong):
            raise NetworkError(f"input threshold of time {wrong[0]} must be from 1 to 256, "
                               f"not {self.threshold[wrong[0]]}")
        _check_falling("input threshold", self.threshold[None])

    @property
    def shape(self) -> Shape:
        """Channels, height, width."""
        return self.channels, self.height, self.width


def _check_falling(where: str, threshold: Thresholds) -> None:
    wrong = np.argwhere(np.diff(threshold, axis=1) > 0)
    if len(wrong):
        channel, time = (int(index) for index in wrong[0])
        raise NetworkError(f"{where} of channel {channel} must never rise, not go from {threshold[channel, time]} to "
                           f"{threshold[channel, time + 1]} at time {time + 1}")


def _check_thresholds(threshold: Any, channels: int) -> Thresholds:
    """Check ``threshold``, and return a read-only copy."""
    frozen = freeze("threshold", threshold, np.int64, 2)
    if len(frozen) != channels:
        raise NetworkError(f"threshold must have {channels} channels like the weights, not {len(frozen)}")
    wrong = np.argwhere((frozen < -MAX_THRESHOLD) | (frozen > MAX_THRESHOLD))
    if len(wrong):
        channel, time = (int(index) for index in wrong[0])
        raise NetworkError(f"threshold of channel {channel} must be within +-2^53, not {frozen[channel, time]}")
    _check_falling("threshold", frozen)
    return frozen


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Convolution:
    """Convolution (cross-correlation, as in PyTorch) with logarithmic weights, and neurons."""

    kind: ClassVar[str] = "convolution"

    #: Weight codes, ``int8[out, in, kernel, kernel]``.
    weights: Weights
    #: Threshold per output channel and time, ``int64[out, T]``, never rising, within +-2^53.
    threshold: Thresholds
    #: Step between receptive fields, 1 to :data:`arch.network.MAX_STRIDE`, in pixels.
    stride: int = 1
    #: Border without spikes on each side, 0 to ``kernel - 1``, in pixels.
    padding: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", freeze("weights", self.weights, np.int8, 4))
        check_kernel(self.weights)
        check_integer("stride", self.stride, 1, MAX_STRIDE)
        check_integer("padding", self.padding, 0, self.kernel - 1)
        object.__setattr__(self, "threshold", _check_thresholds(self.threshold, len(self.weights)))

    @property
    def kernel(self) -> int:
        """Side of the kernel, in pixels."""
        return self.weights.shape[2]

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the map made from a map of ``shape``; raises :exc:`NetworkError`."""
        return convolved_shape(self.weights, shape, self.stride, self.padding)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FullyConnected:
    """Fully connected layer with logarithmic weights, and neurons."""

    kind: ClassVar[str] = "fully-connected"

    #: Weight codes, ``int8[neurons, inputs]``; inputs are the map flattened as channel, row, column.
    weights: Weights
    #: Threshold per neuron and time, ``int64[neurons, T]``, never rising, within +-2^53.
    threshold: Thresholds

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", freeze("weights", self.weights, np.int8, 2))
        check_neurons(self.weights)
        object.__setattr__(self, "threshold", _check_thresholds(self.threshold, len(self.weights)))

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for a map of ``shape``; raises :exc:`NetworkError`."""
        check_fan_in(self.weights, shape)
        return len(self.weights), 1, 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EarliestPool:
    """The earliest spike of each ``size x size`` window: max-pool of the values.

    Windows do not overlap; rows and columns that do not fill a window are dropped.
    """

    kind: ClassVar[str] = "earliest-pool"

    #: Side of a window and distance between windows, 2 to :data:`arch.network.MAX_POOL`, in pixels.
    size: int

    def __post_init__(self) -> None:
        check_integer("pool size", self.size, 2, MAX_POOL)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the pooled map; raises :exc:`NetworkError`."""
        return pooled_shape(shape, self.size)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Readout:
    """Fully connected layer without neurons: scores are the membranes.

    The class is the index of the largest score, the lowest one on a tie.
    """

    kind: ClassVar[str] = "readout"

    #: Weight codes, ``int8[classes, inputs]``; inputs are the map flattened as channel, row, column.
    weights: Weights

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", freeze("weights", self.weights, np.int8, 2))
        check_classes(self.weights)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.weights)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the scores for a map of ``shape``; raises :exc:`NetworkError`."""
        check_fan_in(self.weights, shape)
        return self.classes, 1, 1


Layer = Convolution | FullyConnected | EarliestPool | Readout


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network:
    """A spiking network with time-to-first-spike coding, in integers."""

    #: What the host sends.
    input: Input
    #: What times and weight codes stand for.
    code: TimeCode
    #: Layers in order; exactly the last one is a :class:`Readout`.
    layers: tuple[Layer, ...]
    #: Facts about the network that do not change what it computes. JSON values only.
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.layers:
            raise NetworkError("layers must end in a readout, not be empty")
        object.__setattr__(self, "layers", tuple(self.layers))
        if len(self.input.threshold) != self.code.timesteps:
            raise NetworkError(f"input threshold must have {self.code.timesteps} timesteps, "
                               f"not {len(self.input.threshold)}")
        for index, layer in enumerate(self.layers):
            check_order(index, self.layers, Layer, Readout)
            if not isinstance(layer, EarliestPool):
                self._check_codes(index, layer)
        if isinstance(self.layers[0], EarliestPool):
            raise NetworkError("layer 0 must have weights, not be an earliest-pool")
        for _ in self.shapes():
            pass

    def _check_codes(self, index: int, layer: Convolution | FullyConnected | Readout) -> None:
        levels, weights = self.code.levels, layer.weights
        wrong = np.argwhere((weights < -levels) | (weights > levels))
        if len(wrong):
            at = tuple(int(place) for place in wrong[0])
            raise NetworkError(f"layer {index} ({layer.kind}): weights must be codes from {-levels} to {levels}, "
                               f"not {weights[at]} at {at}")
        if not isinstance(layer, Readout) and layer.threshold.shape[1] != self.code.timesteps:
            raise NetworkError(f"layer {index} ({layer.kind}): threshold must have {self.code.timesteps} timesteps, "
                               f"not {layer.threshold.shape[1]}")

    def shapes(self) -> Iterator[tuple[Layer, Shape, Shape]]:
        """Iterate over layers with the shapes of their input and output maps."""
        shape = self.input.shape
        for index, layer in enumerate(self.layers):
            try:
                output = layer.output_shape(shape)
            except NetworkError as error:
                raise NetworkError(f"layer {index} ({layer.kind}): {error}") from None
            yield layer, shape, output
            shape = output

    @property
    def classes(self) -> int:
        """Number of classes."""
        readout = self.layers[-1]
        assert isinstance(readout, Readout)
        return readout.classes

    @property
    def weight_count(self) -> int:
        """Number of weights of all layers."""
        return sum(layer.weights.size for layer in self.layers if not isinstance(layer, EarliestPool))
