"""Cells by block, from the layout in the folder of a build."""

import hashlib

import pytest
from amaranth.hdl import Fragment

from arch.link import INFO_BYTES
from boards import BOARDS
from boards.families.ice40_placement import read_placement
from gateware.build.page import floorplan
from gateware.build.page.floorplan import find_floorplan, floorplan_of
from gateware.build.page.naming import OTHER
from gateware.engine.accelerator import Accelerator
from gateware.engine.streamed_accelerator import StreamedAccelerator
from gateware.flash.reader import FlashMode
from gateware.link.host_link import HostLink
from gateware.mapper.choice import plan_for_board
from gateware.mapper.streamed.choice import streamed_config
from gateware.reports.archive import pack
from gateware.reports.folder import BASE, NETLIST
from gateware.streamed_system import StreamedSystem
from tests.gateware.build.conftest import small_network
from tests.gateware.build.page.conftest import layout_of, overlay_report, report_of


def test_cells_belong_to_the_block_in_the_path_of_their_net():
    plan = floorplan_of(read_placement(layout_of()))
    assert {block: len(cells) for block, cells in plan.logic.items()} == {
        "neuron array": 2, "PIF neurons": 1, "flash reader": 1, OTHER: 2}
    assert {block: len(cells) for block, cells in plan.block_rams.items()} == {"weight memory": 1, "constant memory": 1}
    # A block RAM counts 16 cells; what belongs to no block is last, however large.
    assert plan.blocks == ["constant memory", "weight memory", "neuron array", "PIF neurons", "flash reader", OTHER]


def submodules(component):
    return {name for _, name, _ in Fragment.get(component, None).subfragments}


def test_every_block_of_both_circuits_has_a_title():
    """A cell of a block without one would count as one between the blocks."""
    board = BOARDS["icebreaker"]
    streamed = streamed_config(board)
    blocks = {
        "accelerator": (submodules(StreamedAccelerator(streamed))
                        | submodules(Accelerator(plan_for_board(small_network(), board).config))),
        "link": submodules(HostLink(divisor=16, info=bytes(INFO_BYTES), selectable=True))}
    parts = submodules(StreamedSystem(streamed, divisor=16, clock_hz=48e6, mode=FlashMode.QUAD, latency=2,
                                      base=board.models_at)) - blocks.keys()
    nets = [f"system.{block}.{name}.signal.bit" for block, names in blocks.items() for name in names]
    nets += [f"system.{name}.signal.bit" for name in parts]
    assert len(nets) > 15
    assert [net for net in nets if floorplan._block(net, memory=False) == OTHER] == []


@pytest.fixture
def base():
    return pack({"circuit.json": b"{}", "sterna.asc": layout_of().encode()})


def test_the_layout_of_the_base_is_found(folder, base):
    report = report_of(base_sha256=hashlib.sha256(base).hexdigest())
    path = folder(report)
    (path / BASE).write_bytes(base)
    assert find_floorplan(path, report).logic.keys() == floorplan_of(read_placement(layout_of())).logic.keys()


def test_the_base_of_another_build_is_not_taken(folder, base):
    report = report_of(base_sha256="0" * 64)
    path = folder(report)
    (path / BASE).write_bytes(base)
    assert find_floorplan(path, report) is None


def test_without_a_base_the_layout_of_the_seed_and_netlist_is_found(folder):
    netlist = pack({"sterna.json": b"the design", "sterna.pcf": b""})
    report = overlay_report(netlist_sha256=hashlib.sha256(netlist).hexdigest())
    path = folder(report)
    (path / NETLIST).write_bytes(netlist)
    for name, design, layout in (
            ("place-seed1-aaaa", b"another", "x"), ("place-seed1-bbbb", b"the design", layout_of())):
        step = path / "work" / name
        step.mkdir(parents=True)
        (step / "sterna.json").write_bytes(design)
        (step / "sterna.pcf").write_bytes(b"")
        (step / "sterna.asc").write_text(layout)
    assert find_floorplan(path, report).placement.columns == 26


@pytest.mark.parametrize("content", [b"", b"no archive", pack({"circuit.json": b"{}"})])
def test_a_damaged_base_shows_no_floorplan(folder, content):
    report = report_of(base_sha256=hashlib.sha256(content).hexdigest())
    path = folder(report)
    (path / BASE).write_bytes(content)
    assert find_floorplan(path, report) is None
