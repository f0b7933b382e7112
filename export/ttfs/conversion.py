"""From a network of conversion-aware training to the integer network with time-to-first-spike coding, with a proof.

A neuron of the trained network spikes at the first t with ``g a + d >= theta(t)``; ``a`` is a sum of dyadic values and
so an integer N of units ``2^-unit_bits``, exactly the integer network's membrane. So no weight changes, and gain and
offset become T integers per channel, the smallest N that reach each theta. A channel with a negative g has its weights'
signs flipped, one with g = 0 gets weights of zero.

The trained network is evaluated in float64 (:func:`train.ttfs.network.exact_forward`): a product, a sum and a
comparison, whose decision never goes from true to false as N grows, because rounding keeps order. The smallest N that
reaches theta is therefore found by bisection with the very operations of the forward, and the integer network decides
like the forward for every N, hence for every image.

Beside it, ``ceil((theta(t) - d) / g)`` is computed in exact rational arithmetic (:mod:`export.certificate`, with one
timestep). Where both are equal, the network is also that of real numbers: the certificate. They differ only where a
membrane meets a threshold within the last bits of float64.
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
from arch.ttfs.network import (
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
from arch.widths import ChannelRange
from export.certificate import RealNeuron, real_bounds
from sim.ttfs.reference import Reference
from train.ttfs.network import CatLayer, CatNetwork, exact_forward

__all__ = ["Verification", "accuracy", "convert", "verify"]

#: Images that are verified at once.
_BATCH = 100

Thresholds = npt.NDArray[np.int64]


def _rationals(values: torch.Tensor) -> list[Fraction]:
    return [Fraction(float(value)) for value in values.detach().reshape(-1)]


def _real_neurons(network: CatNetwork, code: TimeCode, layer: CatLayer, scale: torch.Tensor) -> list[RealNeuron]:
    """Return the neurons of a layer exactly, for sums in the membrane's units; their theta is that of time 0."""
    norm = layer.norm
    assert norm is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    theta0, epsilon = Fraction(network.theta0), Fraction(norm.eps)
    return [RealNeuron(scale=theta0 * alpha / 2**code.unit_bits, gamma=gamma, beta=beta, centre=-mean,
                       variance_epsilon=variance + epsilon, theta=theta0, initial=Fraction(0))
            for alpha, gamma, beta, mean, variance in zip(
                *map(_rationals, (scale, norm.weight, norm.bias, norm.running_mean, norm.running_var)), strict=True)]


def _real_thresholds(code: TimeCode, neurons: list[RealNeuron], reach: ChannelRange) -> Thresholds:
    """Smallest membranes that reach each theta in exact arithmetic, ``int64[out, T]``, clipped to low..high + 1."""
    values = [Fraction(value) for value in code.values()[:-1].tolist()]
    return np.array([[real_bounds(dataclasses.replace(neuron, theta=neuron.theta * value), low=int(low), high=int(high),
                                  timesteps=1, reset=Reset.SUBTRACT)[0][1] for value in values]
                     for neuron, low, high in zip(neurons, reach.low, reach.high, strict=True)], dtype=np.int64)


def _forward_thresholds(network: CatNetwork, code: TimeCode, layer: CatLayer, signs: npt.NDArray[np.int8],
                        reach: ChannelRange) -> Thresholds:
    """Smallest membranes that reach each theta in the forward, ``int64[out, T]``, clipped to low..high + 1."""
    gain, offset = (value[:, None] for value in layer.gain_and_offset(network.theta0))
    theta = network.encoder.thresholds()
    # The trained network's sums are those before the signs were moved; with g = 0 any sum is as good.
    unit = torch.from_numpy(np.where(signs < 0, -1.0, 1.0))[:, None] * 2.0**-code.unit_bits
    low = np.repeat(reach.low[:, None], code.timesteps, axis=1)
    high = np.repeat(reach.high[:, None] + 1, code.timesteps, axis=1)
    while (low < high).any():
        middle = (low + high) // 2
        sums = torch.from_numpy(middle.astype(np.float64)) * unit
        fires = (sums * gain + offset >= theta).numpy()
        # What is found stays: there, middle may be beyond the range.
        fires |= low == high
        low, high = np.where(fires, low, middle + 1), np.where(fires, middle, high)
    return high


def _encoder(network: CatNetwork) -> Thresholds:
    """First pixel that the forward lets spike at each time or before, ``int64[T]``; 256 where none does."""
    times = network.encoder.encode(torch.arange(256).double() * network.scale).numpy()
    return np.count_nonzero(times[:, None] > np.arange(network.encoder.T), axis=0).astype(np.int64)


@torch.no_grad()
def convert(network: CatNetwork, metadata: Mapping[str, Any] | None = None) -> Network:
    """Return the integer network that computes what :func:`train.ttfs.network.exact_forward` computes.

    Every spike time of every layer is equal for every image, and so is every score, in units of ``2^-unit_bits``.

    Parameters
    ----------
    network : CatNetwork
        Trained, with logarithmic or ternary weights, on the CPU.
    metadata
        Facts about the network, JSON values. To them are added ``theta0``, ``certificate`` (per layer, the channels
        with a threshold that is another one in exact arithmetic) and ``exact`` (whether there are none).

    Raises
    ------
    :exc:`ValueError`
        If the weights are float, a parameter is not finite, or a sum may reach 2^53 units.
    :exc:`export.certificate.RealValueError`
        If a threshold cannot be decided.
    """
    code = network.code
    if code is None:
        raise ValueError("weights must be log5 or ternary to be converted, not float")
    layers: list[Layer] = []
    certificate: list[dict[str, Any]] = []
    for module, described in zip(network.chain, network.architecture["layers"], strict=True):
        if not isinstance(module, CatLayer):
            assert isinstance(module, nn.MaxPool2d)
            layers.append(EarliestPool(size=described["size"]))
            continue
        if not all(torch.isfinite(value).all() for value in module.state_dict().values()):
            raise ValueError(f"layer {described['name']} must have finite weights and BatchNorm")
        stored, scale = module.integer_codes()
        codes: npt.NDArray[np.int8] = stored.numpy()
        if module.norm is None:
            membrane_range(code, codes)
            layers.append(Readout(weights=codes))
            continue
        neurons = _real_neurons(network, code, module, scale)
        signs = np.array([neuron.sign for neuron in neurons], dtype=np.int8)
        weights = codes * signs.reshape(-1, *[1] * (codes.ndim - 1))
        reach = membrane_range(code, weights)
        threshold = _forward_thresholds(network, code, module, signs, reach)
        differing = np.flatnonzero((threshold != _real_thresholds(code, neurons, reach)).any(axis=1)).tolist()
        certificate.append({"layer": len(layers), "name": described["name"], "exact": not differing,
                            "inexact_channels": differing})
        layers.append(Convolution(weights=weights, threshold=threshold, stride=module.stride, padding=module.padding)
                      if weights.ndim == 4 else FullyConnected(weights=weights, threshold=threshold))
    source = network.architecture["input"]
    return Network(
        input=Input(channels=source["channels"], height=source["height"], width=source["width"],
                    threshold=_encoder(network)),
        code=code, layers=tuple(layers),
        metadata={**(metadata or {}), "theta0": network.theta0, "exact": all(entry["exact"] for entry in certificate),
                  "certificate": {"layers": certificate}})


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
        batch = images[start:start + _BATCH]
        ours = reference.run(batch, times=True)
        theirs, times = exact_forward(network, torch.tensor(batch))
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
