# amaranth: UnusedElaboratable=no

import random

import pytest

from gateware.flash.reader import FlashMode, FlashReader
from tests import streams
from tests.twins.serial_flash import FlashModel, Misuse

#: The clock of the board, and one at which the pauses of the flash take a quarter of the clocks.
BOARD_HZ, SLOW_HZ = 48e6, 12e6
CONTENTS = random.Random(0x14).randbytes(1 << 12)
MODES = list(FlashMode)


class Bench:
    """A reader and a flash, clock by clock."""

    def __init__(self, ctx, dut, flash):
        self.ctx, self.dut, self.flash = ctx, dut, flash
        self.bytes = []
        self.back = [(0, 0)] * (dut.latency - 1)
        self.held = None

    async def tick(self, **levels):
        ctx, dut, bus = self.ctx, self.dut, self.dut.bus
        for name, level in levels.items():
            ctx.set(getattr(dut, name), level)
        self.back.append(self.flash.clock(select=ctx.get(bus.select), sck=ctx.get(bus.sck), lines=ctx.get(bus.o),
                                          drive=ctx.get(bus.drive), quad=ctx.get(bus.quad)))
        byte, valid = ctx.get(dut.byte), ctx.get(dut.valid)
        if self.held is not None:
            assert byte >> 4 == self.held >> 4, "the upper half of a byte must stay for a clock"
        self.held = byte if valid and dut.mode is not FlashMode.DOUBLE else None
        if valid:
            self.bytes.append(byte)
        await ctx.tick()
        first, second = self.back.pop(0)
        if dut.mode is FlashMode.DOUBLE:
            ctx.set(bus.i[0], first)
            ctx.set(bus.i[1], second)
        else:
            ctx.set(bus.i[0], second)
        for name in ("start", "stop"):
            ctx.set(getattr(dut, name), 0)

    async def wake(self):
        for _ in range(3000):
            if self.ctx.get(self.dut.ready) or self.ctx.get(self.dut.failed):
                return
            await self.tick()
        raise AssertionError("neither ready nor failed")

    async def read(self, address, count, runs=lambda: 1):
        """Read ``count`` bytes; return those that came after ``run`` went low."""
        await self.tick(start=1, address=address)
        self.bytes.clear()
        for _ in range(20_000):
            if len(self.bytes) >= count:
                break
            await self.tick(run=runs())
        before = len(self.bytes)
        for _ in range(20):
            await self.tick(run=0)
        late = len(self.bytes) - before
        await self.tick(stop=1)
        return late


def run(body, *, mode, latency=2, clock_hz=SLOW_HZ, **flash):
    """Let a reader and a flash do what ``body`` says; return the flash."""
    dut = FlashReader(mode=mode, clock_hz=clock_hz, latency=latency)
    model = FlashModel(contents=CONTENTS, period=1 / clock_hz, **flash)

    async def testbench(ctx):
        await body(Bench(ctx, dut, model))

    streams.run(dut, testbench, deadline_cycles=30_000)
    return model


@pytest.mark.parametrize(("latency", "clock_hz"), [(1, SLOW_HZ), (2, BOARD_HZ), (3, SLOW_HZ)])
@pytest.mark.parametrize("mode", MODES)
def test_reads_what_the_flash_holds(mode, latency, clock_hz):
    rng = random.Random(latency)

    async def body(bench):
        dut = bench.dut
        await bench.wake()
        assert not bench.ctx.get(dut.failed)
        for address, count, runs in (
                (0, 40, lambda: 1), (0x123, 30, lambda: rng.random() < 0.5), (len(CONTENTS) - 8, 20, lambda: 1),
                (0x7F5, 20, lambda: rng.random() < 0.1)):
            late = await bench.read(address, count, runs)
            assert late <= dut.overrun
            expected = (CONTENTS[address:] + b"\xff" * 64)[:len(bench.bytes)]
            assert bytes(bench.bytes) == expected

    flash = run(body, mode=mode, latency=latency, clock_hz=clock_hz)
    assert flash.commands[:6] == [0xAB, 0x35, 0x50, 0x31, 0x35, {0: 0x0B, 1: 0xEB, 2: 0xED}[mode.value]]


@pytest.mark.parametrize("mode", MODES)
def test_leaves_a_bit_alone_that_the_factory_set(mode):
    async def body(bench):
        await bench.wake()
        await bench.read((1 << 21) + 5, 8)
        assert bytes(bench.bytes[:8]) == CONTENTS[5:13]

    flash = run(body, mode=mode, quad_enabled=True, size=1 << 21)
    assert flash.commands[:2] == [0xAB, 0x35]
    assert 0x31 not in flash.commands


def test_a_flash_that_does_not_answer():
    async def body(bench):
        await bench.wake()
        assert bench.ctx.get(bench.dut.failed)
        assert not bench.ctx.get(bench.dut.ready)
        await bench.tick(start=1)
        for _ in range(300):
            await bench.tick(run=1)
        assert not bench.bytes

    run(body, mode=FlashMode.QUAD, dead=True)


@pytest.mark.parametrize("mode", MODES)
def test_a_read_that_ends_another(mode):
    async def body(bench):
        await bench.wake()
        await bench.tick(start=1, address=0x40)
        for _ in range(250):
            await bench.tick(run=1)
        assert bench.bytes[:8] == list(CONTENTS[0x40:0x48])
        await bench.read(0x300, 16)
        assert bytes(bench.bytes[:16]) == CONTENTS[0x300:0x310]

    run(body, mode=mode, latency=3)


@pytest.mark.parametrize("mode", MODES)
def test_a_read_that_ends_another_within_its_command(mode):
    """A start in each clock from the end of the pause to the first byte, with an address that mixes badly."""
    async def body(bench):
        await bench.wake()
        for clocks in range(60, 115):
            await bench.tick(start=1, address=0x5A5)
            for _ in range(clocks):
                await bench.tick(run=1)
            await bench.read(0xA5A, 4)
            assert bytes(bench.bytes[:4]) == CONTENTS[0xA5A:0xA5E], clocks

    run(body, mode=mode)


def send(flash, *, bits, drive=1, quad=0, lines=None, after=8):
    """Send single bits on line 0, then stay deselected for some clocks."""
    flash.clock(select=1, sck=0, lines=0b1101, drive=drive, quad=quad)
    for place, bit in enumerate(bits):
        flash.clock(select=1, sck=0b10, lines=(0b1100 | bit if lines is None else lines[place]), drive=drive, quad=quad)
    flash.clock(select=1, sck=0, lines=0b1101, drive=drive, quad=quad)
    for _ in range(after):
        flash.clock(select=0, sck=0, lines=0, drive=0, quad=0)


def bits_of(*values):
    return [value >> place & 1 for value in values for place in range(7, -1, -1)]


def awake(flash):
    send(flash, bits=bits_of(0xAB), after=300)


MISUSES = {
    "deep power-down": lambda flash: send(flash, bits=bits_of(0x35)),
    "before the release": lambda flash: [send(flash, bits=bits_of(0xAB)), send(flash, bits=bits_of(0x35))],
    "within an opcode": lambda flash: send(flash, bits=[1, 0, 1]),
    "too early": lambda flash: [send(flash, bits=bits_of(0xAB), after=1), send(flash, bits=bits_of(0xAB))],
    "quad enable bit is clear": lambda flash: [awake(flash), send(flash, bits=bits_of(0xEB))],
    "without 50h": lambda flash: [awake(flash), send(flash, bits=bits_of(0x31, 2))],
    "written with": lambda flash: [awake(flash), send(flash, bits=bits_of(0x50)),
                                   send(flash, bits=[*bits_of(0x31), 0, 0])],
    "both sides drive": lambda flash: [awake(flash),
                                       send(flash, bits=bits_of(0x35, 0), quad=1)],
    "not driven": lambda flash: send(flash, bits=bits_of(0xAB), drive=0),
    "not known": lambda flash: [awake(flash), send(flash, bits=bits_of(0x9F))],
    "WP and HOLD": lambda flash: send(flash, bits=[0], lines=[0b0001]),
    "not selected": lambda flash: flash.clock(select=0, sck=0b10, lines=0, drive=0, quad=0),
    "clock is high": lambda flash: [flash.clock(select=1, sck=0b10, lines=0b1101, drive=1, quad=0),
                                    flash.clock(select=0, sck=0, lines=0, drive=0, quad=0)],
}


@pytest.mark.parametrize("message", MISUSES)
def test_the_model_finds_misuse(message):
    with pytest.raises(Misuse, match=message):
        MISUSES[message](FlashModel(contents=CONTENTS))


def test_the_model_finds_continuous_read_mode():
    flash = FlashModel(contents=CONTENTS, quad_enabled=True)
    awake(flash)
    flash.clock(select=1, sck=0, lines=0b1101, drive=1, quad=0)
    for bit in bits_of(0xEB):
        flash.clock(select=1, sck=0b10, lines=0b1100 | bit, drive=1, quad=0)
    for nibble in (0, 0, 0, 0, 0, 0, 0xA):
        flash.clock(select=1, sck=0b10, lines=nibble, drive=1, quad=1)
    with pytest.raises(Misuse, match="continuous read mode"):
        flash.clock(select=1, sck=0b10, lines=0, drive=1, quad=1)


def test_latency_must_be_positive():
    with pytest.raises(ValueError, match=r"^latency must be at least 1 clock, not 0$"):
        FlashReader(mode=FlashMode.QUAD, clock_hz=BOARD_HZ, latency=0)


def test_a_clock_so_slow_that_a_pause_is_over_before_it_begins_is_refused():
    message = (r"^pause of 4e-06 s must be more than latency \+ 1 = 4 clocks, and is 4 at clock_hz = 1e\+06: use a "
               r"faster clock$")
    with pytest.raises(ValueError, match=message):
        FlashReader(mode=FlashMode.QUAD, clock_hz=1e6, latency=3)
    FlashReader(mode=FlashMode.QUAD, clock_hz=1e6, latency=2)
