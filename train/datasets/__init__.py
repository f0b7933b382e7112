"""Data sets: the official files of images and of event recordings, checked, as tensors.

``load(DATASETS["cifar-10"], folder)`` gives a training and a test :class:`Split`. Each family of files has its module:
:mod:`train.datasets.idx`, :mod:`train.datasets.cifar`, :mod:`train.datasets.events`.
"""

import pathlib

import torch

from train.datasets.cifar import CIFAR_10, CIFAR_100, CIFAR_100_COARSE, CifarDataset
from train.datasets.dataset import DataError, Dataset, PixelDataset, Split
from train.datasets.events import DVS_GESTURE, N_MNIST, N_MNIST_SMALL, SHD, EventDataset
from train.datasets.framing import Framing, Slicing, frames_of
from train.datasets.idx import FASHION_MNIST, MNIST, IdxDataset

__all__ = [
    "DATASETS", "CifarDataset", "DataError", "Dataset", "EventDataset", "Framing", "IdxDataset", "PixelDataset",
    "Slicing", "Split", "download", "frames_of", "load", "split_validation",
]

#: The data sets by name.
DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (
    MNIST, FASHION_MNIST, CIFAR_10, CIFAR_100, CIFAR_100_COARSE, N_MNIST, N_MNIST_SMALL, DVS_GESTURE, SHD)}

#: Seed of the permutation that cuts the validation images off; the same for every training.
VALIDATION_SEED = 5000


def load(dataset: Dataset, folder: pathlib.Path, *, verify: bool = True,
         framing: Framing | None = None) -> tuple[Split, Split]:
    """Return training and test split of the files in ``folder``; with ``verify`` only the official ones.

    ``framing`` says how events become frames: needed for events, to be left out for pixels. Raises :exc:`DataError`.
    """
    return dataset.load(folder, verify=verify, framing=framing)


def download(dataset: Dataset, folder: pathlib.Path) -> None:
    """Fetch the files that ``folder`` lacks; each is checked before it gets its name. Raises :exc:`DataError`."""
    dataset.download(folder)


def split_validation(train: Split, count: int) -> tuple[Split, Split]:
    """Cut ``count`` validation images off the training split: always the same ones, drawn at random."""
    if not 0 < count < len(train):
        raise DataError(f"validation_images must be 1 to {len(train) - 1}, as there are {len(train)} training images, "
                        f"not {count}: change it in the recipe")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(VALIDATION_SEED))
    kept, held = order[count:].sort().values, order[:count].sort().values
    return (Split(images=train.images[kept], labels=train.labels[kept]),
            Split(images=train.images[held], labels=train.labels[held]))
