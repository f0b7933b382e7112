"""The folder: what a run replaces and removes there, what it leaves alone, and who waits for whom."""

import hashlib
import json
import pathlib
import re

import pytest

from gateware.verilog.folder import VerilogFolder
from support.errors import InputError

HERE = pathlib.Path("made")
CHANGED = ("{}: file must be as an earlier run wrote it, which this run would replace or remove: move it to another "
           "folder, or give another with -o")
FOREIGN = ("{}: output must not be a file that no earlier run wrote: move it to another folder, or give another "
           "--name, or another folder with -o")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def contents(**files):
    """Files of a run with their report; two underscores stand for a dot."""
    named = {name.replace("__", "."): text.encode() for name, text in files.items()}
    report = {"module": "sterna", "interface": "stream", "waivers": {},
              "files": {name: hashlib.sha256(content).hexdigest() for name, content in named.items()}}
    return {**named, "report.json": json.dumps(report).encode()}


def publish(**files):
    with VerilogFolder.opened(HERE) as folder:
        folder.publish(contents(**files))


def found():
    return {path.name: path.read_text() for path in HERE.iterdir()
            if path.name not in ("report.json", ".sterna-verilog")}


def refuses(message, **files):
    before = found()
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        publish(**files)
    assert found() == before


def test_files_of_an_earlier_run_are_replaced_and_removed():
    publish(sterna__v="first", sterna__md="page", sterna_weights__mem="0")
    publish(sterna__v="second", sterna__md="page")
    assert found() == {"sterna.v": "second", "sterna.md": "page"}
    publish(other__v="third")
    assert found() == {"other.v": "third"}


def test_a_file_that_is_gone_is_no_reason_to_refuse():
    publish(sterna__v="first")
    (HERE / "sterna.v").unlink()
    publish(other__v="second")
    assert found() == {"other.v": "second"}


def test_a_file_that_no_run_wrote_is_not_overwritten():
    publish(sterna__v="first")
    (HERE / "my.v").write_text("mine")
    refuses(FOREIGN.format("made/my.v"), my__v="second")
    # What the line says works.
    publish(other__v="second")
    assert found() == {"my.v": "mine", "other.v": "second"}


@pytest.mark.parametrize("name", ["sterna__v", "other__v"])
def test_a_file_that_was_changed_is_neither_overwritten_nor_removed(name):
    publish(sterna__v="first")
    (HERE / "sterna.v").write_text("first, and a day of work")
    refuses(CHANGED.format("made/sterna.v"), **{name: "second"})
    (HERE / "sterna.v").rename("mine.v")
    publish(**{name: "second"})


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("nowhere"),
                                  lambda path: path.symlink_to("../precious.v")])
def test_what_is_no_file_any_more_is_left_alone(make):
    pathlib.Path("precious.v").write_text("mine")
    publish(sterna__v="first", other__v="first")
    (HERE / "sterna.v").unlink()
    make(HERE / "sterna.v")
    with pytest.raises(InputError, match=f"^{re.escape(CHANGED.format('made/sterna.v'))}$"):
        publish(other__v="second")
    assert pathlib.Path("precious.v").read_text() == "mine"
    assert (HERE / "other.v").read_text() == "first"


@pytest.mark.parametrize("files", [{"tb.v": "", "readme.md": ""}, {"tb.v": hashlib.sha256(b"another").hexdigest()}])
def test_a_forged_report_deletes_nothing(files):
    HERE.mkdir()
    (HERE / "tb.v").write_text("mine")
    (HERE / "readme.md").write_text("mine")
    (HERE / "report.json").write_text(json.dumps({"module": "x", "interface": "x", "waivers": {}, "files": files}))
    refuses(CHANGED.format("made/tb.v"), sterna__v="first")


def test_a_file_that_changes_during_the_run_is_kept():
    publish(sterna__v="first")
    with VerilogFolder.opened(HERE) as folder:
        (HERE / "sterna.v").write_text("mine")
        with pytest.raises(InputError, match=f"^{re.escape(CHANGED.format('made/sterna.v'))}$"):
            folder.publish(contents(other__v="second"))
    assert found() == {"sterna.v": "mine"}


def test_one_run_at_a_time_writes_to_a_folder():
    message = ("made: another run of gateware.verilog writes to this folder: wait for its end, or give another with -o")
    with VerilogFolder.opened(HERE) as first:
        refuses(message, other__v="second")
        first.publish(contents(sterna__v="first"))
    publish(other__v="second")
    assert found() == {"other.v": "second"}


def test_a_folder_of_a_run_that_was_ended_is_taken():
    with VerilogFolder.opened(HERE):
        pass
    publish(sterna__v="first")
    assert found() == {"sterna.v": "first"}


def test_a_report_of_somebody_is_not_taken_for_ours():
    with VerilogFolder.opened(HERE):
        pass
    (HERE / "report.json").write_text("[]")
    refuses("made: output must be a new or empty folder or that of an earlier run, not one with 'report.json': give "
            "another with -o", sterna__v="first")
