"""Untrained networks with ReLU neurons, their activations, and images, for the tests of conversion."""

import re

import numpy as np
import pytest
import torch

from arch.network import Encoding, Input
from train.layers import Convolution, FullyConnected, OrPool, Readout
from train.methods.method import MethodError
from train.network import SpikingNetwork
from train.neurons import Mode
from train.quantisers import make_quantiser

__all__ = ["SEED", "activations", "ann", "made_images", "refused"]

SEED = 51


def ann(*, weights="binary", pool=True, timesteps=4, encoding=Encoding.PIXELS):
    """An untrained ANN with made BatchNorm statistics, of both signs of gamma, and a threshold that is not 1."""
    torch.manual_seed(SEED)
    source = Input(encoding=encoding, channels=2, height=9, width=8)
    chain = [Convolution(2, 5, 3, stride=2, padding=1, timesteps=timesteps),
             Convolution(5, 6, 2, timesteps=timesteps), OrPool(2),
             FullyConnected(12, 7, timesteps=timesteps), Readout(7, 4)]
    if not pool:
        chain[2:4] = [FullyConnected(72, 7, timesteps=timesteps)]
    network = SpikingNetwork(source, chain, timesteps=timesteps)
    for layer in network.chain:
        if isinstance(layer, Convolution | FullyConnected):
            layer.norm.weight.data = torch.randn(layer.norm.num_features)
            layer.norm.bias.data = 0.3 * torch.randn(layer.norm.num_features) + 0.3
            layer.norm.running_mean = 0.1 * torch.randn(layer.norm.num_features)
            layer.norm.running_var = 0.5 + torch.rand(layer.norm.num_features)
            layer.neurons.theta.data.fill_(0.75)
    for part in network.synapses():
        part.quantiser = make_quantiser(weights)
    return network


def made_images(count, *, events=False):
    shape = (count, 4, 2, 9, 8) if events else (count, 2, 9, 8)
    return torch.from_numpy(np.random.default_rng(SEED).integers(0, 2 if events else 256, shape, dtype=np.uint8))


def activations(network, images):
    """Maps of all layers as ``[N, C, H, W]``, and scores, of the network with ReLU neurons."""
    network.eval()
    network.use_mode(Mode.RELU)
    maps = []
    with torch.no_grad():
        scores = network(images, maps)
    return [values[0].movedim(-1, 1) for values in maps], scores


def refused(message, call):
    """Check that ``call`` raises :exc:`MethodError` with this message."""
    with pytest.raises(MethodError, match=f"^{re.escape(message)}$"):
        call()
