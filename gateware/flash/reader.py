"""Reads a serial flash from any address on, a nibble or two per clock, for as long as the reader is told to run."""

import dataclasses

from amaranth import *
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from gateware.flash.bus import FlashBus

__all__ = ["PAUSE_SECONDS", "FlashMode", "FlashReader"]

#: Least time between two commands. It covers the release from deep power-down (tRES1, 3 microseconds) and the time for
#: which the flash must not be selected (tSHSL, 50 nanoseconds) of the W25Q family.
PAUSE_SECONDS = 4e-6

#: Opcodes of the W25Q family (W25Q128JV data sheet, revision F, section 8).
RELEASE_POWER_DOWN, READ_STATUS_2, WRITE_ENABLE_VOLATILE, WRITE_STATUS_2 = 0xAB, 0x35, 0x50, 0x31
FAST_READ, FAST_READ_QUAD_IO, FAST_READ_QUAD_IO_DOUBLE = 0x0B, 0xEB, 0xED

#: The bit of status register 2 that turns WP and HOLD into data lines, and the register with that bit alone.
QUAD_ENABLE_BIT, QUAD_ENABLE = 1, 0x02


class FlashMode(enum.Enum, shape=unsigned(2)):
    """How data move."""

    #: One line: a bit per clock. For boards that connect no more.
    SINGLE = 0
    #: Four lines: a nibble per clock.
    QUAD   = 1
    #: Four lines, both edges: two nibbles per clock.
    DOUBLE = 2


class _Step(enum.Enum, shape=unsigned(3)):
    """Commands, in the order in which they are sent after reset."""

    WAKE   = 0
    CHECK  = 1
    UNLOCK = 2
    ENABLE = 3
    VERIFY = 4
    READ   = 5


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """The command with which data are read: clocks of its parts."""

    opcode: int
    #: Bits of the address per clock; clocks of address, mode bits and dummy.
    address_bits: int
    address: int
    mode: int
    dummy: int

    @property
    def clocks(self) -> int:
        """Clocks before the first data."""
        return 8 + self.address + self.mode + self.dummy


_READS = {
    FlashMode.SINGLE: _Read(opcode=FAST_READ, address_bits=1, address=24, mode=0, dummy=8),
    FlashMode.QUAD:   _Read(opcode=FAST_READ_QUAD_IO, address_bits=4, address=6, mode=2, dummy=4),
    # Address and mode bits move at both edges of a clock of half the rate, so that they are stable at each edge.
    FlashMode.DOUBLE: _Read(opcode=FAST_READ_QUAD_IO_DOUBLE, address_bits=4, address=6, mode=2, dummy=7),
}


class FlashReader(wiring.Component):
    """Wakes a flash of the W25Q family and reads it in one continuous read.

    After reset the flash is released from deep power-down, in which the FPGA's own configuration leaves it. Unless its
    quad enable bit is set, the bit is set in the volatile status register (50h, 31h), which the next power-up forgets,
    and read back: if it is still not set, ``failed`` goes high for good. Then ``ready`` goes high. The quad read never
    leaves the flash in its continuous read mode, out of which the FPGA's own boot could not wake it: the mode bits are
    ones.

    ``start`` begins a read at ``address``; a read in progress ends. The bytes from ``address`` on come as strobes of
    ``valid`` while ``run`` is high. There is no other flow control: after ``run`` has gone low, no more than
    :attr:`overrun` bytes come. ``stop`` ends the read. ``byte`` stays until the next one
    (not double).

    Throughput: a byte per 8 clocks (single), 2 clocks (quad) or clock (double). Latency: from ``start`` a pause of
    :data:`PAUSE_SECONDS` or up to twice that, then 20 clocks (quad; 40 single, 23 double) and :meth:`latency_of` those
    of the pins. ``ready`` comes after at most six pauses. ``address`` must stay from ``start`` until the first byte.
    Reset: the flash is not selected, and everything begins anew.
    Cost on the iCE40: in the overlay 124 LUTs, 57 flip-flops, 141 logic cells; single 131 LUTs, 55 flip-flops, double
    113 LUTs, 54 flip-flops.

    Parameters
    ----------
    mode : :class:`FlashMode`
    clock_hz : :class:`float`
        Clock, in Hz: makes the pause.
    latency : :class:`int`
        Clocks from a cycle of the flash's clock to its data in ``bus.i``, at least 1.

    Members
    -------
    bus : :py:`Out(FlashBus(double=mode is FlashMode.DOUBLE))`
    start, stop : :py:`In(1)`
        Strobes. ``start`` while not ``ready`` is lost.
    address : :py:`In(24)`
        First byte.
    run : :py:`In(1)`
        Bytes may come.
    byte : :py:`Out(8)`
    valid : :py:`Out(1)`
        ``byte`` is the next byte.
    ready : :py:`Out(1)`
        The flash can be read.
    failed : :py:`Out(1)`
        The flash does not answer as one of its family.
    """

    def __init__(self, *, mode: FlashMode, clock_hz: float, latency: int):
        if latency < 1:
            raise ValueError(f"latency must be at least 1 clock, not {latency!r}")
        # The timer has counted the clocks behind a command when the pause begins.
        pause = 1 << self._pause_bits_of(clock_hz)
        if pause <= latency + 1:
            raise ValueError(f"pause of {PAUSE_SECONDS:g} s must be more than latency + 1 = {latency + 1} clocks, and "
                             f"is {pause} at clock_hz = {clock_hz:g}: use a faster clock")
        self.mode     = mode
        self.clock_hz = clock_hz
        self.latency  = latency

        super().__init__({
            "bus":     Out(FlashBus(double=mode is FlashMode.DOUBLE)),
            "start":   In(1),
            "stop":    In(1),
            "address": In(24),
            "run":     In(1),
            "byte":    Out(8),
            "valid":   Out(1),
            "ready":   Out(1),
            "failed":  Out(1),
        })

    @property
    def overrun(self) -> int:
        """Most bytes that come after ``run`` has gone low."""
        return -(-self.latency_of(self.latency) // self.byte_clocks_of(self.mode))

    @staticmethod
    def latency_of(latency: int) -> int:
        """Clocks from one in which the flash is asked for the end of a byte to the byte, by the latency of the pins."""
        # A register of the bus, and one of the byte.
        return latency + 2

    @staticmethod
    def byte_clocks_of(mode: FlashMode) -> int:
        """Clocks of a byte."""
        return {FlashMode.SINGLE: 8, FlashMode.QUAD: 2, FlashMode.DOUBLE: 1}[mode]

    @classmethod
    def start_cycles_of(cls, mode: FlashMode, clock_hz: float) -> int:
        """Clocks from ``start`` while a read is in progress to the first one in which the flash may be asked for data.

        One to stop, the pause and a clock that sees its end, and the command.
        """
        return 1 + (1 << cls._pause_bits_of(clock_hz)) + 1 + _READS[mode].clocks + 1

    @staticmethod
    def _pause_bits_of(clock_hz: float) -> int:
        """A pause is this power of two, in clocks."""
        return (max(2, int(clock_hz * PAUSE_SECONDS)) - 1).bit_length()

    def elaborate(self, platform):
        m = Module()

        read   = _READS[self.mode]
        step   = Signal(_Step)
        # The clock of the command that comes next: what is sent in it is decided a clock ahead.
        count  = Signal(range(max(read.clocks, 16) + 2), reset_less=True)
        timer  = Signal(self._pause_bits_of(self.clock_hz) + 1)
        # The clocks behind a command are few.
        settled = timer[:self.latency.bit_length()]
        asked  = Signal()  # a read is to begin after the pause
        quad   = Signal()  # the quad enable bit, as read last

        select = Signal()
        cycle  = Signal(2)  # what the flash's clock does
        sent   = Signal(2)  # ... in a command
        lines  = Signal(4)
        drive  = Signal()
        sending = Signal()  # ... in a command
        driven = Signal()   # line 1 as well
        wanted = Signal()   # what comes back for this clock is data
        m.d.sync += [
            self.bus.select.eq(select),
            self.bus.sck.eq(cycle),
            self.bus.o.eq(lines),
            self.bus.drive.eq(drive),
            self.bus.quad.eq(driven & drive),
        ]
        # A clock late, which is early enough: the first data come many clocks after it.
        reading = Signal()
        m.d.sync += reading.eq(step == _Step.READ)
        taken = self._receive(m, wanted, reading)
        with m.If(taken & (step != _Step.READ)):
            m.d.sync += quad.eq(self.bus.i[0][1])

        checks = (step == _Step.CHECK) | (step == _Step.VERIFY)
        ends   = Signal()
        m.d.sync += ends.eq(self._send(m, read, step, count, cycle=sent, lines=lines, drive=sending, driven=driven))
        with m.FSM():
            with m.State("PAUSE"):
                m.d.sync += count.eq(0)
                with m.If(~timer[-1]):
                    m.d.sync += timer.eq(timer + 1)
                with m.Elif((step != _Step.READ) | asked):
                    m.d.sync += asked.eq(0)
                    m.d.sync += count.eq(1)
                    m.next = "COMMAND"
            with m.State("COMMAND"):
                m.d.comb += select.eq(1)
                m.d.comb += cycle.eq(sent)
                m.d.comb += drive.eq(sending)
                m.d.comb += wanted.eq(checks & (count == 8 + 8 - QUAD_ENABLE_BIT))
                m.d.sync += count.eq(count + 1)
                m.d.sync += timer.eq(0)
                with m.If(ends):
                    m.next = "DATA"
                    # The address has changed within the command.
                    with m.If(asked | self.start):
                        m.next = "STOP"
                    with m.If(step != _Step.READ):
                        m.next = "SETTLE"
            with m.State("SETTLE"):
                # The clock falls before the flash is deselected; the bit of the status is still on its way.
                m.d.comb += select.eq(settled == 0)
                m.d.comb += drive.eq(1)
                m.d.sync += timer.eq(timer + 1)
                with m.If(settled == self.latency):
                    m.d.sync += step.eq(step.as_value() + 1)
                    with m.If((step == _Step.CHECK) & quad):
                        m.d.sync += step.eq(_Step.READ)
                    with m.If((step == _Step.VERIFY) & ~quad):
                        m.d.sync += self.failed.eq(1)
                    m.next = "PAUSE"
            with m.State("DATA"):
                m.d.comb += select.eq(1)
                m.d.comb += cycle.eq(Cat(0, self.run))
                m.d.comb += wanted.eq(self.run)
                # HOLD must not float where it is no data line.
                m.d.comb += drive.eq(self.mode is FlashMode.SINGLE)
                with m.If(self.stop | self.start):
                    m.next = "STOP"
            with m.State("STOP"):
                m.d.comb += select.eq(1)
                m.next = "PAUSE"
        m.d.comb += self.ready.eq(reading & ~self.failed)
        with m.If(self.start & self.ready):
            m.d.sync += asked.eq(1)
        return m

    def _send(self, m, read, step, count, *, cycle, lines, drive, driven):
        """Decide what is driven in clock ``count`` of a command, the next one; return whether it is the last."""
        # Opcode, and the one data byte that is ever written, on line 0. Line 1 is the flash's; WP and HOLD are high.
        codes: dict[_Step, tuple[int, ...]] = {
            _Step.WAKE: (RELEASE_POWER_DOWN,), _Step.CHECK: (READ_STATUS_2,), _Step.UNLOCK: (WRITE_ENABLE_VOLATILE,),
            _Step.ENABLE: (WRITE_STATUS_2, QUAD_ENABLE), _Step.VERIFY: (READ_STATUS_2,), _Step.READ: (read.opcode,),
        }
        clocks = {_Step.WAKE: 8, _Step.CHECK: 16, _Step.UNLOCK: 8, _Step.ENABLE: 16, _Step.VERIFY: 16,
                  _Step.READ: read.clocks}
        bit  = Signal()
        last = Signal()
        with m.Switch(step):
            for command, bytes_ in codes.items():
                with m.Case(command):
                    bits = [byte >> (7 - place) & 1 for byte in bytes_ for place in range(8)]
                    m.d.comb += bit.eq(Const(sum(value << place for place, value in enumerate(bits)), 16)
                                       .bit_select(count[:4], 1))
                    m.d.comb += last.eq(count == clocks[command] - 1)
        m.d.sync += [
            cycle.eq(0b10),
            lines.eq(Cat(bit, 0, 1, 1)),
            drive.eq(1),
            driven.eq(0),
        ]
        with m.If((step == _Step.READ) & (count >= 8)):
            place = count - 8
            if self.mode is FlashMode.SINGLE:
                m.d.sync += lines[0].eq(Cat(reversed(list(self.address))).bit_select(place[:5], 1))
            else:
                nibbles = Cat(self.address.word_select(5 - index, 4) for index in range(6))
                m.d.sync += [
                    driven.eq(1),
                    lines.eq(Mux(place[:4] < 6, nibbles.word_select(place[:3], 4), 0xF)),
                ]
                with m.If(place >= read.address + read.mode):
                    m.d.sync += drive.eq(0)
                    m.d.sync += driven.eq(0)
                if self.mode is FlashMode.DOUBLE:
                    # Half the rate: one nibble at the rise, in the middle of a clock, one at the fall of the next.
                    with m.Elif(place[0]):
                        m.d.sync += cycle.eq(0b01)
        return last

    def _receive(self, m, wanted, reading):
        """Make bytes of what comes back; return the strobe of what was ``wanted``."""
        # A register of the bus, and the pins.
        pending = Signal(self.latency + 1)
        ends    = Signal()  # a read in progress ends
        byte    = Signal(8, reset_less=True)
        m.d.comb += self.byte.eq(byte)
        m.d.comb += ends.eq(self.stop | self.start)
        m.d.sync += pending.eq(Mux(ends, 0, Cat(wanted, pending)))
        taken = pending[-1]
        if self.mode is FlashMode.DOUBLE:
            m.d.sync += byte.eq(Cat(self.bus.i[1], self.bus.i[0]))
            m.d.sync += self.valid.eq(taken & reading & ~ends)
            return taken
        # The first part of a byte waits for the last one.
        width   = 1 if self.mode is FlashMode.SINGLE else 4
        earlier = Signal(8 - width, reset_less=True)
        place   = Signal(range(8 // width))
        last    = Signal()
        parts   = Cat(self.bus.i[0][1] if width == 1 else self.bus.i[0], earlier)
        m.d.comb += last.eq(place == 8 // width - 1)
        m.d.sync += self.valid.eq(taken & reading & last & ~ends)
        with m.If(ends | ~reading):
            m.d.sync += place.eq(0)
        with m.Elif(taken):
            m.d.sync += place.eq(Mux(last, 0, place + 1))
        with m.If(taken):
            m.d.sync += earlier.eq(parts)
            with m.If(last):
                m.d.sync += byte.eq(parts)
        return taken
