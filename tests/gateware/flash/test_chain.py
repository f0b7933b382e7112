"""From the flash's pins to the memories of the engine: reader, selector, loader and rings on an image."""

import random

import numpy as np
import pytest
from amaranth import Elaboratable, Module, ResetInserter
from amaranth.sim import Simulator

from arch.flash.image import build_image
from gateware.engine.configuration import EngineConfig
from gateware.engine.weight_ring import ConstantRing, WeightRing
from gateware.flash.loader import StreamLoader
from gateware.flash.reader import FlashMode, FlashReader
from gateware.flash.selector import ModelSelector
from tests.flash_models import circuit_of, random_model
from tests.twins.serial_flash import FlashModel

CLOCK_HZ = 12e6
BASE = 65_536
CONFIG = EngineConfig(lanes=4, width=8, weight_rows=16, channel_groups=8, layers=8)
CIRCUIT = circuit_of(4, 8, ring_rows=16)
#: Few enough rows and groups for the rings, so that they can be read at the end.
MODELS = [random_model(seed, CIRCUIT, [(2, 3), (1, 4)]) for seed in range(2)]
IMAGE = build_image(MODELS, base=BASE)


class Chain(Elaboratable):
    """All blocks between the pins and the engine."""

    def __init__(self, mode):
        double = mode is FlashMode.DOUBLE
        self.reader    = FlashReader(mode=mode, clock_hz=CLOCK_HZ, latency=2)
        self.selector  = ModelSelector(CONFIG, CIRCUIT, base=BASE, double=double)
        self.loader    = StreamLoader(CONFIG, double=double)
        self.weights   = WeightRing(CONFIG)
        self.constants = ConstantRing(CONFIG)

    def elaborate(self, platform):
        m = Module()

        reader, selector, loader = self.reader, self.selector, self.loader
        m.submodules += [reader, selector, self.weights, self.constants]
        m.submodules.loader = ResetInserter(selector.select)(loader)
        m.d.comb += [
            reader.start.eq(selector.start), reader.address.eq(selector.address), reader.run.eq(loader.run),
            selector.failed.eq(reader.failed), selector.byte.eq(reader.byte),
            selector.header_write.eq(loader.header_write), selector.place.eq(loader.place),
            selector.complete.eq(loader.complete), selector.damaged.eq(loader.damaged),
            loader.start.eq(selector.start), loader.header.eq(selector.header),
            loader.byte.eq(reader.byte), loader.valid.eq(reader.valid),
            self.weights.write_row.eq(loader.row), self.weights.banks.eq(loader.row_banks),
            self.weights.mask.eq(loader.row_mask), self.weights.write_weights.eq(loader.row_weights),
            self.constants.write.eq(loader.constants_write), self.constants.write_group.eq(loader.constants_group),
            self.constants.write_lane.eq(loader.constants_lane), self.constants.write_mask.eq(loader.entry_mask),
            self.constants.write_data.eq(reader.byte),
        ]

        return m


async def drive(ctx, chain, flash):
    """Be the flash at the pins, two clocks behind."""
    bus, back = chain.reader.bus, [(0, 0)]
    while True:
        back.append(flash.clock(select=ctx.get(bus.select), sck=ctx.get(bus.sck), lines=ctx.get(bus.o),
                                drive=ctx.get(bus.drive), quad=ctx.get(bus.quad)))
        await ctx.tick()
        first, second = back.pop(0)
        if chain.reader.mode is FlashMode.DOUBLE:
            ctx.set(bus.i[0], first)
            ctx.set(bus.i[1], second)
        else:
            ctx.set(bus.i[0], second)


def run(chain, contents, testbench, cycles=40_000):
    flash = FlashModel(contents=contents, period=1 / CLOCK_HZ)

    async def pins(ctx):
        await drive(ctx, chain, flash)

    async def watchdog(ctx):
        for _ in range(cycles):
            await ctx.tick()
        raise TimeoutError(f"still running after {cycles} cycles")

    simulator = Simulator(chain)
    simulator.add_clock(1 / CLOCK_HZ)
    simulator.add_testbench(testbench)
    simulator.add_testbench(pins, background=True)
    simulator.add_testbench(watchdog, background=True)
    simulator.run()


async def select(ctx, chain, number):
    while not ctx.get(chain.reader.ready):
        await ctx.tick()
    ctx.set(chain.selector.number, number)
    ctx.set(chain.selector.select, 1)
    await ctx.tick()
    ctx.set(chain.selector.select, 0)
    while ctx.get(chain.selector.header):
        await ctx.tick()
    return ctx.get(chain.selector.status).value


async def collect(ctx, chain):
    """Let the stream come; return how many rows may be used, and whether it was damaged."""
    usable = 0
    while not ctx.get(chain.loader.complete):
        usable += ctx.get(chain.loader.row_written)
        await ctx.tick()
    damaged = ctx.get(chain.loader.damaged)
    await ctx.tick()
    return usable + ctx.get(chain.loader.row_written), damaged


@pytest.mark.parametrize("mode", FlashMode)
def test_a_model_comes_from_the_pins_into_the_rings(mode):
    chain = Chain(mode)

    async def testbench(ctx):
        assert await select(ctx, chain, 1) == 0
        assert await collect(ctx, chain) == (10, 0)
        rows = np.concatenate([section.weights.reshape(-1, 4, 8) for section in MODELS[1].sections])
        for place, row in enumerate(rows):
            ctx.set(chain.weights.row, place)
            await ctx.tick()
            for lane in range(4):
                weights = ctx.get(chain.weights.weights[lane])
                assert weights.nonzero == sum(int(weight != 0) << index for index, weight in enumerate(row[lane]))
                assert weights.negative == sum(int(weight < 0) << index for index, weight in enumerate(row[lane]))
        constants = np.concatenate([section.constants for section in MODELS[1].sections])
        for group, lane in np.ndindex(constants.shape):
            ctx.set(chain.constants.group, group)
            ctx.set(chain.constants.lane, lane)
            await ctx.tick()
            assert ctx.get(chain.constants.constants.as_value()) == constants[group, lane]

    run(chain, b"\xff" * BASE + IMAGE, testbench)


@pytest.mark.parametrize(("place", "status"), [(2, 6), (4, 7), (100, 8), (2 * 65_536, 8),
                                               (2 * 65_536 + 556, 0)])
def test_damage_at_the_pins_is_told(place, status):
    """In the header of model 0, in the seal or in the constants of its stream; bits of two bytes are flipped."""
    chain = Chain(FlashMode.QUAD)
    contents = bytearray(b"\xff" * BASE + IMAGE)
    for index in range(2):
        contents[(BASE if place < 256 else 0) + place + index] ^= random.Random(place + index).randrange(1, 256)

    async def testbench(ctx):
        assert await select(ctx, chain, 0) == status
        if status == 0:
            # All rows but the last one of the first section.
            assert await collect(ctx, chain) == (5 + 3, 1)

    run(chain, bytes(contents), testbench)


def test_a_flash_that_is_not_there_is_told():
    chain = Chain(FlashMode.QUAD)

    async def testbench(ctx):
        while not ctx.get(chain.reader.failed):
            await ctx.tick()
        assert ctx.get(chain.selector.status).value == 9

    flash = FlashModel(contents=b"", dead=True, period=1 / CLOCK_HZ)
    simulator = Simulator(chain)
    simulator.add_clock(1 / CLOCK_HZ)

    async def pins(ctx):
        await drive(ctx, chain, flash)

    simulator.add_testbench(testbench)
    simulator.add_testbench(pins, background=True)
    simulator.run()
