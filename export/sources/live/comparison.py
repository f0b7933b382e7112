"""Compares the spikes of a module's own forward with those of the integer network that was made of it.

Where they differ, real arithmetic decides whose fault it is. In the first timestep and layer of an image in which
spikes differ, the inputs were the same: the membrane there is computed in rational numbers. If it comes within
roundings of the threshold, the forward has rounded; if its spike is the module's, the integers of a leaky or an inexact
channel have. Anything else means that the forward computes more than its layers say, and is an error.
"""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.network import Network
from export.certificate import root_ends
from export.evaluation import layer_currents
from export.sources.chain import SourceError, shown
from export.sources.rational import RationalNetwork, Scaled
from reference.network import Reference

__all__ = ["Compared", "compare"]

#: Roundings of a membrane, in units of the last place of the largest sum that it can be made of.
_ROUNDINGS = 2.0**10


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """How many spikes were compared, and how many differ."""

    images: int
    spikes: int
    differ: int


def compare(trained: RationalNetwork, network: Network, images: npt.NDArray[Any], own: Sequence[npt.NDArray[np.bool_]],
            names: Sequence[str], epsilon: float) -> Compared:
    """Compare all spikes of the layers with neurons.

    Parameters
    ----------
    trained : the network in rational numbers
    network : the one in integers
    images : as of :meth:`reference.network.Reference.run`
    own : spikes of the module's forward, ``bool[images, T, ...]``, a layer each
    names : of the neurons in the module
    epsilon : of the floats in which the module computes

    Raises
    ------
    :exc:`SourceError`
        If the module's forward gives a spike that is neither that of its layers nor a rounding of it.
    """
    spikes = Reference(network).run(images, spikes=True).spikes
    assert spikes is not None
    indices = [index for index, layer in enumerate(trained.architecture["layers"])
               if layer.get("name") in trained.neurons][:len(own)]
    differences = [values.reshape(spikes[index].shape) != spikes[index] for index, values in zip(indices, own,
                                                                                                 strict=True)]
    for image in np.flatnonzero(np.any([wrong.any(axis=(1, 2, 3, 4)) for wrong in differences], axis=0)):
        timestep, place = min((int(np.flatnonzero(wrong[image].any(axis=(1, 2, 3)))[0]), place)
                              for place, wrong in enumerate(differences) if wrong[image].any())
        index = indices[place]
        maps: npt.NDArray[Any] = (spikes[index - 1] if index else images)[image:image + 1]
        if maps.ndim == 4:
            maps = maps[:, None].astype(np.int64) - network.input.zero_point
        _check_layer(trained, index, maps, own[place].reshape(spikes[index].shape)[image, timestep],
                     differences[place][image, timestep], f"node {names[place]}", (int(image), timestep), epsilon)
    return Compared(images=len(images), spikes=sum(wrong.size for wrong in differences),
                    differ=sum(int(np.count_nonzero(wrong)) for wrong in differences))


def _check_layer(trained: RationalNetwork, index: int, maps: npt.NDArray[Any], own: npt.NDArray[np.bool_],
                 differ: npt.NDArray[np.bool_], name: str, where: tuple[int, int], epsilon: float) -> None:
    """Check the neurons that ``differ``, ``bool[C, H, W]``, in a timestep before which none did."""
    layer = trained.architecture["layers"][index]
    codes = trained.codes[layer["name"]]
    currents = layer_currents(codes, layer, maps)[0]
    image, timestep = where
    steps = [0] * (timestep + 1) if len(currents) == 1 else range(timestep + 1)
    windows = layer.get("input_pool", 1) ** 2 * layer.get("pool", 1) ** 2
    for channel, row, column in np.argwhere(differ).tolist():
        neuron = trained.neurons[layer["name"]][channel]
        leak = Fraction(0) if layer["leak_shift"] is None else Fraction(1, 2**layer["leak_shift"])
        root = root_ends(neuron)[0]
        scaled = Scaled.of(neuron, root)
        u = _membrane(scaled, [int(currents[step, channel, row, column]) for step in steps], leak,
                      hard=layer["reset"] == "zero")
        if scaled.fires(u) == own[channel, row, column]:
            continue
        summands = int(np.count_nonzero(codes[channel])) * windows * int(np.abs(maps.astype(np.int64)).max(initial=1))
        # Not the drift: where its two parts cancel, each has been rounded.
        size = abs(scaled.gain) * summands + abs(neuron.gamma * neuron.centre) / root + abs(neuron.beta)
        size = size * (timestep + 1) + neuron.theta + abs(neuron.initial)
        if abs(u - neuron.theta) > _ROUNDINGS * epsilon * size:
            raise SourceError(
                f"{name}: the forward of the module must compute what its layers say, but in image {image}, timestep "
                f"{timestep}, channel {channel}, row {row}, column {column} it gives {int(own[channel, row, column])} "
                f"where the membrane is {shown(u)} and the threshold {shown(neuron.theta)}: leave out of the "
                f"forward what changes numbers or membranes besides them")


def _membrane(neuron: Scaled, currents: Sequence[int], leak: Fraction, *, hard: bool) -> Fraction:
    """Membrane in the last of the timesteps, before its reset."""
    u = neuron.initial
    for step, current in enumerate(currents):
        if step and neuron.fires(u):
            u = Fraction(0) if hard else u - neuron.theta
        u = u * (1 - leak) + neuron.gain * current + neuron.drift
    return u
