"""The walk through a design in Verilog, with names as the sources have them."""

import re

from sim.declarations import declarations

VERILOG = r"""
module top(clk);
  input clk;
  wire \state$12 ;
endmodule
module \top.core (clk);
  wire plain;
endmodule
module \top.core$3.memory (clk);
  wire \row$7 ;
endmodule
"""


def test_declarations_have_paths_below_the_top_and_the_names_of_the_sources():
    found = declarations(VERILOG, re.compile(r"\s*wire \\?(?P<name>\S+) ?;"))
    assert [(match[0].strip(), path, name) for match, path, name in found] == [
        (r"wire \state$12 ;", "state$12", "state"), ("wire plain;", "core.plain", "core.plain"),
        (r"wire \row$7 ;", "core$3.memory.row$7", "core.memory.row")]
