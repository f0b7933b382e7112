"""The two halves of the host link in plain Python: what they do with whole characters and whole frames."""

import dataclasses
from collections.abc import Iterable

from arch.link import MAX_COUNT, SYNC, Command, ErrorCode, Frame, LinkCounters, Reply, crc16
from gateware.link.frame import CONTROL_SLOT, TAG_SLOTS

__all__ = ["NO_FAULTS", "FrameReceiverTwin", "reply_frame", "result_frame"]

#: Nothing has gone wrong on the line.
NO_FAULTS = LinkCounters()
#: What the receiver does: its name and, where there is one, its value.
Event = tuple[str, *tuple[int, ...]]


class FrameReceiverTwin:
    """What :class:`gateware.link.receiver.FrameReceiver` does with each character of a line.

    Events, in their order: ``("tag", slot, tag)``, ``("begin",)``, ``("pixel", byte)``, ``("commit",)``,
    ``("abort",)``, ``("select", model)`` and ``("reply", code)``, code 0 for INFO.
    """

    def __init__(self, image_bytes: int, *, selectable: bool = False) -> None:
        self.image_bytes = image_bytes
        self.selectable = selectable
        #: 0, or the error code that says why no model is selected.
        self.status = 0
        #: Whether no model is being chosen.
        self.selected = True
        #: Images without a result.
        self.in_flight = 0
        #: Code of the reply that waits, or None.
        self.reply: int | None = None
        #: Faults of the line.
        self.counters = LinkCounters()
        self._head = 0
        self._body: bytearray | None = None
        self._spoilt = self._tagged = self._live = self._dropped = False
        self._code = 0

    @property
    def in_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._body is not None

    @property
    def offers_pixel(self) -> bool:
        """Whether the next character is a pixel of an image."""
        return self._body is not None and self._live and self._missing > 0

    @property
    def _missing(self) -> int:
        assert self._body is not None
        return 4 + int.from_bytes(self._body[2:4], "little") - len(self._body)

    def _count(self, fault: str) -> None:
        count = min(MAX_COUNT, getattr(self.counters, fault) + 1)
        self.counters = dataclasses.replace(self.counters, **{fault: count})

    def character(self, byte: int, *, stop_bit: bool = True, accept: bool = True, taken: bool = True) -> list[Event]:
        """Take a character. ``accept`` is looked at when it ends a header, ``taken`` when it is a pixel."""
        if self._body is None:
            if byte == SYNC:
                self._body, self._spoilt, self._live = bytearray(), False, False
            return []
        pixel = self.offers_pixel
        self._body.append(byte)
        self._spoilt |= not stop_bit
        if len(self._body) == 2:
            return self._tag(byte)
        if len(self._body) == 4:
            return self._header(accept)
        if pixel and taken:
            return [("pixel", byte)]
        if pixel:
            self._live = False
            self._code = ErrorCode.OVERRUN
            self._count("overruns")
            return [("abort",)]
        if len(self._body) > 4 and self._missing == -2:
            return self._end()
        return []

    def silence(self) -> list[Event]:
        """Let the line be silent for too long."""
        aborted = self.in_frame and self._live
        if self.in_frame:
            self._count("aborted_frames")
        self._body, self._live = None, False
        return [("abort",)] if aborted else []

    def take_reply(self) -> None:
        """Take the reply that waits."""
        self.reply = None

    def take_result(self) -> None:
        """Send the result of an image."""
        self.in_flight -= 1

    def settle(self, status: int) -> list[Event]:
        """Settle the choice of a model."""
        self.selected, self.status, self.reply = True, status, status
        return [("reply", status)]

    def _tag(self, tag: int) -> list[Event]:
        self._dropped = not self.selected
        if self._dropped:
            self._tagged = False
            return []
        self._tagged = self.reply is None
        events: list[Event] = [("tag", self._head, tag)]
        return [*events, ("tag", CONTROL_SLOT, tag)] if self._tagged else events

    def _header(self, accept: bool) -> list[Event]:
        assert self._body is not None
        lengths = {Command.INFO: 0, Command.CLASSIFY: self.image_bytes}
        if self.selectable:
            lengths[Command.SELECT] = 1
        command = self._body[0]
        if self._dropped:
            return []
        if command not in lengths:
            self._code = ErrorCode.UNKNOWN_COMMAND
        elif command == Command.CLASSIFY and self.status:
            self._code = 0
        elif self._missing != lengths[Command(command)]:
            self._code = ErrorCode.WRONG_LENGTH
        elif (command == Command.CLASSIFY and not accept) or (command == Command.SELECT and self.in_flight):
            self._code = ErrorCode.BUSY
        else:
            self._code = 0
            self._live = command == Command.CLASSIFY
        return [("begin",)] if self._live else []

    def _end(self) -> list[Event]:
        assert self._body is not None
        intact = crc16(bytes(self._body)) == 0 and not self._spoilt
        if not intact:
            self._count("bad_frames")
        command, model = self._body[0], self._body[-3]
        self._body = None
        if self._live and intact:
            self._live = False
            self._head = (self._head + 1) % TAG_SLOTS
            self.in_flight += 1
            return [("commit",)]
        events: list[Event] = [("abort",)] if self._live else []
        self._live = False
        if not self._tagged:
            return events
        if self.selectable and command == Command.SELECT and intact and not self._code:
            self.selected = False
            return [("select", model)]
        self.reply = (self._code or self.status) if intact else ErrorCode.BAD_CRC
        return [*events, ("reply", self.reply)]


def result_frame(words: Iterable[int], tag: int) -> Frame:
    """Make the frame of a result."""
    return Frame(command=Reply.RESULT, tag=tag, payload=b"".join(word.to_bytes(4, "little") for word in words))


def reply_frame(code: int, tag: int, info: bytes, counters: LinkCounters = NO_FAULTS) -> Frame:
    """Make the frame of another reply: ``code`` is an :class:`arch.link.ErrorCode`, or 0 for INFO."""
    if code == 0:
        return Frame(command=Reply.INFO, tag=tag, payload=info + bytes((*dataclasses.astuple(counters), 0)))
    return Frame(command=Reply.ERROR, tag=tag, payload=bytes((code,)))
