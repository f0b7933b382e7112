"""The tables of the networks that ship are those of their files."""

import dataclasses
import pathlib

import pytest

import models
from arch import network_file
from benchmarks.models import command
from benchmarks.models.page import block, page
from benchmarks.models.shipped import Shipped, read_shipped
from support.errors import InputError

MNIST = Shipped(
    name="mnist-conv", dataset="mnist", layers="16C7s2-32C3-MP2-64C3-MP2-FC10", weights=26_384, weights_kind="ternary",
    timesteps=4, file_bytes=models.DEFAULT_NETWORK.stat().st_size, accuracy=0.9942, images=10_000, exact=True,
    circuit="baked", clocks=10_961, clock_mhz=48.0, trainings=("python -m train --recipe mnist-conv --data DIR",))


def test_a_row_is_what_the_file_says():
    assert read_shipped(models.DEFAULT_NETWORK) == MNIST
    assert MNIST.milliseconds == 10_961 / 48_000


def test_the_pages_in_the_checkout_are_of_the_networks_in_it():
    networks = [read_shipped(path) for path in models.networks()]
    again = "make them again with python -m benchmarks.models"
    assert command.PAGE.read_text(encoding="utf-8") == page(networks), again
    text = command.README.read_text(encoding="utf-8")
    assert command.refreshed(text, block(networks)) == text, again


def test_the_command_writes_both_pages(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(command, "README", tmp_path / "readme.md")
    begin, end = "<!-- networks: all of these -->", "<!-- networks: end -->"
    command.README.write_text(f"a\n{begin}\n\nold\n\n{end}\nb\n")
    assert command.main([]) == 0
    assert capsys.readouterr().out == f"{command.PAGE}: {len(models.networks())} networks\n"
    networks = [read_shipped(path) for path in models.networks()]
    assert command.PAGE.read_text() == page(networks)
    assert command.README.read_text() == f"a\n{begin}\n\n{block(networks)}\n\n{end}\nb\n"


def test_a_readme_without_marks_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(command, "README", tmp_path / "readme.md")
    command.README.write_text("nothing")
    assert command.main([]) == 1
    assert capsys.readouterr().err == f"ERROR: {command.README}: must have one pair of networks marks, not 0\n"
    assert not command.PAGE.exists()


def test_rows_say_where_the_weights_are_and_what_they_are():
    other = dataclasses.replace(MNIST, name="big", dataset="other", weights=1_185_472, weights_kind="binary",
                                exact=False, circuit="flash", clocks=1_415_435, trainings=())
    assert block([MNIST, other]).splitlines()[2:] == [
        ("| [`mnist-conv`](models/README.md#mnist-conv): MNIST, 26,384 ternary weights, 4 timesteps | 99.42 % of "
         "10,000 images | 0.228 ms at 48 MHz, 10,961 clocks; weights in the bitstream | certified in every channel |"),
        ("| [`big`](models/README.md#big): other, 1,185,472 binary weights, 4 timesteps | 99.42 % of 10,000 images | "
         "29.5 ms at 48 MHz, 1,415,435 clocks; weights in the flash | no |")]
    text = page([other, MNIST])
    assert "| `big` | other | 16C7s2-32C3-MP2-64C3-MP2-FC10 | 1,185,472 binary | 4 |" in text
    ours, theirs = text.partition("## mnist-conv")[::2]
    assert "python -m train" not in ours
    assert "python -m train.images mnist --data DIR -o build/images\n" in theirs
    assert "python -m export models/big.safetensors --flash build/big.bin\n" in text


def test_networks_that_a_training_needs_are_trained_before(tmp_path):
    network = network_file.load(models.DEFAULT_NETWORK)
    training = network.metadata["training"]
    path = tmp_path / "mine.safetensors"
    for name, epochs, before in (("cifar10-cbp-converted", 24, ["cifar10-teacher", "cifar10-ann"]), ("mine", 24, None)):
        recipe = {**training["recipe"], "name": name, "epochs": epochs}
        network_file.save(dataclasses.replace(network, metadata={
            **network.metadata, "training": {**training, "recipe": recipe}}), path)
        assert read_shipped(path).trainings == (() if before is None else (
            *(f"python -m train --recipe {other} --data DIR" for other in before),
            f"python -m train --recipe {name} --data DIR --epochs {epochs}"))


@pytest.mark.parametrize(("metadata", "problem"), [
    ({"training": None}, "must say by which recipe it was trained: export its checkpoint"),
    ({"accuracy": None}, "must say its accuracy: export it with --test-images and --test-labels"),
])
def test_a_file_that_says_too_little_is_refused(tmp_path, metadata, problem):
    network = network_file.load(models.DEFAULT_NETWORK)
    path = tmp_path / "mine.safetensors"
    network_file.save(dataclasses.replace(network, metadata={**network.metadata, **metadata}), path)
    with pytest.raises(InputError) as caught:
        read_shipped(pathlib.Path(path))
    assert str(caught.value) == f"{path}: a network that ships {problem}"
