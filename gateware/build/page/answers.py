"""What a network answered to images with labels: of a run of ``python -m sim``, or of the samples on the reference."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import json_object, strict_json
from gateware.build.page.levels import Level
from support.errors import InputError
from support.files import read_file

__all__ = ["Answers", "AnswersError", "read_answers"]

#: Longest file that is read: scores of a hundred thousand images.
_MAX_BYTES = 1 << 28

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
    #: Whether the engines agree; None of a single engine, which was compared with nothing.
    agree: bool | None = None


def read_answers(path: pathlib.Path, *, network_sha256: str) -> Answers:
    """Read what ``python -m sim NETWORK --labels FILE --json`` has printed.

    Parameters
    ----------
    path : :class:`pathlib.Path`
    network_sha256 : :class:`str`
        Of the network that the page is about.

    Raises
    ------
    :exc:`AnswersError`
        If it is no such report, of another network, has no labels, tells of a difference, or is of a circuit that
        was not compared with the reference.
    :exc:`OSError`
        If it cannot be read.
    """
    try:
        made = json_object.make(_Simulated, strict_json.parse(read_file(path, limit=_MAX_BYTES)))
    except ValueError as error:
        raise AnswersError(f"{path}: must be what python -m sim NETWORK --images FILE --labels FILE --json prints: "
                           f"{error}") from None
    if made.network_sha256 != network_sha256:
        raise AnswersError(f"{path}: must be of the network of the build, whose sha256 is {network_sha256[:16]}, not "
                           f"{made.network_sha256[:16]}: run python -m sim with that network")
    if not made.images == len(made.classes) == len(made.labels) > 0:
        raise AnswersError(f"{path}: must have a class and a label for each of its images, of which it has "
                           f"{made.images}: run python -m sim again with --labels FILE --json")
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
    return Answers(source=path.name, level=_LEVELS[made.engines[-1]], classes=np.array(made.classes),
                   labels=np.array(made.labels))
