"""From a network of conversion-aware training to the integer network with time-to-first-spike coding, with a proof.

A neuron of the trained network spikes at the first t with ``g a + d >= theta(t)``; ``a`` is a sum of dyadic values and
so an integer N of units ``2^-unit_bits``, exactly the integer network's membrane. So the spike is at the first t with
``N >= ceil((theta(t) - d) / g)`` in those units: T integers per channel, and no weight changes. A channel with a
negative g has its weights' signs flipped, one with g = 0 gets weights of zero.

These integers come from exact rational arithmetic (:mod:`export.certificate`, with one timestep). The trained network
is evaluated in float64, though (:func:`train.methods.cat_network.exact_forward`): its decision, two roundings and a
comparison, never goes from true to false as N grows. So it is the integer network's for *every* N if it is false at
each threshold minus one and true at each threshold: that is computed for all of them, with the very operations of the
forward. What holds for all inputs is thus checked with T values per channel.
"""

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from arch.network import Reset
from arch.ttfs import (
    Convolution,
    EarliestPool,
    FullyConnected,
    Input,
    Layer,
    Network,
    Readout,
    TimeCode,
    membrane_range,
)
from export.certificate import RealNeuron, real_bounds
from sim.ttfs import Reference
from train.methods.cat_network import CatLayer, CatNetwork, exact_forward

__all__ = ["Verification", "accuracy", "convert", "verify"]

#: Images that are verified at once.
_BATCH = 100


def _rationals(values: torch.Tensor) -> list[Fraction]:
    return [Fraction(float(value)) for value in values.detach().reshape(-1)]


def _theta(network: CatNetwork, code: TimeCode) -> list[Fraction]:
    """Thresholds in real numbers: exactly ``theta0`` times the table."""
    return [Fraction(network.theta0) * Fraction(float(value)) for value in code.values()[:-1]]


def _encoder(network: CatNetwork, code: TimeCode) -> npt.NDArray[np.int64]:
    """First pixel that reaches each threshold, ``int64[T]``; 256 where none does."""
    scale = Fraction(network.scale)
    return np.array([min(-(-theta // scale), 256) for theta in _theta(network, code)], dtype=np.int64)


def _neurons(network: CatNetwork, code: TimeCode, layer: CatLayer, codes: npt.NDArray[np.int8],
             scale: torch.Tensor) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """Weights with the signs of g, these signs ``int8[out]``, and the thresholds ``int64[out, T]``, exactly."""
    norm = layer.norm
    assert norm is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    unit = Fraction(network.theta0) / 2**code.unit_bits
    epsilon, theta = Fraction(norm.eps), _theta(network, code)
    neurons = [RealNeuron(scale=unit * alpha, gamma=gamma, beta=beta, centre=-mean, variance_epsilon=variance + epsilon,
                          theta=theta[0], initial=Fraction(0))
               for alpha, gamma, beta, mean, variance in zip(
                   *map(_rationals, (scale, norm.weight, norm.bias, norm.running_mean, norm.running_var)),
                   strict=True)]
    signs = np.array([neuron.sign for neuron in neurons], dtype=np.int8)
    weights = codes * signs.reshape(-1, *[1] * (codes.ndim - 1))
    reach = membrane_range(code, weights)
    threshold = np.array(
        [[real_bounds(dataclasses.replace(neuron, theta=value), low=int(low), high=int(high), timesteps=1,
                      reset=Reset.SUBTRACT)[0][1] for value in theta]
         for neuron, low, high in zip(neurons, reach.low, reach.high, strict=True)], dtype=np.int64)
    return weights, signs, threshold


def _inexact(network: CatNetwork, code: TimeCode, layer: CatLayer, weights: npt.NDArray[np.int8],
             signs: npt.NDArray[np.int8], threshold: npt.NDArray[np.int64]) -> list[int]:
    """Channels in which the forward of the trained network decides otherwise than ``threshold`` for some membrane."""
    gain, offset = (value[:, None] for value in layer.gain_and_offset(network.theta0))
    reach = membrane_range(code, weights)
    theta = network.encoder.thresholds()
    # The trained network's sums are those before the signs were moved; of a channel with g = 0 any sum is as good.
    unit = torch.from_numpy(np.where(signs < 0, -1.0, 1.0))[:, None] * 2.0**-code.unit_bits

    def fires(membrane: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        sums = torch.from_numpy(membrane.astype(np.float64)) * unit
        decided: npt.NDArray[np.bool_] = (sums * gain + offset >= theta).numpy()
        return decided

    wrong = ~fires(threshold) & (threshold <= reach.high[:, None])
    wrong |= fires(threshold - 1) & (threshold > reach.low[:, None])
    return [int(channel) for channel in np.flatnonzero(wrong.any(axis=1))]


@torch.no_grad()
def convert(network: CatNetwork, metadata: Mapping[str, Any] | None = None) -> Network:
    """Return the integer network that computes what :func:`train.methods.cat_network.exact_forward` computes.

    Parameters
    ----------
    network : CatNetwork
        Trained, with logarithmic or ternary weights, on the CPU.
    metadata
        Facts about the network, JSON values. To them are added ``theta0``, ``exact`` (whether all spikes and scores are
        equal for every image) and ``certificate``: per layer, the channels where that is not proven. There, a membrane
        exists for which two roundings of the forward in float64 decide otherwise than exact arithmetic.

    Raises
    ------
    :exc:`ValueError`
        If the weights are float, or a sum may reach 2^53 units.
    :exc:`export.certificate.RealValueError`
        If a threshold cannot be decided.
    """
    code = network.code
    if code is None:
        raise ValueError("weights must be log5 or ternary to be converted, not float")
    source = network.architecture["input"]
    encoder = _encoder(network, code)
    pixels = torch.arange(256, dtype=torch.uint8)
    times = network.encoder.encode(pixels.double() * network.scale).numpy()
    exact = bool((times == (np.arange(256)[:, None] < encoder).sum(axis=1)).all())
    layers: list[Layer] = []
    certificate: list[dict[str, Any]] = []
    for module, described in zip(network.chain, network.architecture["layers"], strict=True):
        if not isinstance(module, CatLayer):
            assert isinstance(module, nn.MaxPool2d)
            layers.append(EarliestPool(size=described["size"]))
            continue
        stored, scale = module.integer_codes()
        codes: npt.NDArray[np.int8] = stored.numpy()
        if module.norm is None:
            membrane_range(code, codes)
            layers.append(Readout(weights=codes))
            continue
        weights, signs, threshold = _neurons(network, code, module, codes, scale)
        inexact = _inexact(network, code, module, weights, signs, threshold)
        exact &= not inexact
        certificate.append({"layer": len(layers), "name": described["name"], "exact": not inexact,
                            "inexact_channels": inexact})
        layers.append(Convolution(weights=weights, threshold=threshold, stride=module.stride, padding=module.padding)
                      if weights.ndim == 4 else FullyConnected(weights=weights, threshold=threshold))
    return Network(
        input=Input(channels=source["channels"], height=source["height"], width=source["width"], threshold=encoder),
        code=code, layers=tuple(layers),
        metadata={**(metadata or {}), "theta0": network.theta0, "exact": exact, "certificate": {"layers": certificate}})


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


def verify(network: CatNetwork, converted: Network, images: npt.NDArray[np.uint8]) -> Verification:
    """Run the trained and the integer network from end to end on ``images``, ``uint8[N, C, H, W]``, and compare."""
    reference = Reference(converted)
    count = len(converted.layers)
    mismatches, spikes, places = ([0] * count for _ in range(3))
    scores = 0
    for start in range(0, len(images), _BATCH):
        batch = np.ascontiguousarray(images[start:start + _BATCH])
        ours = reference.run(batch, times=True)
        theirs, times = exact_forward(network, torch.from_numpy(batch))
        assert ours.times is not None
        for index, (mine, other) in enumerate(zip(ours.times, times, strict=True)):
            mismatches[index] += int(np.count_nonzero(mine != other.numpy()))
            spikes[index] += int(np.count_nonzero(mine < converted.code.timesteps))
            places[index] += mine.size
        scores += int(np.count_nonzero(ours.scores * 2.0**-converted.code.unit_bits != theirs.numpy()))
    return Verification(mismatches=tuple(mismatches), spikes=tuple(spikes), places=tuple(places), scores=scores)


def accuracy(network: Network, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> float:
    """Return the share of images that the integer reference classifies as labelled."""
    return float(np.mean(Reference(network).run(images).classes == labels))
