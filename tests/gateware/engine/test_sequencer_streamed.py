"""The sequencer of a streamed circuit, against the twin that walks the same programs."""

import collections
import dataclasses
import itertools
import random

import numpy as np
import pytest

from gateware.engine.program import program_width
from gateware.engine.sequencer import Sequencer, layer_start_cycles
from tests import streams
from tests.random_layers import KINDS, STREAMED, random_layer
from tests.twins.layers import walk_layers

DRAIN = 9


class Rings:
    """What a loader does: writes programs and rows as there is room, at the rates that a test asks for."""

    def __init__(self, dut, programs, rows, *, layer_rate, row_rate, rng):
        self.dut, self.programs, self.rng = dut, programs, rng
        self.rates = {"layer": layer_rate, "row": row_rate}
        self.total = {"layer": len(programs), "row": rows}
        self.depth = {"layer": dut.config.layers, "row": dut.config.weight_rows}
        #: Numbers of layers and rows that are there, and that have been given back.
        self.written  = collections.Counter()
        self.released = collections.Counter()
        self.memory   = collections.defaultdict(lambda: rng.getrandbits(program_width(dut.config)))

    def drive(self, ctx, entry_address):
        """Drive the inputs of a clock; ``entry_address`` is what was read in the clock before, None if nothing was."""
        for kind, strobe in (("layer", self.dut.layer_written), ("row", self.dut.row_written)):
            # What was strobed in the clock before is there in this one.
            self.written[kind] += ctx.get(strobe)
            room = self.written[kind] - self.released[kind] < self.depth[kind]
            write = room and self.written[kind] < self.total[kind] and self.rng.random() < self.rates[kind]
            if write and kind == "layer":
                for place, entry in enumerate(self.programs[self.written[kind]]):
                    self.memory[self.written[kind] % self.depth[kind] * 32 + place] = entry
            ctx.set(strobe, write)
        if entry_address is not None:
            ctx.set(self.dut.entry, self.memory[entry_address])

    def release(self, ctx):
        """Take back what the clock releases; nothing of it may be used later."""
        if ctx.get(self.dut.release_layer):
            self.released["layer"] += 1
            for place in range(32):
                del self.memory[(self.released["layer"] - 1) % self.depth["layer"] * 32 + place]
        self.released["row"] += ctx.get(self.dut.release_row)


def entry_read(ctx, dut):
    """Address of the entry that a clock reads, None if it reads none."""
    return ctx.get(dut.entry_address) if ctx.get(dut.entry_read) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clock:
    """What happened in a clock of a run."""

    layer_start: bool
    waiting: bool
    requested: bool
    granted: bool


def run(config, inferences, *, buffer=0, grant_rate=1.0, layer_rate=1.0, row_rate=1.0, seed=0):
    """Run inferences, each a list of layers, and compare every word; the clocks, and those of the segments' ends."""
    rng = random.Random(seed)
    dut = Sequencer(config, drain_cycles=DRAIN)
    programs = [layer.program(config) for layers in inferences for layer in layers]
    expected = list(walk_layers(config, programs, buffer))
    rows = sum(layer.loops.groups * layer.loops.group_weight_rows for layers in inferences for layer in layers)
    rings = Rings(dut, programs, rows, layer_rate=layer_rate, row_rate=row_rate, rng=rng)
    clocks, ends = [], []

    async def testbench(ctx):
        ctx.set(dut.buffer, buffer)
        words, first_uses, layer = iter(expected), 0, -1
        pending, held, entry_address = None, None, None
        for _ in inferences:
            rings.drive(ctx, entry_address)
            ctx.set(dut.start, 1)
            entry_address = entry_read(ctx, dut)
            await ctx.tick()
            ctx.set(dut.start, 0)
            starting = False
            while not ctx.get(dut.done):
                rings.drive(ctx, entry_address)
                if ctx.get(dut.target_valid):
                    layer += 1
                    target = layer_of(inferences, layer).target
                    assert ctx.get(dut.target.address) == (target.address - 1) % (1 << config.slot_address_width)
                if ctx.get(dut.layer_start):
                    starting = True
                    assert bool(ctx.get(dut.mode.final)) == layer_of(inferences, layer).mode["final"]
                valid = ctx.get(dut.beat.valid)
                if starting and pending is not None:
                    # The step to the first word.
                    assert not valid
                    pending, starting = None, False
                assert valid == (pending is not None)
                released = ctx.get(dut.release_row)
                if pending is None:
                    assert not released
                else:
                    number, word = next(words)
                    assert number == layer
                    assert word.zero or pending == word.address
                    assert (ctx.get(dut.row), ctx.get(dut.zero), ctx.get(dut.beat.last)) == (
                        word.row, word.zero, word.last)
                    if ctx.get(dut.zero):
                        assert ctx.get(dut.marked) == word.marked
                    assert ctx.get(dut.beat.first) == word.first
                    assert released == word.last_use
                    if word.first_use:
                        # It was there when its word was issued, in the clock before.
                        first_uses += 1
                        assert first_uses <= rings.written["row"]
                    if word.last:
                        ends.append(len(clocks) - 1)
                        held = word.ending
                if held is not None and len(clocks) - 1 - ends[-1] <= config.cooldown_cycles:
                    for name, flag in held.items():
                        if held["closes"] or name not in ("window_first", "window_last", "group_last"):
                            assert ctx.get(dut.ending[name]) == flag, name
                granted = rng.random() < grant_rate
                ctx.set(dut.grant, granted)
                requested = bool(ctx.get(dut.request))
                pending = ctx.get(dut.address) if granted and requested else None
                if ctx.get(dut.layer_start):
                    held = None
                clocks.append(Clock(layer_start=bool(ctx.get(dut.layer_start)), waiting=bool(ctx.get(dut.waiting)),
                                    requested=requested, granted=granted))
                rings.release(ctx)
                entry_address = entry_read(ctx, dut)
                await ctx.tick()
            assert layer + 1 == rings.released["layer"]
        assert next(words, None) is None
        assert rings.released["row"] == rows == first_uses
        assert rings.written == rings.total

    streams.run(dut, testbench, deadline_cycles=200_000)
    spaces = [later - earlier for earlier, later in itertools.pairwise(ends)]
    assert min(spaces, default=99) >= config.cooldown_cycles
    return clocks, ends


def layer_of(inferences, number):
    return [layer for layers in inferences for layer in layers][number]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STREAMED)
def test_every_kind_of_layer_is_the_twins(name, kind):
    config = STREAMED[name]
    rng = np.random.default_rng([51, KINDS.index(kind)])
    inferences = [[random_layer(config, rng, kind, final=True)] for _ in range(2)]
    clocks, _ = run(config, inferences, buffer=1)
    # The rows come faster than they are used, and the programs before that.
    assert not any(clock.waiting for clock in clocks)


@pytest.mark.parametrize("name", STREAMED)
def test_a_layer_starts_after_its_documented_clocks(name):
    config = STREAMED[name]
    layers = [random_layer(config, np.random.default_rng([53, number]), "convolution", final=number == 2)
              for number in range(3)]
    clocks, ends = run(config, [layers])
    # The clock of the strobe is not among them, which the first layer takes beside its own. One request before the
    # first word is that of the step from zero.
    requests = [number for number, clock in enumerate(clocks) if clock.requested]
    assert requests[:2] == [layer_start_cycles(config) - 2, layer_start_cycles(config)]
    starts = [number for number, clock in enumerate(clocks) if clock.layer_start]
    for start, before in zip(starts[1:], starts, strict=False):
        last = max(end for end in ends if before < end < start)
        first = min(number for number in requests if number > start + 1)
        assert first - last == DRAIN + 1 + layer_start_cycles(config)


def test_a_layer_waits_for_its_program():
    config = STREAMED["P2-W4-T4"]
    layers = [random_layer(config, np.random.default_rng([54, number]), "identity", final=number == 1)
              for number in range(2)]
    clocks, _ = run(config, [layers], layer_rate=0.01)
    waited = [number for number, clock in enumerate(clocks) if clock.waiting]
    assert len(waited) > 20
    assert not any(clocks[number - 1].requested for number in waited if number)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", STREAMED)
def test_grants_and_rows_that_come_late_change_nothing_but_the_time(name, seed):
    config = STREAMED[name]
    rng = np.random.default_rng([52, seed])
    inferences = []
    for _ in range(2):
        kinds = [str(kind) for kind in rng.choice(KINDS, 5)]
        inferences.append([random_layer(config, rng, kind, final=number == 4) for number, kind in enumerate(kinds)])
    rates = [(1.0, 1.0, 0.3), (0.6, 0.05, 1.0), (0.7, 0.1, 0.2), (1.0, 0.02, 0.05)][seed]
    clocks, _ = run(config, inferences, buffer=seed % 2, grant_rate=rates[0], layer_rate=rates[1], row_rate=rates[2],
                    seed=seed)
    assert any(clock.waiting for clock in clocks)
