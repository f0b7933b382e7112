"""Tries mutants in parallel, with the nearest tests first, each timed before on the tree as it is."""

import collections
import concurrent.futures
import contextlib
import os
import pathlib
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from benchmarks.mutation.mutants import Mutant
from benchmarks.mutation.results import Outcome, Result, Results, Timing
from benchmarks.mutation.tree import precompile
from benchmarks.mutation.trial import Workplace
from support.progress import Progress

__all__ = ["BASELINE_SECONDS", "TIME_FACTOR", "Session", "progress_text"]

#: A run of tests may take so many times as long as without a mutant, and so many seconds more as the user says.
TIME_FACTOR = 4.0

#: What a test file may take without a mutant.
BASELINE_SECONDS = 3600.0

#: Test files run together, in one process, as long as they take no longer in all: each process imports for seconds.
_BATCH_SECONDS = 20.0

#: Between two estimates of the time that is left.
_SHOWN_SECONDS = 5.0

def _batches(tests: Sequence[Timing]) -> Iterator[list[Timing]]:
    """Divide tests into runs, the quickest first."""
    batch: list[Timing] = []
    for timing in sorted(tests, key=lambda timing: (timing.seconds, timing.test)):
        if batch and sum(one.seconds for one in batch) + timing.seconds > _BATCH_SECONDS:
            yield batch
            batch = []
        batch.append(timing)
    if batch:
        yield batch


@contextlib.contextmanager
def _applied(mutant: Mutant, workplace: Workplace) -> Iterator[None]:
    """Let the workplace have the mutant in the place of its module."""
    file = workplace.tree / mutant.path
    content = file.read_bytes()
    file.write_bytes(mutant.applied(content))
    try:
        yield
    finally:
        file.write_bytes(content)


def progress_text(counts: collections.Counter[str], total: int, seconds: float) -> str:
    """Say how many mutants were tried, what became of them, and how long the others take if they are like these."""
    done = counts.total()
    words = [f"{done} of {total}", *(f"{counts[outcome]} {outcome}" for outcome in sorted(counts))]
    if done:
        left = seconds / done * (total - done)
        words.append(f"{left / 3600:.1f} h left" if left >= 5400 else f"{left / 60:.0f} min left")
    return ", ".join(words)


class Session:
    """Workplaces, and what is done in them.

    Parameters
    ----------
    original : :class:`pathlib.Path`
        The tree of which each workplace gets a copy.
    digest, revision : :class:`str`
        What the tree is called in results.
    results : :class:`Results`
        What is known, and where what comes out is kept.
    jobs : :class:`int`
        Mutants that are tried at the same time.
    slack_seconds : :class:`float`
        What tests may take longer than :data:`TIME_FACTOR` times as long as without a mutant.
    """

    def __init__(self, original: pathlib.Path, *, digest: str, revision: str, results: Results, jobs: int,
                 slack_seconds: float):
        self._original = original
        self._digest = digest
        self._revision = revision
        self._results = results
        self._jobs = jobs
        self._slack = slack_seconds
        self._stop = threading.Event()
        self._free: queue.SimpleQueue[Workplace] = queue.SimpleQueue()

    @contextlib.contextmanager
    def _workplaces(self) -> Iterator[None]:
        """Make the workplaces, and remove them at the end."""
        with tempfile.TemporaryDirectory(prefix="sterna-mutation-", ignore_cleanup_errors=True) as name:
            precompile(self._original)
            share = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // self._jobs
            for number in range(self._jobs):
                workplace = Workplace(pathlib.Path(name) / str(number), self._stop, memory_bytes=share)
                shutil.copytree(self._original, workplace.tree, symlinks=True)
                self._free.put(workplace)
            yield

    def _in_parallel(self, work: Callable[[Workplace, Mutant], str], mutants: Sequence[Mutant]) -> None:
        """Do the work for each mutant in a free workplace; what it returns is counted and shown."""
        def one(mutant: Mutant) -> str:
            workplace = self._free.get()
            try:
                return work(workplace, mutant)
            finally:
                self._free.put(workplace)

        counts: collections.Counter[str] = collections.Counter()
        begun = time.monotonic()
        with Progress("mutants") as progress, concurrent.futures.ThreadPoolExecutor(self._jobs) as pool:
            waiting = {pool.submit(one, mutant) for mutant in mutants}
            progress.update(progress_text(counts, len(mutants), 0))
            try:
                while waiting:
                    done, waiting = concurrent.futures.wait(waiting, _SHOWN_SECONDS, concurrent.futures.FIRST_COMPLETED)
                    counts.update(future.result() for future in done)
                    progress.update(progress_text(counts, len(mutants), time.monotonic() - begun))
            except BaseException:
                # The threads end their processes; what has not begun must not begin.
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _timed(self, workplace: Workplace, tests: Sequence[str]) -> list[Timing]:
        """Return the timings of test files without a mutant; those that nobody knows or measures are measured here."""
        def measure(test: str) -> Timing:
            if (known := self._results.timing(self._digest, test)) is not None:
                return known
            trial = workplace.run([test], BASELINE_SECONDS)
            problem = ("" if trial.ran else f"takes more than {BASELINE_SECONDS:g} s" if trial.status is None
                       else "has no test that runs by default" if trial.passed else f"fails: {trial.failure}")
            timing = Timing(test=test, tree=self._digest, seconds=round(trial.seconds, 2), problem=problem)
            self._results.add(timing)
            return timing

        # What another thread measures just now comes last.
        for test in tests:
            if self._locks[test].acquire(blocking=False):
                try:
                    measure(test)
                finally:
                    self._locks[test].release()
        timings = []
        for test in tests:
            with self._locks[test]:
                timings.append(measure(test))
        return timings

    def _tried(self, workplace: Workplace, mutant: Mutant, stages: Iterable[Sequence[str]]) -> Result:
        """Run the tests of a mutant until one fails."""
        seconds = 0.0
        for stage in stages:
            timings = [timing for timing in self._timed(workplace, stage) if not timing.problem]
            for batch in _batches(timings):
                tests = [timing.test for timing in batch]
                limit = TIME_FACTOR * sum(timing.seconds for timing in batch) + self._slack
                with _applied(mutant, workplace):
                    trial = workplace.run(tests, limit)
                seconds += trial.seconds
                if not trial.passed:
                    outcome = Outcome.TIMEOUT if trial.status is None else Outcome.KILLED
                    return Result(mutant=mutant.name, outcome=outcome, by=trial.failure or " ".join(tests),
                                  seconds=round(seconds, 2), revision=self._revision)
        return Result(mutant=mutant.name, outcome=Outcome.SURVIVED, by="", seconds=round(seconds, 2),
                      revision=self._revision)

    def try_mutants(self, mutants: Sequence[Mutant], stages: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """Try mutants, and keep what becomes of them.

        Parameters
        ----------
        mutants : sequence of :class:`Mutant`
        stages : mapping
            By module, the stages of its tests. Each test file is timed on the tree as it is before it judges; one that
            does not pass there judges nothing.
        """
        self._locks = {test: threading.Lock() for path in stages for stage in stages[path] for test in stage}

        def attempt(workplace: Workplace, mutant: Mutant) -> str:
            result = self._tried(workplace, mutant, stages[mutant.path])
            self._results.add(result)
            return str(result.outcome)

        with self._workplaces():
            self._in_parallel(attempt, mutants)
