"""What the neurons of a network do on the samples that ship, computed by the bit-exact reference in software."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.images import Samples
from arch.network import Convolution, FullyConnected, Network
from reference.network import Reference

__all__ = ["EDGES", "Activity", "LayerActivity", "activity_of"]

#: Edges of the histogram of membranes, in thresholds: a neuron spikes from 1 on.
EDGES = np.linspace(-3.0, 3.0, 61)

#: Images that are computed together: their membranes are kept while they are counted.
_BATCH = 10


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LayerActivity:
    """A layer of neurons."""

    #: Index in the network's layers, its kind, and the number of its neurons.
    index: int
    kind: str
    neurons: int
    #: Weights that are zero, as a part of all.
    zero_weights: float
    #: Spikes by what would be one in every timestep: in each timestep, and in all.
    rate_of_steps: list[float]
    rate: float
    #: Neurons that spike in no image, as a part of all.
    silent: float
    #: Thresholds of the channels, in units of the current: one spike through a weight of 1 adds 1.
    thresholds: list[float]
    #: Membranes when they are compared with the threshold: share in each bin of :data:`EDGES`; what is beyond counts in
    #: the first or last bin.
    membranes: list[float]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Activity:
    """What a network does on some samples."""

    dataset: str
    images: int
    layers: list[LayerActivity]
    #: Classes that the reference computes, and the labels.
    classes: list[int]
    labels: list[int]


class _Counter:
    """Adds up what a layer does, batch by batch."""

    def __init__(self, index: int, layer: Convolution | FullyConnected):
        self._index, self._layer = index, layer
        self._spikes: npt.NDArray[Any] | None = None
        self._ever: npt.NDArray[Any] | None = None
        self._bins = np.zeros(len(EDGES) - 1, np.int64)
        self._images = 0

    def add(self, spikes: npt.NDArray[np.bool_], compared: npt.NDArray[np.int64]) -> None:
        """Count a batch; both are ``[images, T, channels, height, width]``."""
        sums, ever = spikes.sum(axis=(0, 2, 3, 4)), np.asarray(spikes.any(axis=(0, 1)))
        self._spikes = sums if self._spikes is None else self._spikes + sums
        self._ever = ever if self._ever is None else self._ever | ever
        self._images += len(spikes)
        threshold = self._layer.neurons.threshold[None, None, :, None, None]
        relative = np.clip(compared / threshold, EDGES[0], EDGES[-1])
        self._bins += np.histogram(relative, EDGES)[0]

    def result(self) -> LayerActivity:
        """Return what was counted."""
        assert self._spikes is not None
        assert self._ever is not None
        neurons = self._layer.neurons
        rates = self._spikes / (self._images * self._ever.size)
        return LayerActivity(
            index=self._index, kind=self._layer.kind, neurons=int(self._ever.size),
            zero_weights=float(np.mean(self._layer.weights == 0)),
            rate_of_steps=[round(float(one), 5) for one in rates],
            rate=round(float(rates.mean()), 5), silent=round(float(1 - self._ever.mean()), 5),
            thresholds=[round(float(one), 4) for one in neurons.threshold / 2.0**neurons.fraction],
            membranes=[round(float(one), 5) for one in self._bins / self._bins.sum()])


def activity_of(network: Network, samples: Samples) -> Activity:
    """Compute samples on the reference and count what the neurons do.

    Parameters
    ----------
    network : :class:`arch.network.Network`
    samples : :class:`arch.images.Samples`
        At least one image of the network's size.
    """
    counters = {index: _Counter(index, layer) for index, layer in enumerate(network.layers)
                if isinstance(layer, Convolution | FullyConnected)}
    reference, classes = Reference(network), []
    for start in range(0, len(samples.images), _BATCH):
        result = reference.run(samples.images[start:start + _BATCH], spikes=True, internals=True)
        assert result.spikes is not None
        assert result.internals is not None
        classes += result.classes.tolist()
        for index, counter in counters.items():
            internals = result.internals[index]
            assert internals is not None
            counter.add(result.spikes[index], internals.compared)
    return Activity(dataset=samples.dataset, images=len(samples.images),
                    layers=[counter.result() for counter in counters.values()], classes=classes,
                    labels=samples.labels.tolist())
