"""Faults on the wire: 10,000 of them, and the C driver returns the right result or one error, always."""

import random

import pytest

from tests.firmware.c.device_model import DeviceModel
from tests.firmware.c.driver import MALFORMED, NO_ANSWER, NOISE, Driver, DriverError, compiled
from tests.link_board import make_info

SEED = 0x66
INFO = make_info()
#: Faults of the whole run, at least.
FAULTS = 10_000
#: Probabilities of a fault per byte, the faults that each of them makes, and milliseconds of an inference.
PARTS = [(0.002, 300, 5), (0.01, 4_700, 5), (0.01, 2_000, 80), (0.03, 2_500, 5), (0.2, 500, 5)]
#: What a line with faults may end with; the codes of the device are about requests that arrived.
ENDS = {NO_ANSWER, NOISE, MALFORMED}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("driver"))


def test_the_parts_have_all_faults():
    assert sum(faults for _, faults, _ in PARTS) >= FAULTS


@pytest.mark.parametrize(("rate", "faults", "computing_ms"), PARTS)
def test_faults_on_the_wire_give_the_right_result_or_one_error(program, rate, faults, computing_ms):
    """A CRC of 16 bits misses one in 65,536 of the frames that lost or gained bytes: none with these seeds."""
    rng = random.Random(SEED)
    device = DeviceModel(INFO, computing_ms=computing_ms, rate=rate, seed=SEED)
    right = wrong = 0
    ends = []
    with Driver(program, device) as link:
        while sum(device.faults.values()) < faults:
            # Of an earlier session, a tag may be one that this session waits for; that case has tests of its own.
            device.tags.clear()
            link.begin(tag=rng.randrange(256), retries=15, timeout=500)
            images = [rng.randbytes(INFO.image_bytes) for _ in range(40)]
            try:
                assert link.info() == INFO
                for image, result in zip(images, link.classify_all(images), strict=True):
                    right += result == device.result_of(image)
                    wrong += result != device.result_of(image)
            except DriverError as error:
                ends.append(error.status)
    assert wrong == 0
    assert set(ends) <= ENDS
    assert set(device.faults) == {"flipped", "lost", "doubled", "invented", "dead", "silence"}
    # Where faults are rare, all is repeated until it is right.
    assert right > 0 or rate == 0.2
    assert ends == [] or rate > 0.02
