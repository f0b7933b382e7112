"""Time a training's epoch from some of its steps, on made images: ``python -m benchmarks.epoch --recipe cifar10-vgg7``.

What is timed is what the training loop does in a step: distort a batch, forward, backward, optimiser. Loading,
validation and saving are left out. The epoch is the median step times the steps of ``--images`` images.
"""

import argparse
import pathlib
import statistics
import tempfile
import time
from collections.abc import Sequence

import torch

from support.command_line import print_line, run
from train.__main__ import keep_freed_memory
from train.augmentation import augment
from train.datasets import Split
from train.folder import TrainingError
from train.recipe import load_recipe
from train.training import Training

__all__ = ["create_parser", "main", "measure", "time_steps"]

#: First steps that are not counted: memory grows and loops are compiled.
WARM_UP = 3
#: Made training images, for methods that measure something on some thousands.
MADE = 4096


def time_steps(recipe_name: str, steps: int, images: int, epoch: int) -> tuple[list[float], int]:
    """Return the seconds of ``steps`` steps as in epoch ``epoch``, from 0, and the steps of an epoch of ``images``.

    Raises :exc:`support.errors.InputError` for what cannot be timed.
    """
    recipe = load_recipe(recipe_name)
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


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epoch",
                                     description="Time a training's epoch from some of its steps, on made images.")
    parser.add_argument("--recipe", metavar="RECIPE", default="cifar10-vgg7",
                        help="time RECIPE, of images (default: cifar10-vgg7, 1.2 million weights)")
    parser.add_argument("--threads", metavar="N", type=int, help="use N threads (default: PyTorch's choice)")
    parser.add_argument("--steps", metavar="N", type=int, default=20, help="time N steps (default: 20)")
    parser.add_argument("--images", metavar="N", type=int, default=45000,
                        help="count an epoch of N images (default: 45000, CIFAR-10 without validation images)")
    parser.add_argument("--epoch", metavar="N", type=int, default=0,
                        help="do what epoch N, from 0, does: time folded or not (default: 0)")
    return parser


def measure(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for.

    Raises
    ------
    :exc:`support.errors.InputError`
        If an option is out of range, or the recipe cannot be timed on made images.
    """
    for name, low in (("threads", 1), ("steps", 1), ("images", 1), ("epoch", 0)):
        value = getattr(arguments, name)
        if value is not None and value < low:
            raise TrainingError(f"--{name} must be {low} or more, not {value}")
    keep_freed_memory()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    seconds, count = time_steps(arguments.recipe, arguments.steps, arguments.images, arguments.epoch)
    median = statistics.median(seconds)
    print_line(f"{arguments.recipe}, {torch.get_num_threads()} threads: median step {median:.3f} s "
               f"({min(seconds):.3f} to {max(seconds):.3f}), {count} steps an epoch: {median * count:.0f} s")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run(create_parser(), measure, argv)
