import itertools
import re
import time

import numpy as np
import pytest

from arch.flash import trits
from arch.flash.errors import ImageError

GEOMETRIES = [(8, 16), (2, 4), (4, 4), (4, 8), (8, 8), (8, 32), (16, 16)]


def random_rows(lanes, width, rows=50, seed=3):
    return np.random.default_rng(seed).integers(-1, 2, (rows, lanes, width), dtype=np.int8)


def digits_by_the_book(code):
    """The table of the Khronos Data Format Specification 1.3, section 23.12, bit by bit."""
    bit = [code >> index & 1 for index in range(8)]
    if bit[2] & bit[3] & bit[4]:
        c = [bit[0], bit[1], bit[5], bit[6], bit[7]]
        t4 = t3 = 2
    else:
        c = bit[:5]
        if bit[5] & bit[6]:
            t4, t3 = 2, bit[7]
        else:
            t4, t3 = bit[7], 2 * bit[6] + bit[5]
    if c[0] & c[1]:
        t2, t1, t0 = 2, c[4], 2 * c[3] + (c[2] & ~c[3])
    elif c[2] & c[3]:
        t2, t1, t0 = 2, 2, 2 * c[1] + c[0]
    else:
        t2, t1, t0 = c[4], 2 * c[3] + c[2], 2 * c[1] + (c[0] & ~c[1])
    return t0, t1, t2, t3, t4


def test_digits_are_those_of_astc():
    assert [trits.digits_of(code) for code in range(256)] == [digits_by_the_book(code) for code in range(256)]


def test_every_five_weights_have_the_smallest_code_that_means_them():
    codes = trits.encoding()
    for weights in itertools.product((0, 1, -1), repeat=5):
        code = int(codes[sum(weight * 3**place for place, weight in enumerate(weights)) % 256])
        digits = tuple(weight % 3 for weight in weights)
        assert code == min(other for other in range(256) if trits.digits_of(other) == digits)


def test_thirteen_bytes_are_spare():
    assert trits.spare_bytes() == {code for code in range(256) if code & 31 == 0x0F} | {0x7F, 0xFC, 0xFD, 0xFE, 0xFF}


@pytest.mark.parametrize(("lanes", "width"), GEOMETRIES)
def test_rows_come_back(lanes, width):
    ones = np.ones((1, lanes, width), np.int8)
    for weights in (random_rows(lanes, width), ones, -ones, ones[:0]):
        packed = trits.pack_rows(weights)
        assert packed.shape == (len(weights), trits.row_bytes(lanes, width))
        assert not np.isin(packed, list(trits.spare_bytes())).any()
        found, tails = trits.unpack_rows(packed, lanes, width)
        assert (found == weights).all()
        assert (tails == 0).all()


@pytest.mark.parametrize(("lanes", "width"), GEOMETRIES)
def test_tails_come_back_and_change_only_the_last_two_bytes(lanes, width):
    weights = random_rows(lanes, width)
    tails = np.random.default_rng(5).integers(-1, 2, (len(weights), 2), dtype=np.int8)
    packed = trits.pack_rows(weights, tails)
    assert (packed[:, :-2] == trits.pack_rows(weights)[:, :-2]).all()
    for row, tail in zip(packed, tails, strict=True):
        assert [trits.digits_of(byte)[4] for byte in row[-2:]] == [digit % 3 for digit in tail]
    found, again = trits.unpack_rows(packed, lanes, width)
    assert (found == weights).all()
    assert (again == tails).all()


def test_bytes_of_a_row_are_where_the_layout_says():
    """At P = 8, W = 16: byte (set i, position p) has weight p of banks 5 i to 5 i + 4; two bytes for bank 15."""
    weights = random_rows(8, 16)
    flat = weights.reshape(len(weights), 128)
    for row, packed in zip(flat, trits.pack_rows(weights), strict=True):
        for index in range(24):
            banks = range(index // 8 * 5, index // 8 * 5 + 5)
            assert trits.digits_of(packed[index]) == tuple(row[8 * bank + index % 8] % 3 for bank in banks)
        for half in range(2):
            assert trits.digits_of(packed[24 + half]) == (*(row[120 + 4 * half + j] % 3 for j in range(4)), 0)


def test_fifteen_million_weights_take_less_than_two_seconds():
    weights = random_rows(8, 16, rows=117_188)
    begin = time.process_time()
    packed = trits.pack_rows(weights)
    assert time.process_time() - begin < 2
    assert packed.nbytes * 8 / weights.size == 1.625


@pytest.mark.parametrize("value", [2, -2, 127, -128])
def test_other_weights_are_refused(value):
    weights = random_rows(8, 16)
    weights[7, 2, 11] = value
    message = f"weight of row 7, lane 2, synapse 11 must be -1, 0 or +1, not {value}"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        trits.pack_rows(weights)


def test_weights_of_another_type_are_refused():
    with pytest.raises(ImageError, match=r"^weights must be int8, not int64$"):
        trits.pack_rows(np.full((1, 8, 16), 256, np.int64))


@pytest.mark.parametrize(("lanes", "width"), [(1, 4), (5, 8)])
def test_rows_of_other_sizes_are_refused(lanes, width):
    message = f"row must be a power of two of weights, 8 or more, not {lanes} lanes of {width}"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        trits.pack_rows(np.zeros((1, lanes, width), np.int8))


def test_rows_of_too_few_bytes_are_refused():
    message = "row of 8 x 16 weights must have 26 bytes, not 25"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        trits.unpack_rows(np.zeros((2, 25), np.uint8), 8, 16)


@pytest.mark.parametrize("code", sorted(trits.spare_bytes()))
def test_spare_bytes_are_refused(code):
    packed = trits.pack_rows(random_rows(8, 16))
    packed[3, 5] = code
    message = f"byte at {100 + 3 * 26 + 5:#x} must be the code of 5 weights, not {code:#04x}"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        trits.unpack_rows(packed, 8, 16, offset=100)


def test_a_fifth_weight_where_a_byte_has_four_is_refused():
    """At 8 x 32 a row ends with four bytes of four weights, and only the last two have a tail."""
    packed = trits.pack_rows(random_rows(8, 32))
    packed[1, 49] = code = int(trits.encoding()[81])
    message = f"byte at {52 + 49:#x} must be the code of 4 weights, not {code:#04x}"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        trits.unpack_rows(packed, 8, 32)
