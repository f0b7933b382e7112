import gzip
import hashlib
import re
import struct
import urllib.error

import numpy as np
import pytest
import torch

from train import datasets
from train.datasets import DATASETS, DataError, Dataset, Split, download, load, read_idx, split_validation

SEED = 4


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
    return Dataset(name="made", url="https://made.invalid/", digests=digests)


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


def test_wrong_magic_is_named(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(idx(np.zeros(5, np.uint8)))
    with pytest.raises(DataError, match=message(path, "magic must be 00000803, not 00000801")):
        read_idx(path, 3)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=message(path, "magic must be 00000803, not ")):
        read_idx(path, 3)


def test_truncated_and_too_long_files_are_named(tmp_path):
    path = tmp_path / "images"
    content = idx(np.zeros((5, 2, 2), np.uint8))
    for wrong in (content[:-1], content + b"x"):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match=message(path, f"file must have 36 bytes unpacked, not {len(wrong)}")):
            read_idx(path, 3)
    path.write_bytes(content[:9])
    with pytest.raises(DataError, match=message(path, "file must have 16 bytes unpacked, not 9")):
        read_idx(path, 3)
    path.write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(DataError, match=message(path, "gzip data is truncated or damaged")):
        read_idx(path, 3)


def test_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "MAX_BYTES", 1000)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(bytes(1001)))
    with pytest.raises(DataError, match=message(path, "file must have at most 1000 bytes unpacked")):
        read_idx(path, 3)


def test_wrong_md5_is_named_unless_unverified(tmp_path):
    made = write(tmp_path, packed=False)
    path = tmp_path / "t10k-labels-idx1-ubyte"
    wanted = made.digests[path.name]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    with pytest.raises(DataError, match=message(path, f"MD5 of the unpacked file must be {wanted}, not {found}")):
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


def test_download_fetches_what_is_missing_and_checks_it(tmp_path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    made = write(source)
    asked = []

    def urlopen(url, timeout):
        asked.append(url.rpartition("/")[2])
        return (source / asked[-1]).open("rb")

    monkeypatch.setattr(datasets.urllib.request, "urlopen", urlopen)
    download(made, target)
    download(made, target)
    assert asked == [f"{name}.gz" for name in made.digests]
    assert len(load(made, target)[0]) == 9
    assert sorted(path.name for path in target.iterdir()) == sorted(asked), "no temporary file is left"

    (target / asked[0]).unlink()
    (source / asked[0]).write_bytes(gzip.compress(idx(np.zeros((9, 5, 4), np.uint8))))
    with pytest.raises(DataError, match=r"MD5 of the unpacked file must be \w+, not \w+$"):
        download(made, target)
    assert not (target / asked[0]).exists(), "a wrong file gets no name"


def test_download_without_network_says_what_to_do(tmp_path, monkeypatch):
    def urlopen(url, timeout):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(datasets.urllib.request, "urlopen", urlopen)
    text = ("^https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz: cannot be downloaded "
            "(<urlopen error no route to host>); give the files with --data DIR$")
    with pytest.raises(DataError, match=text.replace("(", r"\(").replace(")", r"\)").replace(".", r"\.")):
        download(DATASETS["mnist"], tmp_path)


def test_validation_split_is_always_the_same_and_leaves_the_rest():
    split = Split(images=torch.arange(50, dtype=torch.uint8).reshape(50, 1, 1, 1), labels=torch.arange(50))
    train, validation = split_validation(split, 12)
    assert (len(train), len(validation)) == (38, 12)
    assert sorted([*train.labels.tolist(), *validation.labels.tolist()]) == list(range(50))
    assert validation.labels.tolist() == split_validation(split, 12)[1].labels.tolist()
    assert validation.images.flatten().tolist() == validation.labels.tolist()
    with pytest.raises(DataError, match=r"^validation images must be 1 to 49, not 50$"):
        split_validation(split, 50)
