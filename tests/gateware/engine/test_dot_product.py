import random

import pytest

from gateware.engine.configuration import EngineConfig
from gateware.engine.dot_product import DotProduct
from tests import streams
from tests.circuits import streamed_circuit
from tests.gateware.pipelines import stream_through
from tests.twins.blocks import count_synapses, pack_weights

CONFIGS = {
    "smallest": EngineConfig(lanes=1, width=2, timesteps=1, pixels=False),
    "pixels-T1": EngineConfig(lanes=1, width=8, timesteps=1),
    "pixels-T2": EngineConfig(lanes=1, width=8, timesteps=2),
    "pixels-W2": EngineConfig(lanes=1, width=2, timesteps=4),
    "pixels-W4": EngineConfig(lanes=1, width=4, timesteps=4),
    "pixels-W16": EngineConfig(lanes=8, width=16, timesteps=4),
    "pixels-T8": EngineConfig(lanes=1, width=4, timesteps=8),
    "streamed-W4": streamed_circuit(lanes=2, width=4, timesteps=4),
    "streamed-W16": streamed_circuit(lanes=8, width=16, timesteps=4),
    "events-W64": EngineConfig(lanes=1, width=64, timesteps=3, pixels=False),
}


def expected(config, spikes, weights, split):
    if not split:
        return count_synapses(spikes, weights)
    total = 0
    for part in range(config.slices):
        chosen = slice(part * config.slice_width, (part + 1) * config.slice_width)
        total += count_synapses(spikes[chosen], weights[chosen]) << part * config.timesteps
    return total


def check(config, words, split):
    dut = DotProduct(config)

    def drive(ctx, word):
        spikes, weights = word
        ctx.set(dut.spikes, sum(spike << index for index, spike in enumerate(spikes)))
        ctx.set(dut.weights.as_value(), pack_weights(weights))

    async def testbench(ctx):
        if not config.streamed:
            ctx.set(dut.split, split)
        totals = await stream_through(ctx, words, DotProduct.latency_of(config), lambda word: drive(ctx, word),
                                      lambda: ctx.get(dut.total))
        assert totals == [expected(config, *word, split) for word in words]

    assert dut.latency == DotProduct.latency_of(config)
    streams.run(dut, testbench)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_counts_every_word_after_its_latency(name, split):
    config = CONFIGS[name]
    if split and (config.slices == 1 or config.streamed):
        pytest.skip("one slice, or each in words of its own")
    rng = random.Random(1)
    words = [([rng.getrandbits(1) for _ in range(config.width)], [rng.choice((-1, 0, 1)) for _ in range(config.width)])
             for _ in range(100)]
    check(config, words, split)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_extremes_do_not_overflow(name, split):
    config = CONFIGS[name]
    if split and (config.slices == 1 or config.streamed):
        pytest.skip("one slice, or each in words of its own")
    check(config, [([spike] * config.width, [weight] * config.width) for spike in (0, 1) for weight in (-1, 0, 1)],
          split)


@pytest.mark.parametrize("name", ["pixels-W16", "streamed-W16"])
def test_each_synapse_counts_alone(name):
    config = CONFIGS[name]
    words = []
    for index in range(config.width):
        alone = [int(index == other) for other in range(config.width)]
        words += [(alone, [1] * config.width), ([1] * config.width, alone), ([0] * config.width, [-w for w in alone])]
    check(config, words, False)
    if not config.streamed:
        check(config, words, True)
