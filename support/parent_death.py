"""Run a program that the kernel ends when the process that started it dies, in whatever way.

A process that is killed with SIGKILL cannot end what it has started: place and route would go on in a folder whose lock
is free. So :mod:`support.tools` starts a tool as ``python parent_death.py PID PROGRAM ARGUMENTS``, where PID is that of
the process which must live. This module then asks the kernel for the parent death signal (``man 2 prctl``) and becomes
the program; the request outlives that. Python could make the request between ``fork`` and ``exec`` without this module,
but not safely in a parent that has threads. Only the program itself is ended, not what it has started.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

__all__ = ["command"]

#: ``PR_SET_PDEATHSIG`` of ``linux/prctl.h``.
_SET_PARENT_DEATH_SIGNAL = 1

#: Exit status of a shell that cannot run a program.
_CANNOT_RUN = 126


def command(program: str, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs ``program`` until this process dies."""
    # Isolated: the folder that a tool works in is no place to import from.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), program, *arguments]


def _main(parent: str, *program: str) -> None:
    """Become ``program``, unless ``parent`` is dead already."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(_CANNOT_RUN)
    # Python ignores these, and a program inherits what is ignored.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.stderr.write(f"ERROR: {program[0]} cannot run: {error.strerror}\n")
        sys.exit(_CANNOT_RUN)


if __name__ == "__main__":
    _main(*sys.argv[1:])
