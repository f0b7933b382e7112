"""Gives the neurons that leave the array their places, pools their spikes and writes these in whole groups."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import word_layout
from gateware.engine.pif import PifUnit
from gateware.engine.program import LayerEntry, layer_layouts

__all__ = ["SpikeCollector"]


class SpikeCollector(wiring.Component):
    """Follows the sums through the PIF unit and turns spikes into spike memory writes.

    Sums come in the order of the sequencer: for each position of the (pooled) map, for each group of channels, for each
    position of the pooling window. The spikes of a group are ORed over the window. After the last position of the
    window the group is written into the next free slot of the map's words; a slot is the part of a word that one group
    fills. Slots that no group fills are not written.

    Throughput: one neuron per clock. The write comes :meth:`latency_of` clocks after ``load`` and lasts one clock: the
    memory must take it, there is no back-pressure. ``layer_start`` resets the counters.
    Cost: about ``lanes * timesteps`` LUTs with flip-flops for the window and 80 for the counters. On the iCE40 at P = 8
    and T = 4: 107 LUTs, 116 flip-flops.

    Parameters
    ----------
    config : :class:`EngineConfig`

    Members
    -------
    layer_start : :py:`In(1)`
    target : :py:`In(layer_layouts(config)[LayerEntry.TARGET])`
    groups : :py:`In(...)`
        Groups of the layer, a countdown.
    load : :py:`In(1)`
        Of the array: the first neuron leaves it in the next clock.
    group, lane : :py:`Out(...)`
        Address of the constants, in the clock in which the neuron's sums leave the array.
    neuron : :py:`Out(1)`
        Sums of a neuron leave the array in this clock.
    spikes : :py:`In(config.timesteps)`
        From the PIF unit.
    score_mode : :py:`In(1)`
        The layer has no spikes: write nothing.
    write : :py:`Out(1)`
    write_next : :py:`Out(1)`
        There will be a ``write`` in the next clock.
    address, mask, write_data : :py:`Out(...)`
        To the spike memory.
    """

    def __init__(self, config: EngineConfig):
        self.config = config

        layouts = layer_layouts(config)
        super().__init__({
            "layer_start": In(1),
            "target":      In(layouts[LayerEntry.TARGET]),
            "groups":      In(layouts[LayerEntry.LOOPS]["groups"].shape),
            "load":        In(1),
            "group":       Out(config.group_width),
            "lane":        Out(range(config.lanes)),
            "neuron":      Out(1),
            "spikes":      In(config.timesteps),
            "score_mode":  In(1),
            "write":       Out(1),
            "write_next":  Out(1),
            "address":     Out(config.address_width),
            "mask":        Out(config.width),
            "write_data":  Out(word_layout(config)),
        })

    @staticmethod
    def latency_of(config: EngineConfig) -> int:
        """Clocks from ``load`` to ``write``: the neurons, the PIF unit, two registers."""
        return 2 + config.lanes + PifUnit.latency_of(config)

    def elaborate(self, platform):
        m = Module()

        config = self.config
        flags_layout = data.StructLayout({
            "neuron":       1,
            "window_first": 1,  # of the pooling window: forget the window before
            "group_end":    1,  # last neuron of the group, last position of the window: write
            "word_end":     1,  # last group of the position: the next one begins a word
        })

        windows     = Signal.like(self.target.windows, reset_less=True)
        groups      = Signal.like(self.groups, reset_less=True)
        next_group  = Signal(config.group_width, reset_less=True)
        window_first = Signal()
        flags       = Signal(flags_layout)
        group_last  = Signal()
        window_last = Signal()
        left        = Signal(range(config.lanes + 1))

        with m.If(self.layer_start):
            m.d.sync += [
                windows.eq(self.target.windows),
                groups.eq(self.groups),
                next_group.eq(self.target.group),
                window_first.eq(1),
            ]
        current_first = Signal()
        with m.If(self.load):
            m.d.sync += [
                self.group.eq(next_group),
                self.lane.eq(0),
                left.eq(config.lanes),
                current_first.eq(window_first),
                window_last.eq(windows < 0),
                group_last.eq(groups < 0),
                window_first.eq(windows < 0),
                windows.eq(Mux(windows < 0, self.target.windows, windows - 1)),
            ]
            with m.If(windows < 0):
                m.d.sync += groups.eq(Mux(groups < 0, self.groups, groups - 1))
                m.d.sync += next_group.eq(Mux(groups < 0, self.target.group, next_group + 1))
        with m.Elif(self.neuron):
            m.d.sync += self.lane.eq(self.lane + 1)
            m.d.sync += left.eq(left - 1)
        m.d.comb += self.neuron.eq(left != 0)

        m.d.comb += [
            flags.neuron.eq(self.neuron),
            flags.window_first.eq(current_first),
            flags.group_end.eq(self.neuron & (left == 1) & window_last & ~self.score_mode),
            flags.word_end.eq(group_last),
        ]
        delayed = flags
        for stage in range(PifUnit.latency_of(config) + 1):
            following = Signal(flags_layout, name=f"flags{stage}")
            m.d.sync += following.eq(delayed)
            delayed = following

        # One register more than needed: without it, lanes = 8 would write the spikes of a sum exactly when the end of a
        # later one wants to read, wherever sums are as short as the cooldown (every first layer).
        spikes = Signal.like(self.spikes, reset_less=True)
        m.d.sync += spikes.eq(self.spikes)

        window = Signal(data.ArrayLayout(config.timesteps, config.lanes), reset_less=True)
        with m.If(delayed.neuron):
            pooled = spikes | Mux(delayed.window_first, 0, window[0])
            m.d.sync += window.eq(Cat(window.as_value()[config.timesteps:], pooled))

        slot    = Signal(range(config.slots))
        word_end = Signal()
        m.d.comb += self.write_next.eq(delayed.group_end)
        m.d.sync += self.write.eq(self.write_next)
        m.d.sync += word_end.eq(delayed.word_end)
        m.d.comb += self.write_data.eq(window.as_value().replicate(config.slots))
        m.d.comb += self.mask.eq(Cat((slot == index).replicate(config.lanes) for index in range(config.slots)))
        with m.If(self.layer_start):
            m.d.sync += self.address.eq(self.target.address)
            m.d.sync += slot.eq(0)
        with m.Elif(self.write):
            with m.If(word_end | (slot == config.slots - 1)):
                m.d.sync += self.address.eq(self.address + 1)
                m.d.sync += slot.eq(0)
            with m.Else():
                m.d.sync += slot.eq(slot + 1)

        return m
