"""Two adders with registers, which some FPGAs have in their multipliers."""

from typing import Any, Protocol

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AdderPair", "AdderPairFactory"]


class AdderPairFactory(Protocol):
    """Makes an :class:`AdderPair`, or what an FPGA has that does the same."""

    def __call__(self, *, width: int, late: tuple[bool, bool] = (False, False)) -> Any:
        """Make a pair of adders of ``width`` bits, each a clock later if it is ``late``.

        Returns a component with the members of :class:`AdderPair`. Raises :exc:`support.errors.InputError` if the FPGA
        has no such adders.
        """


class AdderPair(wiring.Component):
    """Adds ``a[i] + b[i]`` modulo ``2 ** width`` for i = 0 and 1, or hands on ``a[i]``.

    Throughput: an addition each per clock. Latency: one clock, or two for an adder that is ``late``. No reset.
    Cost: a LUT and a flip-flop per bit, and a late adder two flip-flops per bit more; on the iCE40, as its family makes
    it, a multiplier and nothing else.

    Parameters
    ----------
    width : :class:`int`
        Bits.
    late : pair of :class:`bool`
        Which adders have registers before them.

    Members
    -------
    a, b : :py:`In(data.ArrayLayout(width, 2))`
    alone : :py:`In(1)`
        In the last clock before the sum: hand on ``a``.
    sums : :py:`Out(data.ArrayLayout(width, 2))`
    """

    def __init__(self, *, width: int, late: tuple[bool, bool] = (False, False)):
        self.width = width
        self.late  = late

        pair = data.ArrayLayout(width, 2)
        super().__init__({"a": In(pair), "b": In(pair), "alone": In(1), "sums": Out(pair)})

    def elaborate(self, platform):
        m = Module()

        for index, late in enumerate(self.late):
            a, b = self.a[index], self.b[index]
            if late:
                before_a = Signal(self.width, name=f"a{index}", reset_less=True)
                before_b = Signal(self.width, name=f"b{index}", reset_less=True)
                m.d.sync += before_a.eq(a)
                m.d.sync += before_b.eq(b)
                a, b = before_a, before_b
            total = Signal(self.width, name=f"total{index}", reset_less=True)
            m.d.sync += total.eq(Mux(self.alone, a, a + b))
            m.d.comb += self.sums[index].eq(total)

        return m
