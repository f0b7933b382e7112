import random

import pytest

from arch.link import crc16
from gateware.link.crc import SerialCrc
from tests import streams

SEED = 0x22


async def feed(ctx, dut, data, gap):
    for byte in data:
        for bit in range(8):
            ctx.set(dut.bit, byte >> bit & 1)
            ctx.set(dut.enable, 1)
            await ctx.tick()
            ctx.set(dut.enable, 0)
            ctx.set(dut.bit, 1)
            for _ in range(gap):
                await ctx.tick()


@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 9, b"123456789", random.Random(SEED).randbytes(60)])
def test_matches_the_software_crc(data, gap):
    dut = SerialCrc()

    async def testbench(ctx):
        await feed(ctx, dut, b"\x12", gap)
        ctx.set(dut.clear, 1)
        ctx.set(dut.enable, 1)  # clear takes precedence
        await ctx.tick()
        ctx.set(dut.clear, 0)
        ctx.set(dut.enable, 0)
        await feed(ctx, dut, data, gap)
        assert ctx.get(dut.crc) == crc16(data)
        assert ctx.get(dut.good) == (crc16(data) == 0)
        await feed(ctx, dut, crc16(data).to_bytes(2, "little"), gap)
        assert ctx.get(dut.good)

    streams.run(dut, testbench)


def test_feeding_back_shifts_the_crc_out():
    dut = SerialCrc()

    async def testbench(ctx):
        await feed(ctx, dut, b"tern", 0)
        value = 0
        for bit in range(16):
            value |= ctx.get(dut.crc[0]) << bit
            ctx.set(dut.bit, ctx.get(dut.crc[0]))
            ctx.set(dut.enable, 1)
            await ctx.tick()
        assert value == crc16(b"tern")
        assert ctx.get(dut.good)

    streams.run(dut, testbench)
