"""Where cells are: read from a layout, and the numbers of wires against Project IceStorm's own."""

import re

import pytest

from boards.families import ice40_bitstream
from boards.families.ice40_placement import CELLS, first_wires, read_placement


def number(kind, column, row):
    """Number of the first wire of a tile."""
    return next(first for first, at in first_wires()[kind].items() if at == (column, row))


def layout(*lines, device="5k"):
    return "\n".join([".comment from next-pnr", f".device {device}", ".logic_tile 1 1", "0000", *lines, ""])


def test_a_net_is_where_the_cell_is_that_drives_it():
    first, last = number("logic", 1, 1), number("logic", 24, 30) + 7
    found = read_placement(layout(f".sym {first} system.a.x[0]", f".sym {first + 9} no.cell", f".sym {last} y",
                                  ".sym broken z", ".sym 12"))
    assert [(cell.column, cell.row, cell.index, cell.net) for cell in found.logic] == [
        (1, 1, 0, "system.a.x[0]"), (24, 30, 7, "y")]
    assert found.block_rams == ()
    assert (found.columns, found.rows, found.cells_per_tile) == (26, 32, 8)


def test_a_block_ram_is_two_tiles_and_counted_once():
    below, above = number("block_ram", 6, 3), number("block_ram", 6, 4)
    found = read_placement(layout(f".sym {above + 2} upper", f".sym {below} lower", f".sym {below + 1} lower"))
    assert [(cell.column, cell.row, cell.net) for cell in found.block_rams] == [(6, 3, "upper")]


def test_another_device_is_not_guessed():
    assert read_placement(layout(".sym 101 x", device="8k")) is None


def test_tiles_do_not_share_wires():
    taken = [first + index for tiles in first_wires().values() for first in tiles for index in range(CELLS)]
    assert len(taken) == len(set(taken)) == (22 * 30 + 2 * 30) * CELLS


@pytest.mark.long
def test_numbers_are_those_of_icestorm():
    try:
        icebox = ice40_bitstream.find_icebox()
    except ice40_bitstream.ToolMissingError as error:
        pytest.skip(str(error))
    chip = icebox.iceconfig()
    chip.setup_empty_5k()
    tiles = {(x, y) for x in range(chip.max_x + 1) for y in range(chip.max_y + 1) if chip.tile(x, y) is not None}
    wires = {"logic": {}, "block_ram": {}}
    for index, segments in enumerate(sorted(chip.group_segments(tiles, connect_gb=False))):
        for x, y, name in segments:
            if found := re.fullmatch(r"lutff_(\d)/out", name):
                wires["logic"][index] = (x, y, int(found[1]))
            elif re.fullmatch(r"ram/RDATA_\d+", name):
                wires["block_ram"][index] = (x, y)
    assert wires["logic"] == {first + cell: (*at, cell) for first, at in first_wires()["logic"].items()
                              for cell in range(CELLS)}
    assert wires["block_ram"] == {first + bit: at for first, at in first_wires()["block_ram"].items()
                                  for bit in range(CELLS)}
