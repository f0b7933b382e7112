# amaranth: UnusedElaboratable=no
import random
import re

import pytest

from arch.link import ErrorCode
from gateware.embedded.image_gate import ImageGate
from tests import streams
from tests.twins.embedded import image_events


def events_of(packets, *, size, rng, full=0.0, slow=0.0, patient=True, accept=lambda clock: True):
    """Send packets through a gate; return what happens at its outputs, in order."""
    dut = ImageGate(image_bytes=size, patient=patient)
    events, ended = [], []

    async def send(ctx):
        for packet in packets:
            for place, byte in enumerate(packet):
                while rng.random() < slow:
                    await ctx.tick()
                await streams.put(ctx, dut.i, {"data": byte, "last": place == len(packet) - 1})
        for _ in range(20):
            await ctx.tick()
        ended.append(True)

    async def watch(ctx):
        clock = 0
        while not ended:
            ctx.set(dut.accept, accept(clock))
            ctx.set(dut.o_pixels.ready, rng.random() >= full)
            ctx.set(dut.o_refusals.ready, rng.random() >= full)
            await ctx.delay(1e-8)
            strobes = [name for name in ("begin", "commit", "abort") if ctx.get(getattr(dut, name))]
            assert len(strobes) <= 1
            events.extend(strobes)
            if ctx.get(dut.begin):
                assert ctx.get(dut.accept)
            if ctx.get(dut.o_pixels.valid) and ctx.get(dut.o_pixels.ready):
                events.append(ctx.get(dut.o_pixels.payload))
            if ctx.get(dut.o_refusals.valid) and ctx.get(dut.o_refusals.ready):
                events.append(ErrorCode(ctx.get(dut.o_refusals.payload)))
            await ctx.tick()
            clock += 1

    streams.run(dut, send, watch, deadline_cycles=100_000)
    return events


@pytest.mark.parametrize(("full", "slow"), [(0, 0), (0.6, 0), (0, 0.6), (0.4, 0.4)])
@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_packets_of_any_length_are_images_or_refused(size, full, slow):
    rng = random.Random(f"{size} {full} {slow}")
    lengths = [size, 1, size, *(rng.randrange(1, 3 * size + 2) for _ in range(20)), size, 2 * size, size]
    packets = [[rng.randrange(256) for _ in range(length)] for length in lengths]
    assert events_of(packets, size=size, rng=rng, full=full, slow=slow) == image_events(packets, size)


def test_a_patient_gate_waits_for_a_buffer():
    packets = [[1, 2, 3], [4, 5, 6]]
    events = events_of(packets, size=3, rng=random.Random(1), accept=lambda clock: clock % 50 > 45)
    assert events == image_events(packets, 3)


def test_an_impatient_gate_refuses_what_comes_too_early():
    packets = [[1, 2, 3], [4, 5, 6], [7, 8], [9, 10, 11]]
    # The first packet ends in clock 4 or so, the others begin while there is no buffer.
    events = events_of(packets, size=3, rng=random.Random(1), patient=False, accept=lambda clock: clock < 3)
    assert events == [*image_events(packets[:1], 3), *[ErrorCode.BUSY] * 3]


def test_a_packet_costs_two_clocks_more_than_its_bytes():
    dut = ImageGate(image_bytes=4)
    seen = []

    async def send(ctx):
        ctx.set(dut.accept, 1)
        ctx.set(dut.o_pixels.ready, 1)
        ctx.set(dut.i.valid, 1)
        for clock in range(18):
            ctx.set(dut.i.p.last, len(seen) % 4 == 3)
            if ctx.get(dut.i.ready):
                seen.append(clock)
            await ctx.tick()

    streams.run(dut, send)
    assert seen == [1, 2, 3, 4, 7, 8, 9, 10, 13, 14, 15, 16]


def test_no_bytes_are_no_image():
    message = "image_bytes must be at least 1, not 0"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ImageGate(image_bytes=0)
