import pytest
import torch

from tests.train.methods.stage import images_and_labels, made_training
from train.methods.method import MethodError
from train.methods.surrogate import Surrogate
from train.neurons import PIF, SURROGATES


def gradients(tmp_path, shape):
    training = made_training(tmp_path)
    Surrogate(shape=shape).begin(training)
    assert {module.surrogate for module in training.network.modules() if isinstance(module, PIF)} == {shape}
    images, labels = images_and_labels(16, 2)
    torch.nn.functional.cross_entropy(training.network(images), labels).backward()
    return training.network.chain[0].synapses.weight.grad


def test_shapes_give_different_gradients(tmp_path):
    found = [gradients(tmp_path, shape) for shape in SURROGATES]
    assert all(gradient.abs().sum() > 0 for gradient in found)
    assert not any(torch.allclose(found[a], found[b], rtol=1e-2) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_unknown_shape_is_named():
    text = r"^shape of surrogate must be triangle or rectangle or arctangent, not 'gauss'$"
    with pytest.raises(MethodError, match=text):
        Surrogate(shape="gauss")
