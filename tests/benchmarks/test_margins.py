"""The page of timing margins: every seed counts, and what a report lacks is refused."""

import dataclasses

import pytest

import models
from arch import network_file
from benchmarks.margins import command
from benchmarks.margins.page import Margins
from support.errors import InputError
from tests.gateware.build.test_report import built
from tests.gateware.reports.overlays import made_report

MEASURED = {"revision": "0123456789ab", "clock_mhz": 48.0, "seeds": [1, 2, 3, 5], "seeds_out_of_time": [4],
            "fmax_mhz": [53.3, 47.99, 48.0, 50.12], "lc": 4298, "tool_versions": {"yosys": "0.70"}}


def baked(**changed):
    """A report of the shipped network, with the seeds of :data:`MEASURED`."""
    digest = network_file.digest(network_file.load(models.DEFAULT_NETWORK))
    return dataclasses.replace(built(), **{"network_sha256": digest, **MEASURED, **changed})


def overlay(**changed):
    return made_report(**{**MEASURED, **changed})


def test_a_seed_that_misses_the_clock_or_has_no_result_counts_as_one_that_was_tried():
    figures = dict(Margins(baked(seeds_unplaced=[6, 7])).figures())
    assert figures["seeds that reach it"] == "3 of 7, 1 out of time, 2 without a legal placement"
    # A seed at exactly the clock reaches it.
    assert Margins(baked(fmax_mhz=[48.0, 47.99])).closing == 1


def test_figures_are_those_of_all_seeds():
    assert dict(Margins(baked()).figures()) == {
        "clock of the build": "48 MHz", "seeds that reach it": "3 of 5, 1 out of time",
        "Fmax: slowest, median, fastest": "47.99, 49.06, 53.30 MHz",
        "Fmax: middle half of the seeds": "48.00 to 50.91 MHz", "margin of the median": "+2.2%",
        "margin of the slowest seed": "-0.0%", "logic cells": "4,298 of 5,280"}
    assert Margins(baked()).histogram() == [(47, 1), (48, 1), (49, 0), (50, 1), (51, 0), (52, 0), (53, 1)]


def test_the_page_has_a_section_for_each_report(tmp_path, capsys):
    files = [tmp_path / "baked.json", tmp_path / "overlay.json"]
    for file, report in zip(files, (baked(), overlay(flash_mode="double")), strict=True):
        file.write_bytes(report.to_json())
    page = tmp_path / "page.md"
    assert command.main([*map(str, files), "--page", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("# Timing margins\n")
    assert f"python -m benchmarks.margins {files[0]} {files[1]} --page {page}\n" in text
    network = models.DEFAULT_NETWORK.name
    assert (f"python -m gateware.build --board icebreaker --network models/{network} --lanes 8 --width 16 --clock 48 "
            f"--baud 12000000 --seeds 5\n```\n\n"
            f"Revision `0123456789ab`, with yosys 0.70.\n") in text
    other = ("python -m gateware.build --board icebreaker --weights flash --flash-rate double --clock 48 "
             "--baud 3000000 --seeds 5")
    assert f"```sh\n{other}\n```\n" in text
    assert "\n 49 to  50 MHz   0\n 50 to  51 MHz   1 #\n" in text
    output = capsys.readouterr().out.splitlines()
    assert output[-1] == f"wrote {page}"
    assert output[0].startswith(f"{baked().network} on icebreaker: clock of the build 48 MHz; ")


@pytest.mark.parametrize(("report", "message"), [
    (baked(revision="0123456789ab-dirty"),
     "report must be of a clean checkout, not of revision 0123456789ab-dirty: commit, and build again"),
    (overlay(fmax_mhz=[50.0], seeds=[1]),
     "report must be of 2 seeds or more that were placed, not of 1: build with --seeds 50"),
    (baked(lc=None), "report must be of a bitstream, and no seed has one: build with --seeds 50"),
])
def test_a_report_that_says_too_little_is_refused(report, message, tmp_path, capsys):
    file, page = tmp_path / "report.json", tmp_path / "page.md"
    file.write_bytes(report.to_json())
    assert command.main([str(file), "--page", str(page)]) == 1
    assert capsys.readouterr().err == f"ERROR: {file}: {message}\n"
    assert not page.exists()


def test_the_page_names_networks_that_ship_only():
    with pytest.raises(InputError, match=r"^report must be of a network that ships in models/, not of mine "
                                         r"\(sha256 0000000000000000\): build one of those$"):
        command.build_command(baked(network="mine", network_sha256="0" * 64))


def test_a_page_is_not_written_over_its_reports(tmp_path, capsys):
    file = tmp_path / "report.json"
    file.write_bytes(baked().to_json())
    assert command.main([str(file), "--page", str(file)]) == 1
    assert file.read_bytes() == baked().to_json()
    assert capsys.readouterr().err.startswith(f"ERROR: {file}")
