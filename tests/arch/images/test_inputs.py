import gzip

import numpy as np
import pytest

from arch.images import ImageError, load_images, load_labels, parse_images, shape_images
from arch.network import Encoding
from tests.image_files import idx, make_network, npy, npz

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (3, 1, 4, 5), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (3, 3, 4, 5), dtype=np.uint8)
EVENTS = RNG.integers(0, 2, (3, 2, 2, 4, 5), dtype=np.uint8)
ONE_POLARITY = RNG.integers(0, 2, (3, 2, 1, 4, 5), dtype=np.uint8)


def events_network(channels=2, timesteps=2):
    return make_network(channels=channels, encoding=Encoding.EVENTS, timesteps=timesteps)


@pytest.mark.parametrize(("network", "array", "expected"), [
    (make_network(), PIXELS, PIXELS),
    (make_network(), PIXELS[:, 0], PIXELS),
    (make_network(), PIXELS[0], PIXELS[:1]),
    (make_network(), PIXELS[0, 0], PIXELS[:1]),
    (make_network(channels=3), COLOURS, COLOURS),
    (make_network(channels=3), COLOURS[0], COLOURS[:1]),
    (events_network(), EVENTS, EVENTS),
    (events_network(), EVENTS.astype(bool), EVENTS),
    (events_network(), EVENTS[0], EVENTS[:1]),
    (events_network(1), ONE_POLARITY, ONE_POLARITY),
    (events_network(1), ONE_POLARITY[:, :, 0], ONE_POLARITY),
    (events_network(1), ONE_POLARITY[0], ONE_POLARITY[:1]),
    (events_network(1), ONE_POLARITY[0, :, 0], ONE_POLARITY[:1]),
    (events_network(1, 1), ONE_POLARITY[:, :1], ONE_POLARITY[:, :1]),
    (events_network(1, 1), ONE_POLARITY[:, 0], ONE_POLARITY[:, :1]),
    (events_network(1, 1), ONE_POLARITY[0, :1], ONE_POLARITY[:1, :1]),
])
def test_several_images_and_one_have_one_shape(network, array, expected):
    found = shape_images(array, network)
    assert found.dtype == (bool if network.input.encoding is Encoding.EVENTS else np.uint8)
    assert found.shape == expected.shape
    assert (found == expected).all()


@pytest.mark.parametrize(("network", "array", "message"), [
    (make_network(), PIXELS > 99, "images must be uint8, not bool"),
    (make_network(), PIXELS / 255, "images must be uint8, not float64"),
    (make_network(), PIXELS.view(np.int8), "images must be uint8, not int8"),
    (make_network(), PIXELS.astype(np.uint16), "images must be uint8, not uint16"),
    (make_network(), PIXELS.transpose(0, 1, 3, 2), "images must have shape (n, 1, 4, 5), not (3, 1, 5, 4)"),
    (make_network(channels=3), COLOURS.transpose(0, 2, 3, 1), "images must have shape (n, 3, 4, 5), not (3, 4, 5, 3)"),
    (make_network(channels=3), COLOURS[0, 0], "images must have shape (n, 3, 4, 5), not (4, 5)"),
    (make_network(), PIXELS.reshape(3, 20), "images must have shape (n, 1, 4, 5), not (3, 20)"),
    (make_network(), np.array(3, np.uint8), "images must have shape (n, 1, 4, 5), not ()"),
    (make_network(), PIXELS[:0], "images must be one or more, not none"),
    (events_network(), EVENTS.astype(np.int64), "images must be bool or uint8, not int64"),
    (events_network(), EVENTS.astype(float), "images must be bool or uint8, not float64"),
    (events_network(), 2 * EVENTS, "events must be 0 or 1, not 2"),
    (events_network(timesteps=4), EVENTS, "images must have shape (n, 4, 2, 4, 5), not (3, 2, 2, 4, 5)"),
    (events_network(timesteps=4), EVENTS[0], "images must have shape (n, 4, 2, 4, 5), not (2, 2, 4, 5)"),
])
def test_what_does_not_fit_has_its_line(network, array, message):
    with pytest.raises(ImageError) as caught:
        shape_images(array, network)
    assert str(caught.value) == message


def test_an_error_names_the_file(tmp_path):
    path = tmp_path / "sevens.npy"
    path.write_bytes(npy(PIXELS > 99))
    with pytest.raises(ImageError, match=f"^{path}: images must be uint8, not bool$"):
        load_images(path, make_network())


def test_the_first_images_are_those_of_the_whole(tmp_path):
    path = tmp_path / "images.npy"
    path.write_bytes(npy(PIXELS))
    assert (load_images(path, make_network(), first=2) == PIXELS[:2]).all()
    assert len(load_images(path, make_network(), first=9)) == 3
    assert len(load_images(path, make_network(), first=3, asked_by="--first")) == 3
    with pytest.raises(ImageError, match=f"^{path}: images must be at least 4 for --first 4, not 3: give --first 3, or "
                                         "leave the option out$"):
        load_images(path, make_network(), first=4, asked_by="--first")


def test_arrays_in_files_are_plain(tmp_path):
    np.save(tmp_path / "images.npy", PIXELS)
    for array in (PIXELS, np.load(tmp_path / "images.npy", mmap_mode="r")):
        assert (shape_images(array, make_network()).reshape(PIXELS.shape) == PIXELS).all()


@pytest.mark.parametrize("content", [
    idx(np.array([1, 0, 2], dtype=np.uint8)), gzip.compress(idx(np.array([1, 0, 2], dtype=np.uint8))),
    idx(np.array([1, 0, 2], dtype=">i4"), 0x0C), npy(np.array([1, 0, 2])), npy(np.array([1, 0, 2], dtype=">i2")),
    npy(np.array([1, 0, 2], dtype=np.uint64)), npz(images=PIXELS, labels=np.array([1, 0, 2], dtype=np.int32)),
])
def test_labels_are_read(tmp_path, content):
    path = tmp_path / "labels"
    path.write_bytes(content)
    found = load_labels(path, classes=3, count=3)
    assert found.dtype == np.int64
    assert found.tolist() == [1, 0, 2]
    assert load_labels(path, classes=3, first=1, count=1).tolist() == [1]


@pytest.mark.parametrize(("labels", "message"), [
    (np.array([0, 3]), "label 1 must be 0 to 2, not 3"),
    (np.array([-1]), "label 0 must be 0 to 2, not -1"),
    (np.array([2**64 - 1], np.uint64), "label 0 must be 0 to 2, not 18446744073709551615"),
    (np.array([[0]]), "labels must be integers of shape (n), not int64 of shape (1, 1)"),
    (np.array(1), "labels must be integers of shape (n), not int64 of shape ()"),
    (np.array([True]), "labels must be integers of shape (n), not bool of shape (1,)"),
    (np.array([1.0]), "npy must hold integers, not float64"),
    (np.array([1, 1]), "labels must be 1 like the images, not 2"),
])
def test_labels_are_checked(tmp_path, labels, message):
    path = tmp_path / "file"
    path.write_bytes(npy(labels))
    with pytest.raises(ImageError) as caught:
        load_labels(path, classes=3, count=1)
    assert str(caught.value) == f"{path}: {message}"


def test_a_file_in_memory_is_read_as_one_on_the_disk(tmp_path):
    for content in (idx(PIXELS[:, 0]), gzip.compress(idx(PIXELS[:, 0])), npy(PIXELS)):
        (tmp_path / "three").write_bytes(content)
        assert np.array_equal(parse_images(content, "three", make_network()), PIXELS)
        assert np.array_equal(load_images(tmp_path / "three", make_network()), PIXELS)


@pytest.mark.parametrize(("content", "message"), [
    (b"no image", "mine.png: must be an idx, idx.gz, npy, npz or PNG file"),
    (gzip.compress(idx(PIXELS))[:-9], "mine.png: damaged or truncated compressed file"),
    (idx(PIXELS[:, 0, :2]), "mine.png: images must have shape (n, 1, 4, 5), not (3, 2, 5)"),
])
def test_a_bad_file_in_memory_has_the_line_of_its_name(content, message):
    with pytest.raises(ImageError) as caught:
        parse_images(content, "mine.png", make_network())
    assert str(caught.value) == message
