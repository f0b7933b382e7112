"""Event data sets through the library tonic: N-MNIST, DVS128 Gesture, Spiking Heidelberg Digits.

tonic knows where the official files are, how they are packed and how an event is coded; it is imported only when such a
data set is loaded. Its layout is kept: FOLDER/NMNIST, FOLDER/DVSGesture or FOLDER/SHD hold the official archives and
what was unpacked from them. A verified load wants archives with the official MD5 and the official number of recordings;
what was unpacked is not compared with the archive byte by byte.

A recording becomes binary frames as :class:`train.datasets.framing.Framing` says; all of them are in memory, one byte
per pixel: N-MNIST takes 162 MB per timestep, DVS128 Gesture at full resolution 44 MB.
"""

import abc
import contextlib
import dataclasses
import hashlib
import http.client
import operator
import pathlib
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from arch.network import Encoding
from support.errors import first_line
from train.datasets import files
from train.datasets.dataset import DataError, Dataset, Split, UnofficialError
from train.datasets.framing import Framing, frames_of

__all__ = ["DVS_GESTURE", "N_MNIST", "N_MNIST_SMALL", "SHD", "EventDataset", "SmallNmnist", "TonicDataset"]

#: Bytes of an event of N-MNIST: column, row, polarity and time in microseconds.
_NMNIST_EVENT_BYTES = 5


def _tonic(name: str) -> types.ModuleType:
    """Import tonic for the data set ``name``."""
    try:
        import tonic
    except ImportError as error:
        raise DataError(f"{name} needs the package tonic ({error}): install it with pip install -e '.[events]'"
                        ) from None
    return tonic


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
    """Name ``path`` in one line if it cannot be read."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        # A reader of malformed files raises whatever they provoke, in whichever library it comes from.
        raise DataError(f"{path}: recording cannot be used: {first_line(error)}") from None


def _check_whole_events(path: pathlib.Path, event_bytes: int) -> None:
    """Raise :exc:`ValueError` if a file ends within an event, which tonic does not notice."""
    size = path.stat().st_size
    if size % event_bytes:
        raise ValueError(f"file must have a multiple of {event_bytes} bytes, not {size}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Recording:
    """A recording that is still in its file."""

    #: The file.
    path: pathlib.Path
    #: Read its events, a structured array, and its class.
    read: Callable[[], tuple[npt.NDArray[Any], int]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EventDataset(Dataset):
    """A data set of recordings of an event sensor; ``shape`` is that of the sensor."""

    @property
    def encoding(self) -> Encoding:
        """Events."""
        return Encoding.EVENTS

    def load(self, folder: pathlib.Path, *, verify: bool = True, framing: Framing | None = None) -> tuple[Split, Split]:
        """Return training and test split of the files in ``folder``: see :meth:`train.datasets.Dataset.load`."""
        if framing is None:
            raise DataError(f"{self.name} has events: framing must say how many frames become of a recording, "
                            f"not be left out")
        try:
            framing.shape(self.shape)
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from None
        train, test = self._recordings(folder, verify)
        return self._framed(train, framing), self._framed(test, framing)

    @abc.abstractmethod
    def _recordings(self, folder: pathlib.Path, verify: bool) -> tuple[Sequence[_Recording], Sequence[_Recording]]:
        """Return the recordings of both splits, at least one each; raises :exc:`DataError`."""

    def _framed(self, recordings: Sequence[_Recording], framing: Framing) -> Split:
        images = torch.empty((len(recordings), framing.timesteps, *framing.shape(self.shape)), dtype=torch.uint8)
        labels = np.empty(len(recordings), np.int64)
        for index, (image, recording) in enumerate(zip(images.numpy(), recordings, strict=True)):
            with _reading(recording.path):
                events, labels[index] = recording.read()
                image[:] = frames_of(events, self.shape, framing)
            self.check_labels(recording.path, labels[index:index + 1])
        return Split(images=images, labels=torch.from_numpy(labels))


#: Seed of the permutation of training recordings that lie in folders; the same for every training.
ORDER_SEED = 5000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TonicDataset(EventDataset):
    """A data set that tonic has a class for."""

    #: Name of the class in ``tonic.datasets``, also of its folder.
    loader: str
    #: What tonic unpacks for training and test: folders or files.
    unpacked: tuple[str, str]
    #: MD5 of the two official archives, by name.
    digests: dict[str, str]
    #: Official number of recordings of training and test.
    counts: tuple[int, int]
    #: Bytes of an event, where a file is nothing but events.
    event_bytes: int = 1
    #: Whether the events of a recording are known to come in the order of time.
    ordered: bool = True

    def _recordings(self, folder: pathlib.Path, verify: bool) -> tuple[Sequence[_Recording], Sequence[_Recording]]:
        place = folder / self.loader
        for name in self.unpacked:
            if not (place / name).exists():
                raise DataError(f"{place}: {name} of {self.name} is missing (get it with --download)")
        if verify:
            for name, digest in self.digests.items():
                if not (place / name).is_file():
                    raise DataError(f"{place}: {name} of {self.name} is missing, with which the unpacked files are "
                                    f"verified (get it with --download)")
                files.check_md5(place / name, digest)
        splits = [self._split(folder, train) for train in (True, False)]
        for recordings, count, name in zip(splits, self.counts, self.unpacked, strict=True):
            if not recordings:
                raise DataError(f"{place / name}: recordings of {self.name} must be there")
            if verify and len(recordings) != count:
                raise UnofficialError(place / name, f"{count} recordings must be there, not {len(recordings)}")
        return splits[0], splits[1]

    def _split(self, folder: pathlib.Path, train: bool) -> list[_Recording]:
        tonic_class = getattr(_tonic(self.name).datasets, self.loader)
        # Without this a class of tonic downloads what it does not find, and wants 10,000 files of N-MNIST.
        local = type(self.loader, (tonic_class,), {"_check_exists": lambda self: True})
        place = folder / self.loader / self.unpacked[not train]
        with _reading(place):
            opened = local(save_to=str(folder), train=train)
            if place.is_file():
                return [self._recording(place, opened, index) for index in range(len(opened))]
            # tonic takes files as the file system lists them, which differs from one computer to the next.
            order = sorted(range(len(opened)), key=opened.data.__getitem__)
            if train:
                # Folders are classes or people: the first recordings, on which methods calibrate, must be of all.
                order = [order[index] for index in np.random.default_rng(ORDER_SEED).permutation(len(order))]
            return [self._recording(pathlib.Path(opened.data[index]), opened, index) for index in order]

    def _recording(self, path: pathlib.Path, opened: Any, index: int) -> _Recording:
        def read() -> tuple[npt.NDArray[Any], int]:
            _check_whole_events(path, self.event_bytes)
            events, label = opened[index]
            if not self.ordered:
                events = events[np.argsort(events["t"], kind="stable")]
            return events, operator.index(label)

        return _Recording(path=path, read=read)

    def download(self, folder: pathlib.Path) -> None:
        """Let tonic fetch, check and unpack what ``folder`` lacks. Raises :exc:`DataError`."""
        loader = getattr(_tonic(self.name).datasets, self.loader)
        folder.mkdir(parents=True, exist_ok=True)
        for train in (True, False):
            try:
                loader(save_to=str(folder), train=train)
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                raise DataError(f"{self.url}: {self.name} cannot be downloaded ({first_line(error)}); give the files "
                                f"with --data DIR") from None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SmallNmnist(EventDataset):
    """The 1,000 + 100 recordings of N-MNIST that come with the SLAYER framework, for trying things.

    A folder of files ``NUMBER.bs2`` in N-MNIST's own format and two lists of number and class.
    """

    #: Lists of the training and of the test recordings.
    lists: tuple[str, str]
    #: MD5 of the two lists and of all files they name, in their order.
    digest: str

    def _recordings(self, folder: pathlib.Path, verify: bool) -> tuple[Sequence[_Recording], Sequence[_Recording]]:
        place = next((path for path in (folder / "NMNISTsmall", folder) if (path / self.lists[0]).is_file()), None)
        if place is None:
            raise DataError(f"{folder}: {self.lists[0]} of {self.name} is missing (get it from {self.url})")
        splits = [self._listed(place / name) for name in self.lists]
        if verify:
            paths = [*(place / name for name in self.lists),
                     *(recording.path for recordings in splits for recording in recordings)]
            digest = hashlib.md5(usedforsecurity=False)
            for path in paths:
                with _reading(path):
                    digest.update(path.read_bytes())
            if digest.hexdigest() != self.digest:
                raise UnofficialError(place, f"MD5 of lists and recordings must be {self.digest}, "
                                             f"not {digest.hexdigest()}")
        return splits[0], splits[1]

    def _listed(self, path: pathlib.Path) -> list[_Recording]:
        tonic = _tonic(self.name)

        def recording(file: pathlib.Path, label: int) -> _Recording:
            def read() -> tuple[npt.NDArray[Any], int]:
                _check_whole_events(file, _NMNIST_EVENT_BYTES)
                return tonic.io.read_mnist_file(str(file), dtype=tonic.datasets.NMNIST.dtype), label

            return _Recording(path=file, read=read)

        if not path.is_file():
            raise DataError(f"{path.parent}: {path.name} of {self.name} is missing (get it from {self.url})")
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        recordings = []
        for number, line in enumerate(lines[1:], start=2):
            words = line.split()
            if len(words) != 2 or not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
                raise DataError(f"{path}: line {number} must be a sample and its class, not {line!r}")
            recordings.append(recording(path.parent / f"{words[0]}.bs2", int(words[1])))
        if not recordings:
            raise DataError(f"{path}: list must have recordings")
        return recordings

    def download(self, folder: pathlib.Path) -> None:
        """Raise :exc:`DataError` unless the files are there: they are published only within SLAYER's repository."""
        self._recordings(folder, verify=False)


#: Handwritten digits seen by a camera that moves in three saccades (Orchard et al. 2015).
N_MNIST = TonicDataset(
    name="n-mnist", classes=10, shape=(2, 34, 34), url="https://www.garrickorchard.com/datasets/n-mnist",
    loader="NMNIST", unpacked=("Train", "Test"), counts=(60000, 10000), event_bytes=_NMNIST_EVENT_BYTES,
    digests={"train.zip": "20959b8e626244a1b502305a9e6e2031", "test.zip": "69ca8762b2fe404d9b9bad1103e97832"})
#: A subset of N-MNIST.
N_MNIST_SMALL = SmallNmnist(
    name="n-mnist-small", classes=10, shape=(2, 34, 34), url="https://github.com/bamsumit/slayerPytorch",
    lists=("train1K.txt", "test100.txt"), digest="d39d5d5796734c72cadc42834a0ac0f4")
#: Eleven gestures of arms and hands, cut into one recording per gesture (Amir et al. 2017).
DVS_GESTURE = TonicDataset(
    name="dvs-gesture", classes=11, shape=(2, 128, 128), url="https://research.ibm.com/interactive/dvsgesture/",
    loader="DVSGesture", unpacked=("ibmGestureTrain", "ibmGestureTest"), counts=(1077, 264),
    digests={"ibmGestureTrain.tar.gz": "3a8f0d4120a166bac7591f77409cb105",
             "ibmGestureTest.tar.gz": "56070e45dadaa85fff82e0fbfbc06de5"})
#: Spoken digits in English and German, as the spikes of an artificial cochlea (Cramer et al. 2020).
SHD = TonicDataset(
    name="shd", classes=20, shape=(1, 1, 700), url="https://zenkelab.org/datasets/",
    loader="SHD", unpacked=("shd_train.h5", "shd_test.h5"), counts=(8156, 2264), ordered=False,
    digests={"shd_train.h5.zip": "f3252aeb598ac776c1b526422d90eecb",
             "shd_test.h5.zip": "1503a5064faa34311c398fb0a1ed0a6f"})
