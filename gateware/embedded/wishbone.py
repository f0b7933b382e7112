"""Wishbone: a bus that reads and writes the registers."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from gateware.embedded.registers import RegisterBus

__all__ = ["Wishbone", "WishboneSignature"]


class WishboneSignature(wiring.Signature):
    """A standard single access of Wishbone B4 with 32 bits of data and a granularity of 8, from the side of the master.

    Parameters
    ----------
    address_width : :class:`int`
        Bits of the address of a word.
    """

    def __init__(self, address_width: int):
        super().__init__({
            "cyc":   Out(1),
            "stb":   Out(1),
            "we":    Out(1),
            "adr":   Out(address_width),
            "sel":   Out(4),
            "dat_w": Out(32),
            "dat_r": In(32),
            "ack":   In(1),
            "err":   In(1),
        })


class Wishbone(wiring.Component):
    """Carries out one access at a time, as the specification's standard (not pipelined) cycles do.

    A write that the registers refuse ends with ``err`` in the place of ``ack``.

    Throughput: a write in two clocks, a read in four. Latency: ``ack`` is high in the clock after a write began, if the
    registers do not wait, and three clocks after a read began. Back-pressure: that of the registers. Reset: no access.
    Cost on the iCE40 for ten classes: 14 LUTs, 36 flip-flops.

    Parameters
    ----------
    classes : :class:`int`

    Members
    -------
    wishbone : :py:`In(WishboneSignature(...))`
    registers : :py:`Out(RegisterBus(classes))`
    """

    def __init__(self, classes: int):
        registers = RegisterBus(classes)

        super().__init__({
            "wishbone":  In(WishboneSignature(registers.members["address"].shape)),
            "registers": Out(registers),
        })

    def elaborate(self, platform):
        m = Module()

        bus, registers = self.wishbone, self.registers
        wanted = Signal()
        m.d.comb += [
            wanted.eq(bus.cyc & bus.stb),
            registers.address.eq(bus.adr),
            registers.strobe.eq(bus.sel),
            registers.write_data.eq(bus.dat_w),
        ]

        with m.FSM():
            with m.State("IDLE"):
                with m.If(wanted & bus.we):
                    m.d.comb += registers.write.eq(1)
                    with m.If(registers.done):
                        m.d.sync += bus.ack.eq(~registers.refused)
                        m.d.sync += bus.err.eq(registers.refused)
                        m.next = "ANSWER"
                with m.Elif(wanted):
                    m.next = "READ"
            with m.State("READ"):
                m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += bus.dat_r.eq(registers.read_data)
                m.d.sync += bus.ack.eq(1)
                m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.sync += [bus.ack.eq(0), bus.err.eq(0)]
                m.next = "IDLE"

        return m
