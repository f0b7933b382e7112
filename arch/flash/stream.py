"""The stream of a model: what the circuit reads from flash, in one go, for each inference.

A *section* for each layer, in the order in which they are computed::

    program | group | ... | group | CRC-32

* The program: 32 entries of 8 bytes, of which the circuit uses the first six.
* A group is what P output channels need: the constants of P neurons, 8 bytes each, and the rows of weights, packed by
  :mod:`arch.flash.trits`. The tail of a row says what follows it, so nothing in the stream counts rows or groups.
* The CRC-32 of all bytes of the section before it.

All integers are little-endian. :class:`Section` has the contents of one; :func:`pack_stream` and :func:`unpack_stream`
are each other's inverse, and each stream has one encoding.
"""

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from arch.flash.circuit import Circuit
from arch.flash.errors import ImageError
from arch.flash.header import check_crc, crc_bytes
from arch.flash.trits import TAIL_DIGITS, decoding, pack_rows, row_bytes, unpack_rows

__all__ = ["CONSTANT_BYTES", "CRC_BYTES", "ENTRY_BITS", "ENTRY_BYTES", "PROGRAM_BYTES", "PROGRAM_ENTRIES",
           "Follows", "Section", "boundaries", "pack_stream", "unpack_stream"]

#: Entries of the program of a layer.
PROGRAM_ENTRIES = 32
#: Bytes of an entry, and the bits of them that are used.
ENTRY_BYTES, ENTRY_BITS = 8, 48
#: Bytes of a program.
PROGRAM_BYTES = PROGRAM_ENTRIES * ENTRY_BYTES
#: Bytes of the constants of a neuron.
CONSTANT_BYTES = 8
#: Bytes of a CRC.
CRC_BYTES = 4


class Follows(enum.IntEnum):
    """What follows a row: the last digit of its tail."""

    #: Another row of the group.
    ROW = 0
    #: Another group of the section.
    GROUP = 1
    #: The CRC: the section ends. The other digit of the tail is 1 if the stream ends as well, and 0 in all other rows.
    CRC = -1


#: Rows that are looked at in one go for the end of their group, at first.
_FIRST_ROWS = 64


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Section:
    """What the circuit needs to compute one layer."""

    #: Entries of the program, at most 32, each less than 2^48; those left out are 0.
    program: Sequence[int]
    #: Constants of the neurons, ``uint64[groups, lanes]``, in the form of the circuit's constants.
    constants: npt.NDArray[np.uint64]
    #: Weights, -1, 0 or +1: ``int8[groups, rows, lanes, width]``.
    weights: npt.NDArray[np.int8]

    def __post_init__(self) -> None:
        if len(self.program) > PROGRAM_ENTRIES:
            raise ImageError(f"program must have at most {PROGRAM_ENTRIES} entries, not {len(self.program)}")
        for number, entry in enumerate(self.program):
            if not 0 <= entry < 1 << ENTRY_BITS:
                raise ImageError(f"entry {number} of the program must be 0 to 2^{ENTRY_BITS} - 1, not {entry!r}")
        if self.weights.ndim != 4 or self.weights.dtype != np.int8 or 0 in self.weights.shape:
            raise ImageError("weights must be int8[groups, rows, lanes, width], "
                             f"not {self.weights.dtype}{list(self.weights.shape)}")
        expected = (self.weights.shape[0], self.weights.shape[2])
        if self.constants.shape != expected or self.constants.dtype != np.uint64:
            raise ImageError(f"constants must be uint64{list(expected)}, "
                             f"not {self.constants.dtype}{list(self.constants.shape)}")

    @property
    def groups(self) -> int:
        """Groups of output channels."""
        return self.weights.shape[0]

    @property
    def rows(self) -> int:
        """Rows of weights of each group."""
        return self.weights.shape[1]

    def byte_count(self) -> int:
        """Count the bytes of the section in the stream."""
        _, rows, lanes, width = self.weights.shape
        return (PROGRAM_BYTES + self.groups * (lanes * CONSTANT_BYTES + rows * row_bytes(lanes, width))
                + CRC_BYTES)


def _check_constants(constants: npt.NDArray[np.uint64], circuit: Circuit) -> None:
    wrong = np.argwhere(constants >> np.uint64(3 * circuit.membrane_width) != 0)
    if len(wrong):
        group, lane = (int(index) for index in wrong[0])
        raise ImageError(f"constants of group {group}, lane {lane} must be less than "
                         f"2^{3 * circuit.membrane_width}, not {int(constants[group, lane]):#x}")


def _pack_section(section: Section, circuit: Circuit, last: bool) -> bytes:
    groups, rows, lanes, width = section.weights.shape
    if (lanes, width) != (circuit.lanes, circuit.width):
        raise ImageError(f"rows must be {circuit.lanes} x {circuit.width} weights, not {lanes} x {width}")
    _check_constants(section.constants, circuit)
    tails = np.zeros((groups, rows, TAIL_DIGITS), dtype=np.int8)
    tails[:, -1, 1] = Follows.GROUP
    tails[-1, -1] = last, Follows.CRC
    packed = pack_rows(section.weights.reshape(groups * rows, lanes, width), tails.reshape(-1, TAIL_DIGITS))
    constants = section.constants.astype("<u8").view(np.uint8).reshape(groups, lanes * CONSTANT_BYTES)
    program = b"".join(entry.to_bytes(ENTRY_BYTES, "little") for entry in section.program)
    content = program.ljust(PROGRAM_BYTES, b"\0") + np.hstack([constants, packed.reshape(groups, -1)]).tobytes()
    return content + crc_bytes(content)


def pack_stream(sections: Sequence[Section], circuit: Circuit) -> bytes:
    """Make the stream of a model for ``circuit``.

    Raises
    ------
    :exc:`ImageError`
        If there is no section, or one is not for this circuit; the message names it.
    """
    if not sections:
        raise ImageError("stream must have a section or more, not 0")
    packed = []
    for number, section in enumerate(sections):
        try:
            packed.append(_pack_section(section, circuit, last=number + 1 == len(sections)))
        except ImageError as error:
            raise ImageError(f"section {number}: {error}") from None
    return b"".join(packed)


class _Reader:
    """Takes a stream apart, and says where it ends too early. ``offset`` is where the stream begins, for messages."""

    def __init__(self, data: bytes, circuit: Circuit, offset: int) -> None:
        self.data = np.frombuffer(data, dtype=np.uint8)
        self.circuit = circuit
        self.offset = offset
        #: Bytes taken.
        self.taken = 0

    @property
    def place(self) -> int:
        """Where the next byte is, for messages."""
        return self.offset + self.taken

    def take(self, count: int, what: str) -> npt.NDArray[np.uint8]:
        found = self.data[self.taken : self.taken + count]
        if len(found) < count:
            raise ImageError(f"{what} at {self.place:#x} must have {count} bytes, not {len(found)}: "
                             "the image is truncated")
        self.taken += count
        return found

    def take_rows(self, group: int) -> npt.NDArray[np.uint8]:
        """Take the rows of a group, up to the one whose tail ends it: ``uint8[rows, bytes]``."""
        size = row_bytes(self.circuit.lanes, self.circuit.width)
        count, look = 0, _FIRST_ROWS
        while True:
            begin = self.taken + count * size
            tails = decoding()[self.data[begin + size - 1 : begin + look * size : size], -1]
            ends = np.flatnonzero(tails != Follows.ROW)
            if len(ends):
                return self.take((count + int(ends[0]) + 1) * size, f"rows of group {group}").reshape(-1, size)
            if len(tails) < look:
                raise ImageError(f"rows of group {group} at {self.place:#x} must end with a tail that says so, "
                                 f"not with the stream at {self.offset + len(self.data):#x}: the image is truncated")
            count += look
            look *= 2


def _unpack_section(reader: _Reader) -> tuple[Section, bool]:
    """Take a section, and say whether it is the last: find its end by the tails, check the CRC, then decode."""
    circuit, begin = reader.circuit, reader.taken
    program = reader.take(PROGRAM_BYTES, "program").view("<u8")
    constants: list[npt.NDArray[np.uint8]] = []
    packed: list[tuple[int, npt.NDArray[np.uint8]]] = []
    follows = Follows.GROUP
    while follows == Follows.GROUP:
        group = len(packed)
        constants.append(reader.take(circuit.lanes * CONSTANT_BYTES, f"constants of group {group}"))
        packed.append((reader.place, reader.take_rows(group)))
        follows = Follows(int(decoding()[packed[-1][1][-1, -1], -1]))
    content, place = reader.data[begin : reader.taken].tobytes(), reader.place
    check_crc(content, reader.take(CRC_BYTES, "CRC-32").tobytes(), offset=place)
    count = len(packed[0][1])
    weights, last = [], np.zeros(0, dtype=np.int8)
    for group, (place, rows) in enumerate(packed):
        if len(rows) != count:
            raise ImageError(f"group {group} at {place:#x} must have {count} rows, not {len(rows)}")
        of_group, tails = unpack_rows(rows, circuit.lanes, circuit.width, offset=place)
        weights.append(of_group)
        last = np.append(last, tails[:, 0])
    # Only the last row of a section may say that the stream ends.
    wrong = np.flatnonzero(last != [*[0] * (len(last) - 1), last[-1] == 1])
    if len(wrong):
        group, row = divmod(int(wrong[0]), count)
        raise ImageError(f"row {row} of group {group} must not say that the stream ends")
    section = Section(program=tuple(int(entry) for entry in program),
                      constants=np.stack(constants).view("<u8").astype(np.uint64), weights=np.stack(weights))
    _check_constants(section.constants, circuit)
    return section, bool(last[-1])


def unpack_stream(data: bytes, circuit: Circuit, *, offset: int = 0) -> list[Section]:
    """Take a stream apart and check every byte; ``offset`` is where it begins, for messages.

    Raises
    ------
    :exc:`ImageError`
        If it is not what :func:`pack_stream` makes for ``circuit``.
    """
    reader = _Reader(data, circuit, offset)
    sections: list[Section] = []
    last = False
    while not last:
        try:
            section, last = _unpack_section(reader)
        except ImageError as error:
            raise ImageError(f"section {len(sections)}: {error}") from None
        sections.append(section)
    if reader.taken != len(data):
        raise ImageError(f"stream must end at {reader.place:#x}, behind its last section, "
                         f"not at {offset + len(data):#x}")
    return sections


def boundaries(sections: Sequence[Section]) -> list[int]:
    """Where the sections end, in bytes from the beginning of their stream."""
    ends = np.cumsum([section.byte_count() for section in sections])
    return [int(end) for end in ends]
