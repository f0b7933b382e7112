"""Where the cells of a placed design are: what a picture of the chip is drawn of."""

import dataclasses

__all__ = ["Cell", "Placement"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A cell in its place."""

    #: Place of its tile, from the left and from below, and number of the cell in it.
    column: int
    row: int
    index: int
    #: Name of the net that it drives, with the path of the block that the net belongs to.
    net: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """The cells of a design whose place is known."""

    #: Tiles of the device.
    columns: int
    rows: int
    #: Logic cells of a tile.
    cells_per_tile: int
    #: Logic cells; and block RAMs, each with the lower of its two tiles.
    logic: tuple[Cell, ...]
    block_rams: tuple[Cell, ...]
