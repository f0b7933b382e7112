"""Primitives of the iCE40 as components, and its clock: what of the family is hardware, and needs Amaranth."""

from amaranth import *
from amaranth.lib import data, io, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from boards.families.family import BoardError
from boards.families.ice40_primitives import (
    BRAM_WIDTH,
    BRAM_WORDS,
    MAC_WIDTH,
    SPRAM_GRAIN,
    SPRAM_WIDTH,
    SPRAM_WORDS,
)

__all__ = ["BlockRam", "MultiplierAdders", "SinglePortRam", "add_clock"]

#: Block RAM reads zeros for some microseconds after configuration; reset is held this long after PLL lock.
RESET_SECONDS = 15e-6


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


def add_clock(m, platform, *, oscillator, settings, pll_pin, clock_hz):
    """Add the domain ``sync`` to a module; see :meth:`boards.families.family.Family.add_clock`.

    Parameters
    ----------
    m : :class:`amaranth.hdl.Module`
    platform
        Gives the pin of the oscillator.
    oscillator : :class:`str`
        Name of the pin's resource.
    settings : :class:`boards.families.ice40_primitives.PllSettings`, optional
        Of the PLL; None where the clock is that of the oscillator.
    pll_pin : :class:`str`
        Pin of the package that is wired to the PLL.
    clock_hz : :class:`float`
        Frequency of the domain, in Hz.
    """
    pin      = platform.request(oscillator, 0, dir="-")
    clock    = Signal()
    locked   = Signal()
    on_pad   = platform.lookup(oscillator, 0).ios[0].names == [pll_pin]
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
