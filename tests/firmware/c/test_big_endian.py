"""The C driver on a processor whose bytes are in the other order than those of the line."""

import contextlib
import pathlib
import shutil

import pytest

from arch.link import LinkCounters
from tests.firmware.c.compilers import SOURCES, compile_c
from tests.firmware.c.device_model import DeviceModel, result_of
from tests.firmware.c.driver import Driver
from tests.firmware.c.test_driver import CYCLES, INFO, Scripted, honest, images_of
from tests.link_board import make_info

COMPILER, EMULATOR = "powerpc-linux-gnu-gcc", "qemu-ppc-static"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which(EMULATOR) is None:
        pytest.skip(f"{EMULATOR} is not installed")
    program = tmp_path_factory.mktemp("driver") / "driver_process"
    compile_c("-Os", "-static", SOURCES / "sterna.c", pathlib.Path(__file__).with_name("driver_process.c"), "-o",
              program, compiler=COMPILER)
    return program


@pytest.fixture
def driver(program):
    """Begin a session on a line."""
    with contextlib.ExitStack() as stack:
        def begin(line):
            one = stack.enter_context(Driver(program, line, order=">", emulator=(EMULATOR,)))
            one.begin()
            return one

        yield begin


def test_numbers_are_turned(driver):
    info = make_info(height=300, width=3, classes=300, clock_khz=0x12345678)
    device = DeviceModel(info)
    link = driver(device)
    assert link.info() == info
    images = images_of(info, 3)
    assert list(link.classify_all(images)) == [device.result_of(image) for image in images]
    assert link.faults == 0


def test_bytes_are_not_turned(driver):
    link = driver(Scripted(honest))
    assert link.info() == INFO
    assert link.counters == LinkCounters(bad_frames=255, overruns=2, aborted_frames=31)


def test_the_first_result_is_asked_for_again_after_a_long_inference(driver):
    """The clocks of that result are a number too: the silence after it follows from them."""
    device = DeviceModel(INFO, computing_ms=300)
    link = driver(device)
    link.info()
    image, other = images_of(INFO, 2)
    link.send(image)
    begun = device.clock
    assert link.result() == result_of(image, INFO, 300 * INFO.clock_khz)
    assert device.clock - begun > 3 * 300
    link.send(other)
    assert link.result(room=0).label == result_of(other, INFO, CYCLES).label
