"""``python -m train --from``: a float network is ternarised, fine-tuned, resumed and exported; what is refused."""

import json
import shutil
import struct

import numpy as np
import pytest

from arch import network_file
from arch.checkpoint import Checkpoint
from export.command import main as export
from export.sources.nir import file as nir_file
from tests.export.sources.nir.graphs import FLATTEN, chained, node, spiking
from train import training as trainings
from train.command import main

RULE = ["--package", "snntorch", "--reset", "subtract", "--timesteps", "4", "--encoding", "pixels", "--scale", "1/255"]
SMALL = ["--unverified", "--validation-images", "40", "--no-bfloat16", "--no-compile", "--threads", "1"]


def blocks():
    """A block of each class, bool ``[10, 28, 28]``."""
    found = np.zeros((10, 28, 28), dtype=bool)
    for label in range(10):
        found[label, 14 * (label // 5):14 * (label // 5) + 14, 5 * (label % 5) + 1:5 * (label % 5) + 6] = True
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files as MNIST's, of images with a bright block where the class says."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(3)
    for prefix, count in (("train", 360), ("t10k", 50)):
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        images = generator.integers(0, 100, (count, 28, 28), dtype=np.uint8) + (120 * blocks()[labels]).astype(np.uint8)
        for name, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
            head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / name).write_bytes(head + array.tobytes())
    return folder


def lif(count, beta=0.9):
    """Neurons as snnTorch writes ``Leaky``."""
    tau = np.full(count, 1e-4 / (1 - beta))
    return spiking((count,), r=1 / (1 - beta), kind="LIF", tau=tau, v_leak=np.zeros(count))


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A float network that knows the blocks, with leaks and spikes above the threshold as snnTorch has them."""
    generator = np.random.default_rng(4)
    templates = blocks().reshape(10, -1)
    hidden = np.concatenate([np.where(templates, 0.05, -0.005), generator.normal(0, 0.01, (6, 784))])
    last = np.concatenate([np.eye(10), np.zeros((10, 6))], axis=1) * 1.5 + generator.normal(0, 0.02, (10, 16))
    nodes = {"flat": node("Flatten", **FLATTEN), "fc": node("Affine", weight=hidden, bias=np.full(16, -0.2)),
             "lif1": lif(16), "last": node("Linear", weight=last), "lif2": lif(10)}
    path = tmp_path_factory.mktemp("graph") / "blocks.nir"
    path.write_bytes(nir_file.dumps(chained(nodes, (1, 28, 28)), "1.0.8"))
    return str(path)


def fine_tuned(graph, data, output, *more):
    return main(["--from", graph, *RULE, "--dataset", "mnist", "--data", str(data), *SMALL, "--epochs", "2", "-o",
                 str(output), *more])


def test_a_float_network_becomes_a_certified_ternary_one(tmp_path, data, graph, capsys, caplog):
    output = tmp_path / "out"
    with caplog.at_level("INFO"):
        assert fine_tuned(graph, data, output) == 0
    assert caplog.messages[0] == (f"{graph}: the float network has 100.00 % of 40 validation images right; if its "
                                  f"package finds more, the options do not describe it")
    said = capsys.readouterr()
    assert said.out.startswith(f"{output}/blocks-ternary.safetensors: epoch ")
    assert said.out.endswith(" of 50 images (of the float network 100.00%)\n")
    result = json.loads((output / "result.json").read_text())
    assert result["test_accuracy"] > 0.9
    assert (result["teacher_validation_accuracy"], result["teacher_test_accuracy"]) == (1, 1)
    network = str(tmp_path / "net.safetensors")
    assert export([str(output / "blocks-ternary.safetensors"), "-o", network, "-q"]) == 0
    assert "exact: yes" in capsys.readouterr().out
    assert network_file.load(network).metadata["training"]["recipe"]["methods"][0]["kind"] == "fine-tuning"


def test_an_interrupted_fine_tuning_resumes_by_its_own_recipe(tmp_path, data, graph, capsys, monkeypatch):
    assert fine_tuned(graph, data, tmp_path / "whole" / "blocks-ternary", "--quiet") == 0
    run_epoch = trainings.Training.run_epoch

    def interrupted(training, bar=None):
        if training.history:
            raise KeyboardInterrupt
        return run_epoch(training, bar)

    output = tmp_path / "parts" / "blocks-ternary"
    with monkeypatch.context() as patch:
        patch.setattr(trainings.Training, "run_epoch", interrupted)
        assert fine_tuned(graph, data, output, "--quiet") == 130
    assert not (output / "result.json").exists()
    recipe = json.loads((output / "recipe.json").read_text())
    assert (recipe["epochs"], recipe["validation_images"]) == (2, 40)
    # Distortions are those of the shipped recipe for the data set.
    assert recipe["augmentation"]["elastic"] == 0.5
    assert main(["--recipe", str(output / "recipe.json"), "--data", str(data), "--unverified", "--threads", "1", "-o",
                 str(output), "--quiet"]) == 0
    whole, parts = (Checkpoint.load(folder / "blocks-ternary" / "blocks-ternary.safetensors")
                    for folder in (tmp_path / "whole", tmp_path / "parts"))
    assert all(np.array_equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)


def test_another_file_of_the_same_name_is_refused(tmp_path, data, graph, capsys):
    copy = tmp_path / "copy.nir"
    shutil.copyfile(graph, copy)
    output = tmp_path / "out"
    assert fine_tuned(str(copy), data, output, "--dry-run") == 0
    assert capsys.readouterr().out == (f"copy-ternary: 2 epochs of 320 images of mnist, 40 validation and 50 test "
                                       f"images, to {output}\n")
    assert not output.exists()
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({
        "name": "again", "dataset": "mnist", "epochs": 1, "validation_images": 40,
        "architecture": {"input": {"encoding": "pixels", "channels": 1, "height": 28, "width": 28, "zero_point": 0,
                                   "scale": 1 / 255}, "timesteps": 4,
                         "layers": [{"kind": "fully-connected", "name": "fc1", "neurons": 8, "reset": "subtract",
                                     "leak_shift": None, "epsilon": 1e-5},
                                    {"kind": "readout", "name": "readout", "classes": 10}]},
        "methods": [{"kind": "fine-tuning", "graph": str(copy), "sha256": "00", "facts": {"version": 1}}]}))
    arguments = ["--recipe", str(recipe), "--data", str(data), "--unverified", "-o", str(output), "--dry-run"]
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        f"ERROR: {copy}: must be the file that the recipe was made of, and its SHA-256 is another: begin again with "
        f"--from, in another folder\n")


def refused(capsys, *arguments):
    assert main([*arguments, "--data", "nowhere"]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(("arguments", "line"), [
    (["--recipe", "mnist-conv", "--package", "snntorch"],
     "--package must be given with --from GRAPH: a recipe says itself what is trained"),
    (["--recipe", "mnist-conv", "--dataset", "mnist"],
     "--dataset must be given with --from GRAPH: a recipe says itself what is trained"),
    (["--from", "{graph}", *RULE, "--ternary-timesteps", "0"], "--ternary-timesteps must be 1 to 64, not 0"),
    (["--from", "{graph}", *RULE, "--validation-images", "0"], "--validation-images must be 1 or more, not 0"),
    (["--from", "{graph}", "--package", "snntorch"],
     ("{graph}: spikes must be decided by more than NIR says: give --reset subtract or zero, as networks of snnTorch "
     "have either and the file does not say which")),
    (["--from", "{graph}", *RULE], ("--dataset must be given, as mnist and fashion-mnist have pixels of 1x28x28 and 10 "
                                   "classes")),
    (["--from", "{graph}", *RULE, "--dataset", "cifar-10"],
     "--dataset must be mnist or fashion-mnist for pixels of 1x28x28 and 10 classes, not cifar-10"),
    (["--from", "{graph}", *RULE, "--input", "1x16x49"],
     ("{graph}: node input: --input must be that of the file's input, 1x28x28, not 1x16x49: channels, rows and columns "
      "can be stated only of an input in a row")),
    (["--from", "{graph}", *RULE[:6], "--encoding", "events"],
     ("{graph}: no data set has events of 1x28x28 and 10 classes (docs/datasets.md): give the input its shape with "
      "--input, or train in a loop of your own (docs/your-network.md)")),
    (["--from", "{graph}", *RULE[:6], "--encoding", "events", "--ternary-timesteps", "2"],
     "--ternary-timesteps must be the 4 of the graph for events, not 2: both networks see the same frames"),
])
def test_refused_in_one_line(capsys, graph, arguments, line):
    given = [argument.format(graph=graph) for argument in arguments]
    assert refused(capsys, *given) == f"ERROR: {line.format(graph=graph)}\n"


def test_a_shape_that_no_data_set_has_is_refused(capsys, tmp_path):
    weight = np.random.default_rng(5).normal(size=(10, 784))
    path = tmp_path / "row.nir"
    path.write_bytes(nir_file.dumps(chained({"fc": node("Linear", weight=weight), "lif": lif(10)}, (784,)), "1.0.8"))
    assert refused(capsys, "--from", str(path), *RULE, "--input", "1x16x49") == (
        f"ERROR: {path}: no data set has pixels of 1x16x49 and 10 classes (docs/datasets.md): give the input its shape "
        f"with --input, or train in a loop of your own (docs/your-network.md)\n")


def test_data_sets_are_named_by_their_names(capsys, graph):
    line = refused(capsys, "--from", graph, *RULE, "--dataset", "imagenet")
    assert line.startswith("ERROR: --dataset must be mnist, ")
    assert line.endswith(", not 'imagenet'\n")


def test_a_recipe_or_a_graph_must_be_given(capsys):
    with pytest.raises(SystemExit) as exit_code:
        main(["--data", "nowhere"])
    assert exit_code.value.code == 2
    assert "one of the arguments --recipe --from is required" in capsys.readouterr().err


def test_what_a_graph_becomes_is_checked_for_a_board(graph, capsys):
    assert main(["--from", graph, *RULE, "--dataset", "mnist", "--board", "icebreaker", "--check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schema"], answer["network_sha256"]) == ("sterna-check-1", None)
    assert answer["bearing"]
