"""Software twins of the blocks that only a streamed circuit has: what each must do, in integers, without clocks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateware.engine.configuration import EngineConfig

__all__ = ["RowWrite", "Segment", "Summed", "image_writes", "partial_sums", "row_weights", "row_writes"]


class Segment(NamedTuple):
    """What the array sums of a segment, and what the segment is for."""

    #: ``[lane][timestep]``.
    sums: Sequence[Sequence[int]]
    #: Flags of ``ending_layout``; those left out are 0.
    ending: Mapping[str, int]


class Summed(NamedTuple):
    """A neuron whose sum is complete."""

    lane: int
    #: One per timestep.
    sums: tuple[int, ...]
    ending: Mapping[str, int]


def partial_sums(config: EngineConfig, segments: Iterable[Segment], *, planes: bool) -> Iterator[Summed]:
    """Add segments, each in the slot that the flags before it say."""
    kept: dict[tuple[int, int], list[int]] = {}
    slot = 0
    for segment in segments:
        flags = segment.ending
        for lane, values in enumerate(segment.sums):
            added = list(values)
            if planes:
                total = sum(value << step for step, value in enumerate(values))
                added = [total << config.timesteps if flags.get("scaled") else total] * config.timesteps
            before = [0] * config.timesteps if flags.get("opens") else kept[slot, lane]
            kept[slot, lane] = [old + new for old, new in zip(before, added, strict=True)]
            assert max(kept[slot, lane]) < 1 << config.partial_width
            if flags.get("closes"):
                yield Summed(lane, tuple(kept[slot, lane]), flags)
        if flags.get("sum_end"):
            slot = 0 if flags.get("part_end") else (slot + 1) % config.partial_slots


class RowWrite(NamedTuple):
    """One write into the ring of weights, from one byte of the stream."""

    row: int
    #: Weights of each bank that is written to take, one bit each.
    mask: dict[int, int]
    #: Eight weights for each of these banks.
    weights: dict[int, list[int]]


def row_writes(config: EngineConfig, row: int, weights: Sequence[int]) -> Iterator[RowWrite]:
    """Iterate over the writes of a row in the order of the stream; ``weights`` are lane by lane.

    Five banks at a time get one weight each, at every place; of the banks that are left, each gets four at a time.
    """
    count = len(weights) // 8
    left = count // 5 * 5
    for start in range(0, left, 5):
        for place in range(8):
            banks = range(start, start + 5)
            yield RowWrite(row, dict.fromkeys(banks, 1 << place),
                           {bank: [weights[8 * bank + place]] * 8 for bank in banks})
    for bank in range(left, count):
        for half in range(2):
            yield RowWrite(row, {bank: 15 << 4 * half}, {bank: list(weights[8 * bank + 4 * half:][:4]) * 2})


def row_weights(config: EngineConfig, weights: Sequence[int]) -> list[list[int]]:
    """Give each lane its weights of a row."""
    return [list(weights[lane * config.width:][:config.width]) for lane in range(config.lanes)]


def image_writes(config: EngineConfig, *, channels: int, slices: int, plane_words: int, base: int,
                 image: Sequence[int]) -> dict[tuple[int, int], int]:
    """Make the map of an image whose bytes come in row, column, channel order: T bits by word and lane."""
    words = -(-channels // config.width)
    bits = {}
    for index, byte in enumerate(image):
        position, channel = divmod(index, channels)
        word, lane = divmod(channel, config.width)
        for part in range(slices):
            bits[base + part * plane_words + position * words + word, lane] = (
                byte >> part * config.timesteps & (1 << config.timesteps) - 1)
    return bits
