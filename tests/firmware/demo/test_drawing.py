"""Drawings as images of MNIST."""

import numpy as np
import pytest

from arch.images import load_images
from firmware.demo.drawing import BOX, SIDE, as_drawn, as_mnist
from models import SAMPLES
from support.errors import InputError
from tests.firmware.demo.boards import MNIST

DIGITS = load_images(SAMPLES / "mnist-images.idx.gz", MNIST)[:, 0]


def larger(image):
    """An image of MNIST as a drawing: ten pixels for one."""
    return image.repeat(10, axis=0).repeat(10, axis=1)


def test_images_of_mnist_stay_what_they_are():
    """The rule is the one by which they were made, so it changes none of them."""
    assert np.array_equal([as_mnist(larger(digit), SIDE, SIDE) for digit in DIGITS], DIGITS)


@pytest.mark.parametrize(("top", "left", "factor"), [(0, 0, 1), (150, 200, 1), (30, 10, 4)])
def test_place_and_size_of_a_drawing_do_not_matter(top, left, factor):
    digit = DIGITS[0].repeat(factor, axis=0).repeat(factor, axis=1)
    drawing = np.zeros((300, 300), np.uint8)
    drawing[top:top + len(digit), left:left + len(digit)] = digit
    assert np.array_equal(as_mnist(drawing, SIDE, SIDE), as_mnist(larger(DIGITS[0]), SIDE, SIDE))


def test_longer_side_fills_the_box_and_the_mass_is_in_the_middle():
    drawing = np.zeros((280, 280), np.uint8)
    drawing[20:220, 5:45] = 255
    image = as_mnist(drawing, SIDE, SIDE)
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert (len(rows), len(columns)) == (BOX, 4)
    # The middle of 20 pixels is between two of them, and the nearest even number is taken.
    assert (rows[0] + rows[-1], columns[0] + columns[-1]) == (2 * 14 - 1, 2 * 14 - 1)
    assert set(image[image > 0]) == {255}


def test_mass_far_from_the_middle_stays_in_the_image():
    drawing = np.zeros((280, 280), np.uint8)
    drawing[0, :] = 255
    drawing[:40, :40] = 255
    drawing[270:, 279] = 1
    image = as_mnist(drawing, SIDE, SIDE)
    assert image.shape == (SIDE, SIDE)
    assert image.any()


def test_other_sizes_keep_the_proportions_of_box_and_centre():
    drawing = np.zeros((100, 200), np.uint8)
    drawing[10:60, 20:120] = 255
    image = as_mnist(drawing, 56, 84)
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert (len(rows), len(columns)) == (30, 60)
    assert (rows[0], columns[0]) == (28 - 14, 42 - 30)


@pytest.mark.parametrize("mark", [(0, 0), (279, 140)])
def test_a_dot_is_an_image(mark):
    drawing = np.zeros((280, 280), np.uint8)
    drawing[mark] = 1
    assert as_mnist(drawing, SIDE, SIDE).shape == (SIDE, SIDE)


def test_an_empty_drawing_is_refused():
    with pytest.raises(InputError, match=r"^drawing must have ink, not be empty: draw something$"):
        as_mnist(np.zeros((280, 280), np.uint8), SIDE, SIDE)


def test_a_drawing_as_it_is_keeps_its_place():
    assert np.array_equal(as_drawn(larger(DIGITS[3]), SIDE, SIDE), DIGITS[3])
    assert not as_drawn(np.zeros((50, 70), np.uint8), 28, 32).any()
