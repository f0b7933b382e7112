"""AXI4-Lite: a bus that reads and writes the registers."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from gateware.embedded.registers import RegisterBus

__all__ = ["AxiLite", "AxiLiteSignature"]

#: Responses of the bus (AMBA AXI protocol specification, IHI 0022, "Read and write response structure").
OKAY, SLVERR = 0, 2


class AxiLiteSignature(wiring.Signature):
    """The five channels of AXI4-Lite with 32 bits of data, from the side of the master.

    ``awprot`` and ``arprot`` are taken and ignored: every access may reach the registers.

    Parameters
    ----------
    address_width : :class:`int`
        Bits of an address of bytes.
    """

    def __init__(self, address_width: int):
        super().__init__({
            "awaddr":  Out(address_width),
            "awprot":  Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata":   Out(32),
            "wstrb":   Out(4),
            "wvalid":  Out(1),
            "wready":  In(1),
            "bresp":   In(2),
            "bvalid":  In(1),
            "bready":  Out(1),
            "araddr":  Out(address_width),
            "arprot":  Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata":   In(32),
            "rresp":   In(2),
            "rvalid":  In(1),
            "rready":  Out(1),
        })


class AxiLite(wiring.Component):
    """Carries out one access at a time: a write when its address and its data are there, or a read.

    A write that the registers refuse is answered with SLVERR; every other access with OKAY. Accesses that wait at the
    same time take turns.

    Throughput: a write in three clocks, a read in five. Latency: ``bvalid`` is high two clocks after address and data
    of a write are, ``rvalid`` four clocks after the address of a read. Back-pressure: an answer waits for the master.
    Reset: no access.
    Cost on the iCE40 for ten classes: 34 LUTs, 44 flip-flops.

    Parameters
    ----------
    classes : :class:`int`

    Members
    -------
    axi : :py:`In(AxiLiteSignature(...))`
        With two bits of the address more than ``registers``; the lower two are ignored.
    registers : :py:`Out(RegisterBus(classes))`
    """

    def __init__(self, classes: int):
        registers = RegisterBus(classes)

        super().__init__({
            "axi":       In(AxiLiteSignature(registers.members["address"].shape + 2)),
            "registers": Out(registers),
        })

    def elaborate(self, platform):
        m = Module()

        axi, registers = self.axi, self.registers
        # The registers' address stays for a whole access: it is the bus that holds it.
        address = Signal.like(registers.address)
        turn    = Signal()  # a read is next, if both wait
        m.d.comb += [
            registers.address.eq(address),
            registers.strobe.eq(axi.wstrb),
            registers.write_data.eq(axi.wdata),
        ]

        with m.FSM():
            with m.State("IDLE"):
                write = axi.awvalid & axi.wvalid
                with m.If(write & ~(axi.arvalid & turn)):
                    m.d.sync += address.eq(axi.awaddr[2:])
                    m.next = "WRITE"
                with m.Elif(axi.arvalid):
                    m.d.sync += address.eq(axi.araddr[2:])
                    m.next = "ADDRESS"
            with m.State("WRITE"):
                m.d.comb += registers.write.eq(1)
                m.d.comb += axi.awready.eq(registers.done)
                m.d.comb += axi.wready.eq(registers.done)
                m.d.sync += axi.bresp.eq(Mux(registers.refused, SLVERR, OKAY))
                m.d.sync += turn.eq(1)
                with m.If(registers.done):
                    m.next = "ANSWER-WRITE"
            with m.State("ANSWER-WRITE"):
                m.d.comb += axi.bvalid.eq(1)
                with m.If(axi.bready):
                    m.next = "IDLE"
            with m.State("ADDRESS"):
                m.d.comb += axi.arready.eq(1)
                m.d.sync += turn.eq(0)
                m.next = "READ"
            with m.State("READ"):
                m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += axi.rdata.eq(registers.read_data)
                m.next = "ANSWER-READ"
            with m.State("ANSWER-READ"):
                m.d.comb += axi.rvalid.eq(1)
                with m.If(axi.rready):
                    m.next = "IDLE"

        return m
