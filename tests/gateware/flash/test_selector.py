# amaranth: UnusedElaboratable=no
import random
import re
import zlib

import pytest
from amaranth import Elaboratable, Module, ResetInserter, Signal
from amaranth.sim import Simulator

from arch.flash.header import BLOCK_BYTES, HEADER_BYTES, SEAL_BYTES
from arch.flash.image import BASE, build_image
from gateware.engine.configuration import EngineConfig
from gateware.flash.loader import StreamLoader
from gateware.flash.selector import ModelSelector, ModelStatus
from tests.flash_models import circuit_of, random_model
from tests.gateware.flash.rings import Engine, send
from tests.twins.stream import choose

SEED = 0x5E1
CONFIG = EngineConfig(lanes=2, width=4, weight_rows=16, channel_groups=8, layers=4)
CIRCUIT = circuit_of(2, 4, ring_rows=16)
MODELS = [random_model(seed, CIRCUIT, [(2, 3), (1, 2)], channels=channels, classes=classes)
          for seed, (channels, classes) in enumerate([(3, 10), (64, 32), (5, 1)])]
IMAGE = build_image(MODELS)


class Pair(Elaboratable):
    """A selector and its loader, joined as in the system: the choice of a model resets the loader."""

    def __init__(self, *, double=False, circuit=CIRCUIT):
        self.selector = ModelSelector(CONFIG, circuit, base=BASE, double=double)
        self.loader   = StreamLoader(CONFIG, double=double)
        self.reset    = Signal()

    def elaborate(self, platform):
        m = Module()

        m.submodules.selector = selector = self.selector
        m.submodules.loader   = ResetInserter(selector.select | self.reset)(self.loader)
        loader = self.loader
        m.d.comb += [
            loader.start.eq(selector.start),
            loader.header.eq(selector.header),
            selector.byte.eq(loader.byte),
            selector.header_write.eq(loader.header_write),
            selector.place.eq(loader.place),
            selector.complete.eq(loader.complete),
            selector.damaged.eq(loader.damaged),
        ]

        return m


class Board:
    """The pair with a flash that holds an image, an engine, and what was written of the info block."""

    def __init__(self, image, *, double=False, circuit=CIRCUIT, sections=None):
        self.pair = Pair(double=double, circuit=circuit)
        self.selector, self.loader = self.pair.selector, self.pair.loader
        self.image, self.info, self.reads = image, bytearray(64), []
        self.rng = random.Random(SEED)
        self.engine = Engine(self.loader, sections, self.rng) if sections else None

    async def starts(self, ctx):
        while True:
            if ctx.get(self.selector.start):
                self.reads.append(ctx.get(self.selector.address))
            await ctx.tick()

    async def flash(self, ctx):
        """Read from the address of each start on, until the next one."""
        begun = 0
        while True:
            if len(self.reads) > begun:
                begun = len(self.reads)
                place = self.reads[-1] - BASE
                await ctx.tick()
            if begun and ctx.get(self.loader.run):
                await send(ctx, self.loader, self.image[place : place + 1] or b"\xff", self.rng)
                place += 1
            else:
                await ctx.tick()

    async def memory(self, ctx):
        while True:
            if ctx.get(self.selector.info_write):
                self.info[ctx.get(self.selector.info_address)] = ctx.get(self.selector.byte)
            await ctx.tick()

    async def select(self, ctx, number):
        """Choose a model and return the status."""
        ctx.set(self.selector.number, number)
        ctx.set(self.selector.select, 1)
        await ctx.tick()
        ctx.set(self.selector.select, 0)
        ctx.set(self.selector.number, self.rng.getrandbits(8))
        if self.engine:
            self.engine.begun = dict.fromkeys(self.engine.begun, 0)
            self.engine.released = dict.fromkeys(self.engine.released, 0)
            self.engine.usable = self.engine.used = self.engine.layers = 0
        await ctx.tick().until(~self.selector.header)
        return ctx.get(self.selector.status).value

    def run(self, testbench, *, cycles=20_000):
        async def watchdog(ctx):
            for _ in range(cycles):
                await ctx.tick()
            raise TimeoutError(f"still running after {cycles} cycles")

        simulator = Simulator(self.pair)
        simulator.add_clock(1e-6)
        simulator.add_testbench(testbench)
        monitors = [self.starts, self.flash, self.memory, watchdog]
        for monitor in monitors if self.engine is None else [*monitors, self.engine.run]:
            simulator.add_testbench(monitor, background=True)
        simulator.run()


@pytest.mark.parametrize("double", [False, True])
def test_each_model_is_found_and_what_the_circuit_needs_of_it(double):
    board = Board(IMAGE, double=double)
    selector = board.selector

    async def testbench(ctx):
        assert ctx.get(selector.status) == ModelStatus.NO_MODEL
        for number in (1, 0, 2, 1):
            assert await board.select(ctx, number) == 0
            header, model = IMAGE[number * HEADER_BYTES :][:HEADER_BYTES], MODELS[number]
            assert bytes(board.info) == model.info.to_bytes() == header[16:80]
            kept = ctx.get(selector.kept)
            assert kept.image_bytes == model.info.image_bytes
            assert kept.plane_words == 15 * -(-model.info.channels // 4)
            assert (kept.channels, kept.classes) == (model.info.channels - 1, model.info.classes - 1)
            assert (kept.slices, kept.buffers) == (1, model.buffers - 1)

    board.run(testbench)
    assert board.reads[0::3] == [BASE + number * HEADER_BYTES for number in (1, 0, 2, 1)]
    assert board.reads[1::3] == [BASE + (number + 1) * BLOCK_BYTES for number in (1, 0, 2, 1)]
    assert board.reads[2::3][:3] == [BASE + (number + 1) * BLOCK_BYTES + SEAL_BYTES for number in (1, 0, 2)]


@pytest.mark.parametrize("double", [False, True])
def test_the_stream_of_the_model_is_read_again_and_again(double):
    board = Board(IMAGE, double=double, sections=MODELS[1].sections)

    async def testbench(ctx):
        assert await board.select(ctx, 1) == 0
        while board.engine.completed < 4:
            await ctx.tick()

    board.run(testbench)
    # The first complete was that of the header.
    assert board.engine.used >= 3 * 8
    seal = BASE + 2 * BLOCK_BYTES
    assert board.reads == [BASE + HEADER_BYTES, seal, *[seal + SEAL_BYTES] * (len(board.reads) - 2)]


def test_a_stream_is_read_from_its_beginning_after_a_restart():
    board = Board(IMAGE, sections=MODELS[2].sections)

    async def testbench(ctx):
        assert await board.select(ctx, 2) == 0
        await ctx.tick().repeat(800)
        ctx.set(board.pair.reset, 1)
        ctx.set(board.selector.restart, 1)
        await ctx.tick()
        ctx.set(board.pair.reset, 0)
        ctx.set(board.selector.restart, 0)
        engine = board.engine
        engine.begun, engine.released = dict.fromkeys(engine.begun, 0), dict.fromkeys(engine.released, 0)
        engine.usable = engine.used = engine.layers = 0
        completed = engine.completed
        while engine.completed < completed + 1:
            await ctx.tick()
        assert engine.used >= 7
        assert ctx.get(board.selector.status) == ModelStatus.GOOD

    board.run(testbench)
    seal = BASE + 3 * BLOCK_BYTES
    assert board.reads[:4] == [BASE + 2 * HEADER_BYTES, seal, *[seal + SEAL_BYTES] * 2]


def with_crc(header):
    return bytes(header[:252]) + zlib.crc32(header[:252]).to_bytes(4, "little")


def cases():
    """Headers before the seal of a right one, and the status of each; the CRC in the header is not read."""
    good = IMAGE[:HEADER_BYTES]
    yield "empty", b"\xff" * HEADER_BYTES, 6
    yield "zeros", bytes(HEADER_BYTES), 6
    for place in range(16):
        changed = bytearray(good)
        changed[place] ^= 1 << place % 8
        yield f"signature {place}", with_crc(changed), 6 if place < 4 else 7
        yield f"damaged signature {place}", bytes(changed), 6 if place < 4 else 7
    for place in (16, 47, 48, 79, 80, 100, 113, 200, 239, 240, 241, 244, 247, 248, 251):
        changed = bytearray(good)
        changed[place] ^= 1 << place % 8
        yield f"byte {place}", bytes(changed), 8
        yield f"byte {place} with its CRC", with_crc(changed), 8
    for place in (252, 255):
        changed = bytearray(good)
        changed[place] ^= 1 << place % 8
        yield f"byte {place}", bytes(changed), 0
    yield "another stream", with_crc(good[:247] + IMAGE[HEADER_BYTES + 247 :][:1] + good[248:]), 8


CASES = list(cases())


@pytest.mark.parametrize("part", range(5))
def test_other_headers_are_refused_and_a_good_one_is_taken_again(part):
    chosen = CASES[part::5]
    headers = b"".join(header for _, header, _ in chosen)
    board = Board((headers + IMAGE[:HEADER_BYTES]).ljust(4096, b"\xff") + IMAGE[4096:])
    right = len(headers) // HEADER_BYTES

    async def testbench(ctx):
        for index, (name, header, status) in enumerate(chosen):
            seal = (header[247] - BASE // BLOCK_BYTES) * BLOCK_BYTES
            crc  = board.image[seal : seal + 4] if seal >= 0 else b""
            assert choose(CIRCUIT, index, header[:252] + crc.ljust(4, b"\xff")) == status, name
            before = len(board.reads)
            assert await board.select(ctx, index) == status, name
            await ctx.tick().repeat(4)
            # Nothing is read behind the header and the seal, but the stream of a right one.
            assert len(board.reads) == before + 2 + (status == 0), name
            if index % 5 == 4:
                assert await board.select(ctx, right) == 0

    board.run(testbench, cycles=60_000)


def test_a_stream_with_another_seal_is_refused():
    board = Board(IMAGE)
    seal  = BLOCK_BYTES

    async def testbench(ctx):
        for place in range(4):
            for bits, status in ((1 << place, 8), (0, 0)):
                board.image = IMAGE[:seal + place] + bytes((IMAGE[seal + place] ^ bits,)) + IMAGE[seal + place + 1:]
                assert await board.select(ctx, 0) == status

    board.run(testbench)


@pytest.mark.parametrize("number", [3, 15, 16, 17, 0x80, 0xFF])
def test_numbers_without_a_model_are_refused(number):
    board = Board(IMAGE)

    async def testbench(ctx):
        assert await board.select(ctx, number) == 6 == choose(CIRCUIT, number, IMAGE[number % 16 * 256 :][:256])

    board.run(testbench)


def test_a_flash_that_fails_is_told():
    board = Board(b"")

    async def testbench(ctx):
        ctx.set(board.selector.failed, 1)
        assert ctx.get(board.selector.status) == ModelStatus.FLASH
        assert ctx.get(board.selector.status).value == 9
        await ctx.tick()

    board.run(testbench)


@pytest.mark.parametrize(("circuit", "base", "error", "message"), [
    (b"", BASE, TypeError, "circuit must be a Circuit, not b''"),
    (CIRCUIT, 4096, ValueError, "base must be a multiple of 65536 below 2^24, not 4096"),
    (CIRCUIT, 1 << 24, ValueError, "base must be a multiple of 65536 below 2^24, not 16777216"),
])
def test_impossible_parameters_are_refused(circuit, base, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        ModelSelector(CONFIG, circuit, base=base)
