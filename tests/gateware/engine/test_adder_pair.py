import itertools
import random

import pytest

from gateware.engine.adder_pair import AdderPair
from tests import streams


@pytest.mark.parametrize("width", [1, 7, 16])
@pytest.mark.parametrize("late", [*itertools.product((False, True), repeat=2)])
def test_sums_come_after_one_clock_or_two(late, width):
    dut = AdderPair(width=width, late=late)
    assert {len(port.as_value()) for port in (dut.a, dut.b, dut.sums)} == {2 * width}
    rng = random.Random(1)
    top = (1 << width) - 1
    history = []

    def draw():
        return [rng.choice((0, top, rng.randint(0, top))) for _ in range(2)]

    async def testbench(ctx):
        for clock in range(200):
            a, b, alone = draw(), draw(), rng.getrandbits(1)
            history.append((a, b, alone))
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            ctx.set(dut.alone, alone)
            await ctx.tick()
            for index in range(2):
                if clock >= late[index]:
                    a, b, _ = history[clock - late[index]]
                    _, _, alone = history[clock]
                    assert ctx.get(dut.sums[index]) == (a[index] + (0 if alone else b[index])) % (top + 1)

    streams.run(dut, testbench)
