"""The top modules: the accelerator with the ports that systems on chips have, under the names of their standards.

All are in one clock domain, with the clock ``clk`` and the synchronous, active-high reset ``rst``.
"""

import dataclasses
import enum
from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from gateware.embedded.axi_lite import AxiLite, AxiLiteSignature
from gateware.embedded.core import Core
from gateware.embedded.registers import Registers, address_width
from gateware.embedded.wishbone import Wishbone, WishboneSignature
from gateware.engine.configuration import EngineConfig
from gateware.source import Baked

__all__ = ["AxiTop", "Interface", "Port", "StreamTop", "WishboneTop", "ports_of", "top_of"]


class Interface(enum.StrEnum):
    """How a system on a chip reaches the accelerator."""

    #: Images and results are packets of AXI4-Stream; there is nothing else.
    STREAM = "stream"
    #: The same, and registers on AXI4-Lite.
    AXI = "axi"
    #: Registers on Wishbone, images and results included.
    WISHBONE = "wishbone"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """A port of a top module."""

    name: str
    #: ``In`` or ``Out``, as the accelerator sees it.
    flow: Any
    #: Bits.
    width: int
    #: What it is, as a sentence of the tables without its full stop.
    meaning: str

    @property
    def is_input(self) -> bool:
        """Whether the system drives it."""
        return self.flow == In


#: Ports of every module, which Amaranth makes.
_DOMAIN = (
    Port(name="clk", flow=In, width=1, meaning="clock of everything; all signals are sampled at its rising edge"),
    Port(name="rst", flow=In, width=1, meaning="synchronous reset, active high, for one clock or more"),
)
_STREAMS = (
    Port(name="s_axis_tdata", flow=In, width=8, meaning="a byte of an image, in row, column, channel order"),
    Port(name="s_axis_tlast", flow=In, width=1, meaning="it is the last byte of the image"),
    Port(name="s_axis_tvalid", flow=In, width=1, meaning="there is a byte"),
    Port(name="s_axis_tready", flow=Out, width=1, meaning="the byte is taken in this clock"),
    Port(name="m_axis_tdata", flow=Out, width=32,
         meaning="a word of a result: class, cycles, stalls, 0, then the score of each class, signed"),
    Port(name="m_axis_tlast", flow=Out, width=1, meaning="it is the last word of the result"),
    Port(name="m_axis_tuser", flow=Out, width=1,
         meaning="the image was refused, and the only word says why: 2, wrong length"),
    Port(name="m_axis_tvalid", flow=Out, width=1, meaning="there is a word"),
    Port(name="m_axis_tready", flow=In, width=1, meaning="the word is taken in this clock"),
)
_STATE = (
    Port(name="busy", flow=Out, width=1, meaning="an inference is running"),
)
_INTERRUPT = (
    Port(name="irq", flow=Out, width=1, meaning="interrupt, a level: RESULT, LENGTH or EARLY is set in STATUS"),
)
_AXI_LITE = {
    "awaddr": "address of a write, in bytes", "awprot": "ignored", "awvalid": "there is an address of a write",
    "awready": "it is taken in this clock", "wdata": "data of a write", "wstrb": "bytes of it that are written",
    "wvalid": "there are data of a write", "wready": "they are taken in this clock",
    "bresp": "how the write ended: 0, OKAY, or 2, SLVERR", "bvalid": "a write has ended",
    "bready": "its answer is taken in this clock", "araddr": "address of a read, in bytes", "arprot": "ignored",
    "arvalid": "there is an address of a read", "arready": "it is taken in this clock", "rdata": "data of a read",
    "rresp": "how the read ended: 0, OKAY", "rvalid": "there are data of a read",
    "rready": "they are taken in this clock",
}
_WISHBONE = {
    "cyc": "a bus cycle is under way", "stb": "there is an access", "we": "it is a write",
    "adr": "its address, in words of 32 bits", "sel": "bytes of a word that are written", "dat_w": "data of a write",
    "dat_r": "data of a read", "ack": "the access has ended", "err": "the access has ended: a write that was refused",
}


def _bus_ports(prefix, signature, meanings):
    """Describe the ports of a bus, as its slave has them."""
    return tuple(Port(name=prefix + name, flow=member.flow.flip(), width=Shape.cast(member.shape).width,
                      meaning=meanings[name]) for name, member in signature.members.items())


def ports_of(interface: Interface, *, classes: int) -> tuple[Port, ...]:
    """Describe the ports of a top module, in the order of the module's head; widths depend on the classes."""
    width = address_width(classes)
    if interface is Interface.STREAM:
        return _DOMAIN + _STREAMS + _STATE
    if interface is Interface.AXI:
        bus = _bus_ports("s_axil_", AxiLiteSignature(width + 2), _AXI_LITE)
        return _DOMAIN + _STREAMS + bus + _STATE + _INTERRUPT
    return _DOMAIN + _bus_ports("wb_", WishboneSignature(width), _WISHBONE) + _STATE + _INTERRUPT


def _members(interface, source):
    """Make the members of a top module; clock and reset are those of Amaranth's domain."""
    return {port.name: Member(port.flow, port.width)
            for port in ports_of(interface, classes=source.info.classes)[len(_DOMAIN):]}


def _connect_images(m, top, images):
    """Join ``s_axis`` of a top module to a stream of bytes."""
    m.d.comb += [
        images.p.data.eq(top.s_axis_tdata),
        images.p.last.eq(top.s_axis_tlast),
        images.valid.eq(top.s_axis_tvalid),
        top.s_axis_tready.eq(images.ready),
    ]


def _connect_results(m, top, words):
    """Join ``m_axis`` of a top module to a stream of words of results."""
    m.d.comb += [
        top.m_axis_tdata.eq(words.p.word),
        top.m_axis_tlast.eq(words.p.last),
        top.m_axis_tuser.eq(words.p.error),
        top.m_axis_tvalid.eq(words.valid),
        words.ready.eq(top.m_axis_tready),
    ]


class StreamTop(wiring.Component):
    """The accelerator with an AXI4-Stream of images and one of results.

    What a packet means, throughput and reset are those of :class:`gateware.embedded.core.Core`.

    Parameters
    ----------
    config : :class:`EngineConfig`
    source : :class:`gateware.source.Baked`

    Members
    -------
    Those of :func:`ports_of` for :attr:`Interface.STREAM`, but for ``clk`` and ``rst``.
    """

    def __init__(self, config: EngineConfig, source: Baked):
        self.config = config
        self.source = source

        super().__init__(_members(Interface.STREAM, source))

    def elaborate(self, platform):
        m = Module()

        m.submodules.core = core = Core(self.config, self.source)

        _connect_images(m, self, core.i_bytes)
        _connect_results(m, self, core.o_words)
        m.d.comb += self.busy.eq(core.busy)

        return m


class AxiTop(wiring.Component):
    """The accelerator with streams as of :class:`StreamTop`, and registers on AXI4-Lite.

    The registers are those of :mod:`arch.registers` but for the pixels; they show the last result whose words have
    passed ``m_axis``.

    Parameters
    ----------
    config : :class:`EngineConfig`
    source : :class:`gateware.source.Baked`

    Members
    -------
    Those of :func:`ports_of` for :attr:`Interface.AXI`, but for ``clk`` and ``rst``.
    """

    def __init__(self, config: EngineConfig, source: Baked):
        self.config = config
        self.source = source

        super().__init__(_members(Interface.AXI, source))

    def elaborate(self, platform):
        m = Module()

        m.submodules.core      = core      = Core(self.config, self.source)
        m.submodules.registers = registers = Registers(self.source, holds=False)
        m.submodules.axi_lite  = axi_lite  = AxiLite(self.source.info.classes)

        _connect_images(m, self, core.i_bytes)
        wiring.connect(m, core.o_words, registers.i_words)
        _connect_results(m, self, registers.o_words)
        wiring.connect(m, axi_lite.registers, registers.bus)
        _connect_bus(m, self, "s_axil_", axi_lite.axi)
        _connect_state(m, self, core, registers)

        return m


class WishboneTop(wiring.Component):
    """The accelerator behind registers on Wishbone: a processor writes the pixels and reads the result.

    The registers are those of :mod:`arch.registers`. A result stays until it is taken; the next image may come and be
    computed meanwhile, and its result waits.

    Parameters
    ----------
    config : :class:`EngineConfig`
    source : :class:`gateware.source.Baked`

    Members
    -------
    Those of :func:`ports_of` for :attr:`Interface.WISHBONE`, but for ``clk`` and ``rst``.
    """

    def __init__(self, config: EngineConfig, source: Baked):
        self.config = config
        self.source = source

        super().__init__(_members(Interface.WISHBONE, source))

    def elaborate(self, platform):
        m = Module()

        m.submodules.core      = core      = Core(self.config, self.source, patient=False)
        m.submodules.registers = registers = Registers(self.source, holds=True)
        m.submodules.wishbone  = wishbone  = Wishbone(self.source.info.classes)

        wiring.connect(m, registers.o_bytes, core.i_bytes)
        wiring.connect(m, core.o_words, registers.i_words)
        wiring.connect(m, wishbone.registers, registers.bus)
        _connect_bus(m, self, "wb_", wishbone.wishbone)
        _connect_state(m, self, core, registers)

        return m


def _connect_bus(m, top, prefix, bus):
    """Join the ports of a top module whose names begin with ``prefix`` to the end of a bus."""
    for name, member in bus.signature.members.items():
        port, signal = getattr(top, prefix + name), getattr(bus, name)
        m.d.comb += signal.eq(port) if member.flow == In else port.eq(signal)


def _connect_state(m, top, core, registers):
    """Show the state of the core to the registers and outside."""
    m.d.comb += [
        registers.ready.eq(core.ready),
        registers.busy.eq(core.busy),
        registers.refused.eq(core.refused),
        registers.reason.eq(core.reason),
        top.busy.eq(core.busy),
        top.irq.eq(registers.irq),
    ]


def top_of(interface: Interface) -> type[StreamTop] | type[AxiTop] | type[WishboneTop]:
    """Top module of an interface."""
    return {Interface.STREAM: StreamTop, Interface.AXI: AxiTop, Interface.WISHBONE: WishboneTop}[interface]
