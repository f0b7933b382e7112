"""Where the cells of a routed iCE40 design are, read from what place and route has written.

nextpnr writes a line ``.sym NUMBER NET`` into the layout (``.asc``) for every wire of the chip that a net uses, with
the number of Project IceStorm's database. The eight outputs of the logic cells of a tile have numbers in a row, and so
have eight bits that a block RAM reads. With the first number of every tile, the names of the nets therefore say which
cell drives which net, in a fraction of a second: nextpnr's own list of placed cells (``--write``) takes a quarter of an
hour.

A cell that drives no net, such as one of a carry chain whose sum nobody reads, is not among them.
"""

import functools
import json
import pathlib
from collections.abc import Iterator, Mapping

from boards.families.placement import Cell, Placement

__all__ = ["first_wires", "read_placement"]

_WIRES = pathlib.Path(__file__).with_name("ice40_up5k_wires.json")

#: What the layout calls the device of which the numbers are known.
_DEVICE = ".device 5k"

#: Logic cells of a tile, and bits that one of the two tiles of a block RAM reads.
CELLS = 8

#: Tiles of the device.
_COLUMNS, _ROWS = 26, 32


@functools.cache
def first_wires() -> Mapping[str, Mapping[int, tuple[int, int]]]:
    """Return column and row of the tile by the number of its first wire, for ``logic`` and ``block_ram``."""
    table = json.loads(_WIRES.read_bytes())
    return {kind: {number: (int(column), row) for column, numbers in table[kind].items()
                   for row, number in enumerate(numbers, 1)} for kind in ("logic", "block_ram")}


def _nets(layout: str) -> Iterator[tuple[int, str]]:
    """Yield number of the wire and name of the net."""
    for line in layout.splitlines():
        if line.startswith(".sym "):
            words = line.split(maxsplit=2)
            if len(words) == 3 and words[1].isdecimal():
                yield int(words[1]), words[2]


def read_placement(layout: str) -> Placement | None:
    """Read the layout of a routed design; None if it is of a device of which the numbers are not known.

    Parameters
    ----------
    layout : :class:`str`
        Content of the ``.asc``.
    """
    if _DEVICE not in layout[:200]:
        return None
    tiles = {kind: {first + index: (column, row, index) for first, (column, row) in firsts.items()
                    for index in range(CELLS)} for kind, firsts in first_wires().items()}
    cells: dict[str, list[Cell]] = {kind: [] for kind in tiles}
    seen: set[tuple[int, int]] = set()
    for number, net in _nets(layout):
        if number in tiles["logic"]:
            column, row, index = tiles["logic"][number]
            cells["logic"].append(Cell(column=column, row=row, index=index, net=net))
        elif number in tiles["block_ram"]:
            column, row, _ = tiles["block_ram"][number]
            # A block RAM is two tiles high, from an odd row on.
            at = column, row - 1 + row % 2
            if at not in seen:
                seen.add(at)
                cells["block_ram"].append(Cell(column=at[0], row=at[1], index=0, net=net))
    return Placement(columns=_COLUMNS, rows=_ROWS, cells_per_tile=CELLS, logic=tuple(cells["logic"]),
                     block_rams=tuple(cells["block_ram"]))
