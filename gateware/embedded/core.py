"""The accelerator between two streams: a packet of bytes is an image, a packet of words its result."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from gateware.embedded.image_gate import ImageGate, byte_layout
from gateware.embedded.result_gate import ResultGate
from gateware.engine.accelerator import Accelerator
from gateware.engine.configuration import EngineConfig
from gateware.engine.readout import result_layout
from gateware.source import Baked

__all__ = ["Core"]


class Core(wiring.Component):
    """Classifies images that come as packets of bytes, and sends a packet of words for each.

    An image is a packet of as many bytes as the network's images have, in row, column, channel order. Its result is a
    packet of ``4 + classes`` words: class, cycles, stalls, 0, and then the score of each class
    (:class:`arch.link.Result`). A packet of another length is refused, as :class:`ImageGate` describes. If ``patient``,
    its answer is one word with ``error`` in the place of the result. If not, no word comes; nor is the first byte of a
    packet kept waiting: a packet that begins while ``ready`` is low is refused, too.

    Throughput and clocks of an inference are those of :class:`gateware.engine.accelerator.Accelerator`; the next image
    may come while one is computed. Back-pressure: a byte waits while the accelerator's FIFO is full and, if
    ``patient``, while both image buffers are taken; a result waits for its consumer, and the next inference for the
    result. Reset: the spike memory is filled in ``spike_words`` clocks, during which ``ready`` is low.

    Parameters
    ----------
    config : :class:`EngineConfig`
    source : :class:`gateware.source.Baked`
        The network.
    patient : :class:`bool`
        Keep an image waiting for a buffer rather than refuse it.

    Members
    -------
    i_bytes : :py:`In(stream.Signature(byte_layout()))`
    o_words : :py:`Out(stream.Signature(result_layout()))`
    ready : :py:`Out(1)`
        There is a buffer for an image, and no packet is on its way.
    busy : :py:`Out(1)`
        An inference is running.
    refused : :py:`Out(1)`
        Strobe: an image was refused, for the reason ``reason``.
    reason : :py:`Out(4)`
        An :class:`arch.link.ErrorCode`.
    """

    def __init__(self, config: EngineConfig, source: Baked, *, patient: bool = True):
        self.config  = config
        self.source  = source
        self.patient = patient

        super().__init__({
            "i_bytes": In(stream.Signature(byte_layout())),
            "o_words": Out(stream.Signature(result_layout())),
            "ready":   Out(1),
            "busy":    Out(1),
            "refused": Out(1),
            "reason":  Out(4),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.accelerator = accelerator = Accelerator(self.config, contents=self.source.contents)
        m.submodules.gate        = gate        = ImageGate(image_bytes=self.source.image_bytes, patient=self.patient)

        wiring.connect(m, wiring.flipped(self.i_bytes), gate.i)
        wiring.connect(m, gate.o_pixels, accelerator.i_pixels)
        m.d.comb += [
            gate.accept.eq(accelerator.accept),
            accelerator.begin.eq(gate.begin),
            accelerator.commit.eq(gate.commit),
            accelerator.abort.eq(gate.abort),
            self.ready.eq(gate.between & accelerator.accept),
            self.busy.eq(accelerator.busy),
            self.refused.eq(gate.o_refusals.valid & gate.o_refusals.ready),
            self.reason.eq(gate.o_refusals.payload),
        ]
        if self.patient:
            m.submodules.results = results = ResultGate()
            wiring.connect(m, accelerator.o_words, results.i_words)
            wiring.connect(m, gate.o_refusals, results.i_refusals)
            wiring.connect(m, results.o_words, wiring.flipped(self.o_words))
            m.d.comb += results.commit.eq(gate.commit)
        else:
            wiring.connect(m, accelerator.o_words, wiring.flipped(self.o_words))
            m.d.comb += gate.o_refusals.ready.eq(1)

        return m
