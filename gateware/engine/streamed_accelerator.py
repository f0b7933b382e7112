r"""The streamed accelerator: weights, constants and program pass through it, and images become classes and scores.

::

    stream -> ring of programs -> Sequencer                ring of constants -------+
         \--> ring of rows ---------------+                                         v
    pixels -> ImageWriter -> SpikeMemory -> NeuronArray -> PartialSums -> PifUnit -> SpikeCollector -+
                              ^   ^                                          ^ MembraneStore         |
                   Sequencer -+   +----------------------------------------------------------------- +
                                                                             +-> Readout -> result words

What computes is what :mod:`gateware.engine.accelerator` describes. The sums of the array are those of segments, which
the partial sums add up; the membrane store keeps what neurons go on from in the next block of timesteps.
"""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.adder_pair import AdderPair, AdderPairFactory
from gateware.engine.clock_counters import count_clocks
from gateware.engine.configuration import EngineConfig
from gateware.engine.feed import drain_cycles, feed_array, follow_load
from gateware.engine.image_writer import CHANNEL_BITS, ImageWriter
from gateware.engine.masked_ram import EntryRing, MaskedRam, MaskedRamFactory
from gateware.engine.membrane_store import MembraneStore
from gateware.engine.neuron_array import NeuronArray, ending_layout, follow_ending
from gateware.engine.partial_sums import PartialSums
from gateware.engine.pif import Current, PifUnit
from gateware.engine.program import layer_entries, program_width
from gateware.engine.readout import Readout, result_layout
from gateware.engine.ring_port import RingPort
from gateware.engine.sequencer import Sequencer
from gateware.engine.spike_collector import SpikeCollector
from gateware.engine.spike_memory import RamFactory, SpikeMemory
from gateware.engine.weight_ring import ConstantRing, WeightRing

__all__ = ["StreamedAccelerator"]


class StreamedAccelerator(wiring.Component):
    """Classifies images, one at a time, with a model that comes as a stream.

    Images and results are those of :class:`gateware.engine.accelerator.Accelerator`: ``begin``, ``i_pixels`` and
    ``commit`` or ``abort``; ``o_words``. With one image buffer, the next image is accepted when the first layer has
    been computed. A pixel takes clocks of the spike memory at once, which are counted as stalls.

    The stream is written through the members that :class:`gateware.flash.loader.StreamLoader` drives; the strobes of
    ``release`` give places of the rings back. What the engine waits for the stream is counted apart.

    Parameters
    ----------
    config : :class:`EngineConfig`
    large_ram : :class:`gateware.engine.spike_memory.RamFactory`, optional
        Makes the spike memory; None lets the tools infer block RAM, as in every simulation.
    masked_ram : :class:`gateware.engine.masked_ram.MaskedRamFactory`
        Makes the small memories.
    adder_pair : :class:`gateware.engine.adder_pair.AdderPairFactory`, optional
        Makes adders of the partial sums and of the neurons; None makes them of logic cells.

    Members
    -------
    begin, commit, abort : :py:`In(1)`
    accept : :py:`Out(1)`
    i_pixels : :py:`In(stream.Signature(8))`
    o_words : :py:`Out(stream.Signature(result_layout()))`
    checked : :py:`In(1)`
        Strobe: a stream has been read to its end, and each of its CRCs was right. A result waits for that.
    busy : :py:`Out(1)`
        An inference is running, or its result waits for the check.
    rings : :py:`In(RingPort(config))`
    channels, slices, plane_words
        Of the model's image, as members of :class:`gateware.engine.image_writer.ImageWriter`.
    buffers : :py:`In(1)`
        Image buffers of the model, minus one.
    choose : :py:`In(1)`
        Strobe, with ``flush``: another model is chosen, and no image is under way.
    flush : :py:`In(1)`
        Strobe: give up the inference, if there is one, and begin with empty rings.
    overtime : :py:`Out(1)`
        The inference takes more clocks than can be counted: it will not end.
    """

    def __init__(self, config: EngineConfig, *, large_ram: RamFactory | None = None,
                 masked_ram: MaskedRamFactory = MaskedRam, adder_pair: AdderPairFactory | None = None):
        self.config     = config
        self.large_ram  = large_ram
        self.masked_ram = masked_ram
        self.adder_pair = adder_pair

        super().__init__({
            "begin":       In(1),
            "commit":      In(1),
            "abort":       In(1),
            "accept":      Out(1),
            "i_pixels":    In(stream.Signature(8)),
            "o_words":     Out(stream.Signature(result_layout())),
            "checked":     In(1),
            "busy":        Out(1),
            "rings":       In(RingPort(config)),
            "channels":    In(CHANNEL_BITS),
            "slices":      In(1),
            "plane_words": In(config.address_width),
            "buffers":     In(1),
            "choose":      In(1),
            "flush":       In(1),
            "overtime":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        config, make = self.config, self.masked_ram
        fresh = ResetInserter(self.flush)

        m.submodules.image     = image     = ImageWriter(config)
        m.submodules.sequencer = sequencer = fresh(Sequencer(config, drain_cycles=drain_cycles(config)))
        m.submodules.spikes    = spikes    = SpikeMemory(config, large_ram=self.large_ram)
        m.submodules.program   = program   = EntryRing(
            width=program_width(config), depth=config.layers * layer_entries(config), masked_ram=make)
        m.submodules.weights   = weights   = WeightRing(config, masked_ram=make)
        m.submodules.constants = constants = ConstantRing(config, masked_ram=make)
        m.submodules.array     = array     = fresh(NeuronArray(config))
        m.submodules.partial   = partial   = fresh(PartialSums(
            config, masked_ram=make, adder_pair=self.adder_pair or AdderPair))
        m.submodules.pif       = pif       = PifUnit(config, adder_pair=self.adder_pair)
        m.submodules.membranes = membranes = MembraneStore(config, masked_ram=make)
        m.submodules.collector = collector = fresh(SpikeCollector(config))
        m.submodules.readout   = readout   = Readout(config)
        waiting = Signal()  # the inference is done, but not yet the check of its stream

        wiring.connect(m, wiring.flipped(self.i_pixels), image.i_pixels)
        wiring.connect(m, readout.o_words, wiring.flipped(self.o_words))

        self._fill_rings(m, sequencer=sequencer, program=program, weights=weights, constants=constants,
                         collector=collector)
        self._share_memory(m, image=image, sequencer=sequencer, collector=collector, spikes=spikes)
        # A word of padding is 1 in the last timestep alone if it is marked.
        marked = Signal(reset_less=True)
        m.d.sync += marked.eq(sequencer.marked)
        feed_array(m, config, sequencer=sequencer, spikes=spikes, weights=weights, array=array,
                   padding=Cat(C(0, config.timesteps - 1), marked).replicate(config.width))
        self._integrate(m, sequencer=sequencer, array=array, partial=partial, constants=constants, pif=pif,
                        membranes=membranes, collector=collector, readout=readout)
        self._hold_result(m, sequencer=sequencer, readout=readout, waiting=waiting)
        computing = sequencer.busy | waiting
        cycles = count_clocks(m, config, sequencer=sequencer, readout=readout, computing=computing,
                              stall=image.write & ~collector.write & sequencer.request)
        # The mapper refuses networks that take longer; what comes here has lost its weights.
        m.d.sync += self.overtime.eq(cycles.all() & computing & ~self.flush)
        self._exchange_buffers(m, image=image, sequencer=sequencer, readout=readout, waiting=waiting)

        return m

    def _fill_rings(self, m, *, sequencer, program, weights, constants, collector):
        """Write what the stream brings, and tell it what is free again."""
        rings = self.rings
        m.d.comb += [
            program.read.eq(sequencer.entry_read),
            program.read_address.eq(sequencer.entry_address),
            sequencer.entry.eq(program.read_data),
            program.write.eq(rings.program_write),
            program.write_address.eq(rings.program_address),
            program.write_mask.eq(rings.entry_mask),
            program.write_data.eq(rings.byte),
            constants.group.eq(collector.group),
            constants.lane.eq(collector.lane),
            constants.write.eq(rings.constants_write),
            constants.write_lane.eq(rings.constants_lane),
            constants.write_group.eq(rings.constants_group),
            constants.write_mask.eq(rings.entry_mask),
            constants.write_data.eq(rings.byte),
            weights.write_row.eq(rings.row),
            weights.banks.eq(rings.row_banks),
            weights.mask.eq(rings.row_mask),
            weights.write_weights.eq(rings.row_weights),
            sequencer.layer_written.eq(rings.layer_written),
            sequencer.row_written.eq(rings.row_written),
            rings.release_layer.eq(sequencer.release_layer),
            rings.release_row.eq(sequencer.release_row),
            rings.release_group.eq(collector.release_group),
        ]

    def _share_memory(self, m, *, image, sequencer, collector, spikes):
        """Give each clock of the spike memory to one user: spikes, then pixels, then the sequencer."""
        # Decided a clock ahead, so that a single flip-flop stands between the sequencer and its word.
        blocked = Signal()
        m.d.sync += blocked.eq(collector.write_next | image.write_next)
        m.d.comb += [
            image.grant.eq(~collector.write),
            sequencer.grant.eq(~blocked),
        ]
        # Registered, because the memory is at the edge of the chip and its address has three sources.
        m.d.sync += [
            spikes.enable.eq(collector.write | image.write | sequencer.request),
            spikes.write.eq(collector.write | image.write),
            spikes.address.eq(Mux(collector.write, collector.address,
                                  Mux(image.write, image.address, sequencer.address))),
            spikes.mask.eq(Mux(collector.write, collector.mask, image.mask)),
            spikes.write_data.eq(Mux(collector.write, collector.write_data, image.write_data)),
        ]

    def _integrate(self, m, *, sequencer, array, partial, constants, pif, membranes, collector, readout):
        """Bring sums and constants to the neurons, and their spikes and membranes to where they are kept."""
        config  = self.config
        final   = sequencer.mode.final
        latency = PifUnit.latency_of(config)
        m.d.comb += [
            partial.load.eq(array.load),
            partial.segment.eq(array.sums),
            partial.ending.eq(follow_load(m, config, sequencer=sequencer)),
            partial.planes.eq(sequencer.mode.neurons.current == Current.PLANES),
            collector.target.eq(sequencer.target),
            collector.target_valid.eq(sequencer.target_valid),
            collector.load.eq(partial.o_load),
            collector.ending.eq(partial.o_ending),
            collector.spikes.eq(pif.spikes),
            collector.score_mode.eq(final),
            pif.sums.eq(partial.sums),
            pif.constants.eq(constants.constants),
            pif.mode.eq(sequencer.mode.neurons),
        ]
        # Neurons, and the last ones of their groups: with their sums, and with their spikes.
        ends = Signal()
        m.d.comb += ends.eq(collector.neuron & (collector.lane == config.lanes - 1))
        line = [(collector.neuron, ends)]
        for clock in range(1, 2 + latency):
            line.append((Signal(name=f"neuron{clock}"), Signal(name=f"neuron{clock}_last")))
            m.d.sync += [after.eq(before) for before, after in zip(line[-2], line[-1], strict=True)]
        summed, fired = line[1], line[1 + latency]
        # The flags of a sum, likewise: a register holds them from the first neuron to the last.
        at_sums = Signal(ending_layout(config), reset_less=True)
        strobes = [partial.o_load]
        for clock in range(1, 2 + latency):
            strobes.append(Signal(name=f"load{clock}"))
            m.d.sync += strobes[clock].eq(strobes[clock - 1])
        with m.If(strobes[1]):
            m.d.sync += at_sums.eq(partial.o_ending)
        at_spikes = Signal(ending_layout(config), reset_less=True)
        held = follow_ending(m, config, ending=at_sums, strobe=strobes[2],
                             stable=config.cooldown_cycles, delay=latency - 1, name="fired")
        with m.If(strobes[1 + latency]):
            m.d.sync += at_spikes.eq(held)
        m.d.comb += [
            pif.block_first.eq(at_sums.block_first),
            pif.block_last.eq(at_spikes.block_last),
            pif.stored.eq(membranes.stored),
            membranes.clear.eq(sequencer.layer_start | sequencer.done),
            membranes.read.eq(summed[0] | readout.next_kept),
            membranes.begins.eq(summed[0] & at_sums.block_first),
            membranes.read_last.eq(summed[1] & at_sums.window_last),
            # What nobody goes on from must not be kept: there is no bound to the neurons of a window then.
            membranes.write.eq(fired[0] & (final | ~at_spikes.block_last)),
            membranes.write_last.eq(fired[1] & at_spikes.window_last & ~final),
            membranes.i_stored.eq(pif.o_stored),
            readout.clear.eq(sequencer.layer_start),
            readout.score.eq(pif.score),
            readout.score_valid.eq(fired[0] & final),
            readout.classes.eq(sequencer.mode.classes),
            readout.kept.eq(membranes.stored.membrane.as_signed() >> config.fraction),
        ]

    def _hold_result(self, m, *, sequencer, readout, waiting):
        """Send a result when the whole stream that it was computed from has been checked.

        A right program leaves no row of its stream unused, and the last one comes after the check. A damaged one may
        end before.
        """
        # Streams that have been checked and whose results have not been sent, negative: each has a layer in the ring.
        ahead  = Signal(range(-self.config.layers, 1))
        proven = ahead[-1]
        change = self.checked ^ readout.send
        m.d.sync += ahead.eq(ahead + Cat(change, (change & self.checked).replicate(len(ahead) - 1)))
        m.d.sync += waiting.eq((sequencer.done | waiting) & ~proven)
        m.d.comb += readout.send.eq((sequencer.done | waiting) & proven & ~self.flush)
        m.d.comb += self.busy.eq(sequencer.busy | sequencer.done | waiting)
        with m.If(self.flush):
            m.d.sync += ahead.eq(0)
            m.d.sync += waiting.eq(0)

    def _exchange_buffers(self, m, *, image, sequencer, readout, waiting):
        """Load an image while the engine computes another; start the engine when it is free."""
        full      = Signal(2)
        loading   = Signal()  # buffer that images go to
        computing = Signal()  # buffer that the engine reads
        reading   = Signal()  # ... and it still does
        read      = Signal()
        m.d.comb += [
            image.begin.eq(self.begin),
            image.buffer.eq(loading),
            image.channels.eq(self.channels),
            image.slices.eq(self.slices),
            image.plane_words.eq(self.plane_words),
            sequencer.buffer.eq(computing),
            self.accept.eq(~full.bit_select(loading, 1)),
            # Read for the last time, or given up.
            read.eq(reading & ((sequencer.layer_start & ~sequencer.mode.input) | sequencer.done | self.flush)),
        ]
        m.d.sync += sequencer.start.eq(full.bit_select(computing, 1) & ~sequencer.start & ~sequencer.busy
                                       & ~sequencer.done & ~waiting & ~readout.busy)
        # All pixels have been written: each is taken with its last write.
        with m.If(self.commit):
            m.d.sync += full.bit_select(loading, 1).eq(1)
            m.d.sync += loading.eq(loading ^ self.buffers)
        with m.If(sequencer.start):
            m.d.sync += reading.eq(1)
        with m.If(read):
            m.d.sync += [
                reading.eq(0),
                full.bit_select(computing, 1).eq(0),
                computing.eq(computing ^ self.buffers),
            ]
        with m.If(self.choose):
            m.d.sync += loading.eq(0)
            m.d.sync += computing.eq(0)
