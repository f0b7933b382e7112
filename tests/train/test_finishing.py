"""The end of a training, and what is said where a file that it needs is gone or broken."""

import json

import pytest

from tests.train.test_training import finished, made, training
from train.finishing import finish
from train.folder import TrainingError, load_trained


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"epoch": 1, "epochs": 1, "test_images": 20}',
                                     '{"epoch": 1, "epochs": 1, "test_images": 20, "test_accuracy": 1}',
                                     ('{"epoch": 1, "epochs": 1, "test_images": 20, "test_accuracy": 1, '
                                      '"validation_accuracy": "0.5"}'),
                                     '{"epoch": 1' + 400 * "0" + "}", "[" * 100_000])
def test_broken_result_is_named_and_measured_again(tmp_path, content):
    run = finished(tmp_path, epochs=1)
    result = json.loads(run.files.result.read_text())
    run.files.result.write_text(content)
    with pytest.raises(TrainingError, match=f"^{run.files.result}: result cannot be read: .*: remove it, and "):
        finish(run, made(20, 3))
    run.files.result.unlink()
    assert finish(run, made(20, 3)) == result


def test_finished_training_that_lost_its_checkpoint_is_named(tmp_path):
    finished(tmp_path, epochs=1).files.checkpoint.unlink()
    run = training(tmp_path, epochs=1)
    run.resume()
    text = f"^{tmp_path}/tiny.safetensors: is missing beside result.json: give another folder with -o$"
    with pytest.raises(TrainingError, match=text):
        finish(run, made(20, 3))


def test_finished_training_that_lost_its_best_network_starts_no_other(tmp_path):
    finished(tmp_path, epochs=1).files.best.unlink()
    run = training(tmp_path, epochs=1)
    run.resume()
    # What the result says is still true.
    assert finish(run, made(20, 3))["epoch"] == 1
    with pytest.raises(TrainingError, match=f"^{tmp_path}/best.pt: best network is missing: train again, into "):
        load_trained(tmp_path)


@pytest.mark.parametrize("name", ["tiny.safetensors", "best.pt"])
def test_epochs_that_lost_a_file_are_not_measured(tmp_path, name):
    run = training(tmp_path, epochs=1)
    run.run()
    (tmp_path / name).unlink()
    with pytest.raises(TrainingError, match=f"^{tmp_path}/{name}: best (checkpoint|network) is missing: train again, "):
        finish(run, made(20, 3))
