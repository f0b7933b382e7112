"""A bitstream for the iCE40 turned back into the cells and nets that its bits make of the chip.

What the bits mean says Project IceStorm's library ``icebox``, which comes with the system's package ``fpga-icestorm``.
It shares nothing with the tools that made the bitstream but the knowledge of the chip, which was found by changing
bits. The result is a module as Yosys writes it (``write_json``), so that netlist and bitstream are simulated alike.
"""

import importlib
import itertools
import pathlib
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from boards.families.family import BoardError
from support.tools import ToolMissingError

__all__ = ["find_icebox", "module_of"]

#: Where the package has the library.
_ICEBOX = pathlib.Path("/usr/share/fpga-icestorm/python/icebox.py")

#: A wire of the chip: column, row, and its name in the tile there.
_Wire = tuple[int, int, str]
_Bits = list[int | str]

#: Ports of single-port RAM, of a multiplier and of block RAM: how many wires each has (0: one, without a number).
_SPRAM_PORTS = {"ADDRESS": 14, "DATAIN": 16, "MASKWREN": 4, "WREN": 0, "CHIPSELECT": 0, "CLOCK": 0, "STANDBY": 0,
                "SLEEP": 0, "POWEROFF": 0, "DATAOUT": 16}
_MAC16_PORTS = {"CLK": 0, "CE": 0, "C": 16, "A": 16, "B": 16, "D": 16, "AHOLD": 0, "BHOLD": 0, "CHOLD": 0, "DHOLD": 0,
                "IRSTTOP": 0, "IRSTBOT": 0, "ORSTTOP": 0, "ORSTBOT": 0, "OLOADTOP": 0, "OLOADBOT": 0, "ADDSUBTOP": 0,
                "ADDSUBBOT": 0, "OHOLDTOP": 0, "OHOLDBOT": 0, "CI": 0, "O": 32, "CO": 0}
_RAM_PORTS = {"WADDR": 11, "RADDR": 11, "MASK": 16, "WDATA": 16, "RDATA": 16, "WE": 0, "WCLKE": 0, "WCLK": 0, "RE": 0,
              "RCLKE": 0, "RCLK": 0}
#: Inputs of block RAM that are high if nothing drives them.
_RAM_HIGH = {"WCLKE", "RCLKE"}


def find_icebox() -> Any:
    """Import the library; raises :exc:`support.tools.ToolMissingError` if it is not installed."""
    if not _ICEBOX.exists():
        raise ToolMissingError("icebox.py, which knows what the bits of a bitstream mean, is not installed: "
                               "apt install fpga-icestorm")
    # It imports its tables by their names.
    sys.path.insert(0, str(_ICEBOX.parent))
    try:
        with warnings.catch_warnings():
            # Its regular expressions are those of an older Python.
            warnings.simplefilter("ignore")
            return importlib.import_module("icebox")
    finally:
        sys.path.remove(str(_ICEBOX.parent))


def module_of(configuration: bytes, constraints: bytes, *, package: str) -> dict[str, Any]:
    """Return the module of a bitstream.

    Parameters
    ----------
    configuration : :class:`bytes`
        The bits of each tile, as ``iceunpack`` writes them (``.asc``).
    constraints : :class:`bytes`
        Names of the pins (``.pcf``).
    package : :class:`str`
        Package of the chip, as icebox names it.

    Raises
    ------
    :exc:`BoardError`
        If the bits make something that is not modelled.
    :exc:`support.tools.ToolMissingError`
        If icebox is not installed.
    """
    icebox = find_icebox()
    chip = icebox.iceconfig()
    with tempfile.NamedTemporaryFile(suffix=".asc") as file:
        file.write(configuration)
        file.flush()
        chip.read_file(file.name)
    return _Decoder(icebox, chip, _pins(constraints), package).module()


def _pins(constraints: bytes) -> dict[str, str]:
    """Return the names of the design's pins by those of the package's."""
    words = (line.split() for line in constraints.decode().splitlines())
    return {line[2]: line[1] for line in words if line[:1] == ["set_io"]}


def _names(port: str, width: int) -> list[str]:
    """Return the names of a port's wires."""
    return [port] if width == 0 else [f"{port}_{number}" for number in range(width)]


def _depends(table: str, number: int) -> bool:
    """Whether the output of a table depends on an input: from either end, neighbours by this input differ."""
    return any(table[index] != table[index ^ 1 << number] for index in range(len(table)))


class _Decoder:
    """Makes cells of the bits of a chip."""

    def __init__(self, icebox: Any, chip: Any, pins: Mapping[str, str], package: str):
        self._icebox, self._chip = icebox, chip
        #: Names of pins, by place.
        self._names = {(x, y, block): pins[pin] for pin, x, y, block in chip.pinloc_db(package) if pin in pins}
        self._cells: dict[str, Any] = {}
        self._ports: dict[str, Any] = {}
        self._aliases: list[tuple[int | str, int | str]] = []
        self._count = itertools.count(2)
        self._plls = [self._icebox.pllinfo_db[name] for name in chip.pll_list()]
        self._plls = [info for info in self._plls if self._pll_bits(info, "PLLTYPE", 3) != "000"]
        pads = [info["PLLOUT_A"] for info in self._plls]
        seeds = [(x, y, f"padin_{block}") for x, y, block in pads]
        #: Number of the net that a wire belongs to.
        self._net: dict[_Wire, int] = {}
        for wires in sorted(chip.group_segments(extra_segments=seeds)):
            number = next(self._count)
            self._net |= dict.fromkeys(wires, number)

    def module(self) -> dict[str, Any]:
        """Return the module."""
        self._logic()
        self._block_rams()
        self._single_port_rams()
        self._multipliers()
        for info in self._plls:
            self._pll(info)
        self._pads({info["PLLOUT_A"] for info in self._plls})
        return {"ports": self._ports, "cells": self._cells, "aliases": self._aliases}

    def _of(self, wire: _Wire, unconnected: str = "0") -> int | str:
        """Return the net of a wire, or the level of an input that nothing is connected to."""
        return self._net.get(wire, unconnected)

    def _new(self, wire: _Wire) -> int:
        """Return the net of a wire that a cell drives; one of its own if it is connected to nothing."""
        if wire not in self._net:
            self._net[wire] = next(self._count)
        return self._net[wire]

    def _add(self, kind: str, name: str, parameters: Mapping[str, str], connections: Mapping[str, Any]) -> None:
        self._cells[name] = {"type": kind, "parameters": dict(parameters), "connections": {
            port: [bits] if isinstance(bits, (int, str)) else list(bits) for port, bits in connections.items()}}

    # Logic: eight times a table of four inputs, a carry and a flip-flop.

    def _logic(self) -> None:
        used = {(x, y, int(name[6])) for x, y, name in self._net if name.startswith("lutff_") and name[6].isdigit()
                and (x, y) in self._chip.logic_tiles}
        for x, y, index in sorted(used):
            if self._icebox.get_lutff_seq_bits(self._chip.logic_tiles[x, y], index)[0] == "1":
                self._new((x, y, f"lutff_{index}/cout"))
        for x, y, index in sorted(used):
            self._logic_cell(x, y, index)

    def _logic_cell(self, x: int, y: int, index: int) -> None:
        tile, at = self._chip.logic_tiles[x, y], f"{x}_{y}_{index}"
        carry, registered, sets, asynchronous = (
            bit == "1" for bit in self._icebox.get_lutff_seq_bits(tile, index))
        # Bit 0 of the table is the output when all inputs are 0; input 3 counts most.
        table = "".join(reversed(self._icebox.get_lutff_lut_bits(tile, index)))
        inputs = [self._of((x, y, f"lutff_{index}/in_{number}")) for number in range(4)]
        out, before = self._new((x, y, f"lutff_{index}/out")), self._new((x, y, f"lutff_{index}/lout"))
        if carry:
            self._add("SB_CARRY", f"carry_{at}", {}, {
                "I0": inputs[1], "I1": inputs[2], "CI": self._carry_in(x, y, index, tile),
                "CO": self._new((x, y, f"lutff_{index}/cout"))})
        # What feeds the carry alone may come from this very table: it would look like a loop.
        self._add("SB_LUT4", f"lut_{at}", {"LUT_INIT": table}, {
            **{f"I{number}": value if _depends(table, number) else "0" for number, value in enumerate(inputs)},
            "O": before})
        if not registered:
            self._aliases.append((out, before))
            return
        enable = self._net.get((x, y, "lutff_global/cen"))
        reset = self._net.get((x, y, "lutff_global/s_r"))
        kind = "SB_DFF" + "N" * (self._icebox.get_negclk_bit(tile) == "1") + "E" * (enable is not None)
        ports: dict[str, Any] = {"C": self._of((x, y, "lutff_global/clk")), "D": before, "Q": out}
        if enable is not None:
            ports["E"] = enable
        if reset is not None:
            kind += ("" if asynchronous else "S") + ("S" if sets else "R")
            ports["S" if sets else "R"] = reset
        self._add(kind, f"ff_{at}", {}, ports)

    def _carry_in(self, x: int, y: int, index: int, tile: Sequence[str]) -> int | str:
        if index > 0:
            return self._of((x, y, f"lutff_{index - 1}/cout"))
        if self._icebox.get_carry_cascade_bit(tile) == "1":
            return self._of((x, y, "carry_in_mux"))
        constant: str = self._icebox.get_carry_bit(tile)
        if (x, y, "carry_in_mux") in self._net:
            # The table of the first cell may take it, too.
            self._aliases.append((self._net[x, y, "carry_in_mux"], constant))
        return constant

    # Memories and multipliers.

    def _block_rams(self) -> None:
        for x, y in self._chip.ramb_tiles:
            config = self._ram_config(x, y)
            # On the smallest chips of the family the bit is inverted; this device is none of them.
            if not config["PowerUp"]:
                continue
            if "1" in (self._icebox.get_negclk_bit(self._chip.tile(x, y)),
                       self._icebox.get_negclk_bit(self._chip.tile(x, y + 1))):
                raise BoardError(f"block RAM {x} {y} must have a clock that is not inverted: this one is not modelled")
            parameters = {"READ_MODE": f"{config['CBIT_2'] + 2 * config['CBIT_3']:032b}",
                          "WRITE_MODE": f"{config['CBIT_0'] + 2 * config['CBIT_1']:032b}"}
            for number, row in enumerate(self._chip.ram_data.get((x, y), ())):
                parameters[f"INIT_{number:X}"] = f"{int(row, 16):0256b}"
            # Two tiles, one above the other, share the wires.
            wires = [{name: (x, row, f"ram/{name}") for port, width in _RAM_PORTS.items()
                      for name in _names(port, width)} for row in (y, y + 1)]
            self._add("SB_RAM40_4K", f"ram_{x}_{y}", parameters, {
                port: self._port(_names(port, width), wires, "1" if port in _RAM_HIGH else "0", driven=port == "RDATA")
                for port, width in _RAM_PORTS.items()})

    def _ram_config(self, x: int, y: int) -> dict[str, bool]:
        config = {}
        for row in (y, y + 1):
            tile = self._icebox.tileconfig(self._chip.tile(x, row))
            for entry in self._chip.tile_db(x, row):
                if entry[1] == "RamConfig":
                    config[entry[2]] = bool(tile.match(entry[0]))
        return config

    def _port(self, names: Iterable[str], places: Sequence[Mapping[str, _Wire]], unconnected: str, *,
              driven: bool) -> _Bits:
        """Return the nets of the wires with these names, each of which may be in one of some places."""
        bits: _Bits = []
        for name in names:
            found = next((self._net[wires[name]] for wires in places if wires[name] in self._net), None)
            bits.append(found if found is not None else (next(self._count) if driven else unconnected))
        return bits

    def _single_port_rams(self) -> None:
        for (x, y, number), there in self._icebox.spram_db[self._chip.device].items():
            if not self._is_set(there["SPRAM_EN"]):
                continue
            self._add("SB_SPRAM256KA", f"spram_{x}_{y}_{number}", {}, {
                # POWEROFF is active low.
                port: self._port(_names(port, width), [there], "1" if port == "POWEROFF" else "0",
                                 driven=port == "DATAOUT")
                for port, width in _SPRAM_PORTS.items()})

    def _is_set(self, bit: tuple[int, int, str]) -> bool:
        """Whether a bit of a tile of memory or arithmetic is set; CBIT_N stands in the tile's table."""
        x, y, name = bit
        tile = self._icebox.tileconfig(self._chip.tile(x, y))
        return any(tile.match(entry[0]) for entry in self._chip.tile_db(x, y) if entry[-1] == name)

    def _multipliers(self) -> None:
        for x, y in self._chip.dsp_tiles[0]:
            wires = self._chip.get_dsp_nets_db(x, y)
            if not any(wires[f"O_{bit}"] in self._net for bit in range(32)):
                continue
            config = {name: self._is_set(bit) for name, bit in self._chip.get_dsp_config_db(x, y).items()}
            parameters: dict[str, str] = {}
            for name in sorted(config, reverse=True):
                stem = name[:-2] if name[-2:] in ("_0", "_1") else name
                parameters[stem] = parameters.get(stem, "") + str(int(config[name]))
            self._add("SB_MAC16", f"mac_{x}_{y}", parameters, {
                port: self._port(_names(port, width), [wires], "1" if port == "CE" else "0",
                                 driven=port in ("O", "CO"))
                for port, width in _MAC16_PORTS.items()})

    # The edge of the chip.

    def _pll_bits(self, info: Mapping[str, Any], name: str, width: int) -> str:
        """Return bits of a PLL, the highest first."""
        bits = []
        for number in reversed(range(width)):
            x, y, entry = info[f"{name}_{number}"]
            place = next(row for row in self._icebox.iotile_l_db if row[1] == "PLL" and row[2] == entry)[0]
            bits.append("1" if self._icebox.tileconfig(self._chip.tile(x, y)).match(place) else "0")
        return "".join(bits)

    def _pll(self, info: Mapping[str, Any]) -> None:
        kind = self._pll_bits(info, "PLLTYPE", 3)
        x, y, block = info["PLLOUT_A"]
        outputs = [self._net[wire] for wire in ((x, y, f"padin_{block}"), (x, y, f"io_{block}/D_IN_0"))
                   if wire in self._net]
        # To the nets of clocks, and to any other: both have the same clock.
        self._aliases += [(net, outputs[0]) for net in outputs[1:]]
        ports: dict[str, Any] = {"PLLOUTGLOBAL": outputs[0], "LOCK": self._new(tuple(info["LOCK"]))}
        if kind == "010":
            ports["PACKAGEPIN"] = self._input((x, y, block))
        elif kind == "011":
            ports["REFERENCECLK"] = self._of(tuple(info["REFERENCECLK"]))
        else:
            raise BoardError(f"PLL must have one output, not be of type {kind}: this one is not modelled")
        self._add("SB_PLL40_PAD", f"pll_{x}_{y}", {}, ports)

    def _name(self, place: tuple[int, int, int]) -> str:
        """Return the name of a pin of the design."""
        if place not in self._names:
            raise BoardError(f"pin {' '.join(map(str, place))} must be one of the design's: the bitstream is not of "
                             f"these pins")
        return self._names[place]

    def _input(self, place: tuple[int, int, int]) -> int:
        """Return the net of a pin that is joined with the inside of the chip as it is."""
        net = next(self._count)
        self._ports[self._name(place)] = {"direction": "input", "bits": [net]}
        return net

    def _pads(self, taken: Iterable[tuple[int, int, int]]) -> None:
        for (x, y), tile in sorted(self._chip.io_tiles.items()):
            config = self._icebox.tileconfig(tile)
            kinds, inverted = [["0"] * 6, ["0"] * 6], "0"
            for entry in self._chip.tile_db(x, y):
                if entry[1] == "NegClk" and config.match(entry[0]):
                    inverted = "1"
                if entry[1].startswith("IOB_") and entry[2].startswith("PINTYPE_") and config.match(entry[0]):
                    kinds[int(entry[1][-1])][int(entry[2][-1])] = "1"
            for block, kind in enumerate(kinds):
                if (x, y, block) not in taken:
                    self._pad(x, y, block, "".join(reversed(kind)), inverted)

    def _pad(self, x: int, y: int, block: int, kind: str, inverted: str) -> None:
        """Add the cell of a pin: ``kind`` is PIN_TYPE, the highest bit first."""
        def wire(name: str) -> _Wire:
            return x, y, f"io_{block}/{name}"

        common = {name: self._of((x, y, f"io_global/{there}"), level) for name, there, level in (
            ("CLOCK_ENABLE", "cen", "1"), ("INPUT_CLK", "inclk", "0"), ("OUTPUT_CLK", "outclk", "0"),
            ("LATCH_INPUT_VALUE", "latch", "0"))}
        ports = {name: self._net[wire(name)] for name in ("D_IN_0", "D_IN_1") if wire(name) in self._net}
        if kind[:2] != "00":
            ports |= {"D_OUT_0": self._of(wire("D_OUT_0")), "D_OUT_1": self._of(wire("D_OUT_1")),
                      "OUTPUT_ENABLE": self._of(wire("OUT_ENB"), "1")}
        if not ports:
            return
        port, _, number = self._name((x, y, block)).partition("[")
        bits = self._ports.setdefault(port, {"direction": "inout", "bits": []})["bits"]
        index = int(number.rstrip("]") or 0)
        bits += ["x"] * (index + 1 - len(bits))
        bits[index] = pin = next(self._count)
        self._add("SB_IO", f"io_{x}_{y}_{block}", {"PIN_TYPE": kind, "NEG_TRIGGER": inverted},
                  {"PACKAGE_PIN": pin, **common, **ports})
