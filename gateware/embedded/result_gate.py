"""Results in the order of the images, with a word in place of the result of each image that was refused."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.readout import result_layout

__all__ = ["ResultGate"]


class ResultGate(wiring.Component):
    """Hands results on, and answers a refused image with one word, after the results of all images before it.

    The word has ``last`` and ``error``, and its value is why the image was refused. A refusal waits until the results
    of all images that were committed before have been handed on; so there is an answer for each image, in the order of
    the images.

    Throughput: a word per clock. Latency: none. Back-pressure: that of the consumer. At most three images may be
    committed without a result. Reset: no image waits for its result.
    Cost on the iCE40: 40 LUTs, 2 flip-flops.

    Members
    -------
    commit : :py:`In(1)`
        Strobe: an image will have a result.
    i_words : :py:`In(stream.Signature(result_layout()))`
        Words of the results.
    i_refusals : :py:`In(stream.Signature(4))`
        An :class:`arch.link.ErrorCode` for each refused image.
    o_words : :py:`Out(stream.Signature(result_layout()))`
    """

    commit:     In(1)
    i_words:    In(stream.Signature(result_layout()))
    i_refusals: In(stream.Signature(4))
    o_words:    Out(stream.Signature(result_layout()))

    def elaborate(self, platform):
        m = Module()

        waiting = Signal(range(4))  # images without a result
        ended   = Signal()
        m.d.comb += ended.eq(self.i_words.valid & self.o_words.ready & self.i_words.p.last)
        m.d.sync += waiting.eq(waiting + self.commit - ended)

        with m.If(waiting.any()):
            m.d.comb += [
                self.o_words.valid.eq(self.i_words.valid),
                self.o_words.payload.eq(self.i_words.payload),
                self.i_words.ready.eq(self.o_words.ready),
            ]
        with m.Else():
            m.d.comb += [
                self.o_words.valid.eq(self.i_refusals.valid),
                self.o_words.p.word.eq(self.i_refusals.payload),
                self.o_words.p.last.eq(1),
                self.o_words.p.error.eq(1),
                self.i_refusals.ready.eq(self.o_words.ready),
            ]

        return m
