"""The frame of every command: one error line, the exit codes, and interruptions at any time.

A command is two modules. ``PACKAGE/command.py`` has ``create_parser()``, the function that does the work and raises,
and ``main(argv) -> int``, which hands both to :func:`run`. ``PACKAGE/__main__.py`` only calls
:func:`support.start.start` with the name of the other, so that even the seconds in which PyTorch is imported end in one
line when somebody presses Ctrl-C.

====  =====================================================================================================
code  meaning
====  =====================================================================================================
0     done
1     bad input (:exc:`support.errors.InputError`), a file that cannot be read or written, a closed pipe
2     usage: argparse names the wrong argument
3     a tool or a Python package is missing, or a tool fails (:exc:`support.errors.ToolchainError`)
130   interrupted: Ctrl-C, SIGTERM or SIGHUP
====  =====================================================================================================
"""

import argparse
import contextlib
import errno
import importlib
import io
import os
import pathlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence

from support.errors import InputError, ToolchainError, printable

__all__ = ["EXIT_INPUT", "EXIT_INTERRUPTED", "EXIT_OK", "EXIT_TOOLCHAIN", "EXIT_USAGE", "path_argument", "print_error",
           "print_line", "print_note", "run", "run_module"]

_ROOT = pathlib.Path(__file__).resolve().parent.parent

#: Names under which packages are installed, where those of their modules are others.
_DISTRIBUTIONS = {"PIL": "pillow", "serial": "pyserial"}

#: Name of the stream in errors.
_OUTPUT = "standard output"

EXIT_OK, EXIT_INPUT, EXIT_USAGE, EXIT_TOOLCHAIN, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def path_argument(text: str) -> pathlib.Path:
    """Return the path that an argument names, as a ``type`` of :mod:`argparse`.

    An empty argument, as of a variable of the shell that is not set, would be the current folder, and is refused.
    """
    if not text:
        raise argparse.ArgumentTypeError("must be the name of a file or folder, not ''")
    return pathlib.Path(text)


def _shown(text: str) -> str:
    """Return ``text`` with control characters as their escapes: the name of a file cannot command the terminal."""
    return "".join(letter if letter == "\n" or letter.isprintable() else letter.encode("unicode_escape").decode()
                   for letter in text)


def print_line(text: str) -> None:
    """Print a result of the command at once, so that it stands in a log before what comes later.

    Control characters but line breaks, and what the encoding of standard output has no character for, are printed as
    their escapes. Raises :exc:`OSError`, with the name ``standard output``.
    """
    # Python has no stream for a descriptor that was closed when it started.
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), _OUTPUT)
    encoding = sys.stdout.encoding or "utf-8"
    line = _shown(text).encode(encoding, "backslashreplace").decode(encoding)
    with _named_output():
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def _named_output() -> Iterator[None]:
    """Let an error of standard output say so; a pipe that nobody reads any more has a line of its own."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, _OUTPUT) from None


def print_error(text: str) -> None:
    """Print the line that says why the command failed; where standard error is closed too, nobody can be told."""
    _tell(f"ERROR: {printable(text)}\n")


def print_note(text: str) -> None:
    """Print a line about the work to standard error; where nobody can read it, the work goes on all the same."""
    _tell(f"note: {printable(text)}\n")


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; what argparse quotes of it cannot command the terminal.

    The help is printed as every result is: argparse itself does not notice that a disk is full.
    """
    said, asked = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(asked):
            return parser.parse_args(argv)
    finally:
        _tell(_shown(said.getvalue()))
        if asked.getvalue():
            print_line(asked.getvalue().removesuffix("\n"))


def _reason(error: OSError) -> str:
    """Say which file an operating system's error is about, by the name that the user gave."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{os.fsdecode(error.filename)}: {reason}"


def run(parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], int | None],
        argv: Sequence[str] | None = None, *, interrupted: str = "interrupted") -> int:
    """Parse the command line, do the work, and return the exit code.

    Parameters
    ----------
    parser : :class:`argparse.ArgumentParser`
    work : callable
        Does what the arguments say, prints its result with :func:`print_line`, and returns an exit code or None for 0.
    argv : sequence of :class:`str`, optional
        Arguments, by default those of this process.
    interrupted : :class:`str`
        What Ctrl-C is answered with: say how to go on, where the command can. Work that knows better at some time
        raises its own :exc:`KeyboardInterrupt` with the text.
    """
    try:
        arguments = _parsed(parser, argv)
        status = work(arguments)
        # What the buffer still holds may be what no reader waits for, or what a disk has no room for.
        if sys.stdout is not None:
            with _named_output():
                sys.stdout.flush()
    except InputError as error:
        print_error(str(error))
        return EXIT_INPUT
    except ToolchainError as error:
        print_error(str(error))
        return EXIT_TOOLCHAIN
    except ModuleNotFoundError as error:
        print_error(_missing(error))
        return EXIT_TOOLCHAIN
    except KeyboardInterrupt as error:
        print_error(str(error) or interrupted)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        print_error("standard output was closed before everything was written")
        _forget_output()
        return EXIT_INPUT
    except OSError as error:
        print_error(_reason(error))
        _forget_output()
        return EXIT_INPUT
    return EXIT_OK if status is None else status


def _forget_output() -> None:
    """Let the interpreter's own flush at its end go nowhere: it would complain a second time."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _missing(error: ModuleNotFoundError) -> str:
    """Say which package is not installed and how to get it; raises ``error`` again if the module is one of ours."""
    package = (error.name or "").partition(".")[0]
    if not package or (_ROOT / package).exists():
        raise error
    # Here, because every start of a command would take a twentieth of a second longer.
    from importlib.metadata import PackageNotFoundError, requires
    with contextlib.suppress(PackageNotFoundError):
        for requirement in requires("sterna") or []:
            extra = re.fullmatch(rf"{re.escape(package)}\b.*\bextra == [\"'](\w+)[\"']", requirement)
            if extra is not None:
                return (f"{package} is not installed: it comes with Sterna's extra {extra[1]}, as in "
                        f"pip install '.[{extra[1]}]', and with make test")
    return f"{package} is not installed: pip install {_DISTRIBUTIONS.get(package, package)}"


def _fill_descriptors() -> None:
    """Open what was closed of the first three descriptors: the next file would get the number, and what is printed.

    Who closes standard error wants no messages; that there is no standard output is said when a result is printed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = pathlib.Path(os.devnull).open("w", encoding="utf-8")


def run_module(module: str) -> int:
    """Import ``module`` and return what its ``main()`` returns; a package that is not installed is one line as well."""
    _fill_descriptors()
    # Amaranth warns of every block that was made and not used, which is a mistake where circuits are written. Where a
    # command is interrupted or fails, it is what must be.
    warnings.filterwarnings("ignore", message=r"(?s).* created but never used\Z")
    try:
        main = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        print_error(_missing(error))
        return EXIT_TOOLCHAIN
    status: int = main()
    return status
