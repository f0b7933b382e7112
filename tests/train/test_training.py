import dataclasses
import itertools
import json
import logging
import re
import sys

import numpy as np
import pytest
import torch

from arch.checkpoint import Checkpoint
from train import exact
from train.augmentation import Augmentation
from train.catalogue import shipped_recipes
from train.curves import draw_curves
from train.datasets import Split
from train.finishing import finish
from train.folder import TrainingError, load_trained
from train.recipe import Recipe, load_recipe
from train.training import Training

NEURONS = {"reset": "subtract", "leak_shift": None, "epsilon": 1e-5}
ARCHITECTURE = {
    "input": {"encoding": "pixels", "channels": 1, "height": 8, "width": 8, "zero_point": 0, "scale": 1 / 256},
    "timesteps": 4,
    "layers": [{"kind": "convolution", "name": "conv1", "channels": 8, "kernel": 3, "stride": 1, "padding": 1,
                **NEURONS},
               {"kind": "or-pool", "size": 2},
               {"kind": "fully-connected", "name": "fc1", "neurons": 16, **NEURONS},
               {"kind": "readout", "name": "readout", "classes": 3}]}


def made(count, seed, side=8, classes=3):
    """Images whose class is the third of the image that is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=generator)
    images = torch.randint(0, 100, (count, 1, side, side), dtype=torch.uint8, generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, label * side // classes:(label + 1) * side // classes] += 120
    return Split(images=images, labels=labels)


def training(folder, **changes):
    values = {"name": "tiny", "dataset": "mnist", "architecture": ARCHITECTURE, "epochs": 4, "batch_size": 16,
              "learning_rate": 0.01, "augmentation": Augmentation(shift=1, elastic=0.3), "plain_epochs": 1,
              "calibration_images": 50, **changes}
    return Training(recipe=Recipe(**values), train=made(100, 1), validation=made(40, 2), folder=folder,
                    provenance={"command": "none"})


def test_resumed_training_equals_an_uninterrupted_one(tmp_path):
    whole = training(tmp_path / "whole")
    whole.run()
    for _ in range(4):
        part = training(tmp_path / "parts")
        assert part.resume() == (part.files.state.exists())
        part.run_epoch()
    states = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts")]
    for name, value in states[0]["network"].items():
        assert torch.equal(value, states[1]["network"][name]), name
    for index, entry in states[0]["optimiser"]["state"].items():
        for name, value in entry.items():
            assert torch.equal(value, states[1]["optimiser"]["state"][index][name]), (index, name)
    timeless = [[{key: value for key, value in json.loads(line).items() if "seconds" not in key}
                 for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
                for name in ("whole", "parts")]
    assert timeless[0] == timeless[1]
    assert len(timeless[0]) == 4
    best = [Checkpoint.load(tmp_path / name / "tiny.safetensors") for name in ("whole", "parts")]
    for name, array in best[0].tensors.items():
        assert np.array_equal(array, best[1].tensors[name])


def test_the_line_of_an_epoch_stands_alone_beside_the_progress_bar(tmp_path, capsys):
    log, handler = logging.getLogger("train"), logging.StreamHandler(sys.stderr)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        made_training = training(tmp_path, epochs=2)
        made_training.progress = True
        made_training.run()
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    lines = [line for line in capsys.readouterr().err.split("\n") if "epoch 1: " in line or "epoch 2: " in line]
    # What a terminal shows of a line: a carriage return goes back to its beginning.
    assert [line.rpartition("\r")[2].partition(" loss")[0] for line in lines] == ["epoch 1:", "epoch 2:"]


def test_another_seed_gives_another_network(tmp_path):
    weights = []
    for seed in (1, 2):
        run = training(tmp_path / str(seed), seed=seed, epochs=1)
        run.run()
        weights.append(run.network.state_dict()["chain.0.synapses.weight"])
    assert not torch.equal(*weights)


def test_training_learns_and_reports_what_the_exact_forward_measures(tmp_path):
    run = training(tmp_path, epochs=6)
    run.run()
    test = made(60, 3)
    result = finish(run, test)
    checkpoint = Checkpoint.load(run.files.checkpoint)
    assert result["test_accuracy"] == checkpoint.provenance["test_accuracy"]
    assert json.loads(run.files.result.read_text()) == result
    assert checkpoint.provenance["test_accuracy"] == exact.accuracy(checkpoint, test.images, test.labels)
    assert checkpoint.provenance["test_accuracy"] > 0.9
    assert checkpoint.provenance["validation_accuracy"] >= max(e["validation_accuracy"] for e in run.history)
    assert checkpoint.provenance["command"] == "none"
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    assert all(0 < rate < 1 for rate in run.history[-1]["firing_rates"])
    draw_curves(run.history, ARCHITECTURE["layers"], "tiny", run.files.curves)
    assert run.files.curves.read_bytes().startswith(b"\x89PNG")
    # The test set is measured once: a second call does not look at it.
    assert finish(run, made(7, 4)) == result
    assert Checkpoint.load(run.files.checkpoint).provenance == checkpoint.provenance


def finished(folder, **changes):
    run = training(folder, **changes)
    run.run()
    finish(run, made(20, 3))
    return run


def made_for(recipe, count, seed):
    """Noise of the form of a recipe's images, with labels."""
    source = recipe.architecture["input"]
    shape = [source[side] for side in ("channels", "height", "width")]
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, recipe.architecture["layers"][-1]["classes"], (count,), generator=generator)
    if source["encoding"] == "events":
        shape.insert(0, recipe.architecture["timesteps"])
    high = 2 if source["encoding"] == "events" else 256
    return Split(images=torch.randint(0, high, (count, *shape), dtype=torch.uint8, generator=generator), labels=labels)


def run_briefly(name, folder):
    """Train a shipped recipe for three steps, after those that it starts or learns from."""
    recipe = load_recipe(name)
    for earlier in recipe.needs:
        if not (folder / earlier / "best.pt").exists():
            run_briefly(earlier, folder)
    methods = [{**method, **(BRIEFLY.get(method["kind"], {}) if method.get("epochs") != -1 else {})}
               for method in recipe.methods]
    epochs = 2 if any(method["kind"] in ("indirect", "step-decay") for method in methods) else 1
    # Processors without instructions for bfloat16 take five times as long: the small networks are trained in float32.
    recipe = dataclasses.replace(recipe, methods=tuple(methods), epochs=epochs, batch_size=4, compiled=False,
                                 bfloat16=recipe.bfloat16 and name in LARGE, calibration_images=8)
    run = Training(recipe=recipe, train=made_for(recipe, 12, 1), validation=made_for(recipe, 5, 2),
                   folder=folder / name)
    run.run()
    assert run.steps_per_epoch == 3
    assert run.history[0]["loss"] > 0
    return finish(run, made_for(recipe, 5, 3))


#: Networks of 4 to 68 million weights.
LARGE = ("cifar10-resnet18", "cifar10-vgg11", "cifar10-vgg16", "cifar10-vgg9", "cifar100-vgg11", "tsnn-cifar10",
         "tsnn-cifar100")
#: Options of methods that must fit into so short a training.
BRIEFLY = {"folded-time": {"epochs": 0, "largest": 0}, "indirect": {"period": 1, "final_epochs": 1},
           "conversion": {"calibration_images": 8}, "cbp": {"calibration_images": 8},
           "conversion-aware": {"relu_epochs": 0, "clip_epochs": 0}, "step-decay": {"after": [1]}}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) if name in LARGE else name
                                  for name in shipped_recipes()])
def test_shipped_recipe_runs_three_steps(tmp_path, name):
    assert run_briefly(name, tmp_path)["test_images"] == 5


@pytest.mark.parametrize("chosen", [True, False])
def test_training_computes_in_bfloat16_where_the_recipe_says(tmp_path, chosen):
    seen = []
    run = training(tmp_path, epochs=2, bfloat16=chosen)
    hook = run.network.chain[0].neurons.register_forward_hook(lambda module, given, spikes: seen.append(spikes.dtype))
    run.step(run.train.images[:16], run.train.labels[:16])
    hook.remove()
    assert seen == [torch.bfloat16 if chosen else torch.float32]
    run.run()
    assert finish(run, made(40, 3))["test_accuracy"] > 0.4


def test_float_training_has_no_checkpoint_and_is_where_others_start(tmp_path):
    teacher = training(tmp_path / "teacher", name="teacher", weights="float", epochs=3)
    teacher.run()
    assert not any(entry["exportable"] for entry in teacher.history)
    test = made(60, 3)
    result = finish(teacher, test)
    assert "checkpoint" not in result
    assert not teacher.files.checkpoint.exists()
    loaded = load_trained(tmp_path / "teacher")
    with torch.no_grad():
        right = float((loaded(test.images).argmax(1) == test.labels).float().mean())
    assert right == pytest.approx(result["float_test_accuracy"], abs=1e-6)
    student = training(tmp_path / "student", start="teacher", epochs=1)
    best = torch.load(teacher.files.best, weights_only=True)["network"]
    for name, value in student.network.state_dict().items():
        assert torch.equal(value, best[name]), name
    student.run()
    assert student.history[0]["exportable"]


def test_layers_of_a_start_are_found_by_their_order(tmp_path):
    finished(tmp_path / "teacher", epochs=1)
    convolution, _, *others = ARCHITECTURE["layers"]
    averaged = {**ARCHITECTURE, "layers": [{**convolution, "name": "first", "pool": 2}, *others]}
    student = training(tmp_path / "student", start="teacher", architecture=averaged)
    best = torch.load(tmp_path / "teacher" / "best.pt", weights_only=True)["network"]
    for place, old in enumerate((0, 2, 3)):
        for name, value in student.network.chain[place].state_dict().items():
            assert torch.equal(value, best[f"chain.{old}.{name}"]), name


def test_a_start_that_is_missing_or_has_other_layers_is_named(tmp_path):
    folder = tmp_path / "none"
    text = f"^{folder}: must hold a finished training, with its result.json: train it first, to its end, into {folder}$"
    with pytest.raises(TrainingError, match=text):
        training(tmp_path / "student", start="none")
    finished(tmp_path / "other", epochs=1)
    convolution, pool, connected, readout = ARCHITECTURE["layers"]
    text = f"^{tmp_path}/other: the trained network must have the layers of this recipe: "
    unpooled = {**ARCHITECTURE, "layers": [convolution, connected, readout]}
    with pytest.raises(TrainingError, match=f"{text}size mismatch for chain.1.synapses.weight"):
        training(tmp_path / "student", start="other", architecture=unpooled)
    shorter = {**ARCHITECTURE, "layers": [convolution, pool, readout]}
    with pytest.raises(TrainingError, match=f"{text}it has 3 with weights, not 2$"):
        training(tmp_path / "student", start="other", architecture=shorter)


@pytest.mark.parametrize(("change", "text"), [
    ({"form": "nonsense"}, "'nonsense' is not a valid Mode"),
    ({"network": {}}, "Missing key"),
    ({"form": 3}, "'int' object"),
    ({"network": [1]}, "Expected state_dict to be dict-like"),
    ({"recipe": 3}, "the JSON object must be str"),
    ({"form": None}, "no form in it"),
    ({"form": None, "network": None}, "no form and no network in it"),
    ({"epoch": None}, "no epoch in it"),
])
def test_trained_weights_that_make_no_sense_are_named(tmp_path, change, text):
    finished(tmp_path, epochs=1)
    path = tmp_path / "best.pt"
    best = {**torch.load(path, weights_only=True), **change}
    torch.save({key: value for key, value in best.items() if value is not None}, path)
    with pytest.raises(TrainingError, match=f"^{path}: weights cannot be read: .*{text}") as error:
        load_trained(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("error", [IndexError("pop from empty list"), AssertionError(), RecursionError("too deep")])
def test_whatever_a_broken_file_provokes_is_one_line(tmp_path, monkeypatch, error):
    finished(tmp_path, epochs=1)

    def broken(*_, **__):
        raise error

    monkeypatch.setattr(torch, "load", broken)
    text = re.escape(str(error) or "AssertionError")
    with pytest.raises(TrainingError, match=f"^{tmp_path}/best.pt: weights cannot be read: {text}$"):
        load_trained(tmp_path)


def test_a_file_of_something_else_is_named(tmp_path):
    finished(tmp_path, epochs=1)
    torch.save(torch.zeros(3), tmp_path / "best.pt")
    with pytest.raises(TrainingError, match=f"^{tmp_path}/best.pt: weights cannot be read: a Tensor is in it, not "):
        load_trained(tmp_path)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("weights", ["ternary", "edge-ternary", "binary"])
def test_one_batch_is_learned_by_heart(tmp_path, optimiser, weights):
    run = training(tmp_path, optimiser=optimiser, weights=weights, epochs=100)
    batch = made(16, 7)
    for group in run.optimiser.param_groups:
        group["lr"] = 0.01 if optimiser == "adamw" else 0.1
    losses = [run.step(batch.images, batch.labels)[0] for _ in range(60)]
    assert losses[-1] < 0.1 < losses[0]


def test_learning_rate_rises_and_falls_to_zero(tmp_path):
    run = training(tmp_path, warmup_epochs=0.5)
    rates = [run.learning_rate(step) for step in range(4 * run.steps_per_epoch)]
    assert run.steps_per_epoch == 6
    assert rates[:3] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01])
    assert rates[3] == pytest.approx(0.01)
    assert all(a > b for a, b in itertools.pairwise(rates[3:]))
    assert 0 < rates[-1] < 1e-4


def test_folder_of_another_recipe_is_refused(tmp_path):
    training(tmp_path).run_epoch()
    text = f"^{tmp_path}: holds a training with another epochs, seed: give another folder with -o$"
    with pytest.raises(TrainingError, match=text):
        training(tmp_path, seed=5, epochs=9).resume()


def test_broken_state_is_named(tmp_path):
    run = training(tmp_path)
    run.files.state.write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match=f"^{run.files.state}: state cannot be read: "):
        run.resume()


@pytest.mark.parametrize(("key", "value"), [
    ("network", None), ("rate_factor", None), ("data", None), ("network", {}), ("history", "["), ("methods", [{}])])
def test_state_that_lacks_something_is_named(tmp_path, key, value):
    run = training(tmp_path)
    run.run_epoch()
    state = torch.load(run.files.state, weights_only=True)
    state[key] = value
    if value is None:
        del state[key]
    torch.save(state, run.files.state)
    with pytest.raises(TrainingError, match=f"^{run.files.state}: state cannot be read: .*: give another folder with "
                                            f"-o$") as error:
        training(tmp_path).resume()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_folder_of_a_training_on_other_data_is_refused(tmp_path, split, part):
    training(tmp_path).run_epoch()
    other = {name: Split(images=values.images.clone(), labels=values.labels.clone())
             for name, values in (("train", made(100, 1)), ("validation", made(40, 2)))}
    changed = getattr(other[split], part)
    changed.view(-1)[-1] = (int(changed.view(-1)[-1]) + 1) % 3
    run = Training(recipe=training(tmp_path).recipe, folder=tmp_path, **other)
    with pytest.raises(TrainingError, match=f"^{tmp_path}: holds a training with another data: give another folder "):
        run.resume()


def test_result_without_its_state_is_not_taken_for_one_of_a_new_training(tmp_path):
    finished(tmp_path, epochs=1).files.state.unlink()
    text = f"^{tmp_path}: holds the result of a training without its state.pt: give another folder with -o$"
    with pytest.raises(TrainingError, match=text):
        training(tmp_path, epochs=1).resume()


def test_training_that_is_not_finished_starts_no_other(tmp_path):
    run = training(tmp_path / "first", epochs=2)
    run.run_epoch()
    text = f"^{tmp_path}/first: must hold a finished training, with its result.json: "
    with pytest.raises(TrainingError, match=text):
        load_trained(tmp_path / "first")
    with pytest.raises(TrainingError, match=text):
        training(tmp_path / "second", start="first")


@pytest.mark.parametrize("methods", [
    [{"kind": "folded-time", "epochs": -1}], [{"kind": "folded-time", "epochs": -1, "largest": -1}],
    [{"kind": "conversion", "weights": "float", "calibration_images": 8}]])
def test_training_interrupted_before_its_end_measures_the_same(tmp_path, methods):
    changes = {"epochs": 2, "weights": "float", "methods": methods}
    whole = training(tmp_path / "whole", **changes)
    whole.run()
    training(tmp_path / "part", **changes).run()
    resumed = training(tmp_path / "part", **changes)
    assert resumed.resume()
    resumed.run()
    test = made(200, 3)
    expected, found = (finish(run, test) for run in (whole, resumed))
    for key in ("float_test_accuracy", "float_validation_accuracy", "epoch"):
        assert found[key] == expected[key], key


@pytest.mark.parametrize("method", [{"kind": "conversion", "calibration_images": 8},
                                    {"kind": "cbp", "start": "float"}])
def test_network_with_weights_of_its_method_is_not_brought_back_with_others(tmp_path, method):
    finished(tmp_path / "float", epochs=1, weights="float")
    finished(tmp_path / "run", epochs=1, methods=[method])
    text = (f"^{tmp_path}/run: must hold a training whose weights are those of its recipe, ternary, and "
            f"{method['kind']} exchanged them$")
    with pytest.raises(TrainingError, match=text):
        load_trained(tmp_path / "run")


def test_converted_network_with_weights_of_its_recipe_is_brought_back(tmp_path):
    method = {"kind": "conversion", "weights": "binary", "calibration_images": 8}
    finished(tmp_path / "run", epochs=1, weights="binary", methods=[method])
    assert load_trained(tmp_path / "run").form == "relu"
    finished(tmp_path / "outer", epochs=1, weights="binary", methods=[{**method, "outer_weights": "ternary"}])
    with pytest.raises(TrainingError, match=r"and conversion exchanged them$"):
        load_trained(tmp_path / "outer")


def test_membranes_start_where_the_recipe_says(tmp_path):
    plain, other = (training(tmp_path / str(initial), epochs=1, initial_membrane=initial) for initial in (0.5, 0.25))
    for run, initial in ((plain, 0.5), (other, 0.25)):
        assert {part.initial for part in run.network.modules() if hasattr(part, "initial")} == {initial}
    run = finished(tmp_path / "other", epochs=1, initial_membrane=0.25)
    checkpoint = Checkpoint.load(run.files.checkpoint)
    assert checkpoint.tensors["fc1.initial"] == pytest.approx(0.25 * checkpoint.tensors["fc1.theta"], rel=1e-6)
    assert {part.initial for part in load_trained(tmp_path / "other").modules() if hasattr(part, "initial")} == {0.25}


def test_folder_is_made_by_the_first_epoch(tmp_path):
    run = training(tmp_path / "deep" / "run")
    assert not (tmp_path / "deep").exists()
    run.run_epoch()
    assert run.files.state.exists()


def test_too_few_images_are_named(tmp_path):
    with pytest.raises(TrainingError, match=r"^training images must be at least one batch of 128, not 100$"):
        training(tmp_path, batch_size=128)


def test_exploding_loss_stops_the_training(tmp_path):
    run = training(tmp_path)
    run.network.chain[-1].synapses.weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"^loss became nan in step 1 of epoch 1: lower the learning rate$"):
        run.run_epoch()
