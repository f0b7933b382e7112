"""Small binary networks by conversion: ANNs of random weights whose thresholds are those of MNIST's activations."""

import pathlib

import torch

from arch.checkpoint import Checkpoint
from arch.images import load_array
from arch.network import Encoding, Input
from train.layers import Convolution, Readout
from train.methods.conversion import convert_network
from train.network import SpikingNetwork
from train.neurons import Mode
from train.quantisers import make_quantiser

__all__ = ["IMAGES", "LABELS", "converted"]

_SAMPLES = pathlib.Path(__file__).parents[1] / "models" / "samples"
#: 100 images of MNIST, and their labels.
IMAGES, LABELS = _SAMPLES / "mnist-images.idx.gz", _SAMPLES / "mnist-labels.idx.gz"


def converted(timesteps: int) -> Checkpoint:
    """Convert an ANN of a few thousand weights: binary, but ternary in the first layer, whose sums are the widest."""
    torch.manual_seed(51)
    source = Input(encoding=Encoding.PIXELS, channels=1, height=28, width=28)
    network = SpikingNetwork(source, [
        Convolution(1, 8, 3, stride=2, padding=1), Convolution(8, 12, 3, padding=1, pool=2), Convolution(12, 16, 3),
        Readout(16 * 25, 10)])
    for part in network.synapses():
        part.quantiser = make_quantiser("binary")
    next(iter(network.synapses())).quantiser = make_quantiser("ternary")
    network.use_mode(Mode.RELU)
    images = torch.from_numpy(load_array(IMAGES, "images")).reshape(-1, 1, 28, 28)
    for layer in network.chain[:-1]:
        layer.norm.momentum = None
    network.train()
    with torch.no_grad():
        network(images)
    network.eval()
    return convert_network(network, images, percentile=99.7, timesteps=timesteps, initial=0.5)
