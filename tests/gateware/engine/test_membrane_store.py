import random

import pytest

from gateware.engine.membrane_store import STORED_NEURONS, MembraneStore
from tests import streams
from tests.circuits import streamed_circuit

CONFIG = streamed_circuit(lanes=8, width=16, timesteps=4, blocks=8, membrane_width=20)


@pytest.mark.parametrize("count", [1, 8, 32, 100, STORED_NEURONS])
def test_neurons_go_on_in_their_order(count):
    """Blocks of the same neurons: written in one, read in the next, with neurons that enter before others leave."""
    dut = MembraneStore(CONFIG)
    rng = random.Random(1)
    blocks = [[rng.getrandbits(21) for _ in range(count)] for _ in range(4)]
    delay = 5  # clocks from a read to the write of the same neuron
    gap = max(delay + 1, count) - count  # idle clocks between blocks: a neuron is written before it is read again

    async def testbench(ctx):
        slots = []
        for number in range(len(blocks)):
            slots += [(number, neuron) for neuron in range(count)] + [None] * gap
        slots += [None] * delay
        for clock in range(len(slots)):
            entering = slots[clock]
            ctx.set(dut.read, entering is not None)
            ctx.set(dut.begins, entering is not None and entering[0] == 0)
            ctx.set(dut.read_last, entering is not None and entering[1] == count - 1)
            leaving = slots[clock - delay] if clock >= delay else None
            ctx.set(dut.write, leaving is not None)
            if leaving:
                ctx.set(dut.write_last, leaving[1] == count - 1)
                ctx.set(dut.i_stored.as_value(), blocks[leaving[0]][leaving[1]])
            await ctx.tick()
            if entering:
                number, neuron = entering
                assert ctx.get(dut.stored.as_value()) == (blocks[number - 1][neuron] if number else 0)

    streams.run(dut, testbench)


def test_scores_are_read_after_a_clear():
    dut = MembraneStore(CONFIG)
    rng = random.Random(2)
    scores = [rng.getrandbits(21) for _ in range(40)]

    async def testbench(ctx):
        for _ in range(2):
            for score in scores:
                # Neurons of a readout begin, and count as neurons that are read.
                ctx.set(dut.read, 1)
                ctx.set(dut.begins, 1)
                ctx.set(dut.write, 1)
                ctx.set(dut.i_stored.as_value(), score)
                await ctx.tick()
                assert ctx.get(dut.stored.as_value()) == 0
            ctx.set(dut.begins, 0)
            ctx.set(dut.read, 0)
            ctx.set(dut.write, 0)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            for score in scores:
                await ctx.tick()
                assert ctx.get(dut.stored.as_value()) == score
                ctx.set(dut.read, 1)
                await ctx.tick()
                ctx.set(dut.read, 0)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)

    streams.run(dut, testbench)
