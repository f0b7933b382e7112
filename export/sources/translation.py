"""From a chain of another package's nodes to the rational network that the export certifies.

Nothing is rounded here, and nothing is guessed: what has no exact place in a Sterna network is refused with the name of
the node and a remedy. Four translations are not one node for one layer:

* Mean and sum of windows become the ``input_pool`` of the next layer, or the ``pool`` of the one before, and the size
  of the window goes into the gain: the layer sees the integer sum either way. The OR of windows is a layer of its own.
* BatchNorm goes into the neurons behind it, with its square root: nothing of it is rounded.
* A comparison ``>`` makes the neurons strict (:class:`export.certificate.RealNeuron`). The certificate then finds
  integers that do the same with ``>=``.
* Behind neurons at the end comes a readout of the unit matrix: its scores are their spikes, counted over time.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import widths
from arch.architecture import CheckpointError, is_name, layer_shapes
from arch.network import MAX_CLASSES, MAX_KERNEL, MAX_LEAK_SHIFT, Encoding, Input, Reset
from arch.projection import joined_filters
from export.certificate import RealNeuron, root_ends
from export.sources.chain import (
    Chain,
    Convolution,
    Linear,
    SourceError,
    SpikingNeurons,
    per_channel,
    rationals,
    shift_of,
    shown,
)
from export.sources.rational import RationalNetwork
from export.sources.rules import Comparison, Rule
from export.sources.stages import Stage, stages_of

__all__ = ["Frame", "ternary_codes", "translate"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """What the host sends, and how it is seen: no package's file says it."""

    #: Number of timesteps.
    timesteps: int
    #: Pixels, constant over time, or binary frames.
    encoding: Encoding
    #: A pixel p is seen as ``scale (p - zero_point)``; 1 and 0 for events.
    scale: Fraction = Fraction(1)
    zero_point: int = 0
    #: Whether scores are the currents of the last weights, without neurons behind them, or else the counted spikes of
    #: the last neurons. None takes what the network ends in.
    currents: bool | None = None


def ternary_codes(name: str, weight: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int8], list[Fraction]]:
    """Return codes, ``int8`` of the shape of ``weight``, and the exact scale of each output channel.

    Raises
    ------
    :exc:`SourceError`
        If a channel has weights of more than one magnitude beside 0; ``name`` is the node's.
    """
    flat = np.abs(weight.reshape(len(weight), -1))
    largest = flat.max(axis=1)
    other = (flat != 0) & (flat != largest[:, None])
    if other.any():
        channel = int(np.flatnonzero(other.any(axis=1))[0])
        kinds = len(np.unique(flat[channel][flat[channel] != 0]))
        raise SourceError(f"node {name}: weights of output channel {channel} must be -a, 0 and a with one a, not have "
                          f"{kinds} magnitudes: make them ternary, with one scale per output channel, by python -m "
                          f"train --from, or in your own training (docs/nir.md)")
    scales = [scale or Fraction(1) for scale in rationals(largest)]
    return np.sign(weight).astype(np.int8), scales


def _layer_names(names: list[str]) -> list[str]:
    """Names that a network may have, each its own, as near to the nodes' as possible."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)
        word = plain if is_name(plain) else f"node{plain}" if plain else "node"
        unique, count = word, 2
        while unique in found:
            unique, count = f"{word}-{count}", count + 1
        found.append(unique)
    return found


def translate(chain: Chain, rule: Rule, frame: Frame, provenance: Mapping[str, Any]) -> RationalNetwork:
    """Translate ``chain``, whose neurons obey ``rule``, for inputs of ``frame``.

    Raises
    ------
    :exc:`SourceError`
        If a node, or a value of one, has no exact place in a network.
    """
    stages = stages_of(chain, frame.currents)
    last = stages[-1]
    names = _layer_names([stage.node.name for stage in stages])
    layers: list[dict[str, Any]] = []
    codes: dict[str, npt.NDArray[np.int8]] = {}
    neurons: dict[str, tuple[RealNeuron, ...]] = {}
    for index, (stage, name) in enumerate(zip(stages, names, strict=True)):
        codes[name], scales = ternary_codes(stage.node.name, stage.node.weight)
        if stage.neurons is None:
            layers.append(_readout(stage, name, scales))
            continue
        scales = [scale * frame.scale for scale in scales] if index == 0 else scales
        neurons[name] = _real_neurons(stage, stage.neurons, scales, rule)
        layers.append(_described(stage, stage.neurons, name, rule))
        layers += [{"kind": "or-pool", "size": pool.size} for pool in stage.ors]
    if last.neurons is not None:
        layers.append(_counting(last.node, last.neurons, names))
        codes[layers[-1]["name"]] = np.eye(layers[-1]["classes"], dtype=np.int8)
    source = {"encoding": frame.encoding.value, "channels": chain.shape[0], "height": chain.shape[1],
              "width": chain.shape[2], "zero_point": frame.zero_point, "scale": float(frame.scale)}
    architecture = {"input": source, "timesteps": frame.timesteps, "layers": layers}
    try:
        for _ in layer_shapes(architecture):
            pass
    except CheckpointError as error:
        raise SourceError(str(error)) from None
    scores = "currents of the last weights, summed" if last.neurons is None else "spikes of the last neurons, counted"
    network = RationalNetwork(architecture=architecture, codes=codes, neurons=neurons,
                              provenance={**provenance, "scores": scores})
    _check_single(network, stages, names, several=rule.several)
    return network


def _counting(node: Convolution | Linear, neurons: SpikingNeurons, names: list[str]) -> dict[str, Any]:
    """Entry of a readout that counts the spikes of ``neurons``, under a name that is none of ``names``."""
    classes = len(node.weight)
    if isinstance(node, Convolution) or not 2 <= classes <= MAX_CLASSES:
        raise SourceError(f"node {neurons.name}: the last neurons must be 2 to {MAX_CLASSES} behind a fully connected "
                          f"layer: their spikes are the scores of the classes")
    name = next(f"count{ending}" for ending in ("", *range(len(names))) if f"count{ending}" not in names)
    return {"kind": "readout", "name": name, "classes": classes}


def _readout(stage: Stage, name: str, scales: list[Fraction]) -> dict[str, Any]:
    node = stage.node
    if isinstance(node, Convolution):
        raise SourceError(f"node {node.name}: the last weights must be of a fully connected layer: end the network in "
                          f"one")
    if stage.between is not None:
        raise SourceError(f"node {stage.between.name}: pooling must come before the last weights, not behind them")
    used = {scale for scale, row in zip(scales, node.weight, strict=True) if row.any()}
    keep = "keep neurons behind it and take their spikes, counted, as the readout"
    if len(used) > 1:
        raise SourceError(f"node {node.name}: the last weights must have one scale for all classes where their "
                          f"currents are the scores, not {len(used)}: {keep}, or train with one scale")
    if node.bias.any() or node.norm is not None:
        what, article = ("bias", "a ") if node.norm is None else ("BatchNorm", "")
        raise SourceError(f"node {node.name}: the last weights must have no {what} where their currents are the "
                          f"scores: {keep}, or train without {article}{what}")
    described = {"kind": "readout", "name": name, "classes": len(node.weight)}
    return described | ({} if stage.before is None else {"input_pool": stage.before.size})


def _described(stage: Stage, neurons: SpikingNeurons, name: str, rule: Rule) -> dict[str, Any]:
    """Entry of a layer with neurons in the architecture."""
    node = stage.node
    shift = _leak_shift(neurons)
    reset = neurons.reset or rule.reset
    if shift is not None and reset is Reset.SUBTRACT:
        what = f"node {neurons.name}: neurons with leak must"
        if rule.late:
            raise SourceError(f"{what} be reset before they leak, not a timestep later as a subtraction of "
                              f"{rule.package} is: train with a reset to zero, or with beta = 1")
        if rule.comparison is Comparison.ABOVE:
            raise SourceError(f"{what} spike at their threshold, too, if it is subtracted: --compare ge, or train with "
                              f"a reset to zero or without leak")
    described: dict[str, Any] = {"name": name, "reset": reset.value, "leak_shift": shift,
                                 "epsilon": None}
    if stage.before is not None:
        described["input_pool"] = stage.before.size
    if isinstance(node, Linear):
        return described | {"kind": "fully-connected", "neurons": len(node.weight)}
    kernel = node.weight.shape[2]
    factor = 1 if stage.before is None else stage.before.size
    if factor * max(kernel, node.stride) > MAX_KERNEL:
        raise SourceError(f"node {node.name}: kernel and stride, times the windows of {factor} pooled before it, must "
                          f"be at most {MAX_KERNEL}, not {factor * kernel} and {factor * node.stride}: pool less, use "
                          f"a smaller kernel, or put a stride in place of the pooling")
    if stage.between is not None:
        described["pool"] = stage.between.size
    return described | {"kind": "convolution", "channels": len(node.weight), "kernel": kernel, "stride": node.stride,
                        "padding": node.padding}


def _leak_shift(neurons: SpikingNeurons) -> int | None:
    """Return k of neurons that lose 2^-k of their membranes in a timestep; None without leak."""
    shift = shift_of(neurons.leak)
    if neurons.leak and shift is None:
        raise SourceError(f"node {neurons.name}: the share of the membrane lost in a timestep must be 2^-k with k from "
                          f"1 to {MAX_LEAK_SHIFT}, not {shown(neurons.leak)}: train with a leak of 1/2, 1/4, 1/8 "
                          f"(tau of 2, 4, 8 timesteps), or without one; or give the dt that the file was made with")
    return shift


def _real_neurons(stage: Stage, neurons: SpikingNeurons, scales: list[Fraction], rule: Rule) -> tuple[RealNeuron, ...]:
    """Neurons of a layer; their gain is that of the integer sum over all windows."""
    channels = len(scales)
    for what, values in (("thresholds", neurons.theta), ("gains", neurons.gain), ("membranes", neurons.initial)):
        if len(values) not in (1, channels):
            raise SourceError(f"node {neurons.name}: {what} must be one or {channels}, like the channels before, not "
                              f"{len(values)}")
    area, between = Fraction(1), Fraction(1)
    for pool in (stage.before, stage.between):
        if pool is not None and pool.mean:
            area /= pool.size**2
    if stage.between is not None and not stage.between.mean:
        between *= stage.between.size**2
    parts = zip(scales, rationals(stage.node.bias), *(
        per_channel(values, channels) for values in (neurons.gain, neurons.theta, neurons.initial)), strict=True)
    strict = rule.comparison is Comparison.ABOVE
    norm = stage.node.norm
    if norm is None:
        return tuple(RealNeuron(scale=scale * gain * area, gamma=Fraction(1), beta=gain * bias * between,
                                centre=Fraction(0), variance_epsilon=Fraction(1), theta=theta, initial=initial,
                                strict=strict)
                     for scale, bias, gain, theta, initial in parts)
    return tuple(RealNeuron(scale=scale * area, gamma=gain * gamma, beta=gain * beta * between,
                            centre=(bias - mean) * between, variance_epsilon=variance, theta=theta, initial=initial,
                            strict=strict)
                 for (scale, bias, gain, theta, initial), gamma, beta, mean, variance in zip(
                     parts, norm.gamma, norm.beta, norm.mean, norm.variance_epsilon, strict=True))


def _check_single(network: RationalNetwork, stages: list[Stage], names: list[str], *, several: bool) -> None:
    """Check that no membrane can reach twice its threshold, where more than one spike would then be due.

    A membrane is below its threshold, or at it where only more spikes, after a timestep with at most one spike. So it
    stays below twice that as long as no current is larger than the threshold. The first membrane may be anywhere.
    """
    source = network.architecture["input"]
    pixels = Input(encoding=Encoding(source["encoding"]), channels=source["channels"], height=source["height"],
                   width=source["width"], zero_point=source["zero_point"])
    for index, (stage, name) in enumerate(zip(stages, names, strict=True)):
        if stage.neurons is None or not (several or stage.neurons.small_currents):
            continue
        inputs = widths.input_range(pixels) if index == 0 else widths.spike_range(summed=False)
        windows = math.prod(pool.size for pool in (stage.before, stage.between) if pool is not None)
        currents = widths.channel_currents(joined_filters(network.codes[name], None), inputs, pool=windows)
        for channel, (neuron, low, high) in enumerate(zip(network.neurons[name], currents.low, currents.high,
                                                          strict=True)):
            largest = _largest_current(neuron, int(low), int(high))
            first = neuron.initial + largest
            if largest <= neuron.theta and (first < 2 * neuron.theta or (neuron.strict and first == 2 * neuron.theta)):
                continue
            reached = f"currents of channel {channel} reach {shown(largest)}, " + (
                f"more than the threshold of {shown(neuron.theta)}" if largest > neuron.theta else
                f"on a first membrane of {shown(neuron.initial)}, with a threshold of {shown(neuron.theta)}")
            if stage.neurons.small_currents:
                raise SourceError(
                    f"node {stage.neurons.name}: no current may exceed the threshold with reset_delay=False, as what "
                    f"is left of the membrane would be reset in the next timestep, too, but {reached}: use "
                    f"reset_delay=True, or larger thresholds")
            raise SourceError(
                f"node {stage.neurons.name}: a neuron must spike at most once in a timestep, but {reached}, so there "
                f"may be several spikes: train with one spike a timestep (Sinabs: spike_fn=SingleSpike), and say "
                f"--spikes one")


def _largest_current(neuron: RealNeuron, low: int, high: int) -> Fraction:
    """Return the largest current of a neuron whose integer sums are ``low`` to ``high``, or a little more."""
    sums = max(neuron.scale * neuron.gamma * low, neuron.scale * neuron.gamma * high)
    return max((sums + neuron.gamma * neuron.centre) / root for root in root_ends(neuron)) + neuron.beta
