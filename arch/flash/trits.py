"""Ternary weights in flash: five to a byte.

A *trit* is the digit of a weight: 0 for 0, 1 for +1, 2 for -1. Five of them have 243 values, which fit in a byte. The
code is that of trits in the bounded integer sequences of ASTC (Khronos Data Format Specification 1.3, section 23.12),
because a decoder for it is 15 LUTs. 13 of the 256 bytes stand for digits that a smaller byte stands for as well; they
are *spare*: nothing is stored as one of them.

The weights of a row are taken eight at a time, in the order lane, synapse: a *bank* of the circuit's weight memory
holds eight. Five banks are a *set*, and byte p of the eight bytes of a set has weight p of its five banks, so that each
byte writes two bits of each of five banks. The banks that are left after the last set, one or more because 2^n is no
multiple of five, have two bytes each: four weights per byte. The fifth digit of these bytes is 0, but for the last two
bytes of a row: there it belongs to the *tail*, by which :mod:`arch.flash.stream` says what follows the row.
"""

import functools

import numpy as np
import numpy.typing as npt

from arch.flash.errors import ImageError

__all__ = ["BANK_WEIGHTS", "SET_BANKS", "TAIL_DIGITS", "decoding", "digits_of", "encoding", "pack_rows",
           "row_bytes", "spare_bytes", "unpack_rows"]

#: Weights of a row that one bank of the circuit's weight memory holds.
BANK_WEIGHTS = 8
#: Banks that one byte writes.
SET_BANKS = 5
#: Digits of a tail: the fifth ones of the last two bytes of a row.
TAIL_DIGITS = 2

#: What a digit is worth in the number by which five weights are looked up: balanced ternary, within +-121.
_POWERS = tuple(3**place for place in range(SET_BANKS))
#: Weight of each digit.
_WEIGHTS = (0, 1, -1)


def digits_of(code: int) -> tuple[int, int, int, int, int]:
    """Decode a byte into its five digits, the first one first."""
    low, high = code & 0b11111, code >> 5
    if low >> 2 == 0b111:
        fourth, fifth, low = 2, 2, high << 2 | low & 0b11
    elif high & 0b11 == 0b11:
        fourth, fifth = high >> 2, 2
    else:
        fourth, fifth = high & 0b11, high >> 2
    pair, top = low >> 2 & 0b11, low >> 4
    if low & 0b11 == 0b11:
        first, second, third = (2 if pair & 0b10 else pair & 1), top, 2
    elif pair == 0b11:
        first, second, third = low & 0b11, 2, 2
    else:
        first, second, third = low & 0b11, pair, top
    return first, second, third, fourth, fifth


@functools.cache
def decoding() -> npt.NDArray[np.int8]:
    """Make the table of five weights by bytes: ``int8[256, 5]``."""
    table = np.array([[_WEIGHTS[digit] for digit in digits_of(code)] for code in range(256)], dtype=np.int8)
    table.setflags(write=False)
    return table


@functools.cache
def encoding() -> npt.NDArray[np.uint8]:
    """Make the table of bytes by five weights: ``uint8[256]``.

    The index is the sum of weight i times 3^i, in two's complement. Of the bytes that stand for the same weights it is
    the smallest. Entries that no five weights have are 0.
    """
    numbers = (decoding() * np.array(_POWERS, dtype=np.int8)).sum(axis=1, dtype=np.int8).view(np.uint8)
    table = np.zeros(256, dtype=np.uint8)
    # The smallest code comes last and stays.
    table[numbers[::-1]] = np.arange(255, -1, -1, dtype=np.uint8)
    table.setflags(write=False)
    return table


@functools.cache
def spare_bytes() -> frozenset[int]:
    """Return the bytes that no weights are stored as."""
    return frozenset(range(256)) - {int(code) for code in encoding()}


def _split(lanes: int, width: int) -> tuple[int, int]:
    """Sets of banks of a row, and banks that are left."""
    count = lanes * width
    if count < BANK_WEIGHTS or count & (count - 1):
        raise ImageError(f"row must be a power of two of weights, {BANK_WEIGHTS} or more, not {lanes} lanes of {width}")
    return divmod(count // BANK_WEIGHTS, SET_BANKS)


def row_bytes(lanes: int, width: int) -> int:
    """Bytes of a row of ``lanes x width`` weights.

    >>> row_bytes(8, 16)
    26
    """
    sets, rest = _split(lanes, width)
    return BANK_WEIGHTS * sets + 2 * rest


def pack_rows(weights: npt.NDArray[np.int8], tails: npt.NDArray[np.int8] | None = None) -> npt.NDArray[np.uint8]:
    """Pack rows of weights into ``uint8[rows, row_bytes(lanes, width)]``.

    Parameters
    ----------
    weights
        -1, 0 or +1: ``int8[rows, lanes, width]``.
    tails
        Tails of the rows, -1, 0 or +1 as well: ``int8[rows, 2]``; 0 if left out.

    Raises
    ------
    :exc:`ImageError`
        If the weights are not int8 or one is not -1, 0 or +1, or a row is no power of two of them.
    """
    rows, lanes, width = weights.shape
    sets, rest = _split(lanes, width)
    if weights.dtype != np.int8:
        raise ImageError(f"weights must be int8, not {weights.dtype}")
    weights = np.ascontiguousarray(weights)
    if weights.size and not (-1 <= weights.min() and weights.max() <= 1):
        row, lane, synapse = (int(index) for index in np.argwhere(np.abs(weights.astype(np.int16)) > 1)[0])
        raise ImageError(f"weight of row {row}, lane {lane}, synapse {synapse} must be -1, 0 or +1, "
                         f"not {weights[row, lane, synapse]}")
    banks = weights.reshape(rows, SET_BANKS * sets + rest, BANK_WEIGHTS)
    grouped = banks[:, :sets * SET_BANKS].reshape(rows, sets, SET_BANKS, BANK_WEIGHTS)
    halves = banks[:, sets * SET_BANKS:].reshape(rows, 2 * rest, SET_BANKS - 1)
    # Within +-121, so eight bits hold every partial sum.
    numbers = np.zeros((rows, row_bytes(lanes, width)), dtype=np.int8)
    of_sets = np.zeros((rows, sets, BANK_WEIGHTS), dtype=np.int8)
    for place, power in enumerate(_POWERS):
        of_sets += grouped[:, :, place] * np.int8(power)
    numbers[:, :sets * BANK_WEIGHTS] = of_sets.reshape(rows, sets * BANK_WEIGHTS)
    for place, power in enumerate(_POWERS[:-1]):
        numbers[:, sets * BANK_WEIGHTS:] += halves[:, :, place] * np.int8(power)
    if tails is not None:
        numbers[:, -TAIL_DIGITS:] += tails * np.int8(_POWERS[-1])
    return encoding()[numbers.view(np.uint8)]


def unpack_rows(packed: npt.NDArray[np.uint8], lanes: int, width: int, *,
                offset: int = 0) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Recover weights and tails of rows: the inverse of :func:`pack_rows`.

    ``offset`` is where the rows begin, for messages.

    Raises
    ------
    :exc:`ImageError`
        If a byte is none that weights are stored as.
    """
    rows, found = packed.shape
    sets, rest = _split(lanes, width)
    if found != row_bytes(lanes, width):
        raise ImageError(f"row of {lanes} x {width} weights must have {row_bytes(lanes, width)} bytes, not {found}")
    weights = decoding()[packed]
    stored = np.zeros(256, dtype=bool)
    stored[encoding()] = True
    wrong = ~stored[packed]
    halves = weights[:, sets * BANK_WEIGHTS:]
    wrong[:, sets * BANK_WEIGHTS : -TAIL_DIGITS] |= halves[:, :-TAIL_DIGITS, -1] != 0
    if wrong.any():
        row, place = (int(index) for index in np.argwhere(wrong)[0])
        raise ImageError(f"byte at {offset + row * found + place:#x} must be the code of "
                         f"{SET_BANKS if place < sets * BANK_WEIGHTS else SET_BANKS - 1} weights, "
                         f"not {packed[row, place]:#04x}")
    result = np.empty((rows, lanes * width // BANK_WEIGHTS, BANK_WEIGHTS), dtype=np.int8)
    of_sets = weights[:, :sets * BANK_WEIGHTS].reshape(rows, sets, BANK_WEIGHTS, SET_BANKS)
    result[:, :sets * SET_BANKS] = of_sets.swapaxes(2, 3).reshape(rows, sets * SET_BANKS, BANK_WEIGHTS)
    result[:, sets * SET_BANKS:] = halves[:, :, :-1].reshape(rows, rest, BANK_WEIGHTS)
    return result.reshape(rows, lanes, width), halves[:, -TAIL_DIGITS:, -1]
