"""A device behind a line of a given rate: a pseudo-terminal whose bytes take their time.

The device answers as an accelerator does, with results that follow from the pixels, and its bytes arrive at the time at
which the line would have brought them: ten bits a byte in both directions, an inference between, one after the other.
"""

import collections
import dataclasses
import os
import select
import time

from arch.link import BYTE_BITS, Command, Frame, FrameReader, Info, InfoReply, Reply, Result
from sim.board.server import PseudoTerminal

__all__ = ["Lateness", "answer_to", "model_line", "take_priority"]

#: Sleeping is that much less exact than what is modelled, in seconds: the rest is waited for.
_SLEEP_SECONDS = 0.0005


def answer_to(image: bytes, info: Info, cycles: int) -> Result:
    """Return the result of an image: scores that depend on all of its bytes."""
    total = sum(image)
    return Result(label=total % info.classes, cycles=cycles, stalls=0, flash_stalls=0,
                  scores=tuple(total + number for number in range(info.classes)))


@dataclasses.dataclass(kw_only=True, slots=True)
class Lateness:
    """How late the model itself was, beside what it models: a busy computer makes it so."""

    #: Replies that were delivered, and the seconds between their times on the line and their delivery, together.
    replies: int = 0
    seconds: float = 0.0


def take_priority() -> bool:
    """Run before all other processes, as a line does, where the system allows it; return whether it does.

    A single processor must also run the host, which the model would keep waiting.
    """
    if (os.cpu_count() or 1) < 2:
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except (AttributeError, OSError):
        return False
    return True


def model_line(terminal: PseudoTerminal, info: Info, *, baud: int, cycles: int, until: int) -> Lateness:
    """Answer a host until there is an end of file at the descriptor ``until``.

    Every time follows from those before, not from the clock of the computer: a byte arrives at the time at which the
    line would have brought it, however late it is looked at, and a reply that is delivered late delays no other.

    Parameters
    ----------
    terminal : :class:`sim.board.server.PseudoTerminal`
    info : :class:`arch.link.Info`
        What the device says that it is.
    baud : :class:`int`
        Rate of the line.
    cycles : :class:`int`
        Clocks of an inference.
    until : :class:`int`
    """
    second_per_byte = BYTE_BITS / baud
    reader, replies, late = FrameReader(), collections.deque[tuple[float, bytes]](), Lateness()
    received_at = engine_at = sent_at = 0.0
    while True:
        wait = replies[0][0] - time.perf_counter() - _SLEEP_SECONDS if replies else None
        ready, _, _ = select.select([terminal.fileno(), until], [], [], None if wait is None else max(0.0, wait))
        if until in ready:
            return late
        now = time.perf_counter()
        if replies and replies[0][0] <= now:
            due, reply = replies.popleft()
            os.write(terminal.fileno(), reply)
            late.replies += 1
            late.seconds += time.perf_counter() - due
        if terminal.fileno() not in ready:
            continue
        data = terminal.read()
        # The line was idle, or it is still busy with what came before.
        received_at = max(received_at, now) + len(data) * second_per_byte
        for frame in reader.feed(data):
            if frame.command == Command.CLASSIFY:
                engine_at = max(engine_at, received_at) + cycles / (1000 * info.clock_khz)
                payload, command, ready_at = answer_to(frame.payload, info, cycles).to_bytes(), Reply.RESULT, engine_at
            else:
                payload, command, ready_at = InfoReply(info=info).to_bytes(), Reply.INFO, received_at
            encoded = Frame(command=command, tag=frame.tag, payload=payload).to_bytes()
            sent_at = max(sent_at, ready_at) + len(encoded) * second_per_byte
            replies.append((sent_at, encoded))
