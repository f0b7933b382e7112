"""Command line of the training: ``python -m train --recipe mnist-conv --data DIR``."""

import argparse
import ctypes
import dataclasses
import logging
import pathlib
import shlex
import shutil
import subprocess
import sys
from typing import Any

import torch

from arch.checkpoint import CheckpointError
from train import datasets, distributed
from train.curves import draw_curves
from train.folder import TrainingError
from train.methods.method import MethodError
from train.recipe import Recipe, RecipeError, load_recipe, shipped_recipes
from train.training import Training

__all__ = ["create_parser", "keep_freed_memory", "main", "train"]


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m train", description="Train a ternary spiking network and write a checkpoint for export.",
        epilog="An interrupted training resumes when the same command is given again.")
    parser.add_argument("--recipe", metavar="RECIPE", required=True,
                        help=f"train RECIPE: {', '.join(shipped_recipes())} or a .json file")
    parser.add_argument("--data", metavar="DIR", type=pathlib.Path, required=True,
                        help="read the official files of the data set from DIR (see docs/datasets.md)")
    parser.add_argument("--download", action="store_true", help="first fetch the files that DIR lacks")
    parser.add_argument("--unverified", action="store_true", help="accept files that are not the official ones")
    parser.add_argument("-o", "--output", metavar="DIR", type=pathlib.Path,
                        help="write checkpoint, state, metrics and curves to DIR (default: build/train/RECIPE)")
    parser.add_argument("--epochs", metavar="N", type=int, help="train N epochs (default: the recipe's)")
    parser.add_argument("--seed", metavar="N", type=int, help="use the seed N (default: the recipe's)")
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=None,
                        help="compute convolutions in bfloat16, or not (default: the recipe's choice)")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=None,
                        help="compile the neurons' loops, needs g++, or not (default: the recipe's choice)")
    parser.add_argument("--device", metavar="DEVICE", default="cpu", help="train on DEVICE (default: cpu)")
    parser.add_argument("--threads", metavar="N", type=int, help="use N threads (default: PyTorch's choice)")
    parser.add_argument("--dry-run", action="store_true",
                        help="check all that the training needs, print the plan, train nothing")
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")
    return parser


def keep_freed_memory() -> None:
    """Tell glibc to reuse freed blocks: every step frees and allocates the same hundred megabytes.

    By default they go back to the system, and mapping them again costs a tenth to a half of the training time.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # another C library: slower, not wrong
    for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
        mallopt(option, value)


def _git_revision() -> str | None:
    """Revision of the checkout, with a plus sign if tracked files are changed; None outside one."""
    folder = pathlib.Path(__file__).parent
    try:
        revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no", "--", ".", "../arch"],
                                 cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision.stdout.strip() + ("+" if changes.stdout.strip() else "")


def train(arguments: argparse.Namespace, command: str) -> dict[str, Any]:
    """Do what the arguments say; return the provenance of the checkpoint, or the plan of a dry run.

    Raises :exc:`RecipeError`, :exc:`MethodError`, :exc:`train.datasets.DataError`, :exc:`TrainingError`,
    :exc:`CheckpointError`, :exc:`OSError`.
    """
    recipe: Recipe = load_recipe(arguments.recipe)
    chosen = {"epochs": arguments.epochs, "seed": arguments.seed, "bfloat16": arguments.bfloat16,
              "compiled": arguments.compile}
    recipe = dataclasses.replace(recipe, **{key: value for key, value in chosen.items() if value is not None})
    if arguments.threads is not None and arguments.threads < 1:
        raise TrainingError(f"--threads must be 1 or more, not {arguments.threads}")
    dataset = datasets.DATASETS[recipe.dataset]
    if arguments.download:
        datasets.download(dataset, arguments.data)
    images, test = datasets.load(dataset, arguments.data, verify=not arguments.unverified,
                                 framing=recipe.make_framing())
    learned, validation = datasets.split_validation(images, recipe.validation_images)
    folder = arguments.output or pathlib.Path("build/train") / recipe.name
    if recipe.compiled and arguments.device == "cpu" and shutil.which("g++") is None:
        raise TrainingError("compiled loops need g++, which is not installed: install it or give --no-compile")
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    try:
        device = torch.device(arguments.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device {arguments.device} cannot be used: {str(error).splitlines()[0]}") from None
    with distributed.connect(device) as own:
        training = Training(recipe=recipe, train=learned, validation=validation, folder=folder, device=own,
                            progress=not arguments.quiet,
                            provenance={"command": command, "git_revision": _git_revision(),
                                        "torch": torch.__version__, "threads": torch.get_num_threads(),
                                        "processes": distributed.processes()})
        training.resume()
        if not arguments.dry_run:
            training.run()
        if distributed.rank():
            return {}
        if arguments.dry_run:
            return {"recipe": recipe.to_json(), "output": str(folder), "training_images": len(learned),
                    "validation_images": len(validation), "test_images": len(test)}
        result = training.finish(test)
    try:
        draw_curves(training.history, recipe.architecture["layers"], recipe.name, training.files.curves)
    except ImportError:
        logging.getLogger(__name__).warning("no curves: matplotlib is not installed")
    return {**result, "output": str(folder)}


def main(argv: list[str] | None = None) -> int:
    """Run the command line: 0 done, 1 bad input, 2 usage, 130 interrupted."""
    arguments = create_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING if arguments.quiet else logging.INFO, format="%(message)s")
    command = shlex.join(["python", "-m", "train", *(sys.argv[1:] if argv is None else argv)])
    try:
        made = train(arguments, command)
    except (RecipeError, MethodError, datasets.DataError, TrainingError, CheckpointError, OSError) as error:
        print(f"ERROR: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("ERROR: interrupted; the same command resumes after the last epoch", file=sys.stderr)  # noqa: T201
        return 130
    if not made:
        return 0  # one of several processes, and not the first: that one reports
    if arguments.dry_run:
        plan = made["recipe"]
        line = (f"{plan['name']}: {plan['epochs']} epochs of {made['training_images']} images of {plan['dataset']}, "
                f"{made['validation_images']} validation and {made['test_images']} test images, to {made['output']}")
    elif "test_accuracy" not in made:
        line = (f"{made['output']}: epoch {made['epoch']} of {made['epochs']}, network that is not exported, "
                f"validation accuracy {made['float_validation_accuracy']:.2%}, "
                f"test accuracy {made['float_test_accuracy']:.2%} of {made['test_images']} images")
    else:
        line = (f"{made['output']}/{made.get('checkpoint', 'best.pt')}: epoch {made['epoch']} of {made['epochs']}, "
                f"validation accuracy {made['validation_accuracy']:.2%}, "
                f"test accuracy {made['test_accuracy']:.2%} of {made['test_images']} images")
    print(line)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
