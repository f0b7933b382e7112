"""The report of the overlay that ships, and the example on its page, are renewed together."""

import dataclasses
import re

import pytest

from benchmarks.overlay import command
from gateware.reports import prebuilt
from support.errors import InputError
from tests.gateware.reports.overlays import made_report


def report(**changed):
    return made_report(**{"revision": "0123456789ab", "sample_images": 20, **changed})


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A copy of the page, and an empty folder of reports."""
    page = tmp_path / "page.md"
    page.write_text(command.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path / "overlays")
    return tmp_path


def test_a_report_ships_and_the_page_has_its_figures(place, capsys):
    old = command.PAGE.read_text(encoding="utf-8")
    (place / "report.json").write_bytes(report().to_json())
    assert command.main([str(place / "report.json")]) == 0
    shipped = place / "overlays" / "icebreaker.json"
    assert capsys.readouterr().out == f"wrote {shipped} and {command.PAGE}\n"
    assert shipped.read_bytes() == report().to_json()
    page = command.PAGE.read_text(encoding="utf-8")
    assert ("\noverlay: 4,203 of 5,280 logic cells, 30 of 30 block RAMs, Fmax 45.88 MHz (median of 2 seeds, 45.50 to "
            "46.25), built for 45 MHz\ncircuit: streamed, iCEBreaker, 45 MHz\nwritten: image.bin\n```\n") in page
    # Nothing else of the page has changed.
    begin, end = old.index("```console\n$ python -m export"), old.index("*Passes* are runs")
    assert page.startswith(old[:begin])
    assert page.endswith(old[end:])
    assert not list(place.glob("image*"))


@pytest.mark.parametrize(("changed", "message"), [
    ({"revision": "0123456789ab-dirty"},
     "report must be of a clean checkout, not of revision 0123456789ab-dirty: commit, and build again"),
    ({"revision": "v0.1.0-unknown"},
     "report must be of a clean checkout, not of revision v0.1.0-unknown: commit, and build again"),
    ({"seeds": [1], "fmax_mhz": [45.5]}, "report must be of 2 seeds or more, not of 1: build with --seeds 8"),
    ({"sample_images": 0}, "report must be of a build with its simulation: build without --no-simulation"),
])
def test_a_report_that_must_not_ship_is_refused(place, capsys, changed, message):
    path = place / "report.json"
    path.write_bytes(report(**changed).to_json())
    assert command.main([str(path)]) == 1
    assert capsys.readouterr().err == f"ERROR: {path}: {message}\n"
    assert not prebuilt.FOLDER.exists()


def test_a_report_of_another_circuit_is_refused():
    ours = report().circuit
    other = ours[:-1] + ("0" if ours[-1] != "0" else "1")
    with pytest.raises(InputError, match=f"^r: circuit must be {ours}, that of these sources, not {other}: build "
                                         f"again$"):
        command.check_report(dataclasses.replace(report(), circuit=other), name="r")


def test_a_page_without_the_example_is_refused():
    with pytest.raises(InputError, match=f"^{re.escape(str(command.PAGE))}: must have one example of python -m export "
                                         f"NETWORK --flash IMAGE -q, not 0$"):
        command.with_example("nothing")
