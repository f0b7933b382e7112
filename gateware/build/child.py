"""Runs a command of this project as a process of its own, which ends with this one."""

import subprocess
import sys
from collections.abc import Sequence

from support import parent_death

__all__ = ["error_of", "run_module"]


def run_module(module: str, arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run the module of a command with ``arguments`` to its end; what it prints is kept as text."""
    return subprocess.run(parent_death.command(sys.executable, ["-m", module, *arguments]), capture_output=True,
                          text=True, check=False, stdin=subprocess.DEVNULL)


def error_of(done: "subprocess.CompletedProcess[str]") -> str:
    """Say why a command failed: its error line without the word, else its last line, else its exit code."""
    lines  = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    return [f"exit code {done.returncode}", *lines, *errors][-1].removeprefix("ERROR: ")
