import dataclasses
import hashlib
import os
import re
import struct
import sys
import urllib.error

import numpy as np
import pytest
import torch

from train.datasets import DataError, Framing, Slicing, download, frames_of, load
from train.datasets.events import DVS_GESTURE, N_MNIST, N_MNIST_SMALL, SHD

h5py = pytest.importorskip("h5py")
tonic = pytest.importorskip("tonic")

SEED = 8
#: What to do about files that are not the official ones.
OFFICIAL = ": get the official files, or accept these with --unverified"
FRAMING = Framing(timesteps=3)
COUNT = Framing(timesteps=3, slicing=Slicing.COUNT)


def message(path, text):
    return f"^{re.escape(f'{path}: {text}')}$"


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def recording(sensor, number):
    """Events of (x, y, p, t) at random, int64 ``[n, 4]``, in order of time, in milliseconds."""
    generator = np.random.default_rng([SEED, number])
    polarities, rows, columns = sensor
    made = generator.integers(0, (columns, rows, polarities, 500), (40, 4))
    return made[np.argsort(made[:, 3], kind="stable")]


def structured(events, unit=1):
    columns, rows, polarities, times = events.T
    made = np.empty(len(events), [(name, int) for name in "xytp"])
    made["x"], made["y"], made["p"], made["t"] = columns, rows, polarities, times * unit
    return made


def nmnist_bytes(events):
    """N-MNIST's coding of events: x, y, then polarity and 23 bits of time, most significant first."""
    x, y, polarity, time = events.T
    packed = np.stack([x, y, polarity << 7 | time >> 16, time >> 8 & 255, time & 255], axis=1)
    return packed.astype(np.uint8).tobytes()


#: Split, class and number of each recording.
CHOSEN = [("train", 3, 1), ("train", 0, 2), ("train", 3, 3), ("test", 1, 4), ("test", 9, 5)]


def write_nmnist(folder):
    """Write recordings as tonic unpacks them, and archives for the MD5s; return the description."""
    for split, label, number in CHOSEN:
        place = folder / "NMNIST" / split.capitalize() / str(label)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:05}.bin").write_bytes(nmnist_bytes(recording(N_MNIST.shape, number)))
    digests = {}
    for name in N_MNIST.digests:
        (folder / "NMNIST" / name).write_bytes(name.encode())
        digests[name] = md5(folder / "NMNIST" / name)
    return dataclasses.replace(N_MNIST, digests=digests, counts=(3, 2))


def check(dataset, splits, expected, unit=1, framing=FRAMING):
    """Compare splits with the frames of (label, number) in each."""
    for split, wanted in zip(splits, expected, strict=True):
        assert split.labels.tolist() == [label for label, _ in wanted]
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
        frames = [frames_of(structured(recording(dataset.shape, number), unit), dataset.shape, framing)
                  for _, number in wanted]
        assert np.array_equal(split.images.numpy(), np.stack(frames))


@pytest.mark.parametrize("framing", [FRAMING, COUNT], ids=["time", "count"])
def test_nmnist_is_read_by_class_and_number(tmp_path, framing):
    made = write_nmnist(tmp_path)
    check(made, load(made, tmp_path, framing=framing), [[(0, 2), (3, 1), (3, 3)], [(1, 4), (9, 5)]], framing=framing)


def test_first_recordings_of_nmnist_are_of_many_classes(tmp_path):
    for label in range(5):
        for split, count in (("Train", 8), ("Test", 1)):
            place = tmp_path / "NMNIST" / split / str(label)
            place.mkdir(parents=True)
            for number in range(count):
                (place / f"{number:05}.bin").write_bytes(nmnist_bytes(recording(N_MNIST.shape, number)))
    train, test = load(N_MNIST, tmp_path, verify=False, framing=FRAMING)
    assert sorted(train.labels.tolist()) == sorted([*range(5)] * 8)
    assert len(set(train.labels[:8].tolist())) > 3
    assert test.labels.tolist() == [*range(5)]
    again, _ = load(N_MNIST, tmp_path, verify=False, framing=FRAMING)
    assert torch.equal(train.labels, again.labels)
    assert torch.equal(train.images, again.images)


@pytest.mark.parametrize("reverse", [False, True])
def test_gestures_are_read_in_the_same_order_everywhere(tmp_path, monkeypatch, reverse):
    for place, label, number in (("Train/user02_led", 3, 1), ("Train/user02_led", 0, 2), ("Train/user01_lab", 3, 3),
                                 ("Test/user07_led", 9, 4), ("Test/user07_led", 1, 5)):
        folder = tmp_path / "DVSGesture" / f"ibmGesture{place}"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{label}.npy", recording(DVS_GESTURE.shape, number))
    walk = os.walk

    def listed(top):
        for path, folders, files in walk(top):
            yield path, folders, sorted(files, reverse=reverse)

    monkeypatch.setattr(os, "walk", listed)
    splits = load(DVS_GESTURE, tmp_path, verify=False, framing=FRAMING)
    check(DVS_GESTURE, splits, [[(3, 3), (0, 2), (3, 1)], [(1, 5), (9, 4)]], unit=1000)


def test_gestures_can_be_downsampled(tmp_path):
    for split in ("Train", "Test"):
        folder = tmp_path / "DVSGesture" / f"ibmGesture{split}" / "user01_led"
        folder.mkdir(parents=True)
        np.save(folder / "3.npy", recording(DVS_GESTURE.shape, 1))
    full, _ = load(DVS_GESTURE, tmp_path, verify=False, framing=FRAMING)
    small, _ = load(DVS_GESTURE, tmp_path, verify=False, framing=dataclasses.replace(FRAMING, factor=4))
    assert torch.equal(small.images, full.images.reshape(1, 3, 2, 32, 4, 32, 4).amax((4, 6)))


def write_shd(folder):
    for split, name in (("train", "shd_train.h5"), ("test", "shd_test.h5")):
        (folder / "SHD").mkdir(exist_ok=True)
        chosen = [(label, number) for chosen_split, label, number in CHOSEN if chosen_split == split]
        with h5py.File(folder / "SHD" / name, "w") as file:
            spikes = file.create_group("spikes")
            for key, column, kind in (("times", 3, np.float64), ("units", 0, np.uint16)):
                # Seconds that are whole microseconds, in binary too: 15,625 of them.
                unit = 1 if key == "units" else 1 / 64
                values = np.empty(len(chosen), object)
                for index, (_, number) in enumerate(chosen):
                    values[index] = (recording(SHD.shape, number)[:, column] * unit).astype(kind)
                spikes.create_dataset(key, data=values, dtype=h5py.vlen_dtype(kind))
            file["labels"] = np.array([label for label, _ in chosen], np.uint16)
            file["extra/keys"] = np.array([b"zero"])
            file["extra/speaker"] = np.zeros(len(chosen), np.uint16)


def test_spoken_digits_have_one_row(tmp_path):
    write_shd(tmp_path)
    train, test = load(SHD, tmp_path, verify=False, framing=FRAMING)
    assert train.images.shape == (3, 3, 1, 1, 700)
    check(SHD, (train, test), [[(3, 1), (0, 2), (3, 3)], [(1, 4), (9, 5)]], unit=15625)


def write_small(folder):
    """Write the subset's files; return its description with the right digest."""
    folder.mkdir(exist_ok=True)
    lists = {"train": "#sample #class\r\n", "test": "#sample #class\r\n"}
    content = {"train": b"", "test": b""}
    for split, label, number in CHOSEN:
        lists[split] += f"{number}\t{label}\r\n"
        events = nmnist_bytes(recording(N_MNIST_SMALL.shape, number))
        (folder / f"{number}.bs2").write_bytes(events)
        content[split] += events
    for split, name in zip(lists, N_MNIST_SMALL.lists, strict=True):
        (folder / name).write_bytes(lists[split].encode())
    joined = "".join(lists.values()).encode() + b"".join(content.values())
    return dataclasses.replace(N_MNIST_SMALL, digest=hashlib.md5(joined, usedforsecurity=False).hexdigest())


@pytest.mark.parametrize("inside", ["", "NMNISTsmall"])
def test_small_nmnist_is_read_by_its_lists(tmp_path, inside):
    made = write_small(tmp_path / inside)
    check(made, load(made, tmp_path, framing=FRAMING), [[(3, 1), (0, 2), (3, 3)], [(1, 4), (9, 5)]])
    download(made, tmp_path)


def test_framing_must_be_given_and_fit(tmp_path):
    with pytest.raises(DataError, match=r"^n-mnist has events: framing must say how many frames become of a recording, "
                                        r"not be left out$"):
        load(N_MNIST, tmp_path)
    with pytest.raises(DataError, match=r"^n-mnist: framing factor must divide 34 x 34 pixels, not 4$"):
        load(N_MNIST, tmp_path, framing=Framing(timesteps=4, factor=4))


def test_missing_unpacked_files_and_archives_are_named(tmp_path):
    place = tmp_path / "NMNIST"
    with pytest.raises(DataError, match=message(place, "Train of n-mnist is missing (get it with --download)")):
        load(N_MNIST, tmp_path, framing=FRAMING)
    made = write_nmnist(tmp_path)
    (place / "test.zip").unlink()
    text = "test.zip of n-mnist is missing, with which the unpacked files are verified (get it with --download)"
    with pytest.raises(DataError, match=message(place, text)):
        load(made, tmp_path, framing=FRAMING)
    load(made, tmp_path, verify=False, framing=FRAMING)


def test_wrong_archives_and_counts_are_named_unless_unverified(tmp_path):
    made = write_nmnist(tmp_path)
    text = f"3 recordings must be there, not 2{OFFICIAL}"
    (tmp_path / "NMNIST/Train/3/00001.bin").unlink()
    with pytest.raises(DataError, match=message(tmp_path / "NMNIST/Train", text)):
        load(made, tmp_path, framing=FRAMING)
    load(made, tmp_path, verify=False, framing=FRAMING)
    path = tmp_path / "NMNIST/test.zip"
    path.write_bytes(b"other")
    with pytest.raises(DataError, match=message(path, f"MD5 of the file must be {made.digests['test.zip']}, "
                                                      f"not {md5(path)}{OFFICIAL}")):
        load(made, tmp_path, framing=FRAMING)
    for path in (tmp_path / "NMNIST/Test").rglob("*.bin"):
        path.unlink()
    with pytest.raises(DataError, match=message(tmp_path / "NMNIST/Test", "recordings of n-mnist must be there")):
        load(made, tmp_path, verify=False, framing=FRAMING)


@pytest.mark.parametrize(("content", "text"), [
    (b"", "recording must have events"),
    (bytes(9), "file must have a multiple of 5 bytes, not 9"),
    (bytes([34, 0, 0, 0, 0]), "x of an event must be 0 to 33, not 34"),
])
def test_recordings_that_cannot_be_used_are_named(tmp_path, content, text):
    made = write_nmnist(tmp_path)
    path = tmp_path / "NMNIST/Train/3/00001.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message(path, f"recording cannot be used: {text}")):
        load(made, tmp_path, verify=False, framing=FRAMING)
    small = write_small(tmp_path / "small")
    path = tmp_path / "small" / "2.bs2"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message(path, f"recording cannot be used: {text}")):
        load(small, tmp_path / "small", verify=False, framing=FRAMING)


def test_damaged_gestures_and_spoken_digits_are_named(tmp_path):
    for split in ("Train", "Test"):
        place = tmp_path / "DVSGesture" / f"ibmGesture{split}" / "user01_led"
        place.mkdir(parents=True)
        np.save(place / "3.npy", recording(DVS_GESTURE.shape, 1))
    path = place / "3.npy"
    for content in (b"", path.read_bytes()[:-8]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{re.escape(f'{path}: recording cannot be used: ')}.+$"):
            load(DVS_GESTURE, tmp_path, verify=False, framing=FRAMING)
    path.rename(place / "11.npy")
    np.save(place / "11.npy", recording(DVS_GESTURE.shape, 1))
    with pytest.raises(DataError, match=message(place / "11.npy", "labels must be 0 to 10, not 11")):
        load(DVS_GESTURE, tmp_path, verify=False, framing=FRAMING)
    write_shd(tmp_path)
    path = tmp_path / "SHD/shd_test.h5"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: recording cannot be used: ')}.+$"):
        load(SHD, tmp_path, verify=False, framing=FRAMING)


def test_wrong_lists_and_digests_of_the_small_set_are_named(tmp_path):
    with pytest.raises(DataError, match=message(
            tmp_path, f"train1K.txt of n-mnist-small is missing (get it from {N_MNIST_SMALL.url})")):
        download(N_MNIST_SMALL, tmp_path)
    made = write_small(tmp_path)
    (tmp_path / "2.bs2").write_bytes(bytes(5))
    with pytest.raises(DataError, match=rf"^{tmp_path}: MD5 of lists and recordings must be {made.digest}, "
                                        rf"not \w+{OFFICIAL}$"):
        load(made, tmp_path, framing=FRAMING)
    (tmp_path / "2.bs2").unlink()
    with pytest.raises(DataError, match=rf"^{tmp_path}/2\.bs2: recording cannot be used: .*No such file.*$"):
        load(made, tmp_path, framing=FRAMING)
    path = tmp_path / "test100.txt"
    for line in ("4", "4 x", "../4 1", "4 1 1"):
        path.write_text(f"#sample #class\n{line}\n")
        with pytest.raises(DataError, match=message(path, f"line 2 must be a sample and its class, not {line!r}")):
            load(made, tmp_path, framing=FRAMING)
    path.write_text("#sample #class\n")
    with pytest.raises(DataError, match=message(path, "list must have recordings")):
        load(made, tmp_path, framing=FRAMING)
    path.unlink()
    with pytest.raises(DataError, match=message(
            tmp_path, f"test100.txt of n-mnist-small is missing (get it from {N_MNIST_SMALL.url})")):
        load(made, tmp_path, framing=FRAMING)


def test_loading_never_downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(tonic.dataset.Dataset, "download", lambda self: pytest.fail("nothing may be downloaded"))
    made = write_nmnist(tmp_path)
    load(made, tmp_path, framing=FRAMING)


@pytest.mark.parametrize("error", [RuntimeError("Unable to synchronously open object"), AssertionError(),
                                   AttributeError("no attribute"), struct.error("unpack requires 8 bytes")])
def test_whatever_a_reader_raises_is_one_line(tmp_path, monkeypatch, error):
    """h5py, NumPy and tonic have errors of many classes for files that make no sense."""
    write_shd(tmp_path)

    def broken(self, index):
        raise error

    monkeypatch.setattr(tonic.datasets.SHD, "__getitem__", broken)
    text = re.escape(f"recording cannot be used: {str(error) or 'AssertionError'}")
    with pytest.raises(DataError, match=f"^.*/shd_train.h5: {text}$"):
        load(SHD, tmp_path, verify=False, framing=FRAMING)


def test_download_asks_tonic_for_both_splits(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(tonic.datasets.SHD, "download", lambda self: asked.append(self.filename))
    write_shd(tmp_path)
    download(SHD, tmp_path)
    assert asked == ["shd_train.h5.zip", "shd_test.h5.zip"]


def test_download_without_network_says_what_to_do(tmp_path, monkeypatch):
    def fail(self):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(tonic.datasets.NMNIST, "download", fail)
    text = "n-mnist cannot be downloaded (<urlopen error no route to host>); give the files with --data DIR"
    with pytest.raises(DataError, match=message(N_MNIST.url, text)):
        download(N_MNIST, tmp_path)


def test_missing_tonic_says_what_to_install(tmp_path, monkeypatch):
    made = write_small(tmp_path)
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(DataError, match=r"^n-mnist-small needs the package tonic \(.+\): install it with "
                                        r"pip install -e '\.\[events\]'$"):
        load(made, tmp_path, framing=FRAMING)
