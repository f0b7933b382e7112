"""The pins of a serial flash, with a register in every pin."""

from typing import Any

from amaranth import *
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In

from gateware.flash.bus import FlashBus

__all__ = ["FlashPins"]


class FlashPins(wiring.Component):
    """Puts a :class:`gateware.flash.bus.FlashBus` on the pins of a board.

    Every output leaves through a register in its pin; the flash's clock through one for each half of the clock, so that
    it rises half a clock after the data lines change. The data lines are taken by a register in the pin at the rising
    edge of the clock or, with ``late``, at the falling edge half a clock later.

    From a cycle of the flash's clock at the pin to its data being taken there is a clock, or one and a half, less what
    pads and flash take. At 48 MHz that leaves 20.8 ns (31.2 ns) for the clock's pad, the flash (at most 6 ns from the
    falling edge, W25Q128JV) and the data's pad; the data stay until the next falling edge of the flash's clock.

    Latency: :attr:`latency` clocks from ``bus.sck`` to ``bus.i``. Throughput: a cycle of the flash's clock per clock.
    Reset: the flash is not selected. Cost: no logic cells; all registers are in the pins.

    Parameters
    ----------
    pins : :class:`amaranth.lib.io.PortLike`
        With ``cs``, ``clk``, and either ``dq`` of four lines or ``copi`` and ``cipo``.
    double : :class:`bool`
        Data move at both edges of the flash's clock.
    late : :class:`bool`
        Take data half a clock later. Not with ``double``, where both edges are taken.

    Members
    -------
    bus : :py:`In(FlashBus(double=double))`
    """

    #: Clocks from a cycle of the flash's clock in the bus to its data.
    latency = 2

    def __init__(self, pins: Any, *, double: bool = False, late: bool = False):
        if double and late:
            raise ValueError("late must be False with double, which takes data at both edges")
        self.pins   = pins
        self.double = double
        self.late   = late

        super().__init__({"bus": In(FlashBus(double=double))})

    def elaborate(self, platform):
        m = Module()

        bus, pins = self.bus, self.pins
        m.submodules.select = select = io.FFBuffer("o", pins.cs)
        m.submodules.clock  = clock  = io.DDRBuffer("o", pins.clk)
        m.d.comb += [
            select.o.eq(bus.select),
            clock.o[0].eq(bus.sck[0]),
            clock.o[1].eq(bus.sck[1]),
        ]
        taken = [Signal(4, name=f"taken{half}") for half in range(2)]
        if hasattr(pins, "dq"):
            for index in range(4):
                line = self._line(m, f"dq{index}", pins.dq[index], index, taken)
                m.d.comb += line.oe.eq(bus.quad if index == 1 else bus.drive)
        else:
            m.submodules.copi = copi = io.FFBuffer("o", pins.copi)
            m.d.comb += copi.o.eq(bus.o[0])
            self._line(m, "cipo", pins.cipo, 1, taken)
            for name, index in (("wp", 2), ("hold", 3)):
                if hasattr(pins, name):
                    # These ports are active low.
                    m.submodules[name] = held = io.FFBuffer("o", getattr(pins, name))
                    m.d.comb += held.o.eq(~bus.o[index])
        if self.double:
            m.d.comb += bus.i[0].eq(taken[0])
            m.d.comb += bus.i[1].eq(taken[1])
        else:
            m.d.comb += bus.i[0].eq(taken[self.late])
        return m

    def _line(self, m, name, port, index, taken):
        """Make the buffer of a data line, which takes in ``taken`` and drives what the bus does."""
        bus    = self.bus
        output = name.startswith("dq")
        both   = self.late or self.double
        buffer = io.DDRBuffer if both else io.FFBuffer
        m.submodules[name] = line = buffer("io" if output else "i", port)
        if both:
            m.d.comb += [taken[half][index].eq(line.i[half]) for half in range(2)]
            if output:
                m.d.comb += [line.o[half].eq(bus.o[index]) for half in range(2)]
        else:
            m.d.comb += taken[0][index].eq(line.i)
            if output:
                m.d.comb += line.o.eq(bus.o[index])
        return line
