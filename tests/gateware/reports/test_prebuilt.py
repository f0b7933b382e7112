"""Reports of overlays that ship: they are of today's circuit, and what a build gives."""

import dataclasses

import pytest

from boards import BOARDS, BoardError
from gateware.build.command import main
from gateware.mapper.streamed.choice import streamed_config
from gateware.reports import prebuilt
from gateware.reports.overlay import OverlayReport
from tests.gateware.reports.overlays import made_report

BOARD = BOARDS["icebreaker"]

#: Boards whose reports ship.
SHIPPED = sorted(path.stem for path in prebuilt.FOLDER.glob("*.json"))

RENEW = "renew the report: docs/overlay.md, Building the bitstream"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_report_is_of_the_circuit_of_the_board(name):
    board, report = BOARDS[name], prebuilt.prebuilt_overlay(BOARDS[name])
    assert report is not None, RENEW
    assert (report.board, report.device) == (name, board.fpga.device)
    assert report.parameters == dataclasses.asdict(streamed_config(board)), RENEW
    assert report.models_at == board.models_at
    board.check_clock(report.clock_mhz * 1e6)
    assert len(report.fmax_mhz) == len(report.seeds) > 1
    assert report.fmax_mhz[report.seeds.index(report.seed)] >= report.clock_mhz
    assert report.sample_images == 20
    prebuilt.check_overlay_clock(board, prebuilt.overlay_clock_hz(board))


@pytest.mark.synth
@pytest.mark.long
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_report_is_what_a_build_gives(name, tmp_path):
    """The seeds up to that of the bitstream are placed once more; each is the same on every machine."""
    shipped = OverlayReport.from_json((prebuilt.FOLDER / f"{name}.json").read_bytes())
    rate = ["--flash-rate", "double"] if shipped.flash_mode == "double" else []
    assert main(["--board", name, "--weights", "flash", "--clock", f"{shipped.clock_mhz:g}", "--baud",
                 str(shipped.baud), "--seed-seconds", "3600", *rate, "-o", str(tmp_path / "built")]) == 0
    built = OverlayReport.from_json((tmp_path / "built" / "report.json").read_bytes())
    assert built.tool_versions == shipped.tool_versions, RENEW
    assert built.circuit == shipped.circuit, RENEW
    assert built.design_sha256 == shipped.design_sha256, RENEW
    seeds = len(built.seeds)
    assert (built.seeds, built.fmax_mhz) == (shipped.seeds[:seeds], shipped.fmax_mhz[:seeds])
    assert (built.seed, built.lc, built.ebr, built.spram, built.dsp) == (
        shipped.seed, shipped.lc, shipped.ebr, shipped.spram, shipped.dsp)
    assert built.bitstream_sha256 == shipped.bitstream_sha256
    assert (built.sample_images, built.sample_accuracy, built.sample_cycles) == (
        shipped.sample_images, shipped.sample_accuracy, shipped.sample_cycles)


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Ship a report, or none."""
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path)
    return lambda report: (tmp_path / f"{report.board}.json").write_bytes(report.to_json())


def test_without_a_report_nothing_is_known(ship):
    assert prebuilt.prebuilt_overlay(BOARD) is None
    assert prebuilt.overlay_clock_hz(BOARD) == BOARD.default_clock_hz
    prebuilt.check_overlay_clock(BOARD, 96e6)


def test_a_report_says_the_clock(ship):
    ship(made_report())
    assert prebuilt.prebuilt_overlay(BOARD) == made_report()
    assert prebuilt.overlay_clock_hz(BOARD) == 45e6
    prebuilt.check_overlay_clock(BOARD, 46.25e6)
    with pytest.raises(BoardError, match=r"^clock must be at most 46\.25 MHz, the best of 2 seeds of the overlay on "
                                         r"the iCEBreaker, not 48 MHz: use --clock 45$"):
        prebuilt.check_overlay_clock(BOARD, 48e6)
    assert prebuilt.prebuilt_overlay(BOARDS["icesugar"]) is None


def test_a_report_of_another_circuit_counts_as_none(ship):
    report = made_report()
    ship(dataclasses.replace(report, circuit=report.circuit[:-1] + ("0" if report.circuit[-1] != "0" else "1")))
    assert prebuilt.prebuilt_overlay(BOARD) is None
    assert prebuilt.overlay_clock_hz(BOARD) == BOARD.default_clock_hz


def test_a_build_without_a_clock_runs_at_that_of_the_report(ship, capsys):
    ship(made_report())
    assert main(["--board", "icebreaker", "--weights", "flash", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        "overlay on icebreaker, 45 MHz, host link 3000000 baud",
        "  logic cells                             4203 / 5280   the report that ships, of a build for 45 MHz",
        "  block RAM, SPRAM, DSP                      30, 4, 7   the report that ships, of a build for 45 MHz",
        "  Fmax, median of seeds                45.88 MHz of 2   the report that ships, of a build for 45 MHz"]
    # Another clock may be asked for: a build finds out whether the circuit reaches it.
    assert main(["--board", "icebreaker", "--weights", "flash", "--dry-run", "--clock", "96"]) == 0
