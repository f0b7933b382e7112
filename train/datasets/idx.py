"""Loaders of the official MNIST and Fashion-MNIST files (idx format, plain or gzip).

Source of the format: LeCun, Cortes, Burges, "The MNIST database of handwritten digits". All numbers are big-endian:
two zero bytes, a type (8: uint8), the number of dimensions, each dimension in 4 bytes, then the data.
"""

import dataclasses
import gzip
import hashlib
import math
import pathlib
import tempfile
import urllib.error
import urllib.request
import zlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["DATASETS", "DataError", "Dataset", "Split", "download", "load", "read_idx", "split_validation"]

#: Largest file, unpacked, in bytes: the official ones have 47 MB.
MAX_BYTES = 2**28
#: Seed of the permutation that cuts the validation images off; the same for every training.
VALIDATION_SEED = 5000


class DataError(ValueError):
    """A data file is missing, malformed or not the official one. The message is one line."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A data set of four idx files."""

    #: Name on the command line and in provenance.
    name: str
    #: Where the gzip files are, ending in a slash.
    url: str
    #: MD5 of each official file, unpacked, by name without ``.gz``.
    digests: dict[str, str]


_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

#: The data sets by name.
DATASETS = {
    dataset.name: dataset for dataset in (
        Dataset(name="mnist", url="https://ossci-datasets.s3.amazonaws.com/mnist/",
                digests=dict(zip(_FILES, ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
                                          "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
                                 strict=True))),
        Dataset(name="fashion-mnist", url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                digests=dict(zip(_FILES, ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9",
                                          "8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965"),
                                 strict=True))),
    )
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Images and their classes."""

    #: Images, uint8 ``[N, C, H, W]``.
    images: Tensor
    #: Classes, int64 ``[N]``.
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def _content(path: pathlib.Path) -> bytes:
    """Return the unpacked content of an idx file, gzip or not."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise DataError(f"{path}: gzip data is truncated or damaged") from None
    if len(content) > MAX_BYTES:
        raise DataError(f"{path}: file must have at most {MAX_BYTES} bytes unpacked")
    return content


def read_idx(path: pathlib.Path, dimensions: int, digest: str | None = None) -> npt.NDArray[np.uint8]:
    """Return the array of an idx file of uint8, plain or gzip.

    Parameters
    ----------
    path : Path
        The file.
    dimensions : int
        Dimensions it must have: 3 for images, 1 for labels.
    digest : str, optional
        MD5 that its unpacked content must have.

    Raises
    ------
    DataError
        Wrong magic, truncated or too long, wrong MD5.
    """
    content = _content(path)
    magic = bytes((0, 0, 8, dimensions))
    if content[:4] != magic:
        raise DataError(f"{path}: magic must be {magic.hex()}, not {content[:4].hex()}")
    header = 4 + 4 * dimensions
    shape = np.frombuffer(content[4:header].ljust(4 * dimensions, b"\0"), ">u4").tolist()
    if len(content) != header + math.prod(shape):
        raise DataError(f"{path}: file must have {header + math.prod(shape)} bytes unpacked, not {len(content)}")
    if digest is not None:
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != digest:
            raise DataError(f"{path}: MD5 of the unpacked file must be {digest}, not {found}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _find(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def load(dataset: Dataset, folder: pathlib.Path, *, verify: bool = True) -> tuple[Split, Split]:
    """Return training and test split of the files in ``folder``; with ``verify`` only the official ones.

    Raises :exc:`DataError`.
    """
    splits = []
    for prefix in ("train", "t10k"):
        arrays = []
        for name, dimensions in ((f"{prefix}-images-idx3-ubyte", 3), (f"{prefix}-labels-idx1-ubyte", 1)):
            path = _find(folder, name)
            if path is None:
                raise DataError(f"{folder}: {name} or {name}.gz of {dataset.name} is missing (get it with --download)")
            arrays.append(read_idx(path, dimensions, dataset.digests[name] if verify else None))
        images, labels = arrays
        if len(images) != len(labels) or not len(labels):
            raise DataError(f"{folder}: {prefix} must have one label per image, not {len(labels)} for {len(images)}")
        splits.append(Split(images=torch.from_numpy(images.copy())[:, None],
                            labels=torch.from_numpy(labels.astype(np.int64))))
    return splits[0], splits[1]


def download(dataset: Dataset, folder: pathlib.Path) -> None:
    """Fetch the files that ``folder`` lacks; each is checked before it gets its name. Raises :exc:`DataError`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, digest in dataset.digests.items():
        if _find(folder, name) is not None:
            continue
        url = f"{dataset.url}{name}.gz"
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            path = pathlib.Path(temporary) / f"{name}.gz"
            try:
                with urllib.request.urlopen(url, timeout=60) as response:
                    path.write_bytes(response.read(MAX_BYTES))
            except (urllib.error.URLError, TimeoutError, OSError) as error:
                raise DataError(f"{url}: cannot be downloaded ({error}); give the files with --data DIR") from None
            read_idx(path, 3 if "images" in name else 1, digest)
            path.replace(folder / path.name)


def split_validation(train: Split, count: int) -> tuple[Split, Split]:
    """Cut ``count`` validation images off the training split: always the same ones, drawn at random."""
    if not 0 < count < len(train):
        raise DataError(f"validation images must be 1 to {len(train) - 1}, not {count}")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(VALIDATION_SEED))
    kept, held = order[count:].sort().values, order[:count].sort().values
    return (Split(images=train.images[kept], labels=train.labels[kept]),
            Split(images=train.images[held], labels=train.labels[held]))
