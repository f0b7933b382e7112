"""The accelerator's end of the host link (:mod:`arch.link`).

::

    rx -> UartReceiver -+-> SerialCrc           info block, tags (one block RAM)
                        +-> frame receiver --+---------^     |
                             |               v pending       v
                             +-> o_pixels   frame transmitter -> SerialCrc, UartTransmitter -> tx
                                 begin,       ^
                                 commit    i_words
"""

from amaranth import *
from amaranth.lib import enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from arch.link import INFO_BYTES, SYNC, TIMEOUT_BITS, Command, ErrorCode, Reply
from gateware.engine.readout import result_layout
from gateware.link.crc import SerialCrc
from gateware.link.uart import UartReceiver, UartTransmitter, check_divisor

__all__ = ["HostLink"]

#: Rows of the memory behind the info block: tags of images on their way, then the tag of an INFO or ERROR reply.
_TAG_SLOTS    = 4
_CONTROL_SLOT = 4


class _Field(enum.Enum, shape=3):
    """Where a frame is: the field that comes next. From the payload on bit 2 is set."""

    COMMAND = 0
    TAG     = 1
    LENGTH0 = 2
    LENGTH1 = 3
    PAYLOAD = 4
    CRC0    = 5
    CRC1    = 6
    SYNC    = 7


class HostLink(wiring.Component):
    """Receives images from a host and sends back results, by the protocol of :mod:`arch.link`.

    An image is a CLASSIFY frame. If ``accept`` is high and the length is ``image_bytes`` when the header is complete,
    ``begin`` is strobed, the payload leaves on ``o_pixels``, and ``commit`` or ``abort`` is strobed at the end:
    ``commit`` after the last pixel was transferred and the CRC was right. ``abort`` follows every other way for the
    frame to end (wrong CRC, overrun, silence). A result is ``result_words`` transfers of ``i_words``, sent under the
    tag of its image; results come in the order of the commits. At most three images may be committed without a result.

    Throughput: a byte in 10 * ``divisor`` clocks, in both directions at once. Latency: a pixel is valid two clocks
    after the clock in which its stop bit is sampled; ``commit`` is strobed three clocks after the clock in
    which the last stop bit is sampled; a reply starts
    within ``divisor`` + 4 clocks when the line is free. Back-pressure: the line cannot be stalled, ``o_pixels.ready``
    must come within 1.5 ``divisor`` clocks, before the next character's first bit is shifted in: if it does not, the
    payload is withdrawn and the frame ends as an overrun. Any gap is allowed between words of ``i_words``, which is
    taken word by word when the line is ready for it. An INFO or ERROR reply waits for the end of a result in progress,
    then goes before further results; meanwhile further ones are dropped. Reset: everything idle; tags and info block
    keep their contents. Cost on the iCE40: 290 logic cells, one block RAM.

    Parameters
    ----------
    divisor : :class:`int`
        Clocks per bit, at least 4.
    info : :class:`bytes`
        The info block (:meth:`arch.link.Info.to_bytes`): the first 32 rows of the memory ``info``.
    timeout_bits : :class:`int`
        Bit times of silence that end a frame: a power of two, at least 32. Tests shorten it.

    Members
    -------
    rx : :py:`In(1)`
    tx : :py:`Out(1)`
    o_pixels : :py:`Out(stream.Signature(8))`
        Bytes of the image.
    begin, commit, abort : :py:`Out(1)`
        Strobes: an image begins before its first pixel, is complete, is to be forgotten.
    accept : :py:`In(1)`
        There is room for an image.
    image_bytes : :py:`In(16)`
        Bytes of an image, at least 1.
    result_words : :py:`In(16)`
        Words of a result, at most 16,383.
    i_words : :py:`In(stream.Signature(result_layout()))`
        Words of the result, in order.

    Raises
    ------
    :exc:`TypeError`, :exc:`ValueError`
        If a parameter is not as described.
    """

    def __init__(self, *, divisor, info, timeout_bits=TIMEOUT_BITS):
        check_divisor(divisor)
        if len(info) != INFO_BYTES:
            raise ValueError(f"info must have {INFO_BYTES} bytes, not {len(info)}")
        if timeout_bits < 32 or timeout_bits & (timeout_bits - 1):
            raise ValueError(f"timeout_bits must be a power of two from 32, not {timeout_bits!r}")
        self.divisor      = divisor
        self.info         = bytes(info)
        self.timeout_bits = timeout_bits

        super().__init__({
            "rx":           In(1, init=1),
            "tx":           Out(1, init=1),
            "o_pixels":     Out(stream.Signature(8)),
            "begin":        Out(1),
            "commit":       Out(1),
            "abort":        Out(1),
            "accept":       In(1),
            "image_bytes":  In(16),
            "result_words": In(16),
            "i_words":      In(stream.Signature(result_layout())),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.receiver    = receiver    = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.check       = check       = SerialCrc()
        m.submodules.generate    = generate    = SerialCrc()
        m.submodules.info        = info        = memory.Memory(shape=8, depth=2 * INFO_BYTES, init=self.info)
        info_write = info.write_port()
        info_read  = info.read_port(domain="comb")

        m.d.comb += receiver.rx.eq(self.rx)
        m.d.comb += self.tx.eq(transmitter.tx)

        # What the receiver leaves to the transmitter: one INFO or ERROR reply.
        pending  = Signal()
        fault    = Signal(3)    # an ErrorCode, or 0: the reply is INFO
        answered = Signal()
        head     = Signal(range(_TAG_SLOTS))  # slot of the image that comes in
        tail     = Signal(range(_TAG_SLOTS))  # slot of the next result

        # Frame receiver.
        field     = Signal(_Field, init=_Field.SYNC)
        classify  = Signal()
        asks_info = Signal()
        tag_again = Signal()
        tagged    = Signal()    # the tag is in the control slot
        # One's complement of the bytes that are missing: a counter that can be loaded counts up in one cell per bit.
        missing   = Signal(16)
        complete  = Signal()
        header_stb   = Signal()
        header_settled = Signal()
        check_header = Signal()
        live      = Signal()    # between begin and commit or abort
        silence   = Signal(range(self.timeout_bits + 1))
        timeout   = Signal()
        end_stb   = Signal()
        ended     = Signal()
        overrun   = Signal()
        byte      = receiver.data
        byte_stb  = Signal()

        # A character without stop bit keeps its place, so that the frame ends where it should, but spoils the CRC.
        m.d.sync += byte_stb.eq(receiver.received | receiver.error)
        m.d.comb += [
            check.clear.eq(field == _Field.SYNC),
            check.enable.eq(receiver.bit_stb | receiver.error),
            check.bit.eq(receiver.bit),
            timeout.eq(silence[-1]),
        ]
        with m.If((field == _Field.SYNC) | byte_stb):
            m.d.sync += silence.eq(0)
        with m.Elif(transmitter.tick):
            m.d.sync += silence.eq(silence + 1)

        m.d.comb += self.o_pixels.payload.eq(byte)
        m.d.sync += overrun.eq(self.o_pixels.valid & ~self.o_pixels.ready & receiver.bit_stb)
        with m.If(self.o_pixels.ready | receiver.bit_stb):
            m.d.sync += self.o_pixels.valid.eq(0)

        m.d.sync += header_stb.eq(0)
        m.d.sync += header_settled.eq(header_stb)
        m.d.sync += check_header.eq(header_settled)
        m.d.sync += tag_again.eq(0)
        m.d.sync += end_stb.eq(0)
        m.d.sync += ended.eq(end_stb)
        with m.If(byte_stb):
            with m.Switch(field):
                with m.Case(_Field.SYNC):
                    with m.If(byte == SYNC):
                        m.d.sync += field.eq(_Field.COMMAND)
                with m.Case(_Field.COMMAND):
                    m.d.sync += classify.eq(byte == Command.CLASSIFY)
                    m.d.sync += asks_info.eq(byte == Command.INFO)
                    m.d.sync += field.eq(_Field.TAG)
                with m.Case(_Field.TAG):
                    m.d.sync += tag_again.eq(1)
                    m.d.sync += field.eq(_Field.LENGTH0)
                with m.Case(_Field.LENGTH0):
                    m.d.sync += field.eq(_Field.LENGTH1)
                with m.Case(_Field.LENGTH1):
                    m.d.sync += header_stb.eq(1)
                    m.d.sync += field.eq(_Field.PAYLOAD)
                with m.Case(_Field.PAYLOAD):
                    with m.If(complete):
                        m.d.sync += field.eq(_Field.CRC1)
                    with m.Elif(live):
                        m.d.sync += self.o_pixels.valid.eq(1)
                with m.Case(_Field.CRC1):
                    m.d.sync += end_stb.eq(1)
                    m.d.sync += field.eq(_Field.SYNC)

        load_low   = byte_stb & (field == _Field.LENGTH0)
        load_high  = byte_stb & (field == _Field.LENGTH1)
        count      = byte_stb & (field == _Field.PAYLOAD) & ~complete
        load       = Signal()
        # Adding `load` changes nothing that is used; it makes the sum's second operand the selector of the load, and so
        # adder and multiplexer one LUT per bit.
        counted    = Signal(18)
        m.d.comb += load.eq(~field.as_value()[2])
        m.d.comb += counted.eq(Cat(1, missing) + Cat(1, load.replicate(16)))
        m.d.sync += complete.eq(counted[17])  # two clocks after `missing` became all ones
        with m.If(load_low | count):
            m.d.sync += missing[:8].eq(Mux(load, ~byte, counted[1:9]))
        with m.If(load_high | count):
            m.d.sync += missing[8:].eq(Mux(load, ~byte, counted[9:17]))

        # The tag goes to the slot of an image, and a clock later to that of the other replies if that is free.
        m.d.comb += info_write.data.eq(byte)
        m.d.comb += info_write.addr.eq(Cat(Mux(tag_again, 0, head), tag_again, 0, 0, 1))
        m.d.comb += info_write.en.eq((byte_stb & (field == _Field.TAG)) | (tag_again & ~pending))
        with m.If(tag_again):
            m.d.sync += tagged.eq(~pending)

        wanted = Signal()
        m.d.sync += wanted.eq(Mux(classify, missing == ~self.image_bytes, complete))
        m.d.comb += self.begin.eq(check_header & classify & wanted & self.accept)
        intact = Signal()  # the frame that ends is what was sent
        m.d.sync += intact.eq(check.good)
        m.d.comb += [
            self.commit.eq(ended & live & intact),
            self.abort.eq(live & (overrun | timeout | (ended & ~intact))),
        ]
        with m.If(check_header):
            m.d.sync += live.eq(self.begin)
        with m.Elif(self.commit | self.abort):
            m.d.sync += live.eq(0)
        with m.If(self.commit):
            m.d.sync += head.eq(head + 1)
        with m.If(timeout):
            m.d.sync += field.eq(_Field.SYNC)

        # A frame that began while a reply was pending has no place for its own.
        with m.If(tagged):
            with m.If(check_header):
                with m.If(~classify & ~asks_info):
                    m.d.sync += fault.eq(ErrorCode.UNKNOWN_COMMAND)
                with m.Elif(~wanted):
                    m.d.sync += fault.eq(ErrorCode.WRONG_LENGTH)
                with m.Elif(classify & ~self.accept):
                    m.d.sync += fault.eq(ErrorCode.BUSY)
                with m.Else():
                    m.d.sync += fault.eq(0)
            with m.If(overrun):
                m.d.sync += fault.eq(ErrorCode.OVERRUN)
            with m.If(ended & ~intact):
                m.d.sync += fault.eq(ErrorCode.BAD_CRC)
        with m.If(answered):
            m.d.sync += pending.eq(0)
        with m.If(ended & tagged & ~self.commit):
            m.d.sync += pending.eq(1)

        # Yosys makes this register the block RAM's own. From a synchronous port it would build, in 40 logic cells, the
        # read during a write that the block RAM does not promise; here it finds the proof that there is none.
        info_data = Signal(8, reset_less=True)
        with m.If(~info_write.en):
            m.d.sync += info_data.eq(info_read.data)

        # Frame transmitter.
        send      = Signal(_Field, init=_Field.SYNC)
        control   = Signal()    # INFO or ERROR
        is_info   = Signal()
        is_result = Signal()
        index     = Signal(range(INFO_BYTES))
        position  = transmitter.position
        byte_end  = Signal()
        last      = Signal()
        bit       = Signal()
        # Bits are taken at least four clocks apart and characters by two more bits: time to choose in steps.
        word_byte = Signal(8, reset_less=True)
        next_bit  = Signal(reset_less=True)

        m.d.sync += word_byte.eq(self.i_words.p.word.word_select(index[:2], 8))
        m.d.sync += next_bit.eq(bit)
        m.d.comb += [
            is_result.eq(~control),
            is_info.eq(control & (fault == 0)),
            byte_end.eq(transmitter.i.ready & (position == 7)),
            transmitter.i.payload.eq(next_bit),
            generate.bit.eq(next_bit),
            generate.clear.eq(send == _Field.SYNC),
            generate.enable.eq(transmitter.i.ready),
            info_read.addr.eq(Mux(send == _Field.PAYLOAD, index,
                                  Cat(Mux(control, 0, tail), control, 0, 0, 1))),
        ]

        length = Signal(16)
        code   = Signal(8)
        m.d.comb += [
            length.eq(Mux(is_result, self.result_words << 2, Mux(is_info, INFO_BYTES, 1))),
            code.eq(Mux(is_result, Reply.RESULT, Mux(is_info, Reply.INFO, Reply.ERROR))),
        ]
        # The byte, then its bit, then whether there is one: each in a register.
        current = Signal(8, reset_less=True)
        valid   = Signal()
        m.d.comb += valid.eq(1)
        with m.Switch(send):
            with m.Case(_Field.SYNC):
                m.d.sync += current.eq(SYNC)
                # The choice is made when the first bit leaves; until then nothing depends on it.
                m.d.comb += valid.eq(pending | self.i_words.valid)
                with m.If(transmitter.i.ready & (position == 0)):
                    m.d.sync += control.eq(pending)
            with m.Case(_Field.COMMAND):
                m.d.sync += current.eq(code)
            with m.Case(_Field.TAG):
                m.d.sync += current.eq(info_data)
            with m.Case(_Field.LENGTH0):
                m.d.sync += current.eq(length[:8])
            with m.Case(_Field.LENGTH1):
                m.d.sync += current.eq(length[8:])
            with m.Default():
                with m.If(is_result):
                    m.d.sync += current.eq(word_byte)
                    m.d.comb += valid.eq((send != _Field.PAYLOAD) | self.i_words.valid)
                with m.Elif(is_info):
                    m.d.sync += current.eq(info_data)
                with m.Else():
                    m.d.sync += current.eq(fault)
        crc_now = Signal()
        m.d.sync += crc_now.eq((send == _Field.CRC0) | (send == _Field.CRC1))
        m.d.comb += bit.eq(Mux(crc_now, generate.crc[0], current.bit_select(position, 1)))
        m.d.sync += transmitter.i.valid.eq(valid)

        with m.If(is_result):
            m.d.comb += last.eq((index[:2] == 3) & self.i_words.p.last)
        with m.Elif(is_info):
            m.d.comb += last.eq(index == INFO_BYTES - 1)
        with m.Else():
            m.d.comb += last.eq(1)
        m.d.comb += self.i_words.ready.eq(byte_end & (send == _Field.PAYLOAD) & is_result & (index[:2] == 3))
        m.d.comb += answered.eq(byte_end & (send == _Field.CRC1) & control)
        with m.If(byte_end):
            with m.If(send == _Field.PAYLOAD):
                m.d.sync += index.eq(index + 1)
            with m.Else():
                m.d.sync += index.eq(0)
            with m.If((send != _Field.PAYLOAD) | last):
                m.d.sync += send.eq(send.as_value() + 1)
            with m.If((send == _Field.CRC1) & is_result):
                m.d.sync += tail.eq(tail + 1)

        return m
