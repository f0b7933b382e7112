import json
import pathlib
import struct

import numpy as np
import pytest

from arch.checkpoint import Checkpoint
from train import __main__
from train.__main__ import main
from train.recipe import load_recipe, shipped_recipes


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    generator = np.random.default_rng(3)
    for prefix, count in (("train", 60), ("t10k", 20)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        for name, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
            head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / name).write_bytes(head + array.tobytes())
    return folder


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps({**load_recipe("mnist-conv").to_json(), "name": "tiny", "batch_size": 10,
                                "validation_images": 20, "calibration_images": 0, "compiled": False}))
    return str(path)


def test_training_from_the_command_line_leaves_all_files(tmp_path, data, recipe, capsys):
    output = tmp_path / "out"
    arguments = ["--recipe", recipe, "--data", str(data), "--unverified", "--epochs", "2", "--seed", "7", "-o",
                 str(output)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{output}/tiny.safetensors: epoch ")
    assert "loss" in printed.err
    assert "firing rate" in printed.err
    assert sorted(path.name for path in output.iterdir()) == [
        "best.pt", "curves.png", "metrics.jsonl", "result.json", "state.pt", "tiny.safetensors"]
    provenance = Checkpoint.load(output / "tiny.safetensors").provenance
    assert provenance["command"].startswith("python -m train --recipe ")
    assert provenance["seed"] == 7
    assert provenance["test_images"] == 20
    # Given again, the finished training is only reported.
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().out == printed.out


def test_dry_run_writes_nothing(tmp_path, data, recipe, capsys):
    output = tmp_path / "out"
    assert main(["--recipe", recipe, "--data", str(data), "--unverified", "--dry-run", "-o", str(output)]) == 0
    assert capsys.readouterr().out == (f"tiny: 55 epochs of 40 images of mnist, 20 validation and 20 test images, "
                                       f"to {output}\n")
    assert not output.exists()


def test_bad_input_is_one_line_and_exit_code_1(tmp_path, data, recipe, capsys):
    assert main(["--recipe", recipe, "--data", str(data), "-o", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith(f"ERROR: {data}/train-images-idx3-ubyte: MD5 of the unpacked file must be 6bbc9ace")
    assert main(["--recipe", "none", "--data", str(data)]) == 1
    assert capsys.readouterr().err == (
        f"ERROR: recipe must be {', '.join(shipped_recipes())} or a .json file, not 'none'\n")
    for seed, limit in (("-1", "an integer from 0"), (str(2**63), "below 2^63")):
        assert main(["--recipe", recipe, "--data", str(data), "--unverified", "--seed", seed]) == 1
        assert capsys.readouterr().err == f"ERROR: seed must be {limit}, not {seed}\n"
    assert main(["--recipe", recipe, "--data", str(data), "--unverified", "--threads", "0"]) == 1
    assert capsys.readouterr().err == "ERROR: --threads must be 1 or more, not 0\n"
    assert main(["--recipe", recipe, "--data", str(data), "--unverified", "--epochs", "0"]) == 1
    assert capsys.readouterr().err == "ERROR: epochs must be an integer from 1, not 0\n"
    assert main(["--recipe", recipe, "--data", str(data), "--unverified", "--device", "abacus",
                 "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("ERROR: device abacus cannot be used: ")


@pytest.mark.parametrize(("changes", "text"), [
    ({"start": "none"}, "must hold a finished training, with its result.json: "),
    ({"batch_size": 10_000}, "training images must be at least one batch of 10000, not "),
    ({"methods": [{"kind": "folded-time", "epochs": 999}]}, "epochs of folded-time must be at most the recipe's "),
    ({"methods": [{"kind": "conversion-aware"}]}, "weights of a recipe with conversion-aware must be float, not "),
])
def test_dry_run_refuses_what_the_training_would(tmp_path, data, recipe, capsys, changes, text):
    path = tmp_path / "changed.json"
    path.write_text(json.dumps({**json.loads(pathlib.Path(recipe).read_text()), **changes}))
    assert main(["--recipe", str(path), "--data", str(data), "--unverified", "--dry-run",
                 "-o", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("ERROR: ")
    assert text in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_missing_compiler_is_named_before_training(tmp_path, data, recipe, capsys, monkeypatch):
    monkeypatch.setattr(__main__.shutil, "which", lambda name: None)
    assert main(["--recipe", recipe, "--data", str(data), "--unverified", "--compile", "-o", str(tmp_path)]) == 1
    assert capsys.readouterr().err == ("ERROR: compiled loops need g++, which is not installed: "
                                       "install it or give --no-compile\n")


@pytest.mark.parametrize("arguments", [[], ["--recipe", "mnist-conv"], ["--recipe", "mnist-conv", "--speed", "9"]])
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m train" in capsys.readouterr().err
