# amaranth: UnusedElaboratable=no
"""The host's end of the link against the gateware, with faults and dead sessions, and against a scripted device."""

import dataclasses
import random
import re

import pytest
from amaranth.back import verilog

from arch.link import SYNC, Command, ErrorCode, Frame, FrameReader, InfoReply, LinkError, Reply, Result
from firmware.host.errors import DeviceError
from firmware.host.link import Link
from sim.verilated import SimulationTransport, Verilated
from tests.link_board import CACHE, LinkBoard, expected_result, make_info

SEED = 0x66
INFO = make_info()
INFO_REPLY = InfoReply(info=INFO).to_bytes()
NO_ANSWER = ("no valid answer to INFO in 4 attempts: see that the port and its baud are those of the board, or give a "
             "longer --timeout")


@pytest.fixture(scope="module")
def source():
    return verilog.convert(LinkBoard(), name="board", emit_src=False)


class Faulty:
    """Damages what passes a transport, in both directions."""

    def __init__(self, inner, rate, seed):
        self.inner, self.rate, self.random = inner, rate, random.Random(seed)
        self.faults = 0

    def damage(self, data):
        damaged = bytearray()
        for byte in data:
            if self.random.random() >= self.rate:
                damaged.append(byte)
                continue
            self.faults += 1
            kind = self.random.randrange(3)
            if kind == 0:
                damaged.append(byte ^ 1 << self.random.randrange(8))
            elif kind == 1:
                damaged += bytes((byte, self.random.randrange(256)))
        return bytes(damaged)

    def write(self, data):
        self.inner.write(self.damage(data))

    def read(self, size, timeout):
        while data := self.inner.read(size, timeout):
            if damaged := self.damage(data):
                return damaged
        return b""

    def close(self):
        self.inner.close()


@pytest.mark.parametrize("seed", range(6))
def test_faults_on_the_wire_give_the_right_result_or_one_clear_error(source, seed):
    rng = random.Random(SEED + seed)
    images = [rng.randbytes(20) for _ in range(25)]
    with Verilated(source, cache=CACHE) as simulation:
        simulation.reset()
        line = Faulty(SimulationTransport(simulation, clocks_per_second=20_000), 0.004, seed)
        link = Link(line, timeout=0.5, silence=0.2, retries=10, tag=TAG)
        assert list(link.classify_all(images)) == [expected_result(image, 200) for image in images]
        assert line.faults > 0
        line.rate = 1
        link = Link(line, timeout=0.5, silence=0.2, retries=1, tag=TAG)
        with pytest.raises((DeviceError, LinkError)):
            link.classify(images[0])


MADE_FOR_ANOTHER = ("the model in its flash was made for another circuit, or by another release: export it again for "
                    "this bitstream")
DAMAGED = "the model in its flash is damaged: write the image to the flash again"
NO_FLASH = "its flash does not answer: switch the board off and on, and see that the bitstream is for this board"
REFUSALS = {ErrorCode.NO_MODEL: "no model", ErrorCode.DAMAGED: DAMAGED, ErrorCode.FLASH: NO_FLASH}
MODELS = (INFO, ErrorCode.DAMAGED, make_info(height=2, width=3, clock_khz=1000), ErrorCode.FLASH)


@pytest.mark.parametrize("seed", range(3))
def test_models_are_selected_on_a_line_with_faults(seed):
    """Whatever the faults: the model that answers is the one that was chosen last, or an error says that it is none."""
    rng = random.Random(SEED + seed)
    board = verilog.convert(LinkBoard(models=MODELS), name="board", emit_src=False)
    with Verilated(board, cache=CACHE) as simulation:
        simulation.reset()
        line = Faulty(SimulationTransport(simulation, clocks_per_second=20_000), 0.004 * (seed > 0), seed)
        link = Link(line, timeout=0.5, silence=0.2, retries=10, tag=TAG)
        for number in (*range(5), *(rng.randrange(5) for _ in range(10))):
            model = MODELS[number] if number < len(MODELS) else ErrorCode.NO_MODEL
            if isinstance(model, ErrorCode):
                for ask in (lambda number=number: link.select(number), link.info):
                    with pytest.raises(DeviceError, match=r"^device refuses (SELECT|INFO): ") as caught:
                        ask()
                    assert REFUSALS[model] in str(caught.value)
                continue
            assert link.select(number) == model
            images = [rng.randbytes(model.image_bytes) for _ in range(4)]
            assert list(link.classify_all(images)) == [expected_result(image, 200) for image in images]
        assert (line.faults > 0) == (seed > 0)


@pytest.mark.parametrize("models", [(), MODELS])
def test_a_device_tells_whether_it_has_models_to_select_and_stays_as_it_is(models):
    board = verilog.convert(LinkBoard(models=models), name="board", emit_src=False)
    with Verilated(board, cache=CACHE) as simulation:
        simulation.reset()
        link = Link(SimulationTransport(simulation, clocks_per_second=20_000), timeout=0.5, silence=0.2)
        if models:
            assert link.select(2) == models[2]
        for _ in range(2):
            assert link.selectable() == bool(models)
            assert link.ask_info() == (models[2] if models else INFO)


class Scripted:
    """A device of which every answer is a function of the request."""

    def __init__(self, answer):
        self.answer, self.reader, self.pending = answer, FrameReader(), bytearray()
        self.requests = []

    def write(self, data):
        for frame in self.reader.feed(data):
            self.requests.append(frame)
            self.pending += self.answer(frame, len(self.requests))

    def read(self, size, timeout):
        data = bytes(self.pending[:size])
        del self.pending[:size]
        return data

    def close(self):
        pass


def reply(frame, command, payload, tag=None):
    return Frame(command=command, tag=frame.tag if tag is None else tag, payload=payload).to_bytes()


def test_bad_crc_and_overrun_are_repeated_under_a_new_tag():
    def answer(frame, count):
        if count < 3:
            code = (ErrorCode.BAD_CRC, ErrorCode.OVERRUN)[count - 1]
            return reply(frame, Reply.ERROR, bytes((code,)))
        return reply(frame, Reply.INFO, INFO_REPLY)

    device = Scripted(answer)
    link = Link(device)
    assert link.info() == INFO
    assert link.repeated == 2
    assert len({frame.tag for frame in device.requests}) == 3


def test_late_answers_are_ignored():
    def answer(frame, count):
        late = reply(frame, Reply.INFO, bytes(68), tag=frame.tag ^ 0x80)
        return late + reply(frame, Reply.INFO, INFO_REPLY)

    assert Link(Scripted(answer)).info() == INFO


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda f, n: b"", NO_ANSWER),
        (lambda f, n: bytes(50), NO_ANSWER),
        (lambda f, n: reply(f, Reply.ERROR, b"\x04"),
         "device was busy in 4 attempts of INFO: wait until it has computed the images of other programs"),
        (lambda f, n: reply(f, Reply.ERROR, b"\x06"),
         "device refuses INFO: no model is selected: python -m firmware.host select N --port PORT"),
        (lambda f, n: reply(f, Reply.ERROR, b"\x03"), "device refuses INFO: unknown command"),
        (lambda f, n: reply(f, Reply.ERROR, b"\x63"), "device refuses INFO: error 99"),
        (lambda f, n: reply(f, Reply.INFO, bytes(68)), "device does not answer with an info block"),
        (lambda f, n: reply(f, Reply.INFO, b"STRN\x03" + bytes(27)),
         ("protocol version must be 4, not 3: use a bitstream, an image in flash and a host program of the same "
          "release")),
        (lambda f, n: reply(f, Reply.INFO, INFO.to_bytes()),
         ("reply INFO must have 68 bytes, not 64: use a bitstream, an image in flash and a host program of the same "
          "release")),
    ],
)
def test_what_a_device_may_do_wrong_has_its_line(answer, message):
    with pytest.raises((DeviceError, LinkError), match=f"^{message}$"):
        Link(Scripted(answer), timeout=0.01, silence=0.01).info()


def test_image_size_is_checked_before_anything_is_sent():
    device = Scripted(lambda frame, count: reply(frame, Reply.INFO, INFO_REPLY))
    with pytest.raises(LinkError, match=r"^image must have 20 bytes \(4 x 5 x 1\), not 19$"):
        Link(device).classify(bytes(19))
    assert [frame.command for frame in device.requests] == [Command.INFO]


def classifies(frame, count):
    if frame.command == Command.INFO:
        return reply(frame, Reply.INFO, INFO_REPLY)
    return reply(frame, Reply.RESULT, expected_result(frame.payload, 1).to_bytes())


def test_the_next_image_is_on_the_line_before_a_result_is_taken():
    """Whoever takes results may take his time: the line need not wait for him."""
    images = [bytes((number,)) * 20 for number in range(5)]
    device = Scripted(classifies)
    link = Link(device, alone=True)
    link.info()
    sent = [len(device.requests) - 1 for _ in link.classify_all(images)]
    # Both first results come at once, and make room for two images.
    assert sent == [4, 4, 5, 5, 5]
    assert [frame.payload for frame in device.requests[1:]] == images


def test_what_is_wrong_with_an_image_is_told_in_its_turn():
    images = [bytes(20), bytes(range(20)), bytes(19)]
    taken = Link(Scripted(classifies), alone=True).classify_all(images)
    assert [next(taken), next(taken)] == [expected_result(image, 1) for image in images[:2]]
    with pytest.raises(LinkError, match=r"^image must have 20 bytes \(4 x 5 x 1\), not 19$"):
        next(taken)


@pytest.mark.parametrize(("code", "message"), [
    (ErrorCode.UNKNOWN_COMMAND, "device refuses SELECT: its network is part of the bitstream, there is none to select"),
    (ErrorCode.BUSY,
     "device was busy in 4 attempts of SELECT: wait until it has computed the images of other programs"),
    (ErrorCode.NO_MODEL,
     "device refuses SELECT: its flash has no model 5: select another, or write this one to the flash"),
    (ErrorCode.WRONG_MODEL, f"device refuses SELECT: {MADE_FOR_ANOTHER}"),
    (ErrorCode.DAMAGED, f"device refuses SELECT: {DAMAGED}"),
    (ErrorCode.FLASH, f"device refuses SELECT: {NO_FLASH}"),
])
def test_a_model_that_cannot_be_selected_has_its_line(code, message):
    device = Scripted(lambda frame, count: reply(frame, Reply.ERROR, bytes((code,))))
    with pytest.raises(DeviceError, match=f"^{message}$"):
        Link(device, timeout=0.01, silence=0.01).select(5)
    assert {(frame.command, frame.payload) for frame in device.requests} == {(Command.SELECT, b"\x05")}


@pytest.mark.parametrize(("answer", "message"), [
    (lambda f, n: reply(f, Reply.ERROR, b"\x09"), f"device refuses SELECT: {NO_FLASH}"),
    (lambda f, n: reply(f, Reply.INFO, INFO_REPLY), "device does not refuse a SELECT without a number"),
])
def test_a_device_that_does_not_tell_whether_it_has_models_has_its_line(answer, message):
    with pytest.raises(DeviceError, match=f"^{message}$"):
        Link(Scripted(answer), timeout=0.01, silence=0.01).selectable()


@pytest.mark.parametrize("model", [True, 1.0, "0", None, b"0"])
def test_what_is_no_integer_is_no_model(model):
    device = Scripted(lambda frame, count: b"")
    with pytest.raises(LinkError, match=f"^model must be an integer, not {re.escape(repr(model))}$"):
        Link(device).select(model)
    assert device.requests == []


@pytest.mark.parametrize("model", [-1, 256])
def test_numbers_of_models_are_bytes(model):
    device = Scripted(lambda frame, count: b"")
    with pytest.raises(LinkError, match=f"^model must be 0 to 255, not {model}$"):
        Link(device).select(model)
    assert device.requests == []


def test_a_selected_model_is_the_one_that_is_known():
    """Its info block is asked for no second time, and what a session before has sent is behind its reply."""
    models = {3: INFO, 4: dataclasses.replace(INFO, image_height=2, classes=1, clock_khz=1)}
    expected = {number: Result(label=0, cycles=10**9, stalls=0, flash_stalls=5, scores=(-7,) * info.classes)
                for number, info in models.items()}

    def answer(frame, count):
        if frame.command == Command.SELECT:
            return reply(frame, Reply.INFO, InfoReply(info=models[frame.payload[0]]).to_bytes())
        return reply(frame, Reply.RESULT, expected[3 if len(frame.payload) == 20 else 4].to_bytes())

    device = Scripted(answer)
    link = Link(device, silence=0.01)
    for number, info in models.items():
        assert link.select(number) == info
        assert link.info() == info
        # The result says that the network computes for longer than the line was silent: no image is sent twice for it.
        assert link.classify(bytes(info.image_bytes)) == expected[number]
    assert [frame.command for frame in device.requests] == [Command.SELECT, Command.CLASSIFY] * 2


def test_an_inference_that_the_flash_ends_has_its_line():
    def answer(frame, count):
        return reply(frame, Reply.INFO, INFO_REPLY) if count == 1 else reply(frame, Reply.ERROR, b"\x08")

    with pytest.raises(DeviceError, match=f"^device refuses CLASSIFY: {DAMAGED}$"):
        Link(Scripted(answer)).classify(bytes(20))


class OneBuffer:
    """A device with room for one image, whose results come ``reads`` reads after the image."""

    def __init__(self, reads=3):
        self.reads, self.reader, self.pending = reads, FrameReader(), bytearray()
        self.left, self.image = 0, None
        self.sent = []

    def write(self, data):
        for frame in self.reader.feed(data):
            if frame.command == Command.INFO:
                self.pending += reply(frame, Reply.INFO, INFO_REPLY)
                continue
            self.sent.append(frame.payload)
            if self.image is not None:
                self.pending += reply(frame, Reply.ERROR, bytes((ErrorCode.BUSY,)))
            else:
                self.image, self.left = frame, self.reads

    def read(self, size, timeout):
        if not self.pending and self.image is not None:
            self.left -= 1
            if not self.left:
                self.pending += reply(self.image, Reply.RESULT, expected_result(self.image.payload, 1).to_bytes())
                self.image = None
        data = bytes(self.pending[:size])
        del self.pending[:size]
        if not data and self.image is not None:
            return self.read(size, timeout)
        return data

    def close(self):
        pass


def test_a_device_with_room_for_one_image_gets_one_at_a_time():
    images = [bytes(range(first, first + 20)) for first in range(6)]
    device = OneBuffer()
    link = Link(device, timeout=0.01, silence=0.01)
    assert list(link.classify_all(images)) == [expected_result(image, 1) for image in images]
    # It takes one refusal to know.
    assert device.sent == [*images[:3], images[2], *images[3:]]
    assert link.repeated == 0


@pytest.mark.parametrize(("refusals", "silences"), [(1, 0), (2, 1)])
def test_an_image_without_room_is_sent_again_at_once_and_then_after_a_silence(refusals, silences):
    """The device says at the end of a frame that there was no room when it came, and has room by then."""
    class Full(Scripted):
        waits = 0

        def read(self, size, timeout):
            self.waits += timeout == 0.02
            return super().read(size, timeout)

    def answer(frame, count):
        if frame.command == Command.INFO:
            return reply(frame, Reply.INFO, InfoReply(info=INFO).to_bytes())
        if 3 <= count < 3 + refusals:
            return reply(frame, Reply.ERROR, bytes((ErrorCode.BUSY,)))
        return reply(frame, Reply.RESULT, expected_result(frame.payload, 1).to_bytes())

    device = Full(answer)
    link = Link(device, timeout=0.01, silence=0.02, alone=True)
    images = [bytes(20), bytes(range(20))]
    assert [link.classify(image) for image in images] == [expected_result(image, 1) for image in images]
    assert device.waits == silences


def test_malformed_result_has_its_line():
    def answer(frame, count):
        return reply(frame, Reply.INFO, INFO_REPLY) if count == 1 else reply(frame, Reply.RESULT, bytes(8))

    with pytest.raises(LinkError, match=r"^result must have 28 bytes, not 8$"):
        Link(Scripted(answer)).classify(bytes(20))


#: Clocks of a character on the line of the board.
CHARACTER = 40
#: Tag before the first of a session; its INFO has the next one, its first image the one after.
TAG = 41


def dead_session(simulation, image, *, clocks, tags=(TAG + 2,)):
    """Send images as a program does that dies ``clocks`` after the last one."""
    for tag in tags:
        frame = Frame(command=Command.CLASSIFY, tag=tag, payload=image).to_bytes()
        simulation.send(frame)
        simulation.run(limit=CHARACTER * len(frame))
    simulation.run(limit=clocks)


@pytest.mark.parametrize("clocks", [1, 100, 199, 200, 201, 300, 500, 1000, 1400, 1500])
def test_a_result_of_a_dead_session_is_never_taken(source, clocks):
    """The program dies after its image was sent, and another starts at once, with the same tags."""
    old, new = bytes(range(20)), bytes(range(100, 120))
    with Verilated(source, cache=CACHE) as simulation:
        simulation.reset()
        dead_session(simulation, old, clocks=clocks)
        link = Link(SimulationTransport(simulation, clocks_per_second=20_000), silence=0.2, tag=TAG)
        assert list(link.classify_all([new, old])) == [expected_result(new, 200), expected_result(old, 200)]
        assert link.repeated == 0


@pytest.mark.parametrize("sent", [3, 10, 26])
def test_an_unfinished_image_of_a_dead_session_is_forgotten(source, sent):
    image = bytes(range(100, 120))
    with Verilated(source, cache=CACHE) as simulation:
        simulation.reset()
        simulation.send(Frame(command=Command.CLASSIFY, tag=TAG + 2, payload=bytes(20)).to_bytes()[:sent])
        simulation.run(limit=CHARACTER * sent)
        link = Link(SimulationTransport(simulation, clocks_per_second=20_000), silence=0.2, tag=TAG)
        assert link.classify(image) == expected_result(image, 200)
        assert link.repeated == 0


@pytest.mark.parametrize("tags", [(TAG + 2,), (TAG + 2, TAG + 3), (TAG + 3, TAG + 2)])
def test_a_result_that_comes_after_the_silence_is_never_taken(tags):
    """A network that computes for longer than the line is empty: half a second, at a clock of 20 kHz."""
    old, new = bytes(range(20)), [bytes(range(first, first + 20)) for first in (100, 120, 140)]
    board = LinkBoard(info=make_info(clock_khz=20), delay=10_000)
    with Verilated(verilog.convert(board, name="board", emit_src=False), cache=CACHE) as simulation:
        simulation.reset()
        dead_session(simulation, old, clocks=100, tags=tags)
        link = Link(SimulationTransport(simulation, clocks_per_second=20_000), timeout=3, silence=0.1, tag=TAG)
        assert list(link.classify_all(new)) == [expected_result(image, 10_000) for image in new]
        # Nobody is left who could have sent anything: the second call begins at once.
        begun = simulation.clocks
        assert link.classify(old) == expected_result(old, 10_000)
        assert simulation.clocks - begun < 10_000 + 100 * CHARACTER


def test_a_session_begins_with_a_tag_of_its_own():
    tags = set()
    for _ in range(40):
        device = Scripted(lambda frame, count: reply(frame, Reply.INFO, INFO_REPLY))
        Link(device).info()
        tags.add(device.requests[0].tag)
    assert len(tags) > 10, "40 tags out of 256"


def test_what_a_dead_session_left_is_read_before_anything_is_sent():
    device = Scripted(lambda frame, count: reply(frame, Reply.INFO, INFO_REPLY))
    other = dataclasses.replace(INFO, classes=7)
    device.pending += Frame(command=Reply.INFO, tag=TAG + 1, payload=InfoReply(info=other).to_bytes()).to_bytes() * 3
    assert Link(device, tag=TAG).info() == INFO


@pytest.mark.parametrize(("ask", "message"), [
    (lambda link: link.info(), NO_ANSWER),
    (lambda link: link.request(Command.INFO), "device does not answer the frame 0x01 under tag 4"),
])
def test_a_line_that_sends_a_byte_now_and_then_is_given_up(ask, message, monkeypatch):
    """A byte within every timeout is no answer, however long it goes on."""
    class Slow(Scripted):
        clock = 0.0

        def read(self, size, timeout):
            self.clock += min(timeout, 0.9)
            return b"." if timeout == 1 else b""

    line = Slow(lambda *_: b"")
    monkeypatch.setattr("firmware.host.link.time.monotonic", lambda: line.clock)
    with pytest.raises(DeviceError, match=f"^{message}$"):
        ask(Link(line, timeout=1, silence=0.1, tag=3))
    assert line.clock < 60


@pytest.mark.parametrize("ask", [lambda link: link.info(), lambda link: link.request(Command.INFO)])
def test_a_device_may_compute_for_long_before_the_first_byte_comes(ask, monkeypatch):
    """As a simulated one does, whose timeout is in clocks; the rest of its frame comes in pieces."""
    class Computing(Scripted):
        clock = 0.0

        def read(self, size, timeout):
            data = super().read(min(size, 3), timeout)
            self.clock += 1000 if data[:1] == bytes((SYNC,)) else 0.01
            return data

    line = Computing(lambda frame, count: reply(frame, Reply.INFO, INFO_REPLY))
    monkeypatch.setattr("firmware.host.link.time.monotonic", lambda: line.clock)
    link = Link(line, timeout=1, silence=0.1, alone=True)
    ask(link)
    assert (link.repeated, len(line.requests)) == (0, 1)


def test_a_line_that_is_never_empty_has_its_line():
    device = Scripted(lambda frame, count: b"")
    device.read = lambda size, timeout: bytes(10)
    message = "device does not stop sending: see that the port and its baud are those of the board"
    with pytest.raises(DeviceError, match=f"^{message}$"):
        Link(device, timeout=0.01, silence=0.01).info()
    assert device.requests == []
