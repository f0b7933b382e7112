# amaranth: UnusedElaboratable=no
import random

import pytest

from gateware.engine.configuration import EngineConfig
from gateware.engine.weight_ring import ConstantRing, WeightRing
from tests import streams
from tests.circuits import streamed_circuit
from tests.twins import blocks
from tests.twins.streamed_blocks import row_weights, row_writes

#: With 1, 2, 4, 8 and 16 banks: sets of five and banks beyond them.
CONFIGS = {f"P{lanes}-W{width}": streamed_circuit(lanes=lanes, width=width, timesteps=4, weight_rows=16,
                                              channel_groups=4, membrane_width=20)
           for lanes, width in ((1, 8), (2, 8), (4, 8), (4, 16), (8, 16))}

CODES = {0: 0, 1: 1, -1: 3}


@pytest.mark.parametrize("name", CONFIGS)
def test_rows_are_read_as_they_were_written(name):
    """Twice around the ring; a row is read while others are written."""
    config = CONFIGS[name]
    dut = WeightRing(config)
    rng = random.Random(3)
    rows = {}

    async def testbench(ctx):
        for turn in range(2 * config.weight_rows):
            row = turn % config.weight_rows
            weights = [rng.choice((-1, 0, 1)) for _ in range(config.lanes * config.width)]
            for write in row_writes(config, row, weights):
                other = rng.choice([*(rows.keys() - {row}), None])
                ctx.set(dut.write_row, write.row)
                ctx.set(dut.banks, sum(1 << bank for bank in write.weights))
                for bank in range(WeightRing.banks_of(config)):
                    chosen = bank in write.weights
                    ctx.set(dut.mask[bank], write.mask[bank] if chosen else rng.getrandbits(8))
                    ctx.set(dut.write_weights[bank], [CODES[weight] for weight in write.weights[bank]] if chosen
                            else [rng.choice((0, 1, 3)) for _ in range(8)])
                if other is not None:
                    ctx.set(dut.row, other)
                await ctx.tick()
                if other is not None:
                    check(ctx, rows[other])
            ctx.set(dut.banks, 0)
            # Without a bank, nothing is written.
            for bank in range(WeightRing.banks_of(config)):
                ctx.set(dut.mask[bank], 255)
                ctx.set(dut.write_weights[bank], [3] * 8)
            rows[row] = weights
            ctx.set(dut.row, row)
            await ctx.tick()
            check(ctx, weights)

    def check(ctx, weights):
        for lane, values in enumerate(row_weights(config, weights)):
            assert ctx.get(dut.weights[lane].as_value()) == blocks.pack_weights(values)

    streams.run(dut, testbench, deadline_cycles=20_000)


def test_the_writes_of_a_row_are_one_per_byte_of_the_stream():
    config = CONFIGS["P8-W16"]
    assert len([*row_writes(config, 0, [0] * 128)]) == 26


@pytest.mark.parametrize("name", CONFIGS)
def test_constants_are_read_as_they_were_written(name):
    config = CONFIGS[name]
    dut = ConstantRing(config)
    rng = random.Random(4)

    async def testbench(ctx):
        for _ in range(2):
            neurons = [(group, lane) for group in range(config.channel_groups) for lane in range(config.lanes)]
            words = {neuron: blocks.constant_words(config, *(rng.getrandbits(20) for _ in range(3)))
                     for neuron in neurons}
            rng.shuffle(neurons)
            for group, lane in neurons:
                for place, byte in enumerate(words[group, lane].to_bytes(8, "little")):
                    ctx.set(dut.write, 1)
                    ctx.set(dut.write_group, group)
                    if config.lanes > 1:
                        ctx.set(dut.write_lane, lane)
                    ctx.set(dut.write_mask, 1 << place)
                    ctx.set(dut.write_data, byte)
                    await ctx.tick()
            ctx.set(dut.write, 0)
            for group, lane in neurons:
                ctx.set(dut.group, group)
                if config.lanes > 1:
                    ctx.set(dut.lane, lane)
                await ctx.tick()
                assert ctx.get(dut.constants.as_value()) == words[group, lane]

    streams.run(dut, testbench)


def test_a_row_must_be_whole_banks():
    config = EngineConfig(lanes=1, width=4)
    with pytest.raises(ValueError, match=r"^lanes x width must be a multiple of 8 weights for a ring, not 1 x 4$"):
        WeightRing(config)


def test_constants_must_fit_eight_bytes():
    config = EngineConfig(lanes=1, width=8, membrane_width=22)
    with pytest.raises(ValueError,
                       match=r"^constants of a neuron must be at most 64 bits for a ring, not 3 x 22$"):
        ConstantRing(config)
