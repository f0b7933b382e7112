"""The memories of a circuit that hold the network, and marks: distinct contents by which their bits are found.

A design is placed with marks in its memories. Where a mark is in the block RAMs of the layout, there belongs the bit of
the network's contents that has its place.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence

from arch.link import INFO_BYTES
from boards.families.family import MemoryWords
from gateware.engine.configuration import EngineConfig
from gateware.engine.contents import MemoryContents
from gateware.engine.program import PIXEL_ENTRIES, layer_entries, pixel_width, program_width
from gateware.source import Marked

__all__ = ["marked", "marks_of", "words_of"]

#: Rows of a block RAM, words in a row, and fewest rows that are told apart by one of their bits
#: (:meth:`boards.families.family.Family.fill`).
_ROWS, _IN_ROW, _LEAST_ROWS = 256, (1, 2, 4, 8), 16


def _sizes(config: EngineConfig) -> Iterator[tuple[str, int, int]]:
    """Yield name, bits of a word and words of the memories that hold the network, in the order of all functions here.

    Of the memory of the host link, this is the info block; what follows is written by the circuit.
    """
    for lane in range(config.lanes):
        yield f"weights of lane {lane}", 2 * config.width, config.weight_rows
    yield "constants", 3 * config.membrane_width, config.constant_rows
    yield "program", program_width(config), config.layers * layer_entries(config)
    yield "pixel table", pixel_width(config), PIXEL_ENTRIES
    yield "info block", 8, INFO_BYTES


def _parts(bit: int, depth: int) -> list[int]:
    """Cut one bit of all words of a memory into what block RAMs may have in a column, whatever their shape.

    That is the bit of up to 256 words, or of every second, fourth or eighth of 512, 1,024 or 2,048 words. Parts that
    are too short to be told apart are left out: no tool puts so few words into block RAMs of such a shape.
    """
    parts = []
    for in_row in _IN_ROW:
        if depth >= _LEAST_ROWS * in_row:
            for begin in range(0, depth, _ROWS * in_row):
                words = range(begin, min(depth, begin + _ROWS * in_row))
                parts += [sum((bit >> word & 1) << row for row, word in enumerate(words[first::in_row]))
                          for first in range(in_row)]
    return parts


def _bit(name: str, number: int, depth: int, taken: set[int]) -> int:
    """Draw one bit of all words, the same whenever and wherever it is drawn, none of whose parts is zero or taken."""
    for attempt in itertools.count():
        drawn = hashlib.shake_256(f"{name} {number} {attempt}".encode()).digest(-(-depth // 8))
        bit = int.from_bytes(drawn, "little") % (1 << depth)
        parts = _parts(bit, depth)
        if all(parts) and len(set(parts)) == len(parts) and taken.isdisjoint(parts):
            taken.update(parts)
            return bit
    raise AssertionError


def marks_of(config: EngineConfig) -> list[MemoryWords]:
    """Make the marks of a circuit: contents that tell of each bit which it is."""
    taken: set[int] = set()
    memories = []
    for name, width, depth in _sizes(config):
        bits = [_bit(name, number, depth, taken) for number in range(width)]
        memories.append(MemoryWords(name=name, width=width, words=[
            sum((bit >> word & 1) << number for number, bit in enumerate(bits)) for word in range(depth)]))
    return memories


def words_of(config: EngineConfig, contents: MemoryContents, info_block: bytes) -> list[MemoryWords]:
    """Return what the memories of a circuit hold for a network, memory by memory as :func:`marks_of` does."""
    words: list[Sequence[int]] = [*contents.weights, contents.constants, contents.program, contents.pixels,
                                  list(info_block)]
    return [MemoryWords(name=name, width=width, words=held)
            for (name, width, _), held in zip(_sizes(config), words, strict=True)]


def marked(config: EngineConfig, *, image_bytes: int, result_words: int) -> Marked:
    """Return the source of a design that is to be filled; the sizes are those of an image and of a result."""
    *weights, constants, program, pixels, info = (memory.words for memory in marks_of(config))
    return Marked(
        contents=MemoryContents(weights=weights, constants=constants, program=program, pixels=pixels),
        info_block=bytes(info), image_bytes=image_bytes, result_words=result_words)
