"""The judge of strings: it knows what a device must answer to any line, and finds every byte that is another.

The line is decoded by a model of the UART that is exact to the clock (:mod:`tests.twins.uart`), frames by the twin of
the receiver (:mod:`tests.twins.link`). When things happen follows from data sheets and from the clocks in which the
device sent its characters: when a reply left, so that the next may be kept, or when an image had its result, so that
there is room. What comes back must be nothing but whole frames: each request that the rules give an answer is answered
once, in order, with its tag and content, no later than the documented latency; counters of faults are right in each
INFO; and nothing else comes.
"""

import dataclasses
import math
from collections.abc import Sequence

from arch.link import (
    CRC_BYTES,
    HEADER_BYTES,
    INFO_BYTES,
    MAX_COUNT,
    SYNC,
    ErrorCode,
    Frame,
    Info,
    LinkCounters,
    Reply,
    crc16,
)
from gateware.link.frame import CONTROL_SLOT
from gateware.link.receiver import COMMIT_CYCLES
from tests.fuzz.link.devices import SELECTION_CLOCKS, Device, Window
from tests.twins.link import FrameReceiverTwin
from tests.twins.uart import Character, receive

__all__ = ["Judge"]

#: Clocks from the one in which the stop bit of a header is sampled to the one in which the frame is decided on; a reply
#: is valid as many clocks after the last stop bit of its frame.
_DECISION_CLOCKS = COMMIT_CYCLES + 1
#: Clocks until an INFO tells of a fault: after the last stop bit of a bad frame, the sample that finds a pixel not
#: taken, and the timeout.
_BAD_FRAME_CLOCKS, _OVERRUN_CLOCKS, _ABORTED_CLOCKS = 5, 2, 2
_COUNTERS = tuple(field.name for field in dataclasses.fields(LinkCounters))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """An INFO or ERROR that the device must send."""

    code: int
    tag: int
    #: Clock from which on it may be sent.
    valid: int
    info: bytes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Image:
    """An image whose result the device must send."""

    content: bytes
    tag: int
    commit: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Sent:
    """A frame that the device sent."""

    frame: Frame
    #: First clock of each character.
    clocks: Sequence[int]

    @property
    def is_result(self) -> bool:
        return self.frame.command == Reply.RESULT


class Judge:
    """Judges what a device sends, from a reset on, string by string.

    Before each string the device has had time to answer all that came, and to give up what it waited for.

    Parameters
    ----------
    device : :class:`tests.fuzz.link.devices.Device`
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.twin = FrameReceiverTwin(device.info.image_bytes, selectable=device.selectable)
        #: Headers of the last string whose verdict, an image or busy, depended on clocks that no data sheet tells.
        self.undecided = 0
        #: Codes of the frames that the last string was answered with.
        self.codes: list[int] = []
        #: Clock of any tick of the bit timer; known from the first answer on.
        self._tick: int | None = None
        self._info = device.info.to_bytes()
        self._tag = 0
        self._pixels = bytearray()
        #: Clocks in which counters went up.
        self._counted: dict[str, list[int]] = {name: [] for name in _COUNTERS}
        self._choice: tuple[int, int, int] | None = None

    @property
    def busy_clocks(self) -> int:
        """Clocks of silence behind which the device waits for nothing, and nothing more comes from it."""
        device = self.device
        return max((device.timeout_bits + 12) * device.divisor, SELECTION_CLOCKS + 64,
                   device.inference_clocks + 2 * device.info.image_bytes + 64) + 4 * device.divisor

    def judge(self, edges: Sequence[int], start: int, data: bytes, clocks: Sequence[int], *,
              sent: bytes | None = None) -> str | None:
        """Judge a string; return what is wrong, None if nothing.

        Parameters
        ----------
        edges : sequence of :class:`int`
            Changes of the line, in clocks from the begin of the string.
        start : :class:`int`
            Clock of the begin of the string.
        data, clocks
            The characters that came back, and the first clock of each.
        sent : :class:`bytes`, optional
            What a right receiver makes of the line.
        """
        characters = [Character(byte, stop_bit, first + start, last + start)
                      for byte, stop_bit, first, last in receive(edges, self.device.divisor)]
        if sent is not None and (bytes(character.byte for character in characters) != sent
                                 or not all(character.stop_bit for character in characters)):
            return f"the model of the line is wrong: it makes {characters} of {sent.hex()}"
        self.undecided = 0
        frames, fault = self._frames(data, clocks)
        self.codes = [sent.frame.command for sent in frames]
        if fault is not None:
            return fault
        answers, images = self._expect(characters, frames)
        return self._compare(frames, answers, images)

    def _frames(self, data: bytes, clocks: Sequence[int]) -> tuple[list[_Sent], str | None]:
        """Cut what came into frames; say what is wrong with the first that is none."""
        character = 10 * self.device.divisor
        found: list[_Sent] = []
        at = 0
        if clocks and self._tick is None:
            self._tick = clocks[0] - 1
        while at < len(data):
            size = HEADER_BYTES + int.from_bytes(data[at + 3:at + 5], "little") + CRC_BYTES
            piece, when = data[at:at + size], clocks[at:at + size]
            if piece[0] != SYNC or len(piece) < size or crc16(piece[1:]):
                return found, f"no frame: {data[at:at + 100].hex()}"
            if list(when) != list(range(when[0], when[0] + size * character, character)):
                return found, f"characters of {piece.hex()} begin in {when}, not every {character} clocks"
            if (when[0] - 1 - self._tick) % self.device.divisor:
                return found, f"frame begins in clock {when[0]}, between two bits"
            frame = Frame(command=piece[1], tag=piece[2], payload=piece[HEADER_BYTES:-CRC_BYTES])
            found.append(_Sent(frame=frame, clocks=when))
            at += size
        return found, None

    def _left(self, sent: _Sent, number: int) -> int:
        """Clock in which the last bit of a character of a frame left for the line."""
        return sent.clocks[number] - 1 + 8 * self.device.divisor

    # What must be answered.

    def _expect(self, characters: Sequence[Character], frames: Sequence[_Sent]) -> tuple[list[_Answer], list[_Image]]:
        """Play what came in to the twin, and the ends of what went out; return what must have gone out."""
        twin = self.twin
        answers: list[_Answer] = []
        images: list[_Image] = []
        results = [sent for sent in frames if sent.is_result]
        answered = [self._left(sent, -1) for sent in frames if not sent.is_result]
        classified = [self._left(sent, -1) for sent in results]
        before: Character | None = None
        for number, character in enumerate(characters):
            byte, stop_bit, _, last = character
            self._settle(last + 1, answers)
            if before is not None and twin.in_frame:
                timeout = self._timeout(before.last)
                if timeout <= last + 1:
                    self._silence(timeout)
                    # The timeout holds for two clocks, and hides what comes in them.
                    if last + 1 <= timeout + 1:
                        continue
            before = character
            while answered and answered[0] <= last:
                answered.pop(0)
                twin.take_reply()
            while classified and classified[0] <= last + 1:
                classified.pop(0)
                twin.take_result()
            follower = characters[number + 1] if number + 1 < len(characters) else None
            accept = len(images) < 2 or self._accepts(last + _DECISION_CLOCKS, images, results)
            taken = (follower is None or not twin.offers_pixel
                     or last + 2 + self.device.wait_of(byte) <= follower.first)
            counters = twin.counters
            events = twin.character(byte, stop_bit=stop_bit, accept=accept, taken=taken)
            if events:
                self._note(events, last, answers, images)
            if twin.counters is not counters:
                if taken:
                    self._counted["bad_frames"].append(last + _BAD_FRAME_CLOCKS)
                else:
                    assert follower is not None
                    self._counted["overruns"].append(follower.first + _OVERRUN_CLOCKS)
        self._settle(math.inf, answers)
        if twin.in_frame:
            assert before is not None
            self._silence(self._timeout(before.last))
        for _ in answered:
            twin.take_reply()
        for _ in classified:
            twin.take_result()
        return answers, images

    def _note(self, events: Sequence[tuple], last: int, answers: list[_Answer], images: list[_Image]) -> None:
        for name, *values in events:
            if name == "tag" and values[0] != CONTROL_SLOT:
                self._tag = values[1]
            elif name == "begin":
                self._pixels = bytearray()
            elif name == "pixel":
                self._pixels.append(values[0])
            elif name == "commit":
                images.append(_Image(content=bytes(self._pixels), tag=self._tag, commit=last + COMMIT_CYCLES))
            elif name == "reply":
                answers.append(_Answer(code=values[0], tag=self._tag, valid=last + _DECISION_CLOCKS, info=self._info))
            elif name == "select":
                self._choice = (last + COMMIT_CYCLES + SELECTION_CLOCKS, values[0], self._tag)

    def _settle(self, clock: float, answers: list[_Answer]) -> None:
        """Settle the choice of a model, if it is by this clock."""
        if self._choice is None or clock < self._choice[0]:
            return
        settled, number, tag = self._choice
        self._choice = None
        models = self.device.models
        model = models[number] if number < len(models) else ErrorCode.NO_MODEL
        if isinstance(model, Info):
            self.twin.image_bytes, self._info = model.image_bytes, model.to_bytes()
        status = 0 if isinstance(model, Info) else int(model)
        self.twin.settle(status)
        answers.append(_Answer(code=status, tag=tag, valid=settled, info=self._info))

    def _timeout(self, last: int) -> int:
        """Clock in which silence ends a frame, if its last stop bit was sampled in clock ``last``."""
        assert self._tick is not None
        divisor = self.device.divisor
        first = last + 2 + (self._tick - last - 2) % divisor
        return first + (self.device.timeout_bits - 1) * divisor + 1

    def _silence(self, timeout: int) -> None:
        self.twin.silence()
        self._counted["aborted_frames"].append(timeout + _ABORTED_CLOCKS)

    def _accepts(self, clock: int, images: Sequence[_Image], results: Sequence[_Sent]) -> bool:
        """Whether there is room for an image in this clock."""
        most = least = 0
        free = -math.inf
        for image, sent in zip(images, [*results, *[None] * len(images)], strict=False):
            window = self.device.ready(image.commit, free)
            began, free = (sent.clocks[0], self._left(sent, -1 - CRC_BYTES)) if sent else (math.inf, math.inf)
            earliest, latest = self.device.released(window, began, free)
            most += clock < latest
            least += clock < earliest
        if (most < 2) == (least < 2):
            return most < 2
        # Nobody but the device knows: it took the image if the next result is under its tag.
        self.undecided += 1
        return len(results) > len(images) and results[len(images)].frame.tag == self._tag

    # Whether it was.

    def _compare(self, frames: Sequence[_Sent], answers: list[_Answer], images: list[_Image]) -> str | None:
        """Compare what the device sent with what it had to send."""
        divisor = self.device.divisor
        answers, images = list(answers), list(images)
        line_free = 0
        free = -math.inf
        for sent in frames:
            began = sent.clocks[0]
            window: Window = self.device.ready(images[0].commit, free) if images else (math.inf, math.inf)
            earliest = min(window[0], answers[0].valid if answers else math.inf)
            latest = max(line_free, min(window[1], answers[0].valid if answers else math.inf) + divisor + 1)
            shown = f"{sent.frame} in clock {began}"
            # The choice between the two is made when the first bit leaves.
            if answers and answers[0].valid <= began - 1 + divisor:
                fault = self._fault_of_answer(sent, answers.pop(0))
            elif images and sent.is_result:
                image = images.pop(0)
                fault = self.device.fault_of(image.content, sent.frame.payload)
                if sent.frame.tag != image.tag:
                    fault = f"tag is not {image.tag}"
                free = self._left(sent, -1 - CRC_BYTES)
            else:
                return f"nothing was to be answered by {shown}"
            if fault is not None:
                return f"{shown}: {fault}"
            if not earliest + 2 <= began <= latest:
                return f"{shown}: it must begin from clock {earliest + 2} to {latest}"
            line_free = sent.clocks[-1] + 10 * divisor
        if answers or images:
            return f"no answer came for {[*answers, *images]}"
        return None

    def _fault_of_answer(self, sent: _Sent, answer: _Answer) -> str | None:
        if answer.code:
            expected = Frame(command=Reply.ERROR, tag=answer.tag, payload=bytes((answer.code,)))
        else:
            counts = []
            if sent.frame.command == Reply.INFO and len(sent.frame.payload) == INFO_BYTES + len(_COUNTERS) + 1:
                # A counter is looked at two clocks after the last bit of the character before it.
                for place, name in enumerate(_COUNTERS, HEADER_BYTES + INFO_BYTES - 1):
                    clock = self._left(sent, place) + 2
                    counts.append(min(MAX_COUNT, sum(counted <= clock for counted in self._counted[name])))
            expected = Frame(command=Reply.INFO, tag=answer.tag, payload=answer.info + bytes((*counts, 0)))
        return None if sent.frame == expected else f"it must be {expected}"
