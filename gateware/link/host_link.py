r"""The accelerator's end of the host link (:mod:`arch.link`).

::

    rx -> FrameReceiver -> begin, commit, abort, o_pixels
               |     \
           tag |      \ INFO or ERROR
               v       v
    info block, tags -> FrameTransmitter -> tx
                            ^
                         i_words
"""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from arch.link import INFO_BYTES, TIMEOUT_BITS
from gateware.engine.readout import result_layout
from gateware.link.frame import MEMORY_ROWS, slot_row
from gateware.link.receiver import FrameReceiver, check_timeout_bits
from gateware.link.transmitter import FrameTransmitter
from gateware.link.uart import check_divisor

__all__ = ["HostLink"]


class HostLink(wiring.Component):
    """Receives images from a host and sends back results, by the protocol of :mod:`arch.link`.

    An image is a CLASSIFY frame. If ``accept`` is high and the length is ``image_bytes`` when the header is complete,
    ``begin`` is strobed, the payload leaves through ``o_pixels``, and ``commit`` or ``abort`` is strobed at the end:
    ``commit`` after the last pixel was transferred and the CRC was right, ``abort`` after every other end of the frame
    (wrong CRC, overrun, silence). A result is ``result_words`` transfers of ``i_words``, sent under the tag of its
    image; results come in the order of the commits. At most three images may be committed without a result. One
    transfer with ``error`` in place of a result answers with an error.

    :class:`gateware.link.receiver.FrameReceiver` and :class:`gateware.link.transmitter.FrameTransmitter` do this; the
    link joins them with one memory, which holds the info block and the tags of the replies to come. An INFO tells the
    faults of the line since reset, too.

    With ``selectable``, the host chooses among models. ``select`` is strobed when a SELECT is right and no image waits
    for its result. Then ``selected`` must be low, from the next clock until the choice is settled; meanwhile the info
    block of the model is written through ``info_write``. When ``selected`` rises, the SELECT is answered: INFO if
    ``status`` is 0, else the error ``status``, with which INFO and CLASSIFY are then answered too. ``info_write`` may
    come in any clock with ``selected`` low; frames whose tag comes in such a clock are swallowed.

    Throughput: a byte in 10 * ``divisor`` clocks, in both directions at once. Latency: a pixel is valid two clocks
    after the clock in which its stop bit is sampled, and ``commit`` comes three clocks after the clock in which the
    last stop bit is sampled. On an idle line the start bit of a result begins at most ``divisor`` + 1 clocks after its
    first word is valid, that of another reply at most ``divisor`` + 5 clocks after the last stop bit of its frame is
    sampled. Back-pressure: the line cannot be stalled. ``o_pixels.ready`` must come within 2 * ``divisor`` - 2 clocks,
    before the first bit of the next character is sampled; if it does not, the pixel is withdrawn and the frame ends as
    an overrun. Any gap is allowed between words of ``i_words``, which are taken one by one when the line is ready for
    them. An INFO or ERROR reply waits for the end of a result in progress, then goes before further results; meanwhile
    further replies of these kinds are dropped. Reset: everything is idle; tags and info block keep their contents.
    Cost on the iCE40 at 16 clocks per bit: 359 LUTs, 194 flip-flops, 1 block RAM; with ``selectable`` 415 LUTs, 206
    flip-flops, 1 block RAM; less where the sizes are constants.

    Parameters
    ----------
    divisor : :class:`int`
        Clocks per bit, at least 4.
    info : :class:`bytes`
        The info block (:meth:`arch.link.Info.to_bytes`): the first 64 rows of the memory ``info``.
    timeout_bits : :class:`int`
        Bit times of silence that end a frame: a power of two, at least 32. Tests shorten it.
    selectable : :class:`bool`
        There are models to select.

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

    And with ``selectable``:

    select : :py:`Out(1)`
        Strobe: choose model number ``model``.
    model : :py:`Out(8)`
    selected : :py:`In(1)`
        No model is being chosen: ``status`` and the info block are settled.
    status : :py:`In(4)`
        0 if a model is selected, else the :class:`arch.link.ErrorCode` that says why not. Constant while ``selected``
        is high.
    info_write : :py:`In(1)`
        Strobe: ``info_data`` is byte ``info_index`` of the info block.
    info_index : :py:`In(range(INFO_BYTES))`
    info_data : :py:`In(8)`

    Raises
    ------
    :exc:`TypeError`, :exc:`ValueError`
        If a parameter is not as described.
    """

    def __init__(self, *, divisor, info, timeout_bits=TIMEOUT_BITS, selectable=False):
        check_divisor(divisor)
        check_timeout_bits(timeout_bits)
        if len(info) != INFO_BYTES:
            raise ValueError(f"info must have {INFO_BYTES} bytes, not {len(info)}")
        self.divisor      = divisor
        self.info         = bytes(info)
        self.timeout_bits = timeout_bits
        self.selectable   = bool(selectable)

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
        } | ({
            "select":       Out(1),
            "model":        Out(8),
            "selected":     In(1),
            "status":       In(4),
            "info_write":   In(1),
            "info_index":   In(range(INFO_BYTES)),
            "info_data":    In(8),
        } if self.selectable else {}))

    def elaborate(self, platform):
        m = Module()

        m.submodules.receiver    = receiver    = FrameReceiver(divisor=self.divisor, timeout_bits=self.timeout_bits,
                                                               selectable=self.selectable)
        m.submodules.transmitter = transmitter = FrameTransmitter(divisor=self.divisor)
        m.submodules.info        = info        = memory.Memory(shape=8, depth=MEMORY_ROWS, init=self.info)
        write = info.write_port()
        read  = info.read_port(domain="comb")

        wiring.connect(m, receiver.o_pixels, wiring.flipped(self.o_pixels))
        wiring.connect(m, receiver.o_reply, transmitter.i_reply)
        wiring.connect(m, wiring.flipped(self.i_words), transmitter.i_words)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            receiver.tick.eq(transmitter.tick),
            receiver.accept.eq(self.accept),
            receiver.image_bytes.eq(self.image_bytes),
            transmitter.result_words.eq(self.result_words),
            transmitter.counters.eq(receiver.counters),
            self.tx.eq(transmitter.tx),
            self.begin.eq(receiver.begin),
            self.commit.eq(receiver.commit),
            self.abort.eq(receiver.abort),
        ]

        m.d.comb += [
            write.en.eq(receiver.tag_stb),
            write.addr.eq(slot_row(receiver.tag_slot)),
            write.data.eq(receiver.tag),
            read.addr.eq(transmitter.row),
        ]
        if self.selectable:
            m.d.comb += [
                receiver.result_slot.eq(transmitter.result_slot),
                receiver.selected.eq(self.selected),
                receiver.status.eq(self.status),
                self.select.eq(receiver.select),
                self.model.eq(receiver.model),
            ]
            with m.If(self.info_write):
                m.d.comb += [
                    write.en.eq(1),
                    write.addr.eq(self.info_index),
                    write.data.eq(self.info_data),
                ]
        # Yosys makes this register the block RAM's own. From a synchronous port it would build, in 40 logic cells, the
        # read during a write that the block RAM does not promise; here it finds the proof that there is none.
        row_data = Signal(8, reset_less=True)
        with m.If(~write.en):
            m.d.sync += row_data.eq(read.data)
        m.d.comb += transmitter.data.eq(row_data)

        return m
