"""What every data set is: its name, its shape, how its files are loaded and fetched."""

import abc
import dataclasses
import pathlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from arch.network import Encoding
from support.errors import InputError
from train.datasets.framing import Framing

__all__ = ["Arrays", "DataError", "Dataset", "PixelDataset", "Split", "UnofficialError"]

#: Images and labels of a split.
Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


class DataError(InputError):
    """A data file is missing, malformed or not the official one. The message is one line."""


class UnofficialError(DataError):
    """A file is not the official one.

    Parameters
    ----------
    path : :class:`pathlib.Path`
        The file, or a folder of files.
    fault : :class:`str`
        What shows it, without the path; also an attribute.
    """

    def __init__(self, path: pathlib.Path, fault: str) -> None:
        super().__init__(f"{path}: {fault}: get the official files, or accept these with --unverified")
        self.fault = fault


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Images and their classes."""

    #: Images uint8 ``[N, C, H, W]``, or frames of events uint8, 0 or 1, ``[N, T, C, H, W]``.
    images: Tensor
    #: Classes, int64 ``[N]``.
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Dataset(abc.ABC):
    """A data set with a training and a test split."""

    #: Name on the command line and in provenance.
    name: str
    #: Number of classes; labels are 0 to ``classes - 1``.
    classes: int
    #: Channels, height and width of an image or, before any downsampling, of a frame.
    shape: tuple[int, int, int]
    #: Where the official files are.
    url: str

    @property
    @abc.abstractmethod
    def encoding(self) -> Encoding:
        """What an image consists of."""

    @abc.abstractmethod
    def load(self, folder: pathlib.Path, *, verify: bool = True, framing: Framing | None = None) -> tuple[Split, Split]:
        """Return training and test split of the files in ``folder``.

        Parameters
        ----------
        folder : Path
            Where the files are.
        verify : bool
            Refuse files that are not the official ones.
        framing : Framing, optional
            How events become frames: needed for events, to be left out for pixels.

        Raises
        ------
        DataError
            A file is missing, malformed or not the official one; ``framing`` does not fit the data set.
        """

    @abc.abstractmethod
    def download(self, folder: pathlib.Path) -> None:
        """Fetch the files that ``folder`` lacks; each is checked before it gets its name. Raises :exc:`DataError`."""

    def check_labels(self, path: pathlib.Path, labels: npt.NDArray[np.integer]) -> None:
        """Raise :exc:`DataError`, which names ``path``, unless all labels are classes."""
        wrong = labels[(labels < 0) | (labels >= self.classes)]
        if len(wrong):
            raise DataError(f"{path}: labels must be 0 to {self.classes - 1}, not {wrong[0]}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PixelDataset(Dataset):
    """A data set of still images."""

    @property
    def encoding(self) -> Encoding:
        """Pixels."""
        return Encoding.PIXELS

    def load(self, folder: pathlib.Path, *, verify: bool = True, framing: Framing | None = None) -> tuple[Split, Split]:
        """Return training and test split of the files in ``folder``: see :meth:`Dataset.load`."""
        if framing is not None:
            raise DataError(f"{self.name} has pixels: framing must be left out, not {framing!r}")
        train, test = (Split(images=torch.from_numpy(images), labels=torch.from_numpy(labels.astype(np.int64)))
                       for images, labels in self.load_arrays(folder, verify))
        return train, test

    @abc.abstractmethod
    def load_arrays(self, folder: pathlib.Path, verify: bool) -> tuple[Arrays, Arrays]:
        """Return images uint8 ``[N, C, H, W]`` and labels uint8 ``[N]`` of both splits: see :meth:`Dataset.load`."""
