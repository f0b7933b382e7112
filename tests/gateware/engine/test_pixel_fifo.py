# amaranth: UnusedElaboratable=no
import collections
import random

import pytest

from gateware.engine.pixel_fifo import PixelFifo
from tests import streams


class Twin:
    """A memory, the byte that has been read of it, and a clock in which the last byte of room is given."""

    def __init__(self, depth):
        self.depth   = depth
        self.waiting = collections.deque()
        self.offered = None
        self.full    = False

    def outputs(self):
        return {"ready": not self.full, "valid": self.offered is not None, "payload": self.offered,
                "half_full": len(self.waiting) > self.depth // 2}

    def clock(self, *, given, taken, flush):
        full = len(self.waiting) >= self.depth - 1
        if flush:
            self.__init__(self.depth)
            return
        if taken:
            self.offered = None
        # What is given in this clock is in the memory from the next one on.
        if self.offered is None and self.waiting:
            self.offered = self.waiting.popleft()
        if given is not None and not self.full:
            self.waiting.append(given)
        self.full = full


def check_clock(ctx, dut, twin, *, given, take, flush=False):
    """Pass a clock with these inputs, ``given`` None if there is no byte; compare all outputs before."""
    expected = twin.outputs()
    ctx.set(dut.i.valid, given is not None)
    ctx.set(dut.i.payload, 0xA5 if given is None else given)
    ctx.set(dut.o.ready, take)
    ctx.set(dut.flush, flush)
    seen = {"ready": bool(ctx.get(dut.i.ready)), "valid": bool(ctx.get(dut.o.valid)),
            "payload": ctx.get(dut.o.payload) if expected["valid"] else None, "half_full": bool(ctx.get(dut.half_full))}
    assert seen == expected
    twin.clock(given=given, taken=take and expected["valid"], flush=flush)


@pytest.mark.parametrize("depth", [4, 8, 64])
def test_bytes_come_in_their_order_at_every_level(depth):
    """Twice full and empty again, at random and without a gap; nothing is lost or invented."""
    dut = PixelFifo(depth=depth)
    rng = random.Random(depth)

    async def testbench(ctx):
        twin = Twin(depth)
        levels = set()
        for give, take in ((0.9, 0.1), (0.1, 0.9), (0.5, 0.5), (1, 0), (1, 1), (0, 1), (1, 1), (0.9, 0.4), (0.2, 0.9)):
            for _ in range(8 * depth):
                check_clock(ctx, dut, twin, given=rng.randrange(256) if rng.random() < give else None,
                            take=rng.random() < take)
                levels.add(len(twin.waiting))
                await ctx.tick()
        assert levels == set(range(depth + 1))

    streams.run(dut, testbench, deadline_cycles=100 * depth)


def test_a_flush_forgets_all_bytes_at_every_level():
    dut = PixelFifo(depth=8)
    rng = random.Random(5)

    async def testbench(ctx):
        twin = Twin(8)
        for _ in range(3000):
            check_clock(ctx, dut, twin, given=rng.randrange(256) if rng.random() < 0.6 else None,
                        take=rng.random() < 0.4, flush=rng.random() < 0.05)
            await ctx.tick()

    streams.run(dut, testbench, deadline_cycles=4000)


def test_as_many_bytes_fit_as_it_says_however_they_come():
    """With a pause before every byte, and without one."""
    for pause in (0, 3):
        dut = PixelFifo(depth=16)
        taken = []

        async def testbench(ctx, dut=dut, pause=pause, taken=taken):
            for byte in range(40):
                ctx.set(dut.i.payload, byte)
                ctx.set(dut.i.valid, 1)
                if ctx.get(dut.i.ready):
                    taken.append(byte)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
                for _ in range(pause):
                    await ctx.tick()

        streams.run(dut, testbench, deadline_cycles=400)
        assert len(taken) in (16, 17)


@pytest.mark.parametrize("depth", [0, 2, 6, 511])
def test_a_depth_that_its_counters_do_not_have_is_refused(depth):
    with pytest.raises(ValueError, match=rf"^depth must be a power of two and at least 4, not {depth}$"):
        PixelFifo(depth=depth)
