"""Kept boards: what is kept is what was made, and whatever changes, another board is made."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import models
from sim import sources
from sim.board import command, request
from sim.board.request import BoardRequest
from sim.board.saved import keep, kept
from sim.power_on import PowerOn
from sim.verilated import CompiledDesign, MemoryShape
from sim.weights import Weights

ROOT = pathlib.Path(__file__).parents[3]
NETWORK = models.FOLDER / "mnist-conv.safetensors"


def board_of(program, flash=(1 << 20, bytes(range(256)))):
    shapes = {"words": MemoryShape(width=100, depth=4, path="a.words$2")}
    return PowerOn(design=CompiledDesign(program=program, top="sterna", shapes=shapes), divisor=16,
                   random=("words", "others"), seed=7, memories={"words": [0, 1 << 99, 3]}, flash=flash,
                   boot_clocks=99)


@pytest.fixture
def program(tmp_path):
    file = tmp_path / "program"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize("flash", [None, (1 << 20, bytes(range(256)))])
def test_a_board_is_kept_as_it_is(program, tmp_path, flash):
    board = board_of(program, flash)
    keep("key", board, tmp_path)
    assert kept("key", tmp_path) == board
    assert kept("other", tmp_path) is None


@pytest.mark.parametrize("damage", [
    lambda content: b"", lambda content: content[:-1], lambda content: content + b" ", lambda content: b"{}",
    lambda content: content.replace(b'"seed": 7', b'"seed": 8'),
    lambda content: content[:10] + b"?" + content[11:]])
def test_a_damaged_board_is_made_anew(program, tmp_path, damage):
    keep("key", board_of(program), tmp_path)
    file = tmp_path / "board-key.json"
    content = file.read_bytes()
    assert damage(content) != content
    file.write_bytes(damage(content))
    assert kept("key", tmp_path) is None


def test_without_its_program_a_board_is_not_there(program, tmp_path):
    keep("key", board_of(program), tmp_path)
    program.unlink()
    assert kept("key", tmp_path) is None


def request_of(path=NETWORK, *, board="icebreaker", weights=Weights.BAKED, networks=1, image=None):
    return BoardRequest(board=board, weights=weights, networks=(path,) * networks, image=image)


def test_the_key_is_that_of_the_request_and_of_its_files(tmp_path):
    copy, image = tmp_path / "network", tmp_path / "image"
    copy.write_bytes(NETWORK.read_bytes())
    image.write_bytes(b"image")
    keys = [made.key() for made in (
        request_of(), request_of(board="icesugar"), request_of(weights=Weights.FLASH),
        # Its name is what hosts are told of a network that has none in it.
        request_of(networks=2), request_of(copy), request_of(networks=0, image=image))]
    assert keys[0] == request_of().key()
    # A byte of a network, and one of an image.
    copy.write_bytes(NETWORK.read_bytes()[:-1] + b"x")
    image.write_bytes(b"imagf")
    keys += [request_of(copy).key(), request_of(networks=0, image=image).key()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("package", request._OURS)
def test_the_key_sees_every_source(package, monkeypatch, tmp_path):
    """A changed byte, a new file and a new name, in every package of the simulation."""
    folder, folder_of = ROOT / package, sources._folder
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = request_of().key()
    monkeypatch.setattr(sources, "_folder", lambda name: copy if name == package else folder_of(name))
    assert request_of().key() == before
    keys = [before]
    languages = {path.suffix for path in copy.rglob("*")} & {".py", ".cpp", ".h", ".v"}
    for language in sorted(languages):
        file = max(copy.rglob(f"*{language}"))
        file.write_text(file.read_text() + "\n")
        keys.append(request_of().key())
    file = max(copy.rglob("*.py"))
    file.rename(file.with_name("another.py"))
    keys.append(request_of().key())
    (copy / "new.py").write_text("")
    keys.append(request_of().key())
    assert len(set(keys)) == len(languages) + 3


def test_every_package_that_a_board_is_made_of_is_in_the_key():
    """What the simulation has imported of this project, and of others, when a board is made."""
    program = ("import sys, sim.board.command, sim.board.making; "
               "print(*{name.partition('.')[0] for name in sys.modules})")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")} & loaded
    assert ours == set(request._OURS)
    # The rest is what these three bring along.
    needed = {"amaranth": "amaranth", "numpy": "numpy", "serial": "pyserial"}
    assert needed.keys() <= loaded
    assert {"amaranth_boards", "safetensors", "torch", "PIL", "tonic", "cocotb"} & loaded == set()
    assert set(needed.values()) < set(request._OTHERS)


@pytest.mark.parametrize("package", request._OTHERS)
def test_the_key_sees_every_version(package, monkeypatch):
    before = request_of().key()
    versions = request.tool_versions
    monkeypatch.setattr(request, "tool_versions", lambda *names: versions(*names) | {package: "0.0"})
    assert request_of().key() != before


@pytest.fixture
def made(program, monkeypatch, tmp_path):
    """Boards that were made instead of found, and the folder where they are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(command, "_BEGUN", max(command._BEGUN, request_of().sources_changed_at() + 60))
    requests = []

    def make_board(wanted, report):
        requests.append(wanted)
        return board_of(program)

    monkeypatch.setattr("sim.board.making.make_board", make_board)
    return requests


def test_a_board_is_made_once(made, program):
    for _ in range(3):
        assert command._board(request_of(), as_json=False) == board_of(program)
    assert made == [request_of()]
    assert command._board(request_of(board="icesugar"), as_json=False) == board_of(program)
    assert made == [request_of(), request_of(board="icesugar")]


def test_a_board_whose_network_changes_while_it_is_made_is_not_kept(made, monkeypatch, tmp_path, program):
    copy = tmp_path / "network"
    copy.write_bytes(NETWORK.read_bytes())

    def make_board(wanted, report):
        copy.write_bytes(b"another")
        return board_of(program)

    monkeypatch.setattr("sim.board.making.make_board", make_board)
    command._board(request_of(copy), as_json=False)
    assert list((tmp_path / "cache").rglob("board-*")) == []


def test_a_board_of_sources_that_were_just_written_is_not_kept(made, monkeypatch, tmp_path):
    """What runs may be what was there before."""
    written = request_of().sources_changed_at()
    assert written == max(path.stat().st_mtime for package in request._OURS
                          for path in (ROOT / package).rglob("*.py"))
    for begun, count in ((written - 60, 0), (written + 1, 0), (written + 60, 1)):
        monkeypatch.setattr(command, "_BEGUN", begun)
        command._board(request_of(), as_json=False)
        assert len(list((tmp_path / "cache").rglob("board-*"))) == count


def test_a_kept_board_starts_without_amaranth():
    program = "import sys; sys.modules['amaranth'] = None; import sim.board.command"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ})
    assert (done.returncode, done.stderr) == (0, "")
