"""Ranges and widths that no input can leave, derived from the actual weights.

A neuron with P weights +1 and N weights -1 over inputs of ``low`` to ``high`` has currents from ``P low - N high`` to
``P high - N low``, and every integer in between occurs. Spikes are 0 to 1, spikes summed by a shortcut 0 to 2; pixels
are 0 to 255 or -128 to 127. Sums of a part of the inputs, in any order, stay in the same range, because 0 is within
``low`` to ``high``.

The weights of a projection (:class:`arch.projection.Projection`) are weights of the same neuron over further spikes:
they count in P and N.

A neuron behind a current pooling of k x k positions sees k^2 such currents in one sum, and its range is k^2 times as
wide. Every partial sum stays in it; where the receptive fields of a window overlap, whole sums may not reach its ends.

The membrane's range follows the update over all T timesteps. It is exact, reached by some sequence of currents in
their range, for soft and hard reset without leak and for the constant current of a pixel layer; with leak over spikes,
and for pixel layers of millions of inputs, it is an interval that contains every reachable membrane.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from arch.network import (
    Convolution,
    Encoding,
    Input,
    Network,
    NetworkError,
    Neurons,
    OrPool,
    Readout,
    Reset,
    filters_of,
    shortcut_of,
)

__all__ = ["MAX_MEMBRANE_BITS", "ChannelRange", "LayerWidths", "Range", "channel_currents",
           "input_range", "layer_widths", "membrane_range", "spike_range"]

#: Widest membrane, or comparison of a membrane, that the reference computes, in bits.
MAX_MEMBRANE_BITS = 62
#: Most currents of a pixel layer's channel that are tried one by one.
_MAX_CURRENTS = 2**22


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Integers from ``low`` to ``high``, both included."""

    #: Smallest value.
    low: int
    #: Largest value.
    high: int

    @property
    def bits(self) -> int:
        """Width of a signed (two's complement) register for the range and zero, in bits, at least 1."""
        return max(max(self.high, 0).bit_length(), max(-self.low - 1, 0).bit_length()) + 1


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ChannelRange:
    """A range per output channel."""

    #: Smallest values, ``int64[channels]``.
    low: npt.NDArray[np.int64]
    #: Largest values, ``int64[channels]``.
    high: npt.NDArray[np.int64]

    @property
    def total(self) -> Range:
        """The smallest range that contains all channels."""
        return Range(int(self.low.min()), int(self.high.max()))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerWidths:
    """Ranges of everything that a layer with weights computes."""

    #: Values of one input: spikes, summed spikes or pixels.
    input: Range
    #: Current of one timestep, summed over the window of a pooling, and every partial sum of it.
    current: Range
    #: Current shifted left by the fraction.
    shifted: Range | None
    #: Membrane: initial, after leak, after the addition, after the reset. None for a readout.
    membrane: Range | None
    #: Membrane after the addition minus the threshold: not negative where it spikes. None for a readout.
    difference: Range | None
    #: Stored thresholds, biases, initial membranes. None for a readout.
    threshold: Range | None
    bias: Range | None
    initial: Range | None
    #: Currents summed over 1 to T timesteps, and every partial sum of them. None but for a readout.
    score: Range | None


def input_range(source: Input) -> Range:
    """Values that one input of the first layer takes."""
    if source.encoding is Encoding.EVENTS:
        return Range(0, 1)
    return Range(-source.zero_point, 255 - source.zero_point)


def spike_range(*, summed: bool) -> Range:
    """Values that one input of a later layer takes; ``summed``: a shortcut adds a second spike."""
    return Range(0, 2 if summed else 1)


def channel_currents(weights: npt.NDArray[np.int8], inputs: Range, *, pool: int = 1) -> ChannelRange:
    """Range of the current of each output channel; channels are the first axis of ``weights``.

    Exact for a neuron that sees all inputs; one at a padded border sees fewer and stays in the range, as 0 is in it.
    Currents are sums over ``pool x pool`` positions.
    """
    flat = weights.reshape(len(weights), -1)
    plus = np.count_nonzero(flat > 0, axis=1).astype(np.int64)
    minus = np.count_nonzero(flat < 0, axis=1).astype(np.int64)
    plus, minus = plus * pool**2, minus * pool**2
    return ChannelRange(plus * inputs.low - minus * inputs.high, plus * inputs.high - minus * inputs.low)


def membrane_range(neurons: Neurons, currents: ChannelRange, timesteps: int, *,
                   constant: bool = False) -> tuple[ChannelRange, ChannelRange]:
    """Ranges of the membrane, and of the membrane minus the threshold, over ``timesteps`` for any input.

    Parameters
    ----------
    neurons : the neurons
    currents : range of the current per channel, one timestep
    timesteps : int
    constant : bool
        The current is the same in every timestep, as in a pixel layer; the range is much smaller then.

    Raises
    ------
    :exc:`NetworkError`
        If a membrane may need more than :data:`MAX_MEMBRANE_BITS` bits.
    """
    # Bound first, in Python integers, what the arrays below can hold.
    largest = max(abs(int(currents.low.min())), abs(int(currents.high.max()))) << neurons.fraction
    step = largest + int(np.abs(neurons.bias).max())
    bound = int(np.abs(neurons.initial).max()) + timesteps * step + int(neurons.threshold.max())
    if bound.bit_length() >= MAX_MEMBRANE_BITS:
        raise NetworkError(f"membrane must fit in {MAX_MEMBRANE_BITS} bits, and may need {bound.bit_length() + 1}")
    if constant and int((currents.high - currents.low).max()) < _MAX_CURRENTS:
        return _constant_range(neurons, currents, timesteps)
    if neurons.leak_shift is None and not constant:
        return _exact_range(neurons, currents, timesteps)
    return _interval_range(neurons, currents, timesteps)


def _constant_range(neurons: Neurons, currents: ChannelRange, timesteps: int) -> tuple[ChannelRange, ChannelRange]:
    """Run every current that occurs."""
    lows, highs = neurons.initial.copy(), neurons.initial.copy()
    pre_lows, pre_highs = np.empty_like(lows), np.empty_like(lows)
    for channel in range(neurons.channels):
        current = np.arange(currents.low[channel], currents.high[channel] + 1, dtype=np.int64) << neurons.fraction
        threshold = neurons.threshold[channel]
        v = np.full_like(current, neurons.initial[channel])
        seen, compared = [v], []
        for _ in range(timesteps):
            if neurons.leak_shift is not None:
                v = v - (v >> neurons.leak_shift)
                seen.append(v)
            v = v + (current + neurons.bias[channel])
            compared.append(v)
            v = np.where(v >= threshold, v - threshold if neurons.reset is Reset.SUBTRACT else 0, v)
            seen.append(v)
        pre_lows[channel], pre_highs[channel] = min(map(np.min, compared)), max(map(np.max, compared))
        lows[channel], highs[channel] = min(map(np.min, seen + compared)), max(map(np.max, seen + compared))
    return ChannelRange(lows, highs), ChannelRange(pre_lows - neurons.threshold, pre_highs - neurons.threshold)


def _exact_range(neurons: Neurons, currents: ChannelRange, timesteps: int) -> tuple[ChannelRange, ChannelRange]:
    """Follow the sets of reachable membranes of every channel."""
    ranges = np.array([
        _reachable(int(threshold), int(bias), int(initial), int(low), int(high), neurons.fraction, timesteps,
                   neurons.reset)
        for threshold, bias, initial, low, high in zip(
            neurons.threshold, neurons.bias, neurons.initial, currents.low, currents.high, strict=True)], np.int64)
    lows, highs, pre_lows, pre_highs = ranges.T
    return (ChannelRange(lows, highs), ChannelRange(pre_lows - neurons.threshold, pre_highs - neurons.threshold))


# An export asks for the widths of the same network more than once: when it was made, packed and read again.
@functools.lru_cache(maxsize=1 << 16)
def _reachable(threshold: int, bias: int, initial: int, current_low: int, current_high: int, fraction: int,
               timesteps: int, reset: Reset) -> tuple[int, int, int, int]:
    """Lowest and highest membrane of a channel, then the same before a reset.

    The set of membranes that can be reached is a few runs of integers ``1 << fraction`` apart.
    """
    step = 1 << fraction
    down, up = current_low * step + bias, current_high * step + bias
    low = high = initial
    pre_low = pre_high = initial + down
    # Runs by their residue modulo the step: [first, last], both of that residue.
    runs: dict[int, list[tuple[int, int]]] = {initial % step: [(initial, initial)]}
    for _ in range(timesteps):
        following: dict[int, list[tuple[int, int]]] = {}
        for members in runs.values():
            for first, last in members:
                bottom, top = first + down, last + up
                pre_low, pre_high = min(pre_low, bottom), max(pre_high, top)
                # Largest member below the threshold, and smallest one at or above it.
                below = bottom + (threshold - 1 - bottom) // step * step
                if bottom <= below:
                    following.setdefault(bottom % step, []).append((bottom, min(below, top)))
                reached = max(bottom, below + step)
                if reached <= top:
                    if reset is Reset.ZERO:
                        following.setdefault(0, []).append((0, 0))
                    else:
                        following.setdefault((reached - threshold) % step, []).append(
                            (reached - threshold, top - threshold))
        runs = {residue: _merge(members, step) for residue, members in following.items()}
        for members in runs.values():
            low, high = min(low, members[0][0]), max(high, members[-1][1])
    return min(low, pre_low), max(high, pre_high), pre_low, pre_high


def _merge(runs: list[tuple[int, int]], step: int) -> list[tuple[int, int]]:
    """Merge runs of one residue that overlap or touch."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + step:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged


def _interval_range(neurons: Neurons, currents: ChannelRange, timesteps: int) -> tuple[ChannelRange, ChannelRange]:
    """Follow one interval per channel: it contains all reachable membranes, also with leak, which keeps order."""
    threshold = neurons.threshold
    low, high = neurons.initial, neurons.initial
    seen, compared = [(low, high)], []
    for _ in range(timesteps):
        if neurons.leak_shift is not None:
            low, high = low - (low >> neurons.leak_shift), high - (high >> neurons.leak_shift)
            seen.append((low, high))
        low = low + (currents.low << neurons.fraction) + neurons.bias
        high = high + (currents.high << neurons.fraction) + neurons.bias
        compared.append((low, high))
        some_silent, some_fire = low < threshold, high >= threshold
        if neurons.reset is Reset.ZERO:
            reset_low = reset_high = np.zeros_like(low)
        else:
            reset_low, reset_high = np.maximum(low, threshold) - threshold, high - threshold
        silent_high = np.minimum(high, threshold - 1)
        low, high = (np.where(some_silent, np.where(some_fire, np.minimum(low, reset_low), low), reset_low),
                     np.where(some_fire, np.where(some_silent, np.maximum(silent_high, reset_high), reset_high), high))
        seen.append((low, high))
    lows, highs = zip(*(seen + compared), strict=True)
    pre_lows, pre_highs = zip(*compared, strict=True)
    return (ChannelRange(np.min(lows, axis=0), np.max(highs, axis=0)),
            ChannelRange(np.min(pre_lows, axis=0) - threshold, np.max(pre_highs, axis=0) - threshold))


def layer_widths(network: Network) -> Iterator[LayerWidths | None]:
    """Iterate over the layers' widths, in order; None for an OR-pool.

    Raises
    ------
    :exc:`NetworkError`
        If a membrane may need more than :data:`MAX_MEMBRANE_BITS` bits.
    """
    constant = network.input.encoding is Encoding.PIXELS
    for index, layer in enumerate(network.layers):
        if isinstance(layer, OrPool):
            yield None
            continue
        summed = shortcut_of(layer) is not None
        inputs = input_range(network.input) if index == 0 else spike_range(summed=summed)
        # A projection sees spikes, as the layers do that can have one: both are inputs of one range.
        channels = channel_currents(filters_of(layer), inputs,
                                    pool=layer.pool if isinstance(layer, Convolution) else 1)
        current = channels.total
        if isinstance(layer, Readout):
            score = Range(network.timesteps * current.low, network.timesteps * current.high)
            yield LayerWidths(input=inputs, current=current, shifted=None, membrane=None, difference=None,
                              threshold=None, bias=None, initial=None, score=score)
            return
        neurons = layer.neurons
        try:
            membrane, difference = membrane_range(neurons, channels, network.timesteps, constant=constant)
        except NetworkError as error:
            raise NetworkError(f"layer {index} ({layer.kind}): {error}") from None
        yield LayerWidths(
            input=inputs, current=current,
            shifted=Range(current.low << neurons.fraction, current.high << neurons.fraction),
            membrane=membrane.total, difference=difference.total,
            threshold=Range(int(neurons.threshold.min()), int(neurons.threshold.max())),
            bias=Range(int(neurons.bias.min()), int(neurons.bias.max())),
            initial=Range(int(neurons.initial.min()), int(neurons.initial.max())), score=None)
        constant = False
