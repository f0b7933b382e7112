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
