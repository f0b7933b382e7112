"""The loader of streams and the selector of models in plain Python: what they do with each byte, without clocks."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from arch.flash.circuit import Circuit
from arch.flash.trits import BANK_WEIGHTS, SET_BANKS, digits_of, row_bytes

__all__ = ["EntryWrite", "RowWrite", "StreamTwin", "choose", "row_write_of", "row_writes"]


class EntryWrite(NamedTuple):
    """A byte of an entry of 64 bits."""

    #: "program" or "constants".
    memory: str
    #: Place of the entry in the stream, from 0, never modulo the size of the ring.
    entry: int
    #: Byte of the entry.
    byte: int
    value: int


class RowWrite(NamedTuple):
    """Weights of a row."""

    #: Place of the row in the stream.
    row: int
    #: Digit of each weight that is written, by its place in the row.
    digits: dict[int, int]


def row_write_of(row: int, banks: int, mask: int, weights: int) -> RowWrite:
    """Say what a ring of weights makes of its inputs: banks of eight weights, and a bit and a 2-bit code for each."""
    return RowWrite(row, {place: {0b00: 0, 0b01: 1, 0b11: 2}[weights >> 2 * place & 0b11]
                          for place in range(mask.bit_length()) if banks >> place // 8 & 1 and mask >> place & 1})


def row_writes(circuit: Circuit, row: int, place: int, byte: int) -> RowWrite:
    """Say what byte ``place`` of a row writes."""
    digits = digits_of(byte)
    sets, rest = divmod(circuit.lanes * circuit.width // BANK_WEIGHTS, SET_BANKS)
    if place < sets * BANK_WEIGHTS:
        first = place // BANK_WEIGHTS * SET_BANKS
        return RowWrite(row, {(first + index) * BANK_WEIGHTS + place % BANK_WEIGHTS: digit
                              for index, digit in enumerate(digits)})
    bank, half = divmod(place - sets * BANK_WEIGHTS, 2)
    assert bank < rest
    first = (sets * SET_BANKS + bank) * BANK_WEIGHTS + half * 4
    return RowWrite(row, {first + index: digit for index, digit in enumerate(digits[:4])})


class StreamTwin:
    """What :class:`gateware.flash.loader.StreamLoader` does with the bytes of a stream.

    Events: an :class:`EntryWrite` or :class:`RowWrite` for each byte that is written, and ``"layer"``, ``"group"``,
    ``"row"``, ``"complete"`` or ``"damaged"``, of which ``"group"`` says that its constants are written.
    """

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self.layers = self.groups = self.rows = 0

    def read(self, stream: bytes) -> Iterator[EntryWrite | RowWrite | str]:
        """Take one stream; ends behind its last section, a damaged one too."""
        self._at, self._stream = 0, stream
        final = False
        while not final:
            begin = self._at
            for place in range(256):
                yield EntryWrite("program", 32 * self.layers + place // 8, place % 8, self._byte())
            self.layers += 1
            yield "layer"
            follows = 1
            while follows == 1:
                first = self.circuit.lanes * self.groups
                for place in range(8 * self.circuit.lanes):
                    yield EntryWrite("constants", first + place // 8, place % 8, self._byte())
                self.groups += 1
                yield "group"
                follows = 0
                while not follows:
                    size = row_bytes(self.circuit.lanes, self.circuit.width)
                    packed = [self._byte() for _ in range(size)]
                    for place, byte in enumerate(packed):
                        yield row_writes(self.circuit, self.rows, place, byte)
                    self.rows += 1
                    final, follows = digits_of(packed[-2])[4] != 0, digits_of(packed[-1])[4]
                    if follows != 2:
                        yield "row"
            content = self._stream[begin : self._at]
            if bytes(self._byte() for _ in range(4)) == zlib.crc32(content).to_bytes(4, "little"):
                yield "row"
            else:
                yield "damaged"
                return
        yield "complete"

    def _byte(self) -> int:
        self._at += 1
        return self._stream[self._at - 1]


def choose(circuit: Circuit, number: int, header: bytes) -> int:
    """Say what comes of the choice of a model: 0 or the error code of the link.

    ``header`` is what is read of it: its first 252 bytes, then the CRC that is in the seal of the stream.
    """
    signature = circuit.to_bytes()
    if number >= 16 or header[:4] != signature[:4]:
        return 6
    if header[:16] != signature:
        return 7
    return 0 if zlib.crc32(header[:252]).to_bytes(4, "little") == header[252:256] else 8
