import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.train.methods.anns import ann, made_images, refused
from train import exact
from train.methods.activations import activation_percentiles
from train.methods.balancing import balance, balance_network
from train.methods.conversion import convert_network
from train.neurons import PIF, Mode
from train.quantisers import Float


def test_balance_by_hand():
    checkpoint = ann().checkpoint()
    maxima = {"conv1": 2.0, "conv2": 0.5, "fc1": 3.0}
    balanced = balance(checkpoint, maxima, timesteps=32, initial=0.5)
    assert balanced.architecture == {**checkpoint.architecture, "timesteps": 32}
    for name, incoming in (("conv1", 1.0), ("conv2", 2.0), ("fc1", 0.5), ("readout", 3.0)):
        for part in ("alpha", "weight"):
            assert np.array_equal(balanced.tensors[f"{name}.{part}"],
                                  np.float32(incoming) * checkpoint.tensors[f"{name}.{part}"])
        assert np.array_equal(balanced.tensors[f"{name}.ternary"], checkpoint.tensors[f"{name}.ternary"])
        if name != "readout":
            assert balanced.tensors[f"{name}.theta"] == 0.75 * maxima[name]
            assert balanced.tensors[f"{name}.initial"] == 0.375 * maxima[name]
            for part in ("gamma", "beta", "mean", "variance"):
                assert np.array_equal(balanced.tensors[f"{name}.{part}"], checkpoint.tensors[f"{name}.{part}"])


@pytest.mark.parametrize("weights", ["binary", "ternary"])
def test_balanced_network_is_the_balanced_checkpoint(weights):
    network, images = ann(weights=weights), made_images(20)
    network.use_mode(Mode.RELU)
    wanted = exact.forward(convert_network(network, images, percentile=99, initial=0.5), images)
    balance_network(network, images, 99)
    assert network.exportable
    found = exact.forward(network.checkpoint(), images)
    assert torch.equal(found[0], wanted[0])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found[1], wanted[1], strict=True))


def test_balanced_network_may_have_float_weights():
    network, images = ann(), made_images(20)
    for part in network.synapses():
        part.quantiser = Float()
    before = [part.weight.detach().clone() for part in network.synapses()]
    maxima = [values[0] for values in activation_percentiles(network, images, [100]).values()]
    balance_network(network, images, 100)
    for old, part, factor in zip(before, network.synapses(), [1.0, *maxima], strict=True):
        assert torch.allclose(part.weight, factor * old)
    thetas = [module.theta.item() for module in network.modules() if isinstance(module, PIF)]
    assert thetas == pytest.approx([0.75 * value for value in maxima])


def test_what_cannot_be_balanced_is_refused():
    checkpoint = ann().checkpoint()
    maxima = {"conv1": 2.0, "conv2": 0.0, "fc1": 3.0}
    refused("conv2 must have activations above 0 at that percentile to be converted, not 0",
            lambda: balance(checkpoint, maxima, timesteps=8, initial=0))
    maxima["conv2"] = math.nan
    refused("conv2 must have activations above 0 at that percentile to be converted, not nan",
            lambda: balance(checkpoint, maxima, timesteps=8, initial=0))
    several = dataclasses.replace(checkpoint, tensors={
        **checkpoint.tensors, "conv1.theta": np.full(5, 0.75, dtype=np.float32)})
    maxima["conv2"] = 1.0
    assert balance(several, maxima, timesteps=8, initial=0).tensors["conv1.theta"].tolist() == [1.5] * 5
    refused("conv1 must have one threshold for the layer when its membranes start above 0",
            lambda: balance(several, maxima, timesteps=8, initial=0.5))
    text = "must subtract its threshold and not leak to be converted: other neurons have no rate that is a ReLU"
    for change in ({"reset": "zero"}, {"leak_shift": 3}):
        described = [{**layer, **change} if layer.get("name") == "conv2" else layer
                     for layer in checkpoint.architecture["layers"]]
        other = dataclasses.replace(checkpoint, architecture={**checkpoint.architecture, "layers": described})
        refused(f"conv2 {text}", lambda other=other: balance(other, maxima, timesteps=8, initial=0))
