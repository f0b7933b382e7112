"""A step of the flow, and the keeper of its results: what was done with the same inputs is not done again.

A step's key is the hash of all that its result depends on: contents of its input files, options, versions of its tools.
A step works in the folder ``NAME-KEY``; its result is written there last, so a folder without one was interrupted and
is begun anew. A result whose files have changed is not used either. What other builds have left is removed when there
is too much of it (:meth:`Keeper.prune`).
"""

import abc
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import re
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from support.files import write_atomically

__all__ = ["SPARE_STEPS", "Keeper", "Record", "Step", "digests"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_RESULT = "result.json"

#: Steps of other builds that stay: about those of three builds in which every default seed was placed.
SPARE_STEPS = 32

#: Folders of steps: name and key.
_FOLDER = re.compile(r"[a-z0-9-]+-[0-9a-f]{16}")


def digests(folder: pathlib.Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of files of a folder, by name."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """How a step came to its result in this build, for the report."""

    name: str
    #: Seconds that the step took, when it was done.
    seconds: float
    #: Whether the result is that of an earlier run.
    kept: bool


class Step(abc.ABC, Generic[Result]):
    """One step of a build."""

    #: Name of the kind of step, as ``--from`` takes it.
    kind: ClassVar[str]
    #: Name of this step; its folder begins with it.
    name: str

    @abc.abstractmethod
    def key(self) -> Mapping[str, Any]:
        """All that the result depends on, as JSON."""

    @abc.abstractmethod
    def run(self, folder: pathlib.Path) -> Result:
        """Do the step in an empty folder."""

    @abc.abstractmethod
    def outputs(self, result: Result) -> Collection[str]:
        """Names of the files of the folder that later steps read."""

    @abc.abstractmethod
    def load(self, content: dict[str, Any]) -> Result:
        """Make the result again of what :func:`dataclasses.asdict` made of it."""


@contextlib.contextmanager
def _named(folder: pathlib.Path) -> Iterator[None]:
    """Let an operating system's error name the step's folder if it names no file: a full disk is one such."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, os.fspath(folder)) from error
        raise


class Keeper:
    """Runs steps, and keeps their results in the folder ``work``.

    Parameters
    ----------
    work : :class:`pathlib.Path`
    repeat : collection of :class:`str`
        Kinds of steps that are done again whatever is kept.
    """

    def __init__(self, work: pathlib.Path, *, repeat: Collection[str] = ()):
        self._work = work
        self._repeat = repeat
        #: The steps so far.
        self.records: list[Record] = []
        #: Folders of the steps that were begun, failed ones included.
        self._used: set[pathlib.Path] = set()

    def folder(self, step: Step[Any]) -> pathlib.Path:
        """Folder of a step."""
        key = json.dumps({"step": step.kind, **step.key()}, sort_keys=True)
        return self._work / f"{step.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def _kept(self, step: Step[Result], folder: pathlib.Path) -> tuple[Result, float] | None:
        try:
            content = json.loads((folder / _RESULT).read_bytes())
            if content["files"] != digests(folder, content["files"]):
                raise ValueError("its files have changed")
            return step.load(content["result"]), content["seconds"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            logger.warning("%s: the result of an earlier run cannot be used: %s", folder, error)
            return None

    def run(self, step: Step[Result]) -> tuple[Result, Record]:
        """Return the result of a step and whether it was kept; raises what the step raises."""
        folder = self.folder(step)
        self._used.add(folder)
        kept = None if step.kind in self._repeat else self._kept(step, folder)
        if kept is not None:
            result, seconds = kept
            # The time of last use, for :meth:`prune`.
            os.utime(folder)
        else:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir()
            begun = time.monotonic()
            with _named(folder):
                result = step.run(folder)
            seconds = round(time.monotonic() - begun, 2)
            assert dataclasses.is_dataclass(result)
            assert not isinstance(result, type)
            content = {"result": dataclasses.asdict(result), "seconds": seconds,
                       "files": digests(folder, step.outputs(result))}
            write_atomically(folder / _RESULT, json.dumps(content, indent=2).encode())
        record = Record(name=step.name, seconds=seconds, kept=kept is not None)
        self.records.append(record)
        return result, record

    def prune(self) -> None:
        """Remove the steps that were not used for longest: those of this build stay, and :data:`SPARE_STEPS` others."""
        others = [entry for entry in self._work.iterdir() if entry not in self._used and not entry.is_symlink()
                  and entry.is_dir() and _FOLDER.fullmatch(entry.name)]
        others.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
        for entry in others[SPARE_STEPS:]:
            # What cannot be removed costs space, and is no reason for a build to fail.
            shutil.rmtree(entry, ignore_errors=True)
