import pytest
import torch

from train.augmentation import Augmentation, augment

SEED = 9
ALL = Augmentation(shift=2, rotation=15, scaling=0.1, shear=0.1, elastic=0.7, mirror=0.5, erase=0.5)


def images(count=6, side=12):
    return torch.randint(0, 256, (count, 1, side, side), dtype=torch.uint8,
                         generator=torch.Generator().manual_seed(SEED))


def distorted(how, batch=None, seed=1):
    return augment(images() if batch is None else batch, how, torch.Generator().manual_seed(seed))


def test_no_distortion_leaves_the_images():
    assert torch.equal(distorted(Augmentation()), images().float())


def test_result_is_whole_pixels_and_depends_only_on_the_seed():
    result = distorted(ALL)
    assert torch.equal(result, distorted(ALL))
    assert not torch.equal(result, distorted(ALL, seed=2))
    assert result.shape == (6, 1, 12, 12)
    assert torch.equal(result, result.round())
    assert 0 <= result.min() <= result.max() <= 255


def test_mirroring_all_is_a_flip():
    assert torch.equal(distorted(Augmentation(mirror=1.0)), images().flip(-1).float())


def test_erasing_sets_a_square_to_zero():
    white = torch.full((20, 1, 12, 12), 255, dtype=torch.uint8)
    result = distorted(Augmentation(erase=1.0, erase_side=4), white)
    holes = (result == 0).sum((1, 2, 3))
    assert holes.min() >= 9
    assert holes.max() == 25


def test_images_move_by_at_most_the_shift():
    dot = torch.zeros(200, 1, 13, 13, dtype=torch.uint8)
    dot[:, :, 6, 6] = 255
    result = distorted(Augmentation(shift=2), dot)[:, 0]
    rows, columns = (result.sum(axis) for axis in (2, 1))
    position = torch.arange(13.0)
    for line in (rows, columns):
        centre = (line * position).sum(1) / line.sum(1) - 6
        assert centre.abs().max() <= 2.02
        assert centre.abs().max() > 1.5


def test_wrong_extents_are_named():
    with pytest.raises(ValueError, match=r"^augmentation shift must be a number from 0, not -1$"):
        Augmentation(shift=-1)
    with pytest.raises(ValueError, match=r"^augmentation elastic_points must be an integer from 2, not 1$"):
        Augmentation(elastic_points=1)
