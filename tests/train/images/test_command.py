"""Images of data sets as idx files, that other commands read; what is wrong is one line, and nothing is written."""

import gzip

import numpy as np
import pytest
import torch

from arch.images import load_images, load_labels
from arch.network import Encoding
from tests.image_files import make_network
from train import datasets
from train.catalogue import PIXEL_DATASETS
from train.datasets import DATASETS, MNIST, Split, split_validation
from train.images.command import main
from train.images.idx import to_idx_gz

SEED = 9


def made(count, shape=(3, 32, 32)):
    generator = torch.Generator().manual_seed(SEED + count)
    return Split(images=torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8),
                 labels=torch.randint(0, 10, (count,), generator=generator))


TRAINING, TEST = made(12), made(7)


@pytest.fixture
def write(tmp_path, monkeypatch, capsys):
    """Run the command on 12 training and 7 test images, with its output in ``made``."""
    asked = []

    def load(dataset, folder, *, verify):
        asked.append((dataset.name, folder, verify))
        return TRAINING, TEST

    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(datasets, "download", lambda dataset, folder: asked.append((dataset.name, folder, "download")))

    def run(*arguments, name="cifar-10"):
        code = main([name, "--data", str(tmp_path), "-o", str(tmp_path / "made"), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    run.asked = asked
    run.folder = tmp_path / "made"
    return run


def test_data_sets_of_pixels_are_those_that_can_be_written():
    assert [name for name, dataset in DATASETS.items() if dataset.encoding is Encoding.PIXELS] == list(
        PIXEL_DATASETS)


@pytest.mark.parametrize(("options", "name", "expected"), [
    ((), "test", TEST), (("--first", 7), "test", TEST),
    (("--first", 2), "test", Split(images=TEST.images[:2], labels=TEST.labels[:2])),
    (("--split", "validation", "--validation-images", 5), "validation", split_validation(TRAINING, 5)[1]),
    (("--split", "training", "--validation-images", 5), "training", split_validation(TRAINING, 5)[0]),
])
def test_what_is_written_is_what_other_commands_read(write, options, name, expected):
    images, labels = (write.folder / f"cifar-10-{name}-{what}.idx.gz" for what in ("images", "labels"))
    assert write(*options) == (0, f"{images} and {labels.name}: {len(expected)} images\n", "")
    assert sorted(write.folder.iterdir()) == sorted([images, labels])
    network = make_network(channels=3, height=32, width=32)
    assert np.array_equal(load_images(images, network), expected.images.numpy())
    assert load_labels(labels, classes=10).tolist() == expected.labels.tolist()
    assert write.asked == [("cifar-10", write.folder.parent, True)]


def test_files_that_are_not_official_are_accepted_when_asked(write):
    assert write("--unverified", "--download", name="mnist")[0] == 0
    assert write.asked == [("mnist", write.folder.parent, "download"), ("mnist", write.folder.parent, False)]


@pytest.mark.parametrize(("options", "name", "line"), [
    ((), "n-mnist", f"DATASET must be {', '.join(PIXEL_DATASETS)}, not 'n-mnist'"),
    (("--split", "train"), "mnist", "--split must be training, validation, test, not 'train'"),
    (("--first", 0), "mnist", "--first must be 1 or more, not 0"),
    (("--first", 8), "mnist", "--first must be at most the 7 test images, not 8"),
    (("--split", "training"), "mnist", ("--validation-images must be 1 to 11, as there are 12 training images, "
                                        "not 5000")),
    (("--split", "validation", "--validation-images", 0), "mnist",
     "--validation-images must be 1 to 11, as there are 12 training images, not 0"),
])
def test_bad_input_is_one_line(write, options, name, line):
    assert write(*options, name=name) == (1, "", f"ERROR: {line}\n")
    assert not write.folder.exists()


def test_a_file_in_the_place_of_the_folder_is_refused(write):
    write.folder.write_bytes(b"mine")
    assert write() == (1, "", f"ERROR: {write.folder}: output must be a folder, not a file\n")
    assert write.folder.read_bytes() == b"mine"


def test_missing_data_is_one_line(tmp_path, capsys):
    assert main(["mnist", "--data", str(tmp_path), "-o", str(tmp_path / "made")]) == 1
    assert capsys.readouterr().err == (
        f"ERROR: {tmp_path}: train-images-idx3-ubyte or train-images-idx3-ubyte.gz of {MNIST.name} is missing (get it "
        f"with --download)\n")


def test_idx_is_the_format_of_mnist():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert gzip.decompress(to_idx_gz(array)) == bytes((0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 1, 2, 3, 4, 5))
