"""CIFAR-10 and CIFAR-100 in their official binary files, unpacked or straight from the official archive.

Source of the format: Krizhevsky, "The CIFAR-10 dataset", section "Binary version". A file is a sequence of records: one
label byte (CIFAR-10) or a coarse and a fine one (CIFAR-100), then 32 x 32 red pixels, as many green and blue ones.
"""

import dataclasses
import hashlib
import io
import pathlib
import tarfile

import numpy as np
import numpy.typing as npt

from support.errors import first_line
from train.datasets import files
from train.datasets.dataset import Arrays, DataError, PixelDataset

__all__ = ["CIFAR_10", "CIFAR_100", "CIFAR_100_COARSE", "CifarDataset", "read_records", "unordered_md5"]

_PIXELS = 3 * 32 * 32


def read_records(path: pathlib.Path, content: bytes, label_bytes: int) -> npt.NDArray[np.uint8]:
    """Return the records of a file, uint8 ``[N, label_bytes + 3072]``; an error names ``path``.

    Raises
    ------
    DataError
        Empty, or truncated, or too long by a part of a record.
    """
    size = label_bytes + _PIXELS
    if not content or len(content) % size:
        raise DataError(f"{path}: file must have a positive multiple of {size} bytes, not {len(content)}")
    return np.frombuffer(content, np.uint8).reshape(-1, size)


def unordered_md5(records: npt.NDArray[np.uint8]) -> str:
    """Return a digest of records, uint8 ``[N, size]``, in any order: the MD5 of their sorted MD5s."""
    single = sorted(hashlib.md5(record, usedforsecurity=False).digest() for record in records)
    return hashlib.md5(b"".join(single), usedforsecurity=False).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CifarDataset(PixelDataset):
    """A data set of binary files; ``url`` is the official archive.

    The files lie in the folder that is given, in a folder in it that has the archive's name for it, or in the archive,
    which is looked for last and never written to the disk.
    """

    #: MD5 of the archive.
    archive_digest: str
    #: Folder of the files in the archive.
    folder: str
    #: Number of label bytes of a record, and which of them is the class.
    label_bytes: int
    label_byte: int
    #: Files of each split.
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    #: MD5 of each official file.
    digests: dict[str, str]
    #: :func:`unordered_md5` of each file: copies exist that hold the official records in another order.
    unordered_digests: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def archive(self) -> str:
        """Name of the archive."""
        return self.url.rpartition("/")[2]

    def load_arrays(self, folder: pathlib.Path, verify: bool) -> tuple[Arrays, Arrays]:
        """Return images uint8 ``[N, 3, 32, 32]`` and labels uint8 ``[N]`` of both splits."""
        contents = self._unpacked_files(folder, verify) or self._archived_files(folder, verify)
        splits: list[Arrays] = []
        for names in (self.train_files, self.test_files):
            parts = []
            for name in names:
                path, content = contents.pop(name)
                parts.append(read_records(path, content, self.label_bytes))
                self.check_labels(path, parts[-1][:, self.label_byte])
            splits.append((np.concatenate([part[:, self.label_bytes:] for part in parts]).reshape(-1, *self.shape),
                           np.concatenate([part[:, self.label_byte] for part in parts])))
        return splits[0], splits[1]

    def _unpacked_files(self, folder: pathlib.Path, verify: bool) -> dict[str, tuple[pathlib.Path, bytes]]:
        """Return path and content of each file, or nothing where the archive is to be read."""
        names = (*self.train_files, *self.test_files)
        inside = folder / self.folder
        source = inside if any((inside / name).is_file() for name in names) else folder
        if not any((source / name).is_file() for name in names):
            return {}
        missing = [name for name in names if not (source / name).is_file()]
        if missing and (folder / self.archive).is_file():
            return {}
        contents = {}
        for name in names:
            path = source / name
            if name in missing:
                raise DataError(f"{source}: {name} of {self.name} is missing (get it with --download)")
            content = files.unpacked(path)
            if verify:
                self._check_digest(path, content)
            contents[name] = path, content
        return contents

    def _check_digest(self, path: pathlib.Path, content: bytes) -> None:
        try:
            files.check_md5(path, self.digests[path.name], content)
        except DataError:
            known = self.unordered_digests.get(path.name)
            if known is None or unordered_md5(read_records(path, content, self.label_bytes)) != known:
                raise

    def _archived_files(self, folder: pathlib.Path, verify: bool) -> dict[str, tuple[pathlib.Path, bytes]]:
        """Return path, for messages, and content of each file in the archive; its own MD5 vouches for all of them."""
        path = folder / self.archive
        if not path.is_file():
            raise DataError(f"{folder}: {self.train_files[0]} and the other files of {self.name}, or {self.archive}, "
                            f"are missing (get it with --download)")
        if verify:
            files.check_md5(path, self.archive_digest)
        wanted = {f"{self.folder}/{name}": name for name in (*self.train_files, *self.test_files)}
        contents: dict[str, tuple[pathlib.Path, bytes]] = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(files.unpacked(path)), mode="r:") as archive:
                for member in archive:
                    name = wanted.get(member.name)
                    if name is None:
                        continue
                    file = archive.extractfile(member) if member.isreg() and not member.issparse() else None
                    if file is None:
                        raise DataError(f"{path}: {member.name} must be an ordinary file")
                    if name in contents:
                        raise DataError(f"{path}: {member.name} must be there once, not twice")
                    contents[name] = path / member.name, file.read()
        except DataError:
            raise
        # Beside its own errors, tarfile raises what sizes and offsets that make no sense provoke.
        except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
            raise DataError(f"{path}: archive is truncated or damaged ({first_line(error)})") from None
        for member_name, name in wanted.items():
            if name not in contents:
                raise DataError(f"{path}: archive must have {member_name}")
        return contents

    def download(self, folder: pathlib.Path) -> None:
        """Fetch the archive unless it or all unpacked files are there. Raises :exc:`DataError`."""
        folder.mkdir(parents=True, exist_ok=True)
        names = (*self.train_files, *self.test_files)
        unpacked = any(all((place / name).is_file() for name in names) for place in (folder, folder / self.folder))
        if not unpacked and not (folder / self.archive).is_file():
            files.fetch(self.url, folder / self.archive, lambda path: files.check_md5(path, self.archive_digest))


#: Ten kinds of objects and animals.
CIFAR_10 = CifarDataset(
    name="cifar-10", classes=10, shape=(3, 32, 32), url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    archive_digest="c32a1d4ab5d03f1284b67883e8d87530", folder="cifar-10-batches-bin", label_bytes=1, label_byte=0,
    train_files=tuple(f"data_batch_{index}.bin" for index in range(1, 6)), test_files=("test_batch.bin",),
    digests={"data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
             "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
             "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
             "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
             "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
             "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d"})
#: A hundred kinds, by the fine label.
CIFAR_100 = CifarDataset(
    name="cifar-100", classes=100, shape=(3, 32, 32), url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    archive_digest="03b5dce01913d631647c71ecec9e9cb8", folder="cifar-100-binary", label_bytes=2, label_byte=1,
    train_files=("train.bin",), test_files=("test.bin",),
    digests={"train.bin": "6172c7755cfe09b2fe270c85cebc1b15", "test.bin": "4499cfba6c016c1be1438163640a0898"},
    unordered_digests={"train.bin": "772c6a3ef8a34fc2086014baf07c0367", "test.bin": "0cae01c7c17335467fe8b99276934bdc"})
#: The same images in twenty groups of five kinds each, by the coarse label.
CIFAR_100_COARSE = dataclasses.replace(CIFAR_100, name="cifar-100-coarse", classes=20, label_byte=0)
