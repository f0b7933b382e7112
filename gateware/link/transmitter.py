"""The transmitting half of the host link: results and other replies become frames on the line.

::

    i_words, i_reply -> choice -> field -> byte -> bit -+-> UartTransmitter -> tx
    memory (info block, tags), counters -> byte         +-> SerialCrc -> bit
"""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from arch.link import INFO_REPLY_BYTES, SYNC, Reply
from gateware.engine.readout import result_layout
from gateware.link.counters import counters_layout
from gateware.link.crc import SerialCrc
from gateware.link.frame import CONTROL_SLOT, MEMORY_ROWS, TAG_SLOTS, Field
from gateware.link.uart import UartTransmitter, check_divisor

__all__ = ["FrameTransmitter"]


class FrameTransmitter(wiring.Component):
    """Sends the replies of the accelerator by the protocol of :mod:`arch.link`.

    A RESULT is ``result_words`` transfers of ``i_words``, the last of them with ``last``; or one transfer with
    ``error``, which makes it an ERROR with the lowest byte of the word as its code. Its tag is that of slot n modulo
    :data:`gateware.link.frame.TAG_SLOTS` for the n-th result since reset. An INFO or ERROR reply is one transfer
    of ``i_reply``; its tag is that of :data:`gateware.link.frame.CONTROL_SLOT`. An INFO is the info block, and behind
    it ``counters``, each as it is when the byte before it has been sent. A frame in progress is finished first; then
    ``i_reply`` goes before ``i_words``.

    Throughput: a byte in 10 * ``divisor`` clocks; frames follow each other without a gap. Latency: on an idle line the
    start bit of a frame begins at most ``divisor`` + 1 clocks after ``i_words`` or ``i_reply`` has become valid.
    A transfer of ``i_words`` or ``i_reply`` happens in the clock after its last bit, or the last bit of its frame, is
    sent; until then the payload must stay. ``i_words`` may pause between words for any time: the line is idle
    meanwhile, and ``error`` must be low. Reset: the line is idle, the next result is the first. Cost on the iCE40 at 16
    clocks per bit: 161 LUTs, 72 flip-flops.

    Parameters
    ----------
    divisor : :class:`int`
        Clocks per bit, at least 4.

    Members
    -------
    tx : :py:`Out(1)`
        The line.
    tick : :py:`Out(1)`
        A strobe once per bit time, always.
    result_words : :py:`In(16)`
        Words of a result, at most 16,383.
    i_words : :py:`In(stream.Signature(result_layout()))`
        Words of the results, in order.
    i_reply : :py:`In(stream.Signature(4))`
        A reply other than a result: an :class:`arch.link.ErrorCode`, or 0 for INFO.
    result_slot : :py:`Out(range(TAG_SLOTS))`
        Slot of the next result: that of the next image, if none waits for its result.
    row : :py:`Out(range(MEMORY_ROWS))`
        The byte of the memory that is needed next (:mod:`gateware.link.frame`).
    data : :py:`In(8)`
        That byte, at most four clocks after ``row`` and until it changes.
    counters : :py:`In(counters_layout())`
        What follows the info block.

    Raises
    ------
    :exc:`TypeError`, :exc:`ValueError`
        If ``divisor`` is not an integer or less than 4.
    """

    def __init__(self, *, divisor):
        check_divisor(divisor)
        self.divisor = divisor

        super().__init__({
            "tx":           Out(1, init=1),
            "tick":         Out(1),
            "result_words": In(16),
            "i_words":      In(stream.Signature(result_layout())),
            "i_reply":      In(stream.Signature(4)),
            "result_slot":  Out(range(TAG_SLOTS)),
            "row":          Out(range(MEMORY_ROWS)),
            "data":         In(8),
            "counters":     In(counters_layout()),
        })

    def elaborate(self, platform):
        m = Module()

        field     = Signal(Field, init=Field.SYNC)
        index     = Signal(range(INFO_REPLY_BYTES))  # byte of the payload, modulo 128; 0 outside of it
        control   = Signal()                   # the frame comes from i_reply
        is_result = Signal()
        is_info   = Signal()                   # neither of them: ERROR
        ends      = Signal()                   # the last bit of a byte leaves
        byte_end  = Signal()                   # ... in the clock before
        last      = Signal()                   # ... and it is the last byte of the payload

        m.submodules.uart     = uart     = UartTransmitter(self.divisor)
        m.submodules.generate = generate = SerialCrc()

        # The tag is sent while the index is 0: bits in which its row is 0 too are those of the index.
        in_payload = field == Field.PAYLOAD
        slot       = Mux(control, CONTROL_SLOT, self.result_slot)
        m.d.comb += [
            self.tx.eq(uart.tx),
            self.tick.eq(uart.tick),
            self.row.eq(Cat(Mux(in_payload, index[:len(slot)], slot), index[len(slot):-1], ~in_payload)),
        ]

        # Registers, too: bits are taken at least four clocks apart, and the first is that of the synchronisation.
        m.d.sync += [
            is_result.eq(~control & ~self.i_words.p.error),
            is_info.eq(control & (self.i_reply.payload == 0)),
            byte_end.eq(ends),
        ]
        m.d.comb += ends.eq(uart.i.ready & (uart.position == 7))

        length = Signal(16)
        code   = Signal(8)
        m.d.comb += [
            length.eq(Mux(is_result, self.result_words << 2, Mux(is_info, INFO_REPLY_BYTES, 1))),
            code.eq(Mux(is_result, Reply.RESULT, Mux(is_info, Reply.INFO, Reply.ERROR))),
        ]

        # From the byte to its bit, a register each: bits are taken at least four clocks apart, and characters by two
        # more bits, so there is time to choose in steps.
        known    = Signal(8, reset_less=True)  # the byte, if it does not come from the memory
        byte     = Signal(8, reset_less=True)
        next_bit = Signal(reset_less=True)
        in_crc   = Signal()
        m.d.sync += [
            in_crc.eq((field == Field.CRC0) | (field == Field.CRC1)),
            next_bit.eq(Mux(in_crc, generate.crc[0], byte.bit_select(uart.position, 1))),
        ]
        m.d.comb += [
            uart.i.payload.eq(next_bit),
            generate.bit.eq(next_bit),
            generate.clear.eq(field == Field.SYNC),
            generate.enable.eq(uart.i.ready),
        ]
        with m.Switch(field):
            with m.Case(Field.SYNC):
                m.d.sync += known.eq(SYNC)
            with m.Case(Field.COMMAND):
                m.d.sync += known.eq(code)
            with m.Case(Field.LENGTH0):
                m.d.sync += known.eq(length[:8])
            with m.Case(Field.LENGTH1):
                m.d.sync += known.eq(length[8:])
            with m.Default():
                m.d.sync += known.eq(Mux(control, self.i_reply.payload,
                                         self.i_words.p.word.word_select(index[:2], 8)))
        # What is known of a counter is 0, and the counter is 0 everywhere else: so it costs no gate to join them.
        count = self._choose_count(m, index=index, counts=is_info & index[-1], moved=byte_end)
        stored = (field == Field.TAG) | (is_info & (field == Field.PAYLOAD) & ~index[-1])
        m.d.sync += byte.eq(Mux(stored, self.data, known | count))

        available = Signal()
        m.d.comb += available.eq(1)
        m.d.sync += uart.i.valid.eq(available)
        with m.If(field == Field.SYNC):
            m.d.comb += available.eq(self.i_reply.valid | self.i_words.valid)
            # The choice is made when the first bit leaves; until then nothing depends on it.
            with m.If(uart.i.ready & (uart.position == 0)):
                m.d.sync += control.eq(self.i_reply.valid)
        with m.Elif((field == Field.PAYLOAD) & is_result):
            m.d.comb += available.eq(self.i_words.valid)

        with m.If(is_result):
            m.d.comb += last.eq((index[:2] == 3) & self.i_words.p.last)
        with m.Elif(is_info):
            # The last byte is the first whose number has these bits.
            m.d.comb += last.eq(Cat(index[bit] for bit in range(len(index)) if INFO_REPLY_BYTES - 1 >> bit & 1).all())
        with m.Else():
            m.d.comb += last.eq(1)
        m.d.sync += [
            self.i_words.ready.eq(ends & (field == Field.PAYLOAD) & ~control
                                  & (self.i_words.p.error | (index[:2] == 3))),
            self.i_reply.ready.eq(ends & (field == Field.CRC1) & control),
        ]
        with m.If(byte_end):
            with m.If(field == Field.PAYLOAD):
                m.d.sync += index.eq(index + 1)
            with m.Else():
                m.d.sync += index.eq(0)
            with m.If((field != Field.PAYLOAD) | last):
                m.d.sync += field.eq(field.as_value() + 1)
            with m.If((field == Field.CRC1) & ~control):
                m.d.sync += self.result_slot.eq(self.result_slot + 1)

        return m

    def _choose_count(self, m, *, index, counts, moved):
        """Return the byte of the counters, 0 if it is none's turn. It does not change while it is sent."""
        count   = Signal(8)
        settled = Signal()
        m.d.sync += settled.eq(moved)
        with m.If(settled):
            m.d.sync += count.eq(0)
            with m.If(counts):
                with m.Switch(index[:2]):
                    for place, name in enumerate(self.counters.shape().members):
                        with m.Case(place):
                            m.d.sync += count.eq(self.counters[name])
        return count
