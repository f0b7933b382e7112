"""Steps of a training on made images, timed.

What is timed is what the training loop does in a step: distort a batch, forward, backward, optimiser. Loading,
validation and saving are left out.
"""

import pathlib
import tempfile
import time

import torch

from train.augmentation import augment
from train.datasets import Split
from train.folder import TrainingError
from train.recipe import load_recipe
from train.session import check_compiler
from train.training import Training

__all__ = ["time_steps"]

#: First steps that are not counted: memory grows and loops are compiled.
WARM_UP = 3
#: Made training images, for methods that measure something on some thousands.
MADE = 4096


def time_steps(recipe_name: str, steps: int, images: int, epoch: int) -> tuple[list[float], int]:
    """Return the seconds of ``steps`` steps as in epoch ``epoch``, from 0, and the steps of an epoch of ``images``.

    Raises :exc:`support.errors.InputError` if the recipe cannot be timed so.
    """
    recipe = load_recipe(recipe_name)
    check_compiler(recipe, torch.device("cpu"))
    if recipe.needs:
        raise TrainingError(f"recipe {recipe.name} must need no other training to be timed on made images, and needs "
                            f"{' and '.join(recipe.needs)}")
    if recipe.framing is not None:
        raise TrainingError(f"recipe {recipe.name} must be of images to be timed, not of events")
    if images < recipe.batch_size:
        raise TrainingError(f"--images must be at least a batch of {recipe.batch_size}, not {images}")
    if epoch >= recipe.epochs:
        raise TrainingError(f"--epoch must be below the recipe's {recipe.epochs} epochs, not {epoch}")
    source = recipe.architecture["input"]
    shape = tuple(source[side] for side in ("channels", "height", "width"))
    generator = torch.Generator().manual_seed(0)

    def made(count: int) -> Split:
        pixels = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
        return Split(images=pixels, labels=torch.randint(0, recipe.architecture["layers"][-1]["classes"], (count,),
                                                         generator=generator))

    with tempfile.TemporaryDirectory() as folder:
        training = Training(recipe=recipe, train=made(max(4 * recipe.batch_size, MADE)),
                            validation=made(1),
                            folder=pathlib.Path(folder))
        for method in training.methods:
            method.begin_epoch(epoch)
        seconds = []
        for step in range(WARM_UP + steps):
            began = time.perf_counter()
            chosen = torch.randperm(len(training.train), generator=generator)[:recipe.batch_size]
            training.step(augment(training.train.images[chosen], recipe.augmentation, generator),
                          training.train.labels[chosen])
            if step >= WARM_UP:
                seconds.append(time.perf_counter() - began)
    return seconds, images // recipe.batch_size
