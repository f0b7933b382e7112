"""The spike collector, baked, with two lanes: for all spikes, windows, groups of channels and places of the result.

What is assumed is what its data sheet asks for: sums are at least a cooldown apart, and none is under way where a layer
or a network begins, which is a clock after the last write at the earliest, and no two layers begin within two clocks.
"""

import pytest
from amaranth import *

from gateware.engine.configuration import EngineConfig
from gateware.engine.pif import PifUnit
from gateware.engine.spike_collector import SpikeCollector
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

CONFIG = EngineConfig(lanes=2, width=4, timesteps=2, pixels=False, spike_words=16, channel_groups=4)


class Line:
    """A value, and what it was some clocks before."""

    def __init__(self, bench, value, clocks):
        self._line = [value]
        for _ in range(clocks):
            self._line.append(bench.past(self._line[-1]))

    def __getitem__(self, clocks):
        return self._line[clocks]

    def any(self, *clocks):
        """Whether it was set in one of the clocks."""
        return Cat(self._line[clock] for clock in range(*clocks)).any()


def bench(block):
    bench, config = Bench(), CONFIG
    m = bench.m
    collector = block(config)
    inside = Inside(collector)
    bench.add("collector", collector)
    lanes, target = config.lanes, collector.target
    latency = SpikeCollector.latency_of(config)
    integrated = 1 + PifUnit.latency_of(config)

    load = Line(bench, collector.load, latency + 1)
    first, last, group_last = (Line(bench, flag, latency) for flag in (
        collector.ending.window_first, collector.ending.window_last, collector.ending.group_last))
    under_way = load.any(latency + 2)
    bench.assume(~collector.load | ~load.any(1, config.cooldown_cycles))
    bench.assume(~under_way | ~(collector.start | collector.target_valid))
    begins = Line(bench, collector.target_valid, 2)
    bench.assume(~collector.target_valid | ~begins.any(1, 3))
    bench.assume(bench.first | collector.target_valid | (collector.score_mode == bench.past(collector.score_mode)))

    # The write is that of the sum that was loaded so long ago.
    write = collector.write
    bench.claim("collector-write", write == (load[latency] & last[latency] & ~collector.score_mode))
    bench.claim("collector-write", write == bench.past(collector.write_next))
    bench.situation("collector-write", write & load[latency - config.cooldown_cycles] & bench.past(bench.past(write)))

    # The spikes of any one lane in the window. A write comes when the lane may have taken those of the next sum.
    lane = bench.constant(range(lanes), "follow")
    pooled, opened = Signal(config.timesteps), Signal()
    for place in range(lanes):
        clock = integrated + place
        with m.If(load[clock] & (lane == place)):
            m.d.sync += pooled.eq(collector.spikes | Mux(first[clock], 0, pooled))
            m.d.sync += opened.eq(opened | first[clock])
    before = bench.past(pooled), bench.past(opened)
    written = Value.cast(collector.write_data)
    spikes = [written.word_select(slot * lanes + lane, config.timesteps) for slot in range(config.slots)]
    bench.claim("collector-spikes", ~(write & before[1]) | Cat(spike == before[0] for spike in spikes).all())
    bench.situation("collector-spikes", write & before[1] & ~first[latency] & (lane == 1) & before[0].any()
                    & ~bench.past(bench.past(collector.spikes)).any())

    # The window turns by a lane for each lane that comes.
    turned = sum((Mux(load[integrated + 1 + place], place, 0) for place in range(1, lanes)), C(0))
    place = (lane - turned)[:lanes.bit_length() - 1]
    bench.lemma(~before[1] | (Value.cast(inside["window"]).word_select(place, config.timesteps) == before[0]))

    # The slot that is written next, by the group and the position in it.
    group, position, slot = (Signal(config.slot_address_width, name=name) for name in ("group", "position", "slot"))
    placed, address, advance = Signal(), Signal.like(target.address), Signal.like(target.advance)
    m.d.comb += slot.eq(address + 1 + group + position * advance)
    with m.If(collector.target_valid):
        m.d.sync += [placed.eq(1), group.eq(0), position.eq(0), address.eq(target.address), advance.eq(target.advance)]
    with m.Elif(write):
        m.d.sync += position.eq(Mux(group_last[latency], 0, position + 1))
        m.d.sync += group.eq(group + group_last[latency])
    slot_bits = config.slots.bit_length() - 1
    mask = Cat((slot[:slot_bits] == place).replicate(lanes) for place in range(config.slots))
    bench.claim("collector-place", ~(write & placed) | ((collector.address == slot[slot_bits:])
                                                        & (collector.mask == mask)))
    bench.situation("collector-place", write & placed & (group == 1) & (position == 1) & (advance == 2))

    # Any one write of a layer: where it went.
    follow = bench.free(1, "follow")
    regular, followed, kept = Signal(), Signal(), Signal.like(slot)
    kept_group, kept_position = Signal.like(group), Signal.like(position)
    with m.If(collector.target_valid):
        m.d.sync += [regular.eq(target.advance <= 4), followed.eq(0)]
    with m.Elif(write):
        m.d.sync += regular.eq(regular & (group < 7) & (position < 7))
        with m.If(follow & ~followed):
            m.d.sync += [followed.eq(1), kept_group.eq(group), kept_position.eq(position)]
            m.d.sync += kept.eq(Cat(~collector.mask[0], collector.address))
    fine = write & placed & regular & (group < advance)
    bench.claim("collector-apart", ~(fine & followed) | (kept != Cat(~collector.mask[0], collector.address)))
    bench.situation("collector-apart", fine & followed & (kept_group == 0) & (kept_position == 1) & (group == 1)
                    & (position == 1))

    # The group of a sum is as many as have ended since the start.
    constants = PifUnit.constants_latency_of(config) - 1
    groups, started = Signal.like(collector.group), Signal()
    with m.If(collector.start):
        m.d.sync += [groups.eq(0), started.eq(1)]
    with m.Elif(collector.load):
        m.d.sync += groups.eq(groups + collector.ending.group_last)
    line, starts = Line(bench, groups, constants + lanes), Line(bench, collector.start, constants + lanes)
    begun = Line(bench, started, constants + lanes)
    bench.claim("collector-constants", collector.neuron == load.any(constants + 1, constants + 1 + lanes))
    for place in range(lanes):
        clock = constants + 1 + place
        bench.claim("collector-constants", ~(load[clock] & begun[clock]) | (
            (collector.lane == place) & (collector.group == line[clock])))
    bench.situation("collector-constants", collector.neuron & begun[constants] & (collector.group == 1)
                    & collector.load & (groups == 2))

    bench.lemma(~started | (collector.group == Mux(starts.any(1, constants + lanes + 1), 0, line[constants + lanes])))

    begin, begun = inside["begin"], inside["begun"]
    bench.lemma(~placed | Mux(begin, inside["slot"] == 0, inside["slot"] == slot))
    bench.lemma(~placed | (inside["before"] == (address + group + ~(begin | begun))[:len(slot)]))
    bench.lemma(~placed | (target.shape()(inside["steps"]).advance == advance))
    bench.lemma(~begin | (position == 0))
    there = followed & regular
    bench.lemma(~there | (kept == (address + 1 + kept_group + kept_position * advance)[:len(slot)]))
    bench.lemma(~there | (Cat(kept_position, kept_group) < Cat(position, group)))
    bench.lemma(~there | ((kept_group < 8) & (kept_position < 8)))
    bench.lemma(placed | ~regular)
    bench.lemma(~regular | ((advance <= 4) & (group < 8) & (position < 8)))
    return bench


PROOFS = [Proof(
    block=SpikeCollector, parameters="P = 2, W = 4, T = 2, 16 words, baked", bench=bench, clocks=11,
    claims={
        "collector-write": Claim(
            says="A group is written a fixed time after its last sum was loaded, for a clock; of other sums, and of a "
                 "layer without spikes, nothing is.",
            situation="two groups follow each other as closely as they may",
            fault=Fault("lanes.last & ending.window_last & ~self.score_mode", "lanes.last & ending.window_last"),
            faulty="scores are written, too"),
        "collector-spikes": Claim(
            says="What is written are the spikes of each lane, each the OR over the sums of the window.",
            situation="the first sum of a window has a spike, the second one has none",
            fault=Fault("Mux(ending.window_first, 0, window[0])", "window[0]"),
            faulty="a window begins with the spikes of the one before"),
        "collector-place": Claim(
            says="The first write of a layer goes to the first slot of its target, the next ones each target.advance "
                 "slots further; and those of the next group in the same way from one slot after that.",
            situation="the second position of the second group is written",
            fault=Fault("slot + Mux(begin, before, step) + begin", "slot + Mux(begin, before, step)"),
            faulty="each group begins a slot too early", within=30),
        "collector-apart": Claim(
            says="No two writes of a layer go to the same slot, if it has at most target.advance groups.",
            situation="the second positions of the first two groups are written",
            fault=Fault("with m.If(begun):", "with m.If(begun & self.target_valid):"),
            faulty="each group begins where the first one does", within=30),
        "collector-constants": Claim(
            says="The constants of each neuron of a group are addressed a fixed time after its load; groups are "
                 "counted from the start on, by the ends of those before.",
            situation="the first group has ended as the sums of another are loaded",
            fault=Fault("ends.eq(held.group_last)", "ends.eq(held.window_last)"),
            faulty="each window ends a group"),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.parameters)
def test_spike_collector(proof, tmp_path):
    check(proof, tmp_path)
