"""Faults of the link, each of which the judge must find within the strings of the default run."""

import pytest

from tests.fuzz.link.mutants import MUTANTS
from tests.fuzz.link.session import Bench, faults
from tests.fuzz.link.shared import DEVICES, MUTABLE, MUTANT_ROWS, shared_rig
from tests.fuzz.link.test_strings import SEED, STRINGS

pytestmark = pytest.mark.rtl


def found(number, strings):
    with Bench(shared_rig(), len(DEVICES), MUTABLE, {MUTANT_ROWS: number}) as bench:
        return next(faults(bench, range(strings), SEED), None)


@pytest.mark.parametrize("number", range(1, len(MUTANTS) + 1), ids=[mutant.name for mutant in MUTANTS])
def test_a_fault_of_the_link_is_found(number):
    assert MUTANTS[number - 1].times_found() == 1
    fault = found(number, STRINGS * DEVICES[MUTABLE] // 100)
    assert fault is not None
    assert fault.startswith(f"{MUTABLE.name}, string ")


def test_the_same_link_without_its_faults_has_none():
    assert found(0, 200) is None
