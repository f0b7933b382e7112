"""Chooses a model of the directory in flash: checks its header, and keeps what the circuit needs of it."""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from arch.flash.circuit import Circuit
from arch.flash.header import (
    BLOCK_BYTES,
    CRC_OFFSET,
    HEADER_BYTES,
    INFO_OFFSET,
    KEPT_BYTES,
    KEPT_OFFSET,
    SEAL_BYTES,
)
from arch.flash.image import MODELS
from arch.link import INFO_BYTES, ErrorCode
from gateware.engine.configuration import EngineConfig, bits_for

__all__ = ["ModelSelector", "ModelStatus", "kept_layout"]


class ModelStatus(enum.Enum, shape=unsigned(4)):
    """What came of the choice of a model: 0, or the error code of the link."""

    #: The header is right: the model is read.
    GOOD        = 0
    #: There is no model of this number.
    NO_MODEL    = ErrorCode.NO_MODEL
    #: The model was made for another circuit, or in another version of the format.
    WRONG_MODEL = ErrorCode.WRONG_MODEL
    #: The CRC of the header is wrong.
    DAMAGED     = ErrorCode.DAMAGED
    #: The flash does not answer.
    FLASH       = ErrorCode.FLASH


class _Finding(enum.Enum, shape=unsigned(2)):
    """What is wrong with a header; what is found first stays."""

    NOTHING = 0
    ABSENT  = 1
    FOREIGN = 2
    DAMAGED = 3


def kept_layout(config: EngineConfig) -> data.StructLayout:
    """Describe what the circuit keeps of a header; :mod:`arch.flash.header` says what it means."""
    return data.StructLayout({
        "classes":     bits_for(config.classes - 1),  # minus one
        "plane_words": config.address_width,
        "image_bytes": 16,
        "channels":    6,                             # minus one
        "slices":      1,                             # minus one
        "buffers":     1,                             # minus one
    })


class ModelSelector(wiring.Component):
    """Reads the header of a model (:mod:`arch.flash.header`), and if it is right, has the model's stream read.

    ``select`` begins: ``start`` tells the reader of the flash and the loader to read the header at ``address``, while
    ``header`` is high. The loader (:class:`gateware.flash.loader.StreamLoader`) counts and checks the bytes, and must
    be reset in the clock of ``select``. Bytes 0 to 15 are compared with the signature of this circuit, the info block
    is handed on, and what the circuit keeps is in ``kept``. After byte 251, ``start`` is strobed again, for the seal:
    the CRC of the header is read from the page before the stream, not from the header, so that a header before the
    stream of another model is as wrong as a damaged one. After ``complete`` of the header ``status`` is settled, and if
    it is :attr:`ModelStatus.GOOD`, ``start`` is strobed for the stream; so it is after each ``complete`` of the stream,
    from then on, unless it was damaged. ``restart`` strobes ``start`` too: for the stream from its beginning, after the
    loader was reset.

    Throughput: that of the flash; a header is 252 bytes, and the seal 4. Latency: ``start`` comes one clock after
    ``select``, byte 251 and ``restart`` and two after ``complete``, and ``address`` is right from then until the next.
    ``header`` falls, and ``status`` is settled, two clocks after ``complete``. Reset: no model is selected.
    Cost on the iCE40: in the overlay 50 LUTs, 73 flip-flops, 105 logic cells, because what is kept is in flip-flops
    without a LUT.

    Parameters
    ----------
    config : :class:`EngineConfig`
    circuit : :class:`arch.flash.circuit.Circuit`
        This circuit, as headers name it.
    base : :class:`int`
        Address of the directory in the flash.
    double : :class:`bool`
        A byte may come in each clock; else in every second one.

    Members
    -------
    select : :py:`In(1)`
        Strobe: choose model ``number``.
    number : :py:`In(8)`
    restart : :py:`In(1)`
        Strobe, with a model selected: read its stream from the beginning.
    failed : :py:`In(1)`
        The flash does not answer.
    byte : :py:`In(8)`
        The byte that the loader has.
    header_write, place, complete, damaged
        As the members of :class:`gateware.flash.loader.StreamLoader`.
    header : :py:`Out(1)`
        The header is being read.
    start : :py:`Out(1)`
        Strobe: read from ``address`` on.
    address : :py:`Out(24)`
    info_write : :py:`Out(1)`
        Strobe: ``byte`` is a byte of the info block.
    info_address : :py:`Out(6)`
        Its number there.
    kept : :py:`Out(kept_layout(config))`
        Stable while ``header`` is low.
    status : :py:`Out(ModelStatus)`
        Means something while ``header`` is low.

    Raises
    ------
    :exc:`TypeError`, :exc:`ValueError`
        If ``circuit`` is no circuit, or ``base`` no multiple of 65,536 below 2^24.
    """

    def __init__(self, config: EngineConfig, circuit: Circuit, *, base: int, double: bool = False):
        if not isinstance(circuit, Circuit):
            raise TypeError(f"circuit must be a Circuit, not {circuit!r}")
        if base % BLOCK_BYTES or not 0 <= base < 1 << 24:
            raise ValueError(f"base must be a multiple of {BLOCK_BYTES} below 2^24, not {base!r}")
        self.config  = config
        self.circuit = circuit
        self.base    = base
        self.double  = bool(double)

        super().__init__({
            "select":       In(1),
            "number":       In(8),
            "restart":      In(1),
            "failed":       In(1),
            "byte":         In(8),
            "header_write": In(1),
            "place":        In(exact_log2(HEADER_BYTES)),
            "complete":     In(1),
            "damaged":      In(1),
            "header":       Out(1),
            "start":        Out(1),
            "address":      Out(24),
            "info_write":   Out(1),
            "info_address": Out(exact_log2(INFO_BYTES)),
            "kept":         Out(kept_layout(config)),
            "status":       Out(ModelStatus, init=ModelStatus.NO_MODEL),
        })

    def elaborate(self, platform):
        m = Module()

        finding = Signal(_Finding, init=_Finding.ABSENT)
        number  = Signal(range(MODELS))
        block   = Signal(8)
        kept    = [Signal(8, name=f"kept{index}", reset_less=True) for index in range(KEPT_BYTES - 2)]
        # A header is 16 times 16 bytes.
        sixteen = self.place[4:]
        first   = INFO_OFFSET // 16
        # Its last byte: a place does not pass it, so the bits that are set in it tell it.
        read    = Signal()
        last    = CRC_OFFSET - 1
        m.d.comb += read.eq(self.header_write & Cat(self.place[bit] for bit in range(8) if last >> bit & 1).all())

        # A clock late, because the CRC comes late.
        complete = Signal()
        damaged  = Signal()
        m.d.sync += [
            complete.eq(self.complete & ~self.select),
            damaged.eq(self.damaged),
        ]
        m.d.sync += self.start.eq(self.select | self.restart | read
                                  | (complete & ~damaged & (finding == _Finding.NOTHING)))
        m.d.comb += self.address.eq(Cat(C(0, exact_log2(HEADER_BYTES)), number, C(0, 4), block))
        with m.If(self.select):
            m.d.sync += number.eq(self.number)
            m.d.sync += self.header.eq(1)
        with m.Elif(read):
            m.d.sync += number.eq(0)
        with m.Elif(complete):
            # The page behind that of the seal.
            m.d.sync += number.eq(SEAL_BYTES // HEADER_BYTES)
            m.d.sync += self.header.eq(0)

        # Off the critical path: two clocks lie between bytes, if not `double`.
        expected = Signal(8)
        domain   = m.d.comb if self.double else m.d.sync
        with m.Switch(self.place[:4]):
            for place, byte in enumerate(self.circuit.to_bytes()):
                with m.Case(place):
                    domain += expected.eq(byte)
        # A clock late, which is early enough: the signature is the first of a header.
        differs = Signal()
        foreign = Signal()
        m.d.sync += [
            differs.eq(self.header_write & (sixteen == 0) & (self.byte != expected) & ~self.select),
            foreign.eq(self.place[2:4].any()),
        ]
        with m.If(self.select):
            m.d.sync += finding.eq(Mux(self.number[4:].any(), _Finding.ABSENT, _Finding.NOTHING))
        with m.Elif(finding == _Finding.NOTHING):
            with m.If(differs):
                m.d.sync += finding.eq(Mux(foreign, _Finding.FOREIGN, _Finding.ABSENT))
            with m.If(complete & self.header & damaged):
                m.d.sync += finding.eq(_Finding.DAMAGED)

        m.d.comb += [
            self.info_write.eq(self.header_write & sixteen.matches(*range(first, first + INFO_BYTES // 16))),
            self.info_address.eq(Cat(self.place[:4], sixteen - first)),
        ]

        # The last byte is the block of the stream. The first one, which is not used, is shifted out.
        with m.If(self.header_write & (sixteen == KEPT_OFFSET // 16) & ~self.place[3]):
            m.d.sync += Cat(*kept, block).eq(Cat(*kept[1:], block, self.byte))
        with m.If(self.select):
            m.d.sync += block.eq(self.base // BLOCK_BYTES)
        classes, plane_words, image_bytes, shape = kept[0], kept[1:3], kept[3:5], kept[5]
        m.d.comb += [
            self.kept.classes.eq(classes),
            self.kept.plane_words.eq(Cat(plane_words)),
            self.kept.image_bytes.eq(Cat(image_bytes)),
            Cat(self.kept.channels, self.kept.slices, self.kept.buffers).eq(shape),
        ]

        with m.Switch(finding):
            with m.Case(_Finding.NOTHING):
                m.d.comb += self.status.eq(ModelStatus.GOOD)
            with m.Case(_Finding.ABSENT):
                m.d.comb += self.status.eq(ModelStatus.NO_MODEL)
            with m.Case(_Finding.FOREIGN):
                m.d.comb += self.status.eq(ModelStatus.WRONG_MODEL)
            with m.Case(_Finding.DAMAGED):
                m.d.comb += self.status.eq(ModelStatus.DAMAGED)
        with m.If(self.failed):
            m.d.comb += self.status.eq(ModelStatus.FLASH)

        return m
