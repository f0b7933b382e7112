"""What a Verilog file takes on families of FPGAs: synthesis out of context, with Yosys."""

import dataclasses
import json
import pathlib
import re
import tempfile
import time
from collections.abc import Mapping

from gateware.verilog.report import FamilyReport
from support.tools import YOSYS, run_tool

__all__ = ["FAMILIES", "Family", "synthesise"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A family of FPGAs, as Yosys knows it."""

    #: Name for people.
    title: str
    #: The command of Yosys without the top module: no pins, for the module is a part of something.
    command: str
    #: LUTs of each kind of cell, as patterns of whole names, and patterns of flip-flops, RAMs and multipliers.
    luts: Mapping[str, int]
    flip_flops: str
    rams: str
    multipliers: str
    #: Command of Yosys before that of synthesis; empty without.
    before: str = ""

    def report(self, cells: Mapping[str, int], *, command: str, warnings: list[str], seconds: float) -> FamilyReport:
        """Count cells."""
        def matching(pattern: str) -> dict[str, int]:
            return {name: count for name, count in cells.items() if re.fullmatch(pattern, name)}

        return FamilyReport(
            command=command,
            luts=sum(each * sum(matching(pattern).values()) for pattern, each in self.luts.items()),
            flip_flops=sum(matching(self.flip_flops).values()), rams=matching(self.rams),
            multipliers=sum(matching(self.multipliers).values()),
            cells={name: cells[name] for name in sorted(cells) if not name.startswith("$")},
            warnings=warnings, seconds=round(seconds, 1))


#: Families by the name of the option.
FAMILIES = {
    "ice40": Family(
        title="Lattice iCE40 UltraPlus", command="synth_ice40 -device u -spram", luts={"SB_LUT4": 1},
        # Yosys would make the spike memory of so many block RAMs that they are missing elsewhere.
        before='setattr -set ram_style "huge" */m:words',
        flip_flops="SB_DFF.*", rams="SB_RAM40_4K.*|SB_SPRAM256KA", multipliers="SB_MAC16"),
    "ecp5": Family(
        # A carry cell has two LUTs, and so has one of 16 x 4 bits of distributed RAM for each two bits.
        title="Lattice ECP5", command="synth_ecp5", luts={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
        flip_flops="TRELLIS_FF", rams="DP16KD|PDPW16KD|TRELLIS_DPR16X4", multipliers="MULT18X18D"),
    "gowin": Family(
        title="Gowin LittleBee and Arora", command="synth_gowin -noiopads",
        luts={"LUT[1-4]": 1, "ALU": 1, "RAM16SDP4": 4},
        flip_flops="DFF.*", rams="SP|SPX9|SDPB|SDPX9B|DPB|DPX9B|pROM|pROMX9|RAM16SDP[124]", multipliers="MULT.*"),
    "xilinx7": Family(
        title="AMD (Xilinx) 7 series", command="synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
        # Carries stand beside the LUTs; a LUT of distributed RAM is one.
        luts={"LUT[1-6]": 1, "INV": 1, "RAM32M": 4, "RAM64M": 4, "RAM(32|64)X1D": 2, "SRL.*": 1},
        flip_flops="FD[CPRS]E.*", rams="RAMB.*|RAM32M|RAM64M|RAM(32|64)X1D", multipliers="DSP48E1"),
}


def synthesise(text: str, memory_files: Mapping[str, str], *, module: str, family: Family) -> FamilyReport:
    """Synthesise a Verilog file for a family and count the cells.

    Parameters
    ----------
    text : :class:`str`
        The file.
    memory_files : mapping
        The files that it reads its memories from.
    module : :class:`str`
        Its top module.
    family : :class:`Family`

    Raises
    ------
    :exc:`support.tools.ToolMissingError`, :exc:`support.tools.ToolError`
        If Yosys is not installed or fails.
    """
    command = "; ".join(filter(None, [family.before, f"{family.command} -top {module}"]))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as path:
        folder = pathlib.Path(path)
        for name, content in {f"{module}.v": text, **memory_files}.items():
            (folder / name).write_text(content)
        (folder / "synthesis.ys").write_text(
            f"read_verilog {module}.v\n{command}\ncheck -assert\ntee -q -o stat.json stat -json\n")
        run_tool(YOSYS, ["-q", "synthesis.ys"], cwd=folder, log=folder / "yosys.log")
        cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
        log = (folder / "yosys.log").read_text(errors="replace")
    warnings = [line for line in log.splitlines() if "warning" in line.lower()]
    return family.report(cells, command=command, warnings=warnings, seconds=time.monotonic() - begun)
