"""One trial: the recipe is checked for the board, and trained if the board runs its network."""

import dataclasses
import errno
import json
import os
import pathlib
import subprocess
from typing import Any

from arch import json_object, strict_json
from gateware.build.child import error_of, run_module
from support.command_line import EXIT_INPUT, EXIT_INTERRUPTED, EXIT_OK
from support.errors import InputError, ToolchainError, first_line
from support.files import read_file, write_atomically

__all__ = ["Outcome", "check_training", "run_trial"]

#: Largest result of a training that is read.
_MAX_BYTES = 1 << 24
#: How an error line ends that is of the operating system, as on a full disk: no other values of a recipe mend it.
_SYSTEM = tuple(f": {os.strerror(number)}" for number in errno.errorcode)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a trial."""

    #: Clocks of an inference, exact, on the circuit that was asked for.
    clocks: int | None = None
    #: Share of the validation images that the exported network classifies right.
    validation_accuracy: float | None = None
    #: Why there was no training, or none to its end; None if there was.
    reason: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Trained:
    """What is read of the ``result.json`` of a training."""

    validation_accuracy: float


def run_trial(recipe: Any, folder: pathlib.Path, *, board: str, weights: str, data: pathlib.Path,
              options: tuple[str, ...]) -> Outcome:
    """Check and train the JSON ``recipe`` in ``folder``, with ``options`` of the training command.

    A recipe that is none, or whose network the circuit does not run, is an outcome. A training that was interrupted
    goes on.

    Raises
    ------
    :exc:`InputError`
        If the operating system refuses something, as on a full disk.
    :exc:`ToolchainError`
        If a training ends in another way than by its end or by an error of its input.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.json"
    write_atomically(path, json.dumps(recipe, indent=1).encode())
    checked = _command("--recipe", str(path), "--board", board, "--check", "--json", "--no-remedies")
    if not checked.stdout:
        return _failed(checked)
    circuit = strict_json.parse(checked.stdout.encode())["circuits"][weights]
    if circuit["bears"] == "no":
        finding = circuit["findings"][0]
        return Outcome(reason=f"{finding['where']}: {finding['problem']}")
    trained = _command("--recipe", str(path), "--data", str(data), "-o", str(folder / "training"), "--quiet", *options)
    if trained.returncode != EXIT_OK:
        return _failed(trained)
    result = folder / "training" / "result.json"
    try:
        made = json_object.make(_Trained, strict_json.parse(read_file(result, limit=_MAX_BYTES)))
    except ValueError as error:
        return Outcome(reason=f"{result}: {first_line(error)}")
    return Outcome(clocks=circuit["clocks"], validation_accuracy=made.validation_accuracy)


def check_training(recipe: pathlib.Path, folder: pathlib.Path, *, data: pathlib.Path, options: tuple[str, ...]) -> None:
    """Check that the unchanged recipe could be trained, with the data and the options of all trials.

    Parameters
    ----------
    recipe : :class:`pathlib.Path`
    folder : :class:`pathlib.Path`
        Where the trainings will be; nothing is written.
    data : :class:`pathlib.Path`
    options : tuple of :class:`str`
        Of the training command.

    Raises
    ------
    :exc:`InputError`, :exc:`ToolchainError`
        If it could not.
    """
    done = _command("--recipe", str(recipe), "--data", str(data), "-o", str(folder / "unchanged"), "--quiet",
                    "--dry-run", *options)
    if done.returncode != EXIT_OK and (reason := _failed(done).reason) is not None:
        raise InputError(reason)


def _command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_module("train", arguments)


def _failed(done: "subprocess.CompletedProcess[str]") -> Outcome:
    """Say why a command failed; what no other recipe would mend ends the search."""
    if done.returncode == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    reason = error_of(done)
    if reason.endswith(_SYSTEM):
        raise InputError(reason)
    if done.returncode != EXIT_INPUT:
        raise ToolchainError(f"python -m train: {reason}")
    return Outcome(reason=reason)
