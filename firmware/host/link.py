"""Requests to a device and their answers, over any line: the host's end of the protocol :mod:`arch.link`.

A session that begins shares the line with what a session before it has left there: a program that died has perhaps sent
an image whose result is still to come. Such a result must not be taken for one of this session, so

* a session begins with a tag of its own, drawn at random;
* before its first request it reads, and forgets, until the line has been empty for longer than the device needs to
  forget an unfinished frame;
* its first result tells how long the device computes. Where that is longer than the line was empty, a result of a dead
  session may have come later, and under the same tag: then the line must be empty for two such times, in which every
  result that is on its way would have come, and the first image is sent again. After a model was selected there is
  nothing to wait for: the device refuses a SELECT while an image has no result.

How many images are on their way follows from the first result too (:mod:`firmware.host.latency`): two, or more where
the device is never busy when the next one comes. After a fault of the line there are two again, and one more with every
result: what is sent behind a frame that was broken is lost with it.
"""

import collections
import dataclasses
import math
import numbers
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from arch.link import (
    CRC_BYTES,
    HEADER_BYTES,
    MAX_MODEL,
    MAX_PAYLOAD_BYTES,
    Command,
    ErrorCode,
    Frame,
    FrameReader,
    Info,
    InfoReply,
    LinkCounters,
    LinkError,
    Reply,
    Result,
)
from firmware.host.errors import BusyError, ClosedError, DeviceError, NoAnswerError, RefusedError
from firmware.host.latency import WINDOW, images_on_their_way
from firmware.host.transports import Transport

__all__ = ["Link"]

#: Bytes without an answer among them after which a line is taken for noise: two of the longest frames.
_NOISE_BYTES = 2 * (HEADER_BYTES + MAX_PAYLOAD_BYTES + CRC_BYTES)

#: Seconds that an answer may take beyond the timeout, however many bytes come: the longest frame takes less than one.
_NOISE_SECONDS = 10.0

#: How many tags there are.
_TAGS = 256

#: Most bytes of a piece that is read.
_READ_BYTES = 1 << 16


@dataclasses.dataclass(kw_only=True, slots=True)
class _Request:
    """A request until its reply."""

    command: Command
    reply: Reply
    payload: bytes
    tag: int = 0
    attempts: int = 0
    #: It was sent, and may have an answer yet.
    sent: bool = False
    #: How many had been sent, and had no answer yet, when it was sent.
    ahead: int = 0
    #: The device had no room for it.
    busy: bool = False
    #: The error that it was answered with last.
    code: int | None = None
    answer: bytes | None = None
    #: The frame with its first tag, if it was made before it is sent.
    frame: bytes | None = None


def _on_their_way(requests: Iterable[_Request]) -> int:
    """Return how many requests were sent and have no answer."""
    return sum(request.sent and request.answer is None for request in requests)


class _Source:
    """Requests, one behind the other; :meth:`prepare` makes the next one while there is nothing else to do.

    What goes wrong with a request is raised when it is taken.
    """

    def __init__(self, requests: Iterable[_Request], encode: Callable[[_Request], bytes]) -> None:
        self._requests, self._encode = iter(requests), encode
        self._next: _Request | None = None
        self._error: Exception | None = None
        self._ended = False

    def prepare(self) -> None:
        """Make the next request and its frame, unless that was done."""
        if self._next is None and self._error is None and not self._ended:
            try:
                self._next = next(self._requests, None)
                if self._next is not None:
                    self._next.frame = self._encode(self._next)
            except Exception as error:
                self._error = error
            self._ended = self._next is None

    def take(self) -> _Request | None:
        """Return the next request; None behind the last one."""
        self.prepare()
        if self._error is not None:
            raise self._error
        request, self._next = self._next, None
        return request


class Link:
    """Requests to a device, repeated when the line corrupts them.

    Parameters
    ----------
    transport : :class:`Transport`
        The line. The link closes it.
    timeout : :class:`float`
        Seconds without a byte until an answer is given up.
    silence : :class:`float`
        Seconds that the device needs to give up a broken frame: more than 65,536 bit times.
    retries : :class:`int`
        How often a request is repeated.
    tag : :class:`int`, optional
        Tag before the first one, 0 to 255, by default drawn at random.
    alone : :class:`bool`
        No other session can have left anything, as with a device that was switched on for this one.
    baud : :class:`int`, optional
        Rate of the line; without one, two images are on their way at most.
    latency_ms : :class:`float`
        How long the line may keep an answer for itself, in ms.
    """

    def __init__(self, transport: Transport, *, timeout: float = 1.0, silence: float = 0.1, retries: int = 3,
                 tag: int | None = None, alone: bool = False, baud: int | None = None,
                 latency_ms: float = 0.0) -> None:
        self._transport = transport
        self._timeout = timeout
        self._silence = silence
        self._retries = retries
        self._reader = FrameReader()
        self._tag = secrets.randbelow(_TAGS) if tag is None else tag
        self._info: Info | None = None
        self._closed = False
        #: A request has no answer yet.
        self._exchanging = False
        #: Whether the line has been empty once, and whether no result of an earlier session can come any more.
        self._begun = self._alone = alone
        #: Faults of the line that the device had seen when it was last asked what it is.
        self.counters = LinkCounters()
        self._baud, self._latency_ms = baud, latency_ms
        #: Images that may be on their way now, and the most that the device had no want of room for.
        self._window, self._most = WINDOW, _TAGS
        #: Requests that had to be repeated so far.
        self.repeated = 0
        #: The last frame that nothing had asked for; None if there was none.
        self.stray: Frame | None = None

    @property
    def bad_frames(self) -> int:
        """Frames with a wrong CRC so far."""
        return self._reader.bad_frames

    def close(self) -> None:
        """Close the transport; every use after it raises :exc:`firmware.host.errors.ClosedError`."""
        self._closed = True
        self._transport.close()

    def info(self) -> Info:
        """Return the info block; asks the device once.

        Raises
        ------
        :exc:`DeviceError`
            If the device does not answer.
        :exc:`arch.link.LinkError`
            If it speaks another version of the protocol.
        """
        self._check_open()
        return self.ask_info() if self._info is None else self._info

    def ask_info(self) -> Info:
        """Ask the device for its info block, and for :attr:`counters`, anew; raises as :meth:`info`."""
        self._begin()
        request = _Request(command=Command.INFO, reply=Reply.INFO, payload=b"")
        (answer,) = self._exchange([request], window=1)
        self._info = self._learn(answer)
        return self._info

    def select(self, model: int) -> Info:
        """Choose a model of the device's flash; return its info block.

        Parameters
        ----------
        model : :class:`int`
            Its number in the directory, 0 to :data:`arch.link.MAX_MODEL`.

        Raises
        ------
        :exc:`DeviceError`
            If the device does not answer, or cannot: the message says why. Then no model is selected.
        :exc:`arch.link.LinkError`
            If there is no such number, or the answer is malformed.
        """
        # True and 1.0 are equal to the number 1, and are none.
        if isinstance(model, bool) or not isinstance(model, numbers.Integral):
            raise LinkError(f"model must be an integer, not {model!r}")
        if not 0 <= model <= MAX_MODEL:
            raise LinkError(f"model must be 0 to {MAX_MODEL}, not {model}")
        self._check_alone()
        self._begin()
        self._info = None
        request = _Request(command=Command.SELECT, reply=Reply.INFO, payload=bytes((model,)))
        (answer,) = self._exchange([request], window=1)
        self._info = self._learn(answer)
        self._alone = True
        self._window, self._most = WINDOW, _TAGS
        return self._info

    def selectable(self) -> bool:
        """Whether the device reads models from a flash, of which one is selected; changes nothing in it.

        Raises
        ------
        :exc:`DeviceError`
            If the device does not answer.
        """
        self._begin()
        # A SELECT without its byte: a device that knows the command refuses the length, any other the command.
        try:
            list(self._exchange([_Request(command=Command.SELECT, reply=Reply.INFO, payload=b"")], window=1))
        except RefusedError as error:
            if error.code in (ErrorCode.WRONG_LENGTH, ErrorCode.UNKNOWN_COMMAND):
                return error.code == ErrorCode.WRONG_LENGTH
            raise
        raise DeviceError("device does not refuse a SELECT without a number")

    def request(self, command: int, payload: bytes = b"") -> Frame:
        """Send one frame, whatever it is, and return what the device answers under its tag, an ERROR too.

        Nothing is repeated and no answer is judged: for tests of devices.

        Raises
        ------
        :exc:`DeviceError`
            If there is no answer.
        """
        self._check_alone()
        self._begin()
        self._tag = (self._tag + 1) & 0xFF
        self._transport.write(Frame(command=command, tag=self._tag, payload=payload).to_bytes())
        # Set by the first byte, as in _receive.
        limit = math.inf
        while time.monotonic() < limit and (data := self._transport.read(_READ_BYTES, self._timeout)):
            limit = min(limit, time.monotonic() + self._timeout + _NOISE_SECONDS)
            for frame in self._reader.feed(data):
                if frame.tag == self._tag:
                    return frame
                self.stray = frame
        raise DeviceError(f"device does not answer the frame {command:#04x} under tag {self._tag}")

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError

    def _check_alone(self) -> None:
        # Two that read from one line would each take, and forget, what answers the other.
        if self._exchanging:
            raise DeviceError("accelerator must have given all results of the images before it is asked again: take "
                              "every result of results(), or close() its iterator")

    def _begin(self) -> None:
        """Forget what an earlier session has left on the line."""
        self._check_open()
        if not self._begun:
            self._empty(self._silence)
            self._begun = True

    def _learn(self, answer: bytes) -> Info:
        """Decode the reply INFO; keep its counters and return its info block."""
        reply = InfoReply.from_bytes(answer)
        self.counters = reply.counters
        return reply.info

    def classify(self, image: bytes) -> Result:
        """Classify one image, given as the payload of a CLASSIFY."""
        (result,) = self.classify_all([image])
        return result

    def classify_all(self, images: Iterable[bytes]) -> Iterator[Result]:
        """Classify images one after the other; the next one is sent while the device computes.

        Until the last result is taken, or the iterator is closed, the device can be asked nothing else.

        Raises
        ------
        :exc:`DeviceError`
            If the device does not answer, or refuses an image.
        :exc:`arch.link.LinkError`
            If an image has not the device's size, or an answer is malformed.
        """
        info = self.info()

        def requests() -> Iterator[_Request]:
            for image in images:
                if len(image) != info.image_bytes:
                    raise LinkError(
                        f"image must have {info.image_bytes} bytes ({info.image_height} x {info.image_width} x "
                        f"{info.channels}), not {len(image)}"
                    )
                yield _Request(command=Command.CLASSIFY, reply=Reply.RESULT, payload=image)

        source = requests()
        if not self._alone and (first := next(source, None)) is not None:
            yield self._first(first, info)
        for answer in self._exchange(source):
            yield self._timed(Result.from_bytes(answer, info.classes), info)

    def _timed(self, result: Result, info: Info) -> Result:
        """Learn from a result how many images may be on their way; return it."""
        wanted = WINDOW if self._baud is None else images_on_their_way(
            info.image_bytes, info.classes, baud=self._baud, latency_ms=self._latency_ms,
            inference_seconds=result.cycles / (1000 * info.clock_khz))
        self._window = min(self._window + 1, wanted, self._most)
        return result

    def _first(self, request: _Request, info: Info) -> Result:
        """Return the result of a session's first image, once no other session's can be taken for it."""
        (answer,) = self._exchange([request], window=1)
        result = Result.from_bytes(answer, info.classes)
        computing = result.cycles / (1000 * info.clock_khz)
        if 2 * computing > self._silence:
            self._empty(2 * computing)
            (answer,) = self._exchange([dataclasses.replace(request, answer=None, attempts=0)], window=1)
            result = Result.from_bytes(answer, info.classes)
        self._alone = True
        return self._timed(result, info)

    def _exchange(self, requests: Iterable[_Request], window: int = _TAGS) -> Iterator[bytes]:
        """Send requests, and yield their answers in the same order."""
        self._check_alone()
        self._exchanging = True
        try:
            yield from self._answers(requests, window)
        finally:
            self._exchanging = False

    def _answers(self, requests: Iterable[_Request], window: int) -> Iterator[bytes]:
        waiting: collections.deque[_Request] = collections.deque()
        source = _Source(requests, self._encode)
        failure = self._fill(waiting, source, window)
        while waiting and failure is None:
            # The line is busy meanwhile: what is sent next is ready when there is room for it.
            if len(waiting) == min(window, self._window):
                source.prepare()
            self._receive(waiting)
            answers = []
            while waiting and (answer := waiting[0].answer) is not None:
                answers.append(answer)
                waiting.popleft()
            # First the line has something to do, then whoever takes the answers.
            failure = self._fill(waiting, source, window)
            yield from answers
        if failure is not None:
            raise failure

    def _fill(self, waiting: collections.deque[_Request], source: _Source, window: int) -> Exception | None:
        """Send what there is room for; return what went wrong, after which answers that have come are still given."""
        try:
            for left in waiting:
                if (left.answer is None and not left.sent and (not left.busy or left is waiting[0])
                        and _on_their_way(waiting) < self._window):
                    self._send(left, waiting)
            while len(waiting) < min(window, self._window) and (request := source.take()) is not None:
                self._send(request, waiting)
                waiting.append(request)
        except Exception as error:
            return error
        return None

    def _encode(self, request: _Request) -> bytes:
        """Give a request its next tag; return its frame."""
        self._tag = (self._tag + 1) & 0xFF
        request.tag = self._tag
        return Frame(command=request.command, tag=request.tag, payload=request.payload).to_bytes()

    def _send(self, request: _Request, waiting: Iterable[_Request]) -> None:
        if request.attempts > self._retries and request.busy:
            raise BusyError(request.command, request.attempts)
        if request.attempts > self._retries:
            raise NoAnswerError(request.command, request.attempts, request.code)
        self.repeated += request.attempts > 0
        request.attempts += 1
        request.ahead = _on_their_way(other for other in waiting if other is not request)
        request.sent, request.busy = True, False
        frame, request.frame = request.frame, None
        self._transport.write(self._encode(request) if frame is None else frame)

    def _receive(self, waiting: Sequence[_Request]) -> None:
        """Take frames until one answers a request; repeat what was lost."""
        bad_frames = self._reader.bad_frames
        received, limit = 0, math.inf
        while True:
            data = self._transport.read(_READ_BYTES, self._timeout)
            if not received:
                # From the first byte on: until then the device computes, and a simulated one takes its time for that.
                limit = time.monotonic() + self._timeout + _NOISE_SECONDS
            received += len(data)
            answered = False
            for frame in self._reader.feed(data):
                request = next((r for r in waiting if r.tag == frame.tag and r.answer is None), None)
                if request is None or frame.command not in (request.reply, Reply.ERROR):
                    self.stray = frame
                if frame.command == Reply.ERROR:
                    if self._refused(request, frame.payload, waiting):
                        return self._repeat(waiting)
                    answered = True
                elif request is not None and frame.command == request.reply:
                    request.answer = frame.payload
                    answered = True
            if answered:
                return None
            # A frame that is still coming counts as an answer; endless noise does not.
            if (not data or self._reader.bad_frames > bad_frames or received > _NOISE_BYTES
                    or time.monotonic() > limit):
                return self._repeat(waiting)

    def _refused(self, request: _Request | None, payload: bytes, waiting: Sequence[_Request]) -> bool:
        """Judge an ERROR; return whether everything on its way must be repeated."""
        code = payload[0] if len(payload) == 1 else 0
        if request is None:
            # The tag of a frame with a bad CRC may be wrong as well. Other codes answer what was given up before.
            return code == ErrorCode.BAD_CRC
        request.code = code
        if code in (ErrorCode.BAD_CRC, ErrorCode.OVERRUN):
            self._send(request, waiting)
            return False
        if code == ErrorCode.BUSY:
            request.sent, request.busy = False, True
            if request.ahead == 0:
                # If there is no room all the same, it is taken by images of somebody else.
                return request.attempts > 1
            # It is sent again when the images before it have their results. If no fault of the line explains that there
            # was no room, the device computes for longer than it said, or the model leaves no room for two.
            if not self.repeated:
                self._most = min(self._most, WINDOW if request.ahead >= WINDOW else 1)
            self._window = min(self._window, self._most, WINDOW)
            request.attempts -= 1
            return False
        raise RefusedError(request.command, request.payload, code)

    def _repeat(self, waiting: Iterable[_Request]) -> None:
        """Wait until both ends have forgotten unfinished frames, then send again what has no answer.

        Two of many are sent at once, the others behind them, and that is not held against these: a fault of the first
        may have been all that was wrong.
        """
        self._empty(self._silence)
        self._window = min(self._window, WINDOW)
        unanswered = [request for request in waiting if request.answer is None]
        for request in unanswered[WINDOW:]:
            request.attempts -= request.sent
            request.busy = False
        for request in unanswered:
            request.sent = False
        for request in unanswered[:WINDOW]:
            self._send(request, waiting)

    def _empty(self, silence: float) -> None:
        """Read and forget until ``silence`` seconds pass without a byte."""
        limit = time.monotonic() + self._timeout + 10 * silence
        while self._transport.read(_READ_BYTES, silence):
            if time.monotonic() > limit:
                raise DeviceError("device does not stop sending: see that the port and its baud are those of the board")
        self._reader.reset()
