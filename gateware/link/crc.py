"""The CRC of the host link, one bit at a time."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from arch.link import CRC_INIT, CRC_POLYNOMIAL

__all__ = ["SerialCrc"]


class SerialCrc(wiring.Component):
    """CRC-16/MCRF4XX (:func:`arch.link.crc16`) over the bits of a line, in their order on the line.

    Each clock with ``enable`` takes ``bit`` into the CRC; ``crc`` shows it from the next clock on. Feeding back
    ``crc[0]`` shifts the CRC out, least significant bit first, as it is transmitted. Over data followed by their CRC it
    ends at 0, then ``good`` is high. Throughput: one bit per clock. ``clear`` takes precedence. No back-pressure. After
    reset and ``clear`` the CRC is FFFFh. Cost on the iCE40: 26 LUTs, 16 flip-flops.

    Members
    -------
    clear : :py:`In(1)`
        Start anew.
    enable : :py:`In(1)`
        Take ``bit``.
    bit : :py:`In(1)`
    crc : :py:`Out(16)`
    good : :py:`Out(1)`
        ``crc`` is 0.
    """

    clear:  In(1)
    enable: In(1)
    bit:    In(1)
    crc:    Out(16, init=CRC_INIT)
    good:   Out(1)

    def elaborate(self, platform):
        m = Module()

        feedback = Signal()
        m.d.comb += feedback.eq(self.bit ^ self.crc[0])
        m.d.comb += self.good.eq(self.crc == 0)

        with m.If(self.clear):
            m.d.sync += self.crc.eq(CRC_INIT)
        with m.Elif(self.enable):
            m.d.sync += self.crc.eq((self.crc >> 1) ^ (feedback.replicate(16) & CRC_POLYNOMIAL))

        return m
