# amaranth: UnusedElaboratable=no
import dataclasses
import random
import re

import pytest
from amaranth import ResetInserter, Signal
from amaranth.sim import Simulator

from arch.flash.stream import boundaries, pack_stream
from gateware.engine.configuration import EngineConfig
from gateware.flash.loader import StreamLoader
from tests.flash_models import circuit_of, header_of, random_section
from tests.gateware.flash.rings import UNDER_WAY, Engine, send, writes_now
from tests.twins.stream import EntryWrite, StreamTwin

SEED = 0x10AD

#: Arrays with their rings: that of the iCEBreaker, the smallest, and those with other banks left behind the sets.
GEOMETRIES = {
    "8x16": EngineConfig(lanes=8, width=16, weight_rows=256, channel_groups=32, layers=8),
    "2x4": EngineConfig(lanes=2, width=4, weight_rows=16, channel_groups=8, layers=4),
    "4x8": EngineConfig(lanes=4, width=8, weight_rows=16, channel_groups=4, layers=8),
    "8x32": EngineConfig(lanes=8, width=32, timesteps=8, weight_rows=32, channel_groups=8, layers=4),
    "least": EngineConfig(lanes=2, width=4, weight_rows=8, channel_groups=4, layers=4),
    "8x8": EngineConfig(lanes=8, width=8, weight_rows=32, channel_groups=4, layers=4),
}


def model_of(name, shapes, seed=SEED):
    """Sections and stream for an array."""
    config = GEOMETRIES[name]
    circuit = circuit_of(config.lanes, config.width)
    rng = random.Random(seed)
    sections = [random_section(rng, circuit, *shape) for shape in shapes]
    return circuit, sections, pack_stream(sections, circuit)


def in_ring(event, config):
    """An event of the twin with the places of the rings."""
    if isinstance(event, EntryWrite):
        size = 32 * config.layers if event.memory == "program" else config.lanes * config.channel_groups
        return event._replace(entry=event.entry % size)
    return event._replace(row=event.row % config.weight_rows)


async def begin(ctx, dut, *, header=0):
    ctx.set(dut.header, header)
    ctx.set(dut.start, 1)
    await ctx.tick()
    ctx.set(dut.start, 0)


def run(dut, driver, *monitors, cycles):
    """Simulate until the driver ends; the monitors go on for as long."""
    async def watchdog(ctx):
        for _ in range(cycles):
            await ctx.tick()
        raise TimeoutError(f"still running after {cycles} cycles")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(driver)
    for monitor in (*monitors, watchdog):
        simulator.add_testbench(monitor, background=True)
    simulator.run()


async def send_header(ctx, dut, header, rng, **options):
    """Send a header and, behind a second start, its CRC."""
    await begin(ctx, dut, header=1)
    await send(ctx, dut, header[:252], rng, **options)
    # Until the start, the flash goes on behind the header.
    await send(ctx, dut, rng.randbytes(2), rng, **options)
    await begin(ctx, dut, header=1)
    await send(ctx, dut, header[252:], rng, **options)


def record(dut, *, data, header=0, before=b"", slowest=1, seed=SEED):
    """Send data to a loader whose rings never fill; return writes, strobes, and ``damaged`` at each ``complete``."""
    writes, strobes, damage = [], [], []

    async def driver(ctx):
        rng = random.Random(seed)
        await send(ctx, dut, before, rng)
        if header:
            await send_header(ctx, dut, data, rng, slowest=slowest)
        else:
            await begin(ctx, dut)
            await send(ctx, dut, data, rng, slowest=slowest)
        await ctx.tick().repeat(5)

    async def monitor(ctx):
        group = 0
        while True:
            writes.extend(writes_now(ctx, dut))
            layer, row, complete = (ctx.get(strobe) for strobe in (dut.layer_written, dut.row_written, dut.complete))
            strobes.extend(["layer"] * layer + ["row"] * row)
            if complete:
                damage.append(ctx.get(dut.damaged))
            ctx.set(dut.release_layer, layer)
            ctx.set(dut.release_row, row)
            # A group is given back when the next one begins.
            now = ctx.get(dut.constants_group)
            ctx.set(dut.release_group, int(now != group))
            group = now
            await ctx.tick()

    run(dut, driver, monitor, cycles=(len(data) + 50) * (slowest + 2))
    return writes, strobes, damage


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_byte_goes_where_the_twin_says(name, double):
    circuit, _, stream = model_of(name, [(1, 2), (3, 3)])
    dut = StreamLoader(GEOMETRIES[name], double=double)
    noise = random.Random(SEED).randbytes(9)
    writes, strobes, damage = record(dut, data=stream + noise, before=noise, slowest=1 if double else 3)
    events = list(StreamTwin(circuit).read(stream))
    assert writes == [in_ring(event, dut.config) for event in events if not isinstance(event, str)]
    assert strobes == [event for event in events if event in ("layer", "row")]
    assert damage == [0]


def work(dut, sections, stream, *, turns=2, slowest=1, hold=0, eager=1.0, patience=200):
    """Let an engine use a stream some times over; return the engine and the level of ``run`` at the end."""
    rng = random.Random(SEED)
    engine = Engine(dut, sections, rng, hold=hold, eager=eager)
    level = []

    async def driver(ctx):
        for turn in range(turns):
            await begin(ctx, dut)
            await send(ctx, dut, stream, rng, slowest=slowest)
            while engine.completed == turn:
                await ctx.tick()
        for _ in range(patience):
            await ctx.tick()
        level.append(ctx.get(dut.run))

    run(dut, driver, engine.run, cycles=turns * len(stream) * (slowest + 2) * 4 + 5000)
    return engine, level[0]


@pytest.mark.parametrize(("name", "double", "shapes", "options"), [
    ("8x16", False, [(2, 40), (5, 1)], {"turns": 1}),
    ("8x16", True, [(1, 100), (3, 2)], {"turns": 1, "hold": 50, "eager": 0.4}),
    # An engine that is slower than the flash, one that stops and goes, and one that keeps as many rows as it may.
    ("2x4", False, [(3, 9), (8, 1), (1, 20)], {"eager": 0.1, "hold": 8}),
    ("2x4", True, [(3, 9), (8, 1), (1, 20)], {"eager": 0.1, "hold": 8}),
    ("2x4", True, [(1, 1)] * 3, {"turns": 4, "eager": 0.02}),
    ("2x4", False, [(3, 9), (8, 1), (1, 20)], {"slowest": 4, "eager": 0.5}),
    ("2x4", True, [(2, 12), (1, 12)], {"hold": 16, "eager": 0.3}),
    ("4x8", True, [(6, 1), (2, 12)], {"hold": 16, "eager": 0.2}),
    ("least", True, [(1, 1), (5, 4), (1, 2)], {"hold": 8, "eager": 0.2}),
])
def test_an_engine_finds_every_row_with_its_group_and_layer(name, double, shapes, options):
    _, sections, stream = model_of(name, shapes)
    dut = StreamLoader(GEOMETRIES[name], double=double)
    engine, level = work(dut, sections, stream, **options)
    count = options.get("turns", 2) * sum(groups * rows for groups, rows in shapes)
    assert engine.used == engine.released["row"] == count
    assert engine.begun == engine.released
    assert level == 1


@pytest.mark.parametrize(("kind", "name", "shapes", "double"), [
    ("row", "2x4", [(1, 40)], False), ("row", "2x4", [(1, 40)], True), ("group", "2x4", [(12, 1)], True),
    ("layer", "2x4", [(1, 1)] * 6, True), ("row", "8x16", [(1, 300)], True),
])
def test_a_ring_that_nobody_empties_stops_the_flash(kind, name, shapes, double):
    """The bytes that are under way then still find room, four of them or none."""
    config = GEOMETRIES[name]
    _, sections, stream = model_of(name, shapes)
    dut = StreamLoader(config, double=double)
    rng = random.Random(SEED)
    engine = Engine(dut, sections, rng, eager=0)
    sent = []

    async def driver(ctx):
        await begin(ctx, dut)
        while ctx.get(dut.run):
            await send(ctx, dut, stream[len(sent) : len(sent) + 1], rng)
            sent.append(None)
        for _ in range(UNDER_WAY):
            await send(ctx, dut, stream[len(sent) : len(sent) + 1], rng)
            sent.append(None)
        await ctx.tick().repeat(20)
        assert not ctx.get(dut.run)

    run(dut, driver, engine.run, cycles=20_000)
    limit = {"row": config.weight_rows - 4, "group": config.channel_groups - 2, "layer": config.layers - 2}[kind]
    assert limit <= engine.most[kind] <= engine.sizes[kind]


def flipped(stream, place, rng):
    return stream[:place] + bytes((stream[place] ^ rng.randrange(1, 256),)) + stream[place + 1:]


def kinds_of_bytes(circuit, sections):
    """Where the bytes of each kind are, in the first section of a stream."""
    constants, row = 8 * circuit.lanes, 2
    begin = 256 + constants
    end = boundaries(sections)[0] - 4
    return {"program": range(256), "constants": range(256, begin), "weights": range(begin, begin + 2 * row),
            "tail of a group": range(begin + 3 * row - 1, begin + 3 * row),
            "tail of a section": range(end - 2, end), "CRC": range(end, end + 4)}


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("kind", kinds_of_bytes(*model_of("2x4", [(2, 3), (1, 2)])[:2]))
def test_a_damaged_section_never_completes_unnoticed(kind, case):
    """Nor is its last row handed on, wherever the loader sees its end."""
    circuit, sections, stream = model_of("2x4", [(2, 3), (1, 2)])
    rng = random.Random(f"{SEED} {kind} {case}")
    damaged = flipped(stream, rng.choice(kinds_of_bytes(circuit, sections)[kind]), rng)
    dut = StreamLoader(GEOMETRIES["2x4"], double=bool(case % 2))
    _, strobes, damage = record(dut, data=damaged + rng.randbytes(100))
    assert 0 not in damage
    if kind in ("program", "constants", "CRC"):
        # Rows of the first section but the last one, and then those of the second one but the last one.
        assert strobes == ["layer", *["row"] * 5, "layer", "row"]
        assert damage == [1]


@pytest.mark.parametrize("double", [False, True])
def test_a_header_is_checked_and_written_nowhere(double):
    rng = random.Random(SEED)
    circuit = circuit_of(2, 4)
    header = header_of(circuit).to_bytes()
    dut = StreamLoader(GEOMETRIES["2x4"], double=double)
    for data, wrong in ((header, 0), (flipped(header, 17, rng), 1), (flipped(header, 254, rng), 1)):
        assert record(dut, data=data + header[:30], header=1) == ([], [], [wrong])


def test_places_and_bytes_of_a_header_are_told():
    dut = StreamLoader(GEOMETRIES["2x4"])
    header = header_of(circuit_of(2, 4)).to_bytes()
    seen = []

    async def driver(ctx):
        await send_header(ctx, dut, header + b"more", random.Random(SEED))
        await ctx.tick().repeat(5)

    async def monitor(ctx):
        while True:
            if ctx.get(dut.header_write):
                seen.append((ctx.get(dut.place), ctx.get(dut.byte)))
            await ctx.tick()

    run(dut, driver, monitor, cycles=1000)
    assert seen == list(enumerate(header[:252]))


def test_a_stream_follows_a_header_and_a_reset_within_a_stream():
    _, sections, stream = model_of("2x4", [(2, 3)])
    reset = Signal()
    loader = StreamLoader(GEOMETRIES["2x4"])
    rng = random.Random(SEED)
    engine = Engine(loader, sections, rng)

    async def driver(ctx):
        await begin(ctx, loader)
        await send(ctx, loader, stream[:300], rng)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        await send(ctx, loader, stream[:9], rng)
        await send_header(ctx, loader, header_of(circuit_of(2, 4)).to_bytes(), rng)
        await ctx.tick().until(loader.complete)
        assert not ctx.get(loader.damaged)
        await begin(ctx, loader)
        engine.begun = dict.fromkeys(engine.begun, 0)
        engine.layers = engine.usable = engine.used = 0
        engine.released = dict.fromkeys(engine.released, 0)
        await send(ctx, loader, stream, rng)
        await ctx.tick().repeat(30)

    run(ResetInserter(reset)(loader), driver, engine.run, cycles=5000)
    assert engine.used == 6


@pytest.mark.parametrize(("changes", "message"), [
    ({"layers": 2}, "layers must be a power of two and at least 4 for a stream, not 2"),
    ({"channel_groups": 2}, "channel_groups must be a power of two and at least 4 for a stream, not 2"),
    ({"weight_rows": 4}, "weight_rows must be a power of two and at least 8 for a stream, not 4"),
    ({"weight_rows": 48}, "weight_rows must be a power of two and at least 8 for a stream, not 48"),
    ({"lanes": 1, "width": 4}, "lanes x width must be at least 8 for a stream, not 1 x 4"),
])
def test_circuits_without_room_for_what_is_under_way_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        StreamLoader(dataclasses.replace(GEOMETRIES["2x4"], **changes))
