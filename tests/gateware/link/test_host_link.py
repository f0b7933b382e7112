# amaranth: UnusedElaboratable=no
"""HostLink in Amaranth's simulator: what passes between its ports, clock by clock. Long runs are in Verilator."""

import functools
import random

import pytest

from arch.link import Command, ErrorCode, Frame, FrameReader, InfoReply, LinkCounters, Reply
from gateware.link.host_link import HostLink
from tests import streams
from tests.link_board import make_info

SEED = 0x44
DIVISOR = 4
INFO = make_info()
SIZE = INFO.image_bytes
WORDS = INFO.result_words


class Bench:
    """A HostLink with a scripted host and a scripted core."""

    def __init__(self, *, divisor=DIVISOR, timeout_bits=256, clocks_per_bit=None):
        self.dut = HostLink(divisor=divisor, info=INFO.to_bytes(), timeout_bits=timeout_bits)
        self.divisor = divisor
        self.clocks_per_bit = clocks_per_bit or divisor
        self.pixels = bytearray()
        self.strobes = []
        self.frames = []

    def run(
        self, host, *, results=(), stall=0, accept=lambda bench: True, gap=0, refuse=lambda bench: False, clocks=8000,
        beside=None,
    ):
        """Run ``host(ctx, bench)`` for ``clocks``; the core answers each commit with the next of ``results``.

        ``beside(ctx, clocks)`` is one more testbench.
        """
        dut, divisor = self.dut, self.divisor

        async def line(ctx):
            ctx.set(dut.image_bytes, SIZE)
            ctx.set(dut.result_words, WORDS)
            for _ in range(20):
                await ctx.tick()
            await host(ctx, self)

        async def core(ctx):
            waited = 0
            for _ in range(clocks):
                ctx.set(dut.accept, accept(self))
                ready = ctx.get(dut.o_pixels.valid) and waited >= stall and not refuse(self)
                ctx.set(dut.o_pixels.ready, ready)
                if ready:
                    self.pixels.append(ctx.get(dut.o_pixels.payload))
                waited = waited + 1 if ctx.get(dut.o_pixels.valid) and not ready else 0
                for name in ("begin", "commit", "abort"):
                    if ctx.get(getattr(dut, name)):
                        self.strobes.append((name, len(self.pixels)))
                await ctx.tick()

        async def answer(ctx):
            for index, words in enumerate(results):
                while sum(name == "commit" for name, _ in self.strobes) <= index:
                    await ctx.tick()
                for number, word in enumerate(words):
                    for _ in range(gap):
                        await ctx.tick()
                    await streams.put(ctx, dut.i_words, {"word": word, "last": number == len(words) - 1})

        async def listen(ctx):
            data = await streams.receive_characters(
                ctx, dut.tx, 10_000, clocks_per_bit=self.clocks_per_bit, limit_cycles=clocks
            )
            self.frames = FrameReader().feed(data)
            assert b"".join(frame.to_bytes() for frame in self.frames) == data, "bytes outside of frames"

        others = [] if beside is None else [functools.partial(beside, clocks=clocks)]
        streams.run(dut, *others, line, core, answer, listen, deadline_cycles=2 * clocks)
        assert divisor == dut.divisor
        return self

    async def send(self, ctx, data, **options):
        await streams.send_characters(ctx, self.dut.rx, data, **{"clocks_per_bit": self.clocks_per_bit} | options)


def make_images(count, seed=SEED):
    rng = random.Random(seed)
    return [rng.randbytes(SIZE) for _ in range(count)]


def make_words(seed):
    rng = random.Random(seed)
    return [rng.getrandbits(32) for _ in range(WORDS)]


def classify(image, tag=1):
    return Frame(command=Command.CLASSIFY, tag=tag, payload=image).to_bytes()


def result_frame(words, tag):
    return Frame(command=Reply.RESULT, tag=tag, payload=b"".join(word.to_bytes(4, "little") for word in words))


def error_frame(code, tag):
    return Frame(command=Reply.ERROR, tag=tag, payload=bytes((code,)))




def info_frame(tag=9, info=INFO, **faults):
    return Frame(command=Reply.INFO, tag=tag, payload=InfoReply(info=info, counters=LinkCounters(**faults)).to_bytes())


INFO_REPLY = info_frame()
ASK_INFO = Frame(command=Command.INFO, tag=9).to_bytes()
ACCEPTED = [("begin", 0), ("commit", SIZE)]


def send_all(*frames):
    async def host(ctx, bench):
        for frame in frames:
            await bench.send(ctx, frame)

    return host


@pytest.mark.parametrize(("divisor", "clocks"), [(4, 3500), (16, 14_000)])
@pytest.mark.parametrize("factor", [0.98, 1, 1.02])
def test_image_becomes_result(divisor, clocks, factor):
    if divisor == 4 and factor != 1:
        pytest.skip("four clocks per bit leave no margin")
    bench = Bench(divisor=divisor, clocks_per_bit=divisor * factor)
    (image,) = make_images(1)
    bench.run(send_all(classify(image, tag=0x5A)), results=[make_words(1)], clocks=clocks)
    assert bytes(bench.pixels) == image
    assert bench.strobes == ACCEPTED
    assert bench.frames == [result_frame(make_words(1), 0x5A)]


@pytest.mark.parametrize("image", [bytes(SIZE), b"\xff" * SIZE, b"\xa5" * SIZE])
def test_extreme_images_and_results(image):
    bench = Bench().run(send_all(classify(image)), results=[[0xFFFFFFFF, 0] * 3 + [0xFFFFFFFF]], clocks=3500)
    assert bytes(bench.pixels) == image
    assert bench.frames == [result_frame([0xFFFFFFFF, 0] * 3 + [0xFFFFFFFF], 1)]


def test_info_is_answered_at_the_real_divisor():
    bench = Bench(divisor=48).run(send_all(ASK_INFO), clocks=48 * 10 * 90)
    assert bench.frames == [INFO_REPLY]
    assert bench.strobes == []


def test_two_images_may_be_outstanding_and_keep_their_tags():
    images = make_images(3)
    bench = Bench()

    async def host(ctx, bench):
        await bench.send(ctx, classify(images[0], 0x10) + classify(images[1], 0xFE))
        while len([name for name, _ in bench.strobes if name == "commit"]) < 2:
            await ctx.tick()
        for _ in range(1400):
            await ctx.tick()
        await bench.send(ctx, classify(images[2], 0x10))

    bench.run(host, results=[make_words(n) for n in range(3)], gap=25, clocks=9000)
    assert bytes(bench.pixels) == b"".join(images)
    assert bench.frames == [result_frame(make_words(n), tag) for n, tag in enumerate((0x10, 0xFE, 0x10))]


def test_info_waits_for_a_result_in_progress():
    (image,) = make_images(1)
    bench = Bench()

    async def host(ctx, bench):
        await bench.send(ctx, classify(image, 3))
        for _ in range(200):
            await ctx.tick()
        await bench.send(ctx, ASK_INFO)

    bench.run(host, results=[make_words(5)], clocks=6000)
    assert bench.frames == [result_frame(make_words(5), 3), INFO_REPLY]


def test_second_control_reply_is_dropped_while_one_waits():
    bench = Bench().run(send_all(ASK_INFO, Frame(command=Command.INFO, tag=2).to_bytes()), clocks=5000)
    assert bench.frames == [INFO_REPLY]


def test_slow_words_and_a_slow_host_change_nothing():
    (image,) = make_images(1)
    bench = Bench()

    async def host(ctx, bench):
        for byte in classify(image, 8):
            await bench.send(ctx, bytes((byte,)))
            for _ in range(37):
                await ctx.tick()

    bench.run(host, results=[make_words(6)], gap=100, stall=5, clocks=7000)
    assert bytes(bench.pixels) == image
    assert bench.frames == [result_frame(make_words(6), 8)]


def test_garbage_before_the_sync_byte_is_skipped():
    rng = random.Random(SEED)
    garbage = bytes(rng.choice([b for b in range(256) if b != 0xA5]) for _ in range(30))
    bench = Bench().run(send_all(garbage, ASK_INFO), clocks=6000)
    assert bench.frames == [INFO_REPLY]


@pytest.mark.parametrize("seed", range(4))
def test_after_any_garbage_and_the_silence_a_request_is_answered(seed):
    """Garbage may hold headers: sync bytes are many in it, frames that it begins have no end."""
    rng = random.Random(f"{SEED} {seed}")
    bench = Bench(timeout_bits=64)
    garbage = bytes(rng.choice([0xA5, rng.randrange(4), rng.randrange(256)]) for _ in range(60))

    async def host(ctx, bench):
        await bench.send(ctx, garbage)
        await ctx.tick().repeat(66 * DIVISOR + 8 * 10 * DIVISOR)
        await bench.send(ctx, Frame(command=Command.INFO, tag=0x99).to_bytes())

    bench.run(host, clocks=8000)
    assert (bench.frames[-1].command, bench.frames[-1].tag) == (Reply.INFO, 0x99)
    assert all(frame.command == Reply.ERROR for frame in bench.frames[:-1])
    assert bench.frames[-1].payload[:64] == INFO.to_bytes()


def test_info_tells_the_faults_of_the_line():
    images = make_images(3)
    damaged = bytearray(classify(images[0], 4))
    damaged[9] ^= 1
    bench = Bench(timeout_bits=64)
    state = {"refuse": False}

    async def host(ctx, bench):
        for _ in range(2):
            await bench.send(ctx, bytes(damaged))
            await ctx.tick().repeat(500)
        state["refuse"] = True
        await bench.send(ctx, classify(images[1], 5))
        await ctx.tick().repeat(500)
        await bench.send(ctx, classify(images[2], 6)[:3])
        await ctx.tick().repeat(70 * DIVISOR)
        await bench.send(ctx, ASK_INFO)

    bench.run(host, refuse=lambda bench: state["refuse"], clocks=10_000)
    assert bench.frames == [*[error_frame(ErrorCode.BAD_CRC, 4)] * 2, error_frame(ErrorCode.OVERRUN, 5),
                            info_frame(bad_frames=2, overruns=1, aborted_frames=1)]


@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize("gap", [0, 3])
def test_a_frame_that_a_low_stop_bit_hits_is_answered(at, gap):
    """Wherever it is: as a bad CRC, and behind the sync byte, which no CRC covers, as what it is."""
    bench = Bench()

    async def host(ctx, bench):
        await bench.send(ctx, ASK_INFO[:at])
        for bit in (0, *((ASK_INFO[at] >> n & 1) for n in range(8)), 0):
            ctx.set(bench.dut.rx, bit)
            await ctx.tick().repeat(DIVISOR)
        ctx.set(bench.dut.rx, 1)
        if gap:
            await ctx.tick().repeat(gap * DIVISOR)
        await bench.send(ctx, ASK_INFO[at + 1:])

    bench.run(host, clocks=4000 if at == 0 else 1000)
    assert bench.frames == [INFO_REPLY if at == 0 else error_frame(ErrorCode.BAD_CRC, 9)]


@pytest.mark.parametrize("at", [1, 3, 5, SIZE + 4, SIZE + 5, SIZE + 6])
def test_damaged_image_is_reported_and_the_next_one_accepted(at):
    images = make_images(2)
    damaged = bytearray(classify(images[0], 4))
    damaged[at] ^= 0x20 if at != 3 else 0x01
    bench = Bench()

    async def host(ctx, bench):
        await bench.send(ctx, bytes(damaged))
        for _ in range(1500):
            await ctx.tick()
        await bench.send(ctx, classify(images[1], 5))

    bench.run(host, results=[make_words(7)], clocks=6000)
    begun = at >= 5
    # A length that is one too large takes the silence as its end, one too small a byte of the payload as its CRC.
    assert bench.frames == ([] if at == 3 else [error_frame(ErrorCode.BAD_CRC, 4)]) + [result_frame(make_words(7), 5)]
    assert [name for name, _ in bench.strobes] == (["begin", "abort"] if begun else []) + ["begin", "commit"]
    assert bytes(bench.pixels[-SIZE:]) == images[1]


def test_missing_stop_bit_is_a_bad_crc():
    images = make_images(2)
    bench = Bench()

    async def host(ctx, bench):
        frame = classify(images[0], 4)
        await bench.send(ctx, frame[:10])
        byte = frame[10]
        for bit in (0, *((byte >> n & 1) for n in range(8)), 0):
            ctx.set(bench.dut.rx, bit)
            await ctx.tick().repeat(DIVISOR)
        ctx.set(bench.dut.rx, 1)
        await ctx.tick().repeat(60)
        await bench.send(ctx, frame[11:])
        await ctx.tick().repeat(1500)
        await bench.send(ctx, classify(images[1], 5))

    bench.run(host, results=[make_words(7)], clocks=7000)
    assert bench.frames == [error_frame(ErrorCode.BAD_CRC, 4), result_frame(make_words(7), 5)]
    assert [name for name, _ in bench.strobes] == ["begin", "abort", "begin", "commit"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(command=Command.CLASSIFY, tag=6, payload=bytes(SIZE - 1)), ErrorCode.WRONG_LENGTH),
        (Frame(command=Command.CLASSIFY, tag=6, payload=b"\xa5" * (SIZE + 1)), ErrorCode.WRONG_LENGTH),
        (Frame(command=Command.CLASSIFY, tag=6), ErrorCode.WRONG_LENGTH),
        (Frame(command=Command.CLASSIFY, tag=6, payload=bytes(SIZE + 256)), ErrorCode.WRONG_LENGTH),
        (Frame(command=Command.INFO, tag=6, payload=b"\x01"), ErrorCode.WRONG_LENGTH),
        (Frame(command=0, tag=6), ErrorCode.UNKNOWN_COMMAND),
        (Frame(command=3, tag=6, payload=bytes(SIZE)), ErrorCode.UNKNOWN_COMMAND),
        (Frame(command=Command.SELECT, tag=6, payload=b"\x00"), ErrorCode.UNKNOWN_COMMAND),
        (Frame(command=0x82, tag=6, payload=b"\xa5\x01\x09\x00\x00"), ErrorCode.UNKNOWN_COMMAND),
    ],
)
def test_refused_frames_are_swallowed_and_reported_once(frame, code):
    bench = Bench()

    async def host(ctx, bench):
        await bench.send(ctx, frame.to_bytes())
        await ctx.tick().repeat(500)
        await bench.send(ctx, ASK_INFO)

    bench.run(host, clocks=5500 + 40 * len(frame.payload))
    assert bench.frames == [error_frame(code, 6), INFO_REPLY]
    assert bench.strobes == []
    assert bench.pixels == b""


def test_busy_core_refuses_and_the_payload_is_swallowed():
    images = make_images(2)
    bench = Bench()
    state = {"accept": False}

    async def host(ctx, bench):
        await bench.send(ctx, classify(images[0], 0x21))
        await ctx.tick().repeat(500)
        state["accept"] = True
        await bench.send(ctx, classify(images[1], 0x22))

    bench.run(host, accept=lambda bench: state["accept"], results=[make_words(8)], clocks=5500)
    assert bench.frames == [error_frame(ErrorCode.BUSY, 0x21), result_frame(make_words(8), 0x22)]
    assert bytes(bench.pixels) == images[1]
    assert bench.strobes == ACCEPTED


@pytest.mark.parametrize("refused", [0, 7, SIZE - 1])
def test_overrun_aborts_the_frame_and_is_reported_at_its_end(refused):
    images = make_images(2)
    bench = Bench()
    state = {"refuse": True}

    async def host(ctx, bench):
        await bench.send(ctx, classify(images[0], 0x31))
        await ctx.tick().repeat(500)
        state["refuse"] = False
        await bench.send(ctx, classify(images[1], 0x32))

    bench.run(
        host,
        refuse=lambda bench: state["refuse"] and len(bench.pixels) >= refused,
        results=[make_words(9)],
        clocks=5500,
    )
    assert bench.frames == [error_frame(ErrorCode.OVERRUN, 0x31), result_frame(make_words(9), 0x32)]
    assert bench.strobes[:2] == [("begin", 0), ("abort", refused)]
    assert bytes(bench.pixels) == images[0][:refused] + images[1]


def test_silence_ends_a_frame_without_answer():
    images = make_images(2)
    bench = Bench(timeout_bits=64)

    async def host(ctx, bench):
        await bench.send(ctx, classify(images[0], 4)[:12])
        await ctx.tick().repeat(50 * DIVISOR)  # with the next character 60 bits: not long enough
        await bench.send(ctx, classify(images[0], 4)[12:15])
        await ctx.tick().repeat(70 * DIVISOR)
        await bench.send(ctx, classify(images[1], 5))

    bench.run(host, results=[make_words(7)], clocks=5000)
    assert bench.frames == [result_frame(make_words(7), 5)]
    assert bench.strobes == [("begin", 0), ("abort", 10), ("begin", 10), ("commit", 10 + SIZE)]


def test_commit_latency_is_as_documented():
    (image,) = make_images(1)
    dut = HostLink(divisor=DIVISOR, info=INFO.to_bytes())
    data = classify(image)
    commits = []

    async def host(ctx):
        ctx.set(dut.image_bytes, SIZE)
        ctx.set(dut.accept, 1)
        ctx.set(dut.o_pixels.ready, 1)
        await streams.send_characters(ctx, dut.rx, data, clocks_per_bit=DIVISOR, stop_bits=1)

    async def monitor(ctx):
        for clock in range(10 * DIVISOR * len(data) + 20):
            if ctx.get(dut.commit):
                commits.append(clock)
            await ctx.tick()

    streams.run(dut, host, monitor)
    sampled = 10 * DIVISOR * (len(data) - 1) + 9 * DIVISOR + (DIVISOR - 1) // 2 + 2
    assert commits == [sampled + 3]


def test_parameters_are_checked():
    with pytest.raises(ValueError, match=r"^info must have 64 bytes, not 3$"):
        HostLink(divisor=4, info=bytes(3))
    with pytest.raises(ValueError, match=r"^timeout_bits must be a power of two from 32, not 100$"):
        HostLink(divisor=4, info=INFO.to_bytes(), timeout_bits=100)
    with pytest.raises(TypeError, match=r"^timeout_bits must be an integer, not '64'$"):
        HostLink(divisor=4, info=INFO.to_bytes(), timeout_bits="64")
    with pytest.raises(ValueError, match=r"^divisor must be at least 4, not 2$"):
        HostLink(divisor=2, info=INFO.to_bytes())
