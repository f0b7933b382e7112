# amaranth: UnusedElaboratable=no
"""FrameTransmitter against arch.link: random results and replies, pauses of the producers, slow memory, priorities."""

import dataclasses
import random

import pytest

from arch.link import INFO_BYTES, ErrorCode, FrameReader, LinkCounters
from gateware.link.frame import CONTROL_SLOT, MEMORY_ROWS, TAG_SLOTS
from gateware.link.transmitter import FrameTransmitter
from tests import streams
from tests.twins.link import NO_FAULTS, reply_frame, result_frame

SEED = 0x72


class Bench:
    """A transmitter with the memory of the link, whose data follow the row by ``memory_clocks``."""

    def __init__(self, *, divisor=4, result_words=3, memory_clocks=1, seed=SEED):
        self.dut = FrameTransmitter(divisor=divisor)
        self.divisor = divisor
        self.result_words = result_words
        self.memory_clocks = memory_clocks
        self.rng = random.Random(f"{seed} {divisor} {result_words} {memory_clocks}")
        self.memory = [*self.rng.randbytes(MEMORY_ROWS)]
        self.info = bytes(self.memory[:INFO_BYTES])
        self.counters = NO_FAULTS
        self.frames = []
        self.results = 0
        #: Slots of the next result, as they followed each other.
        self.slots = [0]
        #: Clocks of the transfers of words.
        self.transfers = []
        self.clock = 0

    def run(self, *producers, characters, clocks):
        """Run producers until as many characters have been received."""
        dut = self.dut
        done = False

        async def listen(ctx):
            nonlocal done
            data = await streams.receive_characters(ctx, dut.tx, characters, clocks_per_bit=self.divisor,
                                                    limit_cycles=clocks)
            self.frames = FrameReader().feed(data)
            assert b"".join(frame.to_bytes() for frame in self.frames) == data, "bytes outside of frames"
            assert len(data) == characters
            for _ in range(20 * self.divisor):
                await ctx.tick()
                assert ctx.get(dut.tx) == 1, "the line must be idle when everything is sent"
            done = True

        async def memory(ctx):
            ctx.set(dut.result_words, self.result_words)
            self.count(ctx, self.counters)
            rows = [0] * self.memory_clocks
            while not done:
                rows = [ctx.get(dut.row), *rows[:-1]]
                if ctx.get(dut.result_slot) != self.slots[-1]:
                    self.slots.append(ctx.get(dut.result_slot))
                if ctx.get(dut.i_words.valid) and ctx.get(dut.i_words.ready):
                    self.transfers.append(self.clock)
                self.clock += 1
                await ctx.tick()
                ctx.set(dut.data, self.memory[rows[-1]])

        streams.run(dut, *producers, listen, memory, deadline_cycles=2 * clocks)
        return self

    def count(self, ctx, counters):
        """Set the counters."""
        self.counters = counters
        for field in dataclasses.fields(counters):
            ctx.set(self.dut.counters[field.name], getattr(counters, field.name))

    async def result(self, ctx, words, tag, *, gap=0):
        """Send a result whose words pause for up to ``gap`` clocks."""
        self.memory[INFO_BYTES + self.results % TAG_SLOTS] = tag
        self.results += 1
        for number, word in enumerate(words):
            await self.pause(ctx, gap)
            await streams.put(ctx, self.dut.i_words, {"word": word, "last": number == len(words) - 1, "error": 0})

    async def failure(self, ctx, code, tag):
        """Send an error in place of a result."""
        self.memory[INFO_BYTES + self.results % TAG_SLOTS] = tag
        self.results += 1
        await streams.put(ctx, self.dut.i_words, {"word": self.rng.getrandbits(24) << 8 | code,
                                                  "last": self.rng.randrange(2), "error": 1})
        ctx.set(self.dut.i_words.p.error, self.rng.randrange(2))

    async def reply(self, ctx, code, tag):
        """Send a reply other than a result."""
        self.memory[INFO_BYTES + CONTROL_SLOT] = tag
        await streams.put(ctx, self.dut.i_reply, code)

    async def pause(self, ctx, most):
        """Wait for a random number of clocks."""
        for _ in range(self.rng.randrange(most + 1)):
            await ctx.tick()

    def words(self):
        """Draw a result."""
        return [self.rng.choice([0, 0xFFFFFFFF, self.rng.getrandbits(32)]) for _ in range(self.result_words)]


@pytest.mark.parametrize(("divisor", "result_words", "memory_clocks"), [(4, 3, 1), (4, 1, 4), (7, 4, 2)])
def test_random_results_and_replies(divisor, result_words, memory_clocks):
    bench = Bench(divisor=divisor, result_words=result_words, memory_clocks=memory_clocks)
    bench.counters = LinkCounters(bad_frames=bench.rng.randrange(256), overruns=255, aborted_frames=1)
    # The tags tell from which of the two streams a frame is.
    results = [(bench.words(), bench.rng.randrange(128)) for _ in range(10)]
    failures = {number: bench.rng.choice([*ErrorCode]) for number in (2, 3, 6, 9)}
    replies = [(bench.rng.choice([0, *ErrorCode]), bench.rng.randrange(128, 256)) for _ in range(6)]
    expected_results = [reply_frame(failures[number], tag, bench.info) if number in failures
                        else result_frame(words, tag) for number, (words, tag) in enumerate(results)]
    expected_replies = [reply_frame(code, tag, bench.info, bench.counters) for code, tag in replies]
    characters = sum(len(frame.to_bytes()) for frame in [*expected_results, *expected_replies])

    async def send_results(ctx):
        for number, (words, tag) in enumerate(results):
            await bench.pause(ctx, bench.rng.choice([0, 10, 1000]))
            if number in failures:
                await bench.failure(ctx, failures[number], tag)
                continue
            await bench.result(ctx, words, tag, gap=bench.rng.choice([0, 0, 5, 300]))

    async def send_replies(ctx):
        for code, tag in replies:
            await bench.pause(ctx, bench.rng.choice([0, 300, 3000]))
            await bench.reply(ctx, code, tag)

    bench.run(send_results, send_replies, characters=characters, clocks=40_000)
    assert [frame for frame in bench.frames if frame.tag < 128] == expected_results
    assert [frame for frame in bench.frames if frame.tag >= 128] == expected_replies
    # Whatever is sent next, its tag is in this slot.
    assert bench.slots == [number % TAG_SLOTS for number in range(len(results) + 1)]


def test_a_counter_that_counts_while_it_is_sent_is_one_of_its_values():
    """Each counter is what it was at some time, and never a mixture of the bits before and behind a step."""
    bench = Bench()

    async def count(ctx):
        # From 127 to 128 every bit changes; a step every 7 clocks hits each bit of each character.
        for step in range(bench.divisor * 10 * 80 // 7):
            bench.count(ctx, LinkCounters(**dict.fromkeys(("bad_frames", "overruns", "aborted_frames"),
                                                          127 + step % 2)))
            await ctx.tick().repeat(7)

    async def send_replies(ctx):
        await bench.reply(ctx, 0, 3)

    bench.run(send_replies, count, characters=75, clocks=5000)
    (frame,) = bench.frames
    assert set(frame.payload[64:67]) <= {127, 128}
    assert frame.payload[67] == 0


def test_counters_are_in_no_result_however_long():
    """Bytes of a result have the numbers that counters have in an INFO."""
    bench = Bench(result_words=34)
    bench.counters = LinkCounters(bad_frames=255, overruns=255, aborted_frames=255)
    words = [bench.rng.getrandbits(32) for _ in range(34)]

    async def send_results(ctx):
        await bench.result(ctx, words, 9)

    bench.run(send_results, characters=7 + 4 * 34, clocks=6500)
    assert bench.frames == [result_frame(words, 9)]


def test_reply_waits_for_the_frame_in_progress_and_goes_before_the_next():
    bench = Bench(result_words=2)
    words = [bench.words() for _ in range(3)]

    async def send_results(ctx):
        for number in range(3):
            await bench.result(ctx, words[number], number)

    async def send_replies(ctx):
        while not bench.transfers:
            await ctx.tick()
        await bench.reply(ctx, ErrorCode.BUSY, 0x77)
        await bench.reply(ctx, 0, 0x78)

    first, *others = (result_frame(words[number], number) for number in range(3))
    expected = [first, reply_frame(ErrorCode.BUSY, 0x77, bench.info), reply_frame(0, 0x78, bench.info), *others]
    bench.run(send_results, send_replies, characters=sum(len(frame.to_bytes()) for frame in expected), clocks=8000)
    assert bench.frames == expected


@pytest.mark.parametrize("divisor", [4, 5])
def test_frames_follow_each_other_without_a_gap(divisor):
    bench = Bench(divisor=divisor, result_words=2)
    words = [bench.words() for _ in range(2)]

    async def send_results(ctx):
        for number in range(2):
            await bench.result(ctx, words[number], number)

    bench.run(send_results, characters=2 * (7 + 8), clocks=3000)
    character = 10 * divisor
    first = bench.transfers[0]
    assert bench.transfers == [first, first + 4 * character, first + 15 * character, first + 19 * character]


@pytest.mark.parametrize("divisor", [4, 5, 16])
@pytest.mark.parametrize("source", ["i_words", "i_reply"])
def test_start_bit_comes_as_soon_as_documented(divisor, source):
    latencies = []
    for phase in range(divisor):
        dut = FrameTransmitter(divisor=divisor)

        async def testbench(ctx, dut=dut, phase=phase):
            await ctx.tick().repeat(30 + phase)
            ctx.set(getattr(dut, source).valid, 1)
            clocks = 0
            while ctx.get(dut.tx):
                await ctx.tick()
                clocks += 1
            latencies.append(clocks)

        streams.run(dut, testbench)
    assert max(latencies) == divisor + 1


def test_words_are_taken_when_their_last_bit_is_sent_and_replies_with_their_frame():
    """Until then the payload may be looked at: nothing of it is kept."""
    dut = FrameTransmitter(divisor=4)
    taken = []

    async def testbench(ctx):
        ctx.set(dut.result_words, 1)
        ctx.set(dut.i_reply.valid, 1)
        ctx.set(dut.i_reply.payload, ErrorCode.OVERRUN)
        while ctx.get(dut.tx):
            await ctx.tick()
        for clock in range(8 * 40 + 1):
            if ctx.get(dut.i_reply.ready):
                taken.append(clock)
            await ctx.tick()

    streams.run(dut, testbench)
    # The last data bit of the eighth character is on the line a clock after its transfer: in the clock of this one.
    assert taken == [7 * 40 + 8 * 4]


def test_parameters_are_checked():
    with pytest.raises(ValueError, match=r"^divisor must be at least 4, not 3$"):
        FrameTransmitter(divisor=3)
    with pytest.raises(TypeError, match=r"^divisor must be an integer, not None$"):
        FrameTransmitter(divisor=None)
