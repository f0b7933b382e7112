"""Gives the neurons that leave the array their places, pools their spikes and writes these in whole groups."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import ending_layout, follow_ending, word_layout
from gateware.engine.pif import PifUnit
from gateware.engine.program import LayerEntry, layer_layouts

__all__ = ["SpikeCollector"]


class _LaneCounter:
    """Counts the lanes of a group of neurons, one per clock, from the clock after ``load`` on."""

    def __init__(self, m, config, load, name):
        # The lane, and above it whether there is one.
        count = Signal(1 + (config.lanes - 1).bit_length(), name=name)
        with m.If(load):
            m.d.sync += count.eq(config.lanes)
        with m.Else():
            m.d.sync += count.eq(count + count[-1])
        self.valid = count[-1]
        self.lane  = count[:-1]
        self.last  = count.all()


class SpikeCollector(wiring.Component):
    """Follows the sums through the PIF unit and turns spikes into spike memory writes.

    Sums come in the order of the sequencer: for each group of channels, for each position of the (pooled) map, for each
    position of the pooling window. The spikes of a group are ORed over the window. After the last position of the
    window the group is written into its slot of the map's word; a slot is the part of a word that one group fills. The
    slot of the next position is ``target.advance`` slots further, and the first slot of the next group one slot after
    that of this one. Slots that no group fills are not written. Constants are those of group 0 for the first group
    after ``start``, and of the next group for each one after it. In a streamed circuit, they are those of the next
    place of the ring, and a network may be computed in blocks of timesteps: the windows of all blocks of a position
    follow each other, and their slots are ``target.block`` apart.

    Throughput: one neuron per clock. The write comes :meth:`latency_of` clocks after ``load`` and lasts one clock: the
    memory must take it, there is no back-pressure. No spikes may be under way at ``start`` and ``target_valid``, and
    ``target_valid`` may come neither in the clock after the write of a group nor within two clocks of the one before:
    the step to the next group, which is still to come then, would go on from the new target.
    Cost: about ``lanes * timesteps`` LUTs with flip-flops for the window, and three per bit of an address. On the
    iCE40: in the circuit of the shipped network 84 LUTs, 102 flip-flops; in the overlay 92 LUTs, 126 flip-flops, 172
    logic cells.

    Parameters
    ----------
    config : :class:`EngineConfig`

    Members
    -------
    start : :py:`In(1)`
        Strobe: the next group is the first of the network. Only in a circuit that is not streamed.
    target : :py:`In(layer_layouts(config)[LayerEntry.TARGET])`
    target_valid : :py:`In(1)`
        Strobe: the next group is the first of a layer with this ``target``.
    load : :py:`In(1)`
        The sums of the first of ``lanes`` neurons come in the next clock; in a streamed circuit, in the one after that.
    ending : :py:`In(ending_layout(config))`
        What the sums are, in the clock of ``load``; in a streamed circuit, for :attr:`EngineConfig.cooldown_cycles`
        from then on.
    group, lane : :py:`Out(...)`
        Address of the constants of a neuron, a clock before the PIF unit takes them: one behind the neuron's sums, or
        in a streamed circuit one before them.
    neuron : :py:`Out(1)`
        There is such a neuron.
    spikes : :py:`In(config.timesteps)`
        From the PIF unit.
    score_mode : :py:`In(1)`
        The layer has no spikes: write nothing.
    write : :py:`Out(1)`
    write_next : :py:`Out(1)`
        There will be a ``write`` in the next clock.
    address, mask, write_data : :py:`Out(...)`
        To the spike memory.
    release_group : :py:`Out(1)`
        Strobe: the oldest constants are read for the last time in this clock. Only in a streamed circuit.
    """

    def __init__(self, config: EngineConfig):
        self.config = config

        super().__init__({
            **({} if config.streamed else {"start": In(1)}),
            "target":       In(layer_layouts(config)[LayerEntry.TARGET]),
            "target_valid": In(1),
            "load":         In(1),
            "ending":       In(ending_layout(config)),
            "group":        Out(config.group_width),
            "lane":         Out(range(config.lanes)),
            "neuron":       Out(1),
            "spikes":       In(config.timesteps),
            "score_mode":   In(1),
            "write":        Out(1),
            "write_next":   Out(1),
            "address":      Out(config.address_width),
            "mask":         Out(config.width),
            "write_data":   Out(word_layout(config)),
            **({"release_group": Out(1)} if config.streamed else {}),
        })

    @staticmethod
    def _sums_latency_of(config: EngineConfig) -> int:
        """Clocks from ``load`` to the sums of the first neuron."""
        return 2 if config.streamed else 1

    @classmethod
    def latency_of(cls, config: EngineConfig) -> int:
        """Clocks from ``load`` to ``write``: the sums, the neurons, the PIF unit, a register."""
        return cls._sums_latency_of(config) + config.lanes + PifUnit.latency_of(config) + 1

    @classmethod
    def _constants_latency_of(cls, config: EngineConfig) -> int:
        """Clocks from ``load`` to the one before the address of the first constants."""
        return cls._sums_latency_of(config) + PifUnit.constants_latency_of(config) - 2

    @classmethod
    def release_cycles(cls, config: EngineConfig) -> int:
        """Clocks from the ``load`` of the last neurons of a group to ``release_group``."""
        return cls._constants_latency_of(config) + config.lanes

    def elaborate(self, platform):
        m = Module()

        config     = self.config
        # Clocks from `load` to the one before the address of the first constants, and to the first spikes.
        constants  = self._constants_latency_of(config)
        integrated = self._sums_latency_of(config) + PifUnit.latency_of(config)

        loads = [self.load]
        for clock in range(1, integrated + 1):
            loads.append(Signal(name=f"load{clock}"))
            m.d.sync += loads[clock].eq(loads[clock - 1])

        # Constants: the group counts on when the last neuron has them.
        stable = config.cooldown_cycles if config.streamed else 1
        held  = follow_ending(m, config, ending=self.ending, strobe=self.load, stable=stable, delay=constants,
                              name="loaded")
        lanes = _LaneCounter(m, config, loads[constants], "constant_lane")
        ends  = Signal()
        m.d.comb += [
            self.neuron.eq(lanes.valid),
            self.lane.eq(lanes.lane),
        ]
        with m.If(loads[constants]):
            m.d.sync += ends.eq(held.group_last)
        with m.If(lanes.last & ends):
            m.d.sync += self.group.eq(self.group + 1)
        if config.streamed:
            m.d.comb += self.release_group.eq(lanes.last & ends)
        else:
            with m.If(self.start):
                m.d.sync += self.group.eq(0)

        # Spikes. One register more than needed: without it, lanes = 8 would write the spikes of a sum exactly when the
        # end of a later one wants to read, wherever sums are as short as the cooldown (every first layer).
        spikes = Signal.like(self.spikes, reset_less=True)
        ending = Signal(ending_layout(config), reset_less=True)
        lanes  = _LaneCounter(m, config, loads[integrated], "spike_lane")
        held   = follow_ending(m, config, ending=held, strobe=loads[constants], stable=config.cooldown_cycles,
                               delay=integrated - constants, name="integrated")
        m.d.sync += spikes.eq(self.spikes)
        with m.If(loads[integrated]):
            m.d.sync += ending.eq(held)
        window = Signal(data.ArrayLayout(config.timesteps, config.lanes), reset_less=True)
        with m.If(lanes.valid):
            pooled = spikes | Mux(ending.window_first, 0, window[0])
            m.d.sync += window.eq(Cat(window.as_value()[config.timesteps:], pooled))
        m.d.comb += self.write_next.eq(lanes.last & ending.window_last & ~self.score_mode)
        m.d.sync += self.write.eq(self.write_next)

        self._address(m, ending=ending)
        m.d.comb += self.write_data.eq(window.as_value().replicate(config.slots))

        return m

    def _address(self, m, *, ending):
        """Go to the slot of the next write: in three clocks where a group begins, of which the next write needs two."""
        config  = self.config
        slot    = Signal(config.slot_address_width, reset_less=True)
        before  = Signal.like(slot, reset_less=True)           # one before the first slot of the group
        steps   = Signal(self.target.shape(), reset_less=True)
        begin   = Signal()
        begun   = Signal()
        written = Signal()  # the write is the last of its group
        m.d.sync += [
            written.eq(ending.group_last),
            begin.eq(self.target_valid | (self.write & written)),
            begun.eq(begin),
        ]
        step = steps.advance
        if config.blocks > 1:
            position_ends = Signal()
            m.d.sync += position_ends.eq(ending.block_last)
            step = Mux(position_ends, steps.advance, steps.block)
        # From zero, so that one adder serves both.
        with m.If(begin | self.write):
            m.d.sync += slot.eq(slot + Mux(begin, before, step) + begin)
        with m.If(self.target_valid | (self.write & written)):
            m.d.sync += slot.eq(0)
        with m.If(begun):
            m.d.sync += before.eq(slot)
        with m.If(self.target_valid):
            m.d.sync += before.eq(self.target.address)
            m.d.sync += steps.eq(self.target)
        slot_bits = (config.slots - 1).bit_length()
        m.d.comb += self.address.eq(slot[slot_bits:])
        m.d.comb += self.mask.eq(Cat((slot[:slot_bits] == index).replicate(config.lanes)
                                     for index in range(config.slots)))
