"""The 2-bit weight code, used by export, simulation, gateware and host."""

import enum
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["Ternary", "pack", "pack_array", "unpack", "unpack_array"]


class Ternary(enum.IntEnum):
    """One synaptic weight: the 2-bit two's complement of its value; ``0b10`` (-2) is reserved."""

    ZERO = 0b00
    PLUS = 0b01
    MINUS = 0b11


_WEIGHT_OF = {Ternary.ZERO: 0, Ternary.PLUS: 1, Ternary.MINUS: -1}
_CODE_OF = {weight: code for code, weight in _WEIGHT_OF.items()}


def pack(weights: Iterable[int]) -> int:
    """Pack weights into one word, first weight in the least significant bits.

    >>> f"{pack([1, 0, -1, 1]):08b}"
    '01110001'

    Raises
    ------
    :exc:`ValueError`
        If a weight is not -1, 0 or +1.
    """
    word = 0
    for index, weight in enumerate(weights):
        if weight not in _CODE_OF:
            raise ValueError(f"weight {index} must be -1, 0 or +1, not {weight!r}")
        word |= _CODE_OF[weight] << (2 * index)
    return word


def unpack(word: int, count: int) -> list[int]:
    """Recover ``count`` weights; the inverse of :func:`pack`.

    Raises
    ------
    :exc:`ValueError`
        If a weight has the reserved code, or the word has bits beyond the last weight.
    """
    if not 0 <= word < 1 << (2 * count):
        raise ValueError(f"word must be {2 * count} bits for {count} weights, not {word:#x}")
    codes = [(word >> (2 * index)) & 0b11 for index in range(count)]
    if 0b10 in codes:
        raise ValueError(f"weight {codes.index(0b10)} must not have the reserved code 0b10")
    return [_WEIGHT_OF[Ternary(code)] for code in codes]


def pack_array(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Pack ``weights``, flattened in C order, four to a byte, the first in the least significant bits.

    The last byte is filled up with zeros: ``uint8[ceil(weights.size / 4)]``.

    Raises
    ------
    :exc:`ValueError`
        If a weight is not -1, 0 or +1.
    """
    flat = np.asarray(weights).reshape(-1)
    wrong = (flat < -1) | (flat > 1)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f"weight {first} must be -1, 0 or +1, not {flat[first]}")
    codes = np.zeros(-(-flat.size // 4) * 4, dtype=np.uint8)
    codes[:flat.size] = flat.astype(np.int8).view(np.uint8) & 0b11
    fours = codes.reshape(-1, 4)
    packed: npt.NDArray[np.uint8] = fours[:, 0] | fours[:, 1] << np.uint8(2) | fours[:, 2] << np.uint8(4)
    return packed | fours[:, 3] << np.uint8(6)


def unpack_array(packed: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.int8]:
    """Recover ``count`` weights, ``int8[count]``; the inverse of :func:`pack_array`.

    Raises
    ------
    :exc:`ValueError`
        If the number of bytes is not that of ``count`` weights, a weight has the reserved code, or the bits beyond
        the last weight are not zero.
    """
    if packed.shape != (-(-count // 4),):
        raise ValueError(f"{count} weights must be packed in {-(-count // 4)} bytes, not {packed.size}")
    weights = _UNPACKED[packed].reshape(-1)
    if weights[count:].any():
        raise ValueError(f"bits beyond weight {count - 1} must be zero")
    if _RESERVED[packed].any():
        first = int(np.argmax(weights == _RESERVED_WEIGHT))
        raise ValueError(f"weight {first} must not have the reserved code 0b10")
    return weights[:count]


def _unpacked() -> npt.NDArray[np.int8]:
    """Return the four weights of each byte, ``int8[256, 4]``; the reserved code is that of -2."""
    codes = np.arange(256, dtype=np.uint8)[:, None] >> np.array([0, 2, 4, 6], dtype=np.uint8) & 0b11
    weights: npt.NDArray[np.int8] = (codes ^ 0b10).astype(np.int8) - 2
    return weights


_UNPACKED = _unpacked()
_RESERVED_WEIGHT = -2
#: Bytes with a reserved code, ``bool[256]``.
_RESERVED = (_UNPACKED == _RESERVED_WEIGHT).any(axis=1)
