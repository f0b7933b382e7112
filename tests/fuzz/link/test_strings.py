"""Strings of every kind: the device answers each request once and rightly, nothing else, and never falls silent."""

import itertools
import logging

import pytest

from tests.fuzz.link.devices import SystemDevice
from tests.fuzz.link.session import BATCH, Bench, compile_rig, faults
from tests.fuzz.link.shared import DEVICES, LONG_DEVICES, shared_rig
from tests.fuzz.link.strings import KINDS

pytestmark = pytest.mark.rtl

SEED = 0x57E4
#: Strings of the default run, on all devices.
STRINGS = 5000


@pytest.mark.parametrize("number", range(len(DEVICES)), ids=[device.name for device in DEVICES])
def test_every_string_is_answered_as_it_must_be(number):
    device, share = list(DEVICES.items())[number]
    with Bench(shared_rig(), number, device) as bench:
        assert list(itertools.islice(faults(bench, range(STRINGS * share // 100), SEED), 5)) == []
    tally = bench.tally
    # Kinds that are rare are in the strings of the first device.
    assert set(tally.kinds) == set(KINDS) or number
    assert (set(tally.answers), tally.undecided) == ({0x81, 0x82, 0x84}, 0)


@pytest.mark.long
@pytest.mark.parametrize("device", LONG_DEVICES, ids=lambda device: device.name)
def test_every_one_of_many_strings_is_answered_as_it_must_be(device, pytestconfig):
    first = -(-STRINGS // BATCH) * BATCH
    count = pytestconfig.getoption("--fuzzed-strings") * LONG_DEVICES[device] // 100
    with Bench(compile_rig([device.component()]), 0, device) as bench:
        found = list(itertools.islice(faults(bench, range(first, first + count), SEED), 5))
    # Shown with --log-cli-level=INFO.
    logging.getLogger(__name__).info("%s, seed %s: %s", device.name, SEED, bench.tally)
    assert found == []
    # Where the core is a real one, no data sheet tells when an image buffer is free again, to the clock.
    assert bench.tally.undecided <= (count / 20 if isinstance(device, SystemDevice) else 0)
