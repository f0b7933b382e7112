"""Says what a long step is doing: on a terminal a line that is rewritten, elsewhere a line now and then."""

import contextlib
import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

from support.errors import printable

__all__ = ["LINE_SECONDS", "Progress"]

#: Between two lines where there is no terminal, in seconds.
LINE_SECONDS = 30.0

#: Before the first line on a terminal, and between two, in seconds.
_FIRST_SECONDS, _NEXT_SECONDS = 1.0, 0.25


class Progress:
    """Shows what a step is doing, and for how long, while the ``with`` block lasts.

    Nothing is shown of a step that takes less than a second on a terminal, or less than ``first_seconds`` elsewhere.

    Parameters
    ----------
    step : :class:`str`
        What the step is called.
    stream : text file
        Where to show it, by default standard error: standard output is for results.
    line_seconds : :class:`float`
        Time between two lines where ``stream`` is no terminal.
    first_seconds : :class:`float`, optional
        Time before the first of them, by default ``line_seconds``.
    """

    def __init__(self, step: str, *, stream: TextIO | None = None, line_seconds: float = LINE_SECONDS,
                 first_seconds: float | None = None):
        self._step = step
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        if self._terminal:
            self._first, self._next = _FIRST_SECONDS, _NEXT_SECONDS
        else:
            self._first, self._next = line_seconds if first_seconds is None else first_seconds, line_seconds
        self._text = ""
        self._ended = threading.Event()
        # Lines are printed by a thread: the step may be in a call that takes minutes.
        self._thread = threading.Thread(target=self._show, daemon=True)

    def update(self, text: str) -> None:
        """Say what the step does now; shown with the next line."""
        self._text = text

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _write(self, text: str) -> None:
        # Where nobody can read, the step goes on all the same.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()

    def _show(self) -> None:
        shown = False
        wait = self._first
        while not self._ended.wait(wait):
            seconds = time.monotonic() - self._begun
            line = printable(f"{self._step}{': ' * bool(self._text)}{self._text} ({seconds:.0f} s)")
            # ESC [ K clears what is left of a longer line.
            self._write(f"\r{line[:100]}\x1b[K" if self._terminal else f"{line}\n")
            shown, wait = True, self._next
        if shown and self._terminal:
            self._write("\r\x1b[K")
