import hashlib
import re

import numpy as np
import pytest

from arch.images import ImageError, check_array, image_bytes, images_digest, shape_images
from arch.network import Encoding
from tests.image_files import make_network

RNG = np.random.default_rng(5)


def test_pixels_go_row_by_row_with_their_channels_together():
    network = make_network(channels=3)
    image = RNG.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    expected = bytes(image[channel, row, column] for row in range(4) for column in range(5) for channel in range(3))
    assert image_bytes(network, image) == expected


@pytest.mark.parametrize("timesteps", [1, 2, 8])
def test_events_carry_a_timestep_per_bit(timesteps):
    network = make_network(channels=2, encoding=Encoding.EVENTS, timesteps=timesteps)
    (image,) = shape_images(RNG.integers(0, 2, (timesteps, 2, 4, 5), dtype=np.uint8), network)
    expected = bytes(sum(int(image[t, channel, row, column]) << t for t in range(timesteps))
                     for row in range(4) for column in range(5) for channel in range(2))
    assert image_bytes(network, image) == expected


def test_more_timesteps_than_bits_are_refused():
    network = make_network(encoding=Encoding.EVENTS, timesteps=9)
    with pytest.raises(ImageError, match=r"^events must have at most 8 timesteps to be sent, not 9$"):
        image_bytes(network, np.zeros((9, 1, 4, 5), bool))


NOT_PLAIN = [
    (np.ma.masked_equal(np.zeros((1, 4, 5), np.uint8), 0),
     "images must be a numpy.ndarray, not MaskedArray: fill the masked values, with filled(VALUE)"),
    (np.zeros((1, 4, 5), np.uint8).view(np.recarray),
     "images must be a numpy.ndarray, not recarray: convert them, with numpy.asarray()"),
    ([[[0] * 5] * 4], "images must be a numpy.ndarray, not list: convert them, with numpy.asarray()"),
    (None, "images must be a numpy.ndarray, not NoneType: convert them, with numpy.asarray()"),
]


@pytest.mark.parametrize(("image", "message"), NOT_PLAIN)
@pytest.mark.parametrize("take", [check_array, lambda image: shape_images(image, make_network()),
                                  lambda image: image_bytes(make_network(), image)])
def test_what_is_no_plain_array_is_refused(take, image, message):
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        take(image)


def test_the_digest_is_one_of_the_values_in_their_order():
    images = RNG.integers(0, 2, (3, 2, 4, 5), dtype=np.uint8)
    expected = hashlib.sha256(bytes(images.ravel().tolist())).hexdigest()
    for same in (images, np.asfortranarray(images), images.astype(bool)):
        assert images_digest(same) == expected
    assert images_digest(images[::-1]) != expected
    with pytest.raises(ImageError, match=r"^images must be a numpy\.ndarray, not MaskedArray: "):
        images_digest(np.ma.masked_array(images))
