"""``python -m benchmarks.epoch``: time a training's epoch from some of its steps, on made images.

The epoch is the median step times the steps of ``--images`` images.
"""

import argparse
import statistics
from collections.abc import Sequence

from support.command_line import print_line, run
from support.errors import InputError
from train.catalogue import read_recipe
from train.command import check_threads

__all__ = ["create_parser", "main"]


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


def _time(arguments: argparse.Namespace) -> None:
    check_threads(arguments.threads)
    for name, low, high in (("steps", 1, 1_000_000), ("images", 1, 10**9), ("epoch", 0, 10**9)):
        value = getattr(arguments, name)
        if not low <= value <= high:
            raise InputError(f"--{name} must be {low} to {high}, not {value}")
    read_recipe(arguments.recipe)
    # Here, because they import PyTorch, which takes seconds: wrong names and numbers are answered at once.
    import torch

    from benchmarks.epoch.timing import time_steps
    from train.memory import keep_freed_memory

    keep_freed_memory()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    seconds, count = time_steps(arguments.recipe, arguments.steps, arguments.images, arguments.epoch)
    median = statistics.median(seconds)
    print_line(f"{arguments.recipe}, {torch.get_num_threads()} threads: median step {median:.3f} s "
               f"({min(seconds):.3f} to {max(seconds):.3f}), {count} steps an epoch: {median * count:.0f} s")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, as :func:`support.command_line.run`."""
    return run(create_parser(), _time, argv)
