"""Streamed accelerator, flash and host link together: everything behind the pins of the UART and of the flash."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from arch.link import INFO_BYTES, ErrorCode
from arch.link import RESULT_HEADER_WORDS as HEADER_WORDS
from gateware.engine.adder_pair import AdderPairFactory
from gateware.engine.configuration import EngineConfig
from gateware.engine.masked_ram import MaskedRam, MaskedRamFactory
from gateware.engine.signature import circuit_of
from gateware.engine.spike_memory import RamFactory
from gateware.engine.streamed_accelerator import StreamedAccelerator
from gateware.flash.bus import FlashBus
from gateware.flash.loader import StreamLoader
from gateware.flash.reader import FlashMode, FlashReader
from gateware.flash.selector import ModelSelector, ModelStatus
from gateware.link.handover import hand_over_images
from gateware.link.host_link import HostLink

__all__ = ["StreamedSystem"]


class StreamedSystem(wiring.Component):
    """Classifies the images that a host sends with the models that a flash holds (:mod:`arch.flash.image`).

    After reset the flash is woken and model 0 is selected; an image that is sent earlier is answered with ``BUSY``. A
    stream whose CRC is wrong, and an inference that does not end, are answered with the error ``DAMAGED`` in place of
    the result; then engine and loader begin anew, and the next image is computed.

    Parameters
    ----------
    config : :class:`EngineConfig`
        The circuit.
    divisor : :class:`int`
        Clocks per bit of the line, at least 4.
    clock_hz : :class:`float`
        Clock, in Hz: makes the pauses of the flash.
    mode : :class:`gateware.flash.reader.FlashMode`
    latency : :class:`int`
        Clocks of the flash's pins (:attr:`gateware.flash.phy.FlashPins.latency`).
    base : :class:`int`
        Address of the models in the flash.
    large_ram, masked_ram, adder_pair
        As of :class:`gateware.engine.streamed_accelerator.StreamedAccelerator`.

    Members
    -------
    rx : :py:`In(1)`
    tx : :py:`Out(1)`
    flash : :py:`Out(FlashBus(...))`
    busy : :py:`Out(1)`
        An inference is running.
    """

    def __init__(self, config: EngineConfig, *, divisor: int, clock_hz: float, mode: FlashMode,
                 latency: int, base: int, large_ram: RamFactory | None = None,
                 masked_ram: MaskedRamFactory = MaskedRam, adder_pair: AdderPairFactory | None = None):
        self.config     = config
        self.divisor    = divisor
        self.clock_hz   = clock_hz
        self.mode       = mode
        self.latency    = latency
        self.base       = base
        self.large_ram  = large_ram
        self.masked_ram = masked_ram
        self.adder_pair = adder_pair

        super().__init__({
            "rx":    In(1, init=1),
            "tx":    Out(1, init=1),
            "flash": Out(FlashBus(double=mode is FlashMode.DOUBLE)),
            "busy":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        config, double = self.config, self.mode is FlashMode.DOUBLE
        flush = Signal()  # engine and loader begin anew, with the same model
        fresh = Signal()  # ... or with another one: a register, because all of both hangs on it
        m.submodules.link        = link        = HostLink(divisor=self.divisor, info=bytes(INFO_BYTES), selectable=True)
        m.submodules.reader      = reader      = FlashReader(mode=self.mode, clock_hz=self.clock_hz,
                                                             latency=self.latency)
        m.submodules.selector    = selector    = ModelSelector(config, circuit_of(config), base=self.base,
                                                               double=double)
        m.submodules.loader      = loader      = ResetInserter(fresh)(
            StreamLoader(config, double=double))
        m.submodules.accelerator = accelerator = StreamedAccelerator(
            config, large_ram=self.large_ram, masked_ram=self.masked_ram, adder_pair=self.adder_pair)

        wiring.connect(m, reader.bus, wiring.flipped(self.flash))
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.busy.eq(accelerator.busy),
        ]
        self._read_flash(m, reader=reader, loader=loader, selector=selector)
        self._fill_rings(m, reader=reader, loader=loader, rings=accelerator.rings)
        selects = self._choose_model(m, link=link, reader=reader, selector=selector, accelerator=accelerator)
        hand_over_images(m, link=link, accelerator=accelerator)
        # The loader is damaged until it is reset.
        flushes = Signal()
        m.d.comb += [
            flushes.eq((loader.damaged & ~selector.header | accelerator.overtime) & ~flush),
            accelerator.flush.eq(fresh),
            selector.restart.eq(flush),
        ]
        m.d.sync += [
            flush.eq(flushes),
            fresh.eq(flushes | selects),
            accelerator.checked.eq(loader.complete & ~loader.damaged & ~selector.header),
        ]
        self._return_results(m, link=link, accelerator=accelerator, flush=flush)

        return m

    @staticmethod
    def _read_flash(m, *, reader, loader, selector):
        """Read what the selector asks for, as long as it is wanted and the loader has room."""
        m.d.comb += [
            reader.start.eq(selector.start),
            reader.address.eq(selector.address),
            reader.run.eq(loader.run & (selector.header | (selector.status == ModelStatus.GOOD))),
            loader.start.eq(selector.start),
            loader.header.eq(selector.header),
            loader.byte.eq(reader.byte),
            loader.valid.eq(reader.valid),
            selector.byte.eq(reader.byte),
            selector.header_write.eq(loader.header_write),
            selector.place.eq(loader.place),
            selector.complete.eq(loader.complete),
            selector.damaged.eq(loader.damaged),
            selector.failed.eq(reader.failed),
        ]

    @staticmethod
    def _fill_rings(m, *, reader, loader, rings):
        """Join the loader with the rings of the engine."""
        m.d.comb += rings.byte.eq(reader.byte)
        for name, member in rings.signature.flip().members.items():
            if name == "byte":
                continue
            source, sink = (loader, rings) if member.flow is Out else (rings, loader)
            m.d.comb += getattr(sink, name).eq(getattr(source, name))

    @staticmethod
    def _choose_model(m, *, link, reader, selector, accelerator):
        """Choose model 0 when the flash is awake, and then those that the host asks for; return when, a clock ahead."""
        begun  = Signal()
        first  = Signal()
        select = Signal()
        m.d.comb += first.eq(reader.ready & ~begun)
        m.d.sync += select.eq(first | link.select)
        m.d.sync += selector.number.eq(Mux(first, 0, link.model))
        # ... and so are the findings, which the receiver answers with, and what is kept of the model.
        m.d.sync += [
            link.selected.eq((begun & ~selector.header & ~select & ~link.select) | reader.failed),
            link.status.eq(selector.status),
            link.result_words.eq(selector.kept.classes + (HEADER_WORDS + 1)),
            link.info_write.eq(selector.info_write),
            link.info_index.eq(selector.info_address),
            link.info_data.eq(selector.byte),
        ]
        m.d.comb += [
            selector.select.eq(select),
            accelerator.choose.eq(select),
            link.image_bytes.eq(selector.kept.image_bytes),
            accelerator.channels.eq(selector.kept.channels),
            accelerator.slices.eq(selector.kept.slices),
            accelerator.plane_words.eq(selector.kept.plane_words),
            accelerator.buffers.eq(selector.kept.buffers),
        ]
        with m.If(reader.ready):
            m.d.sync += begun.eq(1)
        return first | link.select

    @staticmethod
    def _return_results(m, *, link, accelerator, flush):
        """Hand results on; an inference that was given up is an error in its place."""
        given_up = Signal()
        words    = accelerator.o_words
        m.d.comb += [
            link.i_words.valid.eq(words.valid | given_up),
            link.i_words.p.eq(words.p),
            words.ready.eq(link.i_words.ready & ~given_up),
        ]
        with m.If(given_up):
            m.d.comb += [
                link.i_words.p.word.eq(ErrorCode.DAMAGED),
                link.i_words.p.last.eq(1),
                link.i_words.p.error.eq(1),
            ]
        with m.If(flush & accelerator.busy):
            m.d.sync += given_up.eq(1)
        with m.Elif(link.i_words.ready):
            m.d.sync += given_up.eq(0)
