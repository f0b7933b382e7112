import dataclasses
import random

import pytest

from gateware.engine.image_writer import ImageWriter
from tests import streams
from tests.circuits import streamed_circuit
from tests.twins.streamed_blocks import image_writes

CONFIGS = {
    "P8-W16-T4": streamed_circuit(lanes=8, width=16, timesteps=4, spike_words=512),
    "P2-W4-T8": streamed_circuit(lanes=2, width=4, timesteps=8, spike_words=512),
    "P1-W8-T3-events": streamed_circuit(lanes=1, width=8, timesteps=3, pixels=False, spike_words=512),
}


def run(config, images, stall=0, gap=0):
    """Write images, (channels, slices, plane words, buffer, bytes) each.

    Returns what is written, (address, lane, T bits), and the clocks from the first byte of the last image to its end.
    """
    dut = ImageWriter(config)
    rng = random.Random(0)
    writes, clocks = [], []

    async def testbench(ctx):
        announced = 0
        for channels, slices, plane_words, buffer, image in images:
            ctx.set(dut.channels, channels - 1)
            ctx.set(dut.slices, slices - 1)
            ctx.set(dut.plane_words, plane_words)
            ctx.set(dut.buffer, buffer)
            ctx.set(dut.begin, 1)
            await ctx.tick()
            ctx.set(dut.begin, 0)
            # The buffer is that of the clock of ``begin``.
            ctx.set(dut.buffer, 1 - buffer)
            clock, waiting, left = 0, 0, [*image]
            while left or waiting:
                if not waiting:
                    waiting = rng.randrange(gap + 1) + 1
                if waiting == 1:
                    ctx.set(dut.i_pixels.payload, left[0])
                    ctx.set(dut.i_pixels.valid, 1)
                else:
                    waiting -= 1
                ctx.set(dut.grant, rng.randrange(stall + 1) == 0)
                assert ctx.get(dut.write) == announced
                announced = ctx.get(dut.write_next)
                if ctx.get(dut.write) and ctx.get(dut.grant):
                    mask = ctx.get(dut.mask)
                    assert mask.bit_count() == 1
                    lane = mask.bit_length() - 1
                    writes.append((ctx.get(dut.address), lane, ctx.get(dut.write_data[lane])))
                taken = ctx.get(dut.i_pixels.ready)
                await ctx.tick()
                clock += 1
                if taken:
                    left.pop(0)
                    waiting = 0
                    ctx.set(dut.i_pixels.valid, 0)
                    ctx.set(dut.i_pixels.payload, rng.getrandbits(8))
            clocks[:] = [clock]

    streams.run(dut, testbench, deadline_cycles=100_000)
    return writes, clocks[0]


def expected(config, images):
    writes = []
    for channels, slices, plane_words, buffer, image in images:
        made = image_writes(config, channels=channels, slices=slices, plane_words=plane_words, image=image,
                            base=buffer * config.spike_words // 2)
        writes += [(word, lane, value) for (word, lane), value in made.items()]
    return writes


def make_image(config, rng, channels, positions, slices, buffer=0):
    words = positions * -(-channels // config.width)
    return channels, slices, words, buffer, [rng.getrandbits(8) for _ in range(positions * channels)]


@pytest.mark.parametrize(("stall", "gap"), [(0, 0), (2, 0), (0, 3), (2, 3)])
@pytest.mark.parametrize("slices", [1, 2])
@pytest.mark.parametrize("name", CONFIGS)
def test_images_are_the_twins(name, slices, stall, gap):
    """Images of one channel up to more than three words of them, in both buffers."""
    config = CONFIGS[name]
    if slices * config.timesteps > 8:
        pytest.skip("a byte has one slice")
    rng = random.Random(1)
    counts = sorted({1, 3, config.width - 1, config.width, config.width + 1, 3 * config.width + 1} - {0})
    images = [make_image(config, rng, channels, 5, slices, buffer=number % 2)
              for number, channels in enumerate(counts)]
    assert run(config, images, stall, gap)[0] == expected(config, images)


def test_64_channels_and_the_largest_word():
    config = dataclasses.replace(CONFIGS["P8-W16-T4"], spike_words=64)
    rng = random.Random(2)
    images = [make_image(config, rng, 64, 8, 2), make_image(config, rng, 64, 4, 2, buffer=1)]
    writes = expected(config, images)
    assert max(address for address, _, _ in writes) == 63
    assert run(config, images)[0] == writes


@pytest.mark.parametrize("slices", [1, 2])
def test_a_byte_takes_its_writes_and_a_clock(slices):
    config = CONFIGS["P8-W16-T4"]
    image = make_image(config, random.Random(3), 3, 9, slices)
    assert run(config, [image])[1] == 27 * (slices + 1)


def test_an_image_that_ends_early_is_forgotten():
    config = CONFIGS["P8-W16-T4"]
    rng = random.Random(4)
    channels, slices, words, buffer, image = make_image(config, rng, 20, 3, 2)
    whole = make_image(config, rng, 3, 4, 2, buffer=1)
    images = [(channels, slices, words, buffer, image[:33]), whole]
    assert run(config, images)[0] == expected(config, images)
