"""What a network answered to images with labels: of a run of ``python -m sim``, or of the samples on the reference."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import json_object, strict_json
from arch.images import images_digest, load_images
from arch.network import Network
from gateware.build.page.levels import Level
from support.errors import InputError
from support.files import read_file

__all__ = ["Answers", "AnswersError", "read_answers"]

#: Longest file that is read: scores of a hundred thousand images.
_MAX_BYTES = 1 << 28
#: Numbers of images are below this.
_MOST_IMAGES = 2**31

#: What ran last in a simulation, and how its answers are known.
_LEVELS = {"reference": Level.COMPUTED, "rtl": Level.RTL, "netlist": Level.NETLIST, "bitstream": Level.BITSTREAM}


class AnswersError(InputError):
    """A file is no report of ``python -m sim``, or of another network."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answers:
    """Classes of some images, beside what they should be."""

    #: Where the images are from, for people.
    source: str
    #: How the classes are known.
    level: Level
    classes: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    #: The images themselves, if they are at hand.
    images: npt.NDArray[Any] | None = None
    #: Number of the first image in its file.
    first: int = 0

    @property
    def wrong(self) -> list[int]:
        """Indices of the images whose class is not their label."""
        return np.flatnonzero(self.classes != self.labels).tolist()

    @property
    def correct(self) -> int:
        """Number of images whose class is their label."""
        return len(self.classes) - len(self.wrong)

    def confusion(self) -> npt.NDArray[np.int64]:
        """Count images by label (rows) and class (columns)."""
        side = int(max(self.classes.max(), self.labels.max())) + 1
        table = np.zeros((side, side), np.int64)
        np.add.at(table, (self.labels, self.classes), 1)
        return table


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Simulated:
    """Keys of a report of ``python -m sim --json`` that are read."""

    network_sha256: str
    images: int
    engines: list[str]
    classes: list[int]
    labels: list[int]
    #: SHA-256 of the images; None in reports of versions that did not tell it.
    images_sha256: str | None = None
    #: Number of the one image that was chosen; None if all were taken, or the first ones.
    image: int | None = None
    #: Whether the engines agree; None of a single engine, which was compared with nothing.
    agree: bool | None = None


def _parse(path: pathlib.Path) -> _Simulated:
    try:
        return json_object.make(_Simulated, strict_json.parse(read_file(path, limit=_MAX_BYTES)))
    except ValueError as error:
        raise AnswersError(f"{path}: must be what python -m sim NETWORK --images FILE --labels FILE --json prints: "
                           f"{error}") from None


def _check(path: pathlib.Path, made: _Simulated, network_sha256: str) -> None:
    """Check what the types do not say; raises :exc:`AnswersError`."""
    if made.network_sha256 != network_sha256:
        raise AnswersError(f"{path}: must be of the network of the build, whose sha256 is {network_sha256[:16]}, not "
                           f"{made.network_sha256[:16]}: run python -m sim with that network")
    if not made.images == len(made.classes) == len(made.labels) > 0:
        raise AnswersError(f"{path}: must have a class and a label for each of its images, of which it has "
                           f"{made.images}: run python -m sim again with --labels FILE --json")
    if made.image is not None and not (made.images == 1 and 0 <= made.image < _MOST_IMAGES):
        raise AnswersError(f"{path}: image must be the number of the only image, not {made.image} of {made.images}: "
                           f"run python -m sim again")
    if not 0 <= min(made.classes + made.labels) <= max(made.classes + made.labels) < 1000:
        raise AnswersError(f"{path}: classes and labels must be 0 to 999: run python -m sim again")
    if made.agree is False:
        raise AnswersError(f"{path}: must be of engines that agree, and tells of a difference: find out why with "
                           f"python -m sim")
    if not made.engines or made.engines[-1] not in _LEVELS:
        raise AnswersError(f"{path}: engines must end with {', '.join(_LEVELS)}, not "
                           f"{strict_json.short(made.engines)}")
    if made.agree is None and made.engines[-1] != "reference":
        raise AnswersError(f"{path}: must be of engines that were compared, not of {made.engines[-1]} alone: run "
                           f"python -m sim with --engine both")


def _load(path: pathlib.Path, images: pathlib.Path, network: Network, made: _Simulated) -> npt.NDArray[Any]:
    """Read the images of a run; raises :exc:`AnswersError` if the file has others."""
    first = made.image or 0
    if made.images_sha256 is None:
        raise AnswersError(f"{path}: must have images_sha256, by which its images are known: run python -m sim again "
                           f"with --json, or leave --images out")
    found = load_images(images, network, first=first + made.images)[first:]
    if images_digest(found) != made.images_sha256:
        raise AnswersError(f"{images}: --images must be the images of the run that {path} is of, and has others: give "
                           f"the file that python -m sim was given")
    return found


def read_answers(path: pathlib.Path, *, network_sha256: str, images: pathlib.Path | None = None,
                 network: Network | None = None) -> Answers:
    """Read what ``python -m sim NETWORK --labels FILE --json`` has printed.

    Parameters
    ----------
    path : :class:`pathlib.Path`
    network_sha256 : :class:`str`
        Of the network that the page is about.
    images : :class:`pathlib.Path`, optional
        The file with the images of that run.
    network : :class:`arch.network.Network`, optional
        The network, which says what an image is; needed with ``images``.

    Raises
    ------
    :exc:`AnswersError`
        If it is no such report, of another network or other images, has no labels, tells of a difference, or is of a
        circuit that was not compared with the reference.
    :exc:`arch.images.ImageError`
        If the images are none of the network's.
    :exc:`OSError`
        If a file cannot be read.
    """
    made = _parse(path)
    _check(path, made, network_sha256)
    loaded = None
    if images is not None:
        if network is None:
            raise AnswersError("--images must be given with the network, which says what an image is: give --network "
                               "FILE")
        loaded = _load(path, images, network, made)
    return Answers(source=path.name, level=_LEVELS[made.engines[-1]], classes=np.array(made.classes),
                   labels=np.array(made.labels), images=loaded, first=made.image or 0)
