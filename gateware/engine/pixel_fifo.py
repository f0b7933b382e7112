"""The pixels that wait for a free clock of the spike memory."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PixelFifo"]


class PixelFifo(wiring.Component):
    """Hands on bytes in their order, and says when half of it is full.

    It does what :class:`amaranth.lib.fifo.SyncFIFOBuffered` does: a byte can be taken two clocks after it was given.
    But all that depends on the level is a flip-flop or a few bits of the counter, never a comparison of it: with
    comparisons, the level has the longest path of the accelerator, seven LUTs.

    Throughput: a byte per clock. Back-pressure: ``i.ready`` falls when ``depth - 1`` or ``depth`` bytes wait behind the
    one that ``o`` offers, and rises a clock after there are fewer. Reset and ``flush`` empty it.
    Cost on the iCE40 for 512 bytes: 48 LUTs, 31 flip-flops, 1 block RAM.

    Parameters
    ----------
    depth : :class:`int`
        Bytes for which there is room at least; a power of two, 4 or more.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
    o : :py:`Out(stream.Signature(8))`
    flush : :py:`In(1)`
        Strobe: forget all bytes, and the one that is given in this clock.
    half_full : :py:`Out(1)`
        More than ``depth / 2`` bytes wait behind the one that ``o`` offers.

    Raises
    ------
    :exc:`ValueError`
        If ``depth`` is no power of two, or less than 4.
    """

    def __init__(self, *, depth: int):
        if depth < 4 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two and at least 4, not {depth}")
        self.depth = depth

        super().__init__({
            "i":         In(stream.Signature(8)),
            "o":         Out(stream.Signature(8)),
            "flush":     In(1),
            "half_full": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        # What waits in the memory, negative: the sign bit says whether anything does, and the bit below it, whether
        # that is no more than half of what fits.
        waiting = Signal(range(-self.depth, 1))
        full    = Signal()
        written = Signal(range(self.depth))
        read    = Signal(range(self.depth))

        # A byte is never read in the clock in which it is written. Yosys believes it of a read port that it has put
        # together with its register itself; around Amaranth's own, it builds a bypass.
        m.submodules.bytes = bytes_ = memory.Memory(shape=8, depth=self.depth, init=[], attrs={"no_rw_check": 1})
        w_port = bytes_.write_port()
        r_port = bytes_.read_port(domain="comb")
        byte   = Signal(8, reset_less=True)

        writes  = self.i.valid & ~full
        reads   = waiting[-1] & (~self.o.valid | self.o.ready)
        changes = Signal()
        m.d.comb += [
            changes.eq(writes ^ reads),
            self.i.ready.eq(~full),
            w_port.addr.eq(written),
            w_port.data.eq(self.i.payload),
            w_port.en.eq(writes),
            r_port.addr.eq(read),
            self.o.payload.eq(byte),
            self.half_full.eq(waiting[-1] & ~waiting[-2]),
        ]
        m.d.sync += [
            waiting.eq(waiting + Cat(changes, (changes & writes).replicate(len(waiting) - 1))),
            written.eq(written + writes),
            read.eq(read + reads),
            # A clock late: the byte that is given meanwhile is the last for which there is room.
            full.eq(waiting[-1] & ~waiting[1:-1].any()),
            self.o.valid.eq(waiting[-1] | (self.o.valid & ~self.o.ready)),
        ]
        with m.If(reads):
            m.d.sync += byte.eq(r_port.data)
        with m.If(self.flush):
            m.d.sync += [
                waiting.eq(0),
                written.eq(0),
                read.eq(0),
                full.eq(0),
                self.o.valid.eq(0),
            ]

        return m
