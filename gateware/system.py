"""Accelerator and host link: everything behind the pins ``rx`` and ``tx``. What simulations run."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from arch.link import TIMEOUT_BITS
from gateware.engine.accelerator import START_CYCLES, Accelerator
from gateware.engine.configuration import EngineConfig
from gateware.engine.spike_memory import RamFactory
from gateware.link.handover import hand_over_images
from gateware.link.host_link import HostLink
from gateware.link.receiver import COMMIT_CYCLES
from gateware.link.uart import UartReceiver
from gateware.source import NetworkSource

__all__ = ["System"]


class System(wiring.Component):
    """Classifies the images that a host sends by the protocol of :mod:`arch.link`.

    Throughput and latency are those of :class:`gateware.engine.accelerator.Accelerator`; on the line a byte takes
    10 * ``divisor`` clocks. After reset the accelerator fills its spike memory, in ``config.spike_words`` clocks; an
    image that is sent earlier is answered with the error ``BUSY``. The inference begins :meth:`start_cycles_of` clocks
    after the last bit of the image's frame, if the engine is free and every pixel is in memory.

    Parameters
    ----------
    config : :class:`EngineConfig`
        The circuit.
    source : :class:`gateware.source.NetworkSource`
        Where the network comes from.
    divisor : :class:`int`
        Clocks per bit of the line, at least 4.
    timeout_bits : :class:`int`
        Bit times of silence that end a frame (:class:`gateware.link.host_link.HostLink`). Tests shorten it.
    large_ram : :class:`gateware.engine.spike_memory.RamFactory`, optional
        Makes the spike memory; None lets the tools infer block RAM, as in every simulation.

    Members
    -------
    rx : :py:`In(1)`
    tx : :py:`Out(1)`
    busy : :py:`Out(1)`
        An inference is running.
    """

    def __init__(self, config: EngineConfig, source: NetworkSource, *, divisor: int,
                 timeout_bits: int = TIMEOUT_BITS, large_ram: RamFactory | None = None):
        self.config       = config
        self.source       = source
        self.divisor      = divisor
        self.timeout_bits = timeout_bits
        self.large_ram    = large_ram

        super().__init__({
            "rx":   In(1, init=1),
            "tx":   Out(1, init=1),
            "busy": Out(1),
        })

    @staticmethod
    def start_cycles_of(divisor: int) -> int:
        """Clocks from the end of the last stop bit of an image's frame to the first clock of the inference.

        Negative for slow lines, because a stop bit is sampled at its middle.
        """
        # One clock is the register between the link and the accelerator.
        return UartReceiver.latency_of(divisor) + COMMIT_CYCLES + 1 + START_CYCLES - 10 * divisor

    def elaborate(self, platform):
        m = Module()

        source = self.source

        m.submodules.link        = link        = HostLink(
            divisor=self.divisor, info=source.info_block, timeout_bits=self.timeout_bits)
        m.submodules.accelerator = accelerator = Accelerator(
            self.config, contents=source.contents, large_ram=self.large_ram)

        wiring.connect(m, accelerator.o_words, link.i_words)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.busy.eq(accelerator.busy),
        ]

        sizes = accelerator if source.image_bytes is None else source
        m.d.comb += [
            link.image_bytes.eq(sizes.image_bytes),
            link.result_words.eq(sizes.result_words),
        ]

        hand_over_images(m, link=link, accelerator=accelerator)

        return m
