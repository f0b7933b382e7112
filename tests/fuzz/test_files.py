"""Damaged files of every kind: none is accepted in silence, none ends in a traceback, none hangs."""

import itertools

import pytest

from tests.fuzz import build_files, graph_files, image_files, network_files, training_files
from tests.fuzz.oracle import faults

KINDS = [*network_files.KINDS, *build_files.KINDS, *image_files.KINDS, *training_files.KINDS, *graph_files.KINDS]
SEED = 0x57E4
#: Damaged files of each kind in the default run.
FILES = 300


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damaged_files_are_refused_in_one_line(kind, tmp_path):
    assert list(itertools.islice(faults(kind, range(FILES), SEED, tmp_path), 20)) == []


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_many_damaged_files_are_refused_in_one_line(kind, tmp_path, pytestconfig):
    cases = range(FILES, FILES + pytestconfig.getoption("--damaged-files"))
    assert list(itertools.islice(faults(kind, cases, SEED, tmp_path), 20)) == []
