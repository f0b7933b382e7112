"""Results in a file of JSON lines, from which an interrupted exploration goes on."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import time
from types import TracebackType
from typing import Any, Self

from arch import json_object, strict_json
from gateware.build.explore.configuration import Configuration
from gateware.build.explore.result import Result
from sim.sources import sources_digest as source_files_digest
from support.errors import InputError
from support.files import read_file, write_atomically
from support.provenance import tool_versions

__all__ = ["Record", "Records", "sources_digest"]

#: What a result of a dry run depends on.
_SOURCES = ("arch", "boards", "gateware", "reference", "sim", "support")
#: Largest file that is read.
_MAX_BYTES = 1 << 28
#: Results of dry runs come by the hundred; the file is written anew at most once in so many seconds.
_WRITE_SECONDS = 1.0


@functools.cache
def sources_digest() -> str:
    """SHA-256 of the sources and of the packages that compute a result."""
    versions = tool_versions("amaranth", "numpy")
    content  = json.dumps({"sources": source_files_digest(*_SOURCES), "versions": versions}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A line of the file."""

    #: :meth:`Configuration.key`, or what names the accuracy of a network.
    key: str
    #: What was done: ``dry-run``, ``place`` or ``accuracy``.
    kind: str
    configuration: Configuration | None = None
    result: Result | None = None
    #: Of a network on the images that were given; None for other kinds.
    accuracy: float | None = None


class Records:
    """The file of results, to be used in a ``with`` block, at the end of which all are on the disk.

    Lines of other sources or other configurations stay in the file: results of one revision can be looked up with it
    again.

    Parameters
    ----------
    path
        The file, which is made if there is none.

    Raises
    ------
    :exc:`InputError`
        If the file is none of an exploration.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._path = pathlib.Path(path)
        self._records: dict[tuple[str, str], Record] = {}
        self._written = time.monotonic()
        self._changed = False
        try:
            content = read_file(self._path, limit=_MAX_BYTES)
        except FileNotFoundError:
            return
        for number, line in enumerate(content.splitlines(), 1):
            try:
                record = json_object.make(Record, strict_json.parse(line))
            except ValueError as error:
                raise InputError(f"{self._path}: line {number} must be a record of python -m gateware.build.explore: "
                                 f"{error}: give another file with -o") from None
            self._records[record.kind, record.key] = record

    def find(self, kind: str, key: str) -> Record | None:
        """Return the record of what was done before; None if it was not."""
        return self._records.get((kind, key))

    def add(self, record: Record, *, at_once: bool = False) -> None:
        """Add a record; ``at_once`` it is on the disk when this returns, else within a second of the next."""
        self._records[record.kind, record.key] = record
        self._changed = True
        if at_once or time.monotonic() - self._written >= _WRITE_SECONDS:
            self._write()

    def _write(self) -> None:
        lines = [json.dumps(_without_none(dataclasses.asdict(record))) + "\n" for record in self._records.values()]
        write_atomically(self._path, "".join(lines).encode())
        self._written, self._changed = time.monotonic(), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        if self._changed:
            self._write()


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not known of a record, but not what is not known of its parts."""
    return {key: value for key, value in values.items() if value is not None}
