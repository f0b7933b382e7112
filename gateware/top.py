"""Top level of a bitstream: pins, clock and reset around :class:`gateware.system.System`."""

import dataclasses

from amaranth import *
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from boards.board import Board, BoardError
from gateware.engine.spike_memory import MemoryKind
from gateware.mapper.info import info_of
from gateware.mapper.plan import Plan
from gateware.source import Baked
from gateware.system import System

__all__ = ["PllSettings", "Top", "pll_settings"]

#: Limits of SB_PLL40 (FPGA-TN-02052), in Hz.
PFD_MIN, PFD_MAX = 10e6, 133e6
VCO_MIN, VCO_MAX = 533e6, 1066e6

#: Block RAM of the iCE40 reads zeros for some microseconds after configuration; reset is held this long after PLL lock.
RESET_SECONDS = 15e-6


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PllSettings:
    """Dividers of SB_PLL40 with simple feedback: ``f = reference * (divf + 1) / (2 ** divq * (divr + 1))``."""

    divr: int
    divf: int
    divq: int
    filter_range: int


def pll_settings(reference_hz: float, clock_hz: float) -> PllSettings | None:
    """Find the dividers for exactly ``clock_hz``; None if it is the reference itself.

    Raises
    ------
    :exc:`BoardError`
        If the PLL cannot make this frequency.
    """
    if clock_hz == reference_hz:
        return None
    for divr in range(16):
        compared = reference_hz / (divr + 1)
        if not PFD_MIN <= compared <= PFD_MAX:
            continue
        for divq in range(1, 7):
            vco = clock_hz * 2 ** divq
            if VCO_MIN <= vco <= VCO_MAX and vco % compared == 0 and vco / compared <= 128:
                # Filter range by the frequency compared, as icepll chooses it.
                limits = (17e6, 26e6, 44e6, 66e6, 101e6)
                return PllSettings(divr=divr, divf=int(vco / compared) - 1, divq=divq,
                                   filter_range=1 + sum(compared >= limit for limit in limits))
    raise BoardError(f"clock must be one that the PLL makes of {reference_hz / 1e6:g} MHz, not {clock_hz / 1e6:g} MHz")


class Top(Elaboratable):
    """Puts the system on an iCE40UP5K board: PLL, reset until it has locked and 15 µs more, UART pins, an LED.

    Parameters
    ----------
    plan : :class:`gateware.mapper.plan.Plan`
    board : :class:`boards.Board`
    clock_hz : :class:`float`
    baud : :class:`int`
        Rate of the host link.
    """

    def __init__(self, plan: Plan, *, board: Board, clock_hz: float, baud: int):
        self.plan     = plan
        self.board    = board
        self.clock_hz = clock_hz
        self.divisor  = board.divisor(clock_hz, baud)
        self.pll      = pll_settings(board.oscillator_hz, clock_hz)

    def elaborate(self, platform):
        m = Module()

        oscillator = platform.request("clk12", 0, dir="-")
        serial     = platform.request("uart", 0, dir={"rx": "-", "tx": "-"})
        led        = platform.request("led_g", 0, dir="-")
        m.submodules.rx  = rx  = io.Buffer("i", serial.rx)
        m.submodules.tx  = tx  = io.Buffer("o", serial.tx)
        m.submodules.led = led = io.Buffer("o", led)

        clock  = Signal()
        locked = Signal()
        if self.pll is None:
            m.submodules.clock = buffer = io.Buffer("i", oscillator)
            m.d.comb += clock.eq(buffer.i)
            m.d.comb += locked.eq(1)
        else:
            m.submodules.pll = Instance("SB_PLL40_PAD",
                p_FEEDBACK_PATH="SIMPLE",
                p_DIVR=Const(self.pll.divr, 4),
                p_DIVF=Const(self.pll.divf, 7),
                p_DIVQ=Const(self.pll.divq, 3),
                p_FILTER_RANGE=Const(self.pll.filter_range, 3),
                i_PACKAGEPIN=oscillator.io,
                i_RESETB=Const(1),
                i_BYPASS=Const(0),
                o_PLLOUTGLOBAL=clock,
                o_LOCK=locked)

        # The counter starts when the PLL has locked; its own reset is asynchronous, because the clock may stand still.
        m.domains.start = start = ClockDomain(local=True)
        m.domains.sync  = sync  = ClockDomain()
        m.submodules.start_reset = ResetSynchronizer(~locked, domain="start")
        wait = Signal(range(int(self.clock_hz * RESET_SECONDS) + 2))
        held = Signal(init=1)
        m.d.comb += [
            start.clk.eq(clock),
            sync.clk.eq(clock),
            sync.rst.eq(held),
        ]
        with m.If(wait == int(self.clock_hz * RESET_SECONDS) + 1):
            m.d.start += held.eq(0)
        with m.Else():
            m.d.start += wait.eq(wait + 1)

        m.submodules.system = system = System(
            self.plan.config, Baked(contents=self.plan.contents, info=info_of(self.plan, clock_hz=self.clock_hz)),
            divisor=self.divisor,
            memory_kind=MemoryKind.SPRAM if self.board.sprams else MemoryKind.BLOCK)
        m.d.comb += [
            system.rx.eq(rx.i),
            tx.o.eq(system.tx),
            led.o.eq(system.busy),
        ]

        return m
