"""A UART, 8N1, down to four clocks a bit."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["UartReceiver", "UartTransmitter", "check_divisor"]


def check_divisor(divisor):
    """Raise unless ``divisor`` is one that the blocks of this file work with."""
    if not isinstance(divisor, int):
        raise TypeError(f"divisor must be an integer, not {divisor!r}")
    if divisor < 4:
        raise ValueError(f"divisor must be at least 4, not {divisor!r}")


class UartReceiver(wiring.Component):
    """Receives characters from an asynchronous line.

    Two flip-flops synchronise ``rx``. A bit is sampled once, ``(divisor - 1) // 2`` clocks after the clock in which the
    falling edge of the start bit was seen, plus a multiple of ``divisor``: within half a clock of its middle. A start
    bit that has gone by its middle is ignored. The next start bit may follow at the middle of the stop bit, so a
    transmitter may be fast or slow by 4.5 % (at 16 clocks a bit and more; nothing to spare at 4). If a stop bit is low,
    a line that goes high again ends the character; a line that is still low in the middle of the bit that follows has
    begun the next one there. So neither a character is lost nor one invented, if a stop bit alone is disturbed.

    ``received`` and ``error`` are strobes at the middle of the stop bit, :meth:`latency_of` clocks after the clock in
    which ``rx`` fell; ``data`` then holds for 1.5 ``divisor`` clocks at least. Characters cannot be stalled. Reset:
    idle. Cost on the iCE40 at 16 clocks per bit: 40 LUTs, 19 flip-flops.

    Parameters
    ----------
    divisor : :class:`int`
        Clocks per bit, at least 4.

    Members
    -------
    rx : :py:`In(1)`
        The line, asynchronous.
    bit : :py:`Out(1)`
        The line, synchronised.
    bit_stb : :py:`Out(1)`
        ``bit`` is a data bit, least significant first.
    data : :py:`Out(8)`
        The character.
    received : :py:`Out(1)`
        ``data`` is a character.
    error : :py:`Out(1)`
        A character had no stop bit.

    Raises
    ------
    :exc:`TypeError`, :exc:`ValueError`
        If ``divisor`` is not an integer or less than 4.
    """

    def __init__(self, divisor):
        check_divisor(divisor)
        self.divisor = divisor

        super().__init__({
            "rx":       In(1, init=1),
            "bit":      Out(1),
            "bit_stb":  Out(1),
            "data":     Out(8),
            "received": Out(1),
            "error":    Out(1),
        })

    @staticmethod
    def latency_of(divisor: int) -> int:
        """Clocks from the clock in which ``rx`` falls, the first of a start bit, to ``received``."""
        return 9 * divisor + (divisor - 1) // 2 + 2

    def elaborate(self, platform):
        m = Module()

        meta   = Signal(init=1)
        line   = Signal(init=1)
        # 1 is idle, 7 the start bit, 8 to 15 the data bits, then 0 the stop bit, and 6 what follows a low one.
        phase  = Signal(4, init=1)
        # Counts down to the next sample.
        first  = (self.divisor - 1) // 2 - 1
        timer  = Signal(range(self.divisor))
        due    = Signal()       # timer is 0
        sample = Signal()

        m.d.sync += [
            meta.eq(self.rx),
            line.eq(meta),
        ]
        # The idle phase is the only one below 8 with bit 0 set and bit 2 clear.
        idle = ~phase[3] & ~phase[2] & phase[0]
        m.d.comb += [
            sample.eq(due & ~idle),
            self.bit.eq(line),
            self.bit_stb.eq(sample & phase[3]),
            self.received.eq(sample & (phase == 0) & line),
            self.error.eq(sample & (phase == 0) & ~line),
        ]

        with m.If(idle):
            m.d.sync += timer.eq(first)
            m.d.sync += due.eq(first == 0)
            with m.If(~line):
                m.d.sync += phase.eq(7)
        with m.Elif(sample):
            m.d.sync += timer.eq(self.divisor - 1)
            m.d.sync += due.eq(0)
            with m.If(phase[3]):
                m.d.sync += phase.eq(phase + 1)
            with m.Elif(line):
                m.d.sync += phase.eq(1)
            with m.Else():
                m.d.sync += phase.eq(Mux(phase[2], 8, 6))
        with m.Else():
            with m.If((phase == 6) & line):
                m.d.sync += phase.eq(1)
            m.d.sync += timer.eq(timer - 1)
            m.d.sync += due.eq(timer == 1)
        with m.If(self.bit_stb):
            m.d.sync += self.data.eq(Cat(self.data[1:], line))

        return m


class UartTransmitter(wiring.Component):
    """Sends characters, bit by bit, so that no copy of a character is kept.

    A transfer of ``i`` is one data bit, number ``position`` of its character, least significant first. A character
    starts when ``i`` is valid while the line is idle; its eight bits are then taken one by one, ``divisor`` clocks
    apart, and ``i`` must stay valid until the last one has been taken. The payload may change with ``position``; it is
    looked at in the clock of its transfer only.

    Throughput: one character in 10 * ``divisor`` clocks. Latency: the start bit begins up to ``divisor`` clocks after
    ``i`` became valid, because one timer runs for all bits and never stops; the first transfer follows ``divisor``
    clocks later. The line shows a bit one clock after its transfer. Reset: ``tx`` is idle (high). Cost on the
    iCE40 at 16 clocks per bit: 17 LUTs, 10 flip-flops.

    Parameters
    ----------
    divisor : :class:`int`
        Clocks per bit, at least 4.

    Members
    -------
    i : :py:`In(stream.Signature(1))`
        The data bits.
    position : :py:`Out(3)`
        Number of the data bit that the next transfer brings.
    tick : :py:`Out(1)`
        A strobe once per bit time, always.
    tx : :py:`Out(1)`
        The line.

    Raises
    ------
    :exc:`TypeError`, :exc:`ValueError`
        If ``divisor`` is not an integer or less than 4.
    """

    def __init__(self, divisor):
        check_divisor(divisor)
        self.divisor = divisor

        super().__init__({
            "i":        In(stream.Signature(1)),
            "position": Out(3),
            "tick":     Out(1),
            "tx":       Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()

        # 0 ends with the stop bit, 1 is idle, 8 to 15 end with a data bit.
        phase = Signal(4, init=1)
        timer = Signal(range(self.divisor))

        m.d.comb += [
            self.position.eq(phase[:3]),
            self.i.ready.eq(self.tick & phase[3]),
        ]

        # The tick is a register: it reaches far into whatever sends.
        m.d.sync += timer.eq(Mux(timer == 0, self.divisor - 1, timer - 1))
        m.d.sync += self.tick.eq(timer == 0)
        with m.If(self.tick):
            with m.If(phase[3]):
                m.d.sync += self.tx.eq(self.i.payload)
                m.d.sync += phase.eq(phase + 1)
            with m.Elif(phase[0]):
                m.d.sync += self.tx.eq(~self.i.valid)
                with m.If(self.i.valid):
                    m.d.sync += phase.eq(8)
            with m.Else():
                m.d.sync += self.tx.eq(1)
                m.d.sync += phase.eq(1)

        return m
