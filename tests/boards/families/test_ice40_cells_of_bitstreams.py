"""Every kind of cell that a bitstream is turned back into does what it does in the netlist, by each of its wires."""

import shutil
import subprocess

import pytest

from boards.families import ice40_bitstream
from boards.families.family import Pins
from boards.families.ice40 import ICE40UP5K_SG48, synthesis
from support.tools import YOSYS, run_tool

pytestmark = [
    pytest.mark.synth,
    pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed"),
    pytest.mark.skipif(not ice40_bitstream._ICEBOX.exists(), reason="fpga-icestorm is not installed"),
]

#: What each cell has to be driven with, by port: as many bits of the chain of flip-flops as the port has.
MULTIPLIER = {"A": 16, "B": 16, "C": 16, "D": 16, "CE": 1} | dict.fromkeys(
    ["AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT", "OLOADTOP", "OLOADBOT",
     "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT"], 1)
SINGLE_PORT_RAM = {"ADDRESS": 14, "DATAIN": 16, "MASKWREN": 4, "WREN": 1, "CHIPSELECT": 1}
BLOCK_RAM = {"WADDR": 8, "RADDR": 8, "MASK": 16, "WDATA": 16, "WE": 1, "WCLKE": 1, "RE": 1, "RCLKE": 1}
#: Adders of two registered operands, whose sum is the register of the output, as in boards.families.ice40_cells.
PARAMETERS = ("TOPADDSUB_UPPERINPUT BOTADDSUB_UPPERINPUT TOPOUTPUT_SELECT BOTOUTPUT_SELECT A_REG B_REG C_REG D_REG "
              "MODE_8x8").split()

#: A chain of flip-flops drives everything, and each output is a parity of what one kind of cell gives.
DESIGN = """
module sterna (inout pin_clk, inout pin_data,
               inout pin_multiplier, inout pin_single, inout pin_block, inout pin_fabric);
  wire clk, data, multiplier, single, block, fabric;
  SB_IO #(.PIN_TYPE(6'b000001)) io_clk (.PACKAGE_PIN(pin_clk), .D_IN_0(clk));
  SB_IO #(.PIN_TYPE(6'b000001)) io_data (.PACKAGE_PIN(pin_data), .D_IN_0(data));
  SB_IO #(.PIN_TYPE(6'b011001)) io_m (.PACKAGE_PIN(pin_multiplier), .D_OUT_0(multiplier));
  SB_IO #(.PIN_TYPE(6'b011001)) io_s (.PACKAGE_PIN(pin_single), .D_OUT_0(single));
  SB_IO #(.PIN_TYPE(6'b011001)) io_b (.PACKAGE_PIN(pin_block), .D_OUT_0(block));
  SB_IO #(.PIN_TYPE(6'b011001)) io_l (.PACKAGE_PIN(pin_fabric), .D_OUT_0(fabric));
  reg [LENGTH-1:0] chain = 0;
  always @(posedge clk) chain <= {chain[LENGTH-2:0], data};
  wire [31:0] product;
  wire [15:0] single_word, block_word;
  SB_MAC16 #(MAC_PARAMETERS) mac (.CLK(clk), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0), .O(product), MULTIPLIER);
  SB_SPRAM256KA spram (.CLOCK(clk), .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(single_word), SINGLE);
  SB_RAM40_4K #(.READ_MODE(0), .WRITE_MODE(0)) ram (.WCLK(clk), .RCLK(clk), .RDATA(block_word), BLOCK);
  assign multiplier = ^(product & chain[31:0]);
  assign single = ^(single_word & chain[15:0]);
  assign block = ^(block_word & chain[15:0]);
  reg [7:0] sum = 0, falls = 0;
  reg sets = 0, clears = 0, enabled = 0;
  always @(posedge clk) sum <= chain[7:0] + chain[15:8] + chain[16];
  always @(negedge clk) falls <= falls + chain[3:0];
  always @(posedge clk) if (chain[20]) sets <= 1; else if (chain[21]) sets <= chain[22];
  always @(posedge clk or posedge chain[23]) if (chain[23]) clears <= 0; else clears <= chain[24];
  always @(posedge clk) if (chain[25]) enabled <= chain[26];
  assign fabric = ^sum ^ ^falls ^ sets ^ clears ^ enabled;
endmodule
"""

#: Sparse bits first, which come back to the addresses that were written, and then bits as they come.
BENCH = """
module bench;
  reg clk = 0, data = 0;
  integer number;
  wire multiplier, single, block, fabric;
  board board(.clk(clk), .rst(1'b0), .data(data), .multiplier(multiplier), .single(single), .block(block),
              .fabric(fabric));
  initial for (number = 0; number < 6000; number = number + 1) begin
    #5 clk = 1; #4 $display("%b %b %b %b", multiplier, single, block, fabric); #1 clk = 0;
    data = number < 4000 ? $random % 16 == 0 : $random;
  end
endmodule
"""


def driven(ports, begin):
    """Connections of ports to the bits of the chain from ``begin`` on, and the bit behind them."""
    connections = []
    for port, width in ports.items():
        connections.append(f".{port}(chain[{begin + width - 1}:{begin}])")
        begin += width
    return ", ".join(connections), begin


def design():
    multiplier, end = driven(MULTIPLIER, 30)
    single, end = driven(SINGLE_PORT_RAM, end)
    block, end = driven(BLOCK_RAM, end)
    words = {"MAC_PARAMETERS": ", ".join(f".{name}(1)" for name in PARAMETERS), "MULTIPLIER": multiplier,
             "SINGLE": single, "BLOCK": block, "LENGTH": str(end)}
    text = DESIGN
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text


def printed(folder, simulation):
    """What the pins show, clock by clock."""
    folder.mkdir()
    (folder / "design.v").write_text(simulation.verilog + BENCH)
    subprocess.run(["iverilog", "-g2012", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-o", "bench", "-s", "bench", "design.v"],
                   cwd=folder, check=True)
    done = subprocess.run(["./bench"], cwd=folder, check=True, capture_output=True, text=True)
    return [line.split() for line in done.stdout.splitlines()]


def test_each_wire_of_each_kind_of_cell_is_the_one_of_the_netlist(tmp_path):
    (tmp_path / "design.v").write_text(design())
    (tmp_path / "sterna.ys").write_text(f"read_verilog design.v\n{synthesis('sterna')}write_json sterna.json\n")
    run_tool(YOSYS, ("-q", "sterna.ys"), cwd=tmp_path, log=tmp_path / "log")
    names = {"clk": 35, "data": 2, "multiplier": 3, "single": 4, "block": 6, "fabric": 9}
    (tmp_path / "sterna.pcf").write_text("".join(f"set_io pin_{name} {pin}\n" for name, pin in names.items()))
    for step in (ICE40UP5K_SG48.place(seed=1, clock_hz=12e6), ICE40UP5K_SG48.pack(), ICE40UP5K_SG48.unpack()):
        run_tool(step.tool, step.arguments, cwd=tmp_path, log=tmp_path / "log")
    files = {name: (tmp_path / name).read_bytes() for name in ("sterna.json", "sterna.pcf", "sterna.asc")}
    pins = Pins(inputs={name: f"pin_{name}" for name in ("clk", "data")},
                outputs={name: f"pin_{name}" for name in ("multiplier", "single", "block", "fabric")})
    wanted = printed(tmp_path / "netlist", ICE40UP5K_SG48.simulated_netlist(files, pins))
    got = printed(tmp_path / "bitstream", ICE40UP5K_SG48.simulated_bitstream(files, files, pins))
    for kind, name in enumerate(("multiplier", "single-port RAM", "block RAM", "logic")):
        known = [clock for clock, row in enumerate(wanted) if row[kind] in "01"]
        assert len(known) > 1000, name
        wrong = [clock for clock in known if got[clock][kind] != wanted[clock][kind]]
        assert not wrong, f"{name} differs in clock {wrong[0]} and {len(wrong) - 1} more of {len(known)}"
        assert {wanted[clock][kind] for clock in known} == {"0", "1"}
