"""Routed designs of iCE40 as nextpnr would write them, made without it: memories in block RAMs, in any order."""

import random

from boards.families.ice40_memory import BITS, ROWS

#: Where a UP5K has block RAMs.
PLACES = [(x, y) for x in (6, 19) for y in range(1, 31, 2)]


def columns_of(memory, in_row):
    """Columns of a memory with so many words in a row: one bit each, as a number whose bit is the row."""
    for begin in range(0, len(memory.words), ROWS * in_row):
        for first in range(in_row):
            words = memory.words[begin : begin + ROWS * in_row][first::in_row]
            for bit in range(memory.width):
                yield sum((word >> bit & 1) << row for row, word in enumerate(words))


def routed(memories, *, seed, twice=(), in_row=None):
    """Put the columns of memories into block RAMs in an order that nobody knows; those of ``twice`` have two places.

    ``in_row`` says how many words of a memory are in a row, by its name: 1 if it does not.
    """
    generator = random.Random(seed)
    columns = []
    for memory in memories:
        columns += list(columns_of(memory, (in_row or {}).get(memory.name, 1))) * (2 if memory.name in twice else 1)
    columns += [0] * (-len(columns) % BITS)
    generator.shuffle(columns)
    places = generator.sample(PLACES, len(columns) // BITS)
    lines = [".comment made by a test", ".device 5k"]
    for number, (x, y) in enumerate(places):
        mine = columns[number * BITS : (number + 1) * BITS]
        bits = sum((column >> row & 1) << row * BITS + at for at, column in enumerate(mine) for row in range(ROWS))
        lines += [f".ram_data {x} {y}", *(f"{bits >> 256 * line & (1 << 256) - 1:064x}" for line in range(16)), ""]
    return "\n".join(lines).encode()
