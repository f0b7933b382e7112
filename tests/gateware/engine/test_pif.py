import dataclasses
import random

import numpy as np
import pytest

from arch.network import Neurons, Reset
from gateware.engine.adder_pair import AdderPair
from gateware.engine.configuration import EngineConfig
from gateware.engine.pif import Current, PifUnit
from reference.network import pif
from tests import streams
from tests.circuits import streamed_circuit
from tests.gateware.pipelines import stream_through


def make_config(timesteps=4, fraction=3, **options):
    return EngineConfig(**({"lanes": 1, "width": 8 if timesteps < 3 else 4, "timesteps": timesteps,
                            "pixels": timesteps in (1, 2, 4, 8), "accumulator_width": 8, "membrane_width": 18,
                            "fraction": fraction} | options))


def constants_delay(config):
    """Clocks after the sums at which the constants are wanted."""
    return PifUnit.constants_latency_of(config)


def run(config, neurons, mode, read_score=False):
    """Feed (sums, first, bias, threshold) one per clock; return the spikes, or the scores."""
    dut = PifUnit(config)
    size = 1 << config.membrane_width
    delay = constants_delay(config)
    results = []
    feed = [*neurons, *[None] * delay]

    async def testbench(ctx):
        ctx.set(dut.mode, mode)
        await ctx.tick()

        def drive(clock):
            if feed[clock] is not None:
                ctx.set(dut.sums, feed[clock][0])
            if clock >= delay:
                _, first, bias, threshold = feed[clock - delay]
                ctx.set(dut.constants, {"first": first % size, "bias": bias % size, "threshold": threshold % size})

        latency = PifUnit.score_latency_of(config) if read_score else PifUnit.latency_of(config)
        out = await stream_through(ctx, range(len(feed)), latency, drive,
                                   lambda: ctx.get(dut.score if read_score else dut.spikes))
        results.extend(out[:len(neurons)])

    streams.run(dut, testbench)
    return results


def make_mode(current=Current.STEPS, hard=False, leak=None, scale=0, timesteps=1):
    return {"current": current, "hard": hard, "leaky": leak is not None, "leak": leak or 0, "scale": scale,
            "timesteps": timesteps - 1}


def constants_of(config, neurons, channel, offset):
    """The constants as the unit wants them, from the contract's."""
    scale = config.fraction - neurons.fraction
    initial = int(neurons.initial[channel])
    if neurons.leak_shift is not None:
        initial -= initial >> neurons.leak_shift
    bias = (int(neurons.bias[channel]) << scale) - (offset << config.fraction)
    return bias + (initial << scale), bias, int(neurons.threshold[channel]) << scale


def expected_spikes(neurons, currents):
    """Spikes of each channel as integers; ``currents[t][channel]``."""
    spikes, _ = pif(neurons, np.array(currents, np.int64)[None, :, :, None, None])
    return [sum(int(spike) << step for step, spike in enumerate(spikes[0, :, channel, 0, 0]))
            for channel in range(neurons.channels)]


def make_neurons(rng, fraction, reset, leak, count=60):
    unit = 1 << fraction
    values = [[rng.randint(low * unit, high * unit) for _ in range(count)] for low, high in ((1, 6), (-2, 3), (-4, 5))]
    threshold, bias, initial = (np.array(value, np.int64) for value in values)
    return Neurons(threshold=np.maximum(threshold, 1), bias=bias, initial=initial, fraction=fraction, reset=reset,
                   leak_shift=leak)


@pytest.mark.parametrize("leak", [None, 1, 3])
@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("fraction", [0, 1, 3])
@pytest.mark.parametrize("timesteps", [1, 2, 3, 4, 8])
def test_spikes_are_the_twins(timesteps, fraction, reset, leak):
    config = make_config(timesteps)
    rng = random.Random(5)
    neurons = make_neurons(rng, fraction, reset, leak)
    offsets = [rng.randrange(8) for _ in range(neurons.channels)]
    currents = [[rng.randint(-5, 6) for _ in range(neurons.channels)] for _ in range(timesteps)]
    # The array counts upwards from the offset, which is never less than the negative current.
    offsets = [max(offset, 5) for offset in offsets]
    feed = [([currents[step][channel] + offsets[channel] for step in range(timesteps)],
             *constants_of(config, neurons, channel, offsets[channel])) for channel in range(neurons.channels)]
    mode = make_mode(hard=reset is Reset.ZERO, leak=leak, scale=config.fraction - fraction)
    assert run(config, feed, mode) == expected_spikes(neurons, currents)


@pytest.mark.parametrize("reset", list(Reset))
def test_a_membrane_at_the_threshold_spikes(reset):
    """One unit below, at and above the threshold, in every timestep."""
    config = make_config()
    count = 4 * 3
    bias = np.zeros(count, np.int64)
    threshold = np.full(count, 40, np.int64)
    currents = [[0] * count for _ in range(4)]
    initial = np.zeros(count, np.int64)
    for step in range(4):
        for index, distance in enumerate((-1, 0, 1)):
            channel = 3 * step + index
            initial[channel] = distance  # in units of an eighth
            currents[step][channel] = 5  # 5 << 3 is the threshold
    neurons = Neurons(threshold=threshold, bias=bias, initial=initial, fraction=3, reset=reset)
    feed = [([currents[step][channel] for step in range(4)], *constants_of(config, neurons, channel, 0))
            for channel in range(count)]
    expected = expected_spikes(neurons, currents)
    assert expected == [(distance >= 0) << step for step in range(4) for distance in (-1, 0, 1)]
    assert run(config, feed, make_mode(hard=reset is Reset.ZERO)) == expected


def test_widest_membranes_are_exact():
    config = make_config(fraction=0, accumulator_width=8, membrane_width=12)
    low, high = -(1 << 11), (1 << 11) - 1
    neurons = Neurons(threshold=np.array([high, high, 1, 1, high]), bias=np.array([0, 0, 0, 0, 0]),
                      initial=np.array([high - 255, high - 256, low + 1, high - 255, -1]), fraction=0)
    currents = [[255] * 5, [0] * 5, [0] * 5, [0] * 5]
    feed = [([currents[step][channel] for step in range(4)], *constants_of(config, neurons, channel, 0))
            for channel in range(5)]
    expected = expected_spikes(neurons, currents)
    assert expected[:2] == [1, 0]
    assert expected[3] == 0b1111
    assert run(config, feed, make_mode()) == expected


@pytest.mark.parametrize("timesteps", [1, 2, 4, 8])
def test_planes_are_one_current_in_every_timestep(timesteps):
    config = make_config(timesteps, accumulator_width=10, membrane_width=26)
    rng = random.Random(6)
    neurons = make_neurons(rng, 3, Reset.SUBTRACT, None)
    neurons = dataclasses.replace(neurons, threshold=neurons.threshold * 500)
    planes = [[rng.randrange(1 << min(10, 18 - timesteps)) for _ in range(timesteps)]
              for _ in range(neurons.channels)]
    totals = [sum(plane << step for step, plane in enumerate(row)) for row in planes]
    offsets = [rng.randrange(2000) for _ in totals]
    currents = [[total - offset for total, offset in zip(totals, offsets, strict=True)]] * timesteps
    feed = [(planes[channel], *constants_of(config, neurons, channel, offsets[channel]))
            for channel in range(neurons.channels)]
    assert run(config, feed, make_mode(Current.PLANES)) == expected_spikes(neurons, currents)


@pytest.mark.parametrize("used", [1, 2, 3, 4])
def test_score_is_the_sum_of_the_networks_timesteps(used):
    config = make_config(4, accumulator_width=8, membrane_width=18)
    rng = random.Random(7)
    feed, expected = [], []
    for _ in range(50):
        sums = [rng.choice((0, 255, rng.randrange(256))) for _ in range(4)]
        offset = rng.randrange(256)
        feed.append((sums, -(used * offset) << config.fraction, 0, 0))
        expected.append(sum(sums[:used]) - used * offset)
    assert run(config, feed, make_mode(Current.SCORE, timesteps=used), read_score=True) == expected


@pytest.mark.parametrize(("hard_reset", "leak"), [(False, False), (True, False), (False, True)])
def test_a_circuit_without_options_still_resets(hard_reset, leak):
    config = make_config(hard_reset=hard_reset, leak=leak)
    rng = random.Random(8)
    neurons = make_neurons(rng, 2, Reset.ZERO if hard_reset else Reset.SUBTRACT, 2 if leak else None)
    currents = [[rng.randint(0, 6) for _ in range(neurons.channels)] for _ in range(4)]
    feed = [([row[channel] for row in currents], *constants_of(config, neurons, channel, 0))
            for channel in range(neurons.channels)]
    mode = make_mode(hard=hard_reset, leak=neurons.leak_shift, scale=1)
    assert run(config, feed, mode) == expected_spikes(neurons, currents)


def make_streamed(timesteps=4, fraction=3, **options):
    return streamed_circuit(**({"lanes": 1, "width": 8, "timesteps": timesteps, "pixels": timesteps in (4, 8),
                                "partial_width": 10, "membrane_width": 18, "fraction": fraction, "blocks": 8,
                                "leak": False} | options))


def run_block(config, neurons, mode, stored, *, first, last, adder_pair=None):
    """Compute a block of timesteps of (sums, first, bias, threshold); return spikes, what is stored, and scores."""
    dut = PifUnit(config, adder_pair=adder_pair)
    size = 1 << config.membrane_width
    results = []

    async def testbench(ctx):
        ctx.set(dut.mode, mode)
        await ctx.tick()

        def drive(clock):
            if clock < len(neurons):
                sums, *constants = neurons[clock]
                ctx.set(dut.sums, sums)
                ctx.set(dut.constants, {name: value % size for name, value in
                                        zip(("first", "bias", "threshold"), constants, strict=True)})
            # Flags and membranes are those of this neuron alone: noise otherwise.
            ctx.set(dut.block_first, first if clock < len(neurons) else not first)
            ctx.set(dut.stored.as_value(), stored[clock - 1] if 0 < clock <= len(neurons) else -1)
            ctx.set(dut.block_last, last if clock >= PifUnit.latency_of(config) else not last)

        def read():
            return ctx.get(dut.spikes), ctx.get(dut.o_stored.as_value()), ctx.get(dut.score)

        # One clock longer, for what is stored of the last neuron.
        feed = range(len(neurons) + PifUnit.latency_of(config))
        results.extend(await stream_through(ctx, feed, PifUnit.latency_of(config), drive, read))

    streams.run(dut, testbench)
    return zip(*results[:len(neurons)], strict=True)


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("used", [1, 3, 4, 5, 8, 14, 16])
@pytest.mark.parametrize("timesteps", [1, 2, 4, 8])
def test_blocks_are_as_one_long_run(timesteps, used, reset):
    check_blocks(timesteps, used, reset)


@pytest.mark.parametrize("timesteps", [1, 2, 3, 4, 5, 6, 7, 8])
def test_pairs_of_adders_make_no_difference(timesteps):
    check_blocks(timesteps, 14, Reset.ZERO, adder_pair=AdderPair)


def check_blocks(timesteps, used, reset, **options):
    """Compare neurons whose timesteps are computed block by block with such that are computed in one go."""
    config = make_streamed(timesteps)
    rng = random.Random(9)
    blocks = -(-used // timesteps)
    neurons = make_neurons(rng, 2, reset, None)
    offset = 5
    currents = [[rng.randint(-5, 6) for _ in range(neurons.channels)] for _ in range(blocks * timesteps)]
    expected = expected_spikes(neurons, currents[:used])
    mode = make_mode(hard=reset is Reset.ZERO, scale=1, timesteps=(used - 1) % timesteps + 1)
    stored, total = [0] * neurons.channels, [0] * neurons.channels
    for block in range(blocks):
        feed = [([currents[block * timesteps + step][channel] + offset for step in range(timesteps)],
                 *constants_of(config, neurons, channel, offset)) for channel in range(neurons.channels)]
        spikes, stored, _ = run_block(config, feed, mode, stored, first=block == 0,
                                      last=block == blocks - 1, **options)
        total = [before | new << block * timesteps for before, new in zip(total, spikes, strict=True)]
    assert total == expected


@pytest.mark.parametrize("blocks", [1, 8])
def test_a_streamed_score_is_the_sum_of_all_timesteps(blocks):
    config = make_streamed(4, fraction=4, partial_width=12, blocks=blocks, membrane_width=18)
    rng = random.Random(10)
    feed, expected = [], []
    for _ in range(50):
        sums = [rng.choice((0, 2000, rng.randrange(2001))) for _ in range(4)]
        offset = rng.randrange(4000)
        feed.append((sums, -offset << config.fraction, 0, 0))
        expected.append(sum(sums) - offset)
    assert config.score_width == 14
    assert min(expected) < -(1 << 11)
    mode = make_mode(Current.SCORE, timesteps=4)
    _, stored, scores = run_block(config, feed, mode, [0] * len(feed), first=True, last=True)
    assert list(scores) == expected
    # What is stored of a score is the score.
    membrane = (1 << config.membrane_width) - 1
    assert [(word & membrane) >> config.fraction for word in stored] == [score % (1 << 14) for score in expected]


def test_a_streamed_unit_is_exact_for_the_widest_membranes():
    config = make_streamed(4, fraction=0, partial_width=8, membrane_width=12)
    high = (1 << 11) - 1
    neurons = Neurons(threshold=np.array([high, high, 1, high]), bias=np.array([0, 0, 0, 0]),
                      initial=np.array([high - 255, high - 256, 1 - high, -1]), fraction=0)
    currents = [[255] * 4] + [[0] * 4] * 3
    feed = [([currents[step][channel] for step in range(4)], *constants_of(config, neurons, channel, 0))
            for channel in range(4)]
    expected = expected_spikes(neurons, currents)
    assert expected[:2] == [1, 0]
    spikes, _, _ = run_block(config, feed, make_mode(timesteps=4), [0] * 4, first=True, last=True)
    assert list(spikes) == expected
