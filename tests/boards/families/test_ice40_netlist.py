"""Designs of cells as Verilog for a simulator."""

import re

import pytest

from boards.families.family import BoardError, Pins
from boards.families.ice40_netlist import simulated

PINS = Pins(inputs={"clk": "oscillator"}, outputs={"tx": "led"})


def cell(kind, connections, **parameters):
    return {"type": kind, "parameters": parameters, "connections": connections}


def module(*cells, ports=None, **more):
    """A design of some cells, with the pins of :data:`PINS`."""
    ports = ports or {"oscillator": {"direction": "input", "bits": [2]}, "led": {"direction": "inout", "bits": [3]}}
    return {"ports": ports, "cells": {f"cell{number}": each for number, each in enumerate(cells)}, **more}


PAD = cell("SB_IO", {"PACKAGE_PIN": [3], "D_OUT_0": [4], "OUTPUT_ENABLE": ["1"]}, PIN_TYPE="011001")


def test_a_design_is_written_cell_by_cell():
    made = simulated(module(PAD, cell("SB_LUT4", {"I0": [2], "I1": ["0"], "I2": ["x"], "I3": [5], "O": [4]},
                                      LUT_INIT="0110100110010110"), aliases=[(5, "1")]), PINS)
    text = made.verilog
    # The first module is the board's.
    assert text.startswith("module board (input rst, input clk, output tx);\n")
    assert "sterna chip (.rst(rst), .awake(awake), .oscillator_i(clk), .led_o(tx));" in text
    assert "  assign n2 = oscillator_i;\n" in text
    assert "  assign {n5} = {1'b1};\n" in text
    assert ("  sterna_io #(.PIN_TYPE(6'b011001)) c0 (.D_OUT_0({n4}), .OUTPUT_ENABLE({1'b1}), .pin_o(led_o), "
            ".pin_oe(led_oe));\n") in text
    assert ("  SB_LUT4 #(.LUT_INIT(16'b0110100110010110)) c1 (.I0({n2}), .I1({1'b0}), .I2({1'bx}), .I3({n5}), "
            ".O({n4}));\n") in text
    assert made.memories == []
    # Yosys' models of the cells, without what a simulation by clocks has no use for.
    assert "module SB_LUT4" in text
    assert "specify" not in text


def test_a_pin_of_both_directions_has_three_ports():
    pad = cell("SB_IO", {"PACKAGE_PIN": [3], "D_OUT_0": [4], "D_IN_0": [6], "OUTPUT_ENABLE": [5]}, PIN_TYPE="101001")
    text = simulated(module(pad), Pins(inputs={"clk": "oscillator"}, outputs={}, both={"io": "led"})).verilog
    assert text.startswith("module board (input rst, input clk, input io_i, output io_o, output io_oe);\n")
    assert ".led_i(io_i), .led_o(io_o), .led_oe(io_oe)" in text
    assert ".pin_i(led_i), .pin_o(led_o), .pin_oe(led_oe)" in text


def test_a_port_of_several_bits_has_a_pin_for_each():
    ports = {"dq": {"direction": "inout", "bits": [7, 8]}}
    pads = [cell("SB_IO", {"PACKAGE_PIN": [bit], "D_IN_0": [9 + bit]}, PIN_TYPE="000001") for bit in (7, 8)]
    text = simulated(module(*pads, ports=ports), Pins(inputs={"a": "dq_0", "b": "dq_1"}, outputs={})).verilog
    assert ".pin_i(dq_0_i)" in text
    assert ".pin_i(dq_1_i)" in text


def test_what_a_block_ram_holds_comes_apart_and_it_reads_zeros_at_first():
    rows = {f"INIT_{part:X}": f"{part << 16 | 0xA0B0:0256b}" for part in range(16)}
    ram = cell("SB_RAM40_4K", {"RDATA": [20, 21, *["x"] * 14], "RADDR": [2, *["0"] * 10]}, READ_MODE=f"{1:032b}",
               **rows)
    made = simulated(module(PAD, ram), PINS)
    (memory,) = made.memories
    assert (memory.path, memory.module, memory.width, memory.rows) == ("chip.c1.memory", "SB_RAM40_4K", 16, 256)
    assert memory.contents[:3] == [0xA0B0, 0, 0]
    assert memory.contents[16:18] == [0xA0B0, 1]
    assert "INIT_" not in re.search(r"SB_RAM40_4K #\((.*)\) c1", made.verilog)[1]
    assert ".RDATA(read_c1)" in made.verilog
    # The lowest bit of a port comes last.
    assert ".RADDR({" + 10 * "1'b0, " + "n2})" in made.verilog
    assert "  assign n20 = read_c1[0] & awake;\n  assign n21 = read_c1[1] & awake;\n" in made.verilog


def test_a_single_port_ram_holds_nothing_that_is_known():
    made = simulated(module(PAD, cell("SB_SPRAM256KA", {"DATAOUT": list(range(30, 46))})), PINS)
    (memory,) = made.memories
    assert (memory.path, memory.rows, memory.contents) == ("chip.c1.mem", 16384, None)


def test_the_clock_passes_through_the_pll():
    pll = cell("SB_PLL40_PAD", {"PACKAGEPIN": [2], "PLLOUTGLOBAL": [50], "LOCK": [51], "RESETB": ["1"]}, DIVR="0000")
    assert "  sterna_pll c1 (.reference({n2}), .clock({n50}), .LOCK({n51}), .rst(rst));\n" in simulated(
        module(PAD, pll), PINS).verilog


@pytest.mark.parametrize("kind", ["SB_I2C", "SB_HFOSC", "$_AND_", "SB_RAM40_4KNR", "SB_DFF_1"])
def test_a_cell_without_a_model_is_told(kind):
    with pytest.raises(BoardError, match=rf"^cell cell1 must be one that can be simulated, not {re.escape(kind)}$"):
        simulated(module(PAD, cell(kind, {"O": [4]})), PINS)
