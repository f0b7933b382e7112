import dataclasses
import gzip
import hashlib
import io
import re
import tarfile

import numpy as np
import pytest
import torch

from train.datasets import CifarDataset, DataError, download, files, load
from train.datasets.cifar import CIFAR_10, CIFAR_100, CIFAR_100_COARSE, read_records, unordered_md5

SEED = 7
#: What to do about files that are not the official ones.
OFFICIAL = ": get the official files, or accept these with --unverified"
COUNTS = {"one.bin": 4, "two.bin": 3, "test.bin": 5}


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def records(name, label_bytes=2):
    """Labels of 0 to 2, then 0 to 9; pixels at random."""
    generator = np.random.default_rng([SEED, *name.encode()])
    labels = generator.integers(0, (3, 10)[:label_bytes], (COUNTS[name], label_bytes), dtype=np.uint8)
    return np.hstack([labels, generator.integers(0, 256, (COUNTS[name], 3072), dtype=np.uint8)])


def made(**changes):
    """Description of a small data set of three files, with the right MD5s."""
    contents = {name: records(name).tobytes() for name in COUNTS}
    values = {"name": "made", "classes": 10, "shape": (3, 32, 32), "url": "https://made.invalid/made.tar.gz",
              "archive_digest": md5(b""), "folder": "made-bin", "label_bytes": 2, "label_byte": 1,
              "train_files": ("one.bin", "two.bin"), "test_files": ("test.bin",),
              "digests": {name: md5(content) for name, content in contents.items()}}
    return CifarDataset(**{**values, **changes})


def write(folder):
    folder.mkdir(exist_ok=True)
    for name in COUNTS:
        (folder / name).write_bytes(records(name).tobytes())


def pack(path, members):
    """Write an archive of (name, content) pairs, or of ready members; return its MD5."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            if isinstance(name, tarfile.TarInfo):
                archive.addfile(name)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return md5(path.read_bytes())


def members():
    return [("made-bin/readme.html", b"hello"), *((f"made-bin/{name}", records(name).tobytes()) for name in COUNTS)]


def message(path, text):
    return f"^{re.escape(f'{path}: {text}')}$"


def check(train, test):
    rows = np.concatenate([records("one.bin"), records("two.bin")])
    assert np.array_equal(train.images.numpy(), rows[:, 2:].reshape(7, 3, 32, 32))
    assert train.labels.tolist() == rows[:, 1].tolist()
    assert np.array_equal(test.images.numpy(), records("test.bin")[:, 2:].reshape(5, 3, 32, 32))
    assert (train.images.dtype, train.labels.dtype) == (torch.uint8, torch.int64)
    assert train.images.is_contiguous()


@pytest.mark.parametrize("inside", ["", "made-bin"])
def test_unpacked_files_are_read_in_order(tmp_path, inside):
    write(tmp_path / inside)
    check(*load(made(), tmp_path))


def test_archive_is_read_without_being_unpacked(tmp_path):
    digest = pack(tmp_path / "made.tar.gz", members())
    check(*load(made(archive_digest=digest), tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["made.tar.gz"]


def test_label_of_one_byte_or_the_coarse_one_is_taken(tmp_path):
    write(tmp_path)
    train, _ = load(made(classes=3, label_byte=0), tmp_path)
    assert train.labels.tolist() == [*records("one.bin")[:, 0], *records("two.bin")[:, 0]]
    for name in COUNTS:
        (tmp_path / name).write_bytes(records(name, 1).tobytes())
    train, _ = load(made(label_bytes=1, label_byte=0), tmp_path, verify=False)
    assert train.labels.tolist() == [*records("one.bin", 1)[:, 0], *records("two.bin", 1)[:, 0]]


def test_official_sets_have_the_official_layout():
    assert (CIFAR_10.archive, CIFAR_100.archive) == ("cifar-10-binary.tar.gz", "cifar-100-binary.tar.gz")
    for dataset in (CIFAR_10, CIFAR_100, CIFAR_100_COARSE):
        assert sorted(dataset.digests) == sorted([*dataset.train_files, *dataset.test_files])
    assert (CIFAR_100.label_byte, CIFAR_100_COARSE.label_byte) == (1, 0)


def test_wrong_md5_is_named_unless_unverified(tmp_path):
    write(tmp_path)
    content = bytearray(records("two.bin").tobytes())
    content[-1] ^= 1
    (tmp_path / "two.bin").write_bytes(content)
    wanted = made().digests["two.bin"]
    text = f"MD5 of the unpacked file must be {wanted}, not {md5(content)}{OFFICIAL}"
    with pytest.raises(DataError, match=message(tmp_path / "two.bin", text)):
        load(made(), tmp_path)
    load(made(), tmp_path, verify=False)

    digest = pack(tmp_path / "made.tar.gz", members())
    for name in COUNTS:
        (tmp_path / name).unlink()
    text = f"MD5 of the file must be {md5(b'')}, not {digest}{OFFICIAL}"
    with pytest.raises(DataError, match=message(tmp_path / "made.tar.gz", text)):
        load(made(), tmp_path)
    check(*load(made(), tmp_path, verify=False))


def test_another_order_of_the_official_records_is_accepted_where_it_is_known(tmp_path):
    write(tmp_path)
    turned = records("one.bin")[::-1]
    (tmp_path / "one.bin").write_bytes(turned.tobytes())
    with pytest.raises(DataError, match="MD5 of the unpacked file"):
        load(made(), tmp_path)
    dataset = made(unordered_digests={"one.bin": unordered_md5(records("one.bin"))})
    assert load(dataset, tmp_path)[0].labels[:4].tolist() == turned[:, 1].tolist()
    changed = turned.copy()
    changed[0, -1] ^= 1
    (tmp_path / "one.bin").write_bytes(changed.tobytes())
    with pytest.raises(DataError, match="MD5 of the unpacked file"):
        load(dataset, tmp_path)


def test_truncated_and_empty_files_are_named(tmp_path):
    path = tmp_path / "one.bin"
    for content in (b"", bytes(3073), bytes(3075)):
        text = f"file must have a positive multiple of 3074 bytes, not {len(content)}"
        with pytest.raises(DataError, match=message(path, text)):
            read_records(path, content, 2)
    write(tmp_path)
    path.write_bytes(bytes(3073))
    with pytest.raises(DataError, match=message(path, "file must have a positive multiple of 3074 bytes, not 3073")):
        load(made(), tmp_path, verify=False)


def test_labels_must_be_classes(tmp_path):
    write(tmp_path)
    wrong = records("test.bin")
    wrong[2, 1] = 10
    (tmp_path / "test.bin").write_bytes(wrong.tobytes())
    with pytest.raises(DataError, match=message(tmp_path / "test.bin", "labels must be 0 to 9, not 10")):
        load(made(), tmp_path, verify=False)


def test_missing_files_are_named(tmp_path):
    text = "one.bin and the other files of made, or made.tar.gz, are missing (get it with --download)"
    with pytest.raises(DataError, match=message(tmp_path, text)):
        load(made(), tmp_path)
    write(tmp_path / "made-bin")
    (tmp_path / "made-bin" / "two.bin").unlink()
    text = "two.bin of made is missing (get it with --download)"
    with pytest.raises(DataError, match=message(tmp_path / "made-bin", text)):
        load(made(), tmp_path)


def link(name):
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    member.linkname = "/etc/passwd"
    return member


@pytest.mark.parametrize(("change", "text"), [
    (lambda packed: packed[:-1], "archive must have made-bin/test.bin"),
    (lambda packed: [*packed, packed[1]], "made-bin/one.bin must be there once, not twice"),
    (lambda packed: [(link("made-bin/one.bin"), None), *packed], "made-bin/one.bin must be an ordinary file"),
    (lambda packed: [(f"../{name}", content) for name, content in packed], "archive must have made-bin/one.bin"),
])
def test_archives_with_other_members_are_refused(tmp_path, change, text):
    path = tmp_path / "made.tar.gz"
    pack(path, change(members()))
    with pytest.raises(DataError, match=message(path, text)):
        load(made(), tmp_path, verify=False)
    assert list(tmp_path.rglob("*")) == [path]


def test_damaged_archives_are_named(tmp_path):
    path = tmp_path / "made.tar.gz"
    pack(path, members())
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(DataError, match=message(path, "gzip data is truncated or damaged")):
        load(made(), tmp_path, verify=False)
    for content in (gzip.decompress(whole)[:4000], b"no archive at all"):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: archive is truncated or damaged \(.+\)$"):
            load(made(), tmp_path, verify=False)


def test_an_archive_whose_file_is_longer_than_any_is_named(tmp_path):
    """A size of 12 bytes takes 95 bits; what reads that many bytes raises no error of tarfile."""
    path = tmp_path / "made.tar.gz"
    member = tarfile.TarInfo("made-bin/one.bin")
    member.size = 2**64
    path.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: archive is truncated or damaged \(.+\)$"):
        load(made(), tmp_path, verify=False)


def test_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    path = tmp_path / "made.tar.gz"
    pack(path, members())
    with pytest.raises(DataError, match=message(path, "file must have at most 1000 bytes unpacked")):
        load(made(), tmp_path, verify=False)


def test_download_fetches_the_archive_once_and_checks_it(tmp_path, monkeypatch):
    source, target = tmp_path / "source.tar.gz", tmp_path / "target"
    dataset = made(archive_digest=pack(source, members()))
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        return source.open("rb")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    download(dataset, target)
    download(dataset, target)
    assert asked == ["https://made.invalid/made.tar.gz"]
    check(*load(dataset, target))

    (target / "made.tar.gz").unlink()
    with pytest.raises(DataError, match=r"^https://made\.invalid/made\.tar\.gz: MD5 of the file must be \w+, not \w+; "
                                        r"give the official files with --data DIR$"):
        download(dataclasses.replace(dataset, archive_digest=md5(b"")), target)
    assert list(target.iterdir()) == [], "a wrong file gets no name"

    write(target)
    download(dataset, target)
    assert len(asked) == 2, "unpacked files are enough"

    (target / "two.bin").unlink()
    download(dataset, target)
    assert len(asked) == 3, "a missing file comes with the archive"
    check(*load(dataset, target))
