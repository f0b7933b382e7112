"""Train a float network in snnTorch on MNIST, and write it as a NIR graph: where docs/nir.md begins.

Nothing here is of Sterna. It is what somebody has who has trained a spiking network with float weights: four layers of
weights, leaky neurons that subtract their threshold, four timesteps. It needs torch, snntorch, nir and nirtorch:

    python docs/examples/snntorch_mnist.py ~/data/mnist net.nir
"""

import argparse
import gzip
import pathlib

import numpy as np
import snntorch as snn
import torch
from snntorch import surrogate
from torch import nn
from torch.nn import functional as F

TIMESTEPS, BETA, BATCH, VALIDATION, LEARNING_RATE = 4, 0.9, 128, 5000, 4e-3


def leaky(*shape):
    """Neurons with a leak; NIR wants every number once per neuron."""
    return snn.Leaky(beta=torch.full(shape, BETA), threshold=torch.ones(shape), reset_mechanism="subtract",
                     init_hidden=True, spike_grad=surrogate.fast_sigmoid(slope=5))


def make():
    """Return the network, with weights large enough that all of its layers spike."""
    network = nn.Sequential(
        nn.Conv2d(1, 16, 7, stride=2, padding=3), leaky(16, 14, 14),
        nn.Conv2d(16, 32, 3), nn.AvgPool2d(2), leaky(32, 6, 6),
        nn.Conv2d(32, 64, 3), nn.AvgPool2d(2), leaky(64, 2, 2),
        nn.Flatten(), nn.Linear(256, 10), leaky(10))
    for module in network:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            module.weight.data *= 1.5
            nn.init.zeros_(module.bias)
    return network


def count_spikes(network, images):
    """Return how often each class spikes for images ``uint8[N, 1, 28, 28]``: ``float32[N, 10]``."""
    for module in network:
        if isinstance(module, snn.Leaky):
            module.reset_mem()
    pixels = images.float() / 255
    return torch.stack([network(pixels) for _ in range(TIMESTEPS)]).sum(0)


def load(folder, part):
    """Return the images and labels of "train" or "t10k"."""
    def read(name, offset):
        return np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=offset).copy()
    images = read(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    return torch.from_numpy(images), torch.from_numpy(read(f"{part}-labels-idx1-ubyte.gz", 8).astype(np.int64))


def share_right(network, images, labels):
    """Return the share of images whose class spikes most."""
    with torch.no_grad():
        right = sum((count_spikes(network, some).argmax(1) == those).sum().item()
                    for some, those in zip(images.split(500), labels.split(500), strict=True))
    return right / len(images)


def train(network, images, labels, epochs):
    """Train on all images but the last of them, which choose nothing here and are only told."""
    kept, held = torch.arange(len(images)).split([len(images) - VALIDATION, VALIDATION])
    steps = len(kept) // BATCH
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * steps)
    for epoch in range(1, epochs + 1):
        order = kept[torch.randperm(len(kept))]
        for step in range(steps):
            some = order[step * BATCH:(step + 1) * BATCH]
            shifted = torch.roll(images[some], tuple(torch.randint(-1, 2, (2,)).tolist()), (2, 3))
            loss = F.cross_entropy(count_spikes(network, shifted), labels[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % 100 == 99:
                print(f"epoch {epoch}/{epochs}, step {step + 1}/{steps}: loss {loss.item():.3f}", flush=True)
        print(f"epoch {epoch}/{epochs}: {100 * share_right(network, images[held], labels[held]):.2f} % of "
              f"{len(held)} validation images", flush=True)


def export(network, path):
    """Write the network with snnTorch's own exporter; axis 0 is the batch, which no graph has."""
    # The packages nir and nirtorch are needed for the graph alone.
    import nir
    from snntorch.export_nir import export_to_nir

    nir.write(path, export_to_nir(network, torch.zeros(1, 1, 28, 28), ignore_dims=[0]))


def main():
    """Train, test once, and write the graph."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=pathlib.Path, help="the folder with MNIST's four files, as they are published")
    parser.add_argument("graph", help="where the NIR graph goes")
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    torch.manual_seed(1)
    network = make()
    train(network, *load(arguments.data, "train"), arguments.epochs)
    print(f"{100 * share_right(network, *load(arguments.data, 't10k')):.2f} % of the test images")
    export(network, arguments.graph)


if __name__ == "__main__":
    main()
