"""What the block RAMs of an iCE40 design hold: found, read and replaced.

:func:`block_rams` reads them in the text of a routed design, as nextpnr writes it, and :func:`with_block_rams` writes
them there. :class:`MemoryMap` knows which bit of them is which of a memory, whatever text they come from.

A block RAM is 256 rows of 16 bits, which stand as 16 lines of 256 bits in the section ``.ram_data`` of its place. It
has four shapes (FPGA-TN-02002): 256 words of 16 bits, or 2, 4 or 8 words in a row. Yosys puts consecutive words into a
row, so a column of the rows is one bit of every word, or of every second, fourth or eighth. A memory is a set of
columns. Which column of which block RAM is which of a memory, synthesis, placement and routing have decided; it is
found by what the columns hold, if no two are the same.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from boards.families.family import BoardError, MemoryWords

__all__ = ["BITS", "ROWS", "SHAPES", "BlockRams", "MemoryMap", "block_rams", "with_block_rams"]

#: Rows of a block RAM, and bits of a row.
ROWS, BITS = 256, 16

#: Words in a row, by shape.
SHAPES = (1, 2, 4, 8)

#: A block RAM in a routed design: the coordinates, and the lines.
_BLOCK_RAM = re.compile(rb"^\.ram_data (\d+) (\d+)\n((?:[0-9a-f]{64}\n){16})", re.MULTILINE)

#: Bits of one block RAM: bool[ROWS, BITS].
_Bits = npt.NDArray[np.bool_]

#: Bits of the block RAMs of a design, by their names or places.
BlockRams = Mapping[str, _Bits]


def block_rams(routed: bytes) -> dict[str, _Bits]:
    """Read the block RAMs of a routed design; returns ``bool[ROWS, BITS]`` by coordinates."""
    found = {}
    for match in _BLOCK_RAM.finditer(routed):
        # The digits of a line begin with its highest bit.
        content = b"".join(bytes.fromhex(line.decode())[::-1] for line in match[3].split())
        found[_place(match)] = np.unpackbits(
            np.frombuffer(content, dtype=np.uint8), bitorder="little").astype(np.bool_).reshape(ROWS, BITS)
    return found


def with_block_rams(routed: bytes, rams: BlockRams) -> bytes:
    """Return a routed design whose block RAMs hold ``rams``, which has all of :func:`block_rams`."""
    return _BLOCK_RAM.sub(
        lambda match: b".ram_data %s %s\n%s" % (match[1], match[2], _lines(rams[_place(match)])), routed)


def _place(match: re.Match[bytes]) -> str:
    return f"{match[1].decode()} {match[2].decode()}"


def _lines(bits: _Bits) -> bytes:
    content = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    return b"".join(content[at : at + 32][::-1].hex().encode() + b"\n" for at in range(0, len(content), 32))


def _bits_of(memory: MemoryWords) -> _Bits:
    """Return the bits of the words of a memory, ``bool[words, width]``."""
    size = -(-memory.width // 8)
    content = b"".join(word.to_bytes(size, "little") for word in memory.words)
    bits = np.unpackbits(np.frombuffer(content, dtype=np.uint8).reshape(-1, size), axis=1, bitorder="little")
    return bits[:, :memory.width].astype(np.bool_)


def _columns(bits: _Bits, in_row: int) -> _Bits:
    """Cut a memory into columns: ``bool[block, words in a row, width, ROWS]``; rows that it has not are zero."""
    padded = np.pad(bits, ((0, -len(bits) % (ROWS * in_row)), (0, 0)))
    return padded.reshape(-1, ROWS, in_row, bits.shape[1]).transpose(0, 2, 3, 1)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a memory is."""

    name: str
    width: int
    depth: int
    #: Words in a row.
    in_row: int
    #: Block RAM and column there, of each column of the memory. The tools may make two of a memory with two readers.
    columns: list[list[tuple[str, int]]]


class MemoryMap:
    """Where the bits of memories are in the block RAMs of a design.

    Parameters
    ----------
    rams : :data:`BlockRams`
        The block RAMs of the design.
    marks : sequence of :class:`MemoryWords`
        What its memories hold: no two columns are the same, and none is zero.

    Raises
    ------
    :exc:`BoardError`
        If a column is in no block RAM, or a block RAM holds what is in no column: then the tools have made something
        else of a memory than block RAM, and what it holds cannot be replaced.
    """

    def __init__(self, rams: BlockRams, marks: Sequence[MemoryWords]):
        at: dict[bytes, list[tuple[str, int]]] = {}
        for place, bits in rams.items():
            for column in np.flatnonzero(bits.any(axis=0)):
                at.setdefault(bits[:, column].tobytes(), []).append((place, int(column)))
        self._places = [self._find(memory, at) for memory in marks]
        for (place, column), *_ in at.values():
            raise BoardError(f"column {column} of the block RAM at {place} must be one of "
                             f"{', '.join(memory.name for memory in marks)}, and is none: build it again")

    @staticmethod
    def _find(memory: MemoryWords, at: dict[bytes, list[tuple[str, int]]]) -> _Place:
        """Find a memory, and take its columns out of ``at``."""
        bits = _bits_of(memory)
        for in_row in SHAPES:
            keys = [column.tobytes() for column in _columns(bits, in_row).reshape(-1, ROWS)]
            if all(key in at for key in keys) and len(set(keys)) == len(keys):
                return _Place(name=memory.name, width=memory.width, depth=len(memory.words), in_row=in_row,
                              columns=[at.pop(key) for key in keys])
        raise BoardError(f"{memory.name} must be in block RAMs of the design, each bit of it, and is not: build "
                         f"it again")

    def write(self, rams: BlockRams, contents: Iterable[MemoryWords]) -> dict[str, _Bits]:
        """Return block RAMs that hold ``contents`` in place of what they hold in ``rams``."""
        written = {place: bits.copy() for place, bits in rams.items()}
        for memory, there in zip(contents, self._places, strict=True):
            assert memory.width == there.width, memory.name
            bits = _bits_of(memory)
            assert len(bits) <= there.depth, memory.name
            filled = np.pad(bits, ((0, there.depth - len(bits)), (0, 0)))
            columns = _columns(filled, there.in_row).reshape(-1, ROWS)
            for column, places in zip(columns, there.columns, strict=True):
                for place, number in places:
                    written[place][:, number] = column
        return written

    def read(self, rams: BlockRams) -> list[MemoryWords]:
        """Return what the memories hold in ``rams``, which are those of the design of this map with any contents.

        Raises
        ------
        :exc:`BoardError`
            If two block RAMs that are the same memory hold something else.
        """
        found = []
        for there in self._places:
            columns = []
            for places in there.columns:
                copies = [rams[place][:, number] for place, number in places]
                if any((copy != copies[0]).any() for copy in copies):
                    raise BoardError(f"{there.name} must hold the same in all of its block RAMs, and does not: make "
                                     f"the bitstream again")
                columns.append(copies[0])
            shaped = np.stack(columns).reshape(-1, there.in_row, there.width, ROWS)
            bits = shaped.transpose(0, 3, 1, 2).reshape(-1, there.width)[:there.depth]
            words = np.packbits(bits, axis=1, bitorder="little")
            found.append(MemoryWords(name=there.name, width=there.width,
                                     words=[int.from_bytes(word.tobytes(), "little") for word in words]))
        return found
