"""Constants for a circuit that has not the bits for exact ones: those of a few channels move to the nearest that fit.

A circuit that runs any network has membranes of a fixed number of bits, and a fixed number of them are fractional. A
channel may have no exact constants (:mod:`export.certificate`) with so few fractional bits, or only such ones with
which its membrane can leave the range. Its constants are then moved, and its spikes may differ from those of the
trained network.

**Nearest.** The certificate compares bounds: the sums of currents from which on the neuron spikes, one for each number
of timesteps and of spikes before. The distance of integer constants from the trained neuron is the number of sums, over
all bounds, at which one of the two spikes and the other does not. The search begins at the rounded constants. If they
do not fit, they are first changed until they do. Then neighbours that fit are tried, at steps that shrink to 1, as long
as the distance falls; of equal distances the constants nearest to the trained ones are taken.
"""

import bisect
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from arch.network import MAX_CONSTANT, Neurons, Reset
from arch.widths import ChannelRange, Range, membrane_range
from export.certificate import RealNeuron, RealValueError, certify, real_bounds
from support.errors import InputError

__all__ = ["FitError", "Room", "fit_channels"]

#: How many steps away in each constant neighbours are tried.
_RADIUS = 3
#: Of these neighbours, so many of the nearest are tried.
_TRIED = 50
#: Where no constants are found, those for so many parts less of the currents are looked for.
_PARTS = 64

Constants = tuple[int, int, int]


class FitError(InputError):
    """No constants near the trained ones keep a membrane in the range of the circuit, or there is no circuit."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What the neurons of a circuit have room for."""

    #: Name of the board, for the command line and for people.
    board: str
    title: str
    #: Fractional bits of every membrane; constants with fewer are scaled.
    fraction: int
    #: Bits of a membrane, signed.
    membrane_width: int

    def ranges(self, neurons: Neurons, currents: ChannelRange, *, timesteps: int,
               constant: bool) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Smallest and largest number in the registers of each channel, at the circuit's fraction.

        These are the membrane, what it is above or below the threshold, and the threshold with its sign changed. The
        parameters are those of :func:`arch.widths.membrane_range`; F is at most the circuit's.
        """
        shift = self.fraction - neurons.fraction
        membrane, difference = membrane_range(neurons, currents, timesteps, constant=constant)
        low = np.minimum(np.minimum(membrane.low, difference.low), -neurons.threshold) << shift
        high = np.maximum(np.maximum(membrane.high, difference.high), neurons.threshold) << shift
        return low, high


class _Channel:
    """A channel whose constants are searched."""

    def __init__(self, neuron: RealNeuron, neurons: Neurons, currents: ChannelRange, *, timesteps: int, constant: bool,
                 room: Room):
        self.fraction, self.reset = neurons.fraction, neurons.reset
        self.currents, self.timesteps, self.constant, self.room = currents, timesteps, constant, room
        bounds = real_bounds(neuron, low=int(currents.low[0]), high=int(currents.high[0]), timesteps=timesteps,
                             reset=neurons.reset, constant=constant)
        #: How often threshold, bias and initial membrane count in each bound, ``[3, bounds]``; the unit of its sums,
        #: the range to which it is clipped, and the bound itself, ``[bounds]``.
        self.counts = np.array([(place.thetas, -place.steps, -place.initials) for place, _ in bounds]).T
        self.units = np.array([place.multiple << neurons.fraction for place, _ in bounds])
        self.least = np.array([place.low // place.multiple for place, _ in bounds])
        self.most = np.array([place.high // place.multiple + 1 for place, _ in bounds])
        self.limits = np.array([limit for _, limit in bounds])

    def distances(self, constants: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Count the sums at which neurons with ``constants``, ``[count, 3]``, decide otherwise, over all bounds."""
        limits = np.clip(-(-(constants @ self.counts) // self.units), self.least, self.most)
        return np.abs(limits - self.limits).sum(axis=1)

    def excesses(self, constants: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """By how much membranes can leave the range of the circuit with each of ``constants``, ``[count, 3]``."""
        count = len(constants)
        currents = ChannelRange(self.currents.low.repeat(count), self.currents.high.repeat(count))
        low, high = self.room.ranges(_neurons(constants, self.fraction, self.reset), currents,
                                     timesteps=self.timesteps, constant=self.constant)
        most = (1 << self.room.membrane_width - 1) - 1
        return np.maximum(0, np.maximum(high - most, -1 - most - low))

    def fitting(self, start: Constants) -> Constants | None:
        """Leave ``start`` until a membrane stays in the range; None if it was not found to."""
        # Constants move the membranes after the first current, and do not bring them nearer to each other.
        if int(self.currents.high[0] - self.currents.low[0]) << self.room.fraction >= 1 << self.room.membrane_width:
            return None
        found = np.array([start])
        excess = int(self.excesses(found)[0])
        step = 1 << (excess // self.timesteps).bit_length()
        while excess:
            candidates = _around(found, step, 1)
            excesses = self.excesses(candidates)
            best = np.lexsort((self.distances(candidates), excesses))[0]
            if excesses[best] < excess:
                found, excess = candidates[best:best + 1], int(excesses[best])
            elif step == 1:
                return None
            else:
                step //= 2
        return _constants(found[0])

    def nearest(self, start: Constants) -> tuple[Constants, int] | None:
        """Return the constants nearest to the trained neuron that were found to fit, and their distance.

        None if none were found to fit.
        """
        found = self.fitting(start)
        if found is None:
            return None
        away = max(abs(value - wanted) for value, wanted in zip(found, start, strict=True))
        distance = int(self.distances(np.array([found]))[0])
        for step in [1 << bit for bit in reversed(range(max(1, away.bit_length() - 1)))]:
            while distance:
                candidates = _around(np.array([found]), step, _RADIUS)
                distances = self.distances(candidates)
                order = np.lexsort((np.abs(candidates - np.array(start)).sum(axis=1), distances))
                better = [index for index in order[:_TRIED] if distances[index] < distance]
                best = next((index for index in better if not self.excesses(candidates[index:index + 1])[0]), None)
                if best is None:
                    break
                found, distance = _constants(candidates[best]), int(distances[best])
        return found, distance


def _constants(row: npt.NDArray[np.int64]) -> Constants:
    theta, bias, initial = row.tolist()
    return theta, bias, initial


def _around(found: npt.NDArray[np.int64], step: int, radius: int) -> npt.NDArray[np.int64]:
    """All constants that a network can hold up to ``radius`` steps away in each of the three, ``[count, 3]``."""
    grid = np.stack(np.meshgrid(*[np.arange(-radius, radius + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    candidates = found + step * grid
    return candidates[(candidates[:, 0] > 0) & (np.abs(candidates).max(axis=1) <= MAX_CONSTANT)]


def fit_channels(real: Sequence[RealNeuron], neurons: Neurons, inexact: Sequence[int], currents: ChannelRange, *,
                 timesteps: int, constant: bool, room: Room) -> tuple[Neurons, list[int]]:
    """Move the constants of the channels that a circuit has no exact ones for.

    Parameters
    ----------
    real : the real parameters of the channels
    neurons : what :func:`export.certificate.certify` found with at most ``room.fraction`` fractional bits
    inexact : the channels that it found not to be exact
    currents : range of the current per channel, one timestep
    timesteps : T
    constant : the current is the same in all timesteps
    room : the circuit

    Returns
    -------
    neurons : with moved constants
    inexact : channels that are not exact, ascending: those whose constants were moved and that decide otherwise for
        some sums

    Raises
    ------
    :exc:`FitError`
        If no constants fit a channel.
    """
    low, high = room.ranges(neurons, currents, timesteps=timesteps, constant=constant)
    half = 1 << room.membrane_width - 1
    wide = np.flatnonzero((low < -half) | (high >= half)).tolist()
    constants = np.stack([neurons.threshold, neurons.bias, neurons.initial], axis=1)
    moved: list[int] = []
    for channel in sorted({*wide, *inexact}):
        only = ChannelRange(currents.low[channel:channel + 1], currents.high[channel:channel + 1])
        search = _Channel(real[channel], neurons, only, timesteps=timesteps, constant=constant, room=room)
        nearest = search.nearest(_constants(constants[channel]))
        if nearest is None:
            needed = Range(int(low[channel]), int(high[channel])).bits
            remedy = _remedy(real[channel], only, timesteps=timesteps, reset=neurons.reset, constant=constant,
                             room=room)
            raise FitError(f"channel {channel}: its membrane of {timesteps} timestep{'s'[:timesteps > 1]} must fit the "
                           f"{room.membrane_width} bits of the {room.title}, not need {needed}, and no constants near "
                           f"the trained ones make it fit: {remedy}")
        constants[channel], distance = nearest
        if distance:
            moved.append(channel)
    return _neurons(constants, neurons.fraction, neurons.reset), moved


def _remedy(real: RealNeuron, currents: ChannelRange, *, timesteps: int, reset: Reset, constant: bool,
            room: Room) -> str:
    """Say with how many timesteps, and with which currents, constants for a channel were found: each was tried."""
    def fits(steps: int, parts: int) -> bool:
        less = ChannelRange(-(-currents.low * parts // _PARTS), currents.high * parts // _PARTS)
        try:
            rounded, _ = certify([real], less.low, less.high, timesteps=steps, reset=reset, constant=constant,
                                 max_fraction=room.fraction)
        except RealValueError:
            return False
        tried = _Channel(real, rounded, less, timesteps=steps, constant=constant, room=room)
        start = int(rounded.threshold[0]), int(rounded.bias[0]), int(rounded.initial[0])
        return tried.fitting(start) is not None

    def most(below: int, works: Callable[[int], bool]) -> int:
        return bisect.bisect_left(range(1, below), True, key=lambda number: not works(number))

    remedies = []
    if steps := most(timesteps, lambda steps: fits(steps, _PARTS)):
        remedies.append(f"train it with at most {steps} timestep{'s'[:steps > 1]}")
    # A channel without a current has constants that fit: the smallest ones.
    parts = most(_PARTS, lambda parts: fits(timesteps, parts))
    low, high = int(currents.low[0]), int(currents.high[0])
    remedies.append(f"train it with so few inputs or pooled positions that currents of the channel are at most "
                    f"{-(-low * parts // _PARTS)} to {high * parts // _PARTS}, not {low} to {high}")
    return "; or ".join(remedies)


def _neurons(constants: npt.NDArray[np.int64], fraction: int, reset: Reset) -> Neurons:
    thresholds, biases, initials = constants.T.astype(np.int64)
    return Neurons(threshold=thresholds, bias=biases, initial=initials, fraction=fraction, reset=reset)
