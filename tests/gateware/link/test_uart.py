# amaranth: UnusedElaboratable=no
import itertools
import math
import random

import pytest

from gateware.link.uart import UartReceiver, UartTransmitter
from tests import streams
from tests.twins.uart import Character
from tests.twins.uart import receive as receive_in_software

SEED = 0x33
DATA = bytes((0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80)) + random.Random(SEED).randbytes(10)


def receive(divisor, data, *, clocks_per_bit=None, stop_bits=1, phase=0):
    """Run a receiver; return its characters and errors."""
    dut = UartReceiver(divisor)
    characters, errors = bytearray(), 0

    async def line(ctx):
        for _ in range(5 + phase):
            await ctx.tick()
        await streams.send_characters(ctx, dut.rx, data, clocks_per_bit=clocks_per_bit or divisor, stop_bits=stop_bits)
        for _ in range(divisor + 5):
            await ctx.tick()

    async def monitor(ctx):
        nonlocal errors
        async for _, _, received, error, character in ctx.tick().sample(dut.received, dut.error, dut.data):
            if received:
                characters.append(character)
            errors += error

    from amaranth.sim import Simulator

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(line)
    sim.add_process(monitor)
    sim.run()
    return bytes(characters), errors


@pytest.mark.parametrize("divisor", [4, 5, 16, 48])
@pytest.mark.parametrize("stop_bits", [1, 3])
def test_receiver_takes_characters_back_to_back_or_not(divisor, stop_bits):
    assert receive(divisor, DATA, stop_bits=stop_bits) == (DATA, 0)


@pytest.mark.parametrize("factor", [0.98, 1.02, 0.96, 1.04])
@pytest.mark.parametrize("phase", [0, 3])
def test_receiver_tolerates_a_host_that_is_fast_or_slow(factor, phase):
    assert receive(16, DATA, clocks_per_bit=16 * factor, phase=phase) == (DATA, 0)


def test_receiver_reports_a_missing_stop_bit_and_recovers():
    dut = UartReceiver(16)
    events = []

    async def line(ctx):
        ctx.set(dut.rx, 0)
        for _ in range(16 * 9 + 14):
            await ctx.tick()
        ctx.set(dut.rx, 1)
        for _ in range(40):
            await ctx.tick()
        await streams.send_characters(ctx, dut.rx, b"\x5a", clocks_per_bit=16)
        for _ in range(20):
            await ctx.tick()

    async def monitor(ctx):
        for _ in range(16 * 9 + 14 + 40 + 160 + 20):
            await ctx.tick()
            if ctx.get(dut.received) or ctx.get(dut.error):
                events.append((ctx.get(dut.error), ctx.get(dut.data)))

    streams.run(dut, line, monitor)
    assert events == [(1, 0), (0, 0x5A)]


def random_line(rng, divisor):
    """Edges of a line: characters, off their rate or not, pulses, levels of any length, and what is between them."""
    edges, clock = [], 10.0
    for _ in range(12):
        rate = divisor * rng.choice((1, 1, rng.uniform(0.8, 1.2)))
        if rng.random() < 0.5:
            byte = rng.randrange(256)
            levels = (0, *((byte >> bit & 1) for bit in range(8)), rng.random() < 0.7)
            lengths = [rate] * 10
        else:
            levels = [number % 2 for number in range(rng.choice((1, 3, 7)))]
            lengths = [rng.choice((1, divisor / 2, divisor, 9 * divisor, 25 * divisor)) * rng.uniform(0.7, 1.5)
                       for _ in levels]
        for level, length in zip(levels, lengths, strict=True):
            if level == len(edges) % 2:
                edges.append(int(clock))
            clock += max(1, length)
        if len(edges) % 2:
            edges.append(int(clock))
            clock += 1
        clock += rng.choice((0, 0, 1, divisor / 2, 30)) * rng.random()
    return edges


@pytest.mark.parametrize("divisor", [4, 5, 8, 16])
def test_receiver_makes_the_same_of_any_line_as_its_twin(divisor):
    rng = random.Random(f"{SEED} {divisor}")
    found = []
    for _ in range(48 // divisor):
        dut, events, sampled = UartReceiver(divisor), [], []
        edges = random_line(rng, divisor)

        async def line(ctx, dut=dut, edges=edges, events=events, sampled=sampled):
            left = list(edges)
            for clock in range(edges[-1] + 12 * divisor):
                while left and left[0] == clock:
                    ctx.set(dut.rx, len(left) % 2)
                    left.pop(0)
                if ctx.get(dut.bit_stb):
                    sampled.append(clock)
                if ctx.get(dut.received) or ctx.get(dut.error):
                    events.append(Character(ctx.get(dut.data), not ctx.get(dut.error), sampled[-8], clock))
                await ctx.tick()

        streams.run(dut, line, deadline_cycles=20_000)
        assert events == receive_in_software(edges, divisor)
        found += events
    assert {character.stop_bit for character in found} == {False, True}
    assert len(found) > 20


@pytest.mark.parametrize("divisor", [4, 5, 16])
@pytest.mark.parametrize("low", [0.5, 0.75, 1])
@pytest.mark.parametrize("gap", [0, 0.5, 1, 3])
def test_a_low_stop_bit_neither_loses_nor_invents_a_character(divisor, low, gap):
    """The stop bit is low for some of its length, then the next character comes, at once or later."""
    dut = UartReceiver(divisor)
    events = []
    data = b"\x5a\xa5\x00\xff\x0f"
    lengths = (math.ceil(divisor * low), divisor - math.ceil(divisor * low) + int(divisor * gap))

    async def line(ctx):
        await ctx.tick().repeat(5)
        for byte in data:
            for bit in (0, *((byte >> n & 1) for n in range(8))):
                ctx.set(dut.rx, bit)
                await ctx.tick().repeat(divisor)
            for level, clocks in zip((0, 1), lengths, strict=True):
                ctx.set(dut.rx, level)
                for _ in range(clocks):
                    await ctx.tick()
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(15 * divisor)

    async def monitor(ctx):
        for _ in range(5 + len(data) * (9 * divisor + sum(lengths)) + 15 * divisor):
            await ctx.tick()
            if ctx.get(dut.received) or ctx.get(dut.error):
                events.append((ctx.get(dut.error), ctx.get(dut.data)))

    streams.run(dut, line, monitor)
    assert events == [(1, byte) for byte in data]


@pytest.mark.parametrize("bits", [11, 19.5, 30, 47])
def test_after_a_break_the_next_character_is_right(bits):
    dut = UartReceiver(8)
    events = []

    async def line(ctx):
        ctx.set(dut.rx, 0)
        await ctx.tick().repeat(int(8 * bits))
        ctx.set(dut.rx, 1)
        await ctx.tick().repeat(8 * 10)
        await streams.send_characters(ctx, dut.rx, b"\x5a", clocks_per_bit=8)
        await ctx.tick().repeat(8)

    async def monitor(ctx):
        for _ in range(int(8 * bits) + 8 * 21):
            await ctx.tick()
            if ctx.get(dut.received) or ctx.get(dut.error):
                events.append((ctx.get(dut.error), ctx.get(dut.data)))

    streams.run(dut, line, monitor)
    assert events[-1] == (0, 0x5A)
    # A character each ten bits; the last one may have some of the line that is high again.
    assert [error for error, _ in events[:-2]] == [1] * (len(events) - 2)
    assert len(events) - 1 == -(-(bits - 0.5) // 10)


def test_receiver_ignores_a_glitch():
    dut = UartReceiver(16)

    async def testbench(ctx):
        ctx.set(dut.rx, 0)
        for _ in range(5):
            await ctx.tick()
        ctx.set(dut.rx, 1)
        for _ in range(200):
            await ctx.tick()
            assert not ctx.get(dut.received)
            assert not ctx.get(dut.error)

    streams.run(dut, testbench)


@pytest.mark.parametrize("divisor", [4, 7, 48])
def test_receiver_latency_is_as_documented(divisor):
    dut = UartReceiver(divisor)

    async def line(ctx):
        await streams.send_characters(ctx, dut.rx, b"\xa7", clocks_per_bit=divisor, stop_bits=3)

    async def monitor(ctx):
        for _ in range(9 * divisor + (divisor - 1) // 2 + 2):
            assert not ctx.get(dut.received)
            await ctx.tick()
        assert ctx.get(dut.received)
        assert ctx.get(dut.data) == 0xA7

    streams.run(dut, line, monitor)
    assert UartReceiver.latency_of(divisor) == 9 * divisor + (divisor - 1) // 2 + 2


def test_data_outlives_the_character_by_a_bit_and_a_half():
    dut = UartReceiver(4)

    async def line(ctx):
        await streams.send_characters(ctx, dut.rx, b"\x00\xff", clocks_per_bit=4)

    async def monitor(ctx):
        while not ctx.get(dut.received):
            await ctx.tick()
        for _ in range(7):
            assert ctx.get(dut.data) == 0x00
            await ctx.tick()

    streams.run(dut, line, monitor)


def send(divisor, data, *, gap=0, clocks_per_bit=None):
    """Run a transmitter whose producer pauses for ``gap`` clocks between characters; return what the line says."""
    dut = UartTransmitter(divisor)
    result = b""

    async def producer(ctx):
        for character in data:
            for _ in range(gap):
                await ctx.tick()
            ctx.set(dut.i.valid, 1)
            for bit in range(8):
                ctx.set(dut.i.payload, character >> bit & 1)
                (position,) = await ctx.tick().sample(dut.position).until(dut.i.ready)
                assert position == bit
            ctx.set(dut.i.valid, 0)

    async def consumer(ctx):
        nonlocal result
        result = await streams.receive_characters(ctx, dut.tx, len(data), clocks_per_bit=clocks_per_bit or divisor)

    streams.run(dut, producer, consumer, deadline_cycles=20 * (divisor + gap) * len(data))
    return result


@pytest.mark.parametrize("divisor", [4, 5, 16, 48])
@pytest.mark.parametrize("gap", [0, 13])
def test_transmitter_sends_what_it_is_given(divisor, gap):
    assert send(divisor, DATA, gap=gap) == DATA


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_a_host_that_is_fast_or_slow_understands(factor):
    assert send(16, DATA, clocks_per_bit=16 * factor) == DATA


@pytest.mark.parametrize("divisor", [4, 16])
def test_transmitter_sends_a_character_in_ten_bits(divisor):
    dut = UartTransmitter(divisor)
    starts = []

    async def testbench(ctx):
        ctx.set(dut.i.valid, 1)  # zeros: only the stop bit is high
        before, clock = 1, 0
        while len(starts) < 4:
            await ctx.tick()
            clock += 1
            level = ctx.get(dut.tx)
            if before and not level:
                starts.append(clock)
            before = level
        assert starts[0] <= divisor + 1

    streams.run(dut, testbench)
    assert [b - a for a, b in itertools.pairwise(starts)] == [10 * divisor] * 3


def test_idle_line_is_high_and_ticks_go_on():
    dut = UartTransmitter(5)

    async def testbench(ctx):
        ticks = 0
        for _ in range(50):
            assert ctx.get(dut.tx) == 1
            ticks += ctx.get(dut.tick)
            await ctx.tick()
        assert ticks == 10

    streams.run(dut, testbench)


@pytest.mark.parametrize("component", [UartReceiver, UartTransmitter])
def test_divisor_is_checked(component):
    with pytest.raises(ValueError, match=r"^divisor must be at least 4, not 3$"):
        component(3)
    with pytest.raises(TypeError, match=r"^divisor must be an integer, not 4\.5$"):
        component(4.5)
