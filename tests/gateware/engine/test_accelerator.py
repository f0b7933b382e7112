"""The whole engine in Amaranth's simulator: few networks, chosen for what happens around them.

The many are in ``tests/rtl/test_networks.py``.
"""

import itertools

import numpy as np
import pytest

from arch.images import image_bytes
from arch.network import Convolution, Encoding, FullyConnected, Input, Network, OrPool, Readout
from gateware.engine.accelerator import PIXEL_FIFO_DEPTH, Accelerator
from gateware.engine.configuration import EngineConfig
from gateware.engine.window_writer import WindowWriter
from gateware.mapper.choice import choose_config, map_network
from gateware.mapper.cycles import count_cycles
from reference.generate import random_images, random_network, random_neurons, random_weights
from reference.network import Reference
from tests import streams
from tests.twins.blocks import result_words


class Host:
    """Sends images and takes results, on the accelerator's own ports."""

    def __init__(self, plan):
        self.plan = plan
        self.dut = Accelerator(plan.config, contents=plan.contents)
        self.results = []
        self.slowest = 0

    async def begin(self, ctx):
        while not ctx.get(self.dut.accept):
            await ctx.tick()
        await self.strobe(ctx, self.dut.begin)

    async def strobe(self, ctx, signal):
        ctx.set(signal, 1)
        await ctx.tick()
        ctx.set(signal, 0)

    async def pixels(self, ctx, values):
        taken = []
        clock = 0
        for value in values:
            while not ctx.get(self.dut.i_pixels.ready):
                clock += 1
                await ctx.tick()
            await streams.put(ctx, self.dut.i_pixels, value)
            taken.append(clock := clock + 1)
        self.slowest = max([self.slowest, *(last - first for first, last in itertools.pairwise(taken[::32]))])

    async def send(self, ctx, image):
        await self.begin(ctx)
        await self.pixels(ctx, image_bytes(self.plan.network, image))
        await self.strobe(ctx, self.dut.commit)

    async def receive(self, ctx, stall=0):
        words, last = [], False
        while not last:
            for _ in range(stall):
                await ctx.tick()
            payload = await streams.get(ctx, self.dut.o_words)
            words.append(payload.word)
            last = payload.last
        self.results.append(words)

    def run(self, *testbenches):
        streams.run(self.dut, *testbenches, deadline_cycles=60_000)

    def exchange(self, images, *, stall=0):
        """Send the images one after the other, and take the results meanwhile, each word after ``stall`` clocks."""
        async def sender(ctx):
            for image in images:
                await self.send(ctx, image)

        async def receiver(ctx):
            for _ in images:
                await self.receive(ctx, stall=stall)

        self.run(sender, receiver)

    def check(self, images, *, stalls=False):
        """Compare the results with the reference and the cycle model."""
        expected = Reference(self.plan.network).run(images)
        total = count_cycles(self.plan).total
        assert len(self.results) == len(images)
        for words, scores in zip(self.results, expected.scores.tolist(), strict=True):
            assert words == result_words(scores, words[1], words[2])
            if stalls:
                # A stall delays by a clock, or by none (the array was waiting), or by two (it lands on a write).
                assert total <= words[1] <= total + words[2] + total // 100
            else:
                assert words[1:3] == [total, 0]


def plan_for(network, lanes, width, timesteps, spike_words=512):
    return map_network(network, choose_config(network, lanes=lanes, width=width, timesteps=timesteps,
                                              spike_words=spike_words, weight_rows=512))


GEOMETRIES = [(1, 2, 1, False), (1, 2, 4, True), (1, 8, 1, True), (2, 4, 2, True), (4, 4, 4, True), (2, 8, 3, False),
              (1, 4, 8, True)]


@pytest.mark.parametrize(("lanes", "width", "timesteps", "pixels"), GEOMETRIES)
def test_every_geometry_is_the_reference(lanes, width, timesteps, pixels):
    rng = np.random.default_rng([40, lanes, width, timesteps])
    encoding = Encoding.PIXELS if pixels else Encoding.EVENTS
    while True:
        network = random_network(rng, timesteps=int(rng.integers(1, timesteps + 1)), encoding=encoding, max_side=5,
                                 max_channels=5, layers=2, leak=False)
        if any(isinstance(layer, Convolution) and layer.kernel > 1 for layer in network.layers):
            try:
                plan = plan_for(network, lanes, width, timesteps)
            except ValueError:
                continue
            if count_cycles(plan).total < 2500:
                break
    host = Host(plan)
    images = random_images(network, rng, 3)

    async def testbench(ctx):
        for image in images:
            await host.send(ctx, image)
            await host.receive(ctx)

    host.run(testbench)
    host.check(images)


def make_busy(classes=3):
    """A network that computes longer than an image takes to arrive, and whose pixels each go to nine windows."""
    rng = np.random.default_rng(41)
    first = Convolution(weights=random_weights(rng, 6, 1, 3, 3), neurons=random_neurons(rng, 6, 300), padding=1)
    second = Convolution(weights=random_weights(rng, 4, 6, 3, 3), neurons=random_neurons(rng, 4, 3), padding=1)
    return Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=6, width=7, zero_point=128), timesteps=4,
                   layers=(first, OrPool(size=2), second, Readout(weights=random_weights(rng, classes, 4 * 3 * 3))))


def test_two_images_are_in_flight():
    network = make_busy()
    host = Host(plan_for(network, 2, 4, 4))
    images = random_images(network, np.random.default_rng(42), 5)

    host.exchange(images)
    # Images this small never fill the FIFO: pixels wait for idle clocks.
    host.check(images)


def test_a_consumer_that_stalls_delays_the_next_image_only():
    network = make_busy()
    host = Host(plan_for(network, 2, 4, 4))
    images = random_images(network, np.random.default_rng(43), 3)

    host.exchange(images, stall=150)
    host.check(images)


@pytest.mark.parametrize("sent", [0, 1, 20, 41])
def test_an_aborted_image_leaves_no_trace(sent):
    network = make_busy()
    host = Host(plan_for(network, 2, 4, 4))
    rng = np.random.default_rng(44)
    images = random_images(network, rng, 4)[2:]

    async def testbench(ctx):
        for image in images:
            await host.begin(ctx)
            await host.pixels(ctx, [255] * sent)
            await host.strobe(ctx, host.dut.abort)
            for _ in range(int(rng.integers(0, 4))):
                await ctx.tick()
            await host.send(ctx, image)
            await host.receive(ctx)

    host.run(testbench)
    host.check(images)


def test_an_image_aborted_during_an_inference_leaves_no_trace():
    network = make_busy()
    host = Host(plan_for(network, 2, 4, 4))
    images = random_images(network, np.random.default_rng(45), 4)[2:]

    async def testbench(ctx):
        await host.send(ctx, images[0])
        await host.begin(ctx)
        await host.pixels(ctx, [7] * 30)
        await host.strobe(ctx, host.dut.abort)
        await host.send(ctx, images[1])
        await host.receive(ctx)
        await host.receive(ctx)

    host.run(testbench)
    host.check(images)


@pytest.mark.parametrize("sent", [0, 1, 30, 42])
def test_an_image_aborted_behind_one_that_waits_in_the_fifo_leaves_no_trace(sent):
    """Its pixels cannot be thrown away before the complete image has left the FIFO: until then nothing is accepted."""
    network = make_busy()
    host = Host(plan_for(network, 2, 4, 4))
    images = random_images(network, np.random.default_rng(48), 4)[1:]
    refused = []

    async def testbench(ctx):
        await host.send(ctx, images[0])
        await host.receive(ctx)
        for image in images[1:]:
            await host.send(ctx, image)
            assert ctx.get(host.dut.accept), "an image in the FIFO keeps the next one out"
            await host.strobe(ctx, host.dut.begin)
            await host.pixels(ctx, [7] * sent)
            await host.strobe(ctx, host.dut.abort)
            refused.append(not ctx.get(host.dut.accept))
            await host.begin(ctx)
            await host.strobe(ctx, host.dut.abort)
            await host.receive(ctx)

    host.run(testbench)
    host.check(images)
    assert all(refused)


def test_a_third_image_is_not_accepted_while_two_wait():
    network = make_busy()
    host = Host(plan_for(network, 2, 4, 4))
    images = random_images(network, np.random.default_rng(49), 3)

    async def testbench(ctx):
        # Once with the first in its buffer when the second begins, once with both in the FIFO.
        for computing in (True, False):
            await host.send(ctx, images[0])
            if computing:
                await ctx.tick().until(host.dut.busy)
            await host.send(ctx, images[1])
            while not ctx.get(host.dut.busy):
                assert not ctx.get(host.dut.accept)
                await ctx.tick()
            while ctx.get(host.dut.busy):
                assert not ctx.get(host.dut.accept)
                await ctx.tick()
            await host.receive(ctx)
            await host.receive(ctx)

    host.run(testbench)
    host.check(images[[0, 1, 0, 1]])


def test_an_image_waits_while_more_than_half_of_the_fifo_is_taken():
    """What is left holds the pixels that the next one brings faster than they are written."""
    rng = np.random.default_rng(50)
    first = Convolution(weights=random_weights(rng, 2, 1, 3, 3), neurons=random_neurons(rng, 2, 300), padding=1)
    network = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=20, width=20), timesteps=4,
                      layers=(first, Readout(weights=random_weights(rng, 2, 2 * 400))))
    host = Host(map_network(network, choose_config(network, lanes=2, width=4, timesteps=4, spike_words=8192,
                                                   weight_rows=4096)))
    image = random_images(network, rng, 1)[0]

    async def testbench(ctx):
        await host.send(ctx, image)
        waiting = 0
        while not ctx.get(host.dut.accept):
            await ctx.tick()
            waiting += 1
        # About 20 clocks for each pixel above half of the FIFO; all 400 would take 8,000.
        assert 1_000 < waiting < 3_500
        await host.receive(ctx)

    host.run(testbench)
    host.check(image[None])


def test_pixels_that_pile_up_take_the_memory_and_are_counted():
    """An image larger than the FIFO, sent at full speed while the engine leaves no clock idle."""
    rng = np.random.default_rng(46)
    side = 24
    first = Convolution(weights=random_weights(rng, 2, 1, 3, 3), neurons=random_neurons(rng, 2, 300), stride=2,
                        padding=1)
    long = FullyConnected(weights=random_weights(rng, 24, 2 * 144), neurons=random_neurons(rng, 24, 8))
    network = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=side, width=side), timesteps=4,
                      layers=(first, long, Readout(weights=random_weights(rng, 2, 24))))
    config = choose_config(network, lanes=2, width=4, timesteps=4, spike_words=2048, weight_rows=4096)
    host = Host(map_network(network, config))
    images = random_images(network, rng, 4)[1:]
    assert images[0].size > PIXEL_FIFO_DEPTH

    host.exchange(images)
    host.check(images, stalls=True)
    assert any(words[2] for words in host.results), "no pixel had to wait"
    # A write takes one clock of the engine, and each of 12 x 12 windows has at most 9 pixels.
    assert max(words[2] for words in host.results) <= 12 * 12 * 9
    # Once pressed, pixels take no longer than the rule for the line counts (gateware.mapper.line).
    takes = WindowWriter.value_cycles_of(2)
    assert 32 * takes // 2 < host.slowest <= 32 * (takes + -(-takes // config.cooldown_cycles))


def test_accept_is_low_until_the_memory_is_filled():
    plan = plan_for(make_busy(), 2, 4, 4)
    dut = Accelerator(plan.config, contents=plan.contents)

    async def testbench(ctx):
        clocks = 0
        while not ctx.get(dut.accept):
            await ctx.tick()
            clocks += 1
        assert plan.config.spike_words <= clocks <= plan.config.spike_words + 20

    streams.run(dut, testbench)


def test_layers_of_different_fraction_share_a_circuit():
    rng = np.random.default_rng(47)
    source = Input(encoding=Encoding.EVENTS, channels=3, height=2, width=2)
    chain, size = [], 12
    for fraction in (0, 3, 1):
        neurons = random_neurons(rng, 6, 2)
        while neurons.fraction != fraction:
            neurons = random_neurons(rng, 6, 2)
        chain.append(FullyConnected(weights=random_weights(rng, 6, size), neurons=neurons))
        size = 6
    network = Network(input=source, timesteps=4, layers=(*chain, Readout(weights=random_weights(rng, 3, 6))))
    plan = plan_for(network, 2, 4, 4)
    assert isinstance(plan.config, EngineConfig)
    assert plan.config.fraction == 3
    host = Host(plan)
    images = random_images(network, rng, 6)

    async def testbench(ctx):
        for image in images:
            await host.send(ctx, image)
            await host.receive(ctx)

    host.run(testbench)
    host.check(images)
