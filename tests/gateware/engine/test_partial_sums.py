import dataclasses
import itertools
import random

import pytest

from gateware.engine.neuron_array import ending_layout
from gateware.engine.partial_sums import PartialSums
from tests import streams
from tests.circuits import streamed_circuit
from tests.twins.streamed_blocks import Segment, partial_sums

CONFIGS = {
    "P1-T4": streamed_circuit(lanes=1, width=8, timesteps=4, accumulator_width=8),
    "P2-T8": streamed_circuit(lanes=2, width=8, timesteps=8, accumulator_width=7, partial_width=18),
    "P4-T4": streamed_circuit(lanes=4, width=8, timesteps=4, accumulator_width=8),
    "P8-T4": streamed_circuit(lanes=8, width=16, timesteps=4, accumulator_width=8),
    "P4-T3-events": streamed_circuit(lanes=4, width=4, timesteps=3, pixels=False, accumulator_width=5,
                                 partial_width=9),
    "P2-T1-events": streamed_circuit(lanes=2, width=4, timesteps=1, pixels=False, accumulator_width=5,
                                 partial_width=9),
}

#: Clocks from ``load`` to ``o_load``, and from there to the first sums, as the data sheet says.
LOAD_CLOCKS, SUMS_CLOCKS = 1, 2


def run(config, segments, planes=0, gaps=False, seed=0):
    """Feed segments as close as the cooldown, or with gaps; return the neurons that leave, and check their clocks."""
    dut = PartialSums(config)
    rng = random.Random(seed)
    loads = list(itertools.accumulate(config.cooldown_cycles + (rng.randrange(4) if gaps else 0) for _ in segments))
    starts = dict(zip(loads, segments, strict=True))
    flags = [*ending_layout(config).members]
    loaded, sums = {}, []

    async def testbench(ctx):
        ctx.set(dut.planes, planes)
        passing = None
        for clock in range(loads[-1] + config.lanes + LOAD_CLOCKS + SUMS_CLOCKS + 2):
            segment = starts.get(clock)
            ctx.set(dut.load, segment is not None)
            # What is not promised to be valid is noise.
            ctx.set(dut.ending, {name: segment.ending.get(name, 0) if segment else rng.getrandbits(1)
                                 for name in flags})
            lane = clock - passing[0] - 1 if passing else config.lanes
            ctx.set(dut.segment, [passing[1].sums[lane][step] if lane < config.lanes
                                  else rng.randrange(1 << config.accumulator_width)
                                  for step in range(config.timesteps)])
            if ctx.get(dut.o_load):
                loaded[clock] = {name: ctx.get(dut.o_ending[name]) for name in flags}
            for start, ending in loaded.items():
                if start <= clock < start + config.cooldown_cycles:
                    assert {name: ctx.get(dut.o_ending[name]) for name in flags} == ending
            sums.append(tuple(ctx.get(dut.sums[step]) for step in range(config.timesteps)))
            await ctx.tick()
            if segment:
                passing = (clock, segment)

    streams.run(dut, testbench, deadline_cycles=100_000)
    assert set(loaded) == {load + LOAD_CLOCKS for load, segment in starts.items() if segment.ending.get("closes")}
    return [(lane, sums[start + SUMS_CLOCKS + lane], ending)
            for start, ending in loaded.items() for lane in range(config.lanes)]


def check(config, segments, *, planes=0, gaps=False):
    flags = [*ending_layout(config).members]
    expected = [(summed.lane, summed.sums, {name: summed.ending.get(name, 0) for name in flags})
                for summed in partial_sums(config, segments, planes=planes)]
    assert expected
    assert run(config, segments, planes, gaps) == expected


def make_segment(config, rng, value=None, **ending):
    top = (1 << config.accumulator_width) - 1
    sums = [[rng.choice((0, top, rng.randint(0, top))) if value is None else value for _ in range(config.timesteps)]
            for _ in range(config.lanes)]
    for name in ("window_first", "window_last", "block_first", "block_last", "group_last"):
        ending[name] = rng.getrandbits(1)
    return Segment(sums, ending)


def make_sums(config, rng, count, longest=4, scaled=False, value=None):
    """Make whole sums of some segments each, slot by slot."""
    for number in range(count):
        length = rng.randint(1, longest)
        for index in range(length):
            yield make_segment(config, rng, value, opens=index == 0, closes=index == length - 1,
                               sum_end=index == length - 1, part_end=number % 3 == 2,
                               scaled=scaled and rng.getrandbits(1))


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_sums_are_the_twins(name, gaps):
    check(CONFIGS[name], list(make_sums(CONFIGS[name], random.Random(1), 12)), gaps=gaps)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if config.pixels])
def test_planes_are_one_current_in_every_timestep(name, gaps):
    # Four segments of largest sums, each worth 2^T times as much.
    config = dataclasses.replace(CONFIGS[name], partial_width=20)
    scaled = config.slices > 1
    check(config, list(make_sums(config, random.Random(2), 12, scaled=scaled)), planes=1, gaps=gaps)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_largest_sums_do_not_disturb_their_neighbours(name):
    """As many largest segments as a sum has room for, beside timesteps of zeros."""
    config = CONFIGS[name]
    top = (1 << config.accumulator_width) - 1
    count = min(((1 << config.partial_width) - 1) // top, 40)
    segments = []
    for odd in range(2):
        for index in range(count):
            sums = [[top * ((step + odd) % 2) for step in range(config.timesteps)]] * config.lanes
            segments.append(Segment(sums, {"opens": index == 0, "closes": index == count - 1,
                                           "sum_end": index == count - 1}))
    largest = {value for summed in partial_sums(config, segments, planes=False) for value in summed.sums}
    assert largest == {0, count * top}
    check(config, segments)


@pytest.mark.parametrize("name", ["P1-T4", "P4-T4", "P8-T4"])
def test_parts_are_continued_slot_by_slot(name):
    """All slots of a part, twice more, and only the third part closes."""
    config = CONFIGS[name]
    rng = random.Random(3)
    slots = min(config.partial_slots, 32)
    segments = []
    for part in range(3):
        for slot in range(slots):
            for piece in range(1 + slot % 2):
                whole = piece == slot % 2
                segments.append(make_segment(config, rng, opens=part == 0 and piece == 0, closes=part == 2 and whole,
                                             sum_end=whole, part_end=slot == slots - 1))
    check(config, segments)


def test_nothing_leaves_before_the_last_segment():
    config = CONFIGS["P4-T4"]
    rng = random.Random(4)
    segments = [make_segment(config, rng, opens=index == 0) for index in range(5)]
    assert run(config, segments) == []
