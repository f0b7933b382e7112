r"""Adds the segments of a sum, wherever the segments before it have been left: a running total in block RAM.

::

    segment -+-> bit-planes added -> select -> register -> adder -> register -+-> sums
             +-------------------------^                    ^                 |
    ending --> slot, lane ---------------------> memory ----+                 |
                                                   ^--------------------------+
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.adder_pair import AdderPair, AdderPairFactory
from gateware.engine.configuration import EngineConfig
from gateware.engine.masked_ram import MaskedRam, MaskedRamFactory
from gateware.engine.neuron_array import ending_layout, segment_layout, sums_layout

__all__ = ["PartialSums"]


class PartialSums(wiring.Component):
    """Adds what the array sums of a segment to the sum that the segment belongs to, one neuron per clock.

    The sums of ``partial_slots x lanes`` neurons are kept, so that a sum may be continued after others. A segment with
    ``opens`` begins its sum; one with ``closes`` ends it, and its neurons are handed on. The slot of the memory is
    counted: it stays until a segment with ``sum_end``, after which the next segment has the next slot, or slot 0 if
    there was ``part_end`` as well.

    With ``planes``, the sums of a segment are those of bit-planes: the same ``sum(segment[t] << t)`` is added in every
    timestep, and ``scaled`` makes it worth ``2 ** timesteps`` times as much.

    Throughput: one neuron per clock. Latency: the ``sums`` of lane 0 come three clocks after ``load``, two after
    ``o_load``. Reads and writes of a neuron are :attr:`EngineConfig.cooldown_cycles` apart, but at least
    three clocks. No flow control. Sums are modulo ``2 ** partial_width``. Reset starts at slot 0; the memory is
    not cleared.
    Cost: ``timesteps * partial_width / 16`` block RAMs per 256 neurons. On the iCE40: in the overlay 121
    LUTs, 76 flip-flops, 141 logic cells, 4 block RAMs, 2 multipliers; the same without multipliers 185 LUTs, 140
    flip-flops, 209 logic cells.

    Parameters
    ----------
    config : :class:`EngineConfig`
    masked_ram : :class:`MaskedRamFactory`
        Makes the memory.
    adder_pair : :class:`AdderPairFactory`
        Makes the adders.

    Members
    -------
    load : :py:`In(1)`
        Of the array: the first neuron of a segment leaves it in the next clock.
    ending : :py:`In(ending_layout(config))`
        What the segment is for, with ``load``.
    segment : :py:`In(segment_layout(config))`
        Sums of one neuron, in ascending order in the ``lanes`` clocks after ``load``.
    planes : :py:`In(1)`
        Bit-planes; must not change while segments are under way.
    o_load : :py:`Out(1)`
        Strobe: sums are complete, and those of the first neuron come in the second clock after this one.
    o_ending : :py:`Out(ending_layout(config))`
        What they are for, from ``o_load`` on, for as many clocks as segments are apart.
    sums : :py:`Out(sums_layout(config))`
        What has been summed of a neuron, in ascending order.
    """

    def __init__(self, config: EngineConfig, *, masked_ram: MaskedRamFactory = MaskedRam,
                 adder_pair: AdderPairFactory = AdderPair):
        self.config     = config
        self.masked_ram = masked_ram
        self.adder_pair = adder_pair

        super().__init__({
            "load":     In(1),
            "ending":   In(ending_layout(config)),
            "segment":  In(segment_layout(config)),
            "planes":   In(1),
            "o_load":   Out(1),
            "o_ending": Out(ending_layout(config)),
            "sums":     Out(sums_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()

        config = self.config

        # Flags of the segment whose neurons pass; the slot follows those of the segment before.
        flags = Signal(ending_layout(config))
        slot  = Signal(range(config.partial_slots))
        count = Signal(range(config.lanes + 1), init=config.lanes)  # neurons that have passed
        with m.If(self.load):
            m.d.sync += flags.eq(self.ending)
            m.d.sync += count.eq(0)
            with m.If(flags.sum_end):
                m.d.sync += slot.eq(Mux(flags.part_end, 0, slot + 1))
        with m.Elif(~count[-1]):
            m.d.sync += count.eq(count + 1)

        # A neuron takes three clocks: read and select, add, write.
        load    = [self.load,  Signal(name="load_1"), Signal(name="load_2")]
        passing = [~count[-1], Signal(name="passing_1"), Signal(name="passing_2")]
        lane    = [count[:-1], Signal(len(count) - 1, name="lane_1", reset_less=True),
                               Signal(len(count) - 1, name="lane_2", reset_less=True)]
        opens   = Signal(reset_less=True)
        m.d.sync += [line[stage].eq(line[stage - 1]) for line in (load, passing, lane) for stage in (1, 2)]
        m.d.sync += opens.eq(flags.opens)
        m.d.comb += self.o_load.eq(load[1] & flags.closes)
        m.d.comb += self.o_ending.eq(flags)
        written = Signal.like(slot, reset_less=True)
        with m.If(load[2]):
            m.d.sync += written.eq(slot)

        added  = Signal(sums_layout(config), reset_less=True)
        before = Signal(sums_layout(config))
        m.d.sync += added.eq(self._added(m))
        for start in range(0, config.timesteps, 2):
            m.submodules[f"adders{start}"] = adders = self.adder_pair(width=config.partial_width)
            m.d.comb += adders.alone.eq(opens)
            for index, step in enumerate(range(start, min(start + 2, config.timesteps))):
                m.d.comb += [
                    adders.a[index].eq(added[step]),
                    adders.b[index].eq(before[step]),
                    self.sums[step].eq(adders.sums[index]),
                ]

        bits = config.timesteps * config.partial_width
        m.submodules.kept = kept = self.masked_ram(width=bits, depth=config.partial_slots * config.lanes)
        m.d.comb += [
            kept.read_address.eq(Cat(lane[0], slot)),
            before.eq(kept.read_data),
            kept.write.eq(passing[2]),
            kept.write_address.eq(Cat(lane[2], written)),
            kept.mask.eq(-1),
            kept.write_data.eq(self.sums),
        ]

        return m

    def _added(self, m):
        """Select what is added to the sums: the segment, or the sum of its bit-planes in every timestep."""
        config = self.config
        if not config.pixels:
            return Cat(Cat(sum_, C(0, config.partial_width))[:config.partial_width] for sum_ in self.segment)

        terms = list(self.segment)
        shift = 1
        while len(terms) > 1:
            terms = [terms[index] + (terms[index + 1] << shift) for index in range(0, len(terms), 2)]
            shift *= 2
        total = terms[0]
        others = list(self.segment)
        chosen = self.planes
        if config.slices > 1:
            # The upper bits of the total come late: there is one multiplexer behind them.
            chosen = Signal(name="unscaled")
            with m.If(self.load):
                m.d.sync += chosen.eq(self.planes & ~self.ending.scaled)
            others = [Mux(self.planes, total << config.timesteps, sum_) for sum_ in others]
        return Cat(Mux(chosen, total, other)[:config.partial_width] for other in others)
