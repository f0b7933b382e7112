import random
import zlib

import pytest

from gateware.flash.crc32 import Crc32Check
from tests import streams

SEED = 0x32


def crc_of(data):
    return zlib.crc32(data).to_bytes(4, "little")


async def feed(ctx, dut, data, rng, *, checking=False, slowest=5):
    """Send bytes; without ``double`` the upper half stays a clock longer, and the rest of it does not."""
    for byte in data:
        ctx.set(dut.byte, byte)
        ctx.set(dut.checking, checking)
        ctx.set(dut.valid, 1)
        await ctx.tick()
        ctx.set(dut.valid, 0)
        if dut.double:
            ctx.set(dut.byte, rng.getrandbits(8))
        else:
            ctx.set(dut.byte, byte & 0xF0 | rng.getrandbits(4))
            ctx.set(dut.checking, rng.getrandbits(1))
            await ctx.tick()
            ctx.set(dut.byte, rng.getrandbits(8))
        ctx.set(dut.checking, rng.getrandbits(1))
        for _ in range(rng.randrange(slowest)):
            await ctx.tick()


MESSAGES = [b"", b"\0", b"\xff" * 9, b"123456789", *(random.Random(SEED + size).randbytes(size) for size in (1, 2, 60))]


@pytest.mark.parametrize("slowest", [1, 5])
@pytest.mark.parametrize("double", [False, True])
def test_data_with_their_crc_are_not_wrong(double, slowest):
    dut = Crc32Check(double=double)
    rng = random.Random(SEED)

    async def testbench(ctx):
        for data in MESSAGES * 2:
            await feed(ctx, dut, data, rng, slowest=slowest)
            await feed(ctx, dut, crc_of(data), rng, checking=True, slowest=slowest)
            assert not ctx.get(dut.wrong), data

    streams.run(dut, testbench)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("place", range(9, 13))
@pytest.mark.parametrize("bit", [1, 6])
def test_a_wrong_bit_of_the_crc_is_told_at_its_byte(place, bit, double):
    dut = Crc32Check(double=double)
    rng = random.Random(SEED)
    data = bytearray(b"123456789" + crc_of(b"123456789"))
    data[place] ^= 1 << bit

    async def testbench(ctx):
        await feed(ctx, dut, data[:9], rng, slowest=1)
        await feed(ctx, dut, data[9:place], rng, checking=True, slowest=1)
        assert not ctx.get(dut.wrong)
        await feed(ctx, dut, data[place : place + 1], rng, checking=True, slowest=1)
        assert ctx.get(dut.wrong)
        await feed(ctx, dut, data[place + 1:], rng, checking=True, slowest=1)
        await feed(ctx, dut, b"next" + bytes(5), rng)
        assert ctx.get(dut.wrong)

    streams.run(dut, testbench)


@pytest.mark.parametrize("double", [False, True])
def test_every_flipped_byte_is_found(double):
    rng = random.Random(SEED)
    good = rng.randbytes(24)

    for place in range(24):
        dut = Crc32Check(double=double)
        data = bytearray(good)
        data[place] ^= rng.randrange(1, 256)

        async def testbench(ctx, dut=dut, data=data):
            await feed(ctx, dut, data, rng, slowest=1)
            await feed(ctx, dut, crc_of(good), rng, checking=True, slowest=1)
            await ctx.tick()
            assert ctx.get(dut.wrong)

        streams.run(dut, testbench)
