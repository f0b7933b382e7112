import dataclasses
import re

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
    assert holes.min() >= 4
    assert holes.max() == 16


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


def test_cropping_moves_whole_pixels_and_reaches_all_places():
    dot = torch.zeros(400, 1, 9, 9, dtype=torch.uint8)
    dot[:, :, 4, 4] = 200
    result = distorted(Augmentation(crop_padding=2), dot)[:, 0]
    assert ((result == 200).sum((1, 2)) == 1).all()
    assert ((result == 0).sum((1, 2)) == 80).all()
    places = {tuple(place) for place in result.nonzero()[:, 1:].tolist()}
    assert places == {(row, column) for row in range(2, 7) for column in range(2, 7)}


def test_cropping_brings_in_zeros_and_keeps_channels_together():
    batch = torch.randint(1, 256, (50, 3, 7, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(SEED))
    result = distorted(Augmentation(crop_padding=3), batch)
    padded = torch.nn.functional.pad(batch, (3, 3, 3, 3)).float()
    for image, whole in zip(result, padded, strict=True):
        assert any(torch.equal(image, whole[:, row:row + 7, column:column + 10])
                   for row in range(7) for column in range(7))


def test_cropping_goes_with_every_other_distortion():
    how = dataclasses.replace(ALL, crop_padding=2)
    result = distorted(how)
    assert torch.equal(result, distorted(how))
    assert torch.equal(result, result.round())
    assert not torch.equal(result, distorted(ALL))


def test_mirroring_draws_as_many_numbers_and_gives_the_same_as_interpolation():
    # The smallest rotation is interpolated; it moves no pixel by as much as rounding would show.
    mirror, turn = Augmentation(mirror=0.5, erase=0.5), Augmentation(mirror=0.5, erase=0.5, rotation=1e-6)
    plain, turned = (torch.Generator().manual_seed(3) for _ in range(2))
    batch = images(40)
    assert torch.equal(augment(batch, mirror, plain), augment(batch, turn, turned))
    assert torch.equal(plain.get_state(), turned.get_state())


@pytest.mark.parametrize("how", [Augmentation(crop_padding=2), dataclasses.replace(ALL, crop_padding=1)],
                         ids=["crop", "all"])
def test_frames_of_a_recording_move_together_and_stay_binary(how):
    frame = torch.randint(0, 2, (20, 1, 2, 11, 13), dtype=torch.uint8,
                          generator=torch.Generator().manual_seed(SEED))
    result = distorted(how, frame.expand(20, 4, 2, 11, 13))
    assert result.shape == (20, 4, 2, 11, 13)
    assert result.dtype == torch.float32
    assert set(result.unique().tolist()) == {0, 1}
    assert torch.equal(result, result[:, :1].expand_as(result))
    assert not torch.equal(result[:, 0], frame[:, 0].float())


def test_wrong_extents_are_named():
    with pytest.raises(ValueError, match=r"^augmentation crop_padding must be an integer from 0 to 1024, not 1\.5$"):
        Augmentation(crop_padding=1.5)
    with pytest.raises(ValueError, match=r"^augmentation shift must be a number from 0 to 1024, not -1$"):
        Augmentation(shift=-1)
    with pytest.raises(ValueError, match=r"^augmentation elastic_points must be an integer from 2 to 1024, not 1$"):
        Augmentation(elastic_points=1)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Augmentation)])
def test_every_extent_is_bounded(field):
    """An integer of any length, and a number that float32 does not hold, would fail in the first step."""
    shown = {10**30: "1" + 30 * "0", 10**400: "1" + 36 * "0" + "...", 1e300: "1e+300", float("inf"): "inf",
             float("nan"): "nan", True: "True", "1": "'1'", None: "None"}
    for value, text in shown.items():
        with pytest.raises(ValueError, match=rf"^augmentation {field} must be an? (number|integer) from \d to \d+, "
                                             rf"not {re.escape(text)}$"):
            Augmentation(**{field: value})
