"""What a training leaves on the disk, and how other trainings, measurements and its own resumption read it.

=================  ================================================================================================
NAME.safetensors   the checkpoint for export, of the best epoch by validation; a network with float weights has none
best.pt            the network of the best epoch as it was trained: what other trainings start or learn from
state.pt           all that the next epoch needs: a training resumes from it to the same bits
recipe.json        the recipe, with what options have changed: with it the training goes on, or is done again
metrics.jsonl      one line of JSON per epoch
result.json        what came out: written once, at the end
curves.png         loss, accuracies and firing rates over the epochs
=================  ================================================================================================

NAME is the name of the recipe. Files of PyTorch (``.pt``) are read with ``weights_only``, so that no code in them runs.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from arch.architecture import CheckpointError
from arch.checkpoint import Checkpoint
from support.errors import InputError, first_line
from support.files import check_output, check_output_folder, write_atomically, write_with
from train.assembly import make_network
from train.methods import make_methods
from train.methods.method import check_number
from train.recipe import Recipe
from train.trainable import TrainableNetwork

__all__ = ["TrainingError", "TrainingFolder", "differences", "load_trained", "load_trained_recipe",
           "load_weights", "read_best"]


class TrainingError(InputError):
    """A training cannot go on, or cannot be used by another. The message is one line."""


def differences(ours: Recipe, theirs: Mapping[str, Any]) -> list[str]:
    """Return the keys of a recipe whose values are others in the JSON ``theirs``."""
    return [key for key, value in ours.to_json().items() if theirs.get(key) != value]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrainingFolder:
    """The folder of one training, which may not be there yet."""

    #: The folder.
    path: pathlib.Path
    #: Name of the recipe.
    name: str

    @property
    def checkpoint(self) -> pathlib.Path:
        """Checkpoint of the best epoch, for export."""
        return self.path / f"{self.name}.safetensors"

    @property
    def best(self) -> pathlib.Path:
        """Network of the best epoch, as it was trained."""
        return self.path / "best.pt"

    @property
    def state(self) -> pathlib.Path:
        """State after the last epoch."""
        return self.path / "state.pt"

    @property
    def recipe(self) -> pathlib.Path:
        """Recipe of the training."""
        return self.path / "recipe.json"

    @property
    def metrics(self) -> pathlib.Path:
        """One line of JSON per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> pathlib.Path:
        """What came out, as JSON: accuracies, and the name of the checkpoint if there is one."""
        return self.path / "result.json"

    @property
    def curves(self) -> pathlib.Path:
        """Picture of the metrics."""
        return self.path / "curves.png"

    def check(self, recipe: Recipe) -> None:
        """Check that the training of ``recipe`` may write here; makes nothing.

        Raises
        ------
        :exc:`support.errors.InputError`
            If the path is no folder or cannot be written, one of the files is none, or the folder holds other things
            or another training. A training with a state is compared by :meth:`train.training.Training.resume`.
        """
        check_output_folder(self.path)
        if not self.path.is_dir():
            return
        own = (self.checkpoint, self.best, self.state, self.recipe, self.metrics, self.result, self.curves)
        for file in own:
            check_output(file)
        if self.state.exists() or self.result.exists():
            return
        # What an interruption of the first epoch may leave: files written beside their place, whole files before a
        # state that knows of them.
        left_over = re.compile(rf"\.({'|'.join(re.escape(file.stem[:64]) for file in own)})\.[0-9a-f]{{12}}\.\w+")
        strangers = sorted(entry.name for entry in self.path.iterdir()
                           if entry not in own and not left_over.fullmatch(entry.name))
        if strangers:
            raise TrainingError(f"{self.path}: folder must be empty or hold a training, not {strangers[0]!r}: "
                                f"give another folder with -o")
        if self.best.exists():
            wrong = differences(recipe, read_best(self.path)["recipe"].to_json())
            if wrong:
                raise TrainingError(f"{self.path}: holds a training with another {', '.join(wrong)}: "
                                    f"give another folder with -o")
        elif self.checkpoint.exists():
            try:
                made = Checkpoint.load(self.checkpoint).provenance.get("recipe")
            except CheckpointError:
                made = None
            if not isinstance(made, Mapping) or differences(recipe, made):
                raise TrainingError(f"{self.checkpoint}: must be of this training: give another folder with -o")

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the recipe, and make the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.recipe, (json.dumps(recipe.to_json(), indent=2) + "\n").encode())

    def write_best(self, recipe: Recipe, network: TrainableNetwork, *, epoch: int, accuracy: float) -> None:
        """Write the best network so far: that after ``epoch`` epochs, with its accuracy on the validation images."""
        content = {"recipe": json.dumps(recipe.to_json()), "network": network.state_dict(), "form": network.form,
                   "epoch": epoch, "validation_accuracy": accuracy}
        write_with(self.best, lambda path: torch.save(content, path))

    def write_state(self, state: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """Write the state after an epoch, and the metrics of all epochs."""
        write_with(self.state, lambda path: torch.save(dict(state), path))
        write_atomically(self.metrics, "".join(f"{json.dumps(entry)}\n" for entry in history).encode())

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write what came out."""
        write_atomically(self.result, (json.dumps(result, indent=2) + "\n").encode())

    def read_result(self) -> dict[str, Any]:
        """Return what came out; raises :exc:`TrainingError` if it is broken, or its checkpoint is gone."""
        remedy = "remove it, and the same command measures again what the epochs left"
        try:
            result: dict[str, Any] = json.loads(self.result.read_text())
            kind = "" if "test_accuracy" in result else "float_"
            for key in ("epoch", "epochs", "test_images", f"{kind}validation_accuracy", f"{kind}test_accuracy"):
                check_number(key, result[key], 0)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise TrainingError(f"{self.result}: result cannot be read: {error}: {remedy}") from None
        checkpoint = result.get("checkpoint")
        if checkpoint is not None and not (self.path / str(checkpoint)).is_file():
            raise TrainingError(f"{self.path / str(checkpoint)}: is missing beside {self.result.name}: "
                                f"give another folder with -o")
        return result


def read_best(folder: pathlib.Path) -> dict[str, Any]:
    """Return the best network of the training in ``folder``, finished or not.

    Returns
    -------
    A dictionary of ``recipe`` (a :class:`Recipe`), ``network`` (its parameters by name), ``form``, ``epoch`` and
    ``validation_accuracy``.

    Raises
    ------
    :exc:`TrainingError`
        If there is none, or it cannot be read.
    """
    path = folder / "best.pt"
    if not path.exists():
        raise TrainingError(f"{path}: best network is missing: train again, into another folder")
    try:
        best: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(best, dict):
            raise TypeError(f"a {type(best).__name__} is in it, not a training's best network")
        best["recipe"] = Recipe.from_json(json.loads(best["recipe"]))
        missing = {"form", "network", "epoch", "validation_accuracy"} - best.keys()
        if missing:
            raise ValueError(f"no {' and no '.join(sorted(missing))} in it")
    except Exception as error:
        # torch.load raises whatever the broken file provokes.
        raise TrainingError(f"{path}: weights cannot be read: {first_line(error)}") from None
    return best


def _read_finished(folder: pathlib.Path) -> dict[str, Any]:
    """Return the best network of a training that has been finished."""
    if not (folder / "result.json").exists():
        raise TrainingError(f"{folder}: must hold a finished training, with its result.json: train it first, "
                            f"to its end, into {folder}")
    return read_best(folder)


def load_trained(folder: pathlib.Path) -> TrainableNetwork:
    """Return the best network of the training in ``folder``, as it was trained (float or quantised, spikes or not).

    In evaluation mode, on the CPU.

    Raises
    ------
    :exc:`TrainingError`
        If there is none, it is not finished, it cannot be read, or a method's own quantisers are not in the recipe.
    """
    best = _read_finished(folder)
    recipe: Recipe = best["recipe"]
    methods = make_methods(recipe.methods)
    for method in methods:
        if not method.keeps_quantisers(recipe.weights):
            raise TrainingError(f"{folder}: must hold a training whose weights are those of its recipe, "
                                f"{recipe.weights}, and {method.kind} exchanged them")
    network, _ = make_network(recipe, methods)
    try:
        network.use_form(best["form"])
        network.load_state_dict(best["network"])
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise TrainingError(f"{folder / 'best.pt'}: weights cannot be read: {reason}") from None
    return network.eval()


def load_trained_recipe(folder: pathlib.Path) -> Recipe:
    """Return the recipe of the finished training in ``folder``; raises :exc:`TrainingError`."""
    recipe: Recipe = _read_finished(folder)["recipe"]
    return recipe


def _weighted_places(architecture: Mapping[str, Any]) -> list[int]:
    return [place for place, layer in enumerate(architecture["layers"]) if layer["kind"] != "or-pool"]


def _moved(state: Mapping[str, Any], places: Mapping[int, int]) -> dict[str, Any]:
    """Return the state of a network with each layer of its chain at the place that ``places`` gives for its own."""
    moved = {}
    for key, value in state.items():
        group, *rest = key.split(".", 2)
        if group == "chain":
            key = f"chain.{places[int(rest[0])]}.{rest[1]}"
        moved[key] = value
    return moved


def load_weights(network: TrainableNetwork, folder: pathlib.Path) -> str:
    """Copy weights, BatchNorm and thresholds of the best network of the training in ``folder`` into ``network``.

    Layers with weights are matched in their order, so the two may pool differently: in layers of their own, or before
    the neurons.

    Returns
    -------
    str
        The form of that network (:attr:`train.trainable.TrainableNetwork.form`).

    Raises
    ------
    :exc:`TrainingError`
        If there is none, it is not finished, it cannot be read, or its layers have other shapes.
    """
    best = _read_finished(folder)
    source, target = (_weighted_places(layout) for layout in (best["recipe"].architecture, network.architecture))
    if len(source) != len(target):
        raise TrainingError(f"{folder}: the trained network must have the layers of this recipe: it has {len(source)} "
                            f"with weights, not {len(target)}")
    try:
        network.load_state_dict(_moved(best["network"], dict(zip(source, target, strict=True))))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise TrainingError(f"{folder}: the trained network must have the layers of this recipe: {reason}") from None
    form: str = best["form"]
    return form
