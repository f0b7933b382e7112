"""Faults of an image in flash, kind by kind, and what the circuit must make of each."""

import dataclasses
import enum
import random
from collections.abc import Callable, Iterator, Sequence

from arch.flash.header import BLOCK_BYTES, CRC_OFFSET, HEADER_BYTES, SEAL_BYTES, crc_bytes
from arch.flash.image import BASE, parse_image
from arch.flash.stream import (
    CONSTANT_BYTES,
    CRC_BYTES,
    ENTRY_BYTES,
    PROGRAM_BYTES,
    PROGRAM_ENTRIES,
    Section,
)
from arch.flash.trits import BANK_WEIGHTS, SET_BANKS, decoding, encoding, row_bytes
from arch.link import ErrorCode

__all__ = ["KINDS", "OTHER", "TWIN", "VICTIM", "Fault", "FaultyImage", "Outcome"]

#: Models of the image: the one in which faults are made, one of the same shape, and one that must stay right.
VICTIM, TWIN, OTHER = 0, 1, 2
SEED = 0xF1A


class Outcome(enum.Enum):
    """What the circuit makes of a fault."""

    #: SELECT is answered with this error, and so is every image.
    NO_MODEL    = ErrorCode.NO_MODEL
    WRONG_MODEL = ErrorCode.WRONG_MODEL
    DAMAGED     = ErrorCode.DAMAGED
    #: SELECT is answered with the info block, and each image with the error DAMAGED.
    STREAM      = enum.auto()
    #: The circuit does not use the byte: every result is right.
    RIGHT       = enum.auto()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What is wrong in an image."""

    #: What it is, for messages.
    name: str
    #: What is written over the image: offsets and bytes.
    patches: Sequence[tuple[int, bytes]]
    outcome: Outcome


class FaultyImage:
    """An image whose model :data:`VICTIM` gets faults.

    Parameters
    ----------
    image : :class:`bytes`
        The three models, none of them damaged.
    foreign : :class:`bytes`
        A model for another circuit, as an image.
    """

    def __init__(self, image: bytes, foreign: bytes):
        self.bytes   = image
        self.foreign = foreign
        self.models  = parse_image(image)
        self.circuit = self.models[VICTIM].header.circuit
        self.sections: Sequence[Section] = self.models[VICTIM].sections
        self.row_bytes = row_bytes(self.circuit.lanes, self.circuit.width)
        self.rng = random.Random(SEED)

    def stream(self, model: int) -> tuple[int, bytes]:
        """Where the stream of a model begins, and the stream."""
        header = self.models[model].header
        begin = header.address - BASE + SEAL_BYTES
        return begin, self.bytes[begin : begin + header.length]

    def section(self, number: int) -> int:
        """Where a section of the victim begins; -1 is the last one."""
        number %= len(self.sections)
        return self.stream(VICTIM)[0] + sum(section.byte_count() for section in self.sections[:number])

    def group(self, number: int, group: int) -> int:
        """Where a group of a section begins, with its constants."""
        return self.section(number) + PROGRAM_BYTES + group * (
            self.circuit.lanes * CONSTANT_BYTES + self.sections[number].rows * self.row_bytes)

    def row(self, number: int, group: int, row: int) -> int:
        """Where a row begins."""
        return self.group(number, group) + self.circuit.lanes * CONSTANT_BYTES + row * self.row_bytes

    def end(self, number: int) -> int:
        """Where the CRC of a section begins."""
        return self.group(number, self.sections[number].groups)

    def flip(self, place: int, bits: int | None = None) -> tuple[int, bytes]:
        """Flip ``bits`` of a byte; one or several by chance if they are not given."""
        if bits is None:
            bits = 1 << self.rng.randrange(8) if self.rng.random() < 0.7 else self.rng.randrange(1, 256)
        return place, bytes((self.bytes[place] ^ bits,))

    def with_crc(self, number: int, patches: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Add to patches of a section the CRC that makes it right."""
        start, end = self.section(number), self.end(number)
        content = bytearray(self.bytes[start:end])
        for place, data in patches:
            content[place - start : place - start + len(data)] = data
        return [*patches, (end, crc_bytes(content))]


#: Makes the faults of its kind.
Kind = Callable[[FaultyImage], Iterator[Fault]]
KINDS: dict[str, Kind] = {}


def _kind(kind: Kind) -> Kind:
    KINDS[kind.__name__] = kind
    return kind


#: Fields of a header: places, cases, and what a difference means.
_FIELDS = {
    "magic": (range(4), 4, Outcome.NO_MODEL),
    "version": (range(4, 5), 3, Outcome.WRONG_MODEL),
    "P": (range(5, 6), 1, Outcome.WRONG_MODEL),
    "W": (range(6, 7), 1, Outcome.WRONG_MODEL),
    "T": (range(7, 8), 1, Outcome.WRONG_MODEL),
    "membrane width": (range(8, 9), 1, Outcome.WRONG_MODEL),
    "fraction": (range(9, 10), 1, Outcome.WRONG_MODEL),
    "ring": (range(10, 11), 1, Outcome.WRONG_MODEL),
    "features": (range(11, 12), 2, Outcome.WRONG_MODEL),
    "blocks": (range(12, 13), 1, Outcome.WRONG_MODEL),
    "address bits": (range(13, 14), 1, Outcome.WRONG_MODEL),
    "fingerprint": (range(14, 16), 4, Outcome.WRONG_MODEL),
    "info block": (range(16, 48), 8, Outcome.DAMAGED),
    "name in it": (range(48, 80), 4, Outcome.DAMAGED),
    "hash": (range(80, 112), 4, Outcome.DAMAGED),
    "length": (range(112, 116), 4, Outcome.DAMAGED),
    "reserved": (range(116, 240), 4, Outcome.DAMAGED),
    "kept": (range(240, 248), 8, Outcome.DAMAGED),
    "reserved at the end": (range(248, 252), 2, Outcome.DAMAGED),
}


def _field_places(image: FaultyImage) -> Iterator[tuple[str, int, Outcome]]:
    for field, (places, cases, outcome) in _FIELDS.items():
        chosen = [*places, *image.rng.choices(places, k=cases)] if len(places) <= cases else image.rng.sample(
            places, cases)
        for place in chosen[:cases]:
            yield field, place, outcome


@_kind
def header_fields(image: FaultyImage) -> Iterator[Fault]:
    """Flip bits of every field."""
    for field, place, outcome in _field_places(image):
        yield Fault(name=f"{field}, byte {place}", patches=[image.flip(place)], outcome=outcome)


@_kind
def header_fields_with_their_crc(image: FaultyImage) -> Iterator[Fault]:
    """Flip bits of every field, and make the CRC of the header right: it is not the one in the seal."""
    for field, place, outcome in _field_places(image):
        header = bytearray(image.bytes[:CRC_OFFSET])
        header[place] = image.flip(place)[1][0]
        yield Fault(name=f"{field}, byte {place}", patches=[(0, bytes(header) + crc_bytes(header))], outcome=outcome)


@_kind
def headers_of_others(image: FaultyImage) -> Iterator[Fault]:
    """A whole header that is not that of the stream, or of the circuit, or none."""
    twin, foreign = image.bytes[HEADER_BYTES : 2 * HEADER_BYTES], image.foreign[:HEADER_BYTES]
    for name, data, outcome in (
            ("another circuit", foreign, Outcome.WRONG_MODEL),
            ("erased", b"\xff" * HEADER_BYTES, Outcome.NO_MODEL),
            ("zeros", bytes(HEADER_BYTES), Outcome.NO_MODEL),
            ("random", random.Random(SEED).randbytes(HEADER_BYTES), Outcome.NO_MODEL),
            ("cut in the signature", image.bytes[:10].ljust(HEADER_BYTES, b"\xff"), Outcome.WRONG_MODEL),
            ("cut behind the signature", image.bytes[:16].ljust(HEADER_BYTES, b"\xff"), Outcome.DAMAGED),
            ("cut before its CRC, which is not read", image.bytes[:CRC_OFFSET].ljust(HEADER_BYTES, b"\xff"),
             Outcome.RIGHT),
            ("begun by the twin's", twin[:100] + image.bytes[100:HEADER_BYTES], Outcome.DAMAGED)):
        yield Fault(name=name, patches=[(0, data)], outcome=outcome)


@_kind
def streams_of_others(image: FaultyImage) -> Iterator[Fault]:
    """The header of one model before the stream of another one, each of them right by itself."""
    mine = image.models[VICTIM].header
    for name, model in (("the twin's", TWIN), ("another model's", OTHER)):
        other = image.models[model].header
        begin, stream = image.stream(model)
        for what, header in ((f"the address of {name} stream", dataclasses.replace(mine, address=other.address)),
                             (f"{name} header", dataclasses.replace(other, address=mine.address))):
            yield Fault(name=what, patches=[(0, header.to_bytes())], outcome=Outcome.DAMAGED)
        yield Fault(name=f"{name} seal and stream", outcome=Outcome.DAMAGED,
                    patches=[(image.stream(VICTIM)[0] - SEAL_BYTES, image.bytes[begin - SEAL_BYTES : begin] + stream)])


@_kind
def seals(image: FaultyImage) -> Iterator[Fault]:
    """Flip bits of the CRC in the seal, and of bytes behind it; erase the seal."""
    begin = image.stream(VICTIM)[0] - SEAL_BYTES
    for byte in range(CRC_BYTES):
        yield Fault(name=f"byte {byte}", patches=[image.flip(begin + byte)], outcome=Outcome.DAMAGED)
    yield Fault(name="erased", patches=[(begin, b"\xff" * SEAL_BYTES)], outcome=Outcome.DAMAGED)
    for byte in (CRC_BYTES, SEAL_BYTES - 1):
        yield Fault(name=f"byte {byte}", patches=[image.flip(begin + byte)], outcome=Outcome.RIGHT)


@_kind
def programs(image: FaultyImage) -> Iterator[Fault]:
    """Flip bits of every entry of the first program and of the last one, used or not."""
    for number in (0, -1):
        for entry in range(PROGRAM_ENTRIES):
            place = image.section(number) + ENTRY_BYTES * entry + image.rng.randrange(ENTRY_BYTES)
            yield Fault(name=f"section {number}, entry {entry}", patches=[image.flip(place)], outcome=Outcome.STREAM)


@_kind
def loops_of_the_last_program(image: FaultyImage) -> Iterator[Fault]:
    """Flip each bit of the numbers of turns and of the mode: layers that end early, or never."""
    for entry in (10, 11, 14):
        for bit in range(48):
            place = image.section(-1) + ENTRY_BYTES * entry + bit // 8
            yield Fault(name=f"entry {entry}, bit {bit}", patches=[image.flip(place, 1 << bit % 8)],
                        outcome=Outcome.STREAM)


@_kind
def constants(image: FaultyImage) -> Iterator[Fault]:
    """Flip bits of each byte of a neuron's constants."""
    for number in (0, -1):
        for byte in range(CONSTANT_BYTES):
            group, lane = image.rng.randrange(image.sections[number].groups), image.rng.randrange(image.circuit.lanes)
            place = image.group(number, group) + CONSTANT_BYTES * lane + byte
            yield Fault(name=f"section {number}, byte {byte}", patches=[image.flip(place)], outcome=Outcome.STREAM)


def _rows(image: FaultyImage) -> Iterator[tuple[str, int]]:
    """Where rows are: the first, one in the middle, and the last of the first section and of the last one."""
    for number in (0, -1):
        section = image.sections[number]
        for name, group, row in (("first", 0, 0), ("middle", section.groups // 2, section.rows // 2),
                                 ("last", section.groups - 1, section.rows - 1)):
            yield f"section {number}, {name} row", image.row(number, group, row)


@_kind
def weights(image: FaultyImage) -> Iterator[Fault]:
    """Flip bits of a byte of each set of five banks, and of each bank that is left."""
    sets = image.circuit.lanes * image.circuit.width // BANK_WEIGHTS // SET_BANKS
    for name, row in _rows(image):
        for place in (*(BANK_WEIGHTS * index + image.rng.randrange(BANK_WEIGHTS) for index in range(sets)),
                      *range(BANK_WEIGHTS * sets, image.row_bytes)):
            yield Fault(name=f"{name}, byte {place}", patches=[image.flip(row + place)], outcome=Outcome.STREAM)


@_kind
def tails(image: FaultyImage) -> Iterator[Fault]:
    """Change a digit of a tail and nothing else: what follows a row, and whether the stream ends."""
    for name, row in _rows(image):
        for place in (image.row_bytes - 2, image.row_bytes - 1):
            digits = decoding()[image.bytes[row + place]]
            for tail in {-1, 0, 1} - {int(digits[-1])}:
                yield Fault(name=f"{name}, byte {place}, digit {tail}", outcome=Outcome.STREAM,
                            patches=[(row + place, _with_tail(digits, tail))])


def _with_tail(digits: Sequence[int], tail: int) -> bytes:
    """Encode four weights and a digit of a tail."""
    number = sum(int(digit) * 3**place for place, digit in enumerate((*digits[:-1], tail)))
    return bytes((int(encoding()[number % 256]),))


@_kind
def tails_with_their_crc(image: FaultyImage) -> Iterator[Fault]:
    """The flag of the last row is not set, or set too early; every CRC is right."""
    last = len(image.sections) - 1
    place = image.row(last, image.sections[last].groups - 1, image.sections[last].rows - 1) + image.row_bytes - 2
    digits = decoding()[image.bytes[place]]
    yield Fault(name="the stream does not end", outcome=Outcome.STREAM,
                patches=image.with_crc(last, [(place, _with_tail(digits, 0))]))
    place = image.row(0, image.sections[0].groups - 1, image.sections[0].rows - 1) + image.row_bytes - 2
    digits = decoding()[image.bytes[place]]
    yield Fault(name="the stream ends with its first section", outcome=Outcome.STREAM,
                patches=image.with_crc(0, [(place, _with_tail(digits, 1))]))


@_kind
def crcs(image: FaultyImage) -> Iterator[Fault]:
    """Flip bits of each byte of the CRC of each section; that of the header is not read there."""
    for byte in range(CRC_BYTES):
        yield Fault(name=f"header, byte {byte}", patches=[image.flip(CRC_OFFSET + byte)], outcome=Outcome.RIGHT)
    for number in range(len(image.sections)):
        for byte in range(CRC_BYTES):
            yield Fault(name=f"section {number}, byte {byte}", patches=[image.flip(image.end(number) + byte)],
                        outcome=Outcome.STREAM)


@_kind
def truncations(image: FaultyImage) -> Iterator[Fault]:
    """Cut the stream where something ends, a byte before or behind it, and anywhere: erased or zeros follow."""
    begin, stream = image.stream(VICTIM)
    ends: dict[str, int] = {}
    for number in range(len(image.sections)):
        ends |= {f"section {number}, its program": image.section(number) + PROGRAM_BYTES,
                 f"section {number}, constants": image.row(number, 0, 0),
                 f"section {number}, a row": image.row(number, 0, 1),
                 f"section {number}, a group": image.group(number, 1),
                 f"section {number}, rows": image.end(number),
                 f"section {number}": image.end(number) + CRC_BYTES}
    places = {f"{name} {distance:+}": end + distance for name, end in ends.items() for distance in (-1, 0, 1)}
    places |= {f"anywhere, {case}": begin + image.rng.randrange(len(stream)) for case in range(10)} | {"begin": begin}
    for name, place in places.items():
        lost = len(stream) - (place - begin)
        for filler in (b"\xff", b"\0") if name.endswith(("+0", "begin")) else (b"\xff",):
            if lost > 0 and stream[-lost:].strip(filler):
                yield Fault(name=f"{name}, then {filler.hex()}", patches=[(place, filler * lost)],
                            outcome=Outcome.STREAM)


@_kind
def foreign_streams(image: FaultyImage) -> Iterator[Fault]:
    """Bytes that are none of ours, or those of another circuit, where the stream should be."""
    begin, stream = image.stream(VICTIM)
    foreign = image.foreign[BLOCK_BYTES + SEAL_BYTES:]
    rng = random.Random(SEED)
    for name, data in (("zeros", bytes(len(stream))), ("erased", b"\xff" * len(stream)),
                       ("another circuit", (foreign * (len(stream) // len(foreign) + 1))[:len(stream)]),
                       *((f"random {case}", rng.randbytes(len(stream))) for case in range(4)),
                       *((f"bytes of one value {value:#04x}", bytes((value,)) * len(stream))
                         for value in (0x01, 0x55, 0x80, 0xAA))):
        yield Fault(name=name, patches=[(begin, data)], outcome=Outcome.STREAM)


@_kind
def bytes_that_are_not_read(image: FaultyImage) -> Iterator[Fault]:
    """Between streams, in other headers, behind the stream: the victim is right."""
    begin, stream = image.stream(VICTIM)
    for name, place in (("directory", 9 * HEADER_BYTES), ("gap", 5000), ("behind the stream", begin + len(stream))):
        yield Fault(name=name, patches=[(place, image.rng.randbytes(8))], outcome=Outcome.RIGHT)
