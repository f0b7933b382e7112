import copy

import pytest
import torch

from tests.train.methods.stage import ARCHITECTURE, images_and_labels, made_finished, made_training
from train.methods.method import MethodError
from train.methods.tdbn import ThresholdNorm


def test_gains_start_at_alpha_times_the_threshold(tmp_path):
    training = made_training(tmp_path)
    first, _, second, _ = training.network.chain
    first.neurons.theta.data.fill_(0.5)
    second.neurons.theta = torch.nn.Parameter(torch.arange(1, 13) / 4)
    ThresholdNorm(alpha=3.0).begin(training)
    assert first.norm.weight.tolist() == [1.5] * 6
    assert second.norm.weight.tolist() == [0.75 * channel for channel in range(1, 13)]
    assert first.norm.bias.tolist() == [0] * 6


def test_currents_have_the_deviation_of_the_scaled_threshold(tmp_path):
    training = made_training(tmp_path)
    first = training.network.chain[0]
    first.neurons.theta.data.fill_(0.5)
    ThresholdNorm(alpha=2.0).begin(training)
    currents = []
    first.neurons.register_forward_hook(lambda module, inputs, output: currents.append(inputs[0]))
    training.network.train()(images_and_labels(32, 4)[0])
    # Without the noise of epsilon beside the small variance of pixels in 0..1.
    assert torch.allclose(currents[0].flatten(0, -2).std(0), torch.ones(6), atol=0.01)


def test_alpha_one_at_the_usual_threshold_changes_nothing(tmp_path):
    training = made_training(tmp_path)
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    ThresholdNorm().begin(training)
    for name, value in training.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_layers_without_batchnorm_are_refused(tmp_path):
    architecture = copy.deepcopy(ARCHITECTURE)
    architecture["layers"][0]["epsilon"] = None
    training = made_training(tmp_path, architecture)
    with pytest.raises(MethodError, match=r"^threshold-norm must have BatchNorm in every layer, not none in conv1: "
                                          r"give it an epsilon$"):
        ThresholdNorm().begin(training)


def test_trained_gains_are_not_overwritten(tmp_path):
    made_finished(tmp_path / "first", epochs=1)
    text = (r"^threshold-norm must begin with a new network, not with the gains of 'first': "
            r"leave out one of the two$")
    with pytest.raises(MethodError, match=text):
        ThresholdNorm().begin(made_training(tmp_path / "second", start="first"))


def test_wrong_alpha_is_named():
    text = r"^alpha of threshold-norm must be a number from 0\.001 to 1000, not 0$"
    with pytest.raises(MethodError, match=text):
        ThresholdNorm(alpha=0)
