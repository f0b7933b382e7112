"""Bits of a bitstream as cells; tests/sim/chip compares those of a circuit with its netlist, and simulates them."""

import pathlib
import re

import pytest

from boards.families import ice40_bitstream
from support.tools import ToolMissingError


def test_without_icebox_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(ice40_bitstream, "_ICEBOX", pathlib.Path("/nowhere/icebox.py"))
    message = ("icebox.py, which knows what the bits of a bitstream mean, is not installed: apt install fpga-icestorm")
    with pytest.raises(ToolMissingError, match=f"^{re.escape(message)}$"):
        ice40_bitstream.find_icebox()


def test_pins_have_the_names_of_the_constraints():
    constraints = b"# pins\nset_io uart_0__rx__io 6\nset_io dq[2] 12\nset_frequency clk 12\n"
    assert ice40_bitstream._pins(constraints) == {"6": "uart_0__rx__io", "12": "dq[2]"}


@pytest.mark.parametrize(("table", "inputs"), [
    ("0000000000000000", []), ("1111111111111111", []), ("1111111100000000", [3]), ("1010101010101010", [0]),
    ("0110100110010110", [0, 1, 2, 3]), ("1100110011001100", [1]), ("1111000000000000", [2, 3])])
def test_a_table_is_joined_with_what_it_depends_on(table, inputs):
    """Bit 0, which stands last, is the output when all inputs are 0; input 3 counts most."""
    assert [number for number in range(4) if ice40_bitstream._depends(table, number)] == inputs
