"""The Python API against a scripted device."""

import re

import numpy as np
import pytest

from arch.images import ImageError
from arch.link import Command, ErrorCode, FrameReader, InfoReply, Reply
from arch.network import NetworkError
from firmware.host.accelerator import Accelerator
from firmware.host.errors import ClosedError, DeviceError, PortError, RefusedError
from firmware.host.ports import Port
from reference.engines import ReferenceEngine
from reference.plain import infer
from tests.arch.images.test_payload import NOT_PLAIN
from tests.firmware.host.test_link import reply
from tests.image_files import make_network
from tests.link_board import expected_result, make_info

INFO = make_info()
IMAGES = np.random.default_rng(5).integers(0, 256, (5, 1, 4, 5), dtype=np.uint8)
CLOSED = r"^accelerator must be open, and this program has closed it: open it again$"
UNFINISHED = (r"^accelerator must have given all results of the images before it is asked again: take every result of "
              r"results\(\), or close\(\) its iterator$")


class Device:
    """Answers at once; knows the models of a directory, or none if its network is part of the bitstream."""

    def __init__(self, models=None):
        self.reader, self.pending, self.models = FrameReader(), bytearray(), models
        self.selected = INFO if models is None else models.get(0)
        self.closed = False

    def answer(self, frame):
        if frame.command == Command.SELECT:
            if self.models is None:
                return reply(frame, Reply.ERROR, bytes([ErrorCode.UNKNOWN_COMMAND]))
            if len(frame.payload) != 1:
                return reply(frame, Reply.ERROR, bytes([ErrorCode.WRONG_LENGTH]))
            self.selected = self.models.get(frame.payload[0], ErrorCode.NO_MODEL)
        if isinstance(self.selected, ErrorCode):
            return reply(frame, Reply.ERROR, bytes([self.selected]))
        if frame.command == Command.CLASSIFY:
            return reply(frame, Reply.RESULT, expected_result(frame.payload, 200).to_bytes())
        return reply(frame, Reply.INFO, InfoReply(info=self.selected).to_bytes())

    def write(self, data):
        for frame in self.reader.feed(data):
            self.pending += self.answer(frame)

    def read(self, size, timeout):
        data = bytes(self.pending[:size])
        del self.pending[:size]
        return data

    def close(self):
        self.closed = True


def accelerator(device):
    return Accelerator(Port(transport=device, name="scripted", timeout=0.01, silence=0.01, alone=True))


def test_a_batch_becomes_arrays():
    images = np.random.default_rng(3).integers(0, 256, (7, 1, 4, 5), dtype=np.uint8)
    expected = [expected_result(image.tobytes(), 200) for image in images]
    device, told = Device(), []
    with accelerator(device) as chip:
        result = chip.classify(images, progress=lambda done, total: told.append((done, total)))
        assert chip.info == INFO
    assert device.closed
    assert result.scores.tolist() == [list(one.scores) for one in expected]
    assert result.classes.tolist() == [one.label for one in expected]
    assert result.cycles.tolist() == [200] * 7
    assert result.stall_cycles.tolist() == [20] * 7
    assert result.flash_stall_cycles.tolist() == [7] * 7
    assert (result.spikes, result.unseen) == (None, None)
    assert told == [(number, 7) for number in range(1, 8)]


def test_no_images_are_an_empty_result_and_spikes_are_not_sent():
    result = accelerator(Device()).classify(np.zeros((0, 1, 4, 5), np.uint8), spikes=True)
    assert (result.scores.shape, result.classes.shape, result.spikes) == ((0, 3), (0,), None)
    assert result.unseen == "a board does not send spikes"


@pytest.mark.parametrize("images", [np.zeros((1, 1, 5, 4), np.uint8), np.zeros((1, 1, 4, 5), np.float32)])
def test_images_of_another_type_or_shape_are_refused(images):
    with pytest.raises(NetworkError, match=r"^images must "):
        accelerator(Device()).classify(images)


@pytest.mark.parametrize(("image", "message"), NOT_PLAIN)
def test_images_that_are_no_plain_array_are_refused(image, message):
    """The bytes of a masked value are those of what stood there before, for every engine."""
    network = make_network()
    engines = (accelerator(Device()).classify, accelerator(Device()).results, ReferenceEngine(network).classify,
               lambda images: infer(network, images))
    for classify in engines:
        with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
            classify(image)


def test_errors_have_types():
    chip = accelerator(Device())
    with pytest.raises(RefusedError, match=r"^device refuses SELECT: its network is part of the bitstream") as caught:
        chip.select(1)
    assert caught.value.code == ErrorCode.UNKNOWN_COMMAND
    assert isinstance(caught.value, DeviceError)


@pytest.mark.parametrize("use", [
    lambda chip: chip.info, lambda chip: chip.counters, lambda chip: chip.ask_counters(), lambda chip: chip.select(0),
    lambda chip: chip.selectable(), lambda chip: chip.classify(IMAGES), lambda chip: next(chip.results(IMAGES)),
])
def test_a_closed_accelerator_is_asked_nothing(use):
    device = Device()
    chip = accelerator(device)
    assert chip.info == INFO
    chip.close()
    chip.close()
    with pytest.raises(ClosedError, match=CLOSED):
        use(chip)


@pytest.mark.parametrize("use", [
    lambda chip: chip.classify(IMAGES), lambda chip: next(chip.results(IMAGES)), lambda chip: chip.ask_counters(),
    lambda chip: chip.select(0), lambda chip: chip.selectable(),
])
def test_a_request_among_results_is_refused_at_once(use):
    expected = [expected_result(image.tobytes(), 200) for image in IMAGES]
    with accelerator(Device({0: INFO})) as chip:
        results = chip.results(IMAGES)
        found = [next(results)]
        with pytest.raises(DeviceError, match=UNFINISHED):
            use(chip)
        assert chip.info == INFO
        # The results go on as if nothing had been.
        assert [*found, *results] == expected
        assert chip.repeated == 0
        use(chip)


def test_results_that_were_not_taken_do_not_stand_in_the_way():
    with accelerator(Device()) as chip:
        results = chip.results(IMAGES)
        next(results)
        results.close()
        assert chip.classify(IMAGES[:2]).scores.tolist() == [
            list(expected_result(image.tobytes(), 200).scores) for image in IMAGES[:2]]


NAMES = "port must be the name of a serial device, auto, sim:rom, sim:overlay or pipe:COMMAND, not"
BAUD = "baud must be 1000000, 3000000 or 12000000, not"
TIMEOUT = "timeout must be 0.001 to 3600 seconds, not"


@pytest.mark.parametrize(("port", "options", "error", "message"), [
    ("/nowhere", {"baud": 9600}, PortError, f"{BAUD} 9600"),
    ("/nowhere", {"baud": 3e6}, PortError, f"{BAUD} 3000000.0"),
    ("/nowhere", {"baud": True}, PortError, f"{BAUD} True"),
    ("/nowhere", {"baud": "3000000"}, PortError, f"{BAUD} '3000000'"),
    ("/nowhere", {"timeout": 0}, DeviceError, f"{TIMEOUT} 0"),
    ("/nowhere", {"timeout": float("nan")}, DeviceError, f"{TIMEOUT} nan"),
    ("sim", {"timeout": float("inf")}, DeviceError, f"{TIMEOUT} inf"),
    ("sim", {"timeout": 3600.0001}, DeviceError, f"{TIMEOUT} 3600.0001"),
    ("sim", {"timeout": True}, DeviceError, f"{TIMEOUT} True"),
    ("sim", {"timeout": "1"}, DeviceError, f"{TIMEOUT} '1'"),
    ("", {}, PortError, f"{NAMES} ''"),
    (None, {}, PortError, f"{NAMES} None"),
    (5, {}, PortError, f"{NAMES} 5"),
    ("pipe:/nope", {}, PortError,
     "--port pipe: must be followed by a program that can be started, not '/nope': No such file or directory"),
    ("pipe:a\0b", {}, PortError,
     "--port pipe: must be followed by a program that can be started, not 'a\\x00b': embedded null byte"),
    ("/nowhere", {}, PortError, "port /nowhere must be a serial device that can be used: No such file or directory"),
])
def test_what_cannot_be_opened_is_one_line(port, options, error, message):
    with pytest.raises(error) as caught:
        Accelerator.open(port, **options)
    assert str(caught.value) == message


def test_the_timeout_of_an_open_port_is_checked_too():
    with pytest.raises(DeviceError, match=f"^{TIMEOUT} -1$"):
        Accelerator(Port(transport=Device(), name="scripted", timeout=0.01, silence=0.01), timeout=-1)
