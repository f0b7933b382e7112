"""Packets of bytes become images of the accelerator; a packet of a wrong length is refused."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from arch.link import ErrorCode

__all__ = ["ImageGate", "byte_layout"]


def byte_layout() -> data.StructLayout:
    """Describe a byte of a packet; ``last`` ends the packet."""
    return data.StructLayout({
        "data": 8,
        "last": 1,
    })


class ImageGate(wiring.Component):
    """Hands packets of ``image_bytes`` bytes to an accelerator, each as an image, and refuses all others.

    A packet ends with the byte that has ``last``. The image begins when its first byte waits and ``accept`` is high. If
    ``last`` comes with byte number ``image_bytes``, the image is committed. Else it is aborted, and what is left of the
    packet is swallowed; then the refusal waits in ``o_refusals``, and no byte is taken before the refusal is.

    A gate that is ``patient`` lets the first byte wait until ``accept`` is high; one that is not swallows a packet
    whose first byte comes while ``accept`` is low, and refuses it.

    Throughput: a byte per clock, and two clocks between packets. Latency: a byte is offered to the accelerator in the
    clock in which it is valid, ``commit`` or ``abort`` comes in the clock after the byte that decides on the image.
    Back-pressure: that of the accelerator, or of the refusals. Reset: between packets.
    Cost on the iCE40 for images of 784 bytes: 46 LUTs, 15 flip-flops.

    Parameters
    ----------
    image_bytes : :class:`int`
        Bytes of an image, at least 1.
    patient : :class:`bool`
        Wait for a free buffer rather than refuse the image.

    Members
    -------
    i : :py:`In(stream.Signature(byte_layout()))`
    accept : :py:`In(1)`
        There is room for an image.
    begin, commit, abort : :py:`Out(1)`
        Strobes: an image begins before its first byte, is complete, is to be forgotten.
    o_pixels : :py:`Out(stream.Signature(8))`
    o_refusals : :py:`Out(stream.Signature(4))`
        An :class:`arch.link.ErrorCode`, why a packet was refused: ``WRONG_LENGTH`` or ``BUSY``.
    between : :py:`Out(1)`
        The next byte is the first of a packet.

    Raises
    ------
    :exc:`ValueError`
        If ``image_bytes`` is less than 1.
    """

    def __init__(self, *, image_bytes: int, patient: bool = True):
        if image_bytes < 1:
            raise ValueError(f"image_bytes must be at least 1, not {image_bytes}")
        self.image_bytes = image_bytes
        self.patient     = patient

        super().__init__({
            "i":          In(stream.Signature(byte_layout())),
            "accept":     In(1),
            "begin":      Out(1),
            "commit":     Out(1),
            "abort":      Out(1),
            "o_pixels":   Out(stream.Signature(8)),
            "o_refusals": Out(stream.Signature(4)),
            "between":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        # What is left of the image behind the byte that comes next.
        left    = Signal(range(self.image_bytes))
        final   = Signal()
        ended   = Signal()  # the packet is over
        refusal = Signal(4)
        m.d.comb += [
            final.eq(left == 0),
            self.o_pixels.payload.eq(self.i.p.data),
            self.o_refusals.payload.eq(refusal),
        ]

        with m.FSM():
            with m.State("BETWEEN"):
                m.d.comb += self.between.eq(1)
                m.d.sync += left.eq(self.image_bytes - 1)
                m.d.sync += ended.eq(0)
                with m.If(self.i.valid & self.accept):
                    m.d.comb += self.begin.eq(1)
                    m.next = "IMAGE"
                if not self.patient:
                    with m.Elif(self.i.valid):
                        m.d.sync += refusal.eq(ErrorCode.BUSY)
                        m.next = "SWALLOW"
            with m.State("IMAGE"):
                m.d.comb += self.o_pixels.valid.eq(self.i.valid)
                m.d.comb += self.i.ready.eq(self.o_pixels.ready)
                with m.If(self.i.valid & self.o_pixels.ready):
                    m.d.sync += left.eq(left - 1)
                    m.d.sync += ended.eq(self.i.p.last)
                    with m.If(final & self.i.p.last):
                        m.next = "COMMIT"
                    with m.Elif(final | self.i.p.last):
                        m.next = "ABORT"
            with m.State("COMMIT"):
                m.d.comb += self.commit.eq(1)
                m.next = "BETWEEN"
            with m.State("ABORT"):
                m.d.comb += self.abort.eq(1)
                m.d.sync += refusal.eq(ErrorCode.WRONG_LENGTH)
                with m.If(ended):
                    m.next = "REFUSE"
                with m.Else():
                    m.next = "SWALLOW"
            with m.State("SWALLOW"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid & self.i.p.last):
                    m.next = "REFUSE"
            with m.State("REFUSE"):
                m.d.comb += self.o_refusals.valid.eq(1)
                with m.If(self.o_refusals.ready):
                    m.next = "BETWEEN"

        return m
