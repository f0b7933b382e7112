"""MNIST and Fashion-MNIST in their official idx files, plain or gzip. :mod:`arch.images.formats` reads the format."""

import dataclasses
import functools
import io
import pathlib

import numpy as np
import numpy.typing as npt

from arch.images import ImageError
from arch.images.formats import read_idx
from train.datasets import files
from train.datasets.dataset import Arrays, DataError, PixelDataset

__all__ = ["FASHION_MNIST", "MNIST", "IdxDataset", "read_array"]

_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def read_array(path: pathlib.Path, dimensions: int, digest: str | None = None) -> npt.NDArray[np.uint8]:
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
        The file is truncated, too long or damaged, holds another type or other dimensions, or has a wrong MD5.
    """
    content = files.unpacked(path)
    try:
        array = read_idx(io.BytesIO(content), len(content))
    except ImageError as error:
        raise DataError(f"{path}: {error}") from None
    if array.dtype != np.uint8 or array.ndim != dimensions:
        raise DataError(f"{path}: array must be uint8 of {dimensions} dimensions, not {array.dtype} of {array.ndim}")
    if digest is not None:
        files.check_md5(path, digest, content)
    return array


def _find(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class IdxDataset(PixelDataset):
    """A data set of four idx files, each plain or gzip; ``url`` is the folder of the gzip files, ending in a slash."""

    #: MD5 of each official file, unpacked, by name without ``.gz``.
    digests: dict[str, str]

    def load_arrays(self, folder: pathlib.Path, verify: bool) -> tuple[Arrays, Arrays]:
        """Return images uint8 ``[N, C, H, W]`` and labels uint8 ``[N]`` of both splits."""
        splits: list[Arrays] = []
        for prefix in ("train", "t10k"):
            arrays, paths = [], []
            for name, dimensions in ((f"{prefix}-images-idx3-ubyte", 3), (f"{prefix}-labels-idx1-ubyte", 1)):
                path = _find(folder, name)
                if path is None:
                    raise DataError(
                        f"{folder}: {name} or {name}.gz of {self.name} is missing (get it with --download)")
                arrays.append(read_array(path, dimensions, self.digests[name] if verify else None))
                paths.append(path)
            images, labels = arrays
            if len(images) != len(labels) or not len(labels):
                raise DataError(f"{folder}: {prefix} must have one label per image, not {len(labels)} for "
                                f"{len(images)}")
            if images.shape[1:] != self.shape[1:]:
                raise DataError(f"{paths[0]}: images must be {' x '.join(map(str, self.shape[1:]))}, "
                                f"not {' x '.join(map(str, images.shape[1:]))}")
            self.check_labels(paths[1], labels)
            splits.append((images[:, None].copy(), labels))
        return splits[0], splits[1]

    def download(self, folder: pathlib.Path) -> None:
        """Fetch the files that ``folder`` lacks; each is checked before it gets its name. Raises :exc:`DataError`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, digest in self.digests.items():
            if _find(folder, name) is None:
                check = functools.partial(read_array, dimensions=3 if "images" in name else 1, digest=digest)
                files.fetch(f"{self.url}{name}.gz", folder / f"{name}.gz", check)


#: Handwritten digits.
MNIST = IdxDataset(
    name="mnist", classes=10, shape=(1, 28, 28), url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    digests=dict(zip(_FILES, ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
                              "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"), strict=True)))
#: Clothes.
FASHION_MNIST = IdxDataset(
    name="fashion-mnist", classes=10, shape=(1, 28, 28),
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    digests=dict(zip(_FILES, ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9",
                              "8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965"), strict=True)))
