import itertools
import json
import random

import pytest
from amaranth.hdl import Module, Signal

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import NeuronArray, ending_layout, follow_ending
from tests import streams
from tests.circuits import streamed_circuit
from tests.gateware.costs import synthesise
from tests.twins import blocks as twins

CONFIGS = {
    "smallest": EngineConfig(lanes=1, width=2, timesteps=1, pixels=False, accumulator_width=4),
    "P1": EngineConfig(lanes=1, width=4, timesteps=4, accumulator_width=9),
    "P2-T2": EngineConfig(lanes=2, width=8, timesteps=2, accumulator_width=10),
    "P4": EngineConfig(lanes=4, width=8, timesteps=4, accumulator_width=12),
    "P4-T3-events": EngineConfig(lanes=4, width=4, timesteps=3, pixels=False, accumulator_width=6),
    "P4-streamed": streamed_circuit(lanes=4, width=8, timesteps=4, accumulator_width=8),
    "P2-T8-streamed": streamed_circuit(lanes=2, width=4, timesteps=8, accumulator_width=5),
}


def make_sum(config, rng, length, spike=None, weight=None):
    """Make the words and weights of one sum."""
    words = [[[rng.getrandbits(1) if spike is None else spike for _ in range(config.timesteps)]
              for _ in range(config.width)] for _ in range(length)]
    weights = [[[rng.choice((-1, 0, 1)) if weight is None else weight for _ in range(config.width)]
                for _ in range(config.lanes)] for _ in range(length)]
    return words, weights


def run(config, sums, split, gaps=0, seed=0):
    """Feed the sums; return the neurons that leave, and the clocks from the last word of each sum to its load."""
    dut = NeuronArray(config)
    rng = random.Random(seed)
    beats = []
    for words, weights in sums:
        for index, (word, row) in enumerate(zip(words, weights, strict=True)):
            beats += [None] * (rng.randrange(3) if gaps else 0)
            beats.append((word, row, index == 0, index == len(words) - 1))
    ends = [clock for clock, beat in enumerate(beats) if beat is not None and beat[3]]
    assert all(later - earlier >= config.cooldown_cycles for earlier, later in itertools.pairwise(ends))
    neurons, loads = [], []

    async def testbench(ctx):
        if not config.streamed:
            ctx.set(dut.split, split)
        for clock in range(len(beats) + NeuronArray.latency_of(config) + config.lanes + 1):
            beat = beats[clock] if clock < len(beats) else None
            if beat is None:
                # Noise between the words must not matter.
                ctx.set(dut.beat, {"valid": 0, "first": rng.getrandbits(1), "last": rng.getrandbits(1)})
                ctx.set(dut.word.as_value(), rng.getrandbits(config.width * config.timesteps))
            else:
                word, row, first, last = beat
                ctx.set(dut.beat, {"valid": 1, "first": first, "last": last})
                ctx.set(dut.word, [sum(bit << step for step, bit in enumerate(lane)) for lane in word])
                for lane, weights in enumerate(row):
                    ctx.set(dut.weights[lane].as_value(), twins.pack_weights(weights))
            if loads and clock - loads[-1] <= config.lanes:
                neurons.append([ctx.get(dut.sums[step]) for step in range(config.timesteps)])
            if ctx.get(dut.load):
                loads.append(clock)
            await ctx.tick()

    streams.run(dut, testbench)
    return neurons, [load - end for load, end in zip(loads, ends, strict=True)]


def check(config, sums, split, **options):
    neurons, latencies = run(config, sums, split, **options)
    assert neurons == [neuron for words, weights in sums for neuron in twins.sums(config, words, weights, split)]
    assert set(latencies) == {NeuronArray.latency_of(config)}


@pytest.mark.parametrize("gaps", [0, 1])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_sums_are_the_twins(name, split, gaps):
    config = CONFIGS[name]
    if split and (config.slices == 1 or config.streamed):
        pytest.skip("one slice, or each in words of its own")
    rng = random.Random(2)
    sums = [make_sum(config, rng, config.cooldown_cycles + rng.randrange(3)) for _ in range(6)]
    check(config, sums, split, gaps=gaps)


@pytest.mark.parametrize("name", CONFIGS)
def test_sums_end_as_close_as_the_cooldown(name):
    config = CONFIGS[name]
    rng = random.Random(3)
    check(config, [make_sum(config, rng, config.cooldown_cycles) for _ in range(5)], False)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_largest_sums_do_not_disturb_their_neighbours(name):
    """Sums of all ones beside such of zeros, in every pattern of lanes and timesteps that alternates."""
    config = CONFIGS[name]
    length = min(((1 << config.accumulator_width) - 1) // config.width, 40)
    assert length >= config.cooldown_cycles
    sums = []
    for number in range(4):
        words = [[[(step + number) % 2 for step in range(config.timesteps)] for _ in range(config.width)]] * length
        weights = [[[(1, -1)[(lane + number // 2) % 2]] * config.width for lane in range(config.lanes)]] * length
        sums.append((words, weights))
    largest = {total for words, weights in sums for neuron in twins.sums(config, words, weights, False)
               for total in neuron}
    assert largest == {0, length * config.width}
    check(config, sums, False)
    check(config, [*sums, make_sum(config, random.Random(4), length)] * 2, False, gaps=1)


@pytest.mark.parametrize("stable", [1, None])
@pytest.mark.parametrize("name", CONFIGS)
def test_endings_are_followed_to_their_clock(name, stable):
    """Flags that hold for ``stable`` clocks, the cooldown if None, are there any number of clocks after the strobe."""
    config = CONFIGS[name]
    rng = random.Random(5)
    stable = stable or config.cooldown_cycles
    layout = ending_layout(config)
    ending, strobe, m = Signal(layout), Signal(), Module()
    followed = [follow_ending(m, config, ending=ending, strobe=strobe, stable=stable, delay=delay, name=f"by{delay}")
                for delay in range(20)]
    clock, sent = 0, {}
    for _ in range(30):
        sent[clock] = rng.getrandbits(layout.size)
        clock += config.cooldown_cycles + rng.choice((0, 0, 1, 7))

    async def testbench(ctx):
        for now in range(clock + 20):
            held = next((sent[now - age] for age in range(stable) if now - age in sent), None)
            ctx.set(strobe, now in sent)
            ctx.set(ending.as_value(), rng.getrandbits(layout.size) if held is None else held)
            for delay, flags in enumerate(followed):
                if now - delay in sent:
                    assert ctx.get(flags.as_value()) == sent[now - delay]
            await ctx.tick()

    streams.run(m, testbench)


@pytest.mark.parametrize(("width", "timesteps"), [(8, 4), (16, 4), (8, 8), (8, 2), (8, 1)])
def test_no_bit_of_a_sum_has_a_reset_of_its_own(width, timesteps, tmp_path):
    """A synchronous reset in some bits of the carry chain of the sums would cut it in two, to a third of the clock."""
    config = EngineConfig(lanes=1, width=width, timesteps=timesteps, accumulator_width=12)
    synthesise(NeuronArray(config), tmp_path)
    (block,) = (module for module in json.loads((tmp_path / "netlist.json").read_text())["modules"].values()
                if "SB_LUT4" not in module.get("attributes", {}) and any(
                    cell["type"].startswith("SB_DFF") for cell in module["cells"].values()))
    names = {bit: name for name, net in block["netnames"].items() for bit in net["bits"]}
    held = {cell["type"] for cell in block["cells"].values()
            if cell["type"].startswith("SB_DFF") and names[cell["connections"]["Q"][0]].startswith("total0")}
    assert held == {"SB_DFFE"}
