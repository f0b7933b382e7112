"""``python -m benchmarks.mutation``: try a sample of mutants with their nearest tests, and write the score's page."""

import argparse
import contextlib
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence

from benchmarks.mutation.equivalents import FILE, read_equivalents
from benchmarks.mutation.mutants import Mutant, is_mutant, mutants_of
from benchmarks.mutation.nearest import NearestTests
from benchmarks.mutation.page import page, summary
from benchmarks.mutation.results import Outcome, Result, Results, Timing, default_file
from benchmarks.mutation.sample import FOLDERS, draw, modules_in
from benchmarks.mutation.session import TIME_FACTOR, Session
from benchmarks.mutation.tree import copy_files, digest_of, tracked_files
from support.command_line import path_argument, print_line, print_note, run
from support.errors import InputError
from support.files import check_output, locked, write_atomically
from support.provenance import command_line, revision

__all__ = ["create_parser", "main"]

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutation",
        description="Put small faults into the sources, one at a time, and see whether the tests find them.")
    parser.add_argument("folders", metavar="FOLDER", nargs="*",
                        help="take the modules in FOLDER, or the module of that name (default: the hardware, "
                             f"{', '.join(FOLDERS)})")
    parser.add_argument("--sample", metavar="N", type=int, default=400,
                        help="draw N mutants, each module its share (default: %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="draw with seed N (default: %(default)s)")
    parser.add_argument("-o", "--output", metavar="FILE", type=path_argument,
                        help="keep results in FILE, and go on from what it has (default: sterna/mutation.jsonl in "
                             "$XDG_STATE_HOME or ~/.local/state)")
    parser.add_argument("--again", action="store_true", help="try once more what survived before, but for equivalents")
    parser.add_argument("--page", metavar="FILE", type=path_argument,
                        help="write the page of the sample to FILE, which is overwritten (default: none)")
    parser.add_argument("--jobs", metavar="N", type=int, help="try N mutants at a time (default: one per core)")
    parser.add_argument("--slack", metavar="SECONDS", type=float, default=30.0,
                        help=f"let tests take SECONDS longer than {TIME_FACTOR:g} times their time without a mutant "
                             "(default: %(default)s)")
    parser.add_argument("--tree", metavar="DIR", type=path_argument, default=_ROOT,
                        help="take the files that git knows in the checkout DIR (default: the one of this program)")
    parser.add_argument("--equivalents", metavar="FILE", type=path_argument, default=FILE,
                        help="take the arguments why mutants are equivalent from FILE (default: "
                             "benchmarks/mutation/equivalents.toml)")
    parser.add_argument("--dry-run", action="store_true", help="list the sample and its tests, and try nothing")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    for name, low, high in (("sample", 1, 10**6), ("seed", 0, 2**63), ("jobs", 1, 1024), ("slack", 0, 86_400)):
        value = getattr(arguments, name)
        # The comparison is also false for what is no number.
        if value is not None and not low <= value <= high:
            raise InputError(f"--{name} must be {low} to {high}, not {value:.12g}")


class _Population:
    """All mutants of a tree, the sample of them, and its tests."""

    def __init__(self, folder: pathlib.Path, files: Sequence[str], arguments: argparse.Namespace):
        self._folder = folder
        self._files = set(files)
        self.mutants: dict[str, list[Mutant]] = {}
        for path in modules_in(arguments.folders or FOLDERS, files):
            self.mutants[path] = self._of(path)
        if not any(self.mutants.values()):
            raise InputError("FOLDER must have modules that can be mutated, and nothing in these can: give another one")
        self.sample = draw(self.mutants, arguments.sample, arguments.seed, self._is_one)
        nearest = NearestTests(folder, files)
        self.stages = {path: nearest.stages(path) for path in sorted({mutant.path for mutant in self.sample})}

    def _of(self, path: str) -> list[Mutant]:
        return mutants_of(path, (self._folder / path).read_bytes())

    def keys_in(self, path: str) -> set[str]:
        """Keys of all mutants of a module; of what is none, there are none."""
        if path not in self._files:
            return set()
        return {mutant.key for mutant in self.mutants.get(path) or self._of(path)}

    def _is_one(self, mutant: Mutant) -> bool:
        content = (self._folder / mutant.path).read_bytes()
        return is_mutant(content, mutant.applied(content))

    @property
    def size(self) -> int:
        """Number of mutants."""
        return sum(map(len, self.mutants.values()))


def _show(population: _Population) -> None:
    """Print the sample and its tests."""
    for path, stages in population.stages.items():
        drawn = [mutant for mutant in population.sample if mutant.path == path]
        tests = "; then ".join(", ".join(stage) for stage in stages) or "no test is near"
        print_line(f"{path}: {len(drawn)} of {len(population.mutants[path])} mutants; {tests}")
        for mutant in drawn:
            print_line(f"  {mutant.name}")


def _left_out(population: _Population, results: Results) -> list[Timing]:
    tests = sorted({test for stages in population.stages.values() for stage in stages for test in stage})
    return [timing for test in tests if (timing := results.latest(test)) is not None and timing.problem]


def _measure(arguments: argparse.Namespace) -> None:
    _check(arguments)
    output = default_file() if arguments.output is None else arguments.output
    if arguments.page is not None:
        check_output(arguments.page, inputs=[arguments.equivalents])
    files = tracked_files(arguments.tree)
    with contextlib.ExitStack() as stack:
        # What is done to the sources meanwhile changes nothing for this run.
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sterna-mutation-")))
        copy_files(arguments.tree, files, folder)
        population = _Population(folder, files, arguments)
        equivalents = read_equivalents(arguments.equivalents, population.keys_in)
        if arguments.dry_run:
            _show(population)
            return
        if arguments.output is None:
            output.parent.mkdir(parents=True, exist_ok=True)
        check_output(output)
        stack.enter_context(locked(f"{output}.lock", busy=f"{output}: file is being written by another run: wait for "
                                                          f"it, or name another file with -o"))
        results = Results(output)
        mutants = [mutant for mutant in population.sample if (known := results.of(mutant.key)) is None
                   or (arguments.again and known.outcome is Outcome.SURVIVED and mutant.key not in equivalents)]
        if mutants:
            digest = digest_of(folder, files)
            own = arguments.tree.resolve() == _ROOT
            session = Session(folder, digest=digest, revision=revision() if own else f"tree {digest}", results=results,
                              jobs=arguments.jobs or os.cpu_count() or 1, slack_seconds=arguments.slack)
            session.try_mutants(mutants, population.stages)
        _report(arguments, population, results, equivalents)


def _report(arguments: argparse.Namespace, population: _Population, results: Results,
            equivalents: Mapping[str, str]) -> None:
    """Print the score, and write the page."""
    left_out = _left_out(population, results)
    for timing in left_out:
        print_note(f"{timing.test} judges nothing: without a mutant, it {timing.problem}")
    found: dict[str, Result] = {mutant.key: result for mutant in population.sample
                                if (result := results.of(mutant.key)) is not None}
    print_line(summary(population.sample, found, equivalents))
    if arguments.page is None:
        return
    words = ["--sample", str(len(population.sample)), "--seed", str(arguments.seed), "--page", str(arguments.page)]
    text = page(population.sample, found, equivalents, population=population.size, seed=arguments.seed,
                command=command_line("benchmarks.mutation", [*arguments.folders, *words]),
                left_out=left_out)
    write_atomically(arguments.page, text.encode())
    print_line(f"{arguments.page}: {len(population.sample)} mutants")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, as :func:`support.command_line.run`."""
    return run(create_parser(), _measure, argv,
               interrupted="interrupted: the results so far are kept, and the same command goes on")
