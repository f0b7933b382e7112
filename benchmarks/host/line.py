"""A device behind a line of a given rate: a pseudo-terminal whose bytes take their time.

The device answers as an accelerator does, with results that follow from the pixels, and its bytes arrive at the time at
which the line would have brought them: ten bits a byte in both directions, an inference between, one after the other.
"""

import os
import select
import time

from arch.link import BYTE_BITS, Command, Frame, FrameReader, Info, InfoReply, Reply, Result
from sim.board.server import PseudoTerminal

__all__ = ["answer_to", "model_line"]

#: Sleeping is that much less exact than what is modelled, in seconds: the rest is waited for.
_SLEEP_SECONDS = 0.0005


def answer_to(image: bytes, info: Info, cycles: int) -> Result:
    """Return the result of an image: scores that depend on all of its bytes."""
    total = sum(image)
    return Result(label=total % info.classes, cycles=cycles, stalls=0, flash_stalls=0,
                  scores=tuple(total + number for number in range(info.classes)))


def model_line(terminal: PseudoTerminal, info: Info, *, baud: int, cycles: int, until: int) -> None:
    """Answer a host until there is an end of file at the descriptor ``until``.

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
    reader, replies = FrameReader(), list[tuple[float, bytes]]()
    received_at = engine_at = sent_at = 0.0
    while True:
        wait = replies[0][0] - time.perf_counter() - _SLEEP_SECONDS if replies else None
        ready, _, _ = select.select([terminal.fileno(), until], [], [], None if wait is None else max(0.0, wait))
        if until in ready:
            return
        now = time.perf_counter()
        if replies and replies[0][0] <= now:
            os.write(terminal.fileno(), replies.pop(0)[1])
        if not ready:
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
            reply = Frame(command=command, tag=frame.tag, payload=payload).to_bytes()
            sent_at = max(sent_at, ready_at) + len(reply) * second_per_byte
            replies.append((sent_at, reply))
