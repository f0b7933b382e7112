"""The example of ``docs/your-network.md``: a network of the user's own, trained with a loop of the user's own."""

import pathlib
import re
import subprocess

import pytest
import torch

from arch.checkpoint import Checkpoint
from arch.network import Encoding, Input
from train import exact
from train.layers import Convolution, OrPool, Readout
from train.network import SpikingNetwork


def test_own_network_is_composed_trained_and_saved(tmp_path):
    torch.manual_seed(6)
    labels = torch.randint(0, 2, (64,))
    images = torch.randint(0, 80, (64, 1, 28, 28), dtype=torch.uint8)
    images[labels == 1, :, :14] += 150

    network = SpikingNetwork(
        Input(encoding=Encoding.PIXELS, channels=1, height=28, width=28),
        [Convolution(1, 8, 5, stride=2, padding=2),   # 28 x 28 -> 14 x 14
         OrPool(2),                                   # -> 7 x 7
         Convolution(8, 16, 3),                       # -> 5 x 5
         Readout(16 * 5 * 5, 2)],
        timesteps=4)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.006, weight_decay=0)
    for _ in range(3):
        for chosen in torch.randperm(64).split(16):
            loss = torch.nn.functional.cross_entropy(network(images[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            network.clamp()

    # BatchNorm's running statistics need many steps; after a training this short they are measured instead.
    checkpoint = exact.recalibrate(network.checkpoint({"command": "python mine.py"}), images)
    checkpoint.save(tmp_path / "mine.safetensors")
    loaded = Checkpoint.load(tmp_path / "mine.safetensors")
    assert exact.accuracy(loaded, images, labels) == 1.0
    scores, spikes = exact.forward(loaded, images[:3])
    assert scores.shape == (3, 2)
    assert [tuple(maps.shape) for maps in spikes] == [(4, 3, 8, 14, 14), (4, 3, 8, 7, 7), (4, 3, 16, 5, 5)]


def test_files_of_the_guide_leave_the_checkout_clean():
    root = pathlib.Path(__file__).parents[2]
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    text = (root / "docs" / "your-network.md").read_text(encoding="utf-8")
    files = set(re.findall(r"\b(?:mine|one)\.[a-z.]+[a-z]\b", text)) - {"mine.json"}
    assert {"mine.py", "mine.npz", "one.npy", "mine.checkpoint.safetensors", "mine.safetensors"} <= files
    done = subprocess.run(["git", "-C", str(root), "check-ignore", *sorted(files)], capture_output=True, text=True,
                          check=False)
    assert done.stdout.split() == sorted(files)
