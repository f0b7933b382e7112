import dataclasses
import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest

from arch.checkpoint import Checkpoint
from boards import BOARDS
from gateware.check.answer import Bears
from gateware.check.checking import check
from gateware.check.shapes import Shapes
from gateware.mapper import choice
from train import deploy, session
from train.catalogue import shipped_recipes
from train.command import MAX_THREADS, main
from train.datasets import DATASETS
from train.deploy import DeployError, exported_architecture
from train.recipe import Recipe, load_recipe

ROOT = pathlib.Path(__file__).parents[2]


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
                                "validation_images": 20, "calibration_images": 10, "compiled": False}))
    return str(path)


def test_training_from_the_command_line_leaves_all_files(tmp_path, data, recipe, capsys, caplog):
    caplog.set_level("INFO")
    output = tmp_path / "out"
    arguments = ["--recipe", recipe, "--data", str(data), "--unverified", "--epochs", "2", "--seed", "7", "-o",
                 str(output)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{output}/tiny.safetensors: epoch ")
    assert "loss" in printed.err
    assert "firing rate" in printed.err
    # The end of a large network takes minutes.
    assert [message for message in caplog.messages if message.startswith("measuring")] == [
        "measuring BatchNorm's statistics on 10 training images, and how good they are on 20 validation images",
        "measuring the exact accuracy on 20 test images"]
    assert sorted(path.name for path in output.iterdir()) == [
        "best.pt", "curves.png", "metrics.jsonl", "recipe.json", "result.json", "state.pt", "tiny.safetensors"]
    provenance = Checkpoint.load(output / "tiny.safetensors").provenance
    assert provenance["command"].startswith("python -m train --recipe ")
    assert provenance["seed"] == 7
    assert provenance["test_images"] == 20
    # Given again, the finished training is only reported.
    assert main([*arguments, "-q"]) == 0
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
    for option, low, high, wrong in (("seed", 0, 2**63 - 1, (-1, 2**63)), ("epochs", 1, 1_000_000, (0, -3, 1_000_001)),
                                     ("threads", 1, MAX_THREADS, (0, -1, 1_000_000))):
        for value in wrong:
            assert main(["--recipe", recipe, "--data", str(data), "--unverified", f"--{option}", str(value)]) == 1
            assert capsys.readouterr().err == f"ERROR: --{option} must be {low} to {high}, not {value}\n"
    for device in ("abacus", "meta", "cuda:99"):
        assert main(["--recipe", recipe, "--data", str(data), "--unverified", "--device", device,
                     "-o", str(tmp_path / "out")]) == 1
        assert capsys.readouterr().err.startswith(f"ERROR: device {device} cannot be used: ")


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
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(session.shutil, "which", lambda name: None)
    assert main(["--recipe", recipe, "--data", str(data), "--unverified", "--compile", "-o", str(tmp_path)]) == 1
    assert capsys.readouterr().err == ("ERROR: compiled loops need g++, which is not installed: "
                                       "install it or give --no-compile\n")


@pytest.mark.parametrize("arguments", [[], ["--recipe", "mnist-conv"], ["--recipe", "mnist-conv", "--speed", "9"]])
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m train" in capsys.readouterr().err


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_folder_with_other_things_is_left_alone(tmp_path, data, recipe, capsys, dry):
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    arguments = ["--recipe", recipe, "--data", str(data), "--unverified", "-o"]
    assert main([*arguments, str(output), *dry]) == 1
    assert capsys.readouterr().err == (f"ERROR: {output}: folder must be empty or hold a training, not 'thesis.tex': "
                                       f"give another folder with -o\n")
    assert [entry.name for entry in output.iterdir()] == ["thesis.tex"]
    for path, line in ((output / "thesis.tex", "output must be a folder, not a file"),
                       (output / "thesis.tex" / "run", f"{output}/thesis.tex must be a folder, not a file")):
        assert main([*arguments, str(path), *dry]) == 1
        assert capsys.readouterr().err == f"ERROR: {path}: {line}\n"


def python(program):
    """Run a program from the top of the checkout in an interpreter that cannot import PyTorch."""
    blocked = "import sys; sys.modules['torch'] = None; "
    return subprocess.run([sys.executable, "-c", blocked + program], cwd=ROOT, capture_output=True, text=True,
                          check=False)


@pytest.mark.parametrize(("option", "value", "line"), [
    ("--recipe", "mistyped", "recipe must be "), ("--recipe", "none.json", "none.json: No such file or directory"),
    ("--recipe", "/dev", "recipe must be "), ("--epochs", "0", "--epochs must be "),
    ("--seed", "-1", "--seed must be "), ("--threads", "1000000", "--threads must be ")])
def test_wrong_names_and_numbers_are_answered_before_pytorch_is_imported(option, value, line):
    arguments = ["--recipe", "mnist-conv", "--data", "X", option, value]
    done = python(f"from train.command import main; sys.exit(main({arguments!r}))")
    assert done.returncode == 1
    assert done.stderr.startswith(f"ERROR: {line}")
    assert done.stderr.count("\n") == 1


def test_interruption_says_how_to_go_on(tmp_path, data, recipe, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(session.Training, "run", interrupted)
    assert main(["--recipe", recipe, "--data", str(data), "--unverified", "-o", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "ERROR: interrupted; the same command resumes after the last epoch\n"


def test_interruption_of_the_import_is_one_line():
    program = """
class Finder:
    def find_spec(self, name, *_):
        if name == "torch":
            raise KeyboardInterrupt

del sys.modules["torch"]
sys.meta_path.insert(0, Finder())
from train.command import main
sys.exit(main(["--recipe", "mnist-conv", "--data", "X"]))
"""
    done = python(f"exec({program!r})")
    assert (done.returncode, done.stderr) == (
        130, "ERROR: interrupted; the same command resumes after the last epoch\n")


def test_a_recipe_is_checked_for_a_board_without_data(recipe, capsys):
    assert main(["--recipe", recipe, "--board", "icebreaker", "--check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["network"], answer["network_sha256"], answer["valid"]) == ("tiny", None, True)
    # Those of the trained network that ships.
    assert [layer["clocks"] for layer in answer["circuits"]["baked"]["layers"]] == [3168, 5360, 2368, 65]
    assert main(["--recipe", recipe, "--board", "icebreaker", "--check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny on icebreaker"
    assert "an inference: 10,961 clocks, 0.2284 ms, exact" in lines


def changed(path, recipe, **changes):
    path.write_text(json.dumps({**json.loads(pathlib.Path(recipe).read_text()), **changes}))
    return str(path)


def test_a_network_that_no_circuit_runs_is_an_error_behind_the_answer(tmp_path, recipe, capsys):
    architecture = json.loads(pathlib.Path(recipe).read_text())["architecture"]
    path = changed(tmp_path / "long.json", recipe, architecture={**architecture, "timesteps": 64})
    assert main(["--recipe", path, "--board", "icebreaker", "--check"]) == 1
    printed = capsys.readouterr()
    assert "does not fit: network: timesteps must be at most 32, not 64 (32 too many)" in printed.out.splitlines()
    assert printed.err == ("ERROR: tiny runs on no circuit of the iCEBreaker: baked: network: timesteps must be at "
                           "most 4, not 64: train it with 4 timesteps\n")


def test_what_helps_is_not_looked_for_where_nobody_asks(tmp_path, recipe, capsys, monkeypatch):
    monkeypatch.setattr(choice, "find_change", None)
    architecture = json.loads(pathlib.Path(recipe).read_text())["architecture"]
    path = changed(tmp_path / "long.json", recipe, architecture={**architecture, "timesteps": 64})
    assert main(["--recipe", path, "--board", "icebreaker", "--check", "--json", "--no-remedies"]) == 1
    printed = capsys.readouterr()
    assert [circuit["remedies"] for circuit in json.loads(printed.out)["circuits"].values()] == [[], []]
    assert printed.err == ("ERROR: tiny runs on no circuit of the iCEBreaker: baked: network: timesteps must be at "
                           "most 4, not 64: use another --board, or a smaller network\n")


def test_images_of_a_data_set_are_made_smaller_by_its_framing_alone(tmp_path, capsys):
    assert main(["--recipe", "tsnn-nmnist", "--board", "icebreaker", "--check", "--json"]) == 0
    remedy, = json.loads(capsys.readouterr().out)["circuits"]["baked"]["remedies"]
    assert remedy == ("use a framing with the factor 2 and 17 x 17 as the height and width of the architecture's input "
                      "and use at most 24 neurons in layer 4 (fully-connected)")
    # What it says can be done: the recipe is one, has the images of its data set, and fits.
    values = json.loads((ROOT / "train/recipes/tsnn-nmnist.json").read_text())
    architecture = json.loads((ROOT / "train/architectures/tsnn-nmnist.json").read_text())
    architecture["input"] |= {"height": 17, "width": 17}
    architecture["layers"][4]["neurons"] = 24
    made = Recipe.from_json({**values, "framing": {**values["framing"], "factor": 2}, "architecture": architecture})
    assert made.make_framing().shape(DATASETS["n-mnist"].shape)[1:] == (17, 17)
    circuit = check(Shapes(name="smaller", architecture=made.architecture), BOARDS["icebreaker"]).plan.circuits["baked"]
    assert circuit.bears is not Bears.NO


def test_pixels_of_a_data_set_are_as_many_as_they_are(recipe, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(deploy, "check", lambda shapes, *given, **options: asked.append(shapes.sizes) or check(
        shapes, *given, **options))
    assert main(["--recipe", recipe, "--board", "icebreaker", "--check"]) == 0
    assert asked == [()]


def test_limits_that_all_depend_on_the_weights_are_said_with_the_first(tmp_path, recipe, capsys, monkeypatch):
    """The densest and the sparsest weights may ask for other geometries, and so word no limit alike."""
    whole = deploy.check

    def check(*given, **options):
        answer = whole(*given, **options)
        return answer._replace(findings=tuple(
            dataclasses.replace(finding, depends_on_weights=True) for finding in answer.findings))

    monkeypatch.setattr(deploy, "check", check)
    architecture = json.loads(pathlib.Path(recipe).read_text())["architecture"]
    path = changed(tmp_path / "long.json", recipe, architecture={**architecture, "timesteps": 64})
    assert main(["--recipe", path, "--board", "icebreaker", "--check"]) == 1
    assert capsys.readouterr().err.startswith("ERROR: tiny runs on no circuit of the iCEBreaker: baked: network: ")


@pytest.mark.parametrize(("methods", "timesteps"), [
    ([], 4), ([{"kind": "conversion", "weights": "ternary", "timesteps": 3}], 3)])
def test_what_is_checked_is_what_the_methods_export(recipe, methods, timesteps):
    made = dataclasses.replace(load_recipe("mnist-conv"), methods=tuple(methods))
    assert exported_architecture(made)["timesteps"] == timesteps


@pytest.mark.parametrize("method", [{"kind": "conversion", "weights": "float"}, {"kind": "conversion-aware"}])
def test_a_recipe_that_exports_nothing_for_the_array_is_refused(tmp_path, recipe, capsys, method):
    path = changed(tmp_path / "other.json", recipe, methods=[method])
    assert main(["--recipe", path, "--board", "icebreaker", "--check"]) == 1
    assert capsys.readouterr() == ("", (
        f"ERROR: recipe tiny must export a network of ternary weights and spikes in timesteps, and with "
        f"{method['kind']} as it stands it does not: change this method, or check another recipe\n"))


@pytest.mark.parametrize("methods", [(), ({"kind": "distillation", "teacher": "mine"},)])
def test_a_recipe_of_float_weights_that_stay_so_is_refused(methods):
    made = dataclasses.replace(load_recipe("mnist-conv"), weights="float", methods=methods)
    with pytest.raises(DeployError, match=(
            r"^recipe mnist-conv must export a network of ternary weights and spikes in timesteps, and with float "
            r"weights it exports none: give it ternary weights, or check another recipe$")):
        exported_architecture(made)


def test_shipped_recipes_that_export_no_network_for_the_array_are_known():
    refused = []
    for name in shipped_recipes():
        try:
            exported_architecture(load_recipe(name))
        except DeployError as error:
            refused.append((name, "weights it exports none" in str(error)))
    assert [name for name, float_weights in refused if float_weights] == ["cifar10-float", "cifar10-teacher"]


@pytest.mark.parametrize(("arguments", "line"), [
    (["--data", "X", "--json"], "--json must be given with --check: it has no effect without"),
    (["--data", "X", "--no-remedies"], "--no-remedies must be given with --check: it has no effect without"),
    (["--data", "X", "--board", "icebreaker"], "--board must be given with --check: it has no effect without"),
    (["--check"], "--check must be given with --board: say which board is to run the network"),
    (["--check", "--board", "icebreaker", "--epochs", "3"],
     "--epochs has no effect with --check, which trains nothing: leave one of the two out"),
    (["--check", "--board", "icebreaker", "--dry-run"],
     "--dry-run has no effect with --check, which trains nothing: leave one of the two out"),
    (["--check", "--board", "icebreaker", "--seed", "0"],
     "--seed has no effect with --check, which trains nothing: leave one of the two out"),
    (["--check", "--board", "icebreaker", "--no-compile"],
     "--compile has no effect with --check, which trains nothing: leave one of the two out"),
    (["--check", "--board", "icebreaker", "--no-bfloat16"],
     "--bfloat16 has no effect with --check, which trains nothing: leave one of the two out"),
    (["--check", "--board", "arty"], "board must be one of icebreaker, icesugar, upduino-v3, not 'arty'")])
def test_options_of_the_check_are_refused_where_they_mean_nothing(capsys, arguments, line):
    assert main(["--recipe", "mnist-conv", *arguments]) == 1
    assert capsys.readouterr() == ("", f"ERROR: {line}\n")


def test_a_wrong_recipe_is_named_with_its_file(tmp_path, recipe, capsys):
    path = changed(tmp_path / "wrong.json", recipe, seed=-1)
    assert main(["--recipe", path, "--board", "icebreaker", "--check"]) == 1
    assert capsys.readouterr().err.startswith(f"ERROR: {path}: seed must be ")
