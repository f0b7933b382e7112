"""``--verify``: samples on the netlist and the bitstream of a build, with fakes in place of tools and simulations."""

import contextlib
import json
import pathlib
import shutil

import numpy as np
import pytest

from arch.images import Samples
from boards.families.ice40 import Ice40
from support.tools import ToolMissingError
from tests.gateware.build.conftest import small_network
from tests.reference.test_engines import FakeEngine, spoil

SAMPLES = Samples(dataset="made", images=np.arange(30 * 16, dtype=np.uint8).reshape(30, 1, 4, 4),
                  labels=np.zeros(30, np.int64))


@pytest.fixture
def chips(monkeypatch, toolchain):
    """What the chips are made of that are simulated; every one of them computes what it must."""
    made = []

    class Chip(contextlib.AbstractContextManager, FakeEngine):
        predicted_cycles, fault = 100, None

        def __init__(self, filling, **options):
            self.network = filling.plan.network
            self.name = "netlist" if options["bitstream"] is None else "bitstream"
            FakeEngine.__init__(self, self.network, Chip.fault, SAMPLES.images[2])
            made.append(options)

        def __exit__(self, *reason):
            made[-1]["closed"] = True

    monkeypatch.setattr("gateware.build.baked.baked_chip", Chip)
    monkeypatch.setattr("gateware.build.baked.samples_of", lambda network: SAMPLES)
    monkeypatch.setattr("gateware.build.steps.verify.find_tool", lambda tool: tool.name)
    monkeypatch.setattr(Ice40, "check_unpacked", lambda self: None)
    made.append(Chip)
    return made


def verified(run, *options):
    code, out, err = run("--no-simulation", *options, network=small_network())
    return code, [line for line in out if "verify" in line or "simulated, as" in line], err


def test_both_rungs_are_simulated_reported_and_kept(run, chips, toolchain):
    said = [f"verify       20 samples of made on the {rung} of this build" for rung in ("netlist", "bitstream")]
    code, out, _ = verified(run, "--verify", "netlist", "--verify", "bitstream")
    assert (code, out[:2]) == (0, said)
    assert [line.split() for line in out[2:]] == [
        f"{rung} 20 images simulated, as are pads, PLL and reset; equal to the reference, clocks too".split()
        for rung in ("netlist", "bitstream")]
    report = json.loads((pathlib.Path("build") / "icebreaker" / "small" / "report.json").read_text())
    assert [(rung["rung"], rung["images"]) for rung in report["verified"]] == [("netlist", 20), ("bitstream", 20)]
    netlist, bitstream = chips[1:]
    assert (netlist["bitstream"], netlist["divisor"], netlist["closed"]) == (None, 16, True)
    assert set(netlist["netlist"]) == {"sterna.json", "sterna.pcf"}
    assert bitstream["bitstream"].startswith(b"bitstream of seed 1 of ")
    # What was simulated is not simulated again; other images, or another bitstream, are.
    assert verified(run, "--verify", "netlist")[1][0] == f"{said[0]} (kept from an earlier run)"
    assert verified(run, "--verify", "netlist", "--verify-images", "3")[1][0] == (
        "verify       3 samples of made on the netlist of this build")
    assert len(chips) == 4
    # Another seed makes another bitstream of the same netlist.
    (placed,) = (pathlib.Path("build") / "icebreaker" / "small" / "work").glob("place-seed1-*")
    shutil.rmtree(placed)
    toolchain.plan(seed1=10.0)
    code, out, _ = verified(run, "--verify", "netlist", "--verify", "bitstream")
    assert (code, out[:2]) == (0, [f"{said[0]} (kept from an earlier run)", said[1]])
    assert chips[-1]["bitstream"].startswith(b"bitstream of seed 2 of ")


def test_a_difference_ends_the_build_and_publishes_nothing(run, chips):
    chips[0].fault = staticmethod(spoil(1, 4))
    code, out, err = verified(run, "--verify", "bitstream")
    assert (code, out) == (1, [])
    assert len(err) == 1
    assert err[0].startswith("ERROR: the bitstream differs from the reference: image 2, layer 1 (readout), score 1: ")
    assert not (pathlib.Path("build") / "icebreaker" / "small" / "report.json").exists()


def test_other_clocks_end_the_build(run, chips):
    chips[0].predicted_cycles = 99
    assert verified(run, "--verify", "netlist") == (
        1, [], ["ERROR: the netlist takes 100 cycles where the cycle model says 99"])


@pytest.mark.parametrize(("options", "message"), [
    (["--verify-images", "3"], "--verify-images must be given with --verify: it has no effect without"),
    (["--verify", "netlist", "--verify", "netlist"], "--verify must name each rung once, not netlist and netlist"),
    (["--verify", "netlist", "--verify-images", "31"],
     "--verify-images must be 1 to 30, the samples that ship, not 31"),
    (["--verify", "netlist", "--verify-images", "0"], "--verify-images must be 1 to 30, the samples that ship, not 0")])
def test_options_are_checked_before_anything_is_built(options, message, run, chips, toolchain):
    assert verified(run, *options) == (1, [], [f"ERROR: {message}"])
    assert toolchain.calls() == []


def test_a_network_without_samples_is_told_what_to_do(run, chips, toolchain, monkeypatch):
    monkeypatch.setattr("gateware.build.baked.samples_of", lambda network: None)
    assert verified(run, "--verify", "netlist") == (1, [], [
        ("ERROR: --verify must be left out for a network of a data set without shipped samples, or of another size: "
        "use python -m sim NETWORK --engine netlist --images FILE --build DIR")])
    assert toolchain.calls() == []


def test_what_knows_the_bits_is_looked_for_before_anything_is_built(run, chips, toolchain, monkeypatch):
    def check_unpacked(self):
        raise ToolMissingError("icebox.py is not installed")

    monkeypatch.setattr(Ice40, "check_unpacked", check_unpacked)
    assert verified(run, "--verify", "bitstream") == (3, [], ["ERROR: icebox.py is not installed"])
    assert toolchain.calls() == []
    assert verified(run, "--verify", "netlist")[0] == 0
