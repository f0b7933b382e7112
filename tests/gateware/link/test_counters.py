# amaranth: UnusedElaboratable=no
"""FaultCounters: strobes in any clock and together, and the ends of the counters."""

import dataclasses
import random

from arch.link import MAX_COUNT, LinkCounters
from gateware.link.counters import FaultCounters, counters_layout
from tests import streams

SEED = 0x73
STROBES = {"bad_frames": "bad_frame", "overruns": "overrun", "aborted_frames": "aborted"}


def test_counters_are_those_of_the_protocol():
    assert [*counters_layout().members] == [field.name for field in dataclasses.fields(LinkCounters)] == [*STROBES]


def test_each_strobe_is_counted_until_the_counter_is_full():
    rng = random.Random(SEED)
    dut = FaultCounters()

    async def testbench(ctx):
        counts = dict.fromkeys(STROBES, 0)
        for clock in range(900):
            # One counter is full soon, one late, one never.
            struck = {name: rng.random() < rate for name, rate in zip(STROBES, (0.9, 0.4, 0.1), strict=True)}
            for name, strobe in STROBES.items():
                ctx.set(getattr(dut, strobe), struck[name])
            await ctx.tick()
            counts = {name: min(MAX_COUNT, counts[name] + struck[name]) for name in STROBES}
            assert {name: ctx.get(dut.counts[name]) for name in STROBES} == counts, clock
        assert counts["bad_frames"] == counts["overruns"] == MAX_COUNT > counts["aborted_frames"] > 0

    streams.run(dut, testbench)
