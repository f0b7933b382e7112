"""The host's side of the line, against a line that says what a test wants."""

import numpy as np
import pytest

from arch.link import Command, ErrorCode, Frame, FrameReader, Info, InfoReply, InputEncoding, Reply, Result
from arch.network import Encoding, Input, Network, Readout
from sim.session import RtlError, SimulatedEngine
from sim.verilator import SimulationError

NETWORK = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=2, width=2), timesteps=4,
                  layers=(Readout(weights=np.ones((2, 4), np.int8)),))
IMAGE = np.arange(4, dtype=np.uint8).reshape(1, 2, 2)
INFO = Info(lanes=1, width=4, circuit_timesteps=4, timesteps=4, encoding=InputEncoding.UNSIGNED, channels=1,
            image_height=2, image_width=2, classes=2, clock_khz=48_000, digest=bytes(8))
RESULT = Result(label=1, cycles=100, stalls=7, flash_stalls=9, scores=(-5, 8))
REPORT = "this is a fault of the circuit or of its simulation, so please report it with the network"
EXPORT = "python -m export NETWORK --flash IMAGE"


class Line:
    """Answers INFO, and every other request with ``reply(frame)``, in pieces no longer than what is waited for."""

    divisor = 4

    def __init__(self, reply):
        self._reply, self._reader, self._waiting = reply, FrameReader(), b""
        self.waited, self.closed, self.answers_info = [], False, True

    def send(self, characters):
        frame, = self._reader.feed(characters)
        frames = self._reply(frame)
        if frame.command == Command.INFO and self.answers_info:
            frames = [Frame(command=Reply.INFO, tag=frame.tag, payload=InfoReply(info=INFO).to_bytes())]
        self._waiting += b"".join(item.to_bytes() for item in frames)

    def run(self, *, characters, limit):
        self.waited.append(characters)
        data, self._waiting = self._waiting[:characters], self._waiting[characters:]
        return data

    def close(self):
        self.closed = True


class Engine(SimulatedEngine):
    """Sees the spikes of no layer."""

    def _observe(self, image):
        return self.result_of(image), {}, f"image {image.sum()} is dark"


def engine_of(reply):
    return Engine(NETWORK, Line(reply))


def result(frame, **changes):
    return Frame(**{"command": Reply.RESULT, "tag": frame.tag, "payload": RESULT.to_bytes(), **changes})


def test_images_become_a_result():
    with engine_of(lambda frame: [result(frame)]) as engine:
        found = engine.classify(np.stack([IMAGE, IMAGE]))
    assert engine.simulation.closed
    assert (found.scores.tolist(), found.classes.tolist()) == ([[-5, 8]] * 2, [1, 1])
    assert (found.cycles.tolist(), found.stall_cycles.tolist(), found.flash_stall_cycles.tolist()) == (
        [100] * 2, [7] * 2, [9] * 2)
    assert (found.spikes, found.unseen) == (None, None)
    # No clock runs for characters that cannot come.
    assert set(engine.simulation.waited) == {1}


def test_no_images_are_an_empty_result():
    found = engine_of(lambda frame: []).classify(np.zeros((0, 1, 2, 2), np.uint8), spikes=True)
    assert (found.scores.shape, found.classes.shape, found.spikes, found.unseen) == ((0, 2), (0,), (), None)


def test_the_first_reason_why_spikes_are_not_seen_is_told():
    found = engine_of(lambda frame: [result(frame)]).classify(np.stack([IMAGE, IMAGE * 2]), spikes=True)
    assert (found.spikes, found.unseen) == ((), "image 6 is dark")


@pytest.mark.parametrize(("code", "text"), [
    (ErrorCode.OVERRUN, ("OVERRUN (5): its first layer takes pixels more slowly than the line brings them, so give "
                         "RtlEngine a larger divisor")),
    (ErrorCode.NO_MODEL, f"NO_MODEL (6): make the image in its flash again with {EXPORT}"),
    (ErrorCode.WRONG_MODEL, ("WRONG_MODEL (7): the image in its flash is for another circuit, so make it again with "
                             f"{EXPORT}, for this board and with this release")),
    (ErrorCode.DAMAGED, f"DAMAGED (8): the image in its flash is damaged, so make it again with {EXPORT}"),
    (ErrorCode.BUSY, f"BUSY (4): {REPORT}"),
    (ErrorCode.FLASH, f"FLASH (9): {REPORT}"),
])
def test_an_error_is_named_with_its_image_and_a_remedy(code, text):
    """The second image is wrong."""
    def reply(frame):
        return [result(frame) if frame.tag == 2 else result(frame, command=Reply.ERROR, payload=bytes([code]))]

    with pytest.raises(RtlError) as caught:
        engine_of(reply).classify(np.stack([IMAGE, IMAGE]))
    assert str(caught.value) == f"image 1: the circuit must answer with its result, not with the error {text}"


@pytest.mark.parametrize(("reply", "message"), [
    (lambda frame: [], f"image 0: the circuit does not answer: {REPORT}"),
    (lambda frame: [result(frame, command=Reply.ERROR, payload=b"\x63")],
     f"image 0: the circuit must answer with its result, not with the unknown error 99: {REPORT}"),
    (lambda frame: [result(frame, command=Reply.INFO, payload=b"")],
     f"image 0: the circuit does not answer, but sends Frame(command=129, tag=2, payload=b''): {REPORT}"),
    (lambda frame: [result(frame, command=Reply.INFO, tag=9, payload=b"")],
     f"image 0: the circuit does not answer, but sends Frame(command=129, tag=9, payload=b''): {REPORT}"),
    (lambda frame: [result(frame, tag=9), result(frame)],
     f"image 0: the circuit must answer once, but sends {result(Frame(command=2, tag=9), command=130)}: {REPORT}"),
    (lambda frame: [result(frame, payload=b"")], f"image 0: result must have 24 bytes, not 0: {REPORT}"),
])
def test_what_is_no_result_is_told(reply, message):
    with pytest.raises(RtlError) as caught:
        engine_of(reply).result_of(IMAGE)
    assert str(caught.value) == message


def test_an_image_has_the_number_that_it_has_in_its_file():
    engine = engine_of(lambda frame: [])
    engine.next_image = 7
    with pytest.raises(RtlError, match=r"^image 7: the circuit does not answer: "):
        engine.classify(IMAGE[None])


class Traced(Line):
    """Traces, and can stop as a simulation does."""

    clocks = 0

    def __init__(self, reply, stopped=False):
        super().__init__(reply)
        self.tracing, self.stopped = False, stopped

    def trace(self, path, *, first, count):
        self.tracing = True

    def end_trace(self):
        self.tracing = False
        if self.stopped:
            raise SimulationError("simulation stopped: no message")
        return 5


@pytest.mark.parametrize("stopped", [False, True])
def test_an_image_that_fails_is_traced_no_longer(tmp_path, stopped):
    engine = Engine(NETWORK, Traced(lambda frame: [], stopped))
    with pytest.raises(RtlError, match=r"^image 0: the circuit does not answer: "), engine.tracing(tmp_path / "x.vcd"):
        engine.result_of(IMAGE)
    assert not engine.simulation.tracing
    assert engine.traced_clocks == 0


def test_a_damaged_frame_is_told():
    class Damaged(Line):
        def send(self, characters):
            super().send(characters)
            if self._waiting[1] == Reply.RESULT:
                self._waiting = b"\xa5\x00\x00\x00\x00\x00\x00" + self._waiting

    with pytest.raises(RtlError) as caught:
        Engine(NETWORK, Damaged(lambda frame: [result(frame)])).result_of(IMAGE)
    assert str(caught.value) == f"image 0: the circuit does not answer, but sends damaged frames: {REPORT}"


def test_a_request_gives_any_answer():
    engine = engine_of(lambda frame: [] if frame.command == Command.INFO else [
        result(frame, command=Reply.ERROR, payload=frame.payload)])
    engine.simulation.answers_info = False
    assert engine.request(Command.SELECT, b"\x06") == Frame(command=Reply.ERROR, tag=1, payload=b"\x06")
    message = f"request 0x01: device does not answer the frame 0x01 under tag 2: {REPORT}"
    with pytest.raises(RtlError, match=f"^{message}$"):
        engine.request(Command.INFO)
