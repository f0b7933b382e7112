"""How many images are on their way: as many as hide how late results come, and never one for which there is no room."""

import dataclasses
import math
import random

import pytest

from arch.link import Command, ErrorCode, FrameReader, Reply
from firmware.host import link as link_module
from firmware.host.accelerator import Accelerator
from firmware.host.errors import DeviceError
from firmware.host.latency import images_on_their_way
from firmware.host.link import Link
from firmware.host.ports import Port
from firmware.host.transports import SerialTransport
from tests.firmware.host.device import BAUD, TwinDevice, Wire
from tests.link_board import expected_result, make_info

SEED = 0x68
#: Images of 256 bytes: 877 microseconds on the line, and an inference that takes 200.
INFO = dataclasses.replace(make_info(clock_khz=1000), image_height=16, image_width=16)
LINE = 263 * 10 / BAUD


class Bridge(TwinDevice):
    """A device behind a USB bridge, which hands on what the device sends once in ``period`` seconds."""

    def __init__(self, *models, period=0.0, **options):
        super().__init__(*models, **options)
        self.period = period
        #: Answers that say so; images on their way, each with its last tag, and the most since that was last set to 0.
        self.busy, self.under_way, self.most = 0, {}, 0
        self.asked, self.answered = FrameReader(), FrameReader()

    def write(self, data):
        self.under_way.update((frame.payload, frame.tag) for frame in self.asked.feed(data)
                              if frame.command == Command.CLASSIFY)
        self.most = max(self.most, len(self.under_way))
        super().write(data)

    def read(self, size, timeout):
        data = super().read(size, timeout)
        if not data:
            # The line was empty for so long that nothing is on its way any more.
            self.under_way.clear()
        if data and self.period:
            self.clock = math.ceil(self.clock / self.period) * self.period
            data += super().read(size, 0)
        for frame in self.answered.feed(data):
            if frame.command == Reply.RESULT:
                self.under_way = {image: tag for image, tag in self.under_way.items() if tag != frame.tag}
            self.busy += frame.command == Reply.ERROR and frame.payload == bytes((ErrorCode.BUSY,))
        return data


def images(count):
    return [random.Random(number).randbytes(INFO.image_bytes) for number in range(count)]


def classified(link, count=60, cycles=200):
    """Classify images, whose results must be right."""
    assert list(link.classify_all(images(count))) == [expected_result(image, cycles) for image in images(count)]


@pytest.fixture
def linked(monkeypatch):
    def make(device, **options):
        monkeypatch.setattr(link_module.time, "monotonic", device.monotonic)
        return Link(device, tag=3, alone=True, **options)
    return make


@pytest.mark.parametrize("latency_ms", [0, 1, 16])
def test_the_line_is_never_empty_however_late_results_come(linked, latency_ms):
    device = Bridge(INFO, period=latency_ms / 1000)
    link = linked(device, baud=BAUD, latency_ms=latency_ms)
    classified(link)
    begun = device.clock
    classified(link)
    # The last result is late, and the line was empty before the first image.
    assert device.clock - begun < 60 * LINE + 0.001 + 2 * device.period
    assert device.busy == link.repeated == 0
    assert device.most == images_on_their_way(256, INFO.classes, baud=BAUD, latency_ms=latency_ms,
                                              inference_seconds=0.0002)


def test_two_images_of_a_bridge_with_a_slow_timer_leave_the_line_empty(linked):
    """What more than two are for: without the rate of the line, there is no telling that they have room."""
    device = Bridge(INFO, period=0.016)
    classified(linked(device, latency_ms=16))
    assert device.most == 2
    assert device.clock == pytest.approx(0.016 * 60 / 2, rel=0.1)


@pytest.mark.parametrize(("cycles", "most"), [(700, 16), (780, 16), (800, 2), (5000, 2)])
def test_an_inference_as_long_as_an_image_on_the_line_leaves_room_for_two(linked, cycles, most):
    """877 microseconds, of which nine tenths are 789."""
    device = Bridge(INFO, computing=cycles / 1e6, cycles=cycles)
    link = linked(device, baud=BAUD, latency_ms=7)
    classified(link, cycles=cycles)
    assert (device.most, device.busy) == (most, 0)


def test_a_result_as_long_as_an_image_leaves_room_for_two(linked):
    """An image of 20 bytes, and a result of more: results would pile up in the device."""
    small = make_info(clock_khz=1000)
    device = Bridge(small, computing=0.00002, cycles=20)
    link = linked(device, baud=BAUD)
    batch = [bytes((number,)) * small.image_bytes for number in range(40)]
    assert list(link.classify_all(batch)) == [expected_result(image, 20) for image in batch]
    assert (device.most, device.busy) == (2, 0)


@pytest.mark.parametrize(("computing", "buffers", "most"), [(0.002, 2, 2), (0.0002, 1, 1)])
def test_a_device_that_has_no_room_is_asked_for_less(linked, computing, buffers, most):
    """It takes longer than its clocks say, or its model leaves no room for two."""
    device = Bridge(INFO, computing=computing, buffers=buffers)
    link = linked(device, baud=BAUD)
    classified(link)
    refused, device.most = device.busy, 0
    assert refused > 0
    classified(link)
    assert (device.most, device.busy) == (most, refused)


class Once(Wire):
    """Loses a byte of one frame."""

    def __init__(self, number):
        super().__init__(0, 0)
        self.left = number

    def carry(self, frame):
        self.left -= 1
        return frame[:100] + frame[101:] if self.left == 0 else frame


def test_after_a_fault_two_images_are_on_their_way_and_one_more_with_every_result(linked):
    device = Bridge(INFO, requests=Once(40))
    link = linked(device, baud=BAUD)
    most, before = [], 0
    for result, image in zip(link.classify_all(images(80)), images(80), strict=True):
        assert result == expected_result(image, 200)
        if link.repeated > before:
            before, device.most = link.repeated, len(device.under_way)
        most.append(device.most)
    first = most.index(8)
    assert sorted(most[:first]) == most[:first], "one more with every result"
    fault = most.index(min(most[first:]), first)
    assert most[fault] <= 3
    assert most[-1] == 8
    assert (device.busy, before) == (0, 3)


@pytest.mark.parametrize("seed", range(2))
def test_with_many_images_on_their_way_faults_end_no_more_sessions(seed, monkeypatch):
    """What is lost behind a broken frame is not held against it: each is given up for its own faults."""
    ended = {}
    for baud in (None, BAUD):
        device = TwinDevice(INFO, requests=Wire(0.0005, seed), replies=Wire(0.0005, seed + 1))
        monkeypatch.setattr(link_module.time, "monotonic", device.monotonic)
        monkeypatch.setattr(link_module.secrets, "randbelow", random.Random(seed).randrange)
        ended[baud] = right = 0
        for _ in range(40):
            try:
                for result, image in zip(Link(device, baud=baud).classify_all(images(30)), images(30), strict=True):
                    assert result == expected_result(image, 200)
                    right += 1
            except DeviceError:
                ended[baud] += 1
        assert device.requests.faults.passed == device.replies.faults.passed == 0
        assert right > 600
    assert ended[BAUD] <= ended[None] + 3, ended


def test_the_python_api_tells_the_link_the_rate_and_the_timer(monkeypatch):
    seen = {}
    monkeypatch.setattr("firmware.host.accelerator.Link", lambda transport, **options: seen.update(options))
    transport = object.__new__(SerialTransport)
    transport.latency_ms = 16
    Accelerator(Port(transport=transport, name="line", timeout=1, silence=1, baud=BAUD))
    assert (seen["baud"], seen["latency_ms"]) == (BAUD, 16)
    Accelerator(Port(transport=TwinDevice(INFO), name="line", timeout=1, silence=1))
    assert (seen["baud"], seen["latency_ms"]) == (None, 0)
