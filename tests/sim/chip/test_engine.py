"""Chips of a small circuit, built with the real tools, behind the pins of the board."""

import collections
import json
import re

import numpy as np
import pytest

from boards.families import ice40_bitstream, ice40_cells
from boards.families.running import run_invocation
from reference.engines import ReferenceEngine, clock_difference, first_difference
from reference.generate import random_images
from sim.chip.builds import baked_chip
from sim.chip.engine import pins_of
from sim.session import RtlError
from tests.export.into.builds import network
from tests.link_board import CACHE
from tests.sim.chip import small_build
from tests.sim.chip.small_build import BOARD, DIVISOR, NETWORK, filling_of

pytestmark = pytest.mark.rtl


@pytest.fixture(scope="module")
def made():
    return small_build.make()


def chip_of(made, network, **options):
    return baked_chip(filling_of(network), board=BOARD, netlist=made.netlist, divisor=DIVISOR, cache=CACHE, **options)


def images_of(network, count, seed=5):
    return random_images(network, np.random.default_rng(seed), count)


def difference(engine, network, images):
    """The first difference from the reference, None if there is none: scores, classes and clocks."""
    result, reference = engine.classify(images), ReferenceEngine(network)
    return (first_difference(network, images, reference.classify(images), result, reference, engine)
            or clock_difference(result, engine.predicted_cycles))


def test_the_netlist_computes_what_the_reference_computes(made):
    images = images_of(NETWORK, 3)
    with chip_of(made, NETWORK) as engine:
        assert engine.name == "netlist"
        assert difference(engine, NETWORK, images) is None
        # The info block is that of the network, after pads, PLL and reset.
        assert engine.info() == filling_of(NETWORK).info
        # Another network is taken for what it is.
        other = network(9, layers=2)
        assert first_difference(other, images, ReferenceEngine(other).classify(images), engine.classify(images),
                                ReferenceEngine(other), engine) is not None
    with chip_of(made, other) as engine:
        assert difference(engine, other, images_of(other, 2)) is None


needs_icebox = pytest.mark.skipif(not ice40_bitstream._ICEBOX.exists(), reason="fpga-icestorm is not installed")


@needs_icebox
def test_the_bitstream_has_the_flip_flops_and_memories_of_the_netlist(made, tmp_path):
    """Place and route adds tables and carries on the way, and nothing else."""
    (tmp_path / "sterna.bin").write_bytes(made.bitstream)
    run_invocation(BOARD.fpga.unpack(), tmp_path)
    unpacked = (tmp_path / "sterna.asc").read_bytes()
    turned_back = ice40_bitstream.module_of(unpacked, made.netlist["sterna.pcf"], package="sg48")

    def counted(module):
        return collections.Counter(cell["type"] for cell in module["cells"].values() if re.fullmatch(
            "SB_(DFF[A-Z]*|RAM40_4K|SPRAM256KA|IO|PLL40_PAD)", cell["type"]))

    netlist = counted(json.loads(made.netlist["sterna.json"])["modules"]["sterna"])
    assert counted(turned_back) == netlist
    assert netlist["SB_DFF"] > 500
    assert netlist["SB_RAM40_4K"] > 10
    assert {port: len(value["bits"]) for port, value in turned_back["ports"].items()} == {
        "clk12_0__io": 1, "uart_0__rx__io": 1, "uart_0__tx__io": 1, "led_g_0__io": 1}
    # The family finds the pins of its package in it.
    simulated = BOARD.fpga.simulated_bitstream({"sterna.asc": unpacked}, made.netlist, pins_of(BOARD, flash=False))
    assert len(simulated.memories) == netlist["SB_RAM40_4K"] + netlist["SB_SPRAM256KA"]


@needs_icebox
@pytest.mark.long
def test_the_bitstream_computes_what_the_reference_computes(made):
    with chip_of(made, NETWORK, bitstream=made.bitstream) as engine:
        assert engine.name == "bitstream"
        assert difference(engine, NETWORK, images_of(NETWORK, 3)) is None
        assert engine.info() == filling_of(NETWORK).info


def spoilt(netlist):
    """The netlist with one table of the engine's adders inverted, as a wrong synthesis could leave it."""
    design = json.loads(netlist["sterna.json"])
    parameters = next(cell["parameters"] for name, cell in design["modules"]["sterna"]["cells"].items()
                      if cell["type"] == "SB_LUT4" and ".dot" in name)
    parameters["LUT_INIT"] = "".join("10"[int(bit)] for bit in parameters["LUT_INIT"])
    return {**netlist, "sterna.json": json.dumps(design).encode()}


@pytest.mark.long
def test_a_wrong_table_is_found(made):
    filling = filling_of(NETWORK)
    with baked_chip(filling, board=BOARD, netlist=spoilt(made.netlist), divisor=DIVISOR, cache=CACHE) as engine:
        assert difference(engine, NETWORK, images_of(NETWORK, 3)) is not None


@pytest.mark.long
def test_a_reset_that_ends_while_block_rams_read_zeros_is_found(monkeypatch):
    """With 15 microseconds of reset the chip is right; without, it reads its program and its sizes as zeros."""
    monkeypatch.setattr(ice40_cells, "RESET_SECONDS", 0)
    made = small_build.make("no-reset")
    with chip_of(made, NETWORK) as engine:
        try:
            found = difference(engine, NETWORK, images_of(NETWORK, 3))
        except RtlError:
            return
    assert found is not None
