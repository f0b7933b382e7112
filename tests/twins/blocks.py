"""Software twins of single blocks of the gateware: what each must do, in plain integers, without clocks.

The twin of the whole engine is :mod:`reference.network`, that of the PIF unit :func:`reference.network.pif`; the clocks
are :mod:`gateware.mapper.cycles`. Nothing here looks at how a block works: the twin of the window writer starts from
the image and the kernel, not from the table of the writer.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from arch.images import image_bytes
from arch.network import Convolution
from gateware.engine.configuration import EngineConfig
from gateware.mapper.plan import Plan

__all__ = [
    "Ending", "Issue", "Write", "constant_words", "count_synapses", "image_clocks", "issues", "pack_weights",
    "pixel_planes", "result_words", "sums", "window_words", "writes",
]


class Ending(NamedTuple):
    """What the end of a sum means."""

    #: The sum is the first of its pooling window.
    window_first: bool
    #: The last.
    window_last: bool
    #: The last of its group of channels.
    group_last: bool


class Issue(NamedTuple):
    """One word that the sequencer asks for."""

    #: Stage of the plan.
    stage: int
    #: Word of the spike memory; meaningless for padding.
    address: int
    #: Row of the weight memory.
    row: int
    #: Padding.
    zero: bool
    #: Begins a sum.
    first: bool
    #: Ends it.
    last: bool
    #: What the end means; None where there is none.
    ending: Ending | None


class Write(NamedTuple):
    """One write of the spike collector."""

    #: Word of the spike memory.
    address: int
    #: Lanes that are written, one bit each.
    mask: int
    #: Spikes of these lanes, in ascending order, one integer of T bits each.
    spikes: tuple[int, ...]


def count_synapses(spikes: Sequence[int], weights: Sequence[int]) -> int:
    """Count as the dot product does: a synapse of weight +1 with a spike, one of weight -1 without."""
    return sum(spike if weight > 0 else 1 - spike if weight < 0 else 0
               for spike, weight in zip(spikes, weights, strict=True))


def sums(config: EngineConfig, words: Sequence[Sequence[Sequence[int]]], weights: Sequence[Sequence[Sequence[int]]],
         split: bool) -> list[list[int]]:
    """Sum the words of one sum: ``[neuron][timestep]``.

    Parameters
    ----------
    words : ``[word][synapse][timestep]``, spikes
    weights : ``[word][neuron][synapse]``
    split : keep the slices of a word apart, slice i worth ``2 ** (i * timesteps)``
    """
    result = [[0] * config.timesteps for _ in range(config.lanes)]
    for word, row in zip(words, weights, strict=True):
        for lane in range(config.lanes):
            for step in range(config.timesteps):
                spikes = [synapse[step] for synapse in word]
                for part in range(config.slices):
                    chosen = slice(part * config.slice_width, (part + 1) * config.slice_width)
                    count = count_synapses(spikes[chosen], row[lane][chosen])
                    result[lane][step] += count << (part * config.timesteps if split else 0)
    return [[total % (1 << config.accumulator_width) for total in neuron] for neuron in result]


def pack_weights(weights: Sequence[int]) -> int:
    """Pack weights as two bit-planes: those that are not zero, then those that are negative."""
    return sum((weight != 0) << index | (weight < 0) << len(weights) + index for index, weight in enumerate(weights))


def pixel_planes(config: EngineConfig, pixels: Sequence[int]) -> list[list[int]]:
    """Spread up to ``slice_width`` pixels over a word, ``[lane][timestep]``."""
    word = [[0] * config.timesteps for _ in range(config.width)]
    for index, pixel in enumerate(pixels):
        for bit in range(config.slices * config.timesteps):
            word[bit // config.timesteps * config.slice_width + index][bit % config.timesteps] = pixel >> bit & 1
    return word


def constant_words(config: EngineConfig, first: int, bias: int, threshold: int) -> int:
    """Pack the constants of a neuron into a word of the constant memory."""
    size = 1 << config.membrane_width
    return sum(value % size << index * config.membrane_width for index, value in enumerate((first, bias, threshold)))


def image_clocks(plan: Plan) -> int:
    """Bound the clocks in which the windows of an image are written, without stalls: some per window and value."""
    layer, source = plan.stages[0].layer, plan.network.input
    turns = -(-layer.kernel // layer.stride) if isinstance(layer, Convolution) else 1
    return source.channels * source.height * source.width * (2 * turns * turns + 2) + 100


def window_words(plan: Plan, image: npt.NDArray[Any], buffer: int) -> dict[int, list[int]]:
    """Pack the windows of the first layer: words by address, ``[lane]`` integers of T bits."""
    config, network, stage = plan.config, plan.network, plan.stages[0]
    values = np.frombuffer(image_bytes(network, image), np.uint8).reshape(
        network.input.height, network.input.width, network.input.channels)
    if isinstance(stage.layer, Convolution):
        kernel, stride, pad = stage.layer.kernel, stage.layer.stride, stage.layer.padding
        values = np.pad(values, ((pad, pad), (pad, pad), (0, 0)), constant_values=network.input.zero_point)
        _, rows, columns = stage.computed
        windows = [values[y * stride:y * stride + kernel, x * stride:x * stride + kernel].reshape(-1)
                   for y in range(rows) for x in range(columns)]
    else:
        windows = [values.reshape(-1)]
    length = -(-len(windows[0]) // config.slice_width)
    words: dict[int, list[int]] = {}
    for number, window in enumerate(windows):
        # What is beyond the kernel keeps the padding value.
        filled = [int(value) for value in window] + [network.input.zero_point] * (
            length * config.slice_width - len(window))
        for index in range(length):
            planes = pixel_planes(config, filled[index * config.slice_width:(index + 1) * config.slice_width])
            address = buffer * (config.spike_words // 2) + number * length + index
            words[address] = [sum(bit << step for step, bit in enumerate(lane)) for lane in planes]
    return words


def issues(plan: Plan, buffer: int) -> Iterator[Issue]:
    """Iterate over the words that the sequencer asks for, in order."""
    for number, stage in enumerate(plan.stages):
        at = stage.placement
        _, rows, columns = stage.target
        pool = stage.pool
        source = at.source + (buffer * (plan.config.spike_words // 2) if number == 0 else 0)
        for group, y, x, down, across in itertools.product(
                range(at.groups), range(rows), range(columns), range(pool), range(pool)):
            ending = Ending(window_first=(down, across) == (0, 0), window_last=(down, across) == (pool - 1, pool - 1),
                            group_last=(y, x, down, across) == (rows - 1, columns - 1, pool - 1, pool - 1))
            yield from _sum(plan, number, source, y * pool + down, x * pool + across, group, ending)


def _sum(plan: Plan, number: int, source: int, y: int, x: int, group: int, ending: Ending) -> Iterator[Issue]:
    """Iterate over the words of one sum: rows of the kernel, positions of a row, words of a position."""
    stage = plan.stages[number]
    at = stage.placement
    width = at.row_words // at.words
    height = stage.computed[1] if number == 0 else stage.source[1]
    whole = number > 0 and not isinstance(stage.layer, Convolution)
    if whole:
        height, width, columns = 1, 1, 1
        words = at.run
    else:
        words, columns = at.words, at.run // at.words
    index = 0
    for row in range(at.kernel):
        for column in range(columns):
            top, left = y * at.stride - at.padding + row, x * at.stride - at.padding + column
            for word in range(words):
                last = index == at.sum_words - 1
                yield Issue(stage=number, address=source + (top * width + left) * words + word,
                            row=at.row + group * at.sum_words + index,
                            zero=not (0 <= top < height and 0 <= left < width),
                            first=index == 0, last=last, ending=ending if last else None)
                index += 1


def writes(config: EngineConfig, *, address: int, groups: int, windows: int, spikes: Sequence[Sequence[int]],
           ) -> Iterator[Write]:
    """Iterate over the writes of a layer.

    Parameters
    ----------
    address : of the map's first word
    groups : of output channels
    windows : positions of the pooling window
    spikes : ``[sum][neuron]``, integers of T bits, in the sequencer's order
    """
    positions = len(spikes) // (groups * windows)
    for start in range(0, len(spikes), windows):
        pooled = np.bitwise_or.reduce(np.array(spikes[start:start + windows]), axis=0)
        group, position = divmod(start // windows, positions)
        word, slot = divmod(group, config.slots)
        yield Write(address=address + position * -(-groups // config.slots) + word,
                    mask=((1 << config.lanes) - 1) << slot * config.lanes,
                    spikes=tuple(int(value) for value in pooled))


def result_words(scores: Sequence[int], cycles: int, stalls: int, flash_stalls: int = 0) -> list[int]:
    """Make the words of a result: class, cycles, stall cycles, cycles that waited for the flash, scores."""
    return [list(scores).index(max(scores)), cycles, stalls, flash_stalls, *(score % 2**32 for score in scores)]
