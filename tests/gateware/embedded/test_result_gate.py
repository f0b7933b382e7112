import random

import pytest

from arch.link import ErrorCode
from gateware.embedded.result_gate import ResultGate
from tests import streams
from tests.twins.embedded import answers


def words_of(images, *, rng, stall):
    """Let images be committed or refused, and their results come; return what the gate sends."""
    dut = ResultGate()
    words = []
    # Results of images that were committed, until they have been sent.
    waiting = []

    async def commit(ctx):
        for image in images:
            if isinstance(image, ErrorCode):
                await streams.put(ctx, dut.i_refusals, image)
                continue
            while len(waiting) == 3:
                await ctx.tick()
            ctx.set(dut.commit, 1)
            await ctx.tick()
            ctx.set(dut.commit, 0)
            waiting.append(image)

    async def compute(ctx):
        for _ in range(sum(not isinstance(image, ErrorCode) for image in images)):
            while not waiting or rng.random() < 0.8:
                await ctx.tick()
            for place, word in enumerate(waiting[0]):
                await streams.put(ctx, dut.i_words, {"word": word, "last": place == len(waiting[0]) - 1})
            waiting.pop(0)

    async def take(ctx):
        while len(words) < len(answers(images)):
            while rng.random() < stall:
                await ctx.tick()
            payload = await streams.get(ctx, dut.o_words)
            words.append((payload.word, bool(payload.last), bool(payload.error)))

    streams.run(dut, commit, compute, take, deadline_cycles=100_000)
    return words


@pytest.mark.parametrize("stall", [0, 0.5, 0.9])
def test_answers_come_in_the_order_of_the_images(stall):
    rng = random.Random(f"{stall}")
    images = [ErrorCode.WRONG_LENGTH if rng.random() < 0.4
              else [rng.getrandbits(32) for _ in range(rng.randrange(1, 6))] for _ in range(60)]
    assert words_of(images, rng=rng, stall=stall) == answers(images)
