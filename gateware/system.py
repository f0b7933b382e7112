"""Accelerator and host link: everything behind the pins ``rx`` and ``tx``. What simulations run."""

import math

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from arch import network_file
from arch.link import INFO_BYTES, Info, InputEncoding
from arch.network import Encoding
from gateware.engine.accelerator import Accelerator
from gateware.engine.readout import HEADER_WORDS
from gateware.engine.spike_memory import MemoryKind
from gateware.link.host_link import HostLink
from gateware.mapper.plan import Plan

__all__ = ["System", "info_of"]


def info_of(plan: Plan, *, clock_hz: float) -> Info:
    """Describe a network on a circuit for the host."""
    network, config = plan.network, plan.config
    if network.input.encoding is Encoding.EVENTS:
        encoding = InputEncoding.EVENTS
    else:
        encoding = InputEncoding.OFFSET if network.input.zero_point else InputEncoding.UNSIGNED
    return Info(
        lanes=config.lanes, width=config.width, timesteps=config.timesteps, encoding=encoding,
        channels=network.input.channels, image_height=network.input.height, image_width=network.input.width,
        classes=network.classes, clock_khz=round(clock_hz / 1000),
        digest=bytes.fromhex(network_file.digest(network))[:8])


class System(wiring.Component):
    """Classifies the images that a host sends (:mod:`arch.link`).

    Throughput and latency: those of :class:`gateware.engine.accelerator.Accelerator`, and a byte per 10 * ``divisor``
    clocks on the line. Reset: see there.

    Parameters
    ----------
    plan : :class:`gateware.mapper.plan.Plan`
        Circuit and network.
    divisor : :class:`int`
        Clocks per bit of the line, at least 4.
    clock_hz : :class:`float`
        Clock, for the info block only.
    memory_kind : :class:`MemoryKind`
    empty : :class:`bool`
        Leave the network out: a simulation loads the memories. The circuit then depends on ``plan.config`` alone.

    Members
    -------
    rx : :py:`In(1)`
    tx : :py:`Out(1)`
    busy : :py:`Out(1)`
        An inference is running.
    """

    def __init__(self, plan: Plan, *, divisor: int, clock_hz: float = 0, memory_kind: MemoryKind = MemoryKind.BLOCK,
                 empty: bool = False):
        self.plan        = plan
        self.divisor     = divisor
        self.info        = bytes(INFO_BYTES) if empty else info_of(plan, clock_hz=clock_hz).to_bytes()
        self.memory_kind = memory_kind
        self.empty       = empty

        super().__init__({
            "rx":   In(1, init=1),
            "tx":   Out(1, init=1),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.link        = link        = HostLink(divisor=self.divisor, info=self.info)
        m.submodules.accelerator = accelerator = Accelerator(
            self.plan.config, contents=None if self.empty else self.plan.contents, memory_kind=self.memory_kind)

        wiring.connect(m, accelerator.o_words, link.i_words)
        # Strobes are as far apart as characters, so a register costs nothing and cuts the path through both blocks.
        m.d.sync += [
            accelerator.begin.eq(link.begin),
            accelerator.commit.eq(link.commit),
            accelerator.abort.eq(link.abort),
        ]
        # So are pixels: one waits here, and the FIFO's level does not reach into the link.
        pixel = accelerator.i_pixels
        m.d.comb += link.o_pixels.ready.eq(~pixel.valid)
        with m.If(pixel.ready | ~pixel.valid):
            m.d.sync += pixel.valid.eq(link.o_pixels.valid & ~pixel.valid)
        with m.If(~pixel.valid):
            m.d.sync += pixel.payload.eq(link.o_pixels.payload)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.busy.eq(accelerator.busy),
            link.accept.eq(accelerator.accept),
        ]
        if self.empty:
            m.d.comb += link.image_bytes.eq(accelerator.image_bytes)
            m.d.comb += link.result_words.eq(accelerator.result_words)
        else:
            # Known when the circuit is built: constants save the registers.
            network = self.plan.network
            m.d.comb += link.image_bytes.eq(math.prod(network.input.shape))
            m.d.comb += link.result_words.eq(HEADER_WORDS + network.classes)

        return m
