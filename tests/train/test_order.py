"""No test depends on the random numbers that those before it have drawn."""

import pytest
import torch

from train.layers import Readout

FIRST = torch.rand(3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def shared():
    return torch.rand(3)


@pytest.mark.parametrize("run", range(3))
def test_every_test_begins_with_the_same_random_numbers(run):
    assert torch.equal(torch.rand(3), FIRST)
    Readout(100, 10)


def test_so_does_a_fixture_of_several_tests(shared):
    assert torch.equal(shared, FIRST)
