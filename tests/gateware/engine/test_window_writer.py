import dataclasses
import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from arch.images import image_bytes
from arch.network import Convolution, Encoding, FullyConnected, Input, Network, OrPool, Readout
from gateware.engine.configuration import EngineConfig
from gateware.engine.window_writer import WindowWriter
from gateware.mapper.choice import map_network
from reference.generate import random_neurons, random_weights
from tests import streams
from tests.twins.blocks import image_clocks, window_words

WIDE = {"accumulator_width": 16, "membrane_width": 30, "weight_rows": 4096, "channel_groups": 64, "spike_words": 1024}
CONFIGS = {
    "smallest": EngineConfig(lanes=1, width=2, timesteps=1, pixels=False, **WIDE),
    "pixels-T1": EngineConfig(lanes=1, width=8, timesteps=1, **WIDE),
    "pixels-T2": EngineConfig(lanes=1, width=4, timesteps=2, **WIDE),
    "pixels-T4": EngineConfig(lanes=2, width=16, timesteps=4, **WIDE),
    "pixels-T8": EngineConfig(lanes=2, width=4, timesteps=8, **WIDE),
    "events-T3": EngineConfig(lanes=2, width=8, timesteps=3, pixels=False, **WIDE),
}


def make_plan(config, *, shape, kernel=None, stride=1, padding=0, zero_point=0, pool=None):
    """Make a network with this first layer; without a kernel, a fully connected one."""
    rng = np.random.default_rng(20)
    encoding = Encoding.PIXELS if config.pixels else Encoding.EVENTS
    source = Input(encoding=encoding, channels=shape[0], height=shape[1], width=shape[2],
                   zero_point=zero_point if config.pixels else 0)
    if kernel is None:
        first = FullyConnected(weights=random_weights(rng, 2, int(np.prod(shape))), neurons=random_neurons(rng, 2, 1))
    else:
        first = Convolution(weights=random_weights(rng, 2, shape[0], kernel, kernel),
                            neurons=random_neurons(rng, 2, 1), stride=stride, padding=padding)
    layers = [first, *([OrPool(size=pool)] if pool else [])]
    size = shape
    for layer in layers:
        size = layer.output_shape(size)
    layers.append(Readout(weights=random_weights(rng, 2, int(np.prod(size)))))
    return map_network(Network(input=source, layers=tuple(layers), timesteps=config.timesteps), config)


def make_image(plan, rng):
    source, timesteps = plan.network.input, plan.network.timesteps
    if plan.config.pixels:
        return rng.integers(0, 256, source.shape, dtype=np.uint8)
    return rng.random((timesteps, *source.shape)) < 0.5


class Memory:
    """Takes the writes; grants them at once or now and then."""

    def __init__(self, dut, config, rate):
        self.dut, self.config, self.rate = dut, config, rate
        self.rng = random.Random(21)
        self.words = [[None] * config.width for _ in range(config.spike_words)]
        self.writes = 0

    async def testbench(self, ctx):
        dut = self.dut
        while True:
            # Until it is ready nothing else uses the memory.
            ready = ctx.get(dut.ready)
            granted = not ready or self.rng.random() < self.rate
            ctx.set(dut.grant, granted)
            if granted and ctx.get(dut.write):
                self.writes += 1
                mask, data = ctx.get(dut.mask), ctx.get(dut.write_data)
                for lane in range(self.config.width):
                    if mask >> lane & 1:
                        self.words[ctx.get(dut.address)][lane] = data[lane]
            await ctx.tick()


def simulate(dut, memory, *testbenches):
    async def watchdog(ctx):
        for _ in range(100_000):
            await ctx.tick()
        raise TimeoutError("testbenches still running")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    simulator.add_testbench(memory.testbench, background=True)
    simulator.add_testbench(watchdog, background=True)
    simulator.run()


def padding_word(plan):
    pixel = plan.network.input.zero_point
    config = plan.config
    planes = [pixel >> part * config.timesteps & (1 << config.timesteps) - 1 for part in range(config.slices)]
    return [planes[lane // config.slice_width] for lane in range(config.width)]


def check(plan, *, rate=1.0, gaps=False, images=3):
    """Write images to alternating buffers; all words must be those of the twin, everything else padding."""
    config = plan.config
    dut = WindowWriter(config, init=plan.contents.pixels)
    memory = Memory(dut, config, rate)
    rng = np.random.default_rng(22)
    expected = [padding_word(plan) for _ in range(config.spike_words)]

    async def testbench(ctx):
        clock = 0
        while not ctx.get(dut.ready):
            assert not ctx.get(dut.i_pixels.ready)
            await ctx.tick()
            clock += 1
        assert clock <= config.spike_words + 16
        while not ctx.get(dut.finished):
            await ctx.tick()
        assert memory.words == expected, "the fill"
        for number in range(images):
            image, buffer = make_image(plan, rng), number % 2
            ctx.set(dut.buffer, buffer)
            ctx.set(dut.begin, 1)
            await ctx.tick()
            ctx.set(dut.begin, 0)
            clock = 0
            for value in image_bytes(plan.network, image):
                for _ in range(rng.integers(0, 6) if gaps else 0):
                    ctx.set(dut.i_pixels.payload, int(rng.integers(0, 256)))
                    await ctx.tick()
                ctx.set(dut.i_pixels.payload, value)
                ctx.set(dut.i_pixels.valid, 1)
                while not ctx.get(dut.i_pixels.ready):
                    await ctx.tick()
                    clock += 1
                await ctx.tick()
                clock += 1
                ctx.set(dut.i_pixels.valid, 0)
            # Idle is for one who sees that no pixel comes any more.
            await ctx.tick()
            await ctx.tick()
            while not ctx.get(dut.finished):
                await ctx.tick()
                clock += 1
            if rate == 1 and not gaps:
                assert clock <= image_clocks(plan)
            for address, word in window_words(plan, image, buffer).items():
                expected[address] = word
            wrong = [address for address in range(config.spike_words) if memory.words[address] != expected[address]]
            assert not wrong, f"image {number}, word {wrong[0]}"

    simulate(dut, memory, testbench)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (3, 2, 0), (5, 2, 2), (2, 3, 1)])
def test_windows_are_the_twins(name, kernel, stride, padding):
    config = CONFIGS[name]
    channels = 1 + kernel % 2
    check(make_plan(config, shape=(channels, 4, 5), kernel=kernel, stride=stride, padding=padding, zero_point=128),
          images=2)


@pytest.mark.parametrize(("kernel", "stride", "padding"),
                         [(7, 1, 6), (7, 2, 3), (7, 3, 6), (7, 7, 6), (6, 4, 5), (4, 3, 3), (1, 7, 0), (2, 5, 1)])
def test_every_phase_of_stride_and_padding(kernel, stride, padding):
    config = dataclasses.replace(CONFIGS["pixels-T4"], spike_words=4096)
    check(make_plan(config, shape=(1, 5, 6), kernel=kernel, stride=stride, padding=padding))


@pytest.mark.parametrize("name", CONFIGS)
def test_one_pixel_is_an_image(name):
    check(make_plan(CONFIGS[name], shape=(1, 1, 1), kernel=3, padding=1, zero_point=128))


@pytest.mark.parametrize("name", CONFIGS)
def test_fully_connected_sees_the_whole_image_as_one_window(name):
    check(make_plan(CONFIGS[name], shape=(2, 3, 4), zero_point=128))


def test_positions_that_a_pool_drops_are_not_written():
    check(make_plan(CONFIGS["pixels-T4"], shape=(1, 7, 5), kernel=3, padding=1, pool=2))


@pytest.mark.parametrize("rate", [0.7, 0.2])
@pytest.mark.parametrize("gaps", [False, True])
def test_withheld_grants_and_slow_pixels_change_nothing(rate, gaps):
    check(make_plan(CONFIGS["pixels-T4"], shape=(1, 5, 4), kernel=3, padding=1), rate=rate, gaps=gaps)


@pytest.mark.parametrize("sent", [1, 7, 19])
def test_begin_forgets_the_image_under_way(sent):
    plan = make_plan(CONFIGS["pixels-T4"], shape=(1, 5, 4), kernel=3, padding=1)
    dut = WindowWriter(plan.config, init=plan.contents.pixels)
    memory = Memory(dut, plan.config, 1.0)
    rng = np.random.default_rng(23)
    image = make_image(plan, rng)

    async def testbench(ctx):
        while not ctx.get(dut.ready):
            await ctx.tick()
        for values in (image_bytes(plan.network, make_image(plan, rng))[:sent], image_bytes(plan.network, image)):
            ctx.set(dut.begin, 1)
            await ctx.tick()
            ctx.set(dut.begin, 0)
            for value in values:
                await streams.put(ctx, dut.i_pixels, value)
        for _ in range(3):
            await ctx.tick()
        while not ctx.get(dut.finished):
            await ctx.tick()
        for address, word in window_words(plan, image, 0).items():
            assert memory.words[address] == word, f"word {address}"

    simulate(dut, memory, testbench)


def test_values_of_the_next_image_wait_until_it_may_proceed():
    """Values come at full speed; the second image goes to the other buffer, chosen only when the first is finished."""
    plan = make_plan(CONFIGS["pixels-T4"], shape=(1, 5, 4), kernel=3, padding=1)
    dut = WindowWriter(plan.config, init=plan.contents.pixels)
    memory = Memory(dut, plan.config, 0.5)
    rng = np.random.default_rng(24)
    images = [make_image(plan, rng) for _ in range(3)]

    async def source(ctx):
        while not ctx.get(dut.ready):
            await ctx.tick()
        ctx.set(dut.begin, 1)
        await ctx.tick()
        ctx.set(dut.begin, 0)
        for image in images:
            for value in image_bytes(plan.network, image):
                await streams.put(ctx, dut.i_pixels, value)

    async def testbench(ctx):
        while not ctx.get(dut.begin):
            await ctx.tick()
        await ctx.tick()
        for number in range(len(images)):
            await ctx.tick().until(dut.finished)
            # The value that was taken is not written before the buffer is the one for it.
            await ctx.tick().repeat(20)
            assert ctx.get(dut.finished)
            for address, word in window_words(plan, images[number], number % 2).items():
                assert memory.words[address] == word, f"image {number}, word {address}"
            ctx.set(dut.proceed, 1)
            await ctx.tick()
            ctx.set(dut.proceed, 0)
            ctx.set(dut.buffer, (number + 1) % 2)

    simulate(dut, memory, testbench, source)
