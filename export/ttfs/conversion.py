"""From the checkpoint of a network with spike times to the integer network, with a proof that the two are equal.

A neuron of the trained network spikes at the first ``t`` with ``g a + d >= theta(t)``. The sum ``a`` is a sum of dyadic
values, and therefore an integer N in units of ``2^-unit_bits``: exactly the membrane of the integer network. So no
weight changes, and gain and offset become T integers per channel, the smallest N that reach each ``theta(t)``. A
channel with a negative ``g`` gets the signs of its weights flipped, one with ``g = 0`` gets weights of zero.

The trained network is defined in float64 (:mod:`arch.ttfs.checkpoint`): a product, a sum and a comparison. The decision
of that comparison never goes from true to false as N grows, because rounding keeps the order of numbers. The smallest N
that reaches ``theta(t)`` is therefore found by bisection with the very operations of the definition, and the integer
network decides like the trained one for every N, and so for every image.

Beside it, ``ceil((theta(t) - d) / g)`` is computed in exact rational arithmetic (:mod:`export.certificate`, with one
timestep). Where both are equal, the network is also that of real numbers: this is the certificate. They differ only
where a membrane meets a threshold within the last bits of float64.
"""

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.network import Reset
from arch.ttfs.checkpoint import Checkpoint
from arch.ttfs.network import Convolution, EarliestPool, FullyConnected, Input, Layer, Network, Readout
from arch.ttfs.trained_layers import Convolution as RealConvolution
from arch.ttfs.trained_layers import FullyConnected as RealFullyConnected
from arch.ttfs.trained_layers import Readout as RealReadout
from arch.ttfs.widths import membrane_range
from arch.widths import ChannelRange
from export.certificate import RealNeuron, real_bounds
from export.ttfs import evaluation
from reference.ttfs.network import Reference

__all__ = ["Verification", "accuracy", "convert", "verify"]

#: Images that are verified at once.
_BATCH = 100

Thresholds = npt.NDArray[np.int64]


def _rationals(values: npt.NDArray[np.float32]) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]


def _real_neurons(checkpoint: Checkpoint, layer: RealConvolution | RealFullyConnected) -> list[RealNeuron]:
    """Return the neurons of a layer exactly, for sums in the membrane's units; their theta is that of time 0."""
    norm = layer.norm
    theta0, epsilon = Fraction(checkpoint.theta0), Fraction(norm.epsilon)
    return [RealNeuron(scale=theta0 * alpha / 2**checkpoint.code.unit_bits, gamma=gamma, beta=beta, centre=-mean,
                       variance_epsilon=variance + epsilon, theta=theta0, initial=Fraction(0))
            for alpha, gamma, beta, mean, variance in zip(
                *map(_rationals, (layer.scale, norm.gamma, norm.beta, norm.mean, norm.variance)), strict=True)]


def _real_thresholds(checkpoint: Checkpoint, neurons: list[RealNeuron], reach: ChannelRange) -> Thresholds:
    """Smallest membranes that reach each theta in exact arithmetic, ``int64[out, T]``, clipped to low..high + 1."""
    values = [Fraction(value) for value in checkpoint.code.values()[:-1].tolist()]
    return np.array([[real_bounds(dataclasses.replace(neuron, theta=neuron.theta * value), low=int(low), high=int(high),
                                  timesteps=1, reset=Reset.SUBTRACT)[0][1] for value in values]
                     for neuron, low, high in zip(neurons, reach.low, reach.high, strict=True)], dtype=np.int64)


def _defined_thresholds(checkpoint: Checkpoint, layer: RealConvolution | RealFullyConnected,
                        signs: npt.NDArray[np.int8], reach: ChannelRange) -> Thresholds:
    """Smallest membranes that reach each theta by definition, ``int64[out, T]``, clipped to low..high + 1."""
    code, theta = checkpoint.code, evaluation.thresholds(checkpoint)
    gain, offset = (values[:, None] for values in layer.gain_and_offset(checkpoint.theta0))
    # The trained network's sums are those before the signs were moved; with g = 0 any sum is as good.
    unit = np.where(signs < 0, -1.0, 1.0)[:, None] * 2.0**-code.unit_bits
    low = np.repeat(reach.low[:, None], code.timesteps, axis=1)
    high = np.repeat(reach.high[:, None] + 1, code.timesteps, axis=1)
    while (low < high).any():
        middle = (low + high) // 2
        fires = middle.astype(np.float64) * unit * gain + offset >= theta
        # What is found stays: there, middle may be beyond the range.
        fires |= low == high
        low, high = np.where(fires, low, middle + 1), np.where(fires, middle, high)
    return high


def _input(checkpoint: Checkpoint) -> Input:
    """Return the input, with the first pixel that spikes at each time or before; 256 where none does."""
    source, times = checkpoint.input, evaluation.pixel_times(checkpoint)
    threshold = np.count_nonzero(times[:, None] > np.arange(checkpoint.code.timesteps), axis=0).astype(np.int64)
    return Input(channels=source.channels, height=source.height, width=source.width, threshold=threshold)


def _convert_neurons(checkpoint: Checkpoint, layer: RealConvolution | RealFullyConnected) -> tuple[Layer, list[int]]:
    """Return the integer layer, and its channels with a threshold that is another one in exact arithmetic."""
    neurons = _real_neurons(checkpoint, layer)
    signs = np.array([neuron.sign for neuron in neurons], dtype=np.int8)
    weights = layer.weights * signs.reshape(-1, *[1] * (layer.weights.ndim - 1))
    reach = membrane_range(checkpoint.code, weights)
    threshold = _defined_thresholds(checkpoint, layer, signs, reach)
    differing = np.flatnonzero((threshold != _real_thresholds(checkpoint, neurons, reach)).any(axis=1)).tolist()
    if isinstance(layer, RealConvolution):
        return Convolution(weights=weights, threshold=threshold, stride=layer.stride, padding=layer.padding), differing
    return FullyConnected(weights=weights, threshold=threshold), differing


def convert(checkpoint: Checkpoint, metadata: Mapping[str, Any] | None = None) -> Network:
    """Return the integer network that computes what :func:`export.ttfs.evaluation.exact_forward` computes.

    Every spike time of every layer is equal for every image, and so is every score, in units of ``2^-unit_bits``.

    Parameters
    ----------
    checkpoint : Checkpoint
        The trained network.
    metadata
        Facts about the network, JSON values. To them are added ``theta0``, ``certificate`` (per layer, the channels
        with a threshold that is another one in exact arithmetic) and ``exact`` (whether there are none).

    Raises
    ------
    :exc:`arch.network.NetworkError`
        If a sum may reach 2^53 units.
    :exc:`export.certificate.RealValueError`
        If a threshold cannot be decided.
    """
    layers: list[Layer] = []
    certificate: list[dict[str, Any]] = []
    for layer in checkpoint.layers:
        if isinstance(layer, EarliestPool):
            layers.append(layer)
        elif isinstance(layer, RealReadout):
            membrane_range(checkpoint.code, layer.weights)
            layers.append(Readout(weights=layer.weights))
        else:
            converted, differing = _convert_neurons(checkpoint, layer)
            certificate.append({"layer": len(layers), "name": layer.name, "exact": not differing,
                                "inexact_channels": differing})
            layers.append(converted)
    return Network(
        input=_input(checkpoint), code=checkpoint.code, layers=tuple(layers),
        metadata={**(metadata or {}), "theta0": checkpoint.theta0,
                  "exact": all(entry["exact"] for entry in certificate), "certificate": {"layers": certificate}})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What the integer network and the trained one did on a sample."""

    #: Spike times that differ, of the input and of each layer before the readout, pools included.
    mismatches: tuple[int, ...]
    #: Spikes of the same, and places where one could have been.
    spikes: tuple[int, ...]
    places: tuple[int, ...]
    #: Scores that differ in value.
    scores: int


def verify(checkpoint: Checkpoint, converted: Network, images: npt.NDArray[np.uint8]) -> Verification:
    """Run the trained and the integer network from end to end on ``images``, ``uint8[N, C, H, W]``, and compare."""
    reference = Reference(converted)
    count = len(converted.layers)
    mismatches, spikes, places = ([0] * count for _ in range(3))
    scores = 0
    for start in range(0, len(images), _BATCH):
        batch = images[start:start + _BATCH]
        ours = reference.run(batch, times=True)
        theirs, times = evaluation.exact_forward(checkpoint, batch)
        assert ours.times is not None
        for index, (mine, other) in enumerate(zip(ours.times, times, strict=True)):
            mismatches[index] += int(np.count_nonzero(mine != other))
            spikes[index] += int(np.count_nonzero(mine < converted.code.timesteps))
            places[index] += mine.size
        scores += int(np.count_nonzero(ours.scores * 2.0**-converted.code.unit_bits != theirs))
    return Verification(mismatches=tuple(mismatches), spikes=tuple(spikes), places=tuple(places), scores=scores)


def accuracy(network: Network, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> float:
    """Return the share of images that the integer reference classifies as labelled."""
    return float(np.mean(Reference(network).run(images).classes == labels))
