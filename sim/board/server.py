"""Join the UART of a simulated circuit to a pseudo-terminal, so that a host program opens it like a board.

The circuit is simulated as fast as the computer can, and only while there is something to compute: when every request
has its reply, and a frame that was broken off is forgotten, the simulation waits for the next byte. So a bit takes no
fixed time, and what a host measures is the speed of the simulation.
"""

import contextlib
import os
import select
import tty

from arch.link import TIMEOUT_BITS, FrameReader
from sim.verilated import Verilated

__all__ = ["PseudoTerminal", "serve"]

#: Clocks that are simulated at a time. A byte that comes meanwhile waits for them.
_STEP_CLOCKS = 4_000
#: Clocks without a byte after which the simulation waits, beside those after which a broken frame is forgotten: while a
#: request has no reply, more than an inference, of which the clocks are counted in 24 bits.
_QUIET_CLOCKS, _COMPUTING_CLOCKS = 100_000, 1 << 24


class PseudoTerminal:
    """A pseudo-terminal: the device's end is here, a host opens the other by its name. Use it as a context manager."""

    def __init__(self) -> None:
        self._device, self._host = os.openpty()
        # Nobody may wait for a host that does not read, and no byte may be taken for a character of a line.
        tty.setraw(self._host)
        os.set_blocking(self._device, False)
        #: What a host opens, ``/dev/pts/5``.
        self.name = os.ttyname(self._host)

    def __enter__(self) -> "PseudoTerminal":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._device, self._host):
            os.close(descriptor)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._device

    def read(self) -> bytes:
        """Return what the host has sent, which may be nothing."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._device, 1 << 16)
        return b""

    def write(self, data: bytes) -> None:
        """Send to the host. What a host does not read is lost when the buffer of the system is full, as on a line."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._device, data)


def serve(simulation: Verilated, terminal: PseudoTerminal, until: int) -> None:
    """Simulate until there is an end of file, or anything to read, at the descriptor ``until``."""
    forgetting = round(TIMEOUT_BITS * simulation.divisor)
    requests, replies = FrameReader(), FrameReader()
    quiet = limit = 0
    waiting = 0
    while True:
        ready, _, _ = select.select([terminal.fileno(), until], [], [], None if quiet >= limit else 0)
        if until in ready:
            return
        received = terminal.read() if ready else b""
        if received:
            simulation.send(received)
            waiting += len(requests.feed(received))
        sent = simulation.run(limit=_STEP_CLOCKS)
        if sent:
            terminal.write(sent)
            waiting = max(0, waiting - len(replies.feed(sent)))
        quiet = 0 if received or sent else quiet + _STEP_CLOCKS
        limit = forgetting + (_COMPUTING_CLOCKS if waiting else _QUIET_CLOCKS)
