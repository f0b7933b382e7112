import pytest
import torch

from arch.network import Encoding
from train.datasets import DATASETS, DataError, Split, split_validation


def test_every_data_set_has_its_own_name_and_says_what_it_is():
    assert {name: (dataset.encoding, dataset.classes, dataset.shape) for name, dataset in DATASETS.items()} == {
        "mnist": (Encoding.PIXELS, 10, (1, 28, 28)),
        "fashion-mnist": (Encoding.PIXELS, 10, (1, 28, 28)),
        "cifar-10": (Encoding.PIXELS, 10, (3, 32, 32)),
        "cifar-100": (Encoding.PIXELS, 100, (3, 32, 32)),
        "cifar-100-coarse": (Encoding.PIXELS, 20, (3, 32, 32)),
        "n-mnist": (Encoding.EVENTS, 10, (2, 34, 34)),
        "n-mnist-small": (Encoding.EVENTS, 10, (2, 34, 34)),
        "dvs-gesture": (Encoding.EVENTS, 11, (2, 128, 128)),
        "shd": (Encoding.EVENTS, 20, (1, 1, 700)),
    }


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 1, 1)], ids=["pixels", "events"])
def test_validation_split_is_always_the_same_and_leaves_the_rest(shape):
    images = torch.arange(50, dtype=torch.uint8).reshape(50, *[1] * len(shape)).expand(50, *shape)
    split = Split(images=images, labels=torch.arange(50))
    train, validation = split_validation(split, 12)
    assert (len(train), len(validation)) == (38, 12)
    assert sorted([*train.labels.tolist(), *validation.labels.tolist()]) == list(range(50))
    assert validation.labels.tolist() == split_validation(split, 12)[1].labels.tolist()
    assert validation.images.shape == (12, *shape)
    assert validation.images.flatten(1)[:, 0].tolist() == validation.labels.tolist()
    with pytest.raises(DataError, match=(r"^validation_images must be 1 to 49, as there are 50 training images, "
                                            r"not 50: change it in the recipe$")):
        split_validation(split, 50)
