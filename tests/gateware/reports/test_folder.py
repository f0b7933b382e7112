"""The folder of a build: its name, its lock, and a result that is there as a whole."""

import json
import os
import pathlib
import re

import pytest

from boards import BOARDS
from gateware.reports.folder import PAGE, BuildFolder, check_folder, default_folder, overlay_folder
from support.errors import InputError


@pytest.mark.parametrize("name", ["mnist-conv", "v1.2_b", "overlays"])
def test_default_folder_has_the_names_of_board_and_network(name):
    assert default_folder(BOARDS["icesugar"], name) == pathlib.Path("build", "icesugar", name)


@pytest.mark.parametrize(("name", "begin"), [
    ("a/../b c", "a_.._b_c"), ("../up", "_up"), ("...", "network"), ("", "network"), ("größe", "gr__e"),
    ("x" * 70, "x" * 64), ("overlay", "overlay")])
def test_a_name_that_is_no_folder_or_is_taken_gets_one_of_its_own(name, begin):
    folder = default_folder(BOARDS["icesugar"], name)
    assert folder.parent == pathlib.Path("build", "icesugar")
    assert re.fullmatch(re.escape(begin) + "-[0-9a-f]{8}", folder.name)
    # A name that becomes the same letters is in another folder.
    assert folder != default_folder(BOARDS["icesugar"], f"{name}/")


def test_the_overlay_has_a_folder_of_its_own():
    assert overlay_folder(BOARDS["icesugar"]) == pathlib.Path("build", "icesugar", "overlay")
    assert overlay_folder(BOARDS["icesugar"]) != default_folder(BOARDS["icesugar"], "overlay")


REPORT = {"network_sha256": "0", "board": "icebreaker", "cycles_per_inference": 1, "more": 2}


@pytest.mark.parametrize("report", [REPORT, {**REPORT, "board": None}])
def test_a_build_from_before_there_was_a_mark_is_ours(tmp_path, report):
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "sterna.bin").write_bytes(b"old")
    check_folder(tmp_path)


@pytest.mark.parametrize("report", [
    "{", "[]", "null", "[" * 100_000, json.dumps({key: value for key, value in REPORT.items() if key != "board"})])
def test_a_report_of_somebody_is_no_build(tmp_path, report):
    (tmp_path / "report.json").write_text(report)
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path))}: output must be a new or empty folder or that "
                                         f"of an earlier build, not one with 'report.json': give another with -o$"):
        check_folder(tmp_path)


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_is_opened_is_marked_and_locked(tmp_path, there):
    path = tmp_path / "board" / "network"
    if there:
        path.mkdir(parents=True)
    with BuildFolder.opened(path) as folder:
        assert folder.path == path
        assert sorted(entry.name for entry in path.iterdir()) == [".sterna-build", "work"]
        assert folder.work == path / "work"
        busy = f"^{re.escape(str(path))}: another build works in this folder: wait for it, or give another with -o$"
        with pytest.raises(InputError, match=busy), BuildFolder.opened(path):
            pytest.fail("two builds are in one folder")
    with BuildFolder.opened(path):
        pass


def test_a_result_is_published_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    names = ("sterna.bin", "report.json")
    with BuildFolder.opened(tmp_path) as folder:
        folder.publish({name: f"first {name}".encode() for name in names})
        replace, done = os.replace, []

        def fail_at_the_second(*arguments, **options):
            done.append(arguments)
            if len(done) == 2:
                raise OSError(28, "No space left on device")
            return replace(*arguments, **options)

        monkeypatch.setattr(os, "replace", fail_at_the_second)
        with pytest.raises(OSError, match="No space left on device"):
            folder.publish({name: f"second {name}".encode() for name in names})
    assert len(done) >= 2
    assert [(tmp_path / name).read_text() for name in names] == [f"first {name}" for name in names]


def test_the_page_of_an_earlier_result_does_not_stay_beside_a_new_one(tmp_path):
    with BuildFolder.opened(tmp_path / "build") as folder:
        (folder.path / PAGE).write_text("of the earlier result")
        folder.publish({"report.json": b"new"})
    assert sorted(path.name for path in folder.path.iterdir()) == [".sterna-build", "report.json", "work"]


def test_a_folder_in_the_place_of_the_page_is_refused_before_the_build(tmp_path):
    (tmp_path / ".sterna-build").touch()
    (tmp_path / PAGE).mkdir()
    with pytest.raises(InputError, match=rf"^{re.escape(str(tmp_path / PAGE))}: output must be a file, not a folder$"):
        check_folder(tmp_path)
