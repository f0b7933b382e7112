"""A network in rational numbers: ternary codes, and neurons of which every parameter is exact.

It is what the export takes beside a checkpoint (:class:`arch.checkpoint.Checkpoint`), from sources whose numbers or
comparison a checkpoint does not have. Its spikes are computed in integers over a common denominator, so they are those
of real arithmetic, however close a membrane comes to its threshold.
"""

import dataclasses
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from arch.checkpoint import Checkpoint
from export.certificate import BITS, RealNeuron, RealValueError, root_ends

__all__ = ["RationalNetwork", "Scaled", "Trained", "exact_spikes"]

#: Error of a membrane in float64, as a share of the largest that it can become: much more than its roundings.
_FLOAT_ERROR = 2.0**-40
#: Magnitude up to which membranes are computed in int64; beyond, in integers of any size.
_SAFE = 2**62


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RationalNetwork:
    """A network that the export can take, from another package."""

    #: Input, timesteps and layers, as in :mod:`arch.architecture`; no layer has BatchNorm.
    architecture: Mapping[str, Any]
    #: Codes -1, 0 and +1 of the layers with weights by name, ``int8``.
    codes: Mapping[str, npt.NDArray[np.int8]]
    #: Neurons of the layers by name, one per channel: their gain is that of the integer sum over a whole window.
    neurons: Mapping[str, tuple[RealNeuron, ...]]
    #: Where the network comes from, and by which rule it was read. JSON values only.
    provenance: Mapping[str, Any]

    @property
    def protected(self) -> bool:
        """Always true: HDF5 files carry no hash of their own, and there is no older form to save again."""
        return True

    def projection(self, index: int) -> None:
        """Return None: no layer has a projection."""
        del index


#: What the export takes: a checkpoint, or the network of another package.
Trained = Checkpoint | RationalNetwork


def exact_spikes(neurons: tuple[RealNeuron, ...], currents: npt.NDArray[Any], *, timesteps: int, hard: bool,
                 leak_shift: int | None) -> npt.NDArray[np.bool_]:
    """Spikes of neurons in real arithmetic, ``bool[images, T, C, H, W]``.

    ``currents`` are integer sums, ``[images, T or 1, C, H, W]``.

    Raises
    ------
    :exc:`export.certificate.RealValueError`
        If a membrane comes so near to its threshold that :data:`export.certificate.BITS` bits of the square root of
        BatchNorm do not decide.
    """
    spikes = np.empty((len(currents), timesteps, *currents.shape[2:]), dtype=bool)
    for channel, neuron in enumerate(neurons):
        own = currents[:, :, channel].astype(np.int64)
        low, high = root_ends(neuron)
        if low == high:
            spikes[:, :, channel] = _spikes(Scaled.of(neuron, low), own, timesteps, hard, leak_shift)
            continue
        # In float64 where no membrane comes near to the threshold, which is nearly everywhere; the rest twice.
        found, near = _float_spikes(neuron, low, own, timesteps, hard, leak_shift)
        if near.any():
            places = np.moveaxis(own, 1, 0)[:, near].T
            ends = [_spikes(Scaled.of(neuron, end), places, timesteps, hard, leak_shift) for end in (low, high)]
            if not np.array_equal(ends[0], ends[1]):
                raise RealValueError(f"channel {channel}: spike must be decided by {BITS} bits of the square root: "
                                     f"change the variance or the threshold of the channel slightly")
            np.moveaxis(found, 1, 0)[:, near] = ends[0].T
        spikes[:, :, channel] = found
    return spikes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Scaled:
    """A neuron as numbers of which ``u += gain a + drift`` is made."""

    #: Factor of the integer sum, and what is added in every timestep.
    gain: Fraction
    drift: Fraction
    #: Threshold, membrane before the first timestep, and whether only a membrane above the threshold spikes.
    theta: Fraction
    initial: Fraction
    strict: bool

    @classmethod
    def of(cls, neuron: RealNeuron, root: Fraction) -> Self:
        """Divide by ``root``, for which ``s`` of the neuron is taken."""
        return cls(gain=neuron.scale * neuron.gamma / root, drift=neuron.beta + neuron.gamma * neuron.centre / root,
                   theta=neuron.theta, initial=neuron.initial, strict=neuron.strict)

    def fires(self, u: Fraction) -> bool:
        """Whether a membrane ``u`` spikes."""
        return u > self.theta if self.strict else u >= self.theta


def _spikes(neuron: Scaled, currents: npt.NDArray[np.int64], timesteps: int, hard: bool,
            leak_shift: int | None) -> npt.NDArray[np.bool_]:
    """Spikes of one channel in integers over a common denominator; ``currents`` are ``[images, T or 1, ...]``."""
    shift = 0 if leak_shift is None else leak_shift
    parts = (neuron.gain, neuron.drift, neuron.theta, neuron.initial)
    # After t timesteps a leaky membrane has t more shifts of binary places.
    unit = math.lcm(*(part.denominator for part in parts)) << shift * timesteps
    gain, drift, theta, start = (int(part * unit) for part in parts)
    largest = (abs(gain) * max(int(np.abs(currents).max(initial=0)), 1) + abs(drift) + theta) * timesteps + abs(start)
    own: npt.NDArray[Any] = currents.astype(object) if largest >= _SAFE else currents
    u: npt.NDArray[Any] = np.full(own[:, 0].shape, start, dtype=own.dtype)
    spikes = np.empty((len(own), timesteps, *own.shape[2:]), dtype=bool)
    for timestep in range(timesteps):
        if leak_shift is not None:
            u = u - (u >> leak_shift)
        u = u + own[:, timestep if own.shape[1] > 1 else 0] * gain + drift
        fired = (u > theta if neuron.strict else u >= theta).astype(bool)
        spikes[:, timestep] = fired
        u = np.where(fired, 0 if hard else u - theta, u)
    return spikes


def _float_spikes(neuron: RealNeuron, root: Fraction, currents: npt.NDArray[np.int64], timesteps: int, hard: bool,
                  leak_shift: int | None) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Spikes of one channel in float64, and the places ``[images, ...]`` where they may be wrong."""
    scaled = Scaled.of(neuron, root)
    gain, drift, theta, start = map(float, (scaled.gain, scaled.drift, scaled.theta, scaled.initial))
    keep = 1.0 if leak_shift is None else 1 - 2.0**-leak_shift
    size = (abs(gain) * max(int(np.abs(currents).max(initial=0)), 1) + abs(drift) + theta) * timesteps + abs(start)
    u = np.full(currents[:, 0].shape, start)
    near = np.zeros(u.shape, dtype=bool)
    spikes = np.empty((len(u), timesteps, *u.shape[1:]), dtype=bool)
    for timestep in range(timesteps):
        u = u * keep + (currents[:, timestep if currents.shape[1] > 1 else 0] * gain + drift)
        near |= np.abs(u - theta) <= _FLOAT_ERROR * size
        fired = u >= theta
        spikes[:, timestep] = fired
        u = np.where(fired, 0 if hard else u - theta, u)
    return spikes, near
