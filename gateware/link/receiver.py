r"""The receiving half of the host link: finds frames on the line, checks them, and decides what becomes of each.

::

    rx -> UartReceiver --> SerialCrc --------------------> verdict --> begin, commit, abort
                      \-> field, length of the payload --/       \--> o_reply
                      \-> o_pixels, tag         \-> counters
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from arch.link import SYNC, TIMEOUT_BITS, Command, ErrorCode
from gateware.link.counters import FaultCounters, counters_layout
from gateware.link.crc import SerialCrc
from gateware.link.frame import CONTROL_SLOT, TAG_SLOTS, Field
from gateware.link.uart import UartReceiver, check_divisor

__all__ = ["COMMIT_CYCLES", "FrameReceiver", "PayloadCounter", "check_timeout_bits"]

#: Clocks from the clock in which the last stop bit of a frame is sampled to ``commit`` or ``abort``.
COMMIT_CYCLES = 3


def check_timeout_bits(timeout_bits):
    """Raise unless a counter of ``timeout_bits`` bit times ends with one of its bits, and not within a character."""
    if not isinstance(timeout_bits, int):
        raise TypeError(f"timeout_bits must be an integer, not {timeout_bits!r}")
    if timeout_bits < 32 or timeout_bits & (timeout_bits - 1):
        raise ValueError(f"timeout_bits must be a power of two from 32, not {timeout_bits!r}")


class PayloadCounter(wiring.Component):
    """Counts the bytes of a payload that have not come yet.

    The length is loaded byte by byte, then each ``count`` takes one off. The counter keeps the one's complement of what
    is missing, so it counts up and is at its end when every bit is set.

    Latency: ``missing`` follows ``load_low``, ``load_high`` and ``count`` by one clock, ``complete`` by two. No
    back-pressure. ``count`` must not come while ``complete`` is high. Reset: 65,535 bytes are missing.
    Cost on the iCE40: 60 LUTs, 17 flip-flops.

    Members
    -------
    byte : :py:`In(8)`
        A byte of the length.
    counting : :py:`In(1)`
        Low while the length is loaded, in the clocks of ``load_low`` and ``load_high``.
    load_low, load_high : :py:`In(1)`
        Strobes: ``byte`` is the low or the high byte of the length.
    count : :py:`In(1)`
        Strobe: a byte of the payload has come.
    missing : :py:`Out(16)`
        One's complement of the bytes that are missing.
    complete : :py:`Out(1)`
        No byte is missing.
    """

    byte:      In(8)
    counting:  In(1)
    load_low:  In(1)
    load_high: In(1)
    count:     In(1)
    missing:   Out(16)
    complete:  Out(1)

    def elaborate(self, platform):
        m = Module()

        # Adding `load` changes nothing that is used. It is there because a LUT with a carry sees both operands of its
        # sum: the second one then selects between the sum and the byte.
        load    = Signal()
        counted = Signal(18)
        m.d.comb += load.eq(~self.counting)
        m.d.comb += counted.eq(Cat(1, self.missing) + Cat(1, load.replicate(16)))

        m.d.sync += self.complete.eq(counted[17])
        with m.If(self.load_low | self.count):
            m.d.sync += self.missing[:8].eq(Mux(load, ~self.byte, counted[1:9]))
        with m.If(self.load_high | self.count):
            m.d.sync += self.missing[8:].eq(Mux(load, ~self.byte, counted[9:17]))

        return m


def _frame_layout():
    """Describe what is known of a frame."""
    return data.StructLayout({
        "classify": 1,  # the command is CLASSIFY
        "inquiry":  1,  # ... is INFO
        "choice":   1,  # ... is SELECT
        "wanted":   1,  # the length is that of the command
        "intact":   1,  # the frame is what was sent
    })


class FrameReceiver(wiring.Component):
    """Receives the frames of a host by the protocol of :mod:`arch.link`.

    What happens to a frame is decided twice. When its header is complete, a CLASSIFY frame of ``image_bytes`` bytes
    begins an image if ``accept`` is high: ``begin`` is strobed, and each byte of the payload is one transfer of
    ``o_pixels``. The payload of every other frame is swallowed. When the frame ends, an image is either complete
    (``commit``, if the CRC is right and every pixel was taken) or to be forgotten (``abort``); all other frames, and
    images that are forgotten after their last byte, leave a reply in ``o_reply``: INFO, or the first error that
    :class:`arch.link.ErrorCode` lists. An image is forgotten as soon as a pixel was not taken in time, and its error
    follows at the end of the frame. A frame in which the line is silent for ``timeout_bits`` bit times ends without a
    reply; that takes two clocks, and a character that is complete in one of them is lost. A character without a stop
    bit keeps its place in the frame, whose CRC then counts as bad. Frames with a bad CRC, overruns and frames that
    ended with a silence are counted, whatever the frame was.

    ``tag_stb`` puts the tag of each frame into the slot of the next image and, a clock later, into that of the other
    replies. While a reply waits in ``o_reply``, its tag and code stay: a frame whose tag comes meanwhile has no
    reply.

    With ``selectable``, SELECT is a command too. At the end of its frame, if no image waits for its result, ``select``
    is strobed. ``selected`` must fall in the next clock and rise when the choice is settled; then the reply is valid:
    INFO if ``status`` is 0, else the error ``status``. So it is for every INFO, and for every CLASSIFY if ``status`` is
    not 0. A frame whose tag comes while ``selected`` is low is swallowed without a reply, and no tag is kept.

    Throughput: a byte in 10 * ``divisor`` clocks. Latency, counted from the clock in which the last stop bit of the
    frame, header or pixel is sampled: a pixel is valid after 2 clocks, ``commit`` or ``abort`` comes after 3, ``begin``
    and a reply after 4. Back-pressure: the line cannot be stalled. ``o_pixels.ready`` must come before the first bit of
    the next character is sampled, which is 2 * ``divisor`` - 2 clocks after the pixel became valid when characters
    follow each other at once; else the pixel is withdrawn and the frame is an overrun. ``o_reply`` waits as long as its
    consumer does. Reset: between frames, nothing to reply. Cost on the iCE40 at 16 clocks
    per bit: 196 LUTs, 121 flip-flops; with ``selectable`` 225 LUTs, 133 flip-flops.

    Parameters
    ----------
    divisor : :class:`int`
        Clocks per bit, at least 4.
    timeout_bits : :class:`int`
        Bit times of silence that end a frame: a power of two, at least 32. Tests shorten it.
    selectable : :class:`bool`
        There are models to select.

    Members
    -------
    rx : :py:`In(1)`
        The line, asynchronous.
    tick : :py:`In(1)`
        A strobe once per bit time, always: what silence is counted in.
    accept : :py:`In(1)`
        There is room for an image.
    image_bytes : :py:`In(16)`
        Bytes of an image, at least 1.
    begin, commit, abort : :py:`Out(1)`
        Strobes: an image begins before its first pixel, is complete, is to be forgotten.
    o_pixels : :py:`Out(stream.Signature(8))`
        Bytes of the image.
    tag_stb : :py:`Out(1)`
        Strobe: ``tag`` is to be kept in slot ``tag_slot`` (:mod:`gateware.link.frame`).
    tag_slot : :py:`Out(range(CONTROL_SLOT + 1))`
    tag : :py:`Out(8)`
    o_reply : :py:`Out(stream.Signature(4))`
        A reply other than a result: an :class:`arch.link.ErrorCode`, or 0 for INFO. Its tag is in
        :data:`gateware.link.frame.CONTROL_SLOT` and must be read before the transfer.
    counters : :py:`Out(counters_layout())`
        Faults of the line since reset.

    And with ``selectable``:

    result_slot : :py:`In(range(TAG_SLOTS))`
        Slot of the next result.
    select : :py:`Out(1)`
        Strobe: choose model number ``model``.
    model : :py:`Out(8)`
        The last byte of a payload.
    selected : :py:`In(1)`
        ``status`` is settled. High at the end of reset, or as soon as a choice that needs no SELECT is made.
    status : :py:`In(4)`
        0 if there is a model, else an :class:`arch.link.ErrorCode`. Constant while ``selected`` is high.

    Raises
    ------
    :exc:`TypeError`, :exc:`ValueError`
        If a parameter is not as described.
    """

    def __init__(self, *, divisor, timeout_bits=TIMEOUT_BITS, selectable=False):
        check_divisor(divisor)
        check_timeout_bits(timeout_bits)
        self.divisor      = divisor
        self.timeout_bits = timeout_bits
        self.selectable   = bool(selectable)

        super().__init__({
            "rx":          In(1, init=1),
            "tick":        In(1),
            "accept":      In(1),
            "image_bytes": In(16),
            "begin":       Out(1),
            "commit":      Out(1),
            "abort":       Out(1),
            "o_pixels":    Out(stream.Signature(8)),
            "tag_stb":     Out(1),
            "tag_slot":    Out(range(CONTROL_SLOT + 1)),
            "tag":         Out(8),
            "o_reply":     Out(stream.Signature(4)),
            "counters":    Out(counters_layout()),
        } | ({
            "result_slot": In(range(TAG_SLOTS)),
            "select":      Out(1),
            "model":       Out(8),
            "selected":    In(1),
            "status":      In(4),
        } if self.selectable else {}))

    def elaborate(self, platform):
        m = Module()

        field    = Signal(Field, init=Field.SYNC)
        frame    = Signal(_frame_layout())
        byte_stb = Signal()
        refused  = Signal()  # no model is selected that could classify
        settled  = Signal()  # no model is being chosen
        live     = Signal()  # between begin and commit or abort
        spoilt   = Signal()  # a character has no stop bit
        overrun  = Signal()
        timeout  = Signal()
        # The header is complete when `frame.wanted` has settled; the frame ends when `frame.intact` has.
        header_stb   = Signal(3)
        header_check = Signal()
        end_stb      = Signal(2)
        ended        = Signal()
        single       = Signal()  # the length is 1

        m.submodules.uart    = uart    = UartReceiver(self.divisor)
        m.submodules.check   = check   = SerialCrc()
        m.submodules.payload = payload = PayloadCounter()
        m.submodules.faults  = faults  = FaultCounters()

        m.d.comb += [
            uart.rx.eq(self.rx),
            check.clear.eq(field == Field.SYNC),
            check.enable.eq(uart.bit_stb),
            check.bit.eq(uart.bit),
        ]
        with m.If(field == Field.SYNC):
            m.d.sync += spoilt.eq(0)
        with m.Elif(uart.error):
            m.d.sync += spoilt.eq(1)
        m.d.sync += byte_stb.eq(uart.received | uart.error)
        m.d.sync += frame.intact.eq(check.good & ~spoilt)

        m.d.comb += [
            payload.byte.eq(uart.data),
            payload.counting.eq(field.as_value()[2]),
            payload.load_low.eq(byte_stb & (field == Field.LENGTH0)),
            payload.load_high.eq(byte_stb & (field == Field.LENGTH1)),
            payload.count.eq(byte_stb & (field == Field.PAYLOAD) & ~payload.complete),
        ]
        # What is missing is settled a clock before it is known whether that is nothing.
        is_image = Signal()
        m.d.sync += is_image.eq(payload.missing == ~self.image_bytes)
        m.d.sync += frame.wanted.eq(Mux(frame.classify, is_image, Mux(frame.choice, single, payload.complete)))

        # Reset comes from far away, and leaves the receiver between frames, where no silence is counted. With models to
        # select, other paths are longer, and without this reset 5 seeds of 8 closed timing, with it 7.
        silence = Signal(range(self.timeout_bits + 1), reset_less=not self.selectable)
        m.d.comb += timeout.eq(silence[-1])
        with m.If((field == Field.SYNC) | byte_stb):
            m.d.sync += silence.eq(0)
        with m.Elif(self.tick):
            m.d.sync += silence.eq(silence + 1)

        m.d.comb += self.o_pixels.payload.eq(uart.data)
        m.d.sync += overrun.eq(self.o_pixels.valid & ~self.o_pixels.ready & uart.bit_stb)
        with m.If(self.o_pixels.ready | uart.bit_stb):
            m.d.sync += self.o_pixels.valid.eq(0)

        # The field after the payload is CRC1 at once: the byte that finds nothing missing is the first of the CRC.
        m.d.sync += header_stb.eq(header_stb << 1)
        m.d.sync += end_stb.eq(end_stb << 1)
        m.d.comb += header_check.eq(header_stb[-1])
        m.d.comb += ended.eq(end_stb[-1])
        with m.If(timeout):
            m.d.sync += field.eq(Field.SYNC)
        with m.Elif(byte_stb):
            with m.Switch(field):
                with m.Case(Field.SYNC):
                    with m.If(uart.data == SYNC):
                        m.d.sync += field.eq(Field.COMMAND)
                with m.Case(Field.COMMAND):
                    m.d.sync += frame.classify.eq(uart.data == Command.CLASSIFY)
                    m.d.sync += frame.inquiry.eq(uart.data == Command.INFO)
                    if self.selectable:
                        m.d.sync += frame.choice.eq(uart.data == Command.SELECT)
                    m.d.sync += field.eq(Field.TAG)
                with m.Case(Field.TAG):
                    with m.If(~settled):
                        m.d.sync += frame.classify.eq(0)
                    m.d.sync += field.eq(Field.LENGTH0)
                with m.Case(Field.LENGTH0):
                    m.d.sync += single.eq(uart.data == 1)
                    m.d.sync += field.eq(Field.LENGTH1)
                with m.Case(Field.LENGTH1):
                    m.d.sync += single.eq(single & (uart.data == 0))
                    m.d.sync += header_stb[0].eq(1)
                    m.d.sync += field.eq(Field.PAYLOAD)
                with m.Case(Field.PAYLOAD):
                    with m.If(payload.complete):
                        m.d.sync += field.eq(Field.CRC1)
                    with m.Elif(live):
                        m.d.sync += self.o_pixels.valid.eq(1)
                with m.Case(Field.CRC1):
                    m.d.sync += end_stb[0].eq(1)
                    m.d.sync += field.eq(Field.SYNC)

        m.d.comb += [
            self.begin.eq(header_check & frame.classify & frame.wanted & self.accept & ~refused),
            self.commit.eq(ended & live & frame.intact),
            self.abort.eq(live & (overrun | timeout | (ended & ~frame.intact))),
        ]
        with m.If(header_check):
            m.d.sync += live.eq(self.begin)
        with m.Elif(self.commit | self.abort):
            m.d.sync += live.eq(0)

        # Registers: what decides on a frame is far from a counter.
        m.d.sync += [
            faults.bad_frame.eq(ended & ~frame.intact),
            faults.aborted.eq(timeout & (field != Field.SYNC)),
        ]
        m.d.comb += [
            faults.overrun.eq(overrun),
            self.counters.eq(faults.counts),
        ]

        if self.selectable:
            m.d.comb += settled.eq(self.selected)
            # A register: it stays from the choice of a model to the next one.
            m.d.sync += refused.eq(self.status.any())
            with m.If(payload.count):
                m.d.sync += self.model.eq(uart.data)
        else:
            m.d.comb += settled.eq(1)
        self._answer(m, frame=frame, tag_received=byte_stb & (field == Field.TAG), tag=uart.data,
                     header_check=header_check, ended=ended, overrun=overrun, refused=refused, settled=settled)

        return m

    def _answer(self, m, *, frame, tag_received, tag, header_check, ended, overrun, refused, settled):
        """Leave a reply to every frame that is no complete image, and choose the model of a right SELECT."""
        head      = Signal(range(TAG_SLOTS))  # slot of the next image
        in_flight = Signal()  # images wait for their results
        waiting   = Signal()  # a reply waits
        tagged    = Signal()  # the tag of the frame is in the control slot
        code      = Signal(range(ErrorCode.NO_MODEL))
        with m.If(self.commit):
            m.d.sync += head.eq(head + 1)
        self._keep_tag(m, received=tag_received, settled=settled, tag=tag, head=head, waiting=waiting, tagged=tagged)

        with m.If(tagged):
            with m.If(header_check):
                with m.If(~frame.classify & ~frame.inquiry & ~frame.choice):
                    m.d.sync += code.eq(ErrorCode.UNKNOWN_COMMAND)
                with m.Elif(frame.classify & refused):
                    m.d.sync += code.eq(0)
                with m.Elif(~frame.wanted):
                    m.d.sync += code.eq(ErrorCode.WRONG_LENGTH)
                with m.Elif((frame.classify & ~self.accept) | (frame.choice & in_flight)):
                    m.d.sync += code.eq(ErrorCode.BUSY)
                with m.Else():
                    m.d.sync += code.eq(0)
            with m.If(overrun):
                m.d.sync += code.eq(ErrorCode.OVERRUN)
            with m.If(ended & ~frame.intact):
                m.d.sync += code.eq(ErrorCode.BAD_CRC)

        with m.If(self.o_reply.ready):
            m.d.sync += waiting.eq(0)
        with m.If(ended & tagged & ~self.commit):
            m.d.sync += waiting.eq(1)
        m.d.comb += self.o_reply.valid.eq(waiting & settled)
        if self.selectable:
            m.d.sync += in_flight.eq(head != self.result_slot)
            m.d.comb += [
                self.select.eq(ended & frame.intact & tagged & frame.choice & (code == 0)),
                self.o_reply.payload.eq(Mux(code == 0, self.status, code)),
            ]
        else:
            m.d.comb += self.o_reply.payload.eq(code)

    def _keep_tag(self, m, *, received, settled, tag, head, waiting, tagged):
        """Send the tag to the slot of the next image and, a clock later, to the control slot if that is free.

        While a model is chosen, its info block takes the clocks of the memory.
        """
        again = Signal()
        m.d.sync += again.eq(received & settled)
        m.d.comb += [
            self.tag_stb.eq((received & settled) | (again & ~waiting)),
            self.tag_slot.eq(Mux(again, CONTROL_SLOT, head)),
            self.tag.eq(tag),
        ]
        with m.If(received & ~settled):
            m.d.sync += tagged.eq(0)
        with m.If(again):
            m.d.sync += tagged.eq(~waiting)
