# amaranth: UnusedElaboratable=no
"""FrameReceiver and its counter against their twins: random frames, faults on the line, consumers that stall."""

import dataclasses
import random
from collections import deque

import pytest

from arch.link import Command, ErrorCode, Frame, LinkCounters
from gateware.link.frame import CONTROL_SLOT, TAG_SLOTS
from gateware.link.receiver import FrameReceiver, PayloadCounter
from tests import streams
from tests.twins.link import FrameReceiverTwin

SEED = 0x71
TIMEOUT_BITS = 32
#: Clocks until a pixel is taken that no consumer takes.
NEVER = 10_000
#: Clock in which the first character begins.
START = 20


class Bench:
    """A receiver, its twin, and what happens to both."""

    def __init__(self, *, divisor=4, image_bytes=3, selectable=False):
        self.dut = FrameReceiver(divisor=divisor, timeout_bits=TIMEOUT_BITS, selectable=selectable)
        self.twin = FrameReceiverTwin(image_bytes, selectable=selectable)
        self.selectable = selectable
        self.divisor = divisor
        self.image_bytes = image_bytes
        self.expected, self.seen = [], []
        #: Clocks of the events, by name.
        self.clocks = {}
        self.clock = 0
        #: Faults of the line that the receiver has counted in the end.
        self.counters = None
        #: Clocks that a pixel waits at most when characters follow each other at once.
        self.longest_wait = 2 * divisor - 2
        #: For each pixel to come, the clocks until the consumer takes it.
        self.waits = deque()

    def run(self, host, *, deadline_cycles=60_000):
        """Run ``host(ctx)``, then compare the events of the receiver with those of the twin."""
        dut = self.dut
        done = False

        async def line(ctx):
            nonlocal done
            ctx.set(dut.image_bytes, self.image_bytes)
            if self.selectable:
                ctx.set(dut.selected, 1)
            await ctx.tick().repeat(START)
            await host(ctx)
            await ctx.tick().repeat(2 * self.divisor)
            self.counters = LinkCounters(**{field.name: ctx.get(dut.counters[field.name])
                                            for field in dataclasses.fields(LinkCounters)})
            done = True

        async def monitor(ctx):
            replying = None
            while not done:
                ctx.set(dut.tick, self.clock % self.divisor == 0)
                if ctx.get(dut.tag_stb):
                    self._see("tag", ctx.get(dut.tag_slot), ctx.get(dut.tag))
                if ctx.get(dut.o_pixels.valid) and ctx.get(dut.o_pixels.ready):
                    self._see("pixel", ctx.get(dut.o_pixels.payload))
                for name in ("begin", "commit", "abort"):
                    if ctx.get(getattr(dut, name)):
                        self._see(name)
                if self.selectable and ctx.get(dut.select):
                    self._see("select", ctx.get(dut.model))
                code = ctx.get(dut.o_reply.payload) if ctx.get(dut.o_reply.valid) else None
                if code is not None and replying is None:
                    self._see("reply", code)
                assert replying is None or code in (None, replying), "a reply that waits must not change"
                replying = code
                self.clock += 1
                await ctx.tick()

        async def consumer(ctx):
            while not done:
                if not ctx.get(dut.o_pixels.valid):
                    await ctx.tick()
                    continue
                left = self.waits.popleft()
                while left and ctx.get(dut.o_pixels.valid):
                    await ctx.tick()
                    left -= 1
                ctx.set(dut.o_pixels.ready, ctx.get(dut.o_pixels.valid))
                await ctx.tick()
                ctx.set(dut.o_pixels.ready, 0)

        async def selector(ctx):
            while self.selectable and not done:
                chosen = ctx.get(dut.select)
                await ctx.tick()
                if chosen:
                    ctx.set(dut.selected, 0)

        # The consumer and the selector drive before the monitor looks.
        streams.run(dut, line, consumer, selector, monitor, deadline_cycles=deadline_cycles)
        assert self.seen == self.expected
        assert self.counters == self.twin.counters
        return self

    def _see(self, name, *values):
        self.seen.append((name, *values))
        self.clocks.setdefault(name, []).append(self.clock)

    def sampled(self, character):
        """Clock in which the stop bit of a character is sampled, of characters that follow each other at once."""
        return START + 10 * self.divisor * character + 9 * self.divisor + (self.divisor - 1) // 2 + 2

    async def send(self, ctx, data, *, accept=True, stop_bits=None, waits=()):
        """Send characters; ``stop_bits`` says of each whether it has one, ``waits`` when the consumer takes a pixel."""
        ctx.set(self.dut.accept, accept)
        waits = iter(waits)
        for index, byte in enumerate(data):
            stop_bit = stop_bits is None or stop_bits[index]
            taken = True
            if self.twin.offers_pixel:
                self.waits.append(next(waits, 0))
                taken = self.waits[-1] <= self.longest_wait
            self.expected += self.twin.character(byte, stop_bit=stop_bit, accept=accept, taken=taken)
            for bit in (0, *((byte >> n & 1) for n in range(8))):
                ctx.set(self.dut.rx, bit)
                await ctx.tick().repeat(self.divisor)
            if stop_bit:
                await self.idle(ctx, 1)
            else:
                # Low for its whole length; the next character follows at once, or after a bit.
                ctx.set(self.dut.rx, 0)
                await ctx.tick().repeat(self.divisor)
                if index % 2:
                    await self.idle(ctx, 1)

    async def idle(self, ctx, bits):
        """Keep the line idle, less than it takes to end a frame."""
        ctx.set(self.dut.rx, 1)
        await ctx.tick().repeat(bits * self.divisor)

    async def be_silent(self, ctx):
        """Keep the line idle for so long that a frame ends."""
        await self.idle(ctx, TIMEOUT_BITS + 2)
        self.expected += self.twin.silence()

    async def take_reply(self, ctx):
        """Take the reply, if there is one, a few clocks after the last character."""
        await self.idle(ctx, 3)
        assert ctx.get(self.dut.o_reply.valid) == (self.twin.reply is not None)
        ctx.set(self.dut.o_reply.ready, ctx.get(self.dut.o_reply.valid))
        await ctx.tick()
        ctx.set(self.dut.o_reply.ready, 0)
        self.twin.take_reply()

    async def settle(self, ctx, status):
        """Settle the choice of a model, between two characters."""
        await self.idle(ctx, 3)
        assert not ctx.get(self.dut.selected)
        assert not ctx.get(self.dut.o_reply.valid)
        self.expected += self.twin.settle(status)
        ctx.set(self.dut.status, status)
        ctx.set(self.dut.selected, 1)
        await ctx.tick()

    def send_result(self, ctx):
        """Say that the result of an image was sent."""
        self.twin.take_result()
        ctx.set(self.dut.result_slot, (ctx.get(self.dut.result_slot) + 1) % TAG_SLOTS)


def random_frame(rng, image_bytes, *, selectable=False):
    """Draw a frame of any kind, most of them images; a few are damaged."""
    kinds = [(Command.CLASSIFY, image_bytes), (Command.INFO, 0), (Command.CLASSIFY, image_bytes + rng.choice([-1, 1])),
             (Command.INFO, 2), (rng.randrange(256), image_bytes)]
    weights = [6, 2, 1, 1, 1]
    if selectable:
        kinds += [(Command.SELECT, 1), (Command.SELECT, rng.choice([0, 2, 3, 255, 256, 257, 258, 513]))]
        weights += [4, 0.5]
    command, length = rng.choices(kinds, weights=weights)[0]
    data = bytearray(Frame(command=command, tag=rng.randrange(256), payload=rng.randbytes(length)).to_bytes())
    if rng.random() < 0.25:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


@pytest.mark.parametrize(("divisor", "image_bytes"), [(4, 3), (4, 1), (7, 2)])
def test_random_frames_and_faults(divisor, image_bytes):
    rng = random.Random(f"{SEED} {divisor} {image_bytes}")
    bench = Bench(divisor=divisor, image_bytes=image_bytes)

    async def host(ctx):
        for _ in range(40):
            data = random_frame(rng, image_bytes)
            stop_bits = [rng.random() > 0.02 for _ in data]
            waits = [NEVER if rng.random() < 0.05 else rng.randrange(bench.longest_wait + 1) for _ in data]
            if rng.random() < 0.1:
                data = data[:rng.randrange(1, len(data))]
            await bench.send(ctx, data, accept=rng.random() < 0.9, stop_bits=stop_bits, waits=waits)
            if rng.random() < 0.2:
                await bench.send(ctx, rng.randbytes(2))
            if rng.random() < 0.7:
                await bench.take_reply(ctx)
            if rng.random() < 0.3 or bench.twin.in_frame:
                await bench.be_silent(ctx)

    bench.run(host)
    assert {name for name, *_ in bench.seen} == {"tag", "begin", "pixel", "commit", "abort", "reply"}
    assert min(bench.counters.bad_frames, bench.counters.aborted_frames) > 0


@pytest.mark.parametrize(("divisor", "image_bytes", "seed"), [(4, 3, 0), (4, 1, 1), (7, 2, 2)])
def test_random_frames_while_models_are_selected(divisor, image_bytes, seed):
    rng = random.Random(f"{SEED} {divisor} {image_bytes} {seed}")
    bench = Bench(divisor=divisor, image_bytes=image_bytes, selectable=True)
    done = {"settled": 0, "swallowed": 0, "busy": 0}

    async def host(ctx):
        for _ in range(60):
            data = random_frame(rng, image_bytes, selectable=True)
            if rng.random() < 0.1:
                data = data[:rng.randrange(1, len(data))]
            # A choice may be settled at any character of a frame that comes meanwhile.
            cut = rng.randrange(len(data) + 1) if not bench.twin.selected and rng.random() < 0.6 else None
            waits = [NEVER if rng.random() < 0.03 else rng.randrange(bench.longest_wait + 1) for _ in data]
            options = {"accept": rng.random() < 0.9, "waits": waits}
            done["swallowed"] += not bench.twin.selected
            done["busy"] += data[1:2] == bytes((Command.SELECT,)) and bench.twin.in_flight > 0
            if cut is None:
                await bench.send(ctx, data, **options)
            else:
                await bench.send(ctx, data[:cut], **options)
                await bench.settle(ctx, rng.choice([0, 0, 0, 0, 6, 7, 8, 9]))
                done["settled"] += 1
                await bench.send(ctx, data[cut:], **options)
            if bench.twin.selected and rng.random() < 0.7:
                await bench.take_reply(ctx)
            while bench.twin.in_flight == 3 or (bench.twin.in_flight and rng.random() < 0.5):
                bench.send_result(ctx)
            if rng.random() < 0.3 or bench.twin.in_frame:
                await bench.be_silent(ctx)

    bench.run(host, deadline_cycles=400_000)
    assert {name for name, *_ in bench.seen} >= {"tag", "begin", "pixel", "commit", "reply", "select"}
    assert min(done.values()) > 0, done


@pytest.mark.parametrize("divisor", [4, 16])
def test_latencies_are_as_documented(divisor):
    bench = Bench(divisor=divisor, image_bytes=1)
    frame = Frame(command=Command.CLASSIFY, tag=1, payload=b"\x5a").to_bytes()
    damaged = frame[:-1] + bytes((frame[-1] ^ 1,))

    async def host(ctx):
        await bench.send(ctx, frame)
        await bench.send(ctx, damaged)

    bench.run(host)
    sampled = bench.sampled
    assert bench.clocks["pixel"] == [sampled(5) + 2, sampled(len(frame) + 5) + 2]
    assert bench.clocks["begin"] == [sampled(4) + 4, sampled(len(frame) + 4) + 4]
    assert bench.clocks["commit"] == [sampled(7) + 3]
    assert bench.clocks["abort"] == [sampled(2 * len(frame) - 1) + 3]
    assert bench.clocks["reply"] == [sampled(2 * len(frame) - 1) + 4]


@pytest.mark.parametrize("divisor", [4, 5, 16])
@pytest.mark.parametrize("late", [0, 1])
def test_a_pixel_waits_until_the_next_character_and_no_longer(divisor, late):
    bench = Bench(divisor=divisor)
    frame = Frame(command=Command.CLASSIFY, tag=2, payload=b"\x00\x01\x02").to_bytes()

    async def host(ctx):
        await bench.send(ctx, frame, waits=[0, bench.longest_wait + late])

    bench.run(host)
    assert bench.seen[-1] == (("reply", ErrorCode.OVERRUN) if late else ("commit",))


def test_a_byte_in_the_very_clock_of_the_timeout_is_forgotten_too():
    """The frame has timed out: neither is it answered, nor does it leave a pixel behind."""
    for clocks in range(8):
        bench = Bench(image_bytes=1)
        frame = Frame(command=Command.CLASSIFY, tag=1, payload=b"\x5a").to_bytes()

        async def host(ctx, bench=bench, frame=frame, clocks=clocks):
            await bench.send(ctx, frame[:-1])
            for _ in range(TIMEOUT_BITS * bench.divisor - 10 * bench.divisor + clocks - 4):
                await ctx.tick()
            # Whether the timeout or the byte is first, the twin cannot know: the strobes must.
            bench.expected = None
            before = list(bench.seen)
            await streams.send_characters(ctx, bench.dut.rx, frame[-1:], clocks_per_bit=bench.divisor)
            await bench.idle(ctx, 8)
            assert bench.seen in ([*before, ("commit",)], [*before, ("abort",)])
            if bench.seen[-1] == ("abort",):
                bench.twin.silence()
            bench.expected = bench.seen

        bench.run(host)


def test_tags_go_to_the_slots_of_images_and_of_other_replies():
    bench = Bench(image_bytes=1)
    frames = [Frame(command=Command.CLASSIFY, tag=tag, payload=b"\x07").to_bytes() for tag in range(0xA0, 0xA6)]

    async def host(ctx):
        for frame in frames:
            await bench.send(ctx, frame)

    bench.run(host)
    tags = [event[1:] for event in bench.seen if event[0] == "tag"]
    assert tags == [place for n in range(6) for place in ((n % 4, 0xA0 + n), (CONTROL_SLOT, 0xA0 + n))]


def test_counter_counts_a_payload():
    rng = random.Random(SEED)
    dut = PayloadCounter()

    async def testbench(ctx):
        for length in (0, 1, 2, 255, 256, 257, rng.randrange(3, 255)):
            ctx.set(dut.counting, 0)
            for name, byte in (("load_low", length & 0xFF), ("load_high", length >> 8)):
                ctx.set(dut.byte, byte)
                ctx.set(getattr(dut, name), 1)
                await ctx.tick()
                ctx.set(getattr(dut, name), 0)
            assert ctx.get(dut.missing) == 0xFFFF - length
            ctx.set(dut.counting, 1)
            await ctx.tick()
            for missing in range(length, 0, -1):
                assert not ctx.get(dut.complete), missing
                assert ctx.get(dut.missing) == 0xFFFF - missing
                ctx.set(dut.count, 1)
                await ctx.tick()
                ctx.set(dut.count, 0)
                await ctx.tick()
            assert ctx.get(dut.complete)

    streams.run(dut, testbench)


def test_parameters_are_checked():
    with pytest.raises(ValueError, match=r"^divisor must be at least 4, not 3$"):
        FrameReceiver(divisor=3)
    with pytest.raises(TypeError, match=r"^divisor must be an integer, not '4'$"):
        FrameReceiver(divisor="4")
    with pytest.raises(ValueError, match=r"^timeout_bits must be a power of two from 32, not 16$"):
        FrameReceiver(divisor=4, timeout_bits=16)
    with pytest.raises(ValueError, match=r"^timeout_bits must be a power of two from 32, not 48$"):
        FrameReceiver(divisor=4, timeout_bits=48)
    with pytest.raises(TypeError, match=r"^timeout_bits must be an integer, not 64\.0$"):
        FrameReceiver(divisor=4, timeout_bits=64.0)
