"""The accelerator: images come in, classes and scores go out. It knows nothing of pins, clocks or links.

::

    pixels -> FIFO -> WindowWriter -> SpikeMemory -> NeuronArray -> PifUnit -> SpikeCollector -+
                                       ^   ^              ^  WeightStore                       |
                            Sequencer -+   +---------------------------------------------------+
                                                                  +-> Readout -> result words

The window writer packs the pixels of an image into the windows of the first layer. For each layer, the sequencer then
reads spike words, the array and the PIF unit make spikes of them, and the collector writes these spikes back into the
same memory, where the next layer finds them. The scores of the last layer go to the readout instead.
"""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.clock_counters import count_clocks
from gateware.engine.configuration import EngineConfig
from gateware.engine.contents import MemoryContents
from gateware.engine.feed import drain_cycles, feed_array, follow_load
from gateware.engine.neuron_array import NeuronArray
from gateware.engine.pif import Current, PifUnit
from gateware.engine.pixel_fifo import PixelFifo
from gateware.engine.readout import HEADER_WORDS, Readout, result_layout
from gateware.engine.sequencer import Sequencer
from gateware.engine.spike_collector import SpikeCollector
from gateware.engine.spike_memory import RamFactory, SpikeMemory
from gateware.engine.weight_store import ConstantStore, WeightStore
from gateware.engine.window_writer import WindowWriter

__all__ = ["PIXEL_FIFO_DEPTH", "START_CYCLES", "Accelerator"]

#: Pixels that wait for a free clock of the spike memory; what one block RAM holds.
PIXEL_FIFO_DEPTH = 512

#: Clocks from ``commit`` to the first clock of the inference, if the engine is free and every pixel is in memory.
START_CYCLES = 4


class Accelerator(wiring.Component):
    """Classifies images, one at a time, while the next one arrives.

    ``begin`` announces an image, each of its bytes is one transfer of ``i_pixels``, and ``commit`` releases it to be
    classified; ``abort`` forgets the image that began last. An image has as many bytes as its network's images have.
    There are two image buffers, one that is filled and one that the engine reads. An image can begin before all pixels
    of the one before have left the FIFO; ``accept`` is high while a buffer will be free for it and at most half of the
    FIFO is taken. The results leave in the order of the images, as words of ``o_words``. The next inference starts when
    the result before it has been handed over.

    An inference takes exactly the clocks that :func:`gateware.mapper.cycles.count_cycles` predicts. They are counted
    from its start, when the engine is free and the last pixel of the image is in memory (:data:`START_CYCLES` after
    ``commit`` at the earliest), to the class. Only the pixels
    of the next image can delay it: usually they wait for clocks in which the engine does not read, but when the FIFO
    is half full they take clocks from it. Such clocks are counted as stalls. A stall delays the inference by one clock,
    by none when the array was waiting anyway, and now and then by two, when it moves a read onto a write.

    Throughput: ``lanes * width * timesteps`` synaptic operations per clock. Back-pressure: ``i_pixels.ready`` is low
    while the FIFO is full. Reset: the spike memory is filled in ``spike_words`` clocks, during which ``accept`` is low.

    Parameters
    ----------
    config : :class:`EngineConfig`
    contents : :class:`gateware.engine.contents.MemoryContents`
        Initial memory contents; None leaves them undefined, for simulations that load them.
    large_ram : :class:`gateware.engine.spike_memory.RamFactory`, optional
        Makes the spike memory; None lets the tools infer block RAM, as in every simulation.

    Members
    -------
    begin, commit, abort : :py:`In(1)`
    accept : :py:`Out(1)`
    i_pixels : :py:`In(stream.Signature(8))`
    o_words : :py:`Out(stream.Signature(result_layout()))`
    image_bytes, result_words : :py:`Out(16)`
        Length of an image and of a result, once ``accept`` has been high.
    busy : :py:`Out(1)`
        An inference is running.
    """

    def __init__(self, config: EngineConfig, *, contents: MemoryContents | None = None,
                 large_ram: RamFactory | None = None):
        self.config      = config
        self.contents    = contents
        self.large_ram   = large_ram

        super().__init__({
            "begin":        In(1),
            "commit":       In(1),
            "abort":        In(1),
            "accept":       Out(1),
            "i_pixels":     In(stream.Signature(8)),
            "o_words":      Out(stream.Signature(result_layout())),
            "image_bytes":  Out(16),
            "result_words": Out(16),
            "busy":         Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        config   = self.config
        contents = self.contents

        m.submodules.fifo      = pixels    = PixelFifo(depth=PIXEL_FIFO_DEPTH)
        m.submodules.windows   = windows   = WindowWriter(config, init=contents.pixels if contents else ())
        m.submodules.sequencer = sequencer = Sequencer(config, drain_cycles=drain_cycles(config),
                                                       init=contents.program if contents else ())
        m.submodules.spikes    = spikes    = SpikeMemory(config, large_ram=self.large_ram)
        m.submodules.weights   = weights   = WeightStore(config, init=contents.weights if contents else None)
        m.submodules.constants = constants = ConstantStore(config, init=contents.constants if contents else ())
        m.submodules.array     = array     = NeuronArray(config)
        m.submodules.pif       = pif       = PifUnit(config)
        m.submodules.collector = collector = SpikeCollector(config)
        m.submodules.readout   = readout   = Readout(config)

        wiring.connect(m, wiring.flipped(self.i_pixels), pixels.i)
        wiring.connect(m, pixels.o, windows.i_pixels)
        wiring.connect(m, readout.o_words, wiring.flipped(self.o_words))

        pressing = self._share_memory(m, pixels=pixels, windows=windows, sequencer=sequencer, collector=collector,
                                      spikes=spikes)
        feed_array(m, config, sequencer=sequencer, spikes=spikes, weights=weights, array=array)
        m.d.comb += [
            array.split.eq(sequencer.mode.neurons.current == Current.PLANES),
            pif.sums.eq(array.sums),
            pif.constants.eq(constants.constants),
            pif.mode.eq(sequencer.mode.neurons),
            collector.start.eq(sequencer.start),
            collector.target.eq(sequencer.target),
            collector.target_valid.eq(sequencer.target_valid),
            collector.load.eq(array.load),
            collector.ending.eq(follow_load(m, config, sequencer=sequencer)),
            collector.spikes.eq(pif.spikes),
            collector.score_mode.eq(sequencer.mode.final),
            # The PIF unit wants the constants two clocks after the sums; the memory takes one of them.
            constants.group.eq(collector.group),
            constants.lane.eq(collector.lane),
        ]
        # The score leaves the PIF unit three clocks after the sums, and the collector counts the neurons in the first.
        scored = Signal(2)
        m.d.sync += scored.eq(Cat(collector.neuron & sequencer.mode.final, scored))
        m.d.comb += [
            readout.clear.eq(sequencer.layer_start),
            readout.score.eq(pif.score),
            readout.score_valid.eq(scored[-1]),
            readout.classes.eq(sequencer.mode.classes),
            readout.send.eq(sequencer.done),
        ]
        count_clocks(m, config, sequencer=sequencer, readout=readout, computing=sequencer.busy,
                     stall=pressing & ~collector.write & sequencer.request)
        self._exchange_buffers(m, pixels=pixels, windows=windows, sequencer=sequencer, readout=readout)

        return m

    def _share_memory(self, m, *, pixels, windows, sequencer, collector, spikes):
        """Give each clock of the spike memory to one user; return whether pixels press the sequencer out of it."""
        # Spikes of the collector cannot wait. Pixels take idle clocks, unless they pile up: then they take a clock of
        # the sequencer, decided a clock ahead, so that a single flip-flop stands between the sequencer and its word.
        urgent   = Signal()
        press    = Signal()
        pressing = Signal()
        blocked  = Signal()
        idle     = Signal()  # the sequencer reads nothing in this clock
        # A write that had its clock is over, unless spikes took that.
        m.d.comb += press.eq(urgent & (windows.write_next | (windows.write & (~pressing | collector.write))))
        m.d.sync += [
            urgent.eq(pixels.half_full),
            pressing.eq(press),
            blocked.eq(collector.write_next | press),
        ]
        m.d.comb += [
            idle.eq(pressing | ~sequencer.request),
            windows.grant.eq(~collector.write & idle),
            sequencer.grant.eq(~blocked),
        ]
        # Registered, because the memory is at the edge of the chip and its address has three sources. An idle clock
        # has the pixels' address whether there are any or not: one condition less on the way to fourteen multiplexers.
        m.d.sync += [
            spikes.enable.eq(collector.write | windows.write | sequencer.request),
            spikes.write.eq(collector.write | (windows.write & idle)),
            spikes.address.eq(Mux(collector.write, collector.address,
                                  Mux(idle, windows.address, sequencer.address))),
            spikes.mask.eq(Mux(collector.write, collector.mask, windows.mask)),
            spikes.write_data.eq(Mux(collector.write, collector.write_data, windows.write_data)),
        ]
        return pressing

    def _exchange_buffers(self, m, *, pixels, windows, sequencer, readout):
        """Load one image buffer while the engine reads the other; start the engine when it is free."""
        pending   = Signal(range(3))  # images that are complete, with pixels on their way to the buffer
        filled    = Signal(range(3))  # images in their buffers, one of them maybe being computed
        spoilt    = Signal()  # an image was aborted whose pixels are behind those of a complete one
        loading   = Signal()  # buffer that pixels go to
        computing = Signal()  # buffer that the engine reads
        settled   = Signal()
        # Only a begin or an abort with nothing before it in the FIFO may empty that. After an abort with a complete
        # image before it, the next begin is such a one, because nothing is accepted until then.
        restart   = Signal()
        m.d.comb += [
            restart.eq((self.begin | self.abort) & ~pending.any()),
            pixels.flush.eq(restart),
            windows.begin.eq(restart),
            windows.proceed.eq(settled),
            windows.buffer.eq(loading),
            sequencer.buffer.eq(computing),
            self.accept.eq(windows.ready & ~spoilt & ~(pending.any() & pixels.half_full)
                           & ~(pending[1] | filled[1] | (pending[0] & filled[0]))),
            self.busy.eq(sequencer.busy),
            self.image_bytes.eq(windows.sizes.image_bytes),
            self.result_words.eq(windows.sizes.classes + HEADER_WORDS),
        ]
        m.d.sync += spoilt.eq(pending.any() & (spoilt | self.abort))
        m.d.sync += sequencer.start.eq(filled.any() & ~sequencer.start & ~sequencer.busy
                                       & ~sequencer.done & ~readout.busy)
        m.d.sync += settled.eq(pending.any() & ~settled & windows.finished)
        m.d.sync += pending.eq(pending + self.commit - settled)
        m.d.sync += filled.eq(filled + settled - sequencer.done)
        with m.If(settled):
            m.d.sync += loading.eq(~loading)
        with m.If(sequencer.done):
            m.d.sync += computing.eq(~computing)
