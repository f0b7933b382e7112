# amaranth: UnusedElaboratable=no
import random
import time
from pathlib import Path

import pytest
from amaranth import *
from amaranth.back import verilog
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from firmware.host.link import Link
from gateware.flash.bus import FlashBus
from gateware.flash.reader import FlashMode, FlashReader
from gateware.link.uart import UartTransmitter
from sim.verilated import MemoryShape, SimulationTransport, Verilated, memory_shapes
from sim.verilator import SimulationError, Trace
from sim.waves.recording import check_fst
from tests.link_board import CACHE, Echo, LinkBoard, expected_result, make_info

SEED = 0x55


class Memories(wiring.Component):
    """One memory per storage class of Verilator, all written and read so that none is optimised away."""

    WIDTHS = (1, 8, 13, 32, 33, 64, 100, 128)

    def __init__(self):
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        address = Signal(3)
        m.d.sync += address.eq(address + 1)
        parity = 0
        for width in self.WIDTHS:
            m.submodules[f"w{width}"] = rows = memory.Memory(shape=width, depth=8, init=[1] * 8)
            write, read = rows.write_port(), rows.read_port()
            m.d.comb += [write.addr.eq(address), write.data.eq(read.data), write.en.eq(~self.rx), read.addr.eq(address)]
            parity = parity ^ read.data.xor()
        m.d.comb += self.tx.eq(parity)
        return m


class OneName(wiring.Component):
    """A memory and a signal of one name, and a module without name: Amaranth gives both a number with a dollar sign."""

    def __init__(self):
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        counter = Signal(3, name="rows")
        m.d.sync += counter.eq(counter + 1)
        m.submodules.rows = rows = memory.Memory(shape=9, depth=8, init=[])
        m.submodules += (inner := Module())
        inner.submodules.words = words = memory.Memory(shape=17, depth=4, init=[])
        read, other = rows.read_port(), words.read_port()
        m.d.comb += [read.addr.eq(counter), other.addr.eq(counter), self.tx.eq(read.data.xor() ^ other.data.xor())]
        return m


class FlashDump(wiring.Component):
    """Reads a flash from one address on and sends every byte as it comes, a bit of it per clock of the line."""

    def __init__(self, mode, *, address):
        self.mode    = mode
        self.address = address
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1),
                          "flash": Out(FlashBus(double=mode is FlashMode.DOUBLE))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = FlashReader(mode=self.mode, clock_hz=48e6, latency=2)
        m.submodules.uart   = uart   = UartTransmitter(4)
        wiring.connect(m, reader.bus, wiring.flipped(self.flash))
        # A byte at a time: the next one is asked for when a character has been sent.
        held, full = Signal(8), Signal()
        asked, begun = Signal(8), Signal()
        m.d.comb += [self.tx.eq(uart.tx), reader.address.eq(self.address), reader.start.eq(reader.ready & ~begun)]
        with m.If(reader.ready):
            m.d.sync += begun.eq(1)
        m.d.sync += asked.eq(asked + 1)
        m.d.comb += reader.run.eq(asked == 0)
        m.d.comb += [uart.i.valid.eq(full), uart.i.payload.eq(held.bit_select(uart.position, 1))]
        with m.If(reader.valid):
            m.d.sync += [held.eq(reader.byte), full.eq(1)]
        with m.Elif(uart.i.ready & (uart.position == 7)):
            m.d.sync += full.eq(0)
        return m


@pytest.fixture(scope="module")
def cache():
    return CACHE


@pytest.fixture(scope="module")
def echo():
    return verilog.convert(Echo(), name="echo", emit_src=False)


@pytest.fixture(scope="module")
def board():
    return verilog.convert(LinkBoard(), name="board", emit_src=False)


def test_echo_returns_every_character(echo, cache):
    data = bytes(range(256)) + random.Random(SEED).randbytes(200)
    with Verilated(echo, cache=cache) as simulation:
        simulation.reset()
        simulation.send(data)
        assert simulation.run(characters=len(data), limit=50_000) == data
        assert simulation.framing_errors == 0
        assert 40 * len(data) < simulation.clocks < 40 * (len(data) + 2)


def test_run_stops_at_its_limit(echo, cache):
    with Verilated(echo, cache=cache) as simulation:
        simulation.reset(clocks=10)
        assert simulation.run(limit=1000) == b""
        assert simulation.clocks == 1010


def test_settling_ends_with_silence_and_tells_when_characters_began(echo, cache):
    with Verilated(echo, cache=cache) as simulation:
        simulation.reset(clocks=10)
        simulation.send(b"\x00\x5a")
        characters, clocks = simulation.settle(100, 10_000)
        assert characters == b"\x00\x5a"
        # The first comes back when it has come; the stop bit of the second is looked at in its middle.
        assert 10 + 40 <= clocks[0] <= 10 + 50
        assert clocks[1] - clocks[0] == 40
        assert simulation.clocks - clocks[1] == 38 + 100
        assert simulation.settle(100, 50) == (b"", ())
        assert simulation.clocks - clocks[1] == 38 + 100 + 50


def test_waveform_is_played_as_given(echo, cache):
    with Verilated(echo, cache=cache) as simulation:
        simulation.reset()
        # 0x0f, with bits a clock short or long, then a character without stop bit, then 0x55.
        simulation.wave([(0, 5), (1, 15), (0, 17), (1, 7), (0, 39), (1, 30)])
        simulation.send(b"\x55")
        assert simulation.run(limit=2000) == b"\x0f\x55"


def test_characters_may_be_sent_off_rate(cache):
    source = verilog.convert(Echo(16), name="echo", emit_src=False)
    data = random.Random(SEED).randbytes(100)
    for factor in (0.98, 1.02):
        with Verilated(source, divisor=16, cache=cache) as simulation:
            simulation.send(data, divisor=16 * factor)
            assert simulation.run(characters=100, limit=50_000) == data


def test_memories_are_found_with_their_shapes():
    shapes = memory_shapes(verilog.convert(Memories(), name="top", emit_src=False))
    assert shapes == {f"w{width}": MemoryShape(width=width, depth=8, path=f"w{width}") for width in Memories.WIDTHS}


def test_memories_are_named_without_the_numbers_of_amaranth():
    source = "module top(clk);\nendmodule\nmodule \\top.core.weights$12 (clk);\n  reg [7:0] \\lane0$3 [3:0];\n"
    shape = MemoryShape(width=8, depth=4, path="core.weights$12.lane0$3")
    assert memory_shapes(source) == {"core.weights.lane0": shape}


def test_memory_with_a_number_of_amaranth_is_loaded_and_read(cache):
    source = verilog.convert(OneName(), name="top", emit_src=False)
    shapes = memory_shapes(source)
    assert set(shapes) == {"rows", "U.words"}
    assert all("$" in shape.path for shape in shapes.values())
    with Verilated(source, memories=list(shapes), cache=cache) as simulation:
        for name, shape in shapes.items():
            simulation.load(name, range(shape.depth))
            assert simulation.read(name) == list(range(shape.depth))


def test_memories_are_loaded_read_and_filled(cache):
    rng = random.Random(SEED)
    source = verilog.convert(Memories(), name="top", emit_src=False)
    names = [f"w{width}" for width in Memories.WIDTHS]
    with Verilated(source, memories=names, cache=cache) as simulation:
        for width, name in zip(Memories.WIDTHS, names, strict=True):
            assert simulation.read(name) == [1] * 8
            rows = [rng.getrandbits(width) for _ in range(3)]
            simulation.load(name, rows, first=4)
            assert simulation.read(name) == [1] * 4 + rows + [1]
            assert simulation.read(name, first=5, count=1) == rows[1:2]
            simulation.fill(name, 7)
            filled = simulation.read(name)
            assert max(filled) >> width == 0
            assert width < 13 or len(set(filled)) == 8
            simulation.fill(name, 8)
            assert width < 13 or set(simulation.read(name)).isdisjoint(filled)
            simulation.run(limit=20)
            simulation.load(name, [2**width - 1] * 8)
            simulation.reset()
            assert simulation.read(name) == [2**width - 1] * 8


def test_bad_rows_and_names_are_refused(board, cache):
    with Verilated(board, memories=["link.info"], cache=cache) as simulation:
        with pytest.raises(ValueError, match=r"^a row of link\.info must fit in 8 bits$"):
            simulation.load("link.info", [256])
        with pytest.raises(ValueError, match=r"^rows of link\.info must end by 128, not 129$"):
            simulation.load("link.info", [0], first=128)
        with pytest.raises(ValueError, match=r"^memory must be one of link\.info, not 'weights'$"):
            simulation.fill("weights", 1)
    with pytest.raises(ValueError, match=r"^memory must be one of core\.sums\.storage, link\.info, not 'weights'$"):
        Verilated(board, memories=["weights"], cache=cache)


def test_stopped_simulation_is_one_clear_error(echo, cache):
    with Verilated(echo, cache=cache) as simulation:
        simulation._process.kill()
        simulation._process.wait()
        with pytest.raises(SimulationError, match=r"^simulation stopped: no message$"):
            simulation.run(limit=1)


def test_link_classifies_through_the_pins(board, cache):
    rng = random.Random(SEED)
    images = [rng.randbytes(20) for _ in range(30)]
    with Verilated(board, memories=["link.info"], cache=cache) as simulation:
        info = make_info()
        simulation.fill("link.info", 3)
        simulation.load("link.info", list(info.to_bytes()))
        simulation.reset()
        link = Link(SimulationTransport(simulation))
        assert link.info() == info
        assert list(link.classify_all(images)) == [expected_result(image, 200) for image in images]
        assert link.repeated == 0


@pytest.mark.parametrize(("trace", "begin"), [
    (Trace.VCD, b"$version Generated by VerilatedVcd"),
    # A header block of 329 bytes (the format's description is in GTKWave's manual, appendix F).
    (Trace.FST, b"\0" + (329).to_bytes(8, "big")),
])
def test_waveforms_have_the_format_that_was_asked_for(echo, cache, tmp_path, trace, begin):
    with Verilated(echo, cache=cache, trace=trace) as simulation:
        simulation.trace(tmp_path / "wave")
        simulation.run(limit=100)
        assert simulation.end_trace() == 100
        assert simulation.end_trace() == 100
    assert (tmp_path / "wave").read_bytes().startswith(begin)
    if trace is Trace.FST:
        check_fst(tmp_path / "wave")


@pytest.mark.parametrize(("trace", "line"), [
    (Trace.VCD, "waveform: No space left on device"),
    (Trace.FST, "waveform: it could not be written whole, maybe because the disk is full"),
])
def test_a_full_disk_is_told(echo, cache, trace, line):
    with Verilated(echo, cache=cache, trace=trace) as simulation:
        simulation.trace(Path("/dev/full"))
        simulation.run(limit=10)
        with pytest.raises(SimulationError, match=f"^simulation stopped: %Error: {line}$"):
            simulation.end_trace()


def test_what_is_not_compiled_for_it_writes_no_waveform(echo, cache, tmp_path):
    with Verilated(echo, cache=cache) as simulation:
        simulation.trace(tmp_path / "wave")
        with pytest.raises(SimulationError, match=r"^simulation stopped: harness: this build writes no waveform$"):
            simulation.end_trace()
    assert not (tmp_path / "wave").exists()


def test_speed_is_worth_the_compilation(board, cache):
    with Verilated(board, cache=cache) as simulation:
        start = time.perf_counter()
        simulation.run(limit=500_000)
        assert 500_000 / (time.perf_counter() - start) > 200_000


@pytest.mark.parametrize("mode", [FlashMode.QUAD, FlashMode.DOUBLE])
def test_a_flash_is_beside_the_design(cache, mode):
    contents = random.Random(SEED).randbytes(64)
    design = verilog.convert(FlashDump(mode, address=0x10_0003), name="dump", emit_src=False)
    with Verilated(design, cache=cache) as simulation:
        simulation.load_flash(0x10_0000, contents)
        simulation.reset()
        # A nibble or a byte per 256 clocks.
        sent = simulation.run(characters=40, limit=600_000)
        assert sent[:40] == contents[3:43]


def test_a_flash_that_is_not_written_is_erased(cache):
    design = verilog.convert(FlashDump(FlashMode.QUAD, address=0x10_0003), name="dump", emit_src=False)
    with Verilated(design, cache=cache) as simulation:
        simulation.load_flash(0x10_0000, bytes(5))
        simulation.reset()
        assert simulation.run(characters=4, limit=100_000)[:4] == b"\0\0\xff\xff"
