import itertools
import random

import numpy as np
import pytest

from arch.network import Encoding, FullyConnected, Input, Network, Readout
from gateware.engine.configuration import EngineConfig
from gateware.engine.feed import drain_cycles
from gateware.engine.sequencer import Sequencer, layer_start_cycles
from gateware.mapper.choice import map_network
from gateware.mapper.cycles import count_cycles
from reference.generate import random_neurons, random_weights
from tests import streams
from tests.random_networks import draw
from tests.twins.blocks import Ending, Issue, issues

CONFIGS = {
    "P1-W4": EngineConfig(lanes=1, width=4, accumulator_width=14, membrane_width=28, fraction=3, weight_rows=16384,
                          spike_words=4096, channel_groups=128, classes=12),
    "P4-W8": EngineConfig(lanes=4, width=8, accumulator_width=14, membrane_width=28, fraction=3, weight_rows=4096,
                          spike_words=4096, channel_groups=64, classes=12),
    "P2-W2-T3": EngineConfig(lanes=2, width=2, timesteps=3, pixels=False, accumulator_width=14, membrane_width=28,
                             fraction=3, weight_rows=16384, spike_words=4096, channel_groups=64, classes=12),
}


def run(plan, buffer, grant):
    """Run the program; return what was issued, and the clocks from start to done.

    ``grant(clock, ends)`` decides; ``ends`` are the clocks of the last words so far, as pairs with the stage.
    """
    config = plan.config
    dut = Sequencer(config, drain_cycles=drain_cycles(config), init=plan.contents.program)
    issued, ends, measured = [], [], []

    async def testbench(ctx):
        ctx.set(dut.buffer, buffer)
        for _ in range(3):
            assert not ctx.get(dut.busy)
            await ctx.tick()
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        address, stage, clock, starting, held = None, -1, 0, False, None
        while not ctx.get(dut.done):
            clock += 1
            assert ctx.get(dut.busy)
            if ctx.get(dut.target_valid):
                stage += 1
                at, words = plan.stages[stage].placement, -(-plan.stages[stage].target[0] // config.width)
                assert ctx.get(dut.target.address) == (at.target * config.slots - 1) % (1 << config.slot_address_width)
                assert ctx.get(dut.target.advance) == words * config.slots
                starting = False
            if ctx.get(dut.layer_start):
                assert ctx.get(dut.mode.final) == (stage == len(plan.stages) - 1)
                starting = True
            valid = ctx.get(dut.beat.valid)
            if starting and address is not None:
                # The step to the first word.
                assert not valid
                address, starting = None, False
            assert valid == (address is not None)
            if address is not None:
                # What belongs to the word issued in the clock before.
                last = bool(ctx.get(dut.beat.last))
                ending = tuple(bool(ctx.get(dut.ending[name])) for name in Ending._fields) if last else None
                issued.append(Issue(stage=stage, address=address, row=ctx.get(dut.row), zero=bool(ctx.get(dut.zero)),
                                    first=bool(ctx.get(dut.beat.first)), last=last,
                                    ending=ending and Ending(*ending)))
                held = ending or held
                if last:
                    ends.append((clock - 1, stage))
            elif ends and stage == ends[-1][1]:
                # An ending stays until the next one.
                assert held == tuple(ctx.get(dut.ending[name]) for name in Ending._fields)
            granted = grant(clock, ends)
            ctx.set(dut.grant, granted)
            address = ctx.get(dut.address) if granted and ctx.get(dut.request) else None
            await ctx.tick()
        measured.append(clock)
        assert not ctx.get(dut.busy)
        await ctx.tick()
        assert not ctx.get(dut.done)

    streams.run(dut, testbench, deadline_cycles=100_000)
    return issued, ends, measured[0]


def check(plan, buffer, grant):
    issued, ends, clocks = run(plan, buffer, grant)
    expected = list(issues(plan, buffer))
    assert len(issued) == len(expected)
    words = plan.config.spike_words
    for index, (actual, wanted) in enumerate(zip(issued, expected, strict=True)):
        # The address of padding is any.
        address = actual.address if not wanted.zero else wanted.address
        assert actual._replace(address=address) == wanted, f"word {index} of {words}"
    spaces = [later[0] - earlier[0] for earlier, later in itertools.pairwise(ends)]
    assert min(spaces, default=99) >= plan.config.cooldown_cycles
    return clocks


def draw_short(config, seed):
    for attempt in range(100):
        plan, _ = draw(config, [seed, attempt], max_side=6, max_channels=9)
        if count_cycles(plan).total < 6000:
            return plan
    raise AssertionError("no short network")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CONFIGS)
def test_issues_the_twins_words(name, seed):
    check(draw_short(CONFIGS[name], seed), seed % 2, lambda clock, ends: 1)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CONFIGS)
def test_withheld_grants_change_nothing_but_the_time(name, seed):
    rng = random.Random(18)
    plan = draw_short(CONFIGS[name], seed)
    check(plan, 0, lambda clock, ends: rng.random() < 0.6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CONFIGS)
def test_takes_the_predicted_clocks(name, seed):
    """With the grant withheld where the collector would write."""
    plan = draw_short(CONFIGS[name], seed)
    drain = drain_cycles(plan.config)

    def grant(clock, ends):
        count = dict.fromkeys(range(len(plan.stages)), 0)
        for end, stage in ends:
            count[stage] += 1
            pooled = count[stage] % plan.stages[stage].pool ** 2 == 0
            if end + drain == clock and stage < len(plan.stages) - 1 and pooled:
                return 0
        return 1

    # The strobe itself is the first clock.
    assert check(plan, 0, grant) + 1 == count_cycles(plan).total


def make_smallest(config):
    rng = np.random.default_rng(19)
    encoding = Encoding.PIXELS if config.pixels else Encoding.EVENTS
    return map_network(Network(
        input=Input(encoding=encoding, channels=1, height=1, width=1), timesteps=1,
        layers=(FullyConnected(weights=random_weights(rng, 1, 1), neurons=random_neurons(rng, 1, 1)),
                Readout(weights=random_weights(rng, 2, 1)))), config)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_layer_starts_after_its_documented_clocks(name):
    config = CONFIGS[name]
    plan = make_smallest(config)
    issued, ends, clocks = run(plan, 0, lambda clock, ends: 1)
    assert [issue.stage for issue in issued].count(0) == plan.stages[0].placement.sum_words
    # The first word is issued when the clocks of its start have passed, the strobe's clock included.
    assert ends[0][0] == layer_start_cycles(plan.config) - 1 + plan.stages[0].placement.sum_words
    assert clocks == ends[-1][0] + drain_cycles(config)


def test_start_is_ignored_while_a_program_runs():
    plan = make_smallest(CONFIGS["P4-W8"])
    dut = Sequencer(plan.config, drain_cycles=drain_cycles(plan.config), init=plan.contents.program)
    clocks = []

    async def testbench(ctx):
        ctx.set(dut.grant, 1)
        for again in (0, 1):
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, again)
            clock = 0
            while not ctx.get(dut.done):
                clock += 1
                await ctx.tick()
            clocks.append(clock)
            ctx.set(dut.start, 0)
            await ctx.tick()

    streams.run(dut, testbench)
    assert clocks[0] == clocks[1]
