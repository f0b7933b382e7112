"""The accelerator's state, last result and counters as words at addresses (:mod:`arch.registers`)."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from arch.link import INFO_BYTES, ErrorCode
from arch.registers import REGISTER_MAP_VERSION, REGISTERS, SCORES_OFFSET, aperture_bytes
from gateware.embedded.image_gate import byte_layout
from gateware.engine.readout import HEADER_WORDS, result_layout
from gateware.source import Baked

__all__ = ["RegisterBus", "Registers", "address_width"]

#: Registers by name, as numbers of words.
_WORDS = {register.name: register.offset // 4 for register in REGISTERS}


def address_width(classes: int) -> int:
    """Bits of the address of a word."""
    return (aperture_bytes(classes) // 4 - 1).bit_length()


class RegisterBus(wiring.Signature):
    """What a bus does to the registers, from the side of the bus.

    ``read_data`` follows ``address`` by two clocks. ``write`` is held, with ``address``, ``strobe`` and ``write_data``,
    until ``done``; ``refused`` is valid with it: there is no such register to write, or a byte of it is missing.

    Parameters
    ----------
    classes : :class:`int`
    """

    def __init__(self, classes: int):
        super().__init__({
            "address":    Out(address_width(classes)),
            "read_data":  In(32),
            "write":      Out(1),
            "strobe":     Out(4),
            "write_data": Out(32),
            "done":       In(1),
            "refused":    In(1),
        })


class Registers(wiring.Component):
    """Keeps what software reads, and acts on what it writes.

    Each word of a result is seen as it passes from ``i_words`` to ``o_words``. If ``holds``, there is no ``o_words``: a
    result is taken from ``i_words`` as a whole and kept until CONTROL.TAKE, and the next one waits meanwhile. Then
    PIXELS and PIXELS_LAST are registers, too, and their bytes leave through ``o_bytes``: a write is done when the bytes
    of the one before have left.

    Throughput: as the bus asks. Latency: ``read_data`` follows ``address`` by two clocks. Back-pressure: ``done`` waits
    for bytes of pixels only. Reset: no result, no refused image, counters at zero; scores are undefined until the first
    result. Cost: a memory of 16 words and one of ``classes`` words, of 32 bits each, and about 330 flip-flops.

    Parameters
    ----------
    source : :class:`gateware.source.Baked`
        The network.
    holds : :class:`bool`
        Keep a result until it is taken, and have the registers of pixels.

    Members
    -------
    bus : :py:`In(RegisterBus(classes))`
    i_words : :py:`In(stream.Signature(result_layout()))`
    o_words : :py:`Out(stream.Signature(result_layout()))`
        Unless ``holds``.
    o_bytes : :py:`Out(stream.Signature(byte_layout()))`
        If ``holds``.
    ready, busy, refused, reason : :py:`In(...)`
        As of :class:`gateware.embedded.core.Core`.
    irq : :py:`Out(1)`
        RESULT, LENGTH or EARLY is set.
    """

    def __init__(self, source: Baked, *, holds: bool):
        self.source  = source
        self.classes = source.info.classes
        self.holds   = holds

        super().__init__({
            "bus":     In(RegisterBus(self.classes)),
            "i_words": In(stream.Signature(result_layout())),
            **({"o_bytes": Out(stream.Signature(byte_layout()))} if holds else
               {"o_words": Out(stream.Signature(result_layout()))}),
            "ready":   In(1),
            "busy":    In(1),
            "refused": In(1),
            "reason":  In(4),
            "irq":     Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        # Strobes of this clock, and what they set.
        new     = Signal()
        result  = Signal()
        length  = Signal()
        early   = Signal()
        images  = Signal(32)
        refused = Signal(32)
        m.d.sync += images.eq(images + new)
        m.d.sync += refused.eq(refused + self.refused)
        m.d.comb += self.irq.eq(result | length | early)

        header, scores = self._keep_result(m, new, result)
        self._read(m, scores, {
            "VERSION":     C(REGISTER_MAP_VERSION, 32),
            "IMAGE_BYTES": C(self.source.image_bytes, 32),
            "CLASSES":     C(self.classes, 32),
            # In the order of arch.registers.STATUS_BITS.
            "STATUS":      Cat(self.ready, self.busy, result, length, early),
            "CLASS":       header[0],
            "CYCLES":      header[1],
            "STALLS":      header[2],
            "IMAGES":      images,
            "REFUSED":     refused,
        })

        bus     = self.bus
        control = Signal()
        m.d.comb += [
            control.eq((bus.address == _WORDS["CONTROL"]) & bus.strobe[0]),
            bus.done.eq(1),
            bus.refused.eq(~control),
        ]
        with m.If(bus.write & control):
            # In the order of arch.registers.CONTROL_BITS.
            with m.If(bus.write_data[0]):
                m.d.sync += result.eq(0)
            with m.If(bus.write_data[1]):
                m.d.sync += [length.eq(0), early.eq(0)]
        # Behind that: what comes in the clock of the write is not lost.
        with m.If(new):
            m.d.sync += result.eq(1)
        with m.If(self.refused):
            with m.If(self.reason == ErrorCode.BUSY):
                m.d.sync += early.eq(1)
            with m.Else():
                m.d.sync += length.eq(1)
        if self.holds:
            self._write_pixels(m)

        return m

    def _keep_result(self, m, new, result):
        """Keep the words of a result as they pass; return those before the scores, and the memory of the scores."""
        words  = self.i_words
        place  = Signal(range(HEADER_WORDS + self.classes))
        passed = Signal()
        if self.holds:
            m.d.comb += words.ready.eq(~result)
        else:
            wiring.connect(m, wiring.flipped(words), wiring.flipped(self.o_words))
        m.d.comb += passed.eq(words.valid & words.ready & ~words.p.error)
        m.d.comb += new.eq(passed & words.p.last)

        m.submodules.scores = scores = memory.Memory(shape=unsigned(32), depth=self.classes, init=[])
        write = scores.write_port()
        m.d.comb += [
            write.addr.eq(place - HEADER_WORDS),
            write.data.eq(words.p.word),
            write.en.eq(passed & (place >= HEADER_WORDS)),
        ]
        header = Signal(data.ArrayLayout(32, HEADER_WORDS - 1))
        with m.If(passed):
            m.d.sync += place.eq(Mux(words.p.last, 0, place + 1))
            for index, word in enumerate(header):
                with m.If(place == index):
                    m.d.sync += word.eq(words.p.word)
        return header, scores

    def _read(self, m, scores, values):
        """Answer reads: info block, registers, scores, and zero where nothing is."""
        address = self.bus.address
        block   = self.source.info_block
        m.submodules.info = info = memory.Memory(
            shape=unsigned(32), depth=INFO_BYTES // 4,
            init=[int.from_bytes(block[byte:byte + 4], "little") for byte in range(0, INFO_BYTES, 4)])
        info_port  = info.read_port()
        score_port = scores.read_port()

        value    = Signal(32)
        is_info  = Signal()
        is_score = Signal()
        m.d.comb += info_port.addr.eq(address)
        m.d.comb += score_port.addr.eq(address - SCORES_OFFSET // 4)
        m.d.sync += [
            value.eq(0),
            is_info.eq(address < INFO_BYTES // 4),
            is_score.eq((address >= SCORES_OFFSET // 4) & (address < SCORES_OFFSET // 4 + self.classes)),
            self.bus.read_data.eq(Mux(is_info, info_port.data, Mux(is_score, score_port.data, value))),
        ]
        with m.Switch(address):
            for name, held in values.items():
                with m.Case(_WORDS[name]):
                    m.d.sync += value.eq(held)

    def _write_pixels(self, m):
        """Send the bytes of a written word, one after the other."""
        bus     = self.bus
        inner   = Signal()
        last    = Signal()
        word    = Signal(32)
        left    = Signal(range(5))
        closing = Signal()
        m.d.comb += [
            inner.eq(bus.address == _WORDS["PIXELS"]),
            last.eq(bus.address == _WORDS["PIXELS_LAST"]),
            self.o_bytes.valid.eq(left.any()),
            self.o_bytes.p.data.eq(word[:8]),
            self.o_bytes.p.last.eq(closing & (left == 1)),
        ]
        with m.If(left.any()):
            with m.If(self.o_bytes.ready):
                m.d.sync += word.eq(word >> 8)
                m.d.sync += left.eq(left - 1)
        with m.If(inner | last):
            m.d.comb += bus.refused.eq(~bus.strobe.all())
            m.d.comb += bus.done.eq(~left.any())
            with m.If(bus.write & bus.strobe.all() & ~left.any()):
                m.d.sync += [
                    word.eq(bus.write_data),
                    left.eq(Mux(last, (self.source.image_bytes - 1) % 4 + 1, 4)),
                    closing.eq(last),
                ]
