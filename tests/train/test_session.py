"""The line about a training, and the compiler that it needs."""

import types

import pytest
import torch

from train import session
from train.folder import TrainingError

CPU = torch.device("cpu")


def test_line_of_a_finished_training():
    made = {"output": "build/train/tiny", "checkpoint": "tiny.safetensors", "epoch": 3, "epochs": 4,
            "validation_accuracy": 0.9875, "test_accuracy": 0.5, "test_images": 20}
    assert session.report(made, dry_run=False) == (
        "build/train/tiny/tiny.safetensors: epoch 3 of 4, validation accuracy 98.75%, test accuracy 50.00% of 20 "
        "images")
    # A network that has no checkpoint to be exported.
    del made["checkpoint"]
    assert session.report(made, dry_run=False).startswith("build/train/tiny/best.pt: epoch 3 of 4, ")


def test_line_of_a_training_whose_network_is_not_exported():
    made = {"output": "out", "epoch": 3, "epochs": 4, "float_validation_accuracy": 0.75, "float_test_accuracy": 0.125,
            "test_images": 1000}
    assert session.report(made, dry_run=False) == (
        "out: epoch 3 of 4, network that is not exported, validation accuracy 75.00%, test accuracy 12.50% of 1000 "
        "images")


def test_line_of_a_dry_run():
    made = {"recipe": {"name": "tiny", "epochs": 4, "dataset": "mnist"}, "output": "out", "training_images": 40,
            "validation_images": 20, "test_images": 10}
    assert session.report(made, dry_run=True) == (
        "tiny: 4 epochs of 40 images of mnist, 20 validation and 10 test images, to out")


@pytest.mark.parametrize(("variable", "compiler"), [(None, "g++"), ("", "g++"), ("clang++", "clang++")])
def test_the_compiler_that_pytorch_would_take_must_be_there(monkeypatch, variable, compiler):
    monkeypatch.delenv("CXX", raising=False)
    if variable is not None:
        monkeypatch.setenv("CXX", variable)
    asked = []
    monkeypatch.setattr(session.shutil, "which", asked.append)
    with pytest.raises(TrainingError, match=f"^compiled loops need {compiler.replace('+', '[+]')}, which is not "
                                            f"installed: install it or give --no-compile$"):
        session.check_compiler(types.SimpleNamespace(compiled=True), CPU)
    assert asked == [compiler]


def test_what_is_not_compiled_here_needs_no_compiler(monkeypatch):
    monkeypatch.setattr(session.shutil, "which", lambda name: pytest.fail("no compiler is needed"))
    session.check_compiler(types.SimpleNamespace(compiled=False), CPU)
    session.check_compiler(types.SimpleNamespace(compiled=True), torch.device("cuda"))


def test_a_compiler_that_is_there_is_good(monkeypatch):
    monkeypatch.setattr(session.shutil, "which", lambda name: f"/usr/bin/{name}")
    session.check_compiler(types.SimpleNamespace(compiled=True), CPU)
