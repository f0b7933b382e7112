"""What a component takes of the iCE40 when it is synthesised alone, with the options of a build."""

import dataclasses
import json
import pathlib
from typing import Any

from amaranth.back import rtlil

from boards.families.ice40 import ICE40UP5K_SG48, NEXTPNR, synthesis
from support.tools import YOSYS, amaranth_tools, run_tool

__all__ = ["Cost", "pack", "synthesise"]

#: Cells that nextpnr adds once to a whole circuit, however large it is: they make the constants 0 and 1.
_CONSTANTS = ("$PACKER_GND", "$PACKER_VCC")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Cells of a netlist, as Yosys counts them."""

    luts: int
    flipflops: int
    block_rams: int
    multipliers: int


def synthesise(block: Any, folder: pathlib.Path) -> Cost:
    """Make a netlist of a component, ``netlist.json`` in ``folder``, and count its cells."""
    with amaranth_tools():
        (folder / "block.il").write_text(rtlil.convert(block, name="block"))
    (folder / "block.ys").write_text(
        f"read_rtlil block.il\n{synthesis('block')}tee -q -o stat.json stat -json\nwrite_json netlist.json\n")
    run_tool(YOSYS, ["-q", "block.ys"], cwd=folder, log=folder / "yosys.log")
    cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return Cost(luts=cells.get("SB_LUT4", 0),
                flipflops=sum(count for name, count in cells.items() if name.startswith("SB_DFF")),
                block_rams=cells.get("SB_RAM40_4K", 0), multipliers=cells.get("SB_MAC16", 0))


def pack(folder: pathlib.Path) -> int:
    """Pack the netlist that :func:`synthesise` made, and count the logic cells without those of constants."""
    run_tool(NEXTPNR, [*ICE40UP5K_SG48.options, "--json", "netlist.json", "--pack-only", "--write", "packed.json",
                       "-q"], cwd=folder, log=folder / "nextpnr.log")
    modules = json.loads((folder / "packed.json").read_text())["modules"]
    return sum(cell["type"] == "ICESTORM_LC" and name not in _CONSTANTS
               for module in modules.values() for name, cell in module["cells"].items())
