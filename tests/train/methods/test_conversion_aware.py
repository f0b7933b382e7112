"""Conversion-aware training on the trainer: its schedule, its errors, and that what it measures is the integers'."""

import re

import pytest
import torch

from arch.architecture import CheckpointError
from export.ttfs import conversion as ttfs
from reference.ttfs.network import Reference
from tests.train.test_training import ARCHITECTURE, made, training
from train import distributed
from train.finishing import finish
from train.folder import TrainingError, load_trained
from train.methods.conversion_aware import ConversionAware
from train.methods.method import MethodError

METHOD = {"kind": "conversion-aware", "timesteps": 8, "tau": 2, "relu_epochs": 1, "clip_epochs": 1}


def test_activations_follow_the_schedule_and_the_integers_repeat_the_result(tmp_path):
    run = training(tmp_path / "cat", name="cat", weights="float", epochs=4, methods=(METHOD,))
    run.run()
    assert [entry["form"] for entry in run.history] == ["relu", "clip", "ttfs", "ttfs"]
    assert not any(entry["exportable"] for entry in run.history)
    test = made(50, 3)
    result = finish(run, test)
    network = load_trained(tmp_path / "cat")
    assert network.form == "ttfs"
    best = max(entry["validation_accuracy"] for entry in run.history[2:])
    assert result["float_validation_accuracy"] == best
    converted = ttfs.convert(network.checkpoint())
    verification = ttfs.verify(network.checkpoint(), converted, test.images.numpy())
    assert sum(verification.mismatches) == 0
    classes = torch.from_numpy(Reference(converted).run(test.images.numpy()).classes)
    assert result["test_accuracy"] == float((classes == test.labels).double().mean())
    assert result["code"] == {"timesteps": 8, "tau": 2, "weights": "log5"}


def test_float_weights_have_no_exact_accuracy(tmp_path):
    run = training(tmp_path, weights="float", epochs=1, methods=({**METHOD, "weights": "float", "relu_epochs": 0,
                                                                  "clip_epochs": 0},))
    run.run()
    assert "test_accuracy" not in finish(run, made(20, 3))


@pytest.mark.parametrize(("options", "message"), [
    ({"timesteps": 1}, "timesteps of conversion-aware must be an integer from 2, not 1"),
    ({"tau": 0}, "tau of conversion-aware must be an integer from 1, not 0"),
    ({"relu_epochs": -1}, "relu_epochs of conversion-aware must be an integer from 0, not -1"),
    ({"clip_epochs": 1.5}, "clip_epochs of conversion-aware must be an integer from 0, not 1.5"),
    ({"weights": "binary"}, "weights of conversion-aware must be float or log5 or ternary, not 'binary'"),
])
def test_wrong_options_are_named(options, message):
    with pytest.raises(MethodError, match=f"^{re.escape(message)}$"):
        ConversionAware(**options)


@pytest.mark.parametrize("other", [
    {"kind": "dropout"}, {"kind": "surrogate", "shape": "arctangent"}, {"kind": "threshold-norm"},
])
def test_methods_of_spiking_networks_are_refused_beside_it(tmp_path, other):
    text = (f"^{other['kind']} must have a spiking network, not one of spike times: leave it or conversion-aware out "
            f"of the recipe$")
    with pytest.raises(MethodError, match=text):
        training(tmp_path, weights="float", methods=(METHOD, other))


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    text = "^conversion-aware must be trained by one process: its BatchNorm is not exchanged$"
    with pytest.raises(TrainingError, match=text):
        training(tmp_path, weights="float", methods=(METHOD,))


def test_recipes_that_cannot_be_are_named(tmp_path):
    with pytest.raises(MethodError, match=r"^weights of a recipe with conversion-aware must be float, not 'ternary': "):
        training(tmp_path, methods=(METHOD,))
    with pytest.raises(MethodError, match=r"^initial_membrane must be left out of a recipe with conversion-aware: "):
        training(tmp_path, weights="float", methods=(METHOD,), initial_membrane=0.25)
    with pytest.raises(MethodError, match=r"must be below the recipe's 2 epochs together, not 2$"):
        training(tmp_path, weights="float", epochs=2, methods=(METHOD,))
    source = {**ARCHITECTURE["input"], "zero_point": 128}
    with pytest.raises(CheckpointError, match=r"^input must be pixels with zero point 0 for time-to-first-spike"):
        training(tmp_path, weights="float", methods=(METHOD,), architecture={**ARCHITECTURE, "input": source})
