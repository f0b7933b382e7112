"""How every command begins: with so few imports that Ctrl-C is one line from then on.

:mod:`support.command_line` takes longer to import than Python needs to start, and what a command imports takes up to
seconds. Before this module, Python itself is at work, and answers Ctrl-C in its own way.
"""

import sys
from typing import NoReturn

__all__ = ["start"]


def start(module: str) -> NoReturn:
    """Import ``module``, call its ``main()`` and exit with what that returns, as :func:`support.command_line.run`.

    SIGTERM and SIGHUP are answered as Ctrl-C is.
    """
    try:
        # Here for the reason above.
        import signal

        from support.command_line import run_module

        # Who ends a command in another way, or closes its terminal, leaves no tools at work and no half-written files.
        # A signal that is ignored, as after nohup, stays so.
        others = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
        for number in others:
            signal.signal(number, signal.default_int_handler)
        status = run_module(module)
        # All is said and written: the interpreter's own end has nothing that could be interrupted.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in others:
            signal.signal(number, signal.SIG_DFL)
    except KeyboardInterrupt:
        # As EXIT_INTERRUPTED of support.command_line, which may be what was interrupted.
        status = 130
        if sys.stderr is not None:
            sys.stderr.write("ERROR: interrupted\n")
    # What dataclasses and named tuples make is source text, and where Ctrl-C met it, Python notes that for its own end,
    # which is then by the signal and not with this status. The next source text that it runs clears the note.
    exec("")
    sys.exit(status)
