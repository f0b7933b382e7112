"""The README's figures are those of reports."""

import dataclasses
import os
import re

import pytest

from benchmarks.readme import command as readme
from support.errors import InputError
from tests.gateware.build.test_report import built

#: What `make bitstream` prints, shortened.
CONSOLE = "virtual environment is ready: .venv\nsynthesise   what it printed\n"


def report(**values):
    return dataclasses.replace(built(), **{"revision": "0123456789ab", "sample_images": 100, "sample_accuracy": 1.0,
                                           "sample_dataset": "mnist", "sample_seconds": 3.0, **values})


def test_the_block_of_the_readme_is_made_of_the_reports():
    old = readme.README.read_text(encoding="utf-8")
    text = readme.refreshed(old, report(), CONSOLE, report(fmax_mhz=[48.5, 50.0, 53.0]))
    before, block = text.split("<!-- report: all", 1)
    block, after = block.split("<!-- report: end -->", 1)
    assert (before, after) == (old.split("<!-- report: all")[0], old.split("<!-- report: end -->")[1])
    assert "$ make bitstream\nsynthesise   what it printed\n```" in block
    assert "revision `0123456789ab`" in block
    assert "| 4,676 of 5,280, 29 of 30, 4 of 4, 0 of 8 |" in block
    assert "| 48 MHz; median of 3 seeds 50.0 MHz, 48.5 to 53.0 |" in block
    assert "| 10,961 |" in block
    assert "| 99.42% of 10,000 | measured: exported integers on the reference, `t10k-images-idx3-ubyte.gz` |" in block
    assert "| exact in every channel | yes |" in block
    # What it has made, it can make again.
    again = readme.refreshed(text, report(), CONSOLE, report(fmax_mhz=[48.5, 50.0, 53.0]))
    assert again == text


@pytest.mark.parametrize(("values", "message"), [
    ({"network_sha256": "0"}, "REPORT and SEEDS must be of the same network and design"),
    ({"lc": 1}, "REPORT and SEEDS must be of the same network and design"),
    ({"board": "icesugar"}, "SEEDS must be of mnist-conv on icebreaker, not of mnist-conv on icesugar"),
    ({"sample_images": 0}, "SEEDS must be of a build with its simulation"),
    ({"revision": "0123456789ab-dirty"}, "SEEDS must be of a clean checkout, not of revision 0123456789ab-dirty"),
])
def test_reports_of_something_else_are_refused(values, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        readme.refreshed(readme.README.read_text(encoding="utf-8"), report(), "", report(**values))


def test_a_console_without_a_build_is_refused():
    with pytest.raises(InputError, match=r"^CONSOLE must be what make bitstream prints, and has no line of the synth"):
        readme.refreshed(readme.README.read_text(encoding="utf-8"), report(), "virtual environment\n", report())


def test_a_readme_without_marks_is_refused():
    with pytest.raises(InputError, match=r": must have one pair of report marks, not 0$"):
        readme.refreshed("nothing", report(), CONSOLE, report())


def test_the_command_reads_files_and_gives_one_line(tmp_path, capsys, monkeypatch):
    page = tmp_path / "README.md"
    page.write_text(readme.README.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(readme, "README", page)
    (tmp_path / "report.json").write_bytes(report().to_json())
    (tmp_path / "console").write_text(CONSOLE)
    arguments = [str(tmp_path / name) for name in ("report.json", "console", "report.json")]
    assert readme.main(arguments) == 0
    assert "what it printed" in page.read_text(encoding="utf-8")
    (tmp_path / "report.json").write_text("{}")
    assert readme.main(arguments) == 1
    assert capsys.readouterr().err == (f"ERROR: {tmp_path}/report.json: must be a report.json of python -m "
                                       "gateware.build: it has no 'board'\n")


@pytest.mark.parametrize("place", range(3))
def test_what_is_no_file_is_one_line(place, tmp_path, capsys):
    (tmp_path / "report.json").write_bytes(report().to_json())
    os.mkfifo(tmp_path / "pipe")
    arguments = [str(tmp_path / "report.json")] * 3
    arguments[place] = str(tmp_path / "pipe")
    assert readme.main(arguments) == 1
    assert capsys.readouterr().err == f"ERROR: {tmp_path}/pipe: input must be a file, not a device, pipe or socket\n"


def test_a_console_that_is_no_text_is_one_line(tmp_path, capsys):
    (tmp_path / "report.json").write_bytes(report().to_json())
    (tmp_path / "console").write_bytes(b"ok \xff")
    assert readme.main([str(tmp_path / name) for name in ("report.json", "console", "report.json")]) == 1
    assert capsys.readouterr().err == (f"ERROR: {tmp_path}/console: CONSOLE must be text in UTF-8, as make bitstream "
                                       f"prints it: byte 3 is not\n")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff"], ids=["deep", "no text"])
def test_a_damaged_report_is_one_line(content, tmp_path, capsys):
    (tmp_path / "report.json").write_bytes(content)
    assert readme.main([str(tmp_path / "report.json")] * 3) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ERROR: {tmp_path}/report.json: must be a report.json of python -m gateware.build: ")
    assert error.count("\n") == 1
