"""The C driver against a model of a device, and against scripted answers."""

import contextlib
import dataclasses
import random

import pytest

from arch.link import Command, ErrorCode, Frame, FrameReader, InfoReply, InputEncoding, LinkCounters, Reply
from tests.firmware.c.device_model import GIVE_UP_MS, DeviceModel, result_of
from tests.firmware.c.driver import (
    LINE_FAILED,
    MALFORMED,
    NO_ANSWER,
    NOISE,
    OTHER_VERSION,
    WRONG_USE,
    Driver,
    DriverError,
    compiled,
)
from tests.link_board import make_info

SEED = 0x66
INFO = make_info()
CYCLES = 5 * INFO.clock_khz
COUNTERS = LinkCounters(bad_frames=255, overruns=2, aborted_frames=31)
REPLY = InfoReply(info=INFO).to_bytes()
#: Milliseconds of a silence: one more than the 100 that are asked for, as the first of a clock may be a part of one.
SILENCE = 101


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def driver(program):
    """Begin a session on a line."""
    with contextlib.ExitStack() as stack:
        def begin(line, **options):
            one = stack.enter_context(Driver(program, line))
            one.begin(**options)
            return one

        yield begin


def images_of(info, count, seed=SEED):
    rng = random.Random(seed)
    return [rng.randbytes(info.image_bytes) for _ in range(count)]


def fails(status):
    """Expect that a function returns ``status``."""
    return pytest.raises(DriverError, match=f"^{int(status)}$")


class Scripted:
    """A device of which every answer is a function of the request."""

    #: What it would give up after a silence, as a :class:`DeviceModel` does: nothing.
    frame = b""

    def __init__(self, answer):
        self.answer, self.reader, self.pending = answer, FrameReader(), bytearray()
        self.requests, self.silence = [], []

    def write(self, data):
        for frame in self.reader.feed(data):
            self.requests.append(frame)
            self.pending += self.answer(frame, len(self.requests))
        return True

    def read(self, size, timeout):
        data = bytes(self.pending[:size])
        del self.pending[:size]
        if not data:
            self.silence.append(timeout)
        return data, 0 if data else timeout


def reply(frame, command, payload, tag=None):
    return Frame(command=command, tag=frame.tag if tag is None else tag, payload=payload).to_bytes()


def informed(frame, info=INFO):
    return reply(frame, Reply.INFO, InfoReply(info=info, counters=COUNTERS).to_bytes())


def answered(frame, info=INFO, *, cycles=CYCLES, tag=None):
    return reply(frame, Reply.RESULT, result_of(frame.payload, info, cycles).to_bytes(), tag)


def honest(frame, count):
    return informed(frame) if frame.command == Command.INFO else answered(frame)


def test_counters_of_faults_are_told(driver):
    link = driver(Scripted(honest))
    link.info()
    assert link.counters == COUNTERS


@pytest.mark.parametrize("info", [
    INFO,
    make_info(height=1, width=1, classes=1, name=""),
    make_info(name="\u00fc" * 16),
    make_info(height=257, width=255, classes=10),
    make_info(height=15, width=17, channels=255),
    make_info(height=300, width=3, channels=2, classes=16_379, encoding=InputEncoding.OFFSET, clock_khz=1),
    make_info(height=3, width=300, encoding=InputEncoding.EVENTS, timesteps=8, clock_khz=0xFFFF_FFFF),
])
def test_every_network_is_told_and_computed(driver, info):
    device = DeviceModel(info)
    link = driver(device)
    assert link.info() == info
    images = images_of(info, 3)
    assert list(link.classify_all(images)) == [device.result_of(image) for image in images]
    assert link.faults == 0


def test_two_images_are_on_their_way_once_nobody_else_can_be_answered(driver):
    device = DeviceModel(INFO)
    link = driver(device)
    link.info()
    first, second, third = images_of(INFO, 3)
    link.send(first)
    link.send(second)
    assert len(device.computed) == 1
    with fails(WRONG_USE):
        link.send(third)
    assert link.result() == result_of(first, INFO, CYCLES)
    link.send(third)
    assert len(device.computed) == 2
    assert [link.result(), link.result()] == [result_of(image, INFO, CYCLES) for image in (second, third)]
    with fails(WRONG_USE):
        link.result()
    assert link.faults == 0


def test_scores_may_be_left_out_and_are_never_written_beyond_their_room(driver):
    link = driver(DeviceModel(INFO))
    link.info()
    image, other = images_of(INFO, 2)
    link.send(image)
    with fails(WRONG_USE):
        link.result(room=INFO.classes - 1)
    expected = result_of(image, INFO, CYCLES)
    assert link.result(room=0) == dataclasses.replace(expected, scores=())
    link.send(other)
    assert link.result(room=INFO.classes + 5) == result_of(other, INFO, CYCLES)


def test_calls_in_the_wrong_order_send_nothing(driver):
    device = Scripted(honest)
    link = driver(device)
    for call in (lambda: link.send(bytes(20)), lambda: link.result(room=3)):
        with fails(WRONG_USE):
            call()
    assert device.requests == []
    link.info()
    for size in (0, 19, 21):
        with fails(ErrorCode.WRONG_LENGTH):
            link.send(bytes(size))
    link.send(bytes(20))
    for call in (link.info, lambda: link.select(0)):
        with fails(WRONG_USE):
            call()
    assert link.result() == result_of(bytes(20), INFO, CYCLES)
    assert [frame.command for frame in device.requests] == [Command.INFO, Command.CLASSIFY]


def test_bad_crc_and_overrun_are_repeated_under_a_new_tag_at_once(driver):
    def answer(frame, count):
        if count < 3:
            return reply(frame, Reply.ERROR, bytes(((ErrorCode.BAD_CRC, ErrorCode.OVERRUN)[count - 1],)))
        return informed(frame)

    device = Scripted(answer)
    link = driver(device, tag=255)
    assert link.info() == INFO
    assert link.faults == 2
    assert [frame.tag for frame in device.requests] == [255, 0, 1]
    assert device.silence == [SILENCE]


def test_a_bad_crc_without_a_known_tag_repeats_everything_after_a_silence(driver):
    device = Scripted(lambda frame, count: informed(frame) if count > 1 else
                      reply(frame, Reply.ERROR, b"\x01", tag=frame.tag ^ 0x80))
    link = driver(device)
    assert link.info() == INFO
    assert device.silence == [SILENCE, SILENCE]
    assert link.faults == 1


@pytest.mark.parametrize("late", [
    lambda frame: informed(frame, dataclasses.replace(INFO, classes=7)),
    lambda frame: reply(frame, Reply.ERROR, b"\x06"),
    lambda frame: reply(frame, Reply.RESULT, bytes(28)),
    lambda frame: bytes(50) + b"\xa5\xa5\x82",
])
def test_late_answers_and_noise_before_the_answer_are_ignored(driver, late):
    def answer(frame, count):
        return late(dataclasses.replace(frame, tag=frame.tag ^ 0x80)) * 3 + informed(frame)

    link = driver(Scripted(answer))
    assert link.info() == INFO
    assert link.faults == 0


OTHER = bytearray(REPLY)
OTHER[4] ^= 0x40


def changed(at, *values):
    """The reply INFO with other bytes."""
    block = bytearray(REPLY)
    block[at:at + len(values)] = values
    return bytes(block)


@pytest.mark.parametrize(("answer", "status", "attempts"), [
    (lambda f, n: b"", NO_ANSWER, 4),
    (lambda f, n: bytes(50), NO_ANSWER, 4),
    (lambda f, n: informed(f)[:-1] + b"\x00", NO_ANSWER, 4),
    (lambda f, n: informed(f)[:-1], NO_ANSWER, 4),
    (lambda f, n: reply(f, Reply.RESULT, bytes(32)), NO_ANSWER, 4),
    (lambda f, n: reply(f, Reply.ERROR, b"\x04"), ErrorCode.BUSY, 4),
    *((lambda f, n, code=code: reply(f, Reply.ERROR, bytes((code,))), code, 1)
      for code in (ErrorCode.WRONG_LENGTH, ErrorCode.UNKNOWN_COMMAND, ErrorCode.NO_MODEL, ErrorCode.WRONG_MODEL,
                   ErrorCode.DAMAGED, ErrorCode.FLASH, 0x63)),
    (lambda f, n: reply(f, Reply.ERROR, b"\x00"), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, b""), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, bytes(len(REPLY))), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, REPLY[:-1]), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, REPLY + bytes(40)), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, bytes(OTHER)), OTHER_VERSION, 1),
    (lambda f, n: reply(f, Reply.INFO, bytes(OTHER[:20])), OTHER_VERSION, 1),
    (lambda f, n: reply(f, Reply.INFO, bytes(OTHER) + bytes(100)), OTHER_VERSION, 1),
    (lambda f, n: reply(f, Reply.INFO, changed(8, 3)), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, changed(9, 0)), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, changed(10, 0, 0)), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, changed(12, 0, 0)), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, changed(9, 1, 0, 1, 0, 1)), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, changed(9, 255, 255, 255, 255, 255)), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, changed(14, 0, 0)), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, changed(14, 0xFC, 0x3F)), MALFORMED, 1),
    (lambda f, n: reply(f, Reply.INFO, changed(16, 0, 0, 0, 0)), MALFORMED, 1),
])
def test_what_a_device_may_do_wrong_has_its_error(driver, answer, status, attempts):
    device = Scripted(answer)
    link = driver(device, timeout=10, silence=10)
    with fails(status):
        link.info()
    assert len(device.requests) == attempts
    # Nothing is known of the device then.
    with fails(WRONG_USE):
        link.send(bytes(20))


def test_an_answer_without_a_version_is_not_judged_by_the_one_before(driver):
    answers = [bytes(OTHER), b"STRN"]
    link = driver(Scripted(lambda frame, count: reply(frame, Reply.INFO, answers[count - 1])))
    for status in (OTHER_VERSION, MALFORMED):
        with fails(status):
            link.info()


def test_an_image_without_room_waits_for_the_one_before_whatever_happens_to_that(driver):
    """It is not sent again with the first one, which the line has corrupted meanwhile."""
    first, second = images_of(INFO, 2)
    refusals = {1: ErrorCode.BAD_CRC, 4: ErrorCode.BAD_CRC, 5: ErrorCode.BUSY}
    answered_before = []

    def answer(frame, count):
        answered_before.append(not device.pending)
        if count in refusals:
            return reply(frame, Reply.ERROR, bytes((refusals[count],)))
        return honest(frame, count)

    device = Scripted(answer)
    link = driver(device)
    link.info()
    link.send(first)
    link.result()
    for image in (first, second):
        link.send(image)
    # Both errors have 8 bytes: that of the second one comes first.
    device.pending[:] = device.pending[8:] + device.pending[:8]
    assert [link.result(), link.result()] == [result_of(image, INFO, CYCLES) for image in (first, second)]
    assert [frame.payload for frame in device.requests[3:]] == [first, second, first, second]
    assert answered_before[3:] == [True, False, True, True]
    assert device.silence == [SILENCE]


@pytest.mark.parametrize(("payload", "status"), [
    (bytes(24), MALFORMED),
    (bytes(28)[:-4] + bytes(3), MALFORMED),
    ((3).to_bytes(4, "little") + bytes(24), MALFORMED),
    (bytes(32), NO_ANSWER),
])
def test_a_malformed_result_has_its_error_and_ends_the_images_on_their_way(driver, payload, status):
    bad = [True]

    def answer(frame, count):
        return reply(frame, Reply.RESULT, payload) if bad[0] and frame.command == Command.CLASSIFY else honest(
            frame, count)

    link = driver(Scripted(answer), timeout=10, silence=10)
    link.info()
    for image in images_of(INFO, 2):
        link.send(image)
    with fails(status):
        link.result()
    with fails(WRONG_USE):
        link.result()
    bad[0] = False
    (image,) = images_of(INFO, 1)
    assert list(link.classify_all([image] * 3)) == [result_of(image, INFO, CYCLES)] * 3


def test_an_inference_that_the_flash_ends_is_refused(driver):
    link = driver(Scripted(lambda frame, count: informed(frame) if count == 1 else reply(frame, Reply.ERROR, b"\x09")))
    link.info()
    link.send(bytes(20))
    with fails(ErrorCode.FLASH):
        link.result()


def test_models_are_selected_and_refused(driver):
    other = make_info(height=2, width=3, classes=4, clock_khz=1000)
    device = DeviceModel(INFO, ErrorCode.DAMAGED, other, ErrorCode.FLASH)
    link = driver(device)
    for number in (2, 1, 0, 4, 2, 3):
        model = device.models[number] if number < 4 else ErrorCode.NO_MODEL
        if isinstance(model, ErrorCode):
            for ask in (lambda number=number: link.select(number), link.info):
                with fails(model):
                    ask()
            with fails(WRONG_USE):
                link.send(bytes(20))
            continue
        assert link.select(number) == model
        images = images_of(model, 4)
        # No other session's result can come any more: two images at once.
        for image in images[:2]:
            link.send(image)
        assert len(device.computed) == 2
        expected = [device.result_of(image) for image in images]
        assert [link.result(), link.result(), *link.classify_all(images[2:])] == expected
    assert link.faults == 0


def test_a_device_whose_network_is_in_the_bitstream_has_no_model_to_select(driver):
    with fails(ErrorCode.UNKNOWN_COMMAND):
        driver(DeviceModel(INFO)).select(0)


def test_a_device_with_room_for_one_image_gets_one_at_a_time(driver):
    device = DeviceModel(INFO, buffers=1)
    link = driver(device)
    link.info()
    images = images_of(INFO, 6)
    assert list(link.classify_all(images)) == [result_of(image, INFO, CYCLES) for image in images]
    # It takes one refusal to know.
    assert len(device.tags) == 1 + len(images) + 1
    assert link.faults == 0


def test_a_device_that_stays_busy_is_refused(driver):
    device = DeviceModel(INFO, buffers=0)
    link = driver(device)
    link.info()
    link.send(bytes(20))
    with fails(ErrorCode.BUSY):
        link.result()
    assert link.faults == 4


#: First tag of a session: its INFO has it, its first image the next one.
TAG = 41


@pytest.mark.parametrize("computing_ms", [5, 40, 60, 300])
@pytest.mark.parametrize("tags", [(TAG + 1,), (TAG + 1, TAG + 2), (TAG + 2, TAG + 1)])
@pytest.mark.parametrize("age", [0, 1, 39, 250, 299, 301])
def test_a_result_of_a_dead_session_is_never_taken(driver, computing_ms, tags, age):
    """The program dies after its images were sent, and another starts ``age`` ms later, with the same tags."""
    device = DeviceModel(INFO, computing_ms=computing_ms)
    for tag in tags:
        device.write(Frame(command=Command.CLASSIFY, tag=tag, payload=bytes(20)).to_bytes())
    device.clock += age
    link = driver(device, tag=TAG)
    link.info()
    images = images_of(INFO, 3)
    expected = [device.result_of(image) for image in images]
    assert list(link.classify_all(images)) == expected
    # Nobody is left who could have sent anything: the next one begins at once.
    begun = device.clock
    assert list(link.classify_all(images)) == expected
    assert device.clock - begun == 3 * computing_ms


def test_a_first_result_that_cannot_be_asked_for_again_proves_nothing(driver):
    """It may be another session's: as long as no answer comes after the silence, the next result is not trusted."""
    silent = [False]

    def answer(frame, count):
        if frame.command == Command.INFO:
            return informed(frame)
        if silent[0]:
            return b""
        silent[0] = True
        return answered(frame, cycles=1000 * INFO.clock_khz)

    device = Scripted(answer)
    link = driver(device, retries=1)
    link.info()
    link.send(bytes(20))
    with fails(NO_ANSWER):
        link.result()
    silent[0] = False
    del device.silence[:]
    link.send(bytes(20))
    with fails(NO_ANSWER):
        link.result()
    assert device.silence[0] > 2 * 1000


def test_the_silence_after_the_longest_inference_is_bounded(driver):
    """2^32 - 1 clocks at 1 kHz are 50 days; what still comes in the silence after it is no noise."""
    info = make_info(clock_khz=1)
    cycles = [0xFFFF_FFFF, 5]
    late = [b"late"]

    class Slow(Scripted):
        def read(self, size, timeout):
            if timeout > 1000 and late:
                return late.pop(), 10_000
            return super().read(size, timeout)

    device = Slow(lambda frame, count: informed(frame, info) if count == 1 else
                  answered(frame, info, cycles=cycles.pop(0)))
    link = driver(device)
    link.info()
    (image,) = images_of(info, 1)
    link.send(image)
    assert link.result() == result_of(image, info, 5)
    assert device.silence[-1] == 100 + 2**27
    assert late == []


@pytest.mark.parametrize("sent", [3, 10, 26])
def test_an_unfinished_image_of_a_dead_session_is_forgotten(driver, sent):
    device = DeviceModel(INFO)
    device.write(Frame(command=Command.CLASSIFY, tag=TAG + 1, payload=bytes(20)).to_bytes()[:sent])
    link = driver(device, tag=TAG, silence=GIVE_UP_MS + 1)
    link.info()
    (image,) = images_of(INFO, 1)
    assert list(link.classify_all([image])) == [result_of(image, INFO, CYCLES)]
    assert link.faults == 0


def test_what_a_dead_session_left_is_read_before_anything_is_sent(driver):
    device = Scripted(honest)
    other = InfoReply(info=dataclasses.replace(INFO, classes=7))
    device.pending += Frame(command=Reply.INFO, tag=TAG, payload=other.to_bytes()).to_bytes() * 3
    assert driver(device, tag=TAG).info() == INFO
    assert device.silence == [SILENCE]


def test_a_line_that_is_never_silent_has_its_error(driver):
    device = Scripted(honest)
    device.read = lambda size, timeout: (bytes(size), 1)
    with fails(NOISE):
        driver(device).info()
    assert device.requests == []


def test_noise_in_place_of_an_answer_ends(driver):
    """The line is silent until the request is sent, and whenever silence is waited for."""
    device = Scripted(lambda frame, count: b"")
    device.read = lambda size, timeout: (bytes(size), 1) if timeout == 1000 else (b"", timeout)
    with fails(NO_ANSWER):
        driver(device).info()
    assert len(device.requests) == 4


@pytest.mark.parametrize("writes", range(4))
def test_a_line_that_fails_has_its_error(driver, writes):
    device = Scripted(honest)
    write, calls = device.write, []

    def failing(data):
        calls.append(data)
        return len(calls) <= writes and write(data)

    device.write = failing
    link = driver(device)
    with fails(LINE_FAILED):
        link.info()
        link.send(bytes(20))
    with fails(WRONG_USE):
        link.result(room=3)


@pytest.mark.parametrize("reads", range(4))
def test_a_line_that_fails_while_reading_has_its_error(driver, reads):
    device = Scripted(honest)
    read, calls = device.read, []

    def failing(size, timeout):
        calls.append(size)
        return read(size, timeout) if len(calls) <= reads else (None, 0)

    device.read = failing
    link = driver(device)
    with fails(LINE_FAILED):
        link.info()
        link.send(bytes(20))
        link.result()
