"""The folder of a build: its lock, its finished steps, and its result, which is there as a whole or not at all.

::

    build/BOARD/NETWORK/        build/BOARD/overlay/ for the overlay
        sterna.bin, report.json     result of the last build that succeeded, or of the last network put in
        netlist.zip                 its netlist, for simulations
        report.html                 the report for people, if what makes it is installed
        base.zip                    its placed design, into which other networks can be put; not of the overlay
        work/STEP-KEY/              a step with its inputs, its logs and its result; few of older builds stay
        .sterna-build               marks the folder as ours, and is the lock
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping

from boards import Board
from boards.programming import BITSTREAM, REPORT
from support.errors import InputError
from support.files import check_output, check_output_folder, locked, read_file, write_all

__all__ = ["BASE", "BITSTREAM", "NETLIST", "OVERLAY", "PAGE", "REPORT", "BuildFolder", "check_folder", "default_folder",
           "overlay_folder"]

BASE, NETLIST, PAGE = "base.zip", "netlist.zip", "report.html"

#: The overlay among the networks of a board.
OVERLAY = "overlay"

#: Marks a folder as one of a build.
_MARK = ".sterna-build"


def default_folder(board: Board, name: str) -> pathlib.Path:
    """Folder of a build that was given none: networks of different names have different folders."""
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip(".")[:64]
    if safe != name or safe in ("", OVERLAY):
        # Other names may become the same, and the overlay has a folder of its own.
        safe = f"{safe or 'network'}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
    return pathlib.Path("build") / board.name / safe


def overlay_folder(board: Board) -> pathlib.Path:
    """Folder of a build of the overlay that was given none."""
    return pathlib.Path("build") / board.name / OVERLAY


def _is_earlier_build(path: pathlib.Path) -> bool:
    """Whether the folder has our mark, or a report of ours from before there was one."""
    if (path / _MARK).exists():
        return True
    try:
        report = json.loads(read_file(path / REPORT, limit=2**24))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(report, dict) and {"network_sha256", "board", "cycles_per_inference"} <= report.keys()


def check_folder(path: pathlib.Path) -> None:
    """Check that a build may work in a folder.

    Raises
    ------
    :exc:`InputError`
        If it cannot be made or written, or holds what no build of ours has put there.
    """
    check_output_folder(path)
    # A build that was ended while it made the folder has left nothing else.
    found = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    if found and not _is_earlier_build(path):
        raise InputError(f"{path}: output must be a new or empty folder or that of an earlier build, "
                         f"not one with {found[0]!r}: give another with -o")
    if found:
        for name in (BITSTREAM, REPORT, BASE, NETLIST, PAGE):
            check_output(path / name)
        check_output_folder(path / "work")


class BuildFolder:
    """A folder that one build at a time works in; made by :meth:`opened`."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        #: Where the steps work.
        self.work = path / "work"

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: pathlib.Path) -> Iterator["BuildFolder"]:
        """Make the folder if need be, and hold its lock while the context lasts.

        Raises
        ------
        :exc:`InputError`
            As of :func:`check_folder`, or if another build works in it.
        """
        check_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        with locked(path / _MARK, busy=f"{path}: another build works in this folder: wait for it, or give another "
                                       f"with -o"):
            folder = cls(path)
            folder.work.mkdir(exist_ok=True)
            yield folder

    def publish(self, contents: Mapping[str, bytes]) -> None:
        """Put the files of the result in their places, all or none; the page of an earlier result goes."""
        write_all({os.fspath(self.path / name): content for name, content in contents.items()})
        (self.path / PAGE).unlink(missing_ok=True)
