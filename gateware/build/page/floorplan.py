"""Which block of the circuit is where on the chip."""

import collections
import dataclasses
import hashlib
import pathlib
import zipfile

from boards.families.ice40_placement import read_placement
from boards.families.placement import Cell, Placement
from gateware.reports.archive import MAX_BYTES, unpack
from gateware.reports.folder import BASE, NETLIST
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from support.files import read_file

__all__ = ["OTHER", "Floorplan", "find_floorplan", "floorplan_of"]

#: The layout that place and route writes, and the netlist that it reads, by their names in the folder of a build.
_LAYOUT, _DESIGN = "sterna.asc", "sterna.json"

#: What the blocks are called on the page, by the path of the block in the design.
_TITLES = {
    "accelerator.array": "neuron array", "accelerator.pif": "PIF neurons", "accelerator.windows": "window writer",
    "accelerator.sequencer": "sequencer", "accelerator.readout": "readout", "accelerator.collector": "spike collector",
    "accelerator.spikes": "spike memory", "accelerator.fifo": "pixel FIFO", "accelerator.weights": "weight memory",
    "accelerator.constants": "constant memory", "accelerator.ring": "weight ring",
    "accelerator.partial": "partial sums", "accelerator.membranes": "membrane store",
    "accelerator.program": "layer program", "accelerator.entry": "layer program",
    "link.receiver": "frame receiver", "link.transmitter": "frame transmitter", "link.info": "info memory",
}
#: The same, for blocks of which all parts are one.
_WHOLE = {"loader": "model loader", "reader": "flash reader", "selector": "model selector"}

#: Cells between the blocks of the circuit, as on the way to a memory that several blocks use.
OTHER = "between the blocks"


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
        return _TITLES["accelerator.weights"]
    if words[0] != "system" or len(words) < 3:
        return OTHER
    if words[1] in _WHOLE:
        return _WHOLE[words[1]]
    # What has no further name is a wire between blocks; the tools name cells after the wires that they drive.
    return _TITLES.get(".".join(words[1:3]), OTHER) if memory or len(words) > 3 else OTHER


def _grouped(cells: tuple[Cell, ...], *, memory: bool) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = collections.defaultdict(list)
    for cell in cells:
        found[_block(cell.net, memory=memory)].append(cell)
    return dict(found)


def floorplan_of(layout: str) -> Floorplan | None:
    """Read the layout of a routed design; None if its device is none whose wires are known."""
    placement = read_placement(layout)
    if placement is None:
        return None
    return Floorplan(placement=placement, logic=_grouped(placement.logic, memory=False),
                     block_rams=_grouped(placement.block_rams, memory=True))


def _of_base(folder: pathlib.Path, report: Report) -> bytes | None:
    """Layout in the base of a build, if the base is the report's."""
    content = read_file(folder / BASE, limit=MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != report.base_sha256:
        return None
    return unpack(content, [_LAYOUT])[_LAYOUT]


def _of_step(folder: pathlib.Path, report: Report | OverlayReport) -> bytes | None:
    """Layout that place and route has left in its own folder, if it is one of the report's netlist and seed."""
    content = read_file(folder / NETLIST, limit=MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != report.netlist_sha256:
        return None
    design = unpack(content, [_DESIGN])[_DESIGN]
    for step in sorted((folder / "work").glob(f"place-seed{report.seed}-*")):
        if read_file(step / _DESIGN, limit=MAX_BYTES) == design:
            return read_file(step / _LAYOUT, limit=MAX_BYTES)
    return None


def find_floorplan(folder: pathlib.Path, report: Report | OverlayReport) -> Floorplan | None:
    """Read the layout that the folder of a build has of its bitstream; None if it has none."""
    for find in (_of_base, _of_step):
        if find is _of_base and not isinstance(report, Report):
            continue
        try:
            content = find(folder, report)  # type: ignore[arg-type]
            if content is not None:
                return floorplan_of(content.decode("ascii", "replace"))
        # What is missing or damaged shows no floorplan: the page of the rest is worth having.
        except (OSError, ValueError, zipfile.BadZipFile):
            continue
    return None
