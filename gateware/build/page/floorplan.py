"""Which block of the circuit is where on the chip."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable

from boards import BOARDS, Board
from boards.families.placement import Cell, Placement
from gateware.build.page.naming import BLOCKS, OTHER, WHOLE_BLOCKS
from gateware.reports.archive import MAX_BYTES, unpack
from gateware.reports.folder import BASE
from gateware.reports.netlist import load_netlist
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from support.files import read_file

__all__ = ["Floorplan", "find_floorplan", "floorplan_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Floorplan:
    """The cells of a design by the block that they belong to."""

    placement: Placement
    #: Cells by block.
    logic: dict[str, list[Cell]]
    block_rams: dict[str, list[Cell]]

    @property
    def blocks(self) -> list[str]:
        """Names of the blocks, the largest first; a block RAM counts as many logic cells as its column has for one."""
        sizes = collections.Counter({block: len(cells) for block, cells in self.logic.items()})
        for block, cells in self.block_rams.items():
            sizes[block] += len(cells) * 2 * self.placement.cells_per_tile
        return sorted(sizes, key=lambda block: (block == OTHER, -sizes[block], block))


def _block(net: str, *, memory: bool) -> str:
    """Return the block that a net belongs to, by its path; a memory may be known by the name of what it reads."""
    words = [word.partition("$")[0].partition("[")[0] for word in net.split(".")]
    if memory and words[-1] == "weights":
        return BLOCKS["accelerator.weights"]
    if words[0] != "system" or len(words) < 3:
        return OTHER
    if words[1] in WHOLE_BLOCKS:
        return WHOLE_BLOCKS[words[1]]
    # What has no further name is a wire between blocks; the tools name cells after the wires that they drive.
    return BLOCKS.get(".".join(words[1:3]), OTHER) if memory or len(words) > 3 else OTHER


def _grouped(cells: tuple[Cell, ...], *, memory: bool) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = collections.defaultdict(list)
    for cell in cells:
        found[_block(cell.net, memory=memory)].append(cell)
    return dict(found)


def floorplan_of(placement: Placement) -> Floorplan:
    """Group the cells of a placed design by their blocks."""
    return Floorplan(placement=placement, logic=_grouped(placement.logic, memory=False),
                     block_rams=_grouped(placement.block_rams, memory=True))


def _of_base(folder: pathlib.Path, report: Report, board: Board) -> Placement | None:
    """Layout in the base of a build, if the base is the report's."""
    content = read_file(folder / BASE, limit=MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != report.base_sha256:
        return None
    return board.fpga.read_layout(unpack(content, board.fpga.pack().inputs).__getitem__)


def _of_step(folder: pathlib.Path, report: Report | OverlayReport, board: Board) -> Placement | None:
    """Layout that place and route has left in its own folder, if it is one of the report's netlist and seed."""
    netlist = load_netlist(folder, board, sha256=report.netlist_sha256)
    for step in sorted((folder / "work").glob(f"place-seed{report.seed}-*")):
        def file_of(name: str, step: pathlib.Path = step) -> bytes:
            return read_file(step / name, limit=MAX_BYTES)

        if all(file_of(name) == content for name, content in netlist.items()):
            return board.fpga.read_layout(file_of)
    return None


def find_floorplan(folder: pathlib.Path, report: Report | OverlayReport) -> Floorplan | None:
    """Read the layout that the folder of a build has of its bitstream; None if it has none whose cells are known."""
    board = BOARDS.get(report.board)
    if board is None:
        return None
    finds: list[Callable[[], Placement | None]] = [functools.partial(_of_step, folder, report, board)]
    if isinstance(report, Report):
        finds.insert(0, functools.partial(_of_base, folder, report, board))
    for find in finds:
        # What is missing or damaged shows no floorplan: the page of the rest is worth having.
        with contextlib.suppress(OSError, ValueError):
            if (placement := find()) is not None:
                return floorplan_of(placement)
    return None
