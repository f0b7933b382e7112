"""Events of a camera, or of an artificial ear, as binary frames.

Frame ``t`` has a 1 in a pixel if at least one event of that polarity fell into the ``t``-th of ``T`` equal slices of
the recording. tonic's ``ToFrame`` would count events instead, and its slices leave out the last event and up to
``T - 1`` units of time or events before it (``SliceByTimeBins``, ``SliceByEventBins``); here every event is in exactly
one slice.

Nothing that an event says is cast without a look. Times keep their type, and slices are compared with bounds that are
computed in rational numbers, so that 64 bits of whatever sign do not overflow. Times in floats are what decimal numbers
became in them, so seconds give the slices of microseconds.
"""

import dataclasses
import enum
import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.strict_json import short

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
                raise ValueError(f"framing {name} must be an integer from 1, not {short(value)}")
        if not isinstance(self.slicing, Slicing):
            raise ValueError(f"framing slicing must be a Slicing, not {short(self.slicing)}")

    def shape(self, sensor: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return channels, height and width of the frames of a sensor; raises :exc:`ValueError`."""
        channels, height, width = sensor
        if any(side > 1 and side % self.factor for side in (height, width)):
            raise ValueError(f"framing factor must divide {height} x {width} pixels, not {short(self.factor)}")
        return channels, -(-height // self.factor), -(-width // self.factor)


#: Most decimals of a time in floats, and the largest integer up to which float64 has all of them.
_MAX_DECIMALS, _MAX_EXACT = 12, 2**53


def _field(events: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    names = events.dtype.names or ()
    if name not in names:
        raise ValueError(f"events must have a field {name}, not only {', '.join(names) or 'numbers'}")
    values = events[name]
    if values.ndim != 1:
        raise ValueError(f"{name} of events must be one number each, not of shape {values.shape}")
    return values


def _positions(events: npt.NDArray[Any], name: str, size: int) -> npt.NDArray[np.int64]:
    """Polarity, row or column of each event, int64 ``[n]``, 0 to ``size - 1``."""
    if size == 1 and name not in (events.dtype.names or ()):
        return np.zeros(len(events), np.int64)
    values = _field(events, name)
    if values.dtype.kind not in ("iub" if name == "p" else "iu"):
        raise ValueError(f"{name} of an event must be an integer, not {values.dtype}")
    if size == 1:
        # tonic gives the only polarity of SHD the number 1.
        if values.min() != values.max():
            raise ValueError(f"{name} of all events must be equal for a sensor with one, not {values.min()} to "
                             f"{values.max()}")
        return np.zeros(len(events), np.int64)
    wrong = np.flatnonzero((values < 0) | (values >= size))
    if len(wrong):
        raise ValueError(f"{name} of an event must be 0 to {size - 1}, not {values[wrong[0]]}")
    return values.astype(np.int64)


def _times(events: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Time of each event, ``[n]``: integers of any type, or float64 where floats are no decimal numbers."""
    times = _field(events, "t")
    if times.dtype.kind not in "iuf" or times.dtype.itemsize > 8:
        raise ValueError(f"t of an event must be an integer or a float of up to 64 bits, not {times.dtype}")
    if times.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(times))
        if len(wrong):
            raise ValueError(f"t of an event must be finite, not {times[wrong[0]]} of event {wrong[0]}")
        times = _decimal(times)
    _check_order(times)
    return times


def _decimal(times: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
    """Return floats as integers of the unit 1, 0.1, 0.01 ... of which all of them are multiples; else as float64."""
    values = times.astype(np.float64)
    # A multiple may have been computed by a multiplication with a rounded 0.000001: two units in the last place.
    tolerance = 2 * float(np.finfo(times.dtype).eps) * np.abs(values)
    for decimals in range(_MAX_DECIMALS + 1):
        unit = 10.0**decimals
        with np.errstate(over="ignore"):
            ticks = np.rint(values * unit)
        if np.abs(ticks).max() > _MAX_EXACT:
            break
        if (np.abs(ticks / unit - values) <= tolerance).all():
            return ticks.astype(np.int64)
    return values


def _check_order(times: npt.NDArray[Any]) -> None:
    """Refuse times that run backwards as those of a counter do that has wrapped; a little disorder is none."""
    before, after = times[:-1], times[1:]
    (back,) = np.nonzero(before > after)
    if not len(back):
        return
    if times.dtype.kind == "f":
        with np.errstate(over="ignore"):
            steps = before[back] - after[back]
    else:
        # Modulo 2**64, which is right for a positive difference of any two integers of up to 64 bits.
        steps = before[back].astype(np.uint64) - after[back].astype(np.uint64)
    worst = int(back[np.argmax(steps)])
    step = Fraction(before[worst].item()) - Fraction(after[worst].item())
    if 2 * step > Fraction(times.max().item()) - Fraction(times.min().item()):
        raise ValueError(f"t of event {worst + 1} must not be so much earlier than that of the event before, "
                         f"{after[worst]} after {before[worst]}: sort the events, or continue a counter that wrapped")


def _slices(times: npt.NDArray[Any], framing: Framing) -> npt.NDArray[np.int64]:
    """Slice of each event, int64 ``[n]``."""
    if framing.slicing is Slicing.TIME:
        return np.searchsorted(_bounds(times, framing.timesteps), times, side="right").astype(np.int64)
    slices = np.empty(len(times), np.int64)
    slices[np.argsort(times, kind="stable")] = np.arange(len(times)) * framing.timesteps // len(times)
    return slices


def _bounds(times: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """First times of the slices 1 to ``count - 1``, in the type of ``times``: what is not earlier is in the slice."""
    first, last = Fraction(times.min().item()), Fraction(times.max().item())
    if first == last:
        return times[:0]
    bounds = [first + (last - first) * index / count for index in range(1, count)]
    if times.dtype.kind != "f":
        return np.array([math.ceil(bound) for bound in bounds], dtype=times.dtype)
    nearest = [float(bound) for bound in bounds]
    return np.array([value if value >= bound else math.nextafter(value, math.inf)
                     for value, bound in zip(nearest, bounds, strict=True)], dtype=times.dtype)


def frames_of(events: npt.NDArray[Any], sensor: tuple[int, int, int], framing: Framing) -> npt.NDArray[np.uint8]:
    """Return the frames of a recording.

    Parameters
    ----------
    events : structured array ``[n]``
        Fields ``x`` (column), ``t`` (time in any unit) and, where the sensor has more than one row or polarity, ``y``
        (row) and ``p`` (polarity), as tonic's loaders make it. Positions are integers, a polarity may be bool. Times
        are integers, or floats, of up to 64 bits, in the order of the recording; a little disorder is allowed.
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
        There are no events, or one is outside of the sensor; ``framing`` does not fit the sensor; a field is missing
        or of another type; a time is not finite, or runs backwards by more than half of the recording, as where a
        counter has wrapped.
    """
    frames = np.zeros((framing.timesteps, *framing.shape(sensor)), np.uint8)
    if not len(events):
        raise ValueError("recording must have events")
    polarity, row, column = (_positions(events, name, size) for name, size in zip(("p", "y", "x"), sensor, strict=True))
    times = _times(events)
    frames[_slices(times, framing), polarity, row // framing.factor, column // framing.factor] = 1
    return frames
