"""The folder of a Verilog file: its lock, and which of its files a run may replace or remove.

The report of a run has the SHA-256 of every file that it wrote. What is there under another name or with another
content is somebody's work, and is never touched.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping

from support.errors import InputError
from support.files import check_output, check_output_folder, locked, read_file, write_all

__all__ = ["REPORT", "VerilogFolder", "check_folder"]

#: The report, which marks a folder as one of ours and names its files.
REPORT = "report.json"

#: The lock, which also marks a folder whose first run was ended before it wrote a report.
_LOCK = ".sterna-verilog"

#: Longest file that is compared with what an earlier run wrote, in bytes.
_MAX_BYTES = 1 << 32


def _earlier_files(path: pathlib.Path) -> dict[str, str]:
    """SHA-256 of the files that an earlier run has written to a folder, by their names.

    Raises
    ------
    :exc:`InputError`
        If the folder cannot be made or written, or is not one of ours.
    """
    check_output_folder(path)
    found = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    if not found or (_LOCK in found and REPORT not in found):
        return {}
    try:
        report = json.loads(read_file(path / REPORT, limit=1 << 24))
        ours = {"module", "interface", "waivers"} <= report.keys()
        files = {str(name): str(digest) for name, digest in report["files"].items()} if ours else None
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        files = None
    if files is None:
        shown = next((name for name in found if name != _LOCK), _LOCK)
        raise InputError(f"{path}: output must be a new or empty folder or that of an earlier run, not one with "
                         f"{shown!r}: give another with -o")
    # Only names that a run gives: the report may be anybody's.
    return {name: digest for name, digest in files.items() if re.fullmatch(r"[a-z][a-z0-9_]*\.(v|md|h|mem)", name)}


def check_folder(path: pathlib.Path) -> None:
    """Check that a run may write to a folder.

    Raises
    ------
    :exc:`InputError`
        If it cannot be made or written, is not one of ours, or a file that an earlier run wrote there was changed.
    """
    for name, digest in _earlier_files(path).items():
        file = path / name
        # A link to nowhere is there, too.
        if os.path.lexists(file) and not (file.is_file() and _sha256(file) == digest):
            raise InputError(f"{file}: file must be as an earlier run wrote it, which this run would replace or "
                             f"remove: move it to another folder, or give another with -o")


def _sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(read_file(path, limit=_MAX_BYTES)).hexdigest()


class VerilogFolder:
    """A folder that one run at a time writes to; made by :meth:`opened`."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: pathlib.Path) -> Iterator["VerilogFolder"]:
        """Make the folder if need be, and hold its lock while the context lasts.

        Raises
        ------
        :exc:`InputError`
            As of :func:`check_folder`, or if another run writes to it.
        """
        check_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        with locked(path / _LOCK, busy=f"{path}: another run of gateware.verilog writes to this folder: wait for its "
                                       f"end, or give another with -o"):
            yield cls(path)

    def check(self, names: Collection[str], *, inputs: Collection[pathlib.Path] = ()) -> None:
        """Check that files can be written, and that nobody's work is lost.

        Parameters
        ----------
        names : collection of :class:`str`
            Names of the files.
        inputs : collection of :class:`pathlib.Path`
            Files that the run reads.

        Raises
        ------
        :exc:`InputError`
            As of :func:`check_folder` and of :func:`support.files.check_output`, or if a file of one of the names was
            written by no earlier run.
        """
        check_folder(self.path)
        earlier = _earlier_files(self.path)
        for name in names:
            check_output(self.path / name, inputs=inputs)
            if name != REPORT and name not in earlier and os.path.lexists(self.path / name):
                raise InputError(f"{self.path / name}: output must not be a file that no earlier run wrote: move it "
                                 f"to another folder, or give another --name, or another folder with -o")

    def publish(self, contents: Mapping[str, bytes], *, inputs: Collection[pathlib.Path] = ()) -> None:
        """Put the files of a run in their places, all or none, and remove those of the earlier run; raises as check."""
        self.check(contents.keys(), inputs=inputs)
        stale = _earlier_files(self.path).keys() - contents.keys()
        write_all({os.fspath(self.path / name): content for name, content in contents.items()})
        for name in stale:
            (self.path / name).unlink(missing_ok=True)
