import dataclasses
import random
import re
import time
import zlib

import numpy as np
import pytest

from arch.flash import stream
from arch.flash.errors import ImageError
from arch.flash.stream import Follows
from arch.flash.trits import decoding, encoding, pack_rows
from tests.flash_models import SMALL, circuit_of, random_section

SHAPES = [(1, 1), (3, 5), (2, 200)]


def sections_of(circuit, shapes=SHAPES, seed=9):
    rng = random.Random(seed)
    return [random_section(rng, circuit, *shape) for shape in shapes]


def same(left, right):
    return (tuple(left.program) == tuple(right.program) and np.array_equal(left.constants, right.constants)
            and np.array_equal(left.weights, right.weights))


@pytest.mark.parametrize("circuit", [circuit_of(), SMALL, circuit_of(4, 8), circuit_of(16, 32)], ids=str)
def test_a_stream_comes_back(circuit):
    sections = sections_of(circuit)
    found = stream.unpack_stream(stream.pack_stream(sections, circuit), circuit)
    assert len(found) == len(sections)
    assert all(map(same, found, sections))


def test_parts_are_where_the_docstring_says():
    circuit = circuit_of()
    sections = sections_of(circuit)
    data = stream.pack_stream(sections, circuit)
    ends = stream.boundaries(sections)
    assert ends[-1] == len(data)
    for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        section = sections[number]
        expected = b"".join(entry.to_bytes(8, "little") for entry in section.program)
        for group in range(section.groups):
            expected += b"".join(int(value).to_bytes(8, "little") for value in section.constants[group])
            tails = np.zeros((section.rows, 2), np.int8)
            final = group + 1 == section.groups
            tails[-1] = final and end == len(data), Follows.CRC if final else Follows.GROUP
            expected += pack_rows(section.weights[group], tails).tobytes()
        assert data[begin:end] == expected + zlib.crc32(expected).to_bytes(4, "little")
        assert len(data[begin:end]) == section.byte_count()


def test_short_programs_are_filled_up_with_zeros():
    section = dataclasses.replace(sections_of(SMALL)[0], program=(7,))
    found, = stream.unpack_stream(stream.pack_stream([section], SMALL), SMALL)
    assert found.program == (7, *[0] * 31)


def test_fifteen_million_weights_take_less_than_two_seconds():
    section, = sections_of(circuit_of(), [(64, 1832)])
    begin = time.process_time()
    data = stream.pack_stream([section], circuit_of())
    assert time.process_time() - begin < 2
    assert section.weights.size > 15e6
    assert len(stream.unpack_stream(data, circuit_of())) == 1


GOOD = sections_of(SMALL, [(2, 3)])[0]


@pytest.mark.parametrize(("changes", "message"), [
    ({"program": [0] * 33}, "program must have at most 32 entries, not 33"),
    ({"program": [0, -1]}, "entry 1 of the program must be 0 to 2^48 - 1, not -1"),
    ({"program": [1 << 48]}, f"entry 0 of the program must be 0 to 2^48 - 1, not {1 << 48}"),
    ({"weights": GOOD.weights[0]}, "weights must be int8[groups, rows, lanes, width], not int8[3, 2, 4]"),
    ({"weights": GOOD.weights.astype(int)},
     "weights must be int8[groups, rows, lanes, width], not int64[2, 3, 2, 4]"),
    ({"weights": GOOD.weights[:, :0]}, "weights must be int8[groups, rows, lanes, width], not int8[2, 0, 2, 4]"),
    ({"constants": GOOD.constants[:1]}, "constants must be uint64[2, 2], not uint64[1, 2]"),
    ({"constants": GOOD.constants.astype(np.int64)}, "constants must be uint64[2, 2], not int64[2, 2]"),
])
def test_impossible_sections_are_refused(changes, message):
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(GOOD, **changes)


@pytest.mark.parametrize(("sections", "circuit", "message"), [
    ([], SMALL, "stream must have a section or more, not 0"),
    ([GOOD, GOOD], circuit_of(4, 4), "section 0: rows must be 4 x 4 weights, not 2 x 4"),
    ([GOOD, dataclasses.replace(GOOD, constants=np.array([[1, 2], [3, 1 << 60]], np.uint64))], SMALL,
     "section 1: constants of group 1, lane 1 must be less than 2^60, not 0x1000000000000000"),
    ([dataclasses.replace(GOOD, weights=np.full((2, 3, 2, 4), 2, np.int8))], SMALL,
     "section 0: weight of row 0, lane 0, synapse 0 must be -1, 0 or +1, not 2"),
])
def test_sections_for_another_circuit_are_refused(sections, circuit, message):
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        stream.pack_stream(sections, circuit)


#: A stream of two sections of two groups of three rows, and where its parts are.
DATA = stream.pack_stream([GOOD, GOOD], SMALL)
SECTION = GOOD.byte_count()
ROWS, TAIL = 256 + 16, 256 + 16 + 5


def altered(place, value, *, right_crc=False, data=DATA):
    changed = bytearray(data)
    changed[place] = value
    if right_crc:
        begin = place // SECTION * SECTION
        content = bytes(changed[begin : begin + SECTION - 4])
        changed[begin + SECTION - 4 : begin + SECTION] = zlib.crc32(content).to_bytes(4, "little")
    return bytes(changed)


def with_tail(place):
    """The byte at ``place`` with 1 as its fifth digit."""
    weights = decoding()[DATA[place]]
    return int(encoding()[sum(int(weight) * 3**index for index, weight in enumerate((*weights[:4], 1))) % 256])


def crc_message(data, section):
    content, stored = data[:SECTION - 4], data[SECTION - 4 : SECTION]
    return (f"section {section}: CRC-32 at {0x40 + SECTION - 4:#x} must be {zlib.crc32(content):08x}, "
            f"not {int.from_bytes(stored, 'little'):08x}: make the image again with python -m export")


@pytest.mark.parametrize(("data", "message"), [
    (DATA[:100], "section 0: program at 0x40 must have 256 bytes, not 100: the image is truncated"),
    (DATA[:260], "section 0: constants of group 0 at 0x140 must have 16 bytes, not 4: the image is truncated"),
    (DATA[:ROWS], ("section 0: rows of group 0 at 0x150 must end with a tail that says so, "
                   "not with the stream at 0x150: the image is truncated")),
    (DATA[:TAIL], ("section 0: rows of group 0 at 0x150 must end with a tail that says so, "
                   "not with the stream at 0x155: the image is truncated")),
    (DATA[:SECTION - 1], (f"section 0: CRC-32 at {0x40 + SECTION - 4:#x} must have 4 bytes, not 3: "
                         "the image is truncated")),
    (DATA[:SECTION], f"section 1: program at {0x40 + SECTION:#x} must have 256 bytes, not 0: the image is truncated"),
    (DATA + b"\0", (f"stream must end at {0x40 + 2 * SECTION:#x}, behind its last section, "
                   f"not at {0x41 + 2 * SECTION:#x}")),
    (altered(3, DATA[3] ^ 1), crc_message(altered(3, DATA[3] ^ 1), 0)),
    (altered(SECTION - 1, DATA[SECTION - 1] ^ 1), crc_message(altered(SECTION - 1, DATA[SECTION - 1] ^ 1), 0)),
    (altered(6, 1, right_crc=True), (f"section 0: entry 0 of the program must be 0 to 2^48 - 1, "
                                    f"not {1 << 48 | GOOD.program[0]}")),
    (altered(263, 0x90, right_crc=True), ("section 0: constants of group 0, lane 0 must be less than 2^60, "
                                         f"not {0x90 << 56 | int(GOOD.constants[0, 0]) & (1 << 56) - 1:#x}")),
    (altered(ROWS, 0x7F, right_crc=True), "section 0: byte at 0x150 must be the code of 4 weights, not 0x7f"),
    # The first section claims to be the last one; then a row in the middle does.
    (altered(SECTION - 6, with_tail(SECTION - 6), right_crc=True),
     f"stream must end at {0x40 + SECTION:#x}, behind its last section, not at {0x40 + 2 * SECTION:#x}"),
    (altered(ROWS + 2, with_tail(ROWS + 2), right_crc=True),
     "section 0: row 1 of group 0 must not say that the stream ends"),
])
def test_damaged_streams_are_refused(data, message):
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        stream.unpack_stream(data, SMALL, offset=0x40)


def test_groups_of_different_rows_are_refused():
    content = bytes(256)
    for tails in ([[0, 0], [0, 0], [0, 1]], [[0, 0], [1, -1]]):
        content += bytes(16) + pack_rows(np.zeros((len(tails), 2, 4), np.int8), np.array(tails, np.int8)).tobytes()
    message = f"section 0: group 1 at {256 + 16 + 6 + 16:#x} must have 3 rows, not 2"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        stream.unpack_stream(content + zlib.crc32(content).to_bytes(4, "little"), SMALL)
