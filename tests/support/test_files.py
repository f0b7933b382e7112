"""Outputs: whole or not there, never over what is not ours."""

import errno
import os
import pathlib
import re

import pytest

from support import files
from support.errors import InputError
from support.files import (
    check_output,
    check_output_folder,
    locked,
    read_file,
    write_all,
    write_atomically,
    write_with,
)
from tests.fuzz.oracle import limited


def refused(line, check, *arguments, **options):
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        check(*arguments, **options)


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_inputs_are_files_of_limited_size(tmp_path, pipe):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_file(tmp_path / "link", limit=5) == b"12345"
    refused(f"{tmp_path}/link: file must be at most 4 bytes, not 5", read_file, tmp_path / "link", limit=4)
    for path in (pipe, "/dev/zero"):
        refused(f"{path}: input must be a file, not a device, pipe or socket", read_file, path, limit=9)
    refused(f"{tmp_path}: input must be a file, not a folder", read_file, tmp_path, limit=9)
    refused("input must be the name of a file, not ''", read_file, "", limit=9)


def test_a_limit_takes_no_memory(tmp_path):
    """Python takes all that a read may return before it reads; a checkpoint's limit is four gigabytes."""
    (tmp_path / "file").write_bytes(b"12345")
    with limited(extra_bytes=2**26):
        assert read_file(tmp_path / "file", limit=2**32) == b"12345"


def test_files_that_say_they_are_empty_are_read():
    """Those of the kernel have no size."""
    name = pathlib.Path("/proc/self/cmdline")
    assert name.stat().st_size == 0
    assert read_file(name, limit=2**20) == name.read_bytes() != b""


def test_files_that_change_while_they_are_opened_are_noticed(tmp_path, pipe, monkeypatch):
    (tmp_path / "file").write_bytes(b"12345")
    before = (tmp_path / "file").stat()
    monkeypatch.setattr(files.pathlib.Path, "stat", lambda path: before)
    refused(f"{pipe}: input must be a file, not a device, pipe or socket", read_file, pipe, limit=9)
    small = os.stat_result([*before[:6], 1, *before[7:]])
    monkeypatch.setattr(files.os, "fstat", lambda descriptor: small)
    refused(f"{tmp_path}/file: file must be at most 4 bytes, and grows", read_file, tmp_path / "file", limit=4)


def test_inputs_that_cannot_be_opened_are_named_with_the_reason(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for name, error, reason in (("file/under", NotADirectoryError, "Not a directory"),
                                ("none", FileNotFoundError, "No such file or directory")):
        with pytest.raises(error) as caught:
            read_file(tmp_path / name, limit=9)
        assert (caught.value.filename, caught.value.strerror) == (str(tmp_path / name), reason)

    def forbid(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.os, "open", forbid)
    with pytest.raises(PermissionError) as caught:
        read_file(tmp_path / "file", limit=9)
    assert (caught.value.filename, caught.value.strerror) == (str(tmp_path / "file"), "Permission denied")


def test_devices_pipes_and_folders_are_no_outputs(tmp_path, pipe):
    for check in (check_output, lambda path: write_atomically(path, b"x")):
        refused("/dev/null: output must be a file, not a device, pipe or socket", check, "/dev/null")
        refused(f"{pipe}: output must be a file, not a device, pipe or socket", check, pipe)
        refused(f"{tmp_path}: output must be a file, not a folder", check, tmp_path)
        refused(f"{tmp_path}/no/file: folder {tmp_path}/no must exist", check, tmp_path / "no" / "file")
        refused("output must be the name of a file, not ''", check, "")
    (tmp_path / "link").symlink_to("/dev/null")
    refused(f"{tmp_path}/link: output must be a file, not a device, pipe or socket", check_output, tmp_path / "link")


def test_input_is_no_output_under_any_name(tmp_path):
    source = tmp_path / "source"
    source.write_text("precious")
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "twin").hardlink_to(source)
    for name in ("source", "link", "twin"):
        refused(f"{tmp_path / name}: output must not be the input {source}: give another name",
                check_output, tmp_path / name, inputs=[source])
    check_output(tmp_path / "other", inputs=[source, tmp_path / "missing"])


def test_folder_of_outputs_may_be_made(tmp_path):
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "new" / "deep")
    (tmp_path / "file").touch()
    refused(f"{tmp_path}/file: output must be a folder, not a file", check_output_folder, tmp_path / "file")
    refused(f"{tmp_path}/file/in: {tmp_path}/file must be a folder, not a file",
            check_output_folder, tmp_path / "file" / "in")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    refused(f"{tmp_path}/nowhere: output must be a folder, not a link to nowhere",
            check_output_folder, tmp_path / "nowhere")


def test_links_are_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("old")
    (tmp_path / "link").symlink_to("there/file")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"new"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["file"]


def fail(*_):
    raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/.temporary.1234")


def test_error_names_the_users_file_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "file.npz"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left") as raised:
        write_with(path, fail)
    assert raised.value.filename == str(path)
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("file.npz", "old")]


def test_interruption_leaves_no_temporary_file(tmp_path):
    def interrupted(temporary):
        temporary.write_bytes(b"half")
        assert temporary.suffix == ".png"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_with(tmp_path / "curve.png", interrupted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_several_files_are_written_all_or_none(failing, links, tmp_path, monkeypatch):
    paths = [tmp_path / name for name in "abc"]
    paths[0].write_bytes(b"old a")
    paths[2].write_bytes(b"old c")
    if not links:
        monkeypatch.setattr(files.os, "link", fail)
    replace = type(paths[0]).replace

    def refuse(self, target):
        if target == paths[failing] and self.read_bytes() == b"new":
            raise PermissionError(errno.EPERM, "Operation not permitted", str(self))
        return replace(self, target)

    monkeypatch.setattr(type(paths[0]), "replace", refuse)
    with pytest.raises(PermissionError) as raised:
        write_all(dict.fromkeys(paths, b"new"))
    assert raised.value.filename == str(paths[failing])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old a", "c": b"old c"}
    monkeypatch.undo()
    write_all(dict.fromkeys(paths, b"new"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys("abc", b"new")


def test_several_files_are_different_files(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    refused(f"outputs must be different files, not {tmp_path}/a, {tmp_path}/b",
            write_all, {tmp_path / "a": b"1", tmp_path / "b": b"2"})


def test_lock_is_held_by_one(tmp_path):
    with locked(tmp_path / "lock"):
        with pytest.raises(InputError, match=r"^another build works here$"), \
             locked(tmp_path / "lock", busy="another build works here"):
            pass
    with locked(tmp_path / "lock", busy="another build works here"):
        pass
