"""What ``python -m train`` does: check everything, train, measure, and report in one line."""

import argparse
import dataclasses
import logging
import os
import pathlib
import shutil
from typing import Any

import torch

from support import provenance
from support.errors import first_line
from train import datasets, distributed
from train.curves import draw_curves
from train.finishing import finish
from train.folder import TrainingError, TrainingFolder
from train.memory import keep_freed_memory
from train.recipe import Recipe, named_recipe
from train.training import Training

__all__ = ["check_compiler", "report", "train"]

_log = logging.getLogger(__name__)


def _recipe(arguments: argparse.Namespace, values: Any) -> Recipe:
    """Return the recipe with what the command line changes."""
    recipe = named_recipe(arguments, values)
    chosen = {"epochs": arguments.epochs, "seed": arguments.seed, "bfloat16": arguments.bfloat16,
              "compiled": arguments.compile, "validation_images": arguments.validation_images}
    return dataclasses.replace(recipe, **{key: value for key, value in chosen.items() if value is not None})


def _device(name: str) -> torch.device:
    """Return the device ``name``, on which something was computed; raises :exc:`TrainingError`."""
    try:
        device = torch.device(name)
        # Some devices have no numbers, and cannot say so before they are asked for one.
        torch.ones(1, device=device).add(1).item()
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device {name} cannot be used: {first_line(error)}") from None
    return device


def check_compiler(recipe: Recipe, device: torch.device) -> None:
    """Check that the compiler is there, if the recipe compiles on this device; raises :exc:`TrainingError`."""
    # PyTorch takes the compiler that CXX names, else g++.
    compiler = os.environ.get("CXX") or "g++"
    if recipe.compiled and device.type == "cpu" and shutil.which(compiler) is None:
        raise TrainingError(f"compiled loops need {compiler}, which is not installed: install it or give --no-compile")


def train(arguments: argparse.Namespace, values: Any, command: str) -> dict[str, Any] | None:
    """Do what the arguments of :mod:`train.command` say, by the recipe of the JSON ``values``.

    All that the training needs is looked at before the first step, and a dry run ends there: recipe, compiler, device,
    output folder and what it holds, data, and the trainings that this one starts from or learns from.

    Returns
    -------
    The result of the training, or the plan of a dry run, with the output folder; None in all processes but the first.

    Raises
    ------
    :exc:`support.errors.InputError`
        If something is wrong or missing.
    :exc:`OSError`
        If a file cannot be read or written.
    """
    logging.basicConfig(level=logging.WARNING if arguments.quiet else logging.INFO, format="%(message)s")
    recipe = _recipe(arguments, values)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    device = _device(arguments.device)
    check_compiler(recipe, device)
    folder = arguments.output or pathlib.Path("build/train") / recipe.name
    TrainingFolder(path=folder, name=recipe.name).check(recipe)
    dataset = datasets.DATASETS[recipe.dataset]
    if arguments.download:
        datasets.download(dataset, arguments.data)
    images, test = datasets.load(dataset, arguments.data, verify=not arguments.unverified,
                                 framing=recipe.make_framing())
    learned, validation = datasets.split_validation(images, recipe.validation_images)
    with distributed.connect(device) as own:
        training = Training(recipe=recipe, train=learned, validation=validation, folder=folder, device=own,
                            progress=not arguments.quiet,
                            provenance={"command": command, "git_revision": provenance.revision(),
                                        "torch": torch.__version__, "threads": torch.get_num_threads(),
                                        "processes": distributed.processes()})
        training.check_data(test)
        training.resume()
        if not arguments.dry_run:
            if not distributed.rank():
                training.files.write_recipe(recipe)
            training.run()
        if distributed.rank():
            return None
        if arguments.dry_run:
            return {"recipe": recipe.to_json(), "output": str(folder), "training_images": len(learned),
                    "validation_images": len(validation), "test_images": len(test)}
        result = finish(training, test)
    try:
        draw_curves(training.history, recipe.architecture["layers"], recipe.name, training.files.curves)
    except ImportError:
        _log.warning("no curves: matplotlib is not installed")
    return {**result, "output": str(folder)}


def report(made: dict[str, Any], *, dry_run: bool) -> str:
    """Return the line about what :func:`train` returned."""
    if dry_run:
        plan = made["recipe"]
        return (f"{plan['name']}: {plan['epochs']} epochs of {made['training_images']} images of {plan['dataset']}, "
                f"{made['validation_images']} validation and {made['test_images']} test images, to {made['output']}")
    if "test_accuracy" not in made:
        return (f"{made['output']}: epoch {made['epoch']} of {made['epochs']}, network that is not exported, "
                f"validation accuracy {made['float_validation_accuracy']:.2%}, "
                f"test accuracy {made['float_test_accuracy']:.2%} of {made['test_images']} images")
    return (f"{made['output']}/{made.get('checkpoint', 'best.pt')}: epoch {made['epoch']} of {made['epochs']}, "
            f"validation accuracy {made['validation_accuracy']:.2%}, "
            f"test accuracy {made['test_accuracy']:.2%} of {made['test_images']} images"
            + (f" (of the float network {made['teacher_test_accuracy']:.2%})" if "teacher_test_accuracy" in made
               else ""))
