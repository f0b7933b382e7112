"""The integer network: what is computed, on the reference, on the RTL and on the board.

Everything after export is integer arithmetic and every engine agrees bit for bit. The equations are those of
``docs/contract.md``; this module only describes the operands.

A :class:`Network` is an :class:`Input` and a chain of layers that ends in a :class:`Readout`::

    Input -> (Convolution | FullyConnected | OrPool)* -> Readout

Spike maps are ``(channels, height, width)``; a fully connected layer sees them flattened in that order (the order
of :func:`torch.flatten`) and produces ``(neurons, 1, 1)``.

Three things leave the plain chain. A layer with a ``shortcut`` sees the sum of its own map and of the spikes of an
earlier layer, values 0 to 2; the sum is an input, never a map of its own. A convolution with a ``projection`` sees the
spikes of an earlier layer through 1 x 1 weights of their own, beside its own map. A convolution with a ``pool`` gives
its neurons the currents summed over windows.

Limits, checks and shapes of maps stand in :mod:`arch.limits`: those of :mod:`arch.ttfs.network` are the same.
"""

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from arch.limits import (
    MAX_CHANNELS,
    MAX_CLASSES,
    MAX_CONSTANT,
    MAX_FRACTION,
    MAX_KERNEL,
    MAX_LEAK_SHIFT,
    MAX_POOL,
    MAX_SIDE,
    MAX_STRIDE,
    MAX_TIMESTEPS,
    NetworkError,
    Shape,
    Weights,
    check_classes,
    check_fan_in,
    check_integer,
    check_kernel,
    check_map,
    check_neurons,
    check_order,
    check_ternary,
    convolved_shape,
    freeze,
    pooled_shape,
)
from arch.projection import Projection, joined_filters
from arch.strict_json import short

__all__ = [
    "MAX_CHANNELS",
    "MAX_CLASSES",
    "MAX_CONSTANT",
    "MAX_FRACTION",
    "MAX_KERNEL",
    "MAX_LEAK_SHIFT",
    "MAX_POOL",
    "MAX_SIDE",
    "MAX_STRIDE",
    "MAX_TIMESTEPS",
    "Convolution",
    "Encoding",
    "FullyConnected",
    "Input",
    "Layer",
    "Network",
    "NetworkError",
    "Neurons",
    "OrPool",
    "Projection",
    "Readout",
    "Reset",
    "Shape",
    "filters_of",
    "projection_of",
    "shortcut_of",
]

Constants = npt.NDArray[np.int64]


class Reset(enum.Enum):
    """What a spike does to the membrane, in the same timestep."""

    #: Soft reset: the threshold is subtracted.
    SUBTRACT = "subtract"
    #: Hard reset: the membrane becomes zero.
    ZERO = "zero"


class Encoding(enum.Enum):
    """How the input becomes current."""

    #: A uint8 image, constant over time; the current sees ``p - zero_point``.
    PIXELS = "pixels"
    #: One binary frame per timestep.
    EVENTS = "events"


def _check_shortcut(value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise NetworkError(f"shortcut must be the index of an earlier layer, not {short(value)}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """What the host sends for one inference."""

    #: How the input becomes current.
    encoding: Encoding
    #: Channels, 1 to 64: 1 for grey, 3 for RGB, 2 for the polarities of an event camera.
    channels: int
    #: Rows, 1 to :data:`MAX_SIDE`.
    height: int
    #: Columns, 1 to :data:`MAX_SIDE`.
    width: int
    #: Pixel value that means zero; 0 or 128. Zero for events. Padding pixels have this value.
    zero_point: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.encoding, Encoding):
            raise NetworkError(f"input encoding must be an Encoding, not {short(self.encoding)}")
        check_map(self.channels, self.height, self.width)
        allowed = (0, 128) if self.encoding is Encoding.PIXELS else (0,)
        if type(self.zero_point) is not int or self.zero_point not in allowed:
            raise NetworkError(f"input zero point must be {' or '.join(map(str, allowed))} for "
                               f"{self.encoding.value}, not {short(self.zero_point)}")

    @property
    def shape(self) -> Shape:
        """Channels, height, width."""
        return self.channels, self.height, self.width


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Neurons:
    """PIF neurons of one layer: in each timestep, with the current ``a``,

    ``V -= V >> leak_shift`` (if leaky); ``V += (a << fraction) + bias``; spike if ``V >= threshold``; then
    ``V -= threshold`` or ``V = 0``, by ``reset``.
    """

    #: Threshold per output channel, ``int64[channels]``, positive.
    threshold: Constants
    #: Bias per output channel and timestep, ``int64[channels]``.
    bias: Constants
    #: Membrane before the first timestep, ``int64[channels]``.
    initial: Constants
    #: Fractional bits F of the membrane, 0 to :data:`MAX_FRACTION`.
    fraction: int = 0
    #: What a spike does to the membrane.
    reset: Reset = Reset.SUBTRACT
    #: Leak, 1 to :data:`MAX_LEAK_SHIFT`: ``V -= V >> leak_shift`` (arithmetic shift) before the addition.
    leak_shift: int | None = None

    def __post_init__(self) -> None:
        for name in ("threshold", "bias", "initial"):
            array = freeze(name, getattr(self, name), np.int64, 1)
            object.__setattr__(self, name, array)
            if array.shape != self.threshold.shape:
                raise NetworkError(f"{name} must have {len(self.threshold)} channels like threshold, "
                                   f"not {len(array)}")
            wrong = np.flatnonzero((array < -MAX_CONSTANT) | (array > MAX_CONSTANT))
            if len(wrong):
                raise NetworkError(f"{name} of channel {wrong[0]} must be within +-2^47, "
                                   f"not {array[wrong[0]]}")
        wrong = np.flatnonzero(self.threshold <= 0)
        if len(wrong):
            raise NetworkError(f"threshold of channel {wrong[0]} must be positive, "
                               f"not {self.threshold[wrong[0]]}")
        check_integer("fraction", self.fraction, 0, MAX_FRACTION)
        if not isinstance(self.reset, Reset):
            raise NetworkError(f"reset must be a Reset, not {short(self.reset)}")
        if self.leak_shift is not None:
            check_integer("leak shift", self.leak_shift, 1, MAX_LEAK_SHIFT)

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return len(self.threshold)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Convolution:
    """Ternary convolution (cross-correlation, as in PyTorch), sum of the currents of windows, and PIF neurons.

    The windows of the pooling do not overlap; rows and columns of currents that do not fill a window are dropped.
    """

    kind: ClassVar[str] = "convolution"

    #: Ternary weights, ``int8[out, in, kernel, kernel]``.
    weights: Weights
    #: The neurons of the output channels.
    neurons: Neurons
    #: Step between receptive fields, 1 to :data:`MAX_STRIDE`, in pixels.
    stride: int = 1
    #: Border of zeros on each side, 0 to ``kernel - 1``, in pixels.
    padding: int = 0
    #: Side of the windows of currents of which a neuron sees the sum, 1 to :data:`MAX_POOL`, in positions; 1 is none.
    pool: int = 1
    #: Index of the earlier layer whose spikes are added to the input map; None adds nothing.
    shortcut: int | None = None
    #: Further input of the filters, in place of a shortcut; None is none.
    projection: Projection | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", freeze("weights", self.weights, np.int8, 4))
        check_kernel(self.weights)
        check_ternary("weights", self.weights)
        check_integer("stride", self.stride, 1, MAX_STRIDE)
        check_integer("padding", self.padding, 0, self.kernel - 1)
        check_integer("pool", self.pool, 1, MAX_POOL)
        _check_shortcut(self.shortcut)
        if self.neurons.channels != self.weights.shape[0]:
            raise NetworkError(f"neurons must have {self.weights.shape[0]} channels like the weights, "
                               f"not {self.neurons.channels}")
        self._check_projection()

    def _check_projection(self) -> None:
        if self.projection is None:
            return
        if not isinstance(self.projection, Projection):
            raise NetworkError(f"projection must be a Projection, not {type(self.projection).__name__}")
        if self.shortcut is not None:
            raise NetworkError(f"shortcut must be None beside a projection, not {self.shortcut}: a filter sees at most "
                               f"two maps")
        if len(self.projection.weights) != len(self.weights):
            raise NetworkError(f"projection must have {len(self.weights)} channels like the weights, "
                               f"not {len(self.projection.weights)}")

    @property
    def kernel(self) -> int:
        """Side of the kernel, in pixels."""
        return self.weights.shape[2]

    def current_shape(self, shape: Shape) -> Shape:
        """Shape of the currents of a map of ``shape``, before the pool; raises :exc:`NetworkError`."""
        return convolved_shape(self.weights, shape, self.stride, self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the spike map made from a map of ``shape``; raises :exc:`NetworkError`."""
        channels, rows, columns = self.current_shape(shape)
        if min(rows, columns) < self.pool:
            raise NetworkError(f"pool {self.pool} must fit in the currents of {rows} x {columns}")
        return channels, rows // self.pool, columns // self.pool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FullyConnected:
    """Ternary fully connected layer and PIF neurons."""

    kind: ClassVar[str] = "fully-connected"

    #: Ternary weights, ``int8[neurons, inputs]``; inputs are the map flattened as channel, row, column.
    weights: Weights
    #: The neurons.
    neurons: Neurons
    #: Index of the earlier layer whose spikes are added to the input map; None adds nothing.
    shortcut: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", freeze("weights", self.weights, np.int8, 2))
        check_neurons(self.weights)
        check_ternary("weights", self.weights)
        _check_shortcut(self.shortcut)
        if self.neurons.channels != self.weights.shape[0]:
            raise NetworkError(f"neurons must have {self.weights.shape[0]} channels like the weights, "
                               f"not {self.neurons.channels}")

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for a map of ``shape``; raises :exc:`NetworkError`."""
        check_fan_in(self.weights, shape)
        return self.weights.shape[0], 1, 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OrPool:
    """Max-pool on spikes: the OR of each ``size x size`` window, per timestep.

    Windows do not overlap; rows and columns that do not fill a window are dropped (as :class:`torch.nn.MaxPool2d`).
    """

    kind: ClassVar[str] = "or-pool"

    #: Side of a window and distance between windows, 2 to :data:`MAX_POOL`, in pixels.
    size: int

    def __post_init__(self) -> None:
        check_integer("pool size", self.size, 2, MAX_POOL)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the pooled map; raises :exc:`NetworkError`."""
        return pooled_shape(shape, self.size)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Readout:
    """Ternary fully connected layer without neurons: scores are the currents summed over time.

    The class is the index of the largest score, the lowest one on a tie.
    """

    kind: ClassVar[str] = "readout"

    #: Ternary weights, ``int8[classes, inputs]``; inputs are the map flattened as channel, row, column.
    weights: Weights

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", freeze("weights", self.weights, np.int8, 2))
        check_classes(self.weights)
        check_ternary("weights", self.weights)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.weights.shape[0]

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the scores for a map of ``shape``; raises :exc:`NetworkError`."""
        check_fan_in(self.weights, shape)
        return self.classes, 1, 1


Layer = Convolution | FullyConnected | OrPool | Readout


def shortcut_of(layer: Layer) -> int | None:
    """Index of the layer whose spikes are added to the input map of ``layer``; None adds nothing."""
    return layer.shortcut if isinstance(layer, Convolution | FullyConnected) else None


def projection_of(layer: Layer) -> Projection | None:
    """Return the further input of the filters of ``layer``; None if it has none."""
    return layer.projection if isinstance(layer, Convolution) else None


def filters_of(layer: Convolution | FullyConnected | Readout) -> Weights:
    """All weights of each output channel, ``int8[out, synapses]`` (:func:`arch.projection.joined_filters`)."""
    projection = projection_of(layer)
    return joined_filters(layer.weights, None if projection is None else projection.weights)


def _check_projected(layer: Layer, outputs: list[Shape], shape: Shape) -> None:
    """Check the projection of ``layer``, which sees a map of ``shape``, behind layers with these ``outputs``."""
    projection = projection_of(layer)
    if projection is None:
        return
    assert isinstance(layer, Convolution)
    if not outputs:
        raise NetworkError(f"projection must read spikes, not be of layer {projection.source}: this layer sees the "
                           f"input")
    if projection.source >= len(outputs):
        raise NetworkError(f"projection must be of an earlier layer, not of layer {projection.source}")
    try:
        projected = projection.output_shape(outputs[projection.source])
    except NetworkError as error:
        raise NetworkError(f"projection of layer {projection.source}: {error}") from None
    currents = layer.current_shape(shape)
    if projected != currents:
        raise NetworkError(f"projection must have currents of {currents} like the kernel, not those of layer "
                           f"{projection.source} with stride {projection.stride}, {projected}")


def _check_source(layer: Layer, outputs: list[Shape], shape: Shape) -> None:
    """Check the shortcut of ``layer``, which sees a map of ``shape``, behind layers with these ``outputs``."""
    source = shortcut_of(layer)
    if source is None:
        return
    if not outputs:
        raise NetworkError(f"shortcut must add to spikes, not be {source}: this layer sees the input")
    if source >= len(outputs):
        raise NetworkError(f"shortcut must be the index of an earlier layer, not {source}")
    if source == len(outputs) - 1:
        raise NetworkError(f"shortcut must be a layer before the previous one, not {source}: that map is the input")
    if outputs[source] != shape:
        raise NetworkError(f"shortcut must have a map of {shape} like the input, not that of layer {source}, "
                           f"{outputs[source]}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network:
    """A ternary spiking network in integers, ready for the reference and for the hardware."""

    #: What the host sends.
    input: Input
    #: Layers in order; exactly the last one is a :class:`Readout`.
    layers: tuple[Layer, ...]
    #: Timesteps T, 1 to :data:`MAX_TIMESTEPS`.
    timesteps: int
    #: Facts about the network that do not change what it computes: name, data set, measured accuracy, the command
    #: that made it, the certificate. JSON values only.
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_integer("timesteps", self.timesteps, 1, MAX_TIMESTEPS)
        if not self.layers:
            raise NetworkError("layers must end in a readout, not be empty")
        object.__setattr__(self, "layers", tuple(self.layers))
        for index in range(len(self.layers)):
            check_order(index, self.layers, Layer, Readout)
        if isinstance(self.layers[0], OrPool):
            raise NetworkError("layer 0 must have weights, not be an or-pool")
        for _ in self.shapes():
            pass

    def shapes(self) -> Iterator[tuple[Layer, Shape, Shape]]:
        """Iterate over layers with the shapes of their input and output maps."""
        shape = self.input.shape
        outputs: list[Shape] = []
        for index, layer in enumerate(self.layers):
            try:
                _check_source(layer, outputs, shape)
                _check_projected(layer, outputs, shape)
                output = layer.output_shape(shape)
            except NetworkError as error:
                raise NetworkError(f"layer {index} ({layer.kind}): {error}") from None
            yield layer, shape, output
            outputs.append(output)
            shape = output

    @property
    def classes(self) -> int:
        """Number of classes."""
        readout = self.layers[-1]
        assert isinstance(readout, Readout)
        return readout.classes

    @property
    def weight_count(self) -> int:
        """Number of ternary weights of all layers; identity shortcuts have none."""
        own = sum(layer.weights.size for layer in self.layers if not isinstance(layer, OrPool))
        return own + sum(projection.weight_count for projection in map(projection_of, self.layers) if projection)
