"""Images of a data set in a folder, and the networks that they are samples for."""

import numpy as np
import pytest

from arch.images import samples_of
from arch.network import Encoding, Input, Network, Readout
from tests.image_files import idx


def network(*, height=4, classes=3, training=None):
    source = Input(encoding=Encoding.PIXELS, channels=1, height=height, width=5)
    readout = Readout(weights=np.zeros((classes, 5 * height), np.int8))
    return Network(input=source, layers=(readout,), timesteps=2, metadata={"training": training})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own-images.idx.gz").write_bytes(idx(np.arange(40, dtype=np.uint8).reshape(2, 4, 5)))
    (tmp_path / "own-labels.idx.gz").write_bytes(idx(np.array([2, 0], np.uint8)))
    return tmp_path


def test_samples_are_those_of_the_data_set(folder):
    found = samples_of(network(training={"dataset": "own"}), folder)
    assert found.dataset == "own"
    assert found.images.tolist() == np.arange(40).reshape(2, 1, 4, 5).tolist()
    assert found.labels.tolist() == [2, 0]


@pytest.mark.parametrize("options", [
    {}, {"training": "own"}, {"training": {"dataset": ["own"]}}, {"training": {"dataset": "other"}},
    {"training": {"dataset": "../own"}}, {"training": {"dataset": "own"}, "height": 3},
    {"training": {"dataset": "own"}, "classes": 2},
])
def test_a_network_of_other_images_has_none(options, folder):
    assert samples_of(network(**options), folder) is None
