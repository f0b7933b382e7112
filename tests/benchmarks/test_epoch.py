import re
import shutil

import pytest

from benchmarks.epoch import timing
from benchmarks.epoch.command import main
from train.command import MAX_THREADS


def test_epoch_is_the_median_step_times_the_steps(capsys, monkeypatch):
    monkeypatch.setattr(timing, "time_steps", lambda *_: ([0.3, 0.1, 0.2], 50))
    assert main(["--recipe", "mnist-conv", "--steps", "3"]) == 0
    assert re.search(r"median step 0.200 s \(0.100 to 0.300\), 50 steps an epoch: 10 s$", capsys.readouterr().out)


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_steps_are_timed_on_made_images():
    seconds, steps = timing.time_steps("mnist-conv", 2, 1280, 0)
    assert len(seconds) == 2
    assert all(second > 0 for second in seconds)
    assert steps == 10


@pytest.mark.parametrize(("arguments", "text"), [
    (["--steps", "0"], "--steps must be 1 to 1000000, not 0"),
    (["--threads", "0"], f"--threads must be 1 to {MAX_THREADS}, not 0"),
    (["--images", "-1"], "--images must be 1 to 1000000000, not -1"),
    (["--epoch", "-1"], "--epoch must be 0 to 1000000000, not -1"),
    (["--images", "127"], "--images must be at least a batch of 128, not 127"),
    (["--recipe", "cifar10-ternary", "--epoch", "20"], "--epoch must be below the recipe's 20 epochs, not 20"),
    (["--recipe", "nmnist-conv"], "recipe nmnist-conv must be of images to be timed, not of events"),
    (["--recipe", "cifar10-cbp-ternary"], ("recipe cifar10-cbp-ternary must need no other training to be timed on made "
                                          "images, and needs cifar10-float and cifar10-teacher"))])
def test_bad_numbers_and_recipes_get_one_line(capsys, arguments, text):
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"ERROR: {text}\n"


def test_unknown_recipe_gets_one_line(capsys):
    assert main(["--recipe", "none"]) == 1
    assert capsys.readouterr().err.startswith("ERROR: recipe must be ")
