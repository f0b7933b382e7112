"""What a training writes to, and what it leaves alone."""

import os
import re

import pytest
import torch

from support.errors import InputError
from tests.train.test_training import training
from train.folder import TrainingError


def refused(run, text):
    with pytest.raises(InputError, match=f"^{re.escape(text)}$"):
        run.resume()


def test_folder_of_somebody_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / ".git").mkdir()
    refused(training(tmp_path), f"{tmp_path}: folder must be empty or hold a training, not '.git': give another "
                                f"folder with -o")


def test_leftovers_of_an_interrupted_first_epoch_are_no_strangers(tmp_path):
    run = training(tmp_path, epochs=1)
    run.run_epoch()
    run.files.state.unlink()
    (tmp_path / ".state.0123456789ab.pt").write_bytes(b"half")
    again = training(tmp_path, epochs=1)
    assert again.resume() is False
    again.run_epoch()
    run.files.state.unlink()
    run.files.best.unlink()
    assert training(tmp_path, epochs=1).resume() is False


def test_best_network_of_another_training_is_not_written_over(tmp_path):
    run = training(tmp_path, epochs=1)
    run.run_epoch()
    run.files.state.unlink()
    other = training(tmp_path, epochs=2)
    refused(other, f"{tmp_path}: holds a training with another epochs: give another folder with -o")
    run.files.best.unlink()
    text = f"{tmp_path}/tiny.safetensors: must be of this training: give another folder with -o"
    refused(other, text)
    run.files.checkpoint.write_bytes(b"somebody's")
    refused(training(tmp_path, epochs=1), text)
    assert run.files.checkpoint.read_bytes() == b"somebody's"


def test_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(training(tmp_path / "file"), f"{tmp_path}/file: output must be a folder, not a file")
    refused(training(tmp_path / "file" / "run"), f"{tmp_path}/file/run: {tmp_path}/file must be a folder, not a file")
    refused(training(tmp_path / "file"), f"{tmp_path}/file: output must be a folder, not a file")


@pytest.mark.parametrize("name", ["state.pt", "best.pt", "tiny.safetensors", "metrics.jsonl", "recipe.json",
                                  "result.json", "curves.png"])
def test_files_that_are_none_are_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    refused(training(tmp_path), f"{tmp_path}/{name}: output must be a file, not a device, pipe or socket")


def test_link_to_a_folder_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    refused(training(tmp_path / "link"), f"{tmp_path}/link: output must be a folder, not a link to nowhere")
    (tmp_path / "target").mkdir()
    run = training(tmp_path / "link", epochs=1)
    run.resume()
    run.run_epoch()
    assert (tmp_path / "target" / "state.pt").exists()
    assert torch.load(tmp_path / "target" / "best.pt", weights_only=True)["epoch"] == 1


def test_what_other_commands_put_beside_a_training_does_not_matter(tmp_path):
    run = training(tmp_path, epochs=1)
    run.run_epoch()
    (tmp_path / "benchmark.json").write_text("{}")
    assert training(tmp_path, epochs=1).resume() is True
    run.files.state.unlink()
    with pytest.raises(TrainingError, match=r"not 'benchmark\.json'"):
        training(tmp_path, epochs=1).resume()
