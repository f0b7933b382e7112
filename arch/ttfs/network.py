"""The integer network with time-to-first-spike coding and logarithmic weights.

Another network than :mod:`arch.network`'s: a neuron spikes at most once, and *when* it does is its value. The coding is
that of Lew et al., arXiv 2208.04494; its text was out of reach, so the equations are a reconstruction from its abstract
and from T2FSNN (arXiv 2003.11741), with base 2 in place of base e.

A spike at time ``t``, 0 to T - 1, stands for ``2^(-t/tau)``; no spike, written ``t = T``, stands for 0. A weight code
``+-(q + 1)`` stands for ``+-2^(-q/p)``, and 0 for 0. A product is a sum of exponents ``e = t D/tau + q D/p`` with
``D = lcm(tau, p)``, and its value is *defined* by a table of D integers::

    K[r] = floor(2^(F - r/D) + 1/2)                     r = 0 to D - 1, F fractional bits
    2^(-e/D)  is  K[e mod D] 2^-(F + e div D)           for spikes (q = 0), weights (t = 0) and products alike

so that every value is a dyadic rational. A neuron adds, without rounding, in units of ``2^-(F + S)`` with S the largest
``e div D``::

    A[r] = sum of +-2^(S - e div D) over its inputs with e mod D = r        D accumulators, shifts and additions only
    V    = sum over r of K[r] A[r]                                          D products per neuron
    t    = first t with V >= threshold[channel][t], T if there is none

Gain, offset and bias of a channel are in its thresholds, so weights stay codes. A pool takes the earliest spike of its
window, which is the largest value. The readout's scores are its membranes.

A :class:`Network` is an :class:`Input` and ``(Convolution | FullyConnected | EarliestPool)* -> Readout``; maps are
``(channels, height, width)``, flattened in that order.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from arch.network import (
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
from arch.widths import ChannelRange, Range

__all__ = ["MAX_BITS", "MAX_FRACTION", "MAX_RESIDUES", "MAX_SUM", "MAX_TIMESTEPS", "Convolution", "EarliestPool",
           "FullyConnected", "Input", "Layer", "LayerWidths", "Network", "Readout", "TimeCode", "layer_widths",
           "membrane_range"]

#: Largest window T, so that a time and "none" fit in a byte.
MAX_TIMESTEPS = 255
#: Most fractional bits F; all values are exact in float32 too.
MAX_FRACTION = 23
#: Widest weight code, in bits.
MAX_BITS = 8
#: Most steps D of an octave.
MAX_RESIDUES = 64
#: Membranes are below this in magnitude, and float64 holds every partial sum of them exactly.
MAX_SUM = 2**53

Weights = npt.NDArray[np.int8]
Thresholds = npt.NDArray[np.int64]


@functools.cache
def _powers(residues: int, fraction: int) -> tuple[int, ...]:
    """``floor(2^(fraction - r / residues) + 1/2)`` for each r, in integers only."""
    found = []
    for residue in range(residues):
        # k is the root if (2k - 1)^D <= 2^(D + F D - r) < (2k + 1)^D: no tie, the root is irrational or whole.
        power = 1 << residues * (fraction + 1) - residue
        low, high = 0, 1 << fraction + 1
        while low < high:
            middle = (low + high) // 2
            if (2 * middle + 1) ** residues > power:
                high = middle
            else:
                low = middle + 1
        found.append(low)
    return tuple(found)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TimeCode:
    """What times and weight codes stand for."""

    #: Window T, 1 to :data:`MAX_TIMESTEPS`, in timesteps; T itself is the time of no spike.
    timesteps: int
    #: Timesteps in which a value halves, 1 to :data:`MAX_RESIDUES`.
    tau: int
    #: Weight codes in which a weight halves, 1 to :data:`MAX_RESIDUES`.
    p: int = 2
    #: Width of a weight code, sign included, 2 to :data:`MAX_BITS`; 2 bits are ternary weights.
    bits: int = 5
    #: Fractional bits F of the table, 1 to :data:`MAX_FRACTION`.
    fraction: int = 16

    def __post_init__(self) -> None:
        check_integer("timesteps", self.timesteps, 1, MAX_TIMESTEPS)
        check_integer("tau", self.tau, 1, MAX_RESIDUES)
        check_integer("p", self.p, 1, MAX_RESIDUES)
        check_integer("bits", self.bits, 2, MAX_BITS)
        check_integer("fraction", self.fraction, 1, MAX_FRACTION)
        if self.residues > MAX_RESIDUES:
            raise NetworkError(f"tau and p must have a common multiple up to {MAX_RESIDUES}, not {self.residues}")
        table = (*self.powers, self.powers[0] // 2)
        if any(one <= other for one, other in itertools.pairwise(table)):
            raise NetworkError(f"fraction must be large enough to tell {self.residues} steps of an octave apart, "
                               f"not {self.fraction}")
        if self.unit_bits >= 53:
            raise NetworkError(f"products must have at most 52 fractional bits, not {self.unit_bits}: "
                               f"use fewer timesteps, a larger tau or a smaller fraction")

    @property
    def levels(self) -> int:
        """Number of magnitudes of a weight, ``2^(bits - 1) - 1``: one exponent code is zero's."""
        return 2 ** (self.bits - 1) - 1

    @property
    def residues(self) -> int:
        """Steps D of an octave: the number of accumulators of a neuron."""
        return math.lcm(self.tau, self.p)

    @property
    def powers(self) -> tuple[int, ...]:
        """The table K, D integers from ``2^F`` downwards."""
        return _powers(self.residues, self.fraction)

    @property
    def shift(self) -> int:
        """Octaves S that the products span: the largest ``e div D``."""
        return int(self.exponent(self.timesteps - 1, self.levels - 1)) // self.residues

    @property
    def unit_bits(self) -> int:
        """A membrane counts in units of ``2^-unit_bits``."""
        return self.fraction + self.shift

    def exponent(self, time: Any, level: Any) -> Any:
        """``e`` of a spike at ``time`` through a weight of level ``q``, in Dths of an octave; numbers or arrays."""
        return time * (self.residues // self.tau) + level * (self.residues // self.p)

    def products(self) -> npt.NDArray[np.int64]:
        """Value of each spike through each weight, in the membrane's units, ``int64[levels + 1, T + 1]``.

        The first index is the magnitude of the weight code, the second the time; both 0 and "none" give zero.
        """
        exponents = self.exponent(np.arange(self.timesteps)[None], np.arange(self.levels)[:, None])
        table = np.array(self.powers, dtype=np.int64)
        products = np.zeros((self.levels + 1, self.timesteps + 1), dtype=np.int64)
        products[1:, :-1] = table[exponents % self.residues] << (self.shift - exponents // self.residues)
        return products

    def values(self) -> npt.NDArray[np.float64]:
        """Value of a spike at each time, ``float64[T + 1]``, exact; that of no spike is 0."""
        return self.products()[1].astype(np.float64) * 2.0**-self.unit_bits


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
    wrong = np.argwhere((frozen < -MAX_SUM) | (frozen > MAX_SUM))
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


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerWidths:
    """Ranges that no input can leave, of a layer with weights; each end is reached by some spike times."""

    #: Every accumulator A[r], and every partial sum of it.
    accumulator: Range
    #: Membranes V, and every partial sum of their terms; of a readout, the scores.
    membrane: Range
    #: Thresholds; None for a readout.
    threshold: Range | None


def _sums(weights: Weights, magnitudes: npt.NDArray[np.int64]) -> ChannelRange:
    """Range of each channel's sum where a weight of code ``+-k`` adds 0 to ``magnitudes[k]``, or subtracts it.

    Python's integers sum: a file may hold more weights than fit in int64.
    """
    lows, highs = [], []
    for row in weights.reshape(len(weights), -1):
        counts = np.bincount(row.astype(np.int64) + len(magnitudes) - 1, minlength=2 * len(magnitudes) - 1)
        lows.append(-sum(int(count) * int(size) for count, size in
                         zip(counts[len(magnitudes) - 2::-1], magnitudes[1:], strict=True)))
        highs.append(sum(int(count) * int(size) for count, size in
                         zip(counts[len(magnitudes):], magnitudes[1:], strict=True)))
    if max(-min(lows), max(highs)) >= MAX_SUM:
        raise NetworkError(f"membrane must stay below 2^53, and may reach {max(-min(lows), max(highs))}: "
                           f"use a smaller fraction")
    return ChannelRange(np.array(lows, dtype=np.int64), np.array(highs, dtype=np.int64))


def membrane_range(code: TimeCode, weights: Weights) -> ChannelRange:
    """Range of the membrane of each output channel (the first axis of ``weights``), in units of ``2^-unit_bits``.

    Both ends are reached, by spikes at time 0 of all weights of one sign. Raises :exc:`NetworkError` if a membrane may
    reach :data:`MAX_SUM`.
    """
    return _sums(weights, code.products()[:, 0])


def layer_widths(network: Network) -> Iterator[LayerWidths | None]:
    """Iterate over the layers' widths, in order; None for a pool.

    Raises
    ------
    :exc:`NetworkError`
        If a membrane may reach :data:`MAX_SUM`.
    """
    code = network.code
    exponents = code.exponent(np.arange(code.timesteps)[None], np.arange(code.levels)[:, None])
    terms = np.int64(1) << (code.shift - exponents // code.residues)
    for index, layer in enumerate(network.layers):
        if isinstance(layer, EarliestPool):
            yield None
            continue
        try:
            membrane = membrane_range(code, layer.weights).total
        except NetworkError as error:
            raise NetworkError(f"layer {index} ({layer.kind}): {error}") from None
        accumulators = []
        for residue in range(code.residues):
            magnitudes = np.where(exponents % code.residues == residue, terms, 0).max(axis=1)
            accumulators.append(_sums(layer.weights, np.concatenate([[0], magnitudes])).total)
        yield LayerWidths(
            accumulator=Range(min(entry.low for entry in accumulators), max(entry.high for entry in accumulators)),
            membrane=membrane,
            threshold=None if isinstance(layer, Readout) else Range(int(layer.threshold.min()),
                                                                    int(layer.threshold.max())))
