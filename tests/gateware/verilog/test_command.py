"""The command: what it writes, and every line with which it refuses."""

import hashlib
import json
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest

from arch import network_file
from arch.network import Encoding, Input, Network, Readout
from arch.registers import CONTROL_BITS, REGISTERS, SCORES_OFFSET, STATUS_BITS
from gateware.embedded.interfaces import Interface, ports_of
from gateware.mapper.cycles import count_cycles
from gateware.verilog.page import instance, port_table, register_tables
from gateware.verilog.plan import plan_for_system
from tests.embedded_networks import plan

HERE = pathlib.Path()
NAME_RULE = ("name must be at most 64 small letters, digits and underscores that begin with a letter, and no word of "
             "Verilog, not '{}'")


def test_dry_run_prints_the_exact_clocks_and_writes_nothing(run):
    code, out, err = run("--dry-run")
    assert (code, err) == (0, [])
    assert out[1] == f"clocks per inference  {count_cycles(plan()).total}, exact, by the cycle model"
    assert list(HERE.iterdir()) == []


def test_the_report_has_the_hash_of_every_file(made):
    for folder in made.values():
        report = json.loads((folder / "report.json").read_text())
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        del files["report.json"], files[".sterna-verilog"]
        assert report["files"] == files
        assert report["network_sha256"] == network_file.digest(plan().network)
        placed = plan_for_system(plan().network, lanes=report["lanes"], width=report["width"])
        assert report["cycles_per_inference"] == count_cycles(placed).total
        assert report["synthesis"] == {}


@pytest.mark.parametrize("interface", Interface)
def test_the_module_and_the_page_have_the_documented_ports(made, interface):
    ports = ports_of(interface, classes=plan().network.classes)
    text = (made[interface] / "sterna.v").read_text()
    head = text[text.index("\nmodule sterna ("):text.index(");")]
    found = re.findall(r"^  (input|output) +(?:wire|reg) +(?:\[(\d+):0\] )?(\w+),? +// (.*)$", head, re.MULTILINE)
    assert [(direction == "input", int(top or 0) + 1, name, meaning) for direction, top, name, meaning in found] == [
        (port.is_input, port.width, port.name, port.meaning) for port in ports]
    page = (made[interface] / "sterna.md").read_text()
    assert port_table(ports) in page
    assert instance("sterna", ports) in page
    assert (interface is Interface.STREAM) or register_tables(interface) in page


def test_the_header_has_every_register_and_compiles(made, tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing: apt install gcc")
    for interface in (Interface.AXI, Interface.WISHBONE):
        values = {register.name: register.offset for register in REGISTERS
                  if interface is Interface.WISHBONE or not register.takes_pixels}
        values |= {f"STATUS_{bit.name}": bit.mask for bit in STATUS_BITS}
        values |= {f"CONTROL_{bit.name}": bit.mask for bit in CONTROL_BITS}
        values |= {"INFO": 0, "SCORES": SCORES_OFFSET, "NUM_CLASSES": plan().network.classes,
                   "IMAGE_SIZE": int(np.prod(plan().network.input.shape))}
        header = made[interface] / "sterna_registers.h"
        assert set(re.findall(r"^#define STERNA_(\w+) +\w+ ", header.read_text(), re.MULTILINE)) == values.keys()
        checks = "".join(f"_Static_assert(STERNA_{name} == {value}, \"{name}\");\n" for name, value in values.items())
        (tmp_path / "check.c").write_text(f'#include "sterna_registers.h"\n{checks}')
        done = subprocess.run(["gcc", "-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "-I",
                               str(header.parent), "check.c"],
                              cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_same_network_gives_the_same_file(made, run):
    assert run("-o", "again", "--interface", "axi")[0] == 0
    assert (HERE / "again" / "sterna.v").read_bytes() == (made["axi"] / "sterna.v").read_bytes()


def test_a_folder_of_an_earlier_run_is_replaced(run):
    assert run("-o", "made", "--memory-files")[0] == 0
    assert list(HERE.glob("made/*.mem"))
    (HERE / "made" / "notes.txt").write_text("mine")
    assert run("-o", "made", "--name", "other", "--interface", "wishbone")[0] == 0
    assert sorted(path.name for path in HERE.glob("made/*")) == [
        ".sterna-verilog", "notes.txt", "other.md", "other.v", "other_registers.h", "report.json"]


def test_a_forged_report_deletes_nothing_else(run):
    (HERE / "made").mkdir()
    (HERE / "precious.v").write_text("mine")
    (HERE / "made" / "report.json").write_text(json.dumps(
        {"module": "x", "interface": "x", "waivers": {}, "files": {"../precious.v": "", "/etc/passwd": ""}}))
    assert run("-o", "made")[0] == 0
    assert (HERE / "precious.v").read_text() == "mine"


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "--output must be given: name a folder for the files, or use --dry-run"),
    (["--dry-run", "-o", "made"], "--output has no effect with --dry-run: leave one of the two out"),
    (["--dry-run", "--synthesise", "ice40"], "--synthesise has no effect with --dry-run: leave one of the two out"),
    (["--dry-run", "--memory-files"], "--memory-files has no effect with --dry-run: leave one of the two out"),
    (["-o", "made", "--name", "module"],
     NAME_RULE.format("module")),
    (["-o", "made", "--name", "logic"],
     NAME_RULE.format("logic")),
    (["-o", "made", "--name", "std"],
     NAME_RULE.format("std")),
    *((["-o", "made", "--interface", interface, "--name", name],
       f"name must not be that of a port of the module, not '{name}': give another --name")
      for interface, name in (("stream", "clk"), ("stream", "rst"), ("axi", "busy"), ("axi", "irq"),
                              ("wishbone", "wb_ack"))),
    (["-o", "made", "--name", "Top"],
     NAME_RULE.format("Top")),
    (["-o", "made", "--clock", "0"], "clock must be 0.001 to 4,294,967 MHz, not 0"),
    (["-o", "made", "--clock", "4294968"], "clock must be 0.001 to 4,294,967 MHz, not 4294968"),
    (["-o", "made", "--clock", "nan"], "clock must be 0.001 to 4,294,967 MHz, not nan"),
    (["-o", "made", "--clock", "inf"], "clock must be 0.001 to 4,294,967 MHz, not inf"),
    (["-o", "made", "--synthesise", "ice40", "--synthesise", "ice40"],
     "--synthesise must name each family once, not ice40 and ice40"),
])
def test_options_that_mean_nothing_are_one_line(run, arguments, message):
    assert run(*arguments) == (1, [], [f"ERROR: {message}"])
    assert list(HERE.iterdir()) == []


@pytest.mark.parametrize(("size", "message"), [
    (("--lanes", "0"), "lanes must be at least 1, not 0"),
    (("--width", "-4"), "width must be at least 1, not -4"),
    (("--lanes", "3"), "lanes must be a power of two, not 3"),
    (("--lanes", "8", "--width", "4"), "lanes must be at most width and width at least 2, not 8 and 4"),
    (("--width", "64"), "width must be a power of two from 2 to 16 for pixel input at 4 timesteps, not 64"),
    (("--lanes", "32"), "lanes must be at most width and width at least 2, not 32 and 16"),
])
def test_arrays_that_cannot_be_are_one_line(run, size, message):
    assert run("--dry-run", size=size) == (1, [], [f"ERROR: {message}"])


def test_somebodys_folder_is_left_alone(run):
    (HERE / "thesis").mkdir()
    (HERE / "thesis" / "thesis.tex").write_text("years of work")
    message = ("ERROR: thesis: output must be a new or empty folder or that of an earlier run, not one with "
               "'thesis.tex': give another with -o")
    assert run("-o", "thesis") == (1, [], [message])
    (HERE / "thesis" / "report.json").write_text("[]")
    assert run("-o", "thesis")[0] == 1


def test_the_network_is_never_overwritten(run, network):
    (HERE / "made").mkdir()
    report = {"module": "x", "interface": "x", "waivers": {}, "files": {}}
    (HERE / "made" / "report.json").write_text(json.dumps(report))
    (HERE / "made" / "sterna.v").symlink_to(network)
    before = network.read_bytes()
    message = f"ERROR: made/sterna.v: output must not be the input {network}: give another name"
    assert run("-o", "made") == (1, [], [message])
    assert network.read_bytes() == before


def test_a_network_that_no_array_runs_is_one_line(run):
    image = Input(encoding=Encoding.PIXELS, channels=1, height=2, width=2)
    network_file.save(Network(input=image, layers=(Readout(weights=np.ones((3, 4), dtype=np.int8)),), timesteps=4),
                      "readout.safetensors")
    message = ("ERROR: layer 0 (readout): reads pixels, and the array's readout sums spikes: put a layer with neurons "
               "before it")
    assert run("--dry-run", "--network", "readout.safetensors") == (1, [], [message])


def test_usage_is_code_two(run):
    for arguments in (["--interface", "pcie"], ["--synthesise", "max10"]):
        with pytest.raises(SystemExit) as caught:
            run("--dry-run", *arguments)
        assert caught.value.code == 2
