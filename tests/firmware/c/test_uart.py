"""The example for a microcontroller, with registers that are played, and a model of a device on its UART."""

import pathlib
import shutil
import struct
import subprocess

import pytest

from arch.link import ErrorCode
from tests.firmware.c.compilers import SANITIZED, SOURCES, compile_c
from tests.firmware.c.device_model import DeviceModel
from tests.firmware.c.test_driver import INFO, images_of
from tests.link_board import make_info

#: Milliseconds that a byte takes on the line.
BYTE_MS = 0.05


class Microcontroller:
    """The example in a process, and this end of its UART: a context manager, which checks that no byte was lost."""

    def __init__(self, program, device):
        self.device = device
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(10) == 0

    def number(self):
        return struct.unpack("=i", self.process.stdout.read(4))[0]

    def call(self, command):
        pipe, device = self.process.stdin, self.device
        pipe.write(command)
        pipe.flush()
        while (kind := self.process.stdout.read(1)) != b"d":
            if kind == b"w":
                device.write(self.process.stdout.read(1))
                device.clock += BYTE_MS
            else:
                assert kind == b"t"
                device.clock += 1
            device.collect()
            # The program reads the time three times at most before it looks at the UART, which keeps 16 bytes.
            arrived = bytes(device.pending[:1 if kind == b"w" else 5])
            del device.pending[:len(arrived)]
            pipe.write(struct.pack("=I", len(arrived)) + arrived)
            pipe.flush()
        return self.number()

    def classify(self, image):
        return self.call(b"C" + struct.pack("=I", len(image)) + image)

    def classify_all(self, images):
        """Faults of the line, and the labels."""
        faults = self.call(b"P" + struct.pack("=2I", len(images), len(images[0])) + b"".join(images))
        return faults, [self.number() for _ in images]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("uart")
    compile_c(*SANITIZED, "-c", SOURCES / "sterna.c", "-o", folder / "sterna.o")
    subprocess.run(["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", *SANITIZED, "-I", SOURCES,
                    pathlib.Path(__file__).with_name("uart_process.cpp"), folder / "sterna.o", "-o", folder / "uart"],
                   check=True)
    return folder / "uart"


def test_images_are_classified_one_by_one(program):
    device = DeviceModel(INFO)
    images = images_of(INFO, 4)
    with Microcontroller(program, device) as chip:
        assert [chip.classify(image) for image in images] == [device.result_of(image).label for image in images]


def test_results_that_come_while_an_image_is_sent_are_kept(program):
    """Images are long, inferences short: the result of one comes in the middle of the next."""
    info = make_info(height=30, width=30, classes=10)
    device = DeviceModel(info, computing_ms=5)
    images = images_of(info, 6)
    during = []
    write = device.write

    def watched(data):
        during.append(bool(device.pending))
        return write(data)

    device.write = watched
    with Microcontroller(program, device) as chip:
        assert chip.classify_all(images) == (0, [device.result_of(image).label for image in images])
    assert any(during)


def test_what_goes_wrong_is_a_negative_number(program):
    with Microcontroller(program, DeviceModel(INFO)) as chip:
        assert chip.classify(bytes(19)) == -100 - ErrorCode.WRONG_LENGTH
    silent = DeviceModel(INFO, rate=1.0)
    silent.damaged = lambda data: bytearray()
    with Microcontroller(program, silent) as chip:
        assert chip.classify(bytes(20)) == -1
