"""A network in rational numbers: ternary codes, and neurons of which every parameter is exact.

It is what the export takes beside a checkpoint (:class:`arch.checkpoint.Checkpoint`), from sources whose numbers or
comparison a checkpoint does not have. Its spikes are computed in integers over a common denominator, so they are those
of real arithmetic, however close a membrane comes to its threshold.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.checkpoint import Checkpoint
from export.certificate import RealNeuron

__all__ = ["RationalNetwork", "Trained", "exact_spikes"]

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
    """Spikes of neurons without BatchNorm in real arithmetic, ``bool[images, T, C, H, W]``.

    ``currents`` are integer sums, ``[images, T or 1, C, H, W]``.
    """
    shift = 0 if leak_shift is None else leak_shift
    spikes = np.empty((len(currents), timesteps, *currents.shape[2:]), dtype=bool)
    for channel, neuron in enumerate(neurons):
        offset = neuron.beta + neuron.centre
        parts = (neuron.scale, offset, neuron.theta, neuron.initial)
        # After t timesteps a leaky membrane has t more shifts of binary places.
        unit = math.lcm(*(part.denominator for part in parts)) << shift * timesteps
        gain, drift, theta, start = (int(part * unit) for part in parts)
        own = currents[:, :, channel].astype(np.int64)
        largest = (abs(gain) * max(int(np.abs(own).max(initial=0)), 1) + abs(drift) + theta) * timesteps + abs(start)
        if largest >= _SAFE:
            own = own.astype(object)
        u: npt.NDArray[Any] = np.full(own[:, 0].shape, start, dtype=own.dtype)
        for timestep in range(timesteps):
            if leak_shift is not None:
                u = u - (u >> leak_shift)
            u = u + own[:, timestep if own.shape[1] > 1 else 0] * gain + drift
            fired = (u > theta if neuron.strict else u >= theta).astype(bool)
            spikes[:, timestep, channel] = fired
            u = np.where(fired, 0 if hard else u - theta, u)
    return spikes

