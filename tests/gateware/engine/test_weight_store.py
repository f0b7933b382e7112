# amaranth: UnusedElaboratable=no
import random

import pytest

from gateware.engine.configuration import EngineConfig
from gateware.engine.weight_store import ConstantStore, WeightStore
from tests import streams
from tests.gateware.pipelines import stream_through
from tests.twins.blocks import constant_words, pack_weights

CONFIGS = {
    "smallest": EngineConfig(lanes=1, width=2, timesteps=1, pixels=False, weight_rows=1, channel_groups=1),
    "P4": EngineConfig(lanes=4, width=8, weight_rows=13, channel_groups=5),
    "P8": EngineConfig(weight_rows=256, channel_groups=32),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_follow_the_row_by_a_clock(name):
    config = CONFIGS[name]
    rng = random.Random(10)
    weights = [[[rng.choice((-1, 0, 1)) for _ in range(config.width)] for _ in range(config.weight_rows)]
               for _ in range(config.lanes)]
    dut = WeightStore(config, init=[[pack_weights(row) for row in lane] for lane in weights])

    async def testbench(ctx):
        rows = [rng.randrange(config.weight_rows) for _ in range(60)]

        def read():
            return [(ctx.get(dut.weights[lane].nonzero), ctx.get(dut.weights[lane].negative))
                    for lane in range(config.lanes)]

        out = await stream_through(ctx, rows, 1, lambda row: ctx.set(dut.row, row), read)
        for row, lanes in zip(rows, out, strict=True):
            for lane, (nonzero, negative) in enumerate(lanes):
                signs = [1 - 2 * (negative >> index & 1) for index in range(config.width)]
                assert [(nonzero >> index & 1) * sign for index, sign in enumerate(signs)] == weights[lane][row]
                assert not negative & ~nonzero

    streams.run(dut, testbench)


@pytest.mark.parametrize("name", CONFIGS)
def test_constants_follow_the_address_by_a_clock(name):
    config = CONFIGS[name]
    rng = random.Random(11)
    half = 1 << config.membrane_width - 1
    neurons = [[rng.choice((-half, half - 1, rng.randrange(-half, half))) for _ in range(3)]
               for _ in range(config.channel_groups * config.lanes)]
    dut = ConstantStore(config, init=[constant_words(config, *neuron) for neuron in neurons])

    async def testbench(ctx):
        places = [(rng.randrange(config.channel_groups), rng.randrange(config.lanes)) for _ in range(60)]

        def drive(place):
            ctx.set(dut.group, place[0])
            ctx.set(dut.lane, place[1])

        def read():
            return [ctx.get(dut.constants[name]) for name in ("first", "bias", "threshold")]

        out = await stream_through(ctx, places, 1, drive, read)
        assert out == [[value % (2 * half) for value in neurons[group * config.lanes + lane]] for group, lane in places]

    streams.run(dut, testbench)


def test_rows_left_out_are_zero():
    config = CONFIGS["P4"]
    dut = WeightStore(config, init=[[3]] * 4)

    async def testbench(ctx):
        ctx.set(dut.row, 1)
        await ctx.tick()
        assert ctx.get(dut.weights.as_value()) == 0

    streams.run(dut, testbench)


def test_every_lane_must_have_contents():
    with pytest.raises(ValueError, match=r"^init must have 4 lanes, not 3$"):
        WeightStore(CONFIGS["P4"], init=[[]] * 3)
