"""A device behind a line of a given rate: a pseudo-terminal whose bytes take their time.

The device answers as an accelerator does, with results that follow from the pixels, and its bytes arrive at the time at
which the line would have brought them: ten bits a byte in both directions, an inference between, one after the other.
It has room for two images, and an image that begins before the last but one is computed is refused.
"""

import collections
import dataclasses
import os
import select
import time

from arch.link import (
    BYTE_BITS,
    CRC_BYTES,
    HEADER_BYTES,
    Command,
    ErrorCode,
    Frame,
    FrameReader,
    Info,
    InfoReply,
    Reply,
    Result,
)
from sim.board.server import PseudoTerminal

__all__ = ["Device", "Lateness", "answer_to", "model_line", "take_priority"]

#: Bytes of a frame around its payload.
_FRAME_BYTES = HEADER_BYTES + CRC_BYTES


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


class Device:
    """The device, in the time of its line.

    Parameters
    ----------
    info : :class:`arch.link.Info`
        What it says that it is.
    baud : :class:`int`
        Rate of the line.
    cycles : :class:`int`
        Clocks of an inference.
    """

    def __init__(self, info: Info, *, baud: int, cycles: int) -> None:
        self._info, self._cycles = info, cycles
        self._byte_seconds = BYTE_BITS / baud
        self._reader = FrameReader()
        #: Bytes of a frame that is not complete.
        self._begun_bytes = 0
        #: When the last byte has come, and the last of the reply that was sent last is gone.
        self._received_at = self._sent_at = 0.0
        #: When the last two images were computed, or will be.
        self._computed_at = collections.deque((0.0, 0.0), maxlen=2)

    def receive(self, data: bytes, now: float) -> list[tuple[float, bytes]]:
        """Take bytes that were sent at ``now``; return what is answered, and when the last byte of each has come.

        Bytes that belong to no frame are none: this line has no faults.
        """
        # The line was idle, or it is still busy with what came before.
        begun_at = max(self._received_at, now) - self._begun_bytes * self._byte_seconds
        self._received_at = max(self._received_at, now) + len(data) * self._byte_seconds
        self._begun_bytes += len(data)
        answers = []
        for frame in self._reader.feed(data):
            size = _FRAME_BYTES + len(frame.payload)
            ready_at, reply = self._answer(frame, begun_at, begun_at + size * self._byte_seconds)
            self._sent_at = max(self._sent_at, ready_at) + len(reply) * self._byte_seconds
            answers.append((self._sent_at, reply))
            begun_at += size * self._byte_seconds
            self._begun_bytes -= size
        return answers

    def _answer(self, frame: Frame, begun_at: float, ready_at: float) -> tuple[float, bytes]:
        """Return the reply to a frame that was on the line between two times, and when it begins on a free line."""
        tag = frame.tag
        if frame.command != Command.CLASSIFY:
            info = InfoReply(info=self._info).to_bytes()
            return ready_at, Frame(command=Reply.INFO, tag=tag, payload=info).to_bytes()
        if self._computed_at[0] > begun_at:
            return ready_at, Frame(command=Reply.ERROR, tag=tag, payload=bytes((ErrorCode.BUSY,))).to_bytes()
        ready_at = max(ready_at, self._computed_at[1]) + self._cycles / (1000 * self._info.clock_khz)
        self._computed_at.append(ready_at)
        result = answer_to(frame.payload, self._info, self._cycles)
        return ready_at, Frame(command=Reply.RESULT, tag=tag, payload=result.to_bytes()).to_bytes()


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
    device, replies, late = Device(info, baud=baud, cycles=cycles), collections.deque[tuple[float, bytes]](), Lateness()
    while True:
        wait = replies[0][0] - time.perf_counter() if replies else None
        ready, _, _ = select.select([terminal.fileno(), until], [], [], None if wait is None else max(0.0, wait))
        if until in ready:
            return late
        now = time.perf_counter()
        if replies and replies[0][0] <= now:
            due, reply = replies.popleft()
            os.write(terminal.fileno(), reply)
            late.replies += 1
            late.seconds += time.perf_counter() - due
        if terminal.fileno() in ready:
            replies.extend(device.receive(terminal.read(), now))
