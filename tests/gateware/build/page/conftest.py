"""Builds that are small and fixed: a folder with a report, and a layout of a few cells."""

import dataclasses
import functools

import pytest

from arch import network_file
from boards import BOARDS
from boards.families.ice40_placement import first_wires
from gateware.build.request import OverlayRequest, Request
from gateware.build.steps import report as reports
from gateware.build.steps.plan import find_fit, make_plan
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed.choice import streamed_config
from gateware.reports.build import StepReport, VerifiedReport
from gateware.reports.folder import REPORT
from models import DEFAULT_NETWORK
from tests.gateware.build.conftest import small_network

BOARD = BOARDS["icebreaker"]


@functools.cache
def planned(shipped=False):
    network = network_file.load(DEFAULT_NETWORK) if shipped else small_network()
    request = Request(network=network, name="mnist-conv" if shipped else "small", board=BOARD, clock_hz=48e6,
                      baud=3_000_000, seed_seconds=300)
    return reports.planned(request, make_plan(find_fit(request).plan))


def report_of(shipped=False, **changes):
    """The report of a build with three seeds, one of them out of time."""
    return dataclasses.replace(planned(shipped), **{
        "fmax_mhz": [50.0, 47.5], "fmax_median_mhz": 48.75, "seeds": [1, 3], "seeds_out_of_time": [2], "lc": 4321,
        "ebr": 29, "spram": 4, "dsp": 0, "seed": 1, "revision": "0123456789ab", "bitstream_sha256": "b" * 64,
        "netlist_sha256": "c" * 64, "sample_dataset": "mnist", "sample_images": 100, "sample_accuracy": 1.0,
        "sample_seconds": 2.0, "verified": [VerifiedReport(rung="netlist", images=20, seconds=3.5)],
        "steps": [StepReport(name="place-seed1", seconds=20.5, kept=True),
                  StepReport(name="place-seed3", seconds=21.5, kept=False),
                  StepReport(name="pack", seconds=1.5, kept=False)], "build_seconds": 70.0, **changes})


def overlay_report(**changes):
    request = OverlayRequest(name="overlay", board=BOARD, clock_hz=48e6, baud=3_000_000, seed_seconds=300,
                             config=streamed_config(BOARD), mode=FlashMode.SINGLE)
    return dataclasses.replace(reports.planned_overlay(request), **{
        "fmax_mhz": [49.0], "fmax_median_mhz": 49.0, "seeds": [1], "seed": 1, "lc": 4379, "ebr": 30, "spram": 4,
        "dsp": 7, "sample_network": "mnist-conv", "sample_cycles": 46638, "sample_images": 20, "sample_accuracy": 1.0,
        "sample_dataset": "mnist", **changes})


#: Nets of a layout, the first in the first tile and so on.
NETS = ("system.accelerator.array.dot0_0.total[1]", "system.accelerator.array.dot0_0.total[2]",
        "system.accelerator.pif.sum[0]", "system.accelerator.mask[3]", "system.reader.timer[2]", "clk")


def layout_of(nets=NETS, memories=("system.accelerator.array.dot0_0.weights[7]", "system.accelerator.constants[1]")):
    """A layout (``.asc``) in which each net is driven from a tile of its own."""
    wires = first_wires()
    lines = [f".sym {first} {net}" for first, net in zip(sorted(wires["logic"]), nets, strict=False)]
    lines += [f".sym {first} {net}" for first, net in zip(sorted(wires["block_ram"])[::2], memories, strict=False)]
    return "\n".join([".comment from next-pnr", ".device 5k", *lines, ""])


@pytest.fixture
def folder(tmp_path):
    """Make the folder of a build of a report; returns its path."""
    def make(report, name="build"):
        path = tmp_path / name
        path.mkdir()
        (path / REPORT).write_bytes(report.to_json())
        return path

    return make
