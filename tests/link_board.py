# amaranth: UnusedElaboratable=no
"""Designs with the ports of a board, for tests of the host link: an echo, and a core whose result is a sum of
pixels.
"""

from pathlib import Path

from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from arch.link import RESULT_HEADER_WORDS, ErrorCode, Info, InputEncoding, Result
from gateware.engine.readout import result_layout
from gateware.link.host_link import HostLink
from gateware.link.uart import UartReceiver, UartTransmitter

#: Compiled simulations, kept between runs of the tests.
CACHE = Path(__file__).parents[1] / "build" / "verilated"
CLASSES = 3
SCORE_STEP = -1000
#: Value of the pixels that a :class:`SumCore` may hesitate to take.
SLOW_PIXEL = 0xFF
#: Clocks in which the core says that it waited for the flash, in every result.
FLASH_STALLS = 7


def make_info(*, height=4, width=5, channels=1, classes=CLASSES, encoding=InputEncoding.UNSIGNED, timesteps=4,
              clock_khz=48_000, name="sum of pixels"):
    return Info(
        lanes=8, width=16, circuit_timesteps=4, timesteps=timesteps, encoding=encoding, channels=channels,
        image_height=height, image_width=width, classes=classes, clock_khz=clock_khz, digest=bytes(range(8)),
        name=name,
    )  # fmt: skip


def expected_result(image: bytes, cycles: int) -> Result:
    """The software twin of :class:`SumCore`; ``cycles`` is what its ``delay`` port said."""
    total = sum(image) & 0xFFFF
    return Result(
        label=total % 2,
        cycles=cycles,
        stalls=len(image),
        flash_stalls=FLASH_STALLS,
        scores=tuple(total + SCORE_STEP * index for index in range(CLASSES)),
    )


class SumCore(wiring.Component):
    """Sums an image's pixels; two images fit, as in the accelerator. ``delay`` clocks pass per inference.

    A pixel of value :data:`SLOW_PIXEL` waits for ``brake`` clocks before it is taken, others are taken at once.
    """

    def __init__(self):
        super().__init__(
            {
                "i_pixels": In(stream.Signature(8)),
                "begin": In(1),
                "commit": In(1),
                "abort": In(1),
                "accept": Out(1),
                "delay": In(16),
                "brake": In(8),
                "o_words": Out(stream.Signature(result_layout())),
            }
        )

    def elaborate(self, platform):
        m = Module()

        arriving = Signal(32)
        m.submodules.sums = sums = fifo.SyncFIFOBuffered(width=32, depth=2)
        timer = Signal(16)
        word = Signal(range(RESULT_HEADER_WORDS + CLASSES))
        total = sums.r_data[:16]

        taken = Signal()
        waited = Signal(8)
        m.d.comb += self.i_pixels.ready.eq((self.i_pixels.payload != SLOW_PIXEL) | (waited == self.brake))
        m.d.comb += taken.eq(self.i_pixels.valid & self.i_pixels.ready)
        m.d.sync += waited.eq(Mux(self.i_pixels.valid & ~taken, waited + 1, 0))
        m.d.comb += self.accept.eq(sums.level < 2)
        with m.If(self.begin):
            m.d.sync += arriving.eq(0)
        with m.Elif(taken):
            m.d.sync += arriving[:16].eq(arriving[:16] + self.i_pixels.payload)
            m.d.sync += arriving[16:].eq(arriving[16:] + 1)
        m.d.comb += sums.w_data.eq(arriving)
        m.d.comb += sums.w_en.eq(self.commit)

        content = Signal(32)
        last = Signal()
        m.d.comb += last.eq(word == RESULT_HEADER_WORDS + CLASSES - 1)
        # Whole: a bit of a port that is never assigned becomes Verilog that Verilator does not execute.
        m.d.comb += self.o_words.payload.eq(Cat(content, last, C(0, 1)))
        with m.Switch(word):
            with m.Case(0):
                m.d.comb += content.eq(total[0])
            with m.Case(1):
                m.d.comb += content.eq(self.delay)
            with m.Case(2):
                m.d.comb += content.eq(sums.r_data[16:])
            with m.Case(3):
                m.d.comb += content.eq(FLASH_STALLS)
            for index in range(CLASSES):
                with m.Case(RESULT_HEADER_WORDS + index):
                    m.d.comb += content.eq(total.as_signed() + SCORE_STEP * index)

        with m.If(sums.r_rdy & (timer < self.delay)):
            m.d.sync += timer.eq(timer + 1)
        with m.Elif(sums.r_rdy):
            m.d.comb += self.o_words.valid.eq(1)
            with m.If(self.o_words.ready):
                m.d.sync += word.eq(word + 1)
                with m.If(last):
                    m.d.sync += word.eq(0)
                    m.d.sync += timer.eq(0)
                    m.d.comb += sums.r_en.eq(1)

        return m


class Selector(wiring.Component):
    """Chooses one of ``models``, each an info block or the error that its choice ends with; model 0 at first.

    A choice takes 128 clocks. The info block is written in the last 64 of them.
    """

    def __init__(self, models):
        self.models = models
        super().__init__(
            {
                "select": In(1),
                "model": In(8),
                "selected": Out(1, init=1),
                "status": Out(4),
                "info_write": Out(1),
                "info_index": Out(6),
                "info_data": Out(8),
                "image_bytes": Out(16, init=models[0].image_bytes),
            }
        )

    def elaborate(self, platform):
        m = Module()
        number = Signal(8)
        clock = Signal(7)
        found = Signal()
        m.d.comb += self.info_write.eq(~self.selected & clock[6] & found)
        m.d.comb += self.info_index.eq(clock[:6])
        with m.If(self.select):
            m.d.sync += [number.eq(self.model), clock.eq(0), self.selected.eq(0)]
        with m.Elif(~self.selected):
            m.d.sync += clock.eq(clock + 1)
            m.d.sync += self.selected.eq(clock == 127)
        with m.Switch(number):
            for index, model in enumerate(self.models):
                with m.Case(index):
                    if isinstance(model, ErrorCode):
                        m.d.sync += self.status.eq(model)
                        continue
                    m.d.comb += found.eq(1)
                    m.d.comb += self.info_data.eq(Array(model.to_bytes())[self.info_index])
                    m.d.sync += [self.status.eq(0), self.image_bytes.eq(model.image_bytes)]
            with m.Default():
                m.d.sync += self.status.eq(ErrorCode.NO_MODEL)
        return m


class LinkBoard(wiring.Component):
    """A HostLink with a :class:`SumCore`, and with a :class:`Selector` if there are ``models``."""

    def __init__(self, *, divisor=4, info=None, timeout_bits=256, delay=200, brake=0, models=()):
        self.models = models
        self.info = info or (models[0] if models else make_info())
        self.delay = delay
        self.brake = brake
        self.divisor = divisor
        self.timeout_bits = timeout_bits
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = HostLink(
            divisor=self.divisor,
            info=self.info.to_bytes(),
            timeout_bits=self.timeout_bits,
            selectable=bool(self.models),
        )
        m.submodules.core = core = SumCore()
        wiring.connect(m, link.o_pixels, core.i_pixels)
        wiring.connect(m, core.o_words, link.i_words)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            core.begin.eq(link.begin),
            core.commit.eq(link.commit),
            core.abort.eq(link.abort),
            core.delay.eq(self.delay),
            core.brake.eq(self.brake),
            link.accept.eq(core.accept),
            link.result_words.eq(self.info.result_words),
        ]
        if not self.models:
            m.d.comb += link.image_bytes.eq(self.info.image_bytes)
            return m
        m.submodules.selector = selector = Selector(self.models)
        m.d.comb += [
            selector.select.eq(link.select),
            selector.model.eq(link.model),
            link.selected.eq(selector.selected),
            link.status.eq(selector.status),
            link.info_write.eq(selector.info_write),
            link.info_index.eq(selector.info_index),
            link.info_data.eq(selector.info_data),
            link.image_bytes.eq(selector.image_bytes),
        ]
        return m


class Echo(wiring.Component):
    """Sends back every character; drops what the FIFO cannot hold."""

    def __init__(self, divisor=4):
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.fifo = characters = fifo.SyncFIFOBuffered(width=8, depth=512)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            characters.w_data.eq(receiver.data),
            characters.w_en.eq(receiver.received),
            transmitter.i.valid.eq(characters.r_rdy),
            transmitter.i.payload.eq(characters.r_data.bit_select(transmitter.position, 1)),
            characters.r_en.eq(transmitter.i.ready & (transmitter.position == 7)),
        ]
        return m
