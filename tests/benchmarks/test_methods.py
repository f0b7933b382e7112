"""Trainings on made digits, measured and laid out."""

import dataclasses
import json
import os
import pathlib
import re
import struct

import numpy as np
import pytest
import torch

from arch import network_file
from arch.checkpoint import Checkpoint
from arch.network import Encoding, FullyConnected, Input, Network, Neurons, Readout, Reset
from benchmarks.methods import measure as measuring
from benchmarks.methods.command import main
from benchmarks.methods.measure import measure
from benchmarks.methods.measurement import LAYOUT, BenchmarkError
from benchmarks.methods.page import table
from benchmarks.notation import notation
from boards import BOARDS
from export import steps
from gateware.check.checking import check_flash
from gateware.mapper.choice import plan_for_board
from gateware.mapper.cycles import count_cycles
from reference.latency import accuracy_over_time
from reference.network import Reference
from support.errors import InputError
from tests.arch.ttfs.test_network_file import make_network as ttfs_network
from tests.progress_log import make_log
from tests.train.test_training import ARCHITECTURE, made
from train import metrics
from train.command import main as train

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"
SIDE = 28
SMALL = {**ARCHITECTURE["layers"][0], "kernel": 5, "stride": 4}
BASE = {"dataset": "mnist",
        "architecture": {**ARCHITECTURE, "input": {**ARCHITECTURE["input"], "height": SIDE, "width": SIDE},
                         "layers": [SMALL, *ARCHITECTURE["layers"][1:]]},
        "epochs": 2, "batch_size": 16, "learning_rate": 0.01, "validation_images": 20, "calibration_images": 20}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for prefix, count, seed in (("train", 100, 1), ("t10k", 60, 2)):
        split = made(count, seed, side=SIDE)
        for name, array in ((f"{prefix}-images-idx3-ubyte", split.images[:, 0].numpy()),
                            (f"{prefix}-labels-idx1-ubyte", split.labels.numpy().astype(np.uint8))):
            head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / name).write_bytes(head + array.tobytes())
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data):
    """Finished trainings: two seeds of one recipe, spike times, converted, float (two), CBP and ternary from float."""
    folder = tmp_path_factory.mktemp("runs")
    cat = {"kind": "conversion-aware", "timesteps": 8, "tau": 2}
    times = {"weights": "float", "methods": [cat]}
    converted = {"weights": "binary", "methods": [
        {"kind": "conversion", "outer_weights": "ternary", "timesteps": 8, "calibration_images": 50}]}
    constrained = {"weights": "float", "methods": [{"kind": "distillation", "teacher": "poor-1"},
                                                   {"kind": "cbp", "start": "float-1", "patience": 1}]}
    for name, seed, more in (("plain", 1, {}), ("plain", 2, {}), ("times", 1, times), ("converted", 1, converted),
                             ("float", 1, {"weights": "float"}),
                             ("poor", 1, {"weights": "float", "learning_rate": 1e-6}), ("constrained", 1, constrained),
                             ("started", 1, {"start": "float-1"})):
        path = folder / f"{name}.json"
        path.write_text(json.dumps({**BASE, "name": name, **more}))
        assert train(["--recipe", str(path), "--data", str(data), "--unverified", "--quiet", "--seed", str(seed), "-o",
                      str(folder / f"{name}-{seed}")]) == 0
    return folder


def test_measurements_are_those_of_the_integers_and_make_a_page(runs, data, tmp_path, capsys):
    folders = [str(runs / name) for name in ("plain-1", "plain-2", "times-1")]
    assert main(["measure", *folders, "--data", str(data), "--unverified"]) == 0
    assert capsys.readouterr().out.count("of 60 test images") == 3
    rows = [json.loads((runs / name / "benchmark.json").read_text()) for name in ("plain-1", "plain-2", "times-1")]
    test = made(60, 2, side=SIDE)
    for row, name in zip(rows[:2], ("plain-1", "plain-2"), strict=True):
        network = network_file.load(runs / name / "network.safetensors")
        assert row["accuracy"] == steps.accuracy(network, test.images.numpy(), test.labels.numpy())
        assert row["weights"] == network.weight_count
        assert row["network_sha256"] == network_file.digest(network)
        assert row["weights_kind"] == "ternary (2 bits)"
        assert 0 < row["event_operations"] < row["dense_operations"]
        assert 0 < row["firing_rate"] < 1
        scores = Reference(network).run(test.images.numpy(), step_scores=True).step_scores.astype(float)
        scale = float(Checkpoint.load(runs / name / "plain.safetensors").tensors["readout.alpha"])
        by_step = torch.from_numpy(scale * scores.swapaxes(0, 1)).softmax(-1).numpy()
        of_mean = torch.from_numpy(scale * scores.mean(1)).softmax(-1).numpy()
        labels = test.labels.numpy()
        assert row["calibration_error"] == pytest.approx(metrics.calibration_error(by_step.mean(0), labels))
        assert row["brier_of_mean_scores"] == pytest.approx(metrics.brier(of_mean, labels))
        assert row["calibration_error_of_mean_scores"] == pytest.approx(metrics.calibration_error(of_mean, labels))
    assert rows[2]["weights_kind"] == "log5 (5 bits)"
    assert rows[2]["accuracy"] == json.loads((runs / "times-1" / "result.json").read_text())["test_accuracy"]
    page = tmp_path / "page.md"
    assert main(["table", str(runs), "-o", str(page)]) == 0
    lines = [line for line in page.read_text().splitlines() if line.startswith(("| plain", "| times"))]
    first, second = (100 * row["accuracy"] for row in rows[:2])
    assert lines[0].startswith("| plain, 2 seeds | mnist, files that are not the official ones | 8C5s4-MP2-FC16-FC3 | "
                               "none | ")
    assert f"| {(first + second) / 2:.2f} ± {abs(first - second) / 2:.2f} % |" in lines[0]
    assert f"| {100 * rows[2]['accuracy']:.2f} % |" in lines[1]


def test_accuracy_over_time_and_early_exits_are_measured(runs, data):
    row = measure(runs / "converted-1", data, verify=False)
    assert row["weights_kind"] == "ternary, binary in fc1 (2 bits)"
    assert len(row["accuracy_by_step"]) == row["timesteps"] == 8
    assert row["accuracy_by_step"][-1] == row["accuracy"]
    network = network_file.load(runs / "converted-1" / "network.safetensors")
    test = made(60, 2, side=SIDE)
    assert row["accuracy_by_step"] == accuracy_over_time(network, test.images.numpy(), test.labels.numpy())
    assert [entry["tolerance"] for entry in row["early_exit"]] == [0.0, 0.001, 0.005]
    assert all(1 <= entry["mean_timesteps"] <= 8 for entry in row["early_exit"])
    page = table([row])
    assert "## Accuracy over time" in page
    assert "| t = 4 | t = 8 | early exit" in page
    assert f"| converted, seed 1 | {100 * row['accuracy_by_step'][0]:.2f} % |" in page


def test_compared_thresholds_are_a_table_of_their_own():
    row = row_of("converted", 2, 0.8, 0.1)
    assert "## Thresholds" not in table([{**row, "threshold_sweep": None}])
    page = table([{**row, "threshold_sweep": {
        "images": 1000, "ann_accuracy": 0.85, "accuracies": {"99.5": 0.7, "least error": 0.75}}}])
    assert ("| converted, seed 2 | 99.5 | 70.00 % | 85.00 % | 1,000 |\n"
            "| converted, seed 2 | least error | 75.00 % | 85.00 % | 1,000 |") in page


def test_images_run_on_the_rtl_where_the_network_fits(runs, data, capsys):
    assert main(["measure", str(runs / "plain-1"), "--data", str(data), "--unverified", "--rtl", "2"]) == 0
    row = json.loads((runs / "plain-1" / "benchmark.json").read_text())
    assert capsys.readouterr().out == (f"plain: {row['accuracy']:.2%} of 60 test images; RTL equal on 2 images, "
                                       f"{row['rtl_cycles']:,} clocks\n")
    network = network_file.load(runs / "plain-1" / "network.safetensors")
    assert row["rtl_images"] == 2
    assert row["rtl_cycles"] == count_cycles(plan_for_board(network, BOARDS["icebreaker"])).total
    assert f"equal on 2 images, {row['rtl_cycles']:,} clocks" in table([row])
    row = measure(runs / "converted-1", data, verify=False, rtl_images=2)
    assert "timesteps" in row["rtl_limit"]
    assert f"does not fit: {row['rtl_limit']}" in table([row])


def test_a_circuit_with_weights_from_flash_is_said():
    row = {**row_of("large", 1, 0.8, 0.1), "rtl_images": 3, "rtl_cycles": 1_415_435}
    assert "| equal on 3 images, 1,415,435 clocks |" in table([{**row, "rtl_weights": "baked"}])
    assert "| equal on 3 images, 1,415,435 clocks, weights from flash |" in table([{**row, "rtl_weights": "flash"}])


@pytest.mark.long
def test_a_network_too_large_for_the_bitstream_runs_with_weights_from_flash():
    rng = np.random.default_rng(8)
    neurons = Neurons(threshold=np.full(256, 9), bias=np.zeros(256, np.int64), initial=np.zeros(256, np.int64),
                      fraction=0, reset=Reset.SUBTRACT)
    layers = (FullyConnected(weights=rng.integers(-1, 2, (256, 256), np.int8), neurons=neurons),
              Readout(weights=rng.integers(-1, 2, (10, 256), np.int8)))
    network = Network(input=Input(encoding=Encoding.EVENTS, channels=1, height=16, width=16), layers=layers,
                      timesteps=4)
    found = measuring._on_rtl(network, rng.random((2, 4, 1, 16, 16)) < 0.3)
    assert (found["rtl_images"], found["rtl_weights"]) == (2, "flash")
    check = check_flash(network, BOARDS["icebreaker"], 48e6, remedies=False)
    assert found["rtl_cycles"] == check.clocks


def copied(source, folder):
    folder.mkdir()
    for path in source.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_an_integer_network_that_is_another_one_is_refused(runs, data, tmp_path):
    folder = copied(runs / "plain-1", tmp_path / "run")
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "test_accuracy": result["test_accuracy"] - 1 / 60}))
    with pytest.raises(BenchmarkError, match=r"though every channel is certified exact$"):
        measure(folder, data, verify=False)


def test_missing_results_and_measurements_get_one_line(tmp_path, capsys):
    assert main(["measure", str(tmp_path), "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (f"ERROR: {tmp_path}/result.json: the training's result is missing: finish the "
                                       f"training first\n")
    assert main(["table", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (f"ERROR: {tmp_path}: must hold folders with a benchmark.json: measure trainings "
                                       f"first, and give the folder that holds them\n")


@pytest.mark.parametrize("content", [None, "[" * 100_000], ids=["pipe", "deep"])
def test_a_measurement_that_cannot_be_read_is_one_line(content, tmp_path, capsys):
    path = tmp_path / "run" / "benchmark.json"
    path.parent.mkdir()
    if content is None:
        os.mkfifo(path)
    else:
        path.write_text(content)
    assert main(["table", str(tmp_path), "-o", str(tmp_path / "page.md")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ERROR: {path}: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "page.md").exists()


def test_a_result_that_must_not_be_read_is_not_called_missing(tmp_path, capsys):
    (tmp_path / "result.json").symlink_to("result.json")
    assert main(["measure", str(tmp_path), "--data", "d"]) == 1
    assert capsys.readouterr().err == f"ERROR: {tmp_path}/result.json: Too many levels of symbolic links\n"


def test_measurements_of_an_earlier_revision_get_one_line(tmp_path, capsys):
    old = tmp_path / "old"
    old.mkdir()
    layout = json.dumps({"layout": LAYOUT, "name": "plain", "accuracy": 0.5})
    again = f"must be a measurement of this revision: measure {old} again"
    for content, message in (('{"name": "plain", "accuracy": 0.5}', again), (layout, again),
                             ("[1, 2]", "the measurement must be a JSON object, not [1, 2]"),
                             ("{", "the measurement cannot be read: ")):
        (old / "benchmark.json").write_text(content)
        assert main(["table", str(tmp_path), "-o", str(tmp_path / "page.md")]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"ERROR: {old}/benchmark.json: {message}")
        assert error.count("\n") == 1
    assert not (tmp_path / "page.md").exists()


def test_float_networks_are_rows_and_others_are_compared_with_them(runs, data, capsys):
    names = ("float-1", "constrained-1", "started-1")
    folders = [str(runs / name) for name in names]
    assert main(["measure", *folders, "--data", str(data), "--unverified"]) == 0
    alone, constrained, started = (json.loads((runs / name / "benchmark.json").read_text()) for name in names)
    result = json.loads((runs / "float-1" / "result.json").read_text())
    assert f"float: float, {result['float_test_accuracy']:.2%} of 60 test images" in capsys.readouterr().out
    teacher = json.loads((runs / "poor-1" / "result.json").read_text())
    assert teacher["float_test_accuracy"] != result["float_test_accuracy"]
    for row in (alone, constrained, started):
        assert row["float_test_accuracy"] == result["float_test_accuracy"]
    assert alone["accuracy"] is None
    assert [row["needs"] for row in (alone, constrained, started)] == [[], ["float-1", "poor-1"], ["float-1"]]
    page = table([alone, constrained])
    assert "| `python -m train --recipe float.json --data DIR` |" in page
    assert "| `python -m train --recipe constrained.json --data DIR` after float-1 and poor-1 |" in page
    exported, of_float = 100 * constrained["accuracy"], 100 * alone["float_test_accuracy"]
    row = next(line for line in page.splitlines() if line.startswith("| float |"))
    assert f"{alone['weights']:,} float | 4 | 1.0 x | {of_float:.2f} % | - | - | - | - | - |" in row
    assert (f"| exported against float | constrained, seed 1 | float, {of_float:.2f} % | {exported - of_float:+.2f} "
            f"points | - | - |") in page


def test_a_float_network_that_is_gone_gets_one_line(runs, data, tmp_path):
    folder = copied(runs / "constrained-1", tmp_path / "constrained-1")
    with pytest.raises(BenchmarkError, match=r"float-1/result.json: the result of the training float-1 is "):
        measure(folder, data, verify=False)


def row_of(name, seed, accuracy, error):
    facts = {"name": name, "seed": seed, "epochs": 20, "test_images": 100, "dataset": "cifar-10", "network": "8C3-FC10",
             "methods": [], "needs": [], "weights": 8, "weights_kind": "ternary",
             "timesteps": 4, "compression": 2.0, "float_test_accuracy": None, "exact": True, "firing_rate": 0.5,
             "event_operations": 1e6, "dense_operations": 2e6, "train_seconds": 60.0}
    sure = dict.fromkeys(("negative_log_likelihood", "brier", "predictive_entropy", "mutual_information",
                          "negative_log_likelihood_of_mean_scores", "brier_of_mean_scores"), 0.25)
    return {**facts, **sure, "accuracy": accuracy, "calibration_error": error,
            "calibration_error_of_mean_scores": 0.1 - error}


@pytest.mark.parametrize(("exact", "words"), [
    ([True, True], "yes"), ([True, None], "not certified (leaky)"), ([None, None], "not certified (leaky)"),
    ([None, False], "no"), ([True, False], "no")])
def test_a_leaky_network_is_not_certified_rather_than_wrong(exact, words):
    page = table([{**row_of("plain", seed, 0.8, 0.1), "exact": one} for seed, one in enumerate(exact)])
    assert f"| 80.00 ± 0.00 % | {words} | 0.100 ± 0.000 |" in page


def test_the_network_is_measured_with_progress(monkeypatch):
    log, told = make_log()
    monkeypatch.setattr(measuring, "Progress", log)
    monkeypatch.setattr(measuring.exact, "batch_size", lambda timesteps: 3)
    for network, run in ((network_file.load(MODELS / "mnist-conv.safetensors"), measuring._run),
                         (ttfs_network(), measuring._run_ttfs)):
        run(network, np.full((7, *network.input.shape), 200, np.uint8))
    assert told == ["measuring the network", "3 of 7 images", "6 of 7 images", "7 of 7 images"] * 2


def test_measurement_that_cannot_be_written_is_told_before_the_work(runs, data, tmp_path):
    folder = copied(runs / "plain-1", tmp_path / "plain-1")
    (folder / "benchmark.json").unlink(missing_ok=True)
    (folder / "benchmark.json").mkdir()
    (folder / "plain.safetensors").unlink()
    with pytest.raises(InputError, match=f"^{re.escape(str(folder))}/benchmark.json: output must be a file, "
                                         f"not a folder$"):
        measure(folder, data, verify=False)


def test_layers_are_written_in_shorthand():
    layers = [{"kind": "convolution", "channels": 16, "kernel": 5, "stride": 2},
              {"kind": "convolution", "channels": 16, "kernel": 3, "stride": 1, "shortcut": "conv1"},
              {"kind": "or-pool", "size": 3},
              {"kind": "convolution", "channels": 8, "kernel": 1, "stride": 1, "pool": 2},
              {"kind": "convolution", "channels": 8, "kernel": 3, "stride": 1, "projection": {"weights": "identity"}},
              {"kind": "convolution", "channels": 9, "kernel": 3, "stride": 2, "projection": {"weights": "trained"}},
              {"kind": "fully-connected", "neurons": 32}, {"kind": "readout", "classes": 10, "input_pool": 4}]
    assert notation({"layers": layers}) == "16C5s2-16C3+-MP3-8C1-AP2-8C3+i-9C3s2+p-FC32-AP4-FC10"


def test_rows_of_other_trainings_are_kept():
    """A page that is made again with some of its trainings, or with others, differs in their rows alone."""
    slow = {**row_of("slow", 1, 0.7, 0.1), "timesteps": 8, "accuracy_by_step": [0.1] * 8,
            "early_exit": [{"tolerance": 0.0, "accuracy": 0.1, "mean_timesteps": 8.0}]}
    rows = [row_of("cifar10-distilled", 1, 0.8, 0.1), row_of("cifar10-ternary", 1, 0.7, 0.1), slow]
    page = table(rows)
    assert "| t = 4 | t = 8 |" in page
    assert table([], page) == table(rows[:2], page) == table(rows[2:], page) == table(rows[2:], table(rows[:2])) == page
    # Recipes are measured anew, and so are the seeds of one.
    again = [row_of("slow", seed, 0.75, 0.1) for seed in (2, 3)]
    assert table(again, page) == table([*rows[:2], *again])
    # The difference of one that was measured anew and one of the page is not known.
    page = table([row_of("cifar10-ternary", 1, 0.9, 0.1)], page)
    assert "against plain training" not in page
    assert "| cifar10-distilled |" in page


def test_an_older_page_that_is_none_is_refused(runs, data, tmp_path, capsys):
    measure(runs / "plain-1", data, verify=False)
    page = tmp_path / "page.md"
    longer = ("line 5: a row must have the 2 cells of its table, not 3: mend the line, or give another file with "
              "--output")
    binary = "an older page must be text in UTF-8, and byte 0 is not: give another file with --output"
    for content, problem in ((b"# A\n\n| a | b |\n|---|---|\n| 1 | 2 | 3 |\n", longer), (b"\xff", binary)):
        page.write_bytes(content)
        assert main(["table", str(runs), "-o", str(page)]) == 1
        assert capsys.readouterr().err == f"ERROR: {page}: {problem}\n"
        assert page.read_bytes() == content


@pytest.mark.parametrize(("key", "value"), [
    ("dataset", "cifar-100"), ("network", "9C3-FC10"), ("methods", ["cbp"]), ("epochs", 19), ("timesteps", 8),
    ("weights", 9), ("weights_kind", "float"), ("test_images", 99), ("needs", ["other"])])
def test_runs_that_are_not_seeds_of_one_recipe_are_refused(key, value):
    rows = [row_of("plain", 1, 0.8, 0.1), {**row_of("plain", 2, 0.9, 0.1), key: value}]
    with pytest.raises(BenchmarkError,
                       match=rf"^plain: measurements must be seeds of one recipe, but differ in {key}$"):
        table(rows)


def test_the_same_seed_twice_is_refused():
    rows = [row_of("plain", seed, 0.8, 0.1) for seed in (1, 2, 1)]
    with pytest.raises(BenchmarkError,
                       match=r"^plain: must be measured once for each seed, not with \[1, 1, 2\]$"):
        table(rows)


def test_one_teacher_of_several_seeds_has_no_error():
    rows = [{**row_of("plain", seed, 0.8, 0.1), "float_test_accuracy": 0.9, "needs": ["teacher"]} for seed in (1, 2)]
    assert "| 2.0 x | 90.00 % | 80.00 ± 0.00 % |" in table(rows)
    own = [{**row, "needs": []} for row in rows]
    assert "| 2.0 x | 90.00 ± 0.00 % | 80.00 ± 0.00 % |" in table(own)


def test_command_names_epochs_that_are_not_the_recipes():
    row = row_of("cifar10-ternary", 1, 0.8, 0.1)
    assert "| `python -m train --recipe cifar10-ternary --data DIR` |" in table([row])
    assert "| `python -m train --recipe cifar10-ternary --data DIR --epochs 7` |" in table(
        [{**row, "epochs": 7}])


def test_rtl_images_below_none_are_refused(runs, data, capsys):
    assert main(["measure", str(runs / "plain-1"), "--data", str(data), "--unverified", "--rtl", "-1"]) == 1
    assert capsys.readouterr().err == "ERROR: --rtl must be 1 or more, not -1\n"


@pytest.mark.parametrize(("name", "key"), [
    ("plain-1", "recipe"), ("plain-1", "train_seconds"), ("plain-1", "test_accuracy"), ("plain-1", "test_images"),
    ("times-1", "test_accuracy"), ("float-1", "float_test_accuracy")])
def test_result_that_lacks_something_gets_one_line(runs, data, tmp_path, capsys, name, key):
    folder = copied(runs / name, tmp_path / "run")
    path = folder / "result.json"
    result = json.loads(path.read_text())
    for changed in ({**result, key: None}, {other: value for other, value in result.items() if other != key}):
        path.write_text(json.dumps(changed))
        assert main(["measure", str(folder), "--data", str(data), "--unverified"]) == 1
        assert capsys.readouterr().err == (f"ERROR: {path}: the training's result must have {key}: remove the file and "
                                           f"repeat the command of the training, which measures again\n")


def test_result_of_another_training_gets_one_line(runs, data, tmp_path, capsys):
    folder = copied(runs / "plain-1", tmp_path / "run")
    path = folder / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "code": {}}))
    assert main(["measure", str(folder), "--data", str(data), "--unverified"]) == 1
    assert capsys.readouterr().err == (f"ERROR: {folder}/plain.safetensors: not a checkpoint of a network with spike "
                                       f"times but one of rates: give it to python -m export\n")
    # As earlier versions left trainings with spike times.
    del result["checkpoint"]
    path.write_text(json.dumps({**result, "code": {}}))
    assert main(["measure", str(folder), "--data", str(data), "--unverified"]) == 1
    assert capsys.readouterr().err == (f"ERROR: {path}: the training's result must have checkpoint: remove the file "
                                       f"and repeat the command of the training, which measures again\n")


def test_option_without_effect_is_refused(runs, data, capsys):
    for folder in (runs / "times-1", runs / "float-1"):
        assert main(["measure", str(folder), "--data", str(data), "--unverified", "--rtl", "2"]) == 1
        assert capsys.readouterr().err == (f"ERROR: {folder}: --rtl must be left out for a network with spike times or "
                                           f"float weights: the array runs neither\n")
    assert main(["measure", str(runs / "plain-1"), "--data", str(data), "--rtl", "0"]) == 1
    assert capsys.readouterr().err == "ERROR: --rtl must be 1 or more, not 0\n"


def test_checkpoint_is_not_written_over_by_the_exported_network(runs, data, tmp_path, capsys):
    folder = copied(runs / "plain-1", tmp_path / "run")
    (folder / "network.safetensors").unlink(missing_ok=True)
    (folder / "plain.safetensors").rename(folder / "network.safetensors")
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "checkpoint": "network.safetensors"}))
    before = (folder / "network.safetensors").read_bytes()
    assert main(["measure", str(folder), "--data", str(data), "--unverified"]) == 1
    assert capsys.readouterr().err == (f"ERROR: {folder}/network.safetensors: output must not be the input {folder}/"
                                       f"network.safetensors: give another name\n")
    assert (folder / "network.safetensors").read_bytes() == before


@pytest.mark.parametrize(("recipe", "text"), [
    (None, "must be of a recipe, which its provenance has not"),
    ({"speed": 1}, "recipe of the provenance: recipe has no key 'speed', only ")])
def test_checkpoint_without_a_recipe_of_this_revision_gets_one_line(runs, data, tmp_path, capsys, recipe, text):
    folder = copied(runs / "plain-1", tmp_path / "run")
    path = folder / "plain.safetensors"
    checkpoint = Checkpoint.load(path)
    made = {key: value for key, value in checkpoint.provenance.items() if key != "recipe"}
    dataclasses.replace(checkpoint, provenance=made if recipe is None else {**made, "recipe": recipe}).save(path)
    assert main(["measure", str(folder), "--data", str(data), "--unverified"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ERROR: {path}: {text}")
    assert error.count("\n") == 1


def test_float_network_with_spike_times_is_a_row(runs, data, tmp_path):
    path = tmp_path / "rough.json"
    method = {"kind": "conversion-aware", "timesteps": 8, "tau": 2, "weights": "float"}
    path.write_text(json.dumps({**BASE, "name": "rough", "weights": "float", "epochs": 1, "methods": [method]}))
    assert train(["--recipe", str(path), "--data", str(data), "--unverified", "--quiet", "-o",
                  str(tmp_path / "rough")]) == 0
    row = measure(tmp_path / "rough", data, verify=False)
    assert (row["weights_kind"], row["timesteps"], row["accuracy"]) == ("float", 8, None)
    assert "| rough | mnist, files that are not the official ones | " in table([row])


def test_comparisons_have_the_standard_error_of_the_difference():
    rows = [row_of("cifar10-ternary", seed, accuracy, 0.04) for seed, accuracy in ((1, 0.80), (2, 0.82), (3, 0.84))]
    rows += [row_of("cifar10-distilled", seed, accuracy, 0.03) for seed, accuracy in ((1, 0.85), (2, 0.85), (3, 0.85))]
    page = table(rows)
    # Variance of the three: 4 %^2; of their mean: 4 / 3.
    assert ("| cifar10-distilled, 3 seeds | cifar10-ternary, 3 seeds | +3.00 ± 1.15 points | -0.010 ± 0.000 "
            "| +0.010 ± 0.000 |") in page
    assert "82.00 ± 1.15 %" in page
    assert "| indirect against" not in page
    single = table([rows[0], rows[3]])
    assert "| cifar10-distilled | cifar10-ternary | +5.00 points | -0.010 | +0.010 |" in single
