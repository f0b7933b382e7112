"""The file of results: JSON, one line for each mutant that was tried and for each test file that was timed.

The file is whole at every moment. Of two lines about the same mutant, or the same test of the same tree, the later one
counts; so two files can be joined by ``cat``.
"""

import dataclasses
import enum
import json
import os
import pathlib
import threading
from typing import Any

from benchmarks.mutation.mutants import key_of
from support.errors import InputError
from support.files import read_file, write_atomically

__all__ = ["Outcome", "Result", "Results", "Timing", "default_file"]

#: Largest file of results, in bytes: a line has some hundred.
_MAX_BYTES = 1 << 28


class Outcome(enum.StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    #: The tests took too long: most often, a simulation waits for what never comes.
    TIMEOUT = "timeout"
    SURVIVED = "survived"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of a mutant, when it was tried last."""

    #: Name of the mutant, as it was then.
    mutant: str
    outcome: Outcome
    #: What failed first; for a timeout, the tests that were running.
    by: str
    #: Time of all its tests.
    seconds: float
    #: Revision of the tree.
    revision: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """A test file on the tree without a mutant."""

    test: str
    #: Digest of the tree.
    tree: str
    seconds: float
    #: Why it cannot judge a mutant: it fails by itself, or has no test that runs by default. Empty if it can.
    problem: str


def default_file() -> pathlib.Path:
    """Where results are kept if nothing else is said: in the user's folder of states, by the XDG specification.

    Raises :exc:`InputError` if the user has none.
    """
    try:
        return pathlib.Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "sterna/mutation.jsonl"
    except RuntimeError:
        raise InputError("results must be kept in a file, and you have no home: name one with -o") from None


def _result(fields: dict[str, Any]) -> Result:
    result = Result(**fields | {"outcome": Outcome(fields["outcome"])})
    if key_of(result.mutant) is None:
        raise ValueError
    return result


class Results:
    """What is known of mutants and tests, in memory and in a file.

    Parameters
    ----------
    path : :class:`pathlib.Path`
        The file; it is read if it is there.

    Raises
    ------
    :exc:`InputError`
        If it has a line that is none of a result.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._lock = threading.Lock()
        self._results: dict[str, Result] = {}
        self._timings: dict[tuple[str, str], Timing] = {}
        self._latest: dict[str, Timing] = {}
        content = read_file(path, limit=_MAX_BYTES) if path.exists() else b""
        for number, line in enumerate(content.splitlines(), 1):
            try:
                fields = json.loads(line)
                self._take(Timing(**fields) if "test" in fields else _result(fields))
            except (ValueError, TypeError, KeyError):
                raise InputError(f"{path}: line {number} must be a result of benchmarks.mutation: name another file "
                                 f"with -o, or delete the line") from None

    def _take(self, entry: Result | Timing) -> None:
        if isinstance(entry, Timing):
            self._timings[entry.tree, entry.test] = self._latest[entry.test] = entry
            return
        key = key_of(entry.mutant)
        assert key is not None
        self._results[key] = entry

    def add(self, entry: Result | Timing) -> None:
        """Keep a result, and write the file."""
        with self._lock:
            self._take(entry)
            entries: list[Result | Timing] = [*self._timings.values(), *self._results.values()]
            lines = [json.dumps(dataclasses.asdict(entry)) for entry in entries]
            write_atomically(self._path, "".join(f"{line}\n" for line in lines).encode())

    def of(self, key: str) -> Result | None:
        """Return the result of the mutant with this key, if it was tried."""
        return self._results.get(key)

    def timing(self, tree: str, test: str) -> Timing | None:
        """Return the timing of a test file on this tree, if it was timed."""
        return self._timings.get((tree, test))

    def latest(self, test: str) -> Timing | None:
        """Return the timing of a test file on whatever tree was timed last."""
        return self._latest.get(test)
