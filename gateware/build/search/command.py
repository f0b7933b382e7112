"""Search the parameters of a recipe: ``python -m gateware.build.search --recipe FILE --data DIR --board BOARD``."""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from arch import json_object, strict_json
from boards import BOARDS
from gateware.build.explore.front import least
from gateware.build.search.identity import IDENTITY, Identity
from gateware.build.search.space import Axis, SpaceError, changed
from gateware.build.search.trial import Outcome, check_training, run_trial
from sim.report import Weights
from support.command_line import path_argument, print_line, run
from support.counting import counted
from support.errors import InputError, printable
from support.files import check_output_folder, locked, read_file, write_atomically
from support.progress import Progress

__all__ = ["SearchError", "Trial", "create_parser", "main", "search"]

#: Largest recipe, and largest file of trials, that is read.
_RECIPE_BYTES, _TRIALS_BYTES = 1 << 20, 1 << 26
#: The trials, and the lock, in the folder of a search.
_TRIALS, _LOCK = "trials.jsonl", ".search.lock"
#: Most trials of a search.
_MAX_TRIALS = 10_000


class SearchError(InputError):
    """What is to be searched cannot be."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A trial; the fields are the keys of a line of ``trials.jsonl``."""

    number: int
    #: Values at the places that vary.
    values: dict[str, Any]
    #: What came of it; None as long as it runs.
    outcome: Outcome | None = None


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gateware.build.search",
        description="Train a recipe again and again with values that Optuna proposes, for a high validation accuracy "
                    "and few clocks on a board. The test set decides nothing.",
        epilog="An interrupted search goes on when the same command is given again.")
    parser.add_argument("--recipe", metavar="FILE", type=path_argument, required=True,
                        help="vary the recipe of the JSON file FILE, as train/recipes/mnist-conv.json")
    parser.add_argument("--data", metavar="DIR", type=path_argument, required=True,
                        help="read the official files of the data set from DIR (see docs/datasets.md)")
    parser.add_argument("--unverified", action="store_true", help="accept files that are not the official ones")
    parser.add_argument("--board", metavar="BOARD", choices=sorted(BOARDS), required=True,
                        help="count the clocks on BOARD (one of: %(choices)s)")
    parser.add_argument("--weights", metavar="WHERE", choices=[where.value for where in Weights],
                        default=Weights.BAKED.value,
                        help="take weights from WHERE, baked or flash (default: %(default)s)")
    parser.add_argument("--vary", metavar="PLACE=VALUES", action="append", required=True,
                        help="try VALUES at PLACE of the recipe: learning_rate=0.0005:0.005:log, or "
                             "architecture.layers.0.channels=8,16; may be given several times")
    parser.add_argument("--trials", metavar="N", type=int, default=20, help="make N trials (default: %(default)s)")
    parser.add_argument("--epochs", metavar="N", type=int, help="train N epochs (default: the recipe's)")
    parser.add_argument("--threads", metavar="N", type=int, help="train with N threads (default: PyTorch's choice)")
    parser.add_argument("--seed", metavar="N", type=int, default=1,
                        help="let Optuna propose with the seed N (default: %(default)s)")
    parser.add_argument("-o", "--output", metavar="DIR", type=path_argument, default=pathlib.Path("build/search"),
                        help="keep trials and trainings in DIR (default: %(default)s)")
    return parser


def _read_recipe(path: pathlib.Path) -> dict[str, Any]:
    try:
        recipe = strict_json.parse(read_file(path, limit=_RECIPE_BYTES))
    except ValueError as error:
        raise SearchError(f"{path}: recipe must be JSON, and cannot be read: {error}") from None
    if not isinstance(recipe, dict) or not isinstance(recipe.get("name"), str):
        raise SearchError(f"{path}: recipe must be an object with a name")
    return recipe


def _read_trials(path: pathlib.Path) -> list[Trial]:
    """Read the trials of an earlier run."""
    try:
        lines = read_file(path, limit=_TRIALS_BYTES).splitlines()
    except FileNotFoundError:
        return []
    try:
        trials = [json_object.make(Trial, strict_json.parse(line)) for line in lines]
    except ValueError as error:
        raise SearchError(f"{path}: must be the trials of a search: {error}: give another folder with -o") from None
    return trials


def _check_trials(path: pathlib.Path, trials: Sequence[Trial], axes: Sequence[Axis]) -> None:
    """Check that a search of the axes has made the trials; raises :exc:`SearchError`."""
    for number, trial in enumerate(trials):
        wrong = [axis.place for axis in axes if not axis.has(trial.values[axis.place])]
        outcome = trial.outcome
        whole = number == len(trials) - 1 if outcome is None else outcome.reason is not None or (
            outcome.clocks is not None and outcome.clocks > 0
            and outcome.validation_accuracy is not None and 0 <= outcome.validation_accuracy <= 1)
        if trial.number != number or wrong or not whole:
            what = (f"the number {trial.number}" if trial.number != number else
                    f"a value at {wrong[0]} that --vary does not name" if wrong else
                    "neither clocks and a validation accuracy nor a reason why it has none")
            raise SearchError(f"{path}: line {number + 1} must be trial {number} as this command has written it, and "
                              f"has {what}: give another folder with -o")


def _write_trials(path: pathlib.Path, trials: Sequence[Trial]) -> None:
    write_atomically(path, "".join(json.dumps(dataclasses.asdict(trial)) + "\n" for trial in trials).encode())


class _Search:
    """A study of Optuna, and the trials so far."""

    def __init__(self, axes: Sequence[Axis], trials: list[Trial], *, seed: int):
        # Here, because the help and wrong options are answered without the package, which comes with `explore`.
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.trials = trials
        self._optuna = optuna
        self._axes = axes
        self._spaces = {axis.place: self._space(axis) for axis in axes}
        # As many proposals as trials were made before have been drawn already.
        self._study = optuna.create_study(directions=["maximize", "minimize"],
                                          sampler=optuna.samplers.TPESampler(seed=seed + len(trials)))
        #: The trial of the study that runs; None for one that was interrupted in an earlier run.
        self._asked: Any = None
        for trial in trials:
            if trial.outcome is not None:
                self.finish(trial)

    def _space(self, axis: Axis) -> Any:
        if axis.choices:
            return self._optuna.distributions.CategoricalDistribution(axis.choices)
        return self._optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.logarithmic)

    def propose(self) -> dict[str, Any]:
        """Return the values of the next trial."""
        self._asked = self._study.ask(self._spaces)
        return dict(self._asked.params)

    def finish(self, trial: Trial) -> None:
        """Let the study know a trial that is over; one without a training has failed."""
        outcome = trial.outcome
        assert outcome is not None
        failed = outcome.reason is not None
        state  = self._optuna.trial.TrialState.FAIL if failed else self._optuna.trial.TrialState.COMPLETE
        values = None if failed else [outcome.validation_accuracy or 0.0, float(outcome.clocks or 0)]
        if self._asked is not None:
            self._study.tell(self._asked, values, state=state)
            self._asked = None
        else:
            self._study.add_trial(self._optuna.trial.create_trial(
                params=trial.values, distributions=self._spaces, values=values, state=state))


def _check(arguments: argparse.Namespace, axes: Sequence[Axis]) -> None:
    if not 1 <= arguments.trials <= _MAX_TRIALS:
        raise SearchError(f"--trials must be 1 to {_MAX_TRIALS}, not {arguments.trials}")
    if not 0 <= arguments.seed < 1 << 31:
        raise SearchError(f"--seed must be 0 to {(1 << 31) - 1}, not {arguments.seed}")
    places = [axis.place for axis in axes]
    for place in places:
        if places.count(place) > 1:
            raise SpaceError(f"--vary must name each place once, not {place} twice")


def _check_folder(folder: pathlib.Path) -> None:
    """Check that a search may work in a folder; raises :exc:`InputError` if it holds what no search has put there."""
    check_output_folder(folder)
    # A search that was ended while it made the folder has left its lock.
    found = sorted({entry.name for entry in folder.iterdir()} - {_LOCK}) if folder.is_dir() else []
    if found and not {IDENTITY, _TRIALS} & set(found):
        raise SearchError(f"{folder}: output must be a new or empty folder or that of an earlier search, not one with "
                          f"{found[0]!r}: give another with -o")


def search(arguments: argparse.Namespace) -> None:
    """Make the trials that the command line asks for, and print the best; raises what becomes the error line."""
    axes = [Axis.parse(text) for text in arguments.vary]
    _check(arguments, axes)
    recipe = _read_recipe(arguments.recipe)
    for axis in axes:
        axis.check(recipe)
    output: pathlib.Path = arguments.output
    path = output / _TRIALS
    _check_folder(output)
    output.mkdir(parents=True, exist_ok=True)
    busy = f"{output}: another search is at work in this folder: wait for its end, or give another one with -o"
    with locked(output / _LOCK, busy=busy):
        trials = _read_trials(path)
        if any(trial.values.keys() != {axis.place for axis in axes} for trial in trials):
            raise SearchError(f"{path}: its trials vary other places: give the same --vary, or another folder with -o")
        identity = Identity.of(
            recipe, axes, board=arguments.board, weights=arguments.weights, epochs=arguments.epochs,
            data=arguments.data if arguments.unverified else None)
        identity.claim(output, begun=path.exists())
        _check_trials(path, trials, axes)
        study = _Search(axes, trials, seed=arguments.seed)
        _run(arguments, recipe, study, path)
    print_line(_format(trials))


def _run(arguments: argparse.Namespace, recipe: dict[str, Any], study: _Search, path: pathlib.Path) -> None:
    options = [("--epochs", arguments.epochs), ("--threads", arguments.threads)]
    given = tuple(word for option, value in options if value is not None for word in (option, str(value)))
    if arguments.unverified:
        given = (*given, "--unverified")
    trials = study.trials

    def going() -> bool:
        return len(trials) < arguments.trials or trials[-1].outcome is None

    with Progress("search") as progress:
        if going():
            # What is wrong with the data must not become the outcome of every trial.
            progress.update("check")
            check_training(arguments.recipe, path.parent, data=arguments.data, options=given)
        while going():
            if not trials or trials[-1].outcome is not None:
                # Kept before it begins, so that an interrupted training goes on.
                trials.append(Trial(number=len(trials), values=study.propose()))
                _write_trials(path, trials)
            trial = trials[-1]
            progress.update(f"trial {trial.number + 1} of {arguments.trials}")
            outcome = run_trial(
                changed(recipe, {**trial.values, "name": f"{recipe['name'][:80]}-trial{trial.number}"}),
                path.parent / f"trial-{trial.number}", board=arguments.board, weights=arguments.weights,
                data=arguments.data, options=given)
            trials[-1] = dataclasses.replace(trial, outcome=outcome)
            _write_trials(path, trials)
            study.finish(trials[-1])


def _front(trials: Sequence[Trial]) -> list[Trial]:
    """Trials than which no other has fewer clocks and is as accurate, or is more accurate with as many."""
    done = [(trial, trial.outcome) for trial in trials
            if trial.outcome is not None and trial.outcome.reason is None]
    return [trial for trial, _ in least(
        done, lambda entry: (entry[1].clocks or 0, -(entry[1].validation_accuracy or 0.0)))]


def _format(trials: Sequence[Trial]) -> str:
    """Lay out the best trials, and why others had no training."""
    failed = [trial for trial in trials if trial.outcome is not None and trial.outcome.reason is not None]
    front  = _front(trials)
    counts = f"{counted(len(trials), 'trial')}, {len(failed)} without a result"
    lines  = [f"{counts}, on the front of validation accuracy and clocks {len(front)}:"]
    for trial in front:
        assert trial.outcome is not None
        values = ", ".join(f"{place} {value:.4g}" if isinstance(value, float) else f"{place} {value}"
                           for place, value in trial.values.items())
        lines.append(f"trial {trial.number}: validation accuracy {trial.outcome.validation_accuracy:.2%}, "
                     f"{trial.outcome.clocks:,} clocks: {printable(values)}")
    lines += [f"trial {trial.number} has no result: {printable(trial.outcome.reason or '')}" for trial in failed
              if trial.outcome is not None]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run(create_parser(), search, argv, interrupted="interrupted: the same command goes on, its training too")
