"""Events of a camera, or of an artificial ear, as binary frames.

Frame ``t`` has a 1 in a pixel if at least one event of that polarity fell into the ``t``-th of ``T`` equal slices of
the recording. tonic's ``ToFrame`` would count events instead, and its slices leave out the last event and up to
``T - 1`` units of time or events before it (``SliceByTimeBins``, ``SliceByEventBins``); here every event is in exactly
one slice.
"""

import dataclasses
import enum
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Framing", "Slicing", "frames_of"]


class Slicing(enum.StrEnum):
    """What the slices of a recording share."""

    #: The same time: event at ``t`` is in slice ``floor(T (t - first) / (last - first))``, the last one in slice T - 1.
    TIME = "time"
    #: The same number of events: in order of time, event i of n is in slice ``floor(T i / n)``.
    COUNT = "count"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Framing:
    """How the events of a recording become frames."""

    #: Frames of a recording, from 1: the network's timesteps.
    timesteps: int
    #: What the slices share.
    slicing: Slicing = Slicing.TIME
    #: Pixels of the sensor, along each axis longer than 1, that become one pixel, from 1; must divide these axes.
    factor: int = 1

    def __post_init__(self) -> None:
        for name in ("timesteps", "factor"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"framing {name} must be an integer from 1, not {value!r}")
        if not isinstance(self.slicing, Slicing):
            raise ValueError(f"framing slicing must be a Slicing, not {self.slicing!r}")

    def shape(self, sensor: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return channels, height and width of the frames of a sensor; raises :exc:`ValueError`."""
        channels, height, width = sensor
        if any(side > 1 and side % self.factor for side in (height, width)):
            raise ValueError(f"framing factor must divide {height} x {width} pixels, not {self.factor!r}")
        return channels, -(-height // self.factor), -(-width // self.factor)


def _slices(times: npt.NDArray[np.int64], framing: Framing) -> npt.NDArray[np.int64]:
    """Slice of each event, int64 ``[n]``."""
    if framing.slicing is Slicing.TIME:
        first, last = times.min(), times.max()
        slices = (times - first) * framing.timesteps // max(last - first, 1)
        return np.minimum(slices, framing.timesteps - 1)
    slices = np.empty(len(times), np.int64)
    slices[np.argsort(times, kind="stable")] = np.arange(len(times)) * framing.timesteps // len(times)
    return slices


def frames_of(events: npt.NDArray[Any], sensor: tuple[int, int, int], framing: Framing) -> npt.NDArray[np.uint8]:
    """Return the frames of a recording.

    Parameters
    ----------
    events : structured array ``[n]``
        Fields ``x`` (column), ``t`` (time in any unit) and, where the sensor has more than one row or polarity, ``y``
        (row) and ``p`` (polarity), as tonic's loaders make it.
    sensor : tuple
        Polarities, rows and columns of the sensor.
    framing : Framing
        What is made of them.

    Returns
    -------
    array, uint8 ``[T, C, H, W]``
        0 or 1.

    Raises
    ------
    ValueError
        There are no events, or one is outside of the sensor; ``framing`` does not fit the sensor.
    """
    frames = np.zeros((framing.timesteps, *framing.shape(sensor)), np.uint8)
    if not len(events):
        raise ValueError("recording must have events")
    position = []
    for name, size in zip(("p", "y", "x"), sensor, strict=True):
        # A sensor of one polarity or one row needs no such field; tonic gives the only polarity of SHD the number 1.
        values = events[name].astype(np.int64) if size > 1 else np.zeros(len(events), np.int64)
        if values.min() < 0 or values.max() >= size:
            wrong = values[(values < 0) | (values >= size)][0]
            raise ValueError(f"{name} of an event must be 0 to {size - 1}, not {wrong}")
        position.append(values)
    polarity, row, column = position
    times = events["t"].astype(np.int64)
    frames[_slices(times, framing), polarity, row // framing.factor, column // framing.factor] = 1
    return frames
