import functools
import itertools
import operator
import random

import pytest

from gateware.engine.configuration import EngineConfig
from gateware.engine.pif import PifUnit
from gateware.engine.spike_collector import SpikeCollector
from tests import streams
from tests.twins.blocks import Ending, Write, writes

CONFIGS = {
    "smallest": EngineConfig(lanes=1, width=2, timesteps=1, pixels=False, spike_words=64),
    "P1": EngineConfig(lanes=1, width=4, timesteps=4, spike_words=64),
    "P2": EngineConfig(lanes=2, width=8, timesteps=2, spike_words=64),
    "P4-one-slot": EngineConfig(lanes=4, width=4, timesteps=4, spike_words=64),
    "P4-T3": EngineConfig(lanes=4, width=16, timesteps=3, pixels=False, spike_words=64),
}


def run(config, layers, score_mode=False, slack=3):
    """Run layers of (address, words of a position, groups, windows, spikes[sum][neuron]); check constants and times."""
    dut = SpikeCollector(config)
    rng = random.Random(14)
    written = []
    latency = PifUnit.latency_of(config)

    async def testbench(ctx):
        ctx.set(dut.score_mode, score_mode)
        for number, (address, words, groups, windows, spikes) in enumerate(layers):
            # Two inferences: the constants are those of the first group again.
            if number in (0, len(layers) // 2):
                ctx.set(dut.start, 1)
                await ctx.tick()
                ctx.set(dut.start, 0)
                first = 0
            ctx.set(dut.target, {"address": (address * config.slots - 1) % (1 << config.slot_address_width),
                                 "advance": words * config.slots})
            ctx.set(dut.target_valid, 1)
            await ctx.tick()
            ctx.set(dut.target.as_value(), rng.getrandbits(len(dut.target.as_value())))
            ctx.set(dut.target_valid, 0)
            clock, loads = 0, []
            for _ in spikes:
                clock += config.cooldown_cycles + rng.randrange(slack)
                loads.append(clock)
            leaving, results, times = {}, {}, []
            sums = len(spikes) // groups
            for number, load in enumerate(loads):
                group = first + number // sums
                for lane in range(config.lanes):
                    leaving[load + 2 + lane] = (group, lane)
                    results[load + 1 + lane + latency] = spikes[number][lane]
                if (number + 1) % windows == 0:
                    times.append(load + SpikeCollector.latency_of(config))
            for clock in range(loads[-1] + SpikeCollector.latency_of(config) + 4):
                ctx.set(dut.load, clock in loads)
                # The flags are those of the sums in the clock of the load only.
                number = loads.index(clock) if clock in loads else None
                ctx.set(dut.ending, {name: rng.getrandbits(1) for name in Ending._fields} if number is None else {
                    "window_first": number % windows == 0, "window_last": number % windows == windows - 1,
                    "group_last": number % sums == sums - 1})
                ctx.set(dut.spikes, results.get(clock, rng.getrandbits(config.timesteps)))
                assert ctx.get(dut.neuron) == (clock in leaving)
                if clock in leaving:
                    assert (ctx.get(dut.group), ctx.get(dut.lane)) == leaving[clock]
                assert ctx.get(dut.write) == (clock in times and not score_mode), f"clock {clock}"
                assert ctx.get(dut.write_next) == (clock + 1 in times and not score_mode), f"clock {clock}"
                if ctx.get(dut.write):
                    mask, lanes = ctx.get(dut.mask), list(ctx.get(dut.write_data))
                    written.append(Write(address=ctx.get(dut.address), mask=mask,
                                         spikes=tuple(lanes[lane] for lane in range(config.width) if mask >> lane & 1)))
                await ctx.tick()
            first += groups

    streams.run(dut, testbench, deadline_cycles=50_000)
    return written


def random_layer(config, rng, groups, windows, positions):
    spikes = [[rng.getrandbits(config.timesteps) & rng.getrandbits(config.timesteps) for _ in range(config.lanes)]
              for _ in range(positions * groups * windows)]
    return rng.randrange(8), -(-groups // config.slots), groups, windows, spikes


@pytest.mark.parametrize("slack", [1, 4])
@pytest.mark.parametrize("name", CONFIGS)
def test_writes_are_the_twins(name, slack):
    config = CONFIGS[name]
    rng = random.Random(15)
    layers = [random_layer(config, rng, groups, windows, 3)
              for groups, windows in ((1, 1), (1, 4), (2, 1), (3, 4), (config.slots, 1), (config.slots + 1, 9))]
    expected = [write for address, _, groups, windows, spikes in layers
                for write in writes(config, address=address, groups=groups, windows=windows, spikes=spikes)]
    assert run(config, layers, slack=slack) == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_readout_writes_nothing(name):
    config = CONFIGS[name]
    rng = random.Random(16)
    assert run(config, [random_layer(config, rng, 2, 1, 1)], score_mode=True) == []


def test_largest_window():
    config = CONFIGS["P2"]
    rng = random.Random(17)
    layer = random_layer(config, rng, 2, 49, 1)
    address, _, groups, windows, spikes = layer
    # One spike, in the first or last position of the window only, must get through.
    for number, neurons in enumerate(spikes):
        neurons[:] = [int(number == 0), int(number == 2 * 49 - 1)]
    expected = list(writes(config, address=address, groups=groups, windows=windows, spikes=spikes))
    assert [write.spikes for write in expected] == [(1, 0), (0, 1)]
    assert run(config, [layer]) == expected


STREAMED = {
    "P1": EngineConfig(streamed=True, lanes=1, width=8, accumulator_width=8, spike_words=64, max_run=15, max_side=15,
                       max_row_words=15, channel_groups=4, layers=4, blocks=4),
    "P4-T3": EngineConfig(streamed=True, lanes=4, width=8, timesteps=3, pixels=False, accumulator_width=8,
                          spike_words=64, max_run=15, max_side=15, max_row_words=15, channel_groups=4, layers=4,
                          blocks=2),
    "one-block": EngineConfig(streamed=True, lanes=2, width=4, accumulator_width=8, spike_words=64, max_run=15,
                              max_side=15, max_row_words=15, channel_groups=8, layers=4),
}


@pytest.mark.parametrize("name", STREAMED)
def test_blocks_of_a_position_are_written_apart(name):
    """Layers of a streamed circuit: every block of a position has a map of its own, and constants are a ring."""
    config = STREAMED[name]
    dut = SpikeCollector(config)
    rng = random.Random(18)
    latency = PifUnit.latency_of(config)
    # Sums by the clock of their load: (group of the ring, released behind it, flags, spikes); writes by their clock.
    loads, writes, group, clock, layers = {}, {}, 0, 0, {}
    for _ in range(3):
        groups, positions, windows, blocks = (rng.randint(1, 5), rng.randint(1, 4), rng.choice((1, 4)),
                                              rng.randint(1, config.blocks))
        address, block_slots = rng.randrange(64 * config.slots), rng.randrange(64 * config.slots)
        # The slots of a position are not all of this layer.
        position_slots = groups + rng.randrange(3)
        layers[clock] = (address, position_slots, block_slots, blocks)
        clock += 1
        for part, position, block in itertools.product(range(groups), range(positions), range(blocks)):
            sums = [[rng.getrandbits(config.timesteps) & rng.getrandbits(config.timesteps)
                     for _ in range(config.lanes)] for _ in range(windows)]
            for index, spikes in enumerate(sums):
                clock += config.cooldown_cycles + rng.choice((0, 0, 3))
                group_last = (position, block, index) == (positions - 1, blocks - 1, windows - 1)
                loads[clock] = (group, group_last, spikes, {
                    "window_first": index == 0, "window_last": index == windows - 1, "group_last": group_last,
                    "block_first": block == 0, "block_last": block == blocks - 1})
            slot = address + part + position * position_slots + block * block_slots
            word, place = divmod(slot % (1 << config.slot_address_width), config.slots)
            writes[clock + SpikeCollector.latency_of(config)] = Write(
                address=word, mask=(1 << config.lanes) - 1 << place * config.lanes,
                spikes=tuple(functools.reduce(operator.or_, lane) for lane in zip(*sums, strict=True)))
            if (position, block) == (positions - 1, blocks - 1):
                group += 1
        clock += SpikeCollector.latency_of(config) + 1

    async def testbench(ctx):
        written = {}
        for now in range(clock):
            if now in layers:
                address, position_slots, block_slots, blocks = layers[now]
                target = {"address": address - 1, "advance": position_slots - (blocks - 1) * block_slots,
                          "block": block_slots}
                ctx.set(dut.target, {name: target[name] % (1 << config.slot_address_width)
                                     for name, _ in dut.target.shape()})
            ctx.set(dut.target_valid, now in layers)
            ctx.set(dut.load, now in loads)
            since = next((now - age for age in range(config.cooldown_cycles) if now - age in loads), None)
            if since is not None:
                others = {name: rng.getrandbits(1) for name in ("opens", "scaled", "sum_end", "part_end")}
                ctx.set(dut.ending, {**others, "closes": 1, **loads[since][3]})
            else:
                ctx.set(dut.ending.as_value(), rng.getrandbits(len(dut.ending.as_value())))
            for lane in range(config.lanes):
                reading, leaving = loads.get(now - 1 - lane), loads.get(now - 2 - lane - latency)
                if reading is not None:
                    assert (ctx.get(dut.neuron), ctx.get(dut.lane)) == (1, lane)
                    assert ctx.get(dut.group) == reading[0] % config.channel_groups
                    assert ctx.get(dut.release_group) == (reading[1] and lane == config.lanes - 1)
                if leaving is not None:
                    ctx.set(dut.spikes, leaving[2][lane])
            if ctx.get(dut.release_group):
                assert ctx.get(dut.neuron)
            if ctx.get(dut.write):
                mask, lanes = ctx.get(dut.mask), list(ctx.get(dut.write_data))
                written[now] = Write(address=ctx.get(dut.address), mask=mask,
                                     spikes=tuple(lanes[lane] for lane in range(config.width) if mask >> lane & 1))
            await ctx.tick()
        assert written == writes

    streams.run(dut, testbench, deadline_cycles=50_000)
