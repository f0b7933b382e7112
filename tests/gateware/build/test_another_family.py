"""A family that nobody but this test knows goes through the whole flow: no other file has to change for it."""

import re
import stat

import pytest

from boards import BOARDS
from boards.board import Board
from boards.families.family import Family, Invocation, Placed, Programmer, Refusal, Resources
from gateware.reports.network import Report
from support.tools import Tool
from tests.gateware.build.conftest import small_network

SYNTHESIS = "grep clock design.txt > net.txt; echo 'netlist is done'"
ROUTING = "echo \"$@\" > layout.bits; cat net.txt >> layout.bits; echo 52.5 > speed.txt"


class Toy(Family):
    """A family whose tools are shell scripts, without large memories, with an oscillator of any frequency inside."""

    device = "TOY-1"
    resources = Resources(logic_cells=9000, block_rams=200, single_port_rams=0, multipliers=3)
    packages = ("amaranth",)
    geometries = ((4, 8),)
    timesteps = 4
    spike_words = 512
    weight_rows = 128
    large_ram = None
    masked_ram = None
    adder_pair = None

    def clocks(self, oscillator_hz):
        yield from (24e6, 36e6, 50e6)

    def add_clock(self, m, platform, *, oscillator, oscillator_hz, clock_hz):
        raise AssertionError("the design of this test is not elaborated")

    def block_rams(self, width, depth):
        return 1

    def logic_cells(self, circuit):
        return 1234

    def design_files(self, platform, design):
        design._MustUse__used = True
        return {"design.txt": f"clock {design.clock_hz}\n".encode(), "pins.txt": platform.encode()}

    def synthesise(self):
        return Invocation(tool=Tool("toy-synthesis", "apt install toys"), arguments=(), inputs=("design.txt",),
                          outputs=("net.txt",))

    def place(self, *, seed, clock_hz):
        return Invocation(tool=Tool("toy-router", "apt install toys"), arguments=("seed", str(seed)),
                          inputs=("net.txt", "pins.txt"), outputs=("layout.bits", "speed.txt"))

    def read_placed(self, files):
        used = Resources(logic_cells=77, block_rams=6, single_port_rams=0, multipliers=1)
        return Placed(fmax_hz=float(files("speed.txt")) * 1e6, used=used)

    def refusal(self, log):
        return Refusal.TOO_LARGE if "toy box is full" in log else None

    def fill(self, routed, marks, contents):
        (layout,) = routed.values()
        assert len(marks) == len(contents) == 4 + 4
        return {"layout.bits": layout + f"contents of {contents[-1].name}\n".encode()}

    def simulated_netlist(self, netlist, pins, *, marks=(), contents=()):
        raise AssertionError("no chip of this test is simulated")

    def unpack(self):
        raise AssertionError("no chip of this test is simulated")

    def check_unpacked(self):
        raise AssertionError("no chip of this test is simulated")

    def simulated_bitstream(self, unpacked, netlist, pins):
        raise AssertionError("no chip of this test is simulated")

    def pack(self):
        return Invocation(tool=Tool("toy-packer", "apt install toys"), arguments=(), inputs=("layout.bits",),
                          outputs=("toy.stream",))

    def progress(self, line):
        return line


@pytest.fixture
def toy_board(tmp_path, monkeypatch):
    board = Board(name="toy", title="Toy", fpga=Toy(), platform=lambda: "pin 1", oscillator_hz=25e6, led="lamp",
                  programmers=(Programmer(tool=Tool("toy-programmer", "apt install toys")),), flash_bytes=1 << 22,
                  default_clock_hz=36e6)
    monkeypatch.setitem(BOARDS, board.name, board)
    scripts = {"toy-synthesis": SYNTHESIS, "toy-router": ROUTING, "toy-packer": "cat layout.bits > toy.stream",
               "toy-programmer": 'cat "$1" > programmed'}
    for name, script in scripts.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("support.tools.find_tool", lambda tool: str(tmp_path / tool.name))
    monkeypatch.setattr("gateware.build.flow.find_tool", lambda tool: str(tmp_path / tool.name))
    monkeypatch.setattr("boards.programming.find_tool", lambda tool: str(tmp_path / tool.name))
    return board


def test_a_new_family_needs_no_other_file(run, toy_board, tmp_path):
    code, out, err = run("--board", "toy", "--program", network=small_network())
    assert (code, err) == (0, [])
    assert out[0] == "synthesise   small for Toy: P = 4, W = 8, T = 4"
    assert out[1] == "place+route  seed 1: 52.50 MHz, 77 LC"
    folder = tmp_path / "cwd" / "build" / "toy" / "small"
    assert (folder / "sterna.bin").read_text() == "seed 1\nclock 36000000.0\ncontents of info block\n"
    assert (folder / "work" / "programmed").read_text() == "seed 1\nclock 36000000.0\ncontents of info block\n"
    # Where its cells are is not known of it, and no page shows it.
    assert "The folder of the build does not have its layout, or no known one." in (folder / "report.html").read_text()
    report = Report.from_json((folder / "report.json").read_bytes())
    assert (report.board, report.clock_mhz, report.lc, report.lc_total, report.dsp) == ("toy", 36, 77, 9000, 1)
    assert report.lc_estimate == 1234


def test_its_clocks_are_its_own(run, toy_board):
    code, _, err = run("--board", "toy", "--clock", "48", network=small_network())
    assert code == 1
    assert re.fullmatch(r"ERROR: clock must be one that the PLL makes of 25 MHz, not 48 MHz", err[0])
