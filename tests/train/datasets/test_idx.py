import gzip
import hashlib
import http.client
import re
import struct
import urllib.error

import numpy as np
import pytest
import torch

from train.datasets import DataError, Framing, IdxDataset, download, files, load
from train.datasets.idx import MNIST, read_array

SEED = 4
#: What to do about files that are not the official ones.
OFFICIAL = ": get the official files, or accept these with --unverified"


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def arrays(count):
    generator = np.random.default_rng(SEED)
    return (generator.integers(0, 256, (count, 5, 4), dtype=np.uint8), generator.integers(0, 3, count, dtype=np.uint8))


def write(folder, *, train=9, test=6, packed=True):
    """Write a made data set; return its description with the right MD5s."""
    digests = {}
    for prefix, count in (("train", train), ("t10k", test)):
        for name, array in zip((f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"), arrays(count),
                               strict=True):
            content = idx(array)
            digests[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
    return IdxDataset(name="made", classes=3, shape=(1, 5, 4), url="https://made.invalid/", digests=digests)


@pytest.mark.parametrize("packed", [True, False])
def test_official_files_are_read_packed_or_not(tmp_path, packed):
    train, test = load(write(tmp_path, packed=packed), tmp_path)
    images, labels = arrays(9)
    assert np.array_equal(train.images.numpy(), images[:, None])
    assert train.images.dtype is torch.uint8
    assert train.labels.tolist() == labels.tolist()
    assert train.labels.dtype is torch.int64
    assert len(test) == 6


def message(path, text):
    return f"^{re.escape(f'{path}: {text}')}$"


@pytest.mark.parametrize(("content", "text"), [
    (idx(np.zeros(5, np.uint8)), "array must be uint8 of 3 dimensions, not uint8 of 1"),
    (bytes((0, 0, 9, 3)) + idx(np.zeros((1, 1, 1), np.uint8))[4:],
     "array must be uint8 of 3 dimensions, not int8 of 3"),
    (bytes((0, 0, 13, 3)) + bytes(12),
     "idx file must begin with two zeros, the type of an integer and 1 to 5 dimensions, not 00 00 0d 03"),
    (b"PK\x03\x04",
     "idx file must begin with two zeros, the type of an integer and 1 to 5 dimensions, not 50 4b 03 04"),
    (b"", "truncated: the header promises 4 bytes, and 0 follow"),
])
def test_other_files_are_named(tmp_path, content, text):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message(path, text)):
        read_array(path, 3)


def test_truncated_and_too_long_files_are_named(tmp_path):
    path = tmp_path / "images"
    content = idx(np.zeros((5, 2, 2), np.uint8))
    for wrong, text in (
        (content[:-1], "truncated: the header promises 20 bytes, and 19 follow"),
        (content + b"x", "must end after the 20 bytes that the header promises"),
        (content[:9], "truncated: the header promises 12 bytes, and 5 follow"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match=message(path, text)):
            read_array(path, 3)
    path.write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(DataError, match=message(path, "gzip data is truncated or damaged")):
        read_array(path, 3)


def test_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(bytes(1001)))
    with pytest.raises(DataError, match=message(path, "file must have at most 1000 bytes unpacked")):
        read_array(path, 3)


def test_wrong_md5_is_named_unless_unverified(tmp_path):
    made = write(tmp_path, packed=False)
    path = tmp_path / "t10k-labels-idx1-ubyte"
    wanted = made.digests[path.name]
    content = bytearray(path.read_bytes())
    content[-1] = (content[-1] + 1) % 3
    path.write_bytes(content)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    text = f"MD5 of the unpacked file must be {wanted}, not {found}{OFFICIAL}"
    with pytest.raises(DataError, match=message(path, text)):
        load(made, tmp_path)
    load(made, tmp_path, verify=False)


def test_missing_file_is_named(tmp_path):
    made = write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    text = ("train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz of made is missing (get it with --download)")
    with pytest.raises(DataError, match=message(tmp_path, text)):
        load(made, tmp_path)


def test_images_and_labels_must_be_as_many(tmp_path):
    made = write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(8, np.uint8))))
    with pytest.raises(DataError, match=message(tmp_path, "train must have one label per image, not 8 for 9")):
        load(made, tmp_path, verify=False)


def test_images_must_have_the_data_sets_size(tmp_path):
    made = write(tmp_path, packed=False)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx(np.zeros((9, 4, 5), np.uint8)))
    with pytest.raises(DataError, match=message(path, "images must be 5 x 4, not 4 x 5")):
        load(made, tmp_path, verify=False)


def test_labels_must_be_classes(tmp_path):
    made = write(tmp_path, packed=False)
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx(np.array([0, 1, 2, 3, 0, 0], np.uint8)))
    with pytest.raises(DataError, match=message(path, "labels must be 0 to 2, not 3")):
        load(made, tmp_path, verify=False)


def test_pixels_take_no_framing(tmp_path):
    text = ("made has pixels: framing must be left out, not "
            "Framing(timesteps=4, slicing=<Slicing.TIME: 'time'>, factor=1)")
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        load(write(tmp_path), tmp_path, framing=Framing(timesteps=4))


def test_download_fetches_what_is_missing_and_checks_it(tmp_path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    made = write(source)
    asked = []

    def urlopen(url, timeout):
        asked.append(url.rpartition("/")[2])
        return (source / asked[-1]).open("rb")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    download(made, target)
    download(made, target)
    assert asked == [f"{name}.gz" for name in made.digests]
    assert len(load(made, target)[0]) == 9
    assert sorted(path.name for path in target.iterdir()) == sorted(asked), "no temporary file is left"

    (target / asked[0]).unlink()
    (source / asked[0]).write_bytes(gzip.compress(idx(np.zeros((9, 5, 4), np.uint8))))
    with pytest.raises(DataError, match=r"^https://.+\.gz: MD5 of the unpacked file must be \w+, not \w+; give the "
                                        r"official files with --data DIR$"):
        download(made, target)
    assert not (target / asked[0]).exists(), "a wrong file gets no name"


@pytest.mark.parametrize(("error", "reason"), [
    (urllib.error.URLError("no route to host"), "<urlopen error no route to host>"),
    (TimeoutError("timed out"), "timed out"),
    (http.client.IncompleteRead(b"", 9), "IncompleteRead(0 bytes read, 9 more expected)"),
    (http.client.BadStatusLine("\n"), "BadStatusLine"),
])
def test_download_without_network_says_what_to_do(tmp_path, monkeypatch, error, reason):
    def urlopen(url, timeout):
        raise error

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    text = ("^https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz: cannot be downloaded "
            f"({reason}); give the files with --data DIR$")
    with pytest.raises(DataError, match=text.replace("(", r"\(").replace(")", r"\)").replace(".", r"\.")):
        download(MNIST, tmp_path)
