"""Decoder of five weights to a byte."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from arch.flash.trits import SET_BANKS

__all__ = ["TritDecoder"]


class TritDecoder(wiring.Component):
    """Decodes a byte into five weights: :func:`arch.flash.trits.digits_of` in gates.

    Combinational. Every byte has weights; those of a spare byte are those of a smaller byte.
    Cost on the iCE40: 15 LUTs, 3 levels of them.

    Members
    -------
    byte : :py:`In(8)`
    trits : :py:`Out(data.ArrayLayout(2, 5))`
        Weights in the 2-bit code of :mod:`arch.ternary`.
    """

    byte:  In(8)
    trits: Out(data.ArrayLayout(2, SET_BANKS))

    def elaborate(self, platform):
        m = Module()

        byte   = self.byte
        digits = [Signal(2, name=f"digit{index}") for index in range(SET_BANKS)]
        twos   = Signal()   # the last two digits are 2
        low    = Signal(5)  # the first three digits
        m.d.comb += twos.eq(byte[2:5].all())
        m.d.comb += low.eq(Mux(twos, Cat(byte[:2], byte[5:]), byte[:5]))

        with m.If(twos):
            m.d.comb += [digits[3].eq(2), digits[4].eq(2)]
        with m.Elif(byte[5:7].all()):
            m.d.comb += [digits[3].eq(byte[7]), digits[4].eq(2)]
        with m.Else():
            m.d.comb += [digits[3].eq(byte[5:7]), digits[4].eq(byte[7])]

        with m.If(low[:2].all()):
            m.d.comb += [digits[0].eq(Cat(low[2] & ~low[3], low[3])), digits[1].eq(low[4]), digits[2].eq(2)]
        with m.Elif(low[2:4].all()):
            m.d.comb += [digits[0].eq(low[:2]), digits[1].eq(2), digits[2].eq(2)]
        with m.Else():
            m.d.comb += [digits[0].eq(low[:2]), digits[1].eq(low[2:4]), digits[2].eq(low[4])]

        for trit, digit in zip(self.trits, digits, strict=True):
            m.d.comb += trit.eq(Cat(digit.any(), digit[1]))

        return m
