import random
import re

import pytest

from gateware.engine.configuration import EngineConfig
from gateware.engine.readout import HEADER_WORDS, Readout
from tests import streams
from tests.circuits import streamed_circuit
from tests.twins.blocks import result_words

#: Clocks from ``send`` to the first word, as the block's docstring promises.
FIRST_WORD_CLOCKS = {"two": 2, "three": 3, "four": 4}[
    re.search(r"word is valid (\w+) clocks\s+after", Readout.__doc__)[1]]

CONFIG = EngineConfig(lanes=4, width=8, accumulator_width=6, classes=12)

STREAMED = streamed_circuit(lanes=4, width=8, timesteps=4, partial_width=6, membrane_width=14, fraction=4, classes=12)


CIRCUITS = pytest.mark.parametrize("config", [CONFIG, STREAMED], ids=["baked", "streamed"])


def check(results, config=CONFIG, stall=0, gaps=False):
    """Send several results, each a list of scores of used lanes and one of scores beyond the classes."""
    dut = Readout(config)
    rng = random.Random(12)
    handed_over = []
    scores_kept = []

    async def store(ctx):
        """Keep the scores as the membranes are: a read takes a clock to count and one for the memory."""
        index, address = 0, 0
        while len(handed_over) < len(results):
            ctx.set(dut.kept, scores_kept[address] if address < len(scores_kept) else -1)
            address = index
            index = 0 if ctx.get(dut.send) else index + ctx.get(dut.next_kept)
            await ctx.tick()

    async def producer(ctx):
        for number, (scores, beyond) in enumerate(results):
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            ctx.set(dut.classes, len(scores))
            for score in (*scores, *beyond):
                for _ in range(rng.randrange(3) if gaps else 0):
                    ctx.set(dut.score, rng.randrange(-4, 4))
                    await ctx.tick()
                ctx.set(dut.score, score)
                ctx.set(dut.score_valid, 1)
                await ctx.tick()
                ctx.set(dut.score_valid, 0)
            scores_kept[:] = [*scores, *beyond]
            ctx.set(dut.cycles, 1000 + number)
            ctx.set(dut.stalls, (1 << 24) - 1 - number)
            if config.streamed:
                ctx.set(dut.flash_stalls, 0xA5A5A5 + number)
            for _ in range(3):
                await ctx.tick()
            assert not ctx.get(dut.o_words.valid)
            ctx.set(dut.send, 1)
            await ctx.tick()
            ctx.set(dut.send, 0)
            assert ctx.get(dut.busy)
            clocks = 1
            while not ctx.get(dut.o_words.valid):
                await ctx.tick()
                clocks += 1
            assert clocks == FIRST_WORD_CLOCKS
            while ctx.get(dut.busy):
                await ctx.tick()

    async def consumer(ctx):
        for _ in results:
            words, last = [], False
            while not last:
                for _ in range(rng.randrange(stall + 1)):
                    await ctx.tick()
                payload = await streams.get(ctx, dut.o_words)
                words.append(payload.word)
                last = payload.last
            handed_over.append(words)

    streams.run(dut, producer, consumer, *([store] if config.streamed else []))
    assert handed_over == [result_words(scores, 1000 + number, (1 << 24) - 1 - number,
                                        0xA5A5A5 + number if config.streamed else 0)
                           for number, (scores, _) in enumerate(results)]
    assert [len(words) - HEADER_WORDS for words in handed_over] == [len(scores) for scores, _ in results]


@pytest.mark.parametrize("stall", [0, 4])
@pytest.mark.parametrize("gaps", [False, True])
@CIRCUITS
def test_results_are_the_twins(config, stall, gaps):
    rng = random.Random(13)
    results = []
    for _ in range(20):
        classes = rng.randrange(2, 13)
        results.append(([rng.randrange(-256, 256) for _ in range(classes)],
                        [rng.randrange(-256, 256) for _ in range(-classes % config.lanes)]))
    check(results, config, stall=stall, gaps=gaps)


@CIRCUITS
def test_tie_goes_to_the_lowest_class(config):
    check([([5, 5, 5], []), ([-3, 7, 7, 7], []), ([-9, -9], []), ([1, 2, 3, 3, 2], [3, 9, 9])], config)


@CIRCUITS
def test_classes_beyond_the_last_are_dropped(config):
    check([([-5, -6], [100, 255]), ([-6] * 11, [255])], config)


@CIRCUITS
def test_extremes(config):
    half = 1 << config.score_width - 1
    check([([-half, half - 1], []), ([half - 1, -half], []), ([-half, -half], []),
           ([-half, -half + 1, -half], [half - 1])], config)


def test_one_lane_two_classes():
    check([([0, 1], []), ([1, 0], [])], EngineConfig(lanes=1, width=2, timesteps=1, pixels=False, classes=2))


def test_a_consumer_that_stalls_keeps_the_word():
    dut = Readout(CONFIG)

    async def testbench(ctx):
        ctx.set(dut.classes, 2)
        for score in (3, 4):
            ctx.set(dut.score, score)
            ctx.set(dut.score_valid, 1)
            await ctx.tick()
        ctx.set(dut.score_valid, 0)
        for _ in range(2):
            await ctx.tick()
        ctx.set(dut.send, 1)
        await ctx.tick()
        ctx.set(dut.send, 0)
        for _ in range(FIRST_WORD_CLOCKS - 1):
            await ctx.tick()
        for _ in range(20):
            assert ctx.get(dut.o_words.valid)
            assert ctx.get(dut.o_words.p.word) == 1
            await ctx.tick()

    streams.run(dut, testbench)
