"""Runs test files in a copy of the tree, with a time limit, and leaves nothing of them: neither processes nor files."""

import contextlib
import dataclasses
import os
import pathlib
import re
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence

from support import parent_death
from support.errors import printable

__all__ = ["Stopped", "Trial", "Workplace"]

#: What all processes of a trial have in their environment, by which those are found that have left its process group.
_MARK = "STERNA_MUTATION_TRIAL"

#: Between two looks at the process, and how long it may clean up when its time is over, in seconds.
_POLL_SECONDS, _END_SECONDS = 0.2, 3.0

#: Largest file that a trial may write, in bytes: a mutant may print without end.
_FILE_BYTES = 2 << 30

#: What every process of a trial may have in memory at least, in bytes: a circuit in Yosys takes one of these.
_LEAST_MEMORY_BYTES = 4 << 30

#: Statuses with which pytest says that no test failed: all passed, or none was there.
_PASSED, _NO_TESTS = 0, 5

#: Bytes of the end of what pytest prints, among which is the summary.
_TAIL_BYTES = 1 << 16


class Stopped(Exception):
    """The run is to end, and with it this trial."""


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """How a run of tests ended."""

    #: Exit status of pytest; None if its time was over.
    status: int | None
    seconds: float
    #: What failed first, as pytest says it; empty if nothing did.
    failure: str

    @property
    def passed(self) -> bool:
        """Whether no test failed."""
        return self.status in (_PASSED, _NO_TESTS)

    @property
    def ran(self) -> bool:
        """Whether tests were there, and all passed."""
        return self.status == _PASSED


def _failure(output: str, status: int | None) -> str:
    """First failure that the summary names, else the last line that says something."""
    match = re.search(r"^(?:FAILED|ERROR) (.+)$", output, re.MULTILINE)
    if match is not None:
        return printable(match[1])
    lines = [line for line in output.splitlines() if line.strip()]
    return printable(lines[-1]) if lines else f"status {status}"


def _marked(token: str) -> Iterable[int]:
    """Processes of this user that have ``token`` in their environment."""
    entry = f"{_MARK}={token}".encode()
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def _end(process: subprocess.Popen[bytes], token: str) -> None:
    """End a run of tests and everything that it has started, in whatever process group."""
    # First as Ctrl-C does: what a test has started and locked, it can end and unlock.
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_END_SECONDS)
    # A process may start another one while it is looked for.
    while left := list(_marked(token)):
        for other in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(other, signal.SIGKILL)
        time.sleep(0.01)


def _tool_caches() -> dict[str, str]:
    """Say where tools that others make keep what they have compiled of themselves: no mutant changes that."""
    caches = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    with contextlib.suppress(RuntimeError):
        return {"YOWASP_CACHE_DIR": str(caches.expanduser() / "YoWASP"),
                "MPLCONFIGDIR": str(caches.expanduser() / "matplotlib")} | {
            name: os.environ[name] for name in ("YOWASP_CACHE_DIR", "MPLCONFIGDIR") if name in os.environ}
    return {}


class Workplace:
    """A copy of the tree, and the folders that the tests in it write to.

    Parameters
    ----------
    folder : :class:`pathlib.Path`
        A folder that belongs to it; the copy is in ``tree``.
    stop : :class:`threading.Event`
        Ends a trial at once.
    memory_bytes : :class:`int`
        What a process of a trial may have in memory, at least 4 GiB: a mutant may ask for all that there is.
    """

    def __init__(self, folder: pathlib.Path, stop: threading.Event, *, memory_bytes: int = _LEAST_MEMORY_BYTES):
        self.tree = folder / "tree"
        self._temporary = folder / "tmp"
        self._cache = folder / "cache"
        self._stop = stop
        self._memory_bytes = max(memory_bytes, _LEAST_MEMORY_BYTES)

    def _environment(self, token: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("GIT_", "PYTEST_")) and name != "PYTHONHOME"}
        return kept | {
            _MARK: token,
            "OMP_NUM_THREADS": "1",
            # As wide as pytest cuts its summary.
            "COLUMNS": "200",
            # What others install for pytest takes longer to import than most tests take, and no test asks for it.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            # Python would take the compiled module of a mutant for that of the source, and the reverse.
            "PYTHONDONTWRITEBYTECODE": "1",
            # An installed package may lead to the checkout: programs that a test starts must find the copy first.
            "PYTHONPATH": str(self.tree),
            "TMPDIR": str(self._temporary),
            "XDG_CACHE_HOME": str(self._cache),
            **_tool_caches(),
        }

    def run(self, tests: Sequence[str], limit_seconds: float) -> Trial:
        """Run the test files ``tests``, in this order, up to the first failure.

        Compiled simulations are kept in a folder that is empty at first: none is one of an earlier mutant, or of the
        sources.

        Raises
        ------
        :exc:`Stopped`
            If the run is to end.
        """
        for folder in (self._temporary, self._cache):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(8)
        output = self._temporary.with_name("output")
        command = parent_death.command(sys.executable, [
            "-m", "pytest", "-x", "-q", "-rfE", "--color=no", "-p", "no:cacheprovider",
            f"--basetemp={self._temporary / 'pytest'}", *tests])
        begun = time.monotonic()
        with output.open("wb") as file:
            process = subprocess.Popen(command, cwd=self.tree, stdout=file, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL, env=self._environment(token), start_new_session=True)
        try:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
                resource.prlimit(process.pid, resource.RLIMIT_DATA, (self._memory_bytes, self._memory_bytes))
            status = None
            while status is None and time.monotonic() - begun < limit_seconds:
                if self._stop.is_set():
                    raise Stopped
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(timeout=_POLL_SECONDS)
        finally:
            _end(process, token)
        seconds = time.monotonic() - begun
        with output.open("rb") as file:
            file.seek(max(0, output.stat().st_size - _TAIL_BYTES))
            said = file.read().decode(errors="replace")
        for folder in (self._temporary, self._cache):
            shutil.rmtree(folder, ignore_errors=True)
        failure = "" if status in (_PASSED, _NO_TESTS) else _failure(said, status)
        return Trial(status=status, seconds=seconds, failure="" if status is None else failure)
