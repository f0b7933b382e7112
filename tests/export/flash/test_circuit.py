"""What an image says of the bitstream that runs it, and which clock it may tell hosts."""

import json

import pytest

from arch.flash.image import load_image
from export.command import main
from gateware.reports import prebuilt
from models import DEFAULT_NETWORK
from tests.gateware.reports.overlays import made_report


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command with a report of the iCEBreaker's overlay alone; return code, output and error."""
    folder = tmp_path / "overlays"
    folder.mkdir()
    (folder / "icebreaker.json").write_bytes(made_report().to_json())
    monkeypatch.setattr(prebuilt, "FOLDER", folder)

    def run(*arguments):
        code = main([str(DEFAULT_NETWORK), "--flash", str(tmp_path / "image"), "-q", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_figures_of_the_shipped_report_are_told(run, tmp_path):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert ("\noverlay: 4,203 of 5,280 logic cells, 30 of 30 block RAMs, Fmax 45.88 MHz (median of 2 seeds, 45.50 to "
            "46.25), built for 45 MHz\ncircuit: streamed, iCEBreaker, 45 MHz\n") in out
    (model,) = load_image(tmp_path / "image")
    assert model.header.info.clock_khz == 45_000
    report = made_report()
    assert json.loads(run("--json")[1])["flash"]["overlay"] == {
        "circuit": report.circuit, "revision": report.revision, "clock_mhz": 45, "lc": 4203, "lc_total": 5280,
        "ebr": 30, "ebr_total": 30, "spram": 4, "dsp": 7, "fmax_mhz": [45.5, 46.25], "fmax_median_mhz": 45.88,
        "seeds": [1, 2], "bitstream_sha256": "0" * 64}


def test_one_seed_is_no_median(run):
    (prebuilt.FOLDER / "icebreaker.json").write_bytes(
        made_report(fmax_mhz=[45.5], fmax_median_mhz=45.5, seeds=[1]).to_json())
    assert " block RAMs, Fmax 45.50 MHz (one seed), built for 45 MHz\n" in run()[1]


def test_a_clock_that_the_overlay_does_not_close_is_refused(run, tmp_path):
    assert run("--clock", "48") == (
        1, "", ("ERROR: clock must be at most 46.25 MHz, the best of 2 seeds of the overlay on the iCEBreaker, not 48 "
                "MHz: use --clock 45\n"))
    assert not (tmp_path / "image").exists()
    assert run("--clock", "24")[0] == 0


def test_a_board_without_a_report_has_its_own_clock(run):
    code, out, _ = run("--board", "icesugar", "--dry-run")
    assert code == 0
    assert ("\noverlay: no report of it ships: python -m gateware.build --board icesugar --weights flash makes one\n"
            "circuit: streamed, iCESugar, 48 MHz\n") in out
    assert json.loads(run("--board", "icesugar", "--dry-run", "--json")[1])["flash"]["overlay"] is None


def test_an_image_that_no_overlay_can_run_is_refused(run):
    assert run("--board", "upduino-v3") == (
        1, "", ("ERROR: board must let the FPGA read the flash for the overlay, and the UPduino v3 has its serial port "
                "on the pins of the flash: use another --board\n"))
