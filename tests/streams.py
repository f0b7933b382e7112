"""Helpers for Amaranth testbenches: streams, and characters on a UART line."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from amaranth.sim import Simulator

__all__ = ["get", "put", "receive_characters", "run", "send_characters"]


async def put(ctx: Any, stream: Any, payload: Any) -> None:
    """Transfer one payload into ``stream``."""
    ctx.set(stream.payload, payload)
    ctx.set(stream.valid, 1)
    await ctx.tick().until(stream.ready)
    ctx.set(stream.valid, 0)


async def get(ctx: Any, stream: Any) -> Any:
    """Transfer one payload out of ``stream`` and return it."""
    ctx.set(stream.ready, 1)
    (payload,) = await ctx.tick().sample(stream.payload).until(stream.valid)
    ctx.set(stream.ready, 0)
    return payload


async def send_characters(
    ctx: Any, line: Any, characters: Iterable[int], *, clocks_per_bit: float, stop_bits: int = 1
) -> None:
    """Drive 8N1 characters on ``line``, one bit in ``clocks_per_bit`` clocks (a fraction is accumulated)."""
    position = 0.0
    clock = 0
    for character in characters:
        bits = (0, *((character >> bit & 1) for bit in range(8)), *(1,) * stop_bits)
        for bit in bits:
            ctx.set(line, bit)
            position += clocks_per_bit
            while clock < round(position):
                await ctx.tick()
                clock += 1


async def receive_characters(
    ctx: Any, line: Any, count: int, *, clocks_per_bit: float, limit_cycles: int = 100_000
) -> bytes:
    """Receive ``count`` 8N1 characters from ``line``; fail on a framing error or after ``limit_cycles``.

    Fewer characters are returned when the line stays idle until the limit.
    """
    characters = bytearray()
    clock = 0
    while len(characters) < count:
        while ctx.get(line):
            await ctx.tick()
            clock += 1
            if clock >= limit_cycles:
                return bytes(characters)
        start = clock
        value = 0
        for bit in range(10):
            while clock < start + int((bit + 0.5) * clocks_per_bit):
                await ctx.tick()
                clock += 1
            level = ctx.get(line)
            if bit == 0:
                assert level == 0, "start bit is shorter than half a bit"
            elif bit == 9:
                assert level == 1, f"character {len(characters)} has no stop bit"
            else:
                value |= level << (bit - 1)
        characters.append(value)
    return bytes(characters)


def run(dut: Any, *testbenches: Any, deadline_cycles: int = 10_000, vcd: Path | None = None) -> None:
    """Simulate until every testbench finishes; fail if ``deadline_cycles`` pass first.

    A waveform is written only if ``vcd`` names a file.
    """

    async def watchdog(ctx: Any) -> None:
        for _ in range(deadline_cycles):
            await ctx.tick()
        raise TimeoutError(f"testbenches still running after {deadline_cycles} cycles")

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    sim.add_testbench(watchdog, background=True)
    if vcd is None:
        sim.run()
    else:
        with sim.write_vcd(str(vcd)):
            sim.run()
