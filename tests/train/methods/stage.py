"""A small training for tests of methods: images of noise, two layers of neurons, a pool between them."""

import torch

from train.datasets import Split
from train.finishing import finish
from train.methods.method import Batch
from train.recipe import Recipe
from train.training import Training

NEURONS = {"reset": "subtract", "leak_shift": None, "epsilon": 1e-5}
ARCHITECTURE = {
    "input": {"encoding": "pixels", "channels": 1, "height": 8, "width": 8, "zero_point": 0, "scale": 1 / 256},
    "timesteps": 4,
    "layers": [{"kind": "convolution", "name": "conv1", "channels": 6, "kernel": 3, "stride": 1, "padding": 1,
                **NEURONS},
               {"kind": "or-pool", "size": 2},
               {"kind": "fully-connected", "name": "fc1", "neurons": 12, **NEURONS},
               {"kind": "readout", "name": "readout", "classes": 3}]}


def images_and_labels(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator),
            torch.randint(0, 3, (count,), generator=generator))


def made_training(folder, architecture=ARCHITECTURE, **changes):
    images, labels = images_and_labels(32, 1)
    split = Split(images=images, labels=labels)
    values = {"name": "tiny", "dataset": "mnist", "architecture": architecture, "epochs": 10, "batch_size": 16,
              "calibration_images": 0, **changes}
    return Training(recipe=Recipe(**values), train=split, validation=split, folder=folder)


def made_finished(folder, **changes):
    training = made_training(folder, **changes)
    training.run()
    finish(training, training.validation)
    return training


def batch_of(scores, labels, images=None, spikes=()):
    scores = torch.as_tensor(scores)
    images = torch.zeros(scores.shape[1], 1, 8, 8, dtype=torch.uint8) if images is None else images
    return Batch(images=images, labels=torch.tensor(labels), scores=scores, spikes=tuple(spikes))
