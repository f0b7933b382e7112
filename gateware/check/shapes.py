"""Networks without weights: the shapes of an architecture, with the weights and constants that ask for most and least.

What a network takes of memories and clocks follows from its shapes alone. Widths of sums and membranes do not: they
depend on how many weights are not zero, and on the constants of the neurons. Two networks enclose every trained one in
the widths of its sums: one in which no weight is zero, and one in which every filter has a single weight.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.architecture import input_of, layer_shapes, projection_sources, shortcut_sources
from arch.network import (
    Convolution,
    FullyConnected,
    Layer,
    Network,
    Neurons,
    OrPool,
    Projection,
    Readout,
    Reset,
    Shape,
)
from gateware.mapper.advice import ImageSize

__all__ = ["ImageSize", "Shapes"]

#: Fractional bits of the constants of untrained neurons: as many as the membranes of the overlay have.
_FRACTION = 4


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shapes:
    """A network that is to be trained.

    Raises
    ------
    :exc:`arch.architecture.CheckpointError`
        If the architecture is none, when a network is made of it.
    """

    #: Name for people.
    name: str
    #: As :mod:`arch.architecture` states it.
    architecture: Mapping[str, Any]
    #: All smaller images that it can be trained with, the largest first; None if any.
    sizes: Sequence[ImageSize] | None = None

    @property
    def densest(self) -> Network:
        """The network in which no weight is zero, so that its sums are the largest."""
        return self._network(dense=True)

    @property
    def sparsest(self) -> Network:
        """The network in which every filter has a single weight that is not zero."""
        return self._network(dense=False)

    def _network(self, *, dense: bool) -> Network:
        """Make the network as the export would: average pooling of a layer's input becomes repeated weights."""
        layers: list[Layer] = []
        for index, (layer, shape, output) in enumerate(layer_shapes(self.architecture)):
            layers.append(self._layer(index, layer, shape, output, layers, dense=dense))
        return Network(input=input_of(self.architecture), layers=tuple(layers),
                       timesteps=self.architecture["timesteps"], metadata={"name": self.name})

    def _layer(self, index: int, layer: Mapping[str, Any], shape: Shape, output: Shape, before: list[Layer], *,
               dense: bool) -> Layer:
        size = layer.get("input_pool", 1)
        if layer["kind"] == "or-pool":
            return OrPool(size=layer["size"])
        if layer["kind"] == "readout":
            return Readout(weights=_weights((output[0], int(np.prod(shape))), dense=dense))
        shortcut = shortcut_sources(self.architecture).get(index)
        neurons  = _neurons(layer, output[0])
        if layer["kind"] == "fully-connected":
            return FullyConnected(weights=_weights((output[0], int(np.prod(shape))), dense=dense), neurons=neurons,
                                  shortcut=shortcut)
        kernel = layer["kernel"] * size
        return Convolution(
            weights=_weights((output[0], shape[0], kernel, kernel), dense=dense), neurons=neurons,
            stride=layer["stride"] * size, padding=layer["padding"] * size, pool=layer.get("pool", 1),
            shortcut=shortcut, projection=self._projection(index, layer, before, dense=dense))

    def _projection(self, index: int, layer: Mapping[str, Any], before: list[Layer], *,
                    dense: bool) -> Projection | None:
        if "projection" not in layer:
            return None
        source = projection_sources(self.architecture)[index]
        stride, channels = layer["projection"]["stride"], layer["channels"]
        if layer["projection"]["weights"] == "identity":
            return Projection.identity(source, channels, stride=stride)
        # An or-pool has the channels of the layer before it.
        seen = next(other for other in reversed(before[:source + 1]) if isinstance(other, Convolution))
        return Projection(source=source, stride=stride,
                          weights=_weights((channels, seen.neurons.channels, 1, 1), dense=dense))


def _weights(shape: tuple[int, ...], *, dense: bool) -> npt.NDArray[np.int8]:
    if dense:
        return np.ones(shape, np.int8)
    weights = np.zeros(shape, np.int8)
    weights.reshape(shape[0], -1)[:, 0] = 1
    return weights


def _neurons(layer: Mapping[str, Any], channels: int) -> Neurons:
    """Neurons with a threshold of 1, in units of the current, and no bias: what they take is the least."""
    zeros = np.zeros(channels, np.int64)
    return Neurons(threshold=zeros + (1 << _FRACTION), bias=zeros, initial=zeros, fraction=_FRACTION,
                   reset=Reset(layer["reset"]), leak_shift=layer["leak_shift"])
