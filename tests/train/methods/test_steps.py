import pytest

from tests.train.methods.stage import made_training
from train.methods.method import MethodError
from train.methods.steps import StepDecay


def test_rate_falls_after_the_epochs_and_not_before(tmp_path):
    decay = {"kind": "step-decay", "after": [2, 5], "factor": 0.5}
    training = made_training(tmp_path, learning_rate=0.8, warmup_epochs=0.5, methods=[decay])
    assert training.steps_per_epoch == 2
    rates = [training.learning_rate(step) for step in range(14)]
    assert rates == pytest.approx([0.8] * 4 + [0.4] * 6 + [0.2] * 4)


def test_the_ramp_at_the_start_stays(tmp_path):
    decay = {"kind": "step-decay", "after": [4]}
    training = made_training(tmp_path, learning_rate=0.8, warmup_epochs=2, methods=[decay])
    rates = [training.learning_rate(step) for step in range(10)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8, 0.08, 0.08])


def test_more_steps_than_epochs_are_refused(tmp_path):
    text = r"^after of step-decay must be below the recipe's 10 epochs, not 10$"
    with pytest.raises(MethodError, match=text):
        made_training(tmp_path, methods=[{"kind": "step-decay", "after": [4, 10]}])


@pytest.mark.parametrize(("options", "text"), [
    ({"after": []}, "after of step-decay must be a list of numbers of epochs, not []"),
    ({"after": 3}, "after of step-decay must be a list of numbers of epochs, not 3"),
    ({"after": [0]}, "after[0] of step-decay must be an integer from 1, not 0"),
    ({"after": [3, 3]}, "after[1] of step-decay must be an integer from 4, not 3"),
    ({"after": [1.5]}, "after[0] of step-decay must be an integer from 1, not 1.5"),
    ({"after": [3], "factor": 2}, "factor of step-decay must be a number from 0 to 1, not 2"),
])
def test_wrong_options_are_named(options, text):
    with pytest.raises(MethodError) as error:
        StepDecay(**options)
    assert str(error.value) == text
