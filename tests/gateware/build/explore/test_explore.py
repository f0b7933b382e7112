import dataclasses
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from arch import network_file
from arch.network import Encoding
from boards import BOARDS
from gateware.build import child
from gateware.build.explore import command, engines
from gateware.build.explore.configuration import Axes, Configuration, grid
from gateware.build.explore.front import dominates, front_of
from gateware.build.explore.measure import Measurement, changed_network
from gateware.build.explore.records import Record, Records, sources_digest
from gateware.build.explore.result import Result
from gateware.build.explore.text import format_results
from gateware.check.checking import check
from models import DEFAULT_NETWORK
from reference.network import Reference
from support.errors import InputError, ToolchainError
from tests.arch.altered_files import join, parts
from tests.gateware.build.page.conftest import report_of
from tests.gateware.mapper.networks import conv, network

SMALL = network(conv(8, 1, 5, stride=2, padding=2), conv(16, 8), shape=(1, 12, 12))
CONTENT = network_file.dumps(SMALL)


def configuration(**options):
    return Configuration(**{"network": "small", "network_sha256": network_file.digest(SMALL), "timesteps": 4,
                            "board": "icebreaker", "weights": "baked", "lanes": 8, "width": 16, "clock_mhz": 48.0}
                         | options)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.safetensors"
    network_file.save(SMALL, path)
    return path


@pytest.fixture
def explore(tmp_path, capsys):
    def explore(*arguments):
        code = command.main(["--board", "icebreaker", "-o", str(tmp_path / "results.jsonl"), "--jobs", "1",
                             *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return explore


def lines_of(tmp_path):
    return [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]


def test_the_grid_has_every_combination_that_a_build_takes():
    axes = Axes(boards=["icebreaker"], weights=["baked", "flash"], lanes=[4, 8], widths=[16], clocks_mhz=[24.0, 48.0],
                timesteps=[2, 4], flash_rates=["single", "double"])
    found = list(grid(axes, network="n", network_sha256="0", timesteps=4))
    assert len(found) == len(set(found)) == 2 * 2 * 2 + 2 * 2 * 2
    assert {(one.lanes, one.width, one.flash_rate) for one in found if one.weights == "flash"} == {
        (None, None, "single"), (None, None, "double")}
    plain = list(grid(Axes(boards=["icebreaker"], weights=["baked"]), network="n", network_sha256="0", timesteps=4))
    assert [(one.lanes, one.width) for one in plain] == list(BOARDS["icebreaker"].geometries)
    assert {(one.timesteps, one.clock_mhz) for one in plain} == {(4, 48.0)}


def test_a_key_changes_with_the_configuration_and_with_the_sources():
    keys = {configuration().key("a"), configuration().key("b"), configuration(lanes=4).key("a"),
            configuration(timesteps=2).key("a")}
    assert len(keys) == 4
    assert configuration().key("a") == configuration().key("a")
    assert re.fullmatch(r"[0-9a-f]{64}", sources_digest())


@pytest.mark.parametrize("weights", ["baked", "flash"])
def test_a_measurement_is_that_of_the_check(weights):
    circuit = check(SMALL, "icebreaker", clock_hz=24e6).plan.circuits[weights]
    options = {} if weights == "baked" else {"lanes": None, "width": None, "flash_rate": "single"}
    result = Measurement(configuration=configuration(weights=weights, clock_mhz=24.0, **options), content=CONTENT)()
    cells = next(resource for resource in circuit.resources if resource.name == "logic cells")
    assert (result.fits, result.clocks, result.inference_ms) == (True, circuit.clocks, round(circuit.clocks / 24e3, 6))
    assert (result.logic_cells, result.cells_evidence) == (cells.used, cells.evidence)
    assert cells.evidence == ("estimated" if weights == "baked" else "routed")
    assert (result.accuracy, result.accuracy_evidence) == (None, None)


@pytest.mark.parametrize(("options", "reason"), [
    ({"clock_mhz": 47.3}, "clock must be one that the PLL makes of 12 MHz, not 47.3 MHz"),
    ({"lanes": 3}, "lanes must be a power of two, not 3"),
    ({"timesteps": 8}, "baked: network: timesteps must be at most 4, not 8")])
def test_what_cannot_be_is_a_result_with_its_reason(options, reason):
    result = Measurement(configuration=configuration(**options), content=CONTENT)()
    assert (result.fits, result.reason) == (False, reason)


def test_double_rate_is_a_faster_flash():
    wide = network_file.dumps(network(conv(64, 1), conv(128, 64, 4, padding=0), shape=(1, 4, 4)))
    clocks = [Measurement(configuration=configuration(weights="flash", lanes=None, width=None, flash_rate=rate),
                          content=wide)().clocks for rate in ("single", "double")]
    assert clocks[1] < clocks[0]


def test_accuracy_is_that_of_the_file_and_of_no_other_timesteps():
    content = DEFAULT_NETWORK.read_bytes()
    known = Measurement(configuration=configuration(), content=content)()
    assert (known.accuracy, known.accuracy_evidence) == (0.9942, "metadata")
    other = Measurement(configuration=configuration(timesteps=2), content=content)()
    assert (other.fits, other.accuracy, other.accuracy_evidence) == (True, None, None)


def test_events_keep_their_timesteps():
    events = network_file.dumps(network(conv(2, 1), encoding=Encoding.EVENTS))
    with pytest.raises(InputError, match=r"^timesteps of a network of events must be its own 4, which are the "
                                         r"frames of its data, not 2$"):
        changed_network(events, 2)


def result(ms=1.0, cells=100, accuracy=None, **options):
    return Result(fits=True, clocks=1, inference_ms=ms, logic_cells=cells, accuracy=accuracy, **options)


def test_the_front_has_what_nothing_dominates():
    results = [("fast", result(1, 200)), ("small", result(2, 100)), ("worse", result(2, 200)), ("twin", result(1, 200)),
               ("right", result(3, 300, 0.9)), ("no", Result(fits=False)), ("late", result(0.1, 10, closes=False)),
               ("unknown", result(0.5, None))]
    assert [name for name, _ in front_of(results)] == ["unknown", "fast", "twin", "small", "right"]
    assert not dominates(result(), result())


def test_the_front_is_that_of_the_definition():
    rng = np.random.default_rng(5)
    results = [(number, result(*map(int, rng.integers(1, 6, 2)), float(rng.integers(1, 4)))) for number in range(60)]
    front = {name for name, _ in front_of(results)}
    for name, one in results:
        better = [other for _, other in results if (other.inference_ms <= one.inference_ms
                  and other.logic_cells <= one.logic_cells and other.accuracy >= one.accuracy and other != one)]
        assert (name in front) == (not better)


def test_an_exploration_prints_its_front_and_keeps_its_results(explore, file, tmp_path):
    code, out, err = explore("--network", file, "--lanes", 4, 8, "--width", 16)
    assert (code, err) == (0, [])
    assert out[0] == "3 configurations, 3 fit, on the front of time, logic cells and accuracy 2:"
    assert out[1].split() == ["network", "board", "weights", "P", "x", "W", "flash", "T", "MHz", "clocks", "ms",
                              "logic", "cells", "Fmax", "accuracy"]
    records = lines_of(tmp_path)
    assert [record["kind"] for record in records] == ["dry-run"] * 3
    assert {record["configuration"]["weights"] for record in records} == {"baked", "flash"}
    assert set(records[0]["result"]) == {field.name for field in dataclasses.fields(Result)}


def test_what_was_done_is_not_done_again(explore, file, monkeypatch):
    first = explore("--network", file)
    monkeypatch.setattr(Measurement, "__call__", None)
    assert explore("--network", file) == first


def test_an_interrupted_exploration_goes_on(explore, file, tmp_path, monkeypatch):
    done, whole = [], Measurement.__call__

    def interrupted(self):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(self.configuration)
        return whole(self)

    monkeypatch.setattr(Measurement, "__call__", interrupted)
    code, out, err = explore("--network", file, "--lanes", 2, 4, 8, "--width", 16)
    assert (code, out, err) == (
        130, [], ["ERROR: interrupted: the same command goes on from the results that are kept"])
    assert len(lines_of(tmp_path)) == 2

    def counted(self):
        done.append(self.configuration)
        return whole(self)

    monkeypatch.setattr(Measurement, "__call__", counted)
    code, out, _ = explore("--network", file, "--lanes", 2, 4, 8, "--width", 16)
    assert (code, len(done), len(set(done))) == (0, 4, 4)
    assert out[0].startswith("4 configurations, 4 fit, ")


def test_results_of_other_sources_are_not_taken(explore, file, tmp_path, monkeypatch):
    explore("--network", file)
    before = len(lines_of(tmp_path))
    monkeypatch.setattr(command, "sources_digest", lambda: "other")
    explore("--network", file)
    assert len(lines_of(tmp_path)) == 2 * before


def test_accuracy_comes_from_the_reference_once(explore, file, tmp_path, monkeypatch):
    rng = np.random.default_rng(7)
    images = rng.integers(0, 256, (20, 1, 12, 12), dtype=np.uint8)
    labels = rng.integers(0, 2, 20)
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    options = ("--network", file, "--timesteps", 2, 4, "--images", tmp_path / "images.npz", "--labels",
               tmp_path / "images.npz")
    read, load_images = [], command.load_images
    monkeypatch.setattr(command, "load_images", lambda *given: read.append(given) or load_images(*given))
    code, out, err = explore(*options)
    assert (code, err, len(read)) == (0, [], 1)
    for steps in (2, 4):
        right = float((Reference(changed_network(CONTENT, steps)).run(images).classes == labels).mean())
        assert any(f" {steps} " in line and line.endswith(f"{right:.2%} reference") for line in out[2:])
    assert len([record for record in lines_of(tmp_path) if record["kind"] == "accuracy"]) == 2
    monkeypatch.setattr(command.Accuracy, "__call__", None)
    assert explore(*options)[1] == out


def test_several_processes_find_the_same(explore, file, tmp_path):
    options = ("--network", file, "--lanes", 2, 4, 8, "--width", 8, 16)
    one = explore(*options)
    (tmp_path / "results.jsonl").unlink()
    assert explore(*options, "--jobs", 2) == one


def test_a_cluster_finds_the_same(explore, file, tmp_path, capsys):
    distributed = pytest.importorskip("distributed")
    options = ("--network", file)
    one = explore(*options)
    (tmp_path / "results.jsonl").unlink()
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None,
                                  protocol="tcp") as cluster:
        code = command.main(["--board", "icebreaker", "-o", str(tmp_path / "results.jsonl"), *map(str, options),
                             "--scheduler", cluster.scheduler_address])
    assert (code, capsys.readouterr().out.splitlines()) == (0, one[1])


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch, file, tmp_path, capsys):
    pytest.importorskip("distributed")
    monkeypatch.setattr(engines, "_CONNECT_SECONDS", 0.2)
    assert command.main(["--board", "icebreaker", "-o", str(tmp_path / "r.jsonl"), "--network", str(file),
                         "--scheduler", "tcp://127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.startswith(
        "ERROR: --scheduler must be the address of a Dask scheduler, and tcp://127.0.0.1:9 does not answer as one: ")


def test_a_picture_is_drawn_and_is_the_same_again(explore, file, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "front.svg"
    assert explore("--network", file, "--plot", picture)[0] == 0
    first = picture.read_bytes()
    assert b"small, 8 x 16, T = 4" in first
    picture.unlink()
    explore("--network", file, "--plot", picture)
    assert picture.read_bytes() == first


OTHER_KIND = "picture must be a new file or replace an SVG, not a file of another kind: give another name"


def test_a_picture_replaces_only_an_svg(explore, file, tmp_path):
    pytest.importorskip("matplotlib")
    notes, picture = tmp_path / "notes.txt", tmp_path / "picture.svg"
    notes.write_text("years of work")
    assert explore("--network", file, "--plot", notes) == (1, [], [f"ERROR: {notes}: {OTHER_KIND}"])
    assert notes.read_text() == "years of work"
    for content in ("", '<?xml version="1.0"?><svg/>'):
        picture.write_text(content)
        assert explore("--network", file, "--plot", picture)[0] == 0
        assert b"small, 8 x 16, T = 4" in picture.read_bytes()


def test_no_output_replaces_an_input(explore, file, tmp_path, monkeypatch):
    # An SVG, as the picture may replace one that is no input.
    images = tmp_path / "images.svg"
    images.write_text("<svg/>")
    samples = ("--network", file, "--images", images, "--labels", images)
    monkeypatch.setattr(command, "DEFAULT_NETWORK", file)
    for arguments, replaced in (((*samples, "--plot", images), images), ((*samples, "-o", images), images),
                                (("--plot", file), file), (("-o", file), file)):
        before = replaced.read_bytes()
        assert explore(*arguments) == (
            1, [], [f"ERROR: {replaced}: output must not be the input {replaced}: give another name"])
        assert replaced.read_bytes() == before
    results = tmp_path / "results.jsonl"
    assert explore("--network", file, "--plot", results) == (
        1, [], [f"ERROR: {results}: --plot must be another file than that of the results"])
    # Nor is anything left beside it.
    assert {entry.name for entry in tmp_path.iterdir()} == {images.name, file.name}


def test_the_accuracy_is_that_of_the_file_as_it_is_now(explore, file):
    for accuracy in (0.25, 0.75):
        network_file.save(dataclasses.replace(SMALL, metadata={"accuracy": accuracy}), file)
        _, out, _ = explore("--network", file)
        assert out[2].endswith(f"{accuracy:.2%} metadata")


def test_an_accuracy_that_is_none_is_refused_and_not_kept(explore, file, tmp_path):
    header, data = parts(CONTENT)
    header["__metadata__"]["metadata"] = '{"accuracy":[1]}'
    file.write_bytes(join(header, data))
    assert explore("--network", file) == (
        1, [], [f"ERROR: {file}: metadata: accuracy must be a number from 0 to 1, not [1]"])
    assert not (tmp_path / "results.jsonl").exists()


def test_the_table_says_why_configurations_do_not_fit():
    text = format_results([(configuration(), result()), (configuration(lanes=3), Result(fits=False, reason="no lanes")),
                           (configuration(lanes=5), Result(fits=False, reason="no lanes")),
                           (configuration(lanes=2), result(reason="no seed closes", closes=False))])
    assert text.splitlines()[0] == "4 configurations, 2 fit, on the front of time, logic cells and accuracy 1:"
    assert text.splitlines()[-2:] == ["2 configurations: no lanes", "1 configuration: no seed closes"]


@pytest.fixture
def build(monkeypatch):
    """A build that obeys: it writes a report, or fails as it is told."""
    calls = []

    def fake(command_line, **_):
        arguments = command_line[command_line.index("gateware.build") + 1:]
        calls.append(arguments)
        if fake.code == 0:
            folder = pathlib.Path(arguments[arguments.index("-o") + 1])
            folder.mkdir(parents=True)
            (folder / "report.json").write_text(fake.report)
        return subprocess.CompletedProcess(command_line, fake.code, stdout="", stderr=fake.said)

    fake.code, fake.said, fake.calls = 0, "", calls
    fake.report = report_of(lc=4321, ebr=29, fmax_mhz=[47.0, 49.5]).to_json().decode()
    monkeypatch.setattr(child.subprocess, "run", fake)
    return fake


def test_what_fits_is_placed_once_and_its_cells_are_counted(explore, file, tmp_path, build):
    options = ("--network", file, "--weights", "baked", "--lanes", 8, "--width", 16, "--place", "--seeds", 2)
    code, out, err = explore(*options)
    assert (code, err) == (0, [])
    arguments, = build.calls
    folder, made = arguments[10], arguments[12]
    assert arguments == ["--board", "icebreaker", "--weights", "baked", "--clock", "48", "--seeds", "2",
                         "--no-simulation", "-o", folder, "--network", made, "--lanes", "8", "--width", "16"]
    assert network_file.digest(network_file.load(made)) == network_file.digest(SMALL)
    assert "4,321 routed" in out[2]
    assert "49.50" in out[2]
    assert explore(*options)[1] == out
    assert len(build.calls) == 1


def test_the_overlay_is_built_once_for_all_networks(explore, file, tmp_path, build):
    other = tmp_path / "other.safetensors"
    network_file.save(network(conv(8, 1), shape=(1, 4, 4)), other)
    code, _, _ = explore("--network", file, "--network", other, "--weights", "flash", "--place")
    assert (code, len(build.calls)) == (0, 1)
    assert "--network" not in build.calls[0]
    assert len([record for record in lines_of(tmp_path) if record["kind"] == "place"]) == 1


def test_what_closes_with_no_seed_is_no_part_of_the_front(explore, file, build):
    build.code, build.said = 1, "note: x\nERROR: no seed closes 48 MHz: the best reaches 47.00 MHz: use --clock 39\n"
    code, out, err = explore("--network", file, "--weights", "baked", "--lanes", 8, "--width", 16, "--place")
    assert (code, err) == (0, [])
    assert out == ["1 configuration, 1 fit, on the front of time, logic cells and accuracy 0:", out[1],
                   "1 configuration: no seed closes 48 MHz: the best reaches 47.00 MHz: use --clock 39"]


def test_what_does_not_fit_when_it_is_placed_is_a_result(explore, file, build):
    build.code, build.said = 1, "ERROR: the design does not fit the iCE40UP5K-SG48: no BELs: use --lanes 4\n"
    options = ("--network", file, "--weights", "baked", "--lanes", 8, "--width", 16, "--place")
    code, out, err = explore(*options)
    assert (code, err, out[-1][:45]) == (0, [], "1 configuration: the design does not fit the ")
    assert explore(*options)[1] == out
    assert len(build.calls) == 1


@pytest.mark.parametrize(("code", "said", "report", "line"), [
    (3, "ERROR: yosys is not installed\n", "", "yosys is not installed"), (-9, "", "", "exit code -9"),
    (1, "note: x\nERROR: work/pack: No space left on device\n", "", "work/pack: No space left on device"),
    (1, "ERROR: build: another build is at work in this folder\n", "", "another build is at work in this folder"),
    (1, "a line without the word\n", "", "a line without the word"), (1, "", "", "exit code 1"),
    (0, "", "{}", "report.json: must be a report.json of python -m gateware.build: ")])
def test_a_build_that_ends_in_another_way_ends_the_exploration(explore, file, build, tmp_path, code, said, report,
                                                               line):
    good, options = build.report, ("--network", file, "--weights", "baked", "--lanes", 8, "--width", 16, "--place")
    build.code, build.said, build.report = code, said, report
    status, out, err = explore(*options)
    assert (status, out, len(err)) == (3, [], 1)
    assert err[0].startswith("ERROR: ")
    assert line in err[0]
    assert [record["kind"] for record in lines_of(tmp_path)] == ["dry-run"]
    # Nothing of it is kept: the same command tries again.
    build.code, build.said, build.report = 0, "", good
    for folder in tmp_path.glob("results.builds/*/"):
        (folder / "report.json").unlink(missing_ok=True)
        folder.rmdir()
    assert explore(*options)[0] == 0
    assert len(build.calls) == 2


def test_results_are_written_whole(tmp_path):
    path = tmp_path / "r.jsonl"
    with Records(path) as records:
        records.add(Record(key="a", kind="dry-run", configuration=configuration(), result=result()), at_once=True)
        assert Records(path).find("dry-run", "a").result == result()
        records.add(Record(key="b", kind="accuracy", accuracy=0.5))
    assert Records(path).find("accuracy", "b").accuracy == 0.5
    assert Records(path).find("place", "a") is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.jsonl"]


@pytest.mark.parametrize(("changed", "what"), [
    ({"clocks": None}, "a result that fits must have clocks and inference_ms"),
    ({"inference_ms": None}, "a result that fits must have clocks and inference_ms"),
    ({"fmax_mhz": []}, "fmax_mhz must have a value for each seed, or be null"),
    ({"clocks": -1}, "clocks must be 0 or more, not -1"),
    ({"logic_cells": -1}, "logic_cells must be 0 or more, not -1")])
def test_a_result_that_cannot_be_is_one_line(explore, file, tmp_path, changed, what):
    assert explore("--network", file)[0] == 0
    path = tmp_path / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    number, record = next((number, line) for number, line in enumerate(lines, 1) if line["result"]["fits"])
    record["result"] |= changed
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = path.read_bytes()
    code, out, err = explore("--network", file)
    assert (code, out, err) == (1, [], [
        (f"ERROR: {path}: line {number} must be a record of python -m gateware.build.explore: {what}: give another "
         f"file with -o")])
    assert path.read_bytes() == before


def test_a_file_that_is_none_of_an_exploration_is_left_alone(explore, file, tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"years": "of work"}\n')
    code, _, err = explore("--network", file)
    assert code == 1
    assert err[0].startswith(f"ERROR: {path}: line 1 must be a record of python -m gateware.build.explore: ")
    assert err[0].endswith(": give another file with -o")
    assert path.read_text() == '{"years": "of work"}\n'
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, file.name}


def test_two_explorations_do_not_write_the_same_file(explore, file, tmp_path):
    path = tmp_path / "results.jsonl"
    with command.locked(tmp_path / ".results.jsonl.lock"):
        code, _, err = explore("--network", file)
    assert (code, len(err)) == (1, 1)
    assert err[0] == (f"ERROR: {path}: another exploration is at work with this file: wait for its end, or give "
                      f"another file with -o")


@pytest.mark.parametrize(("arguments", "line"), [
    (["--seeds", "2"], "--seeds must be given with --place: it has no effect without"),
    (["--place", "--seeds", "0"], "--seeds must be 1 to 10000, not 0"),
    (["--jobs", "0"], "--jobs must be 1 to 1024, not 0"),
    (["--scheduler", "tcp://x:1"],
     "--jobs has no effect with --scheduler, whose workers do the work: leave one of the two out"),
    (["--images", "x"], "--images and --labels must be given together: accuracy needs both"),
    (["--labels", "x"], "--images and --labels must be given together: accuracy needs both"),
    (["--weights", "flash", "--lanes", "4"],
     "--lanes has no effect with --weights flash, whose array is that of the board: leave it out"),
    (["--weights", "flash", "--weights", "flash", "--width", "8"],
     "--width has no effect with --weights flash, whose array is that of the board: leave it out"),
    (["--weights", "baked", "--flash-rate", "single"],
     "--flash-rate has no effect with --weights baked, which reads no flash: leave it out"),
    (["--weights", "baked", "--weights", "baked", "--flash-rate", "double"],
     "--flash-rate has no effect with --weights baked, which reads no flash: leave it out"),
    (["--lanes", "0"], "--lanes must be a positive number, not 0"),
    (["--clock", "nan"], "--clock must be a positive number, not nan"),
    (["--timesteps", "-1"], "--timesteps must be a positive number, not -1"),
    (["--lanes", "8", "3"], "--lanes must be powers of two of at least 1, not 3"),
    (["--width", "1"], "--width must be powers of two of at least 2, not 1"),
    (["--timesteps", "65"], "--timesteps must be 1 to 64, not 65"),
    (["--network", "none.safetensors"], "none.safetensors: No such file or directory")])
def test_wrong_options_are_one_line(explore, arguments, line):
    assert explore(*arguments) == (1, [], [f"ERROR: {line}"])


def test_a_clock_that_no_board_has_is_refused(explore, file, tmp_path):
    code, out, err = explore("--network", file, "--clock", 48, 47.3)
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith("ERROR: --clock: clock must be one that the PLL makes of 12 MHz, not 47.3 MHz")
    assert {entry.name for entry in tmp_path.iterdir()} == {file.name}


def test_a_clock_that_one_of_the_boards_has_is_explored(monkeypatch):
    arguments = command.create_parser().parse_args(["--board", "icebreaker", "--board", "icesugar", "--clock", "47.3"])
    monkeypatch.setattr(type(BOARDS["icesugar"]), "check_clock", lambda board, clock_hz: (
        None if board.name == "icesugar" else board.fpga.check_clock(board.oscillator_hz, clock_hz)))
    monkeypatch.setattr(type(BOARDS["icesugar"]), "default_bauds", lambda board, clock_hz: None)
    command._check_axes(arguments)


@pytest.mark.parametrize(("options", "rates"), [
    ([], {"single"}), (["--flash-rate", "double", "single"], {"single", "double"}),
    (["--weights", "flash", "--weights", "baked", "--flash-rate", "double"], {"double"})])
def test_the_rate_of_the_flash_is_single_unless_it_is_given(explore, file, tmp_path, options, rates):
    assert explore("--network", file, "--lanes", 8, "--width", 16, *options)[0] == 0
    assert {record["configuration"]["flash_rate"] for record in lines_of(tmp_path)
            if record["configuration"]["weights"] == "flash"} == rates


def test_the_command_runs_from_a_fresh_interpreter(tmp_path, file):
    done = subprocess.run([sys.executable, "-m", "gateware.build.explore", "--board", "icebreaker", "--network",
                           str(file), "-o", str(tmp_path / "r.jsonl")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "on the front of time, logic cells and accuracy " in done.stdout


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_one_line():
    with pytest.raises(ToolchainError, match=r"^a process of the exploration was ended from outside, as for want of "
                                             r"memory: give the same command with fewer --jobs, it goes on$"):
        list(engines.completed([die, die], jobs=2))


#: Three tasks on two processes, each of which waits for a program that Ctrl-C does not end.
UNDER_WAY = """
import functools, pathlib, signal, subprocess, sys
from gateware.build.explore import engines
from support import parent_death

def wait(path):
    program = subprocess.Popen(parent_death.command(sys.executable, ["-c", "import time; time.sleep(120)"]))
    path.with_suffix(".new").write_text(str(program.pid))
    path.with_suffix(".new").rename(path)
    program.wait()

# As support.start does.
signal.signal(signal.SIGTERM, signal.default_int_handler)
folder = pathlib.Path(sys.argv[1])
list(engines.completed([functools.partial(wait, folder / f"{number}.pid") for number in range(3)], jobs=2))
"""


def running(pid):
    """Whether a process runs: one that has ended may wait for its parent to ask."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def within(seconds, holds):
    deadline = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_ctrl_c_ends_what_is_under_way_and_begins_nothing(tmp_path):
    exploration = subprocess.Popen([sys.executable, "-c", UNDER_WAY, str(tmp_path)], start_new_session=True,
                                   stderr=subprocess.PIPE, text=True)
    try:
        assert within(60, lambda: len(list(tmp_path.glob("*.pid"))) == 2)
        programs = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
        os.killpg(exploration.pid, signal.SIGINT)
        _, said = exploration.communicate(timeout=30)
    finally:
        exploration.kill()
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert within(30, lambda: not any(map(running, programs)))
    assert len(list(tmp_path.iterdir())) == 2


def test_what_nobody_waits_for_any_more_is_ended():
    """As when Ctrl-C comes while a result is written."""
    found = engines.completed([functools.partial(time.sleep, seconds) for seconds in (0, 60, 60)], jobs=2)
    assert next(found) == (0, None)
    begun = time.monotonic()
    found.close()
    assert time.monotonic() - begun < 30
