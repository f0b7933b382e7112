"""Let a library read what anybody may have made in a process of its own, which ends when it takes too long or crashes.

A library in C that hangs on a damaged file cannot be interrupted from Python, not even by Ctrl-C, and one that crashes
takes the program with it. Both cost only the process that :func:`guarded` starts.
"""

import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import sys

from support import parent_death
from support.errors import InputError, ToolchainError

__all__ = ["INPUT_ERROR", "TOOLCHAIN_ERROR", "UnfinishedError", "guarded"]

#: Exit statuses by which a process says that what it has written is the message of an error. Python itself has 1, 2
#: and 120, so that a mistake of ours is not taken for a message.
INPUT_ERROR, TOOLCHAIN_ERROR = 64, 65


class UnfinishedError(InputError):
    """The process took too long, or crashed."""


def guarded(module: str, content: bytes, *, seconds: int) -> bytes:
    """Run the program ``module`` with ``content`` as its input, and return its output.

    By exiting with :data:`INPUT_ERROR` or :data:`TOOLCHAIN_ERROR`, the module says that its output is a message.

    Parameters
    ----------
    module : :class:`str`
        A module that this process could import.
    content : :class:`bytes`
        Its standard input.
    seconds : :class:`int`
        What it may take of the processor.

    Raises
    ------
    :exc:`InputError`
        If the process says so.
    :exc:`UnfinishedError`
        If it takes longer, or crashes.
    :exc:`ToolchainError`
        If it says so.
    """
    command = parent_death.command(sys.executable, ["-P", "-m", module])
    # An empty entry is the folder of an interactive session.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or str(pathlib.Path.cwd()) for path in sys.path)}
    # In a session of its own, so that Ctrl-C comes to this process alone, which ends the other one.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          env=environment, start_new_session=True) as process:
        try:
            with contextlib.suppress(ProcessLookupError):
                # The first limit ends it by a signal of its own, by which it is told from what the kernel kills when
                # memory is short.
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (seconds, seconds + 1))
            output, _ = process.communicate(content)
        finally:
            process.kill()
            # After Ctrl-C, the end of the block does not wait.
            process.wait()
    if process.returncode == 0:
        return output
    if process.returncode == TOOLCHAIN_ERROR:
        raise ToolchainError(output.decode())
    if process.returncode == INPUT_ERROR:
        raise InputError(output.decode())
    if process.returncode == -signal.SIGXCPU:
        raise UnfinishedError(f"reading it takes more than {seconds} s")
    raise UnfinishedError(f"reading it ends with status {process.returncode}")
