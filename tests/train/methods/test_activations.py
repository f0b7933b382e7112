import numpy as np
import pytest
import torch

from tests.train.methods.anns import activations, ann, made_images
from train.methods import activations as measuring
from train.methods.activations import activation_percentiles, least_error_maxima
from train.neurons import PIF, Mode


@pytest.mark.parametrize("percentile", [0, 37.5, 50, 99.7, 99.9, 100])
def test_percentiles_are_those_of_numpy(percentile, monkeypatch):
    monkeypatch.setattr(measuring, "_BATCH", 7)  # so that the stream has several parts, and a shorter one
    network, images = ann(), made_images(25)
    found = activation_percentiles(network, images, [100, percentile])
    maps, _ = activations(network, images)
    assert list(found) == ["conv1", "conv2", "fc1"]
    for (highest, value), values in zip(found.values(), [maps[0], maps[1], maps[3]], strict=True):
        assert highest == pytest.approx(float(values.max()), rel=1e-6)
        assert value == pytest.approx(np.percentile(values.numpy(), percentile), rel=1e-5, abs=1e-7)


def test_measuring_leaves_mode_and_statistics_as_they_were():
    network = ann().train()
    network.chain[0].neurons.mode = Mode.RATES
    before = {name: value.clone() for name, value in network.state_dict().items()}
    activation_percentiles(network, made_images(5), [50])
    assert network.training
    assert [module.mode for module in network.modules() if isinstance(module, PIF)] == [
        Mode.RATES, Mode.SPIKES, Mode.SPIKES]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("timesteps", "initial"), [(4, 0.5), (32, 0.5), (8, 0.0)])
def test_least_error_is_the_least_of_all_tried(timesteps, initial):
    network, images = ann(), made_images(120)  # more than one batch
    found = least_error_maxima(network, images, timesteps=timesteps, initial=initial)
    maps, _ = activations(network, images)
    for (name, chosen), values in zip(found.items(), [maps[0], maps[1], maps[3]], strict=True):
        values = values.double()
        highest = float(values.max())

        def error(maximum, values=values):
            spikes = (values * timesteps / maximum + initial).floor().clamp(0, timesteps)
            return float((spikes * maximum / timesteps - values).square().mean())

        errors = [error(highest * share / 100) for share in range(1, 101)]
        assert error(chosen) == pytest.approx(min(errors), rel=2e-3), name
        assert chosen < highest
