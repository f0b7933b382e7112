"""From a chain of another package's nodes to the rational network that the export certifies.

Nothing is rounded here, and nothing is guessed: what has no exact place in a Sterna network is refused with the name of
the node and a remedy. Three translations are not one node for one layer:

* Mean and sum of windows become the ``input_pool`` of the next layer, or the ``pool`` of the one before, and the size
  of the window goes into the gain: the layer sees the integer sum either way. The OR of windows is a layer of its own.
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
from arch.network import MAX_CLASSES, MAX_KERNEL, Encoding, Input, Reset, Shape
from arch.projection import joined_filters
from export.certificate import RealNeuron
from export.sources.chain import (
    Chain,
    Flatten,
    Linear,
    MapOr,
    Pool,
    SourceError,
    SpikingNeurons,
    WindowedFilter,
    per_channel,
    rationals,
)
from export.sources.rational import RationalNetwork
from export.sources.rules import Comparison, Rule

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


@dataclasses.dataclass(kw_only=True)
class _Stage:
    """A layer with weights in the making: what was pooled before it, itself, and what comes behind it."""

    node: WindowedFilter | Linear
    shape: Shape
    before: Pool | None
    between: Pool | None = None
    neurons: SpikingNeurons | None = None
    ors: list[MapOr] = dataclasses.field(default_factory=list)


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
                          f"{kinds} magnitudes: train with ternary weights, one scale per output channel "
                          f"(docs/nir.md shows how)")
    scales = [scale or Fraction(1) for scale in rationals(largest)]
    return np.sign(weight).astype(np.int8), scales


def _stages(chain: Chain) -> tuple[list[_Stage], Pool | None]:
    """Group the nodes into layers; the second result is a pool that no layer follows."""
    stages: list[_Stage] = []
    shape, flat = chain.shape, chain.flat
    waiting: Pool | None = None
    for node in chain.nodes:
        last = stages[-1] if stages else None
        open_stage = last is not None and last.neurons is None
        if isinstance(node, SpikingNeurons):
            if last is None or last.neurons is not None or waiting is not None:
                raise SourceError(f"node {node.name}: neurons must come behind weights: give them a convolution or a "
                                  f"fully connected layer of their own")
            last.neurons = node
        elif isinstance(node, Pool):
            if flat:
                raise SourceError(f"node {node.name}: pooling must come before the map is flattened: move it")
            shape = _pooled(node, shape)
            if open_stage and last is not None:
                if last.between is not None:
                    raise SourceError(f"node {node.name}: there must be one pooling between two layers: make one of "
                                      f"it and node {last.between.name}")
                last.between = node
            elif waiting is not None:
                raise SourceError(f"node {node.name}: there must be one pooling between two layers: make one of it "
                                  f"and node {waiting.name}")
            else:
                waiting = node
        elif isinstance(node, MapOr):
            if last is None or last.neurons is None or waiting is not None or flat:
                raise SourceError(f"node {node.name}: an OR must be of a map of spikes: put it behind neurons, before "
                                  f"the map is flattened")
            last.ors.append(node)
            shape = shape[0], shape[1] // node.size, shape[2] // node.size
        elif isinstance(node, Flatten):
            flat = True
        else:
            if open_stage and last is not None:
                raise SourceError(f"node {node.name}: weights must come behind neurons, not behind the weights of node "
                                  f"{last.node.name}: put neurons between them, or multiply the two")
            stages.append(_Stage(node=node, shape=shape, before=waiting))
            shape, waiting = _weighted(node, shape, flat), None
            flat = isinstance(node, Linear)
    return stages, waiting


def _pooled(node: Pool, shape: Shape) -> Shape:
    channels, height, width = shape
    if height % node.size or width % node.size:
        raise SourceError(f"node {node.name}: windows of {node.size} must divide both sides of the map of {height} x "
                          f"{width}: give the layer before it another padding")
    return channels, height // node.size, width // node.size


def _weighted(node: WindowedFilter | Linear, shape: Shape, flat: bool) -> Shape:
    """Shape of the currents of ``node``, which sees a map of ``shape``."""
    channels, height, width = shape
    if isinstance(node, Linear):
        if not flat and height * width > 1:
            raise SourceError(f"node {node.name}: a fully connected layer must see a flat map, not {channels} x "
                              f"{height} x {width}: put a Flatten before it")
        if node.weight.shape[1] != math.prod(shape):
            raise SourceError(f"node {node.name}: weights must have {math.prod(shape)} inputs like the map before, not "
                              f"{node.weight.shape[1]}")
        return len(node.weight), 1, 1
    if flat:
        raise SourceError(f"node {node.name}: a convolution must see a map, not one that is flat: give the input of "
                          f"the network channels, height and width")
    out, into, kernel, _ = node.weight.shape
    if into != channels:
        raise SourceError(f"node {node.name}: weights must have {channels} input channels like the map before, not "
                          f"{into}")
    sides = [(side + 2 * node.padding - kernel) // node.stride + 1 for side in (height, width)]
    if min(sides) < 1:
        raise SourceError(f"node {node.name}: kernel of {kernel} must fit in the padded map of {height} x {width}")
    return out, sides[0], sides[1]


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
    stages, waiting = _stages(chain)
    if not stages:
        raise SourceError("a network must have a node with weights: this one has none")
    if waiting is not None:
        raise SourceError(f"node {waiting.name}: pooling must come before weights or neurons, not at the end: leave it "
                          f"out, and count spikes of all outputs")
    last = stages[-1]
    if frame.currents is False and last.neurons is None:
        raise SourceError(f"node {last.node.name}: neurons must follow whose spikes are counted: leave --readout "
                          f"spikes out, and its currents are the scores")
    if frame.currents and last.neurons is not None:
        last = stages[-1] = dataclasses.replace(last, neurons=None)
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
        classes = len(last.node.weight)
        if isinstance(last.node, WindowedFilter) or not 2 <= classes <= MAX_CLASSES:
            raise SourceError(f"node {last.neurons.name}: the last neurons must be 2 to {MAX_CLASSES} behind a fully "
                              f"connected layer: their spikes are the scores of the classes")
        counted = next(f"count{ending}" for ending in ("", *range(len(names))) if f"count{ending}" not in names)
        layers.append({"kind": "readout", "name": counted, "classes": classes})
        codes[counted] = np.eye(classes, dtype=np.int8)
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
    if rule.several:
        _check_single(network, stages, names)
    return network


def _readout(stage: _Stage, name: str, scales: list[Fraction]) -> dict[str, Any]:
    node = stage.node
    if isinstance(node, WindowedFilter):
        raise SourceError(f"node {node.name}: the last weights must be of a fully connected layer: end the network in "
                          f"one")
    if stage.between is not None:
        raise SourceError(f"node {stage.between.name}: pooling must come before the last weights, not behind them")
    used = {scale for scale, row in zip(scales, node.weight, strict=True) if row.any()}
    keep = "keep neurons behind it, of which the spikes are counted (--readout spikes)"
    if len(used) > 1:
        raise SourceError(f"node {node.name}: the last weights must have one scale for all classes where their "
                          f"currents are the scores, not {len(used)}: {keep}, or train with one scale")
    if node.bias.any():
        raise SourceError(f"node {node.name}: the last weights must have no bias where their currents are the scores: "
                          f"{keep}, or train without a bias")
    described = {"kind": "readout", "name": name, "classes": len(node.weight)}
    return described | ({} if stage.before is None else {"input_pool": stage.before.size})


def _described(stage: _Stage, neurons: SpikingNeurons, name: str, rule: Rule) -> dict[str, Any]:
    """Entry of a layer with neurons in the architecture."""
    node = stage.node
    if neurons.leak_shift is not None and rule.reset is Reset.SUBTRACT:
        what = f"node {neurons.name}: neurons with leak must"
        if rule.late:
            raise SourceError(f"{what} be reset before they leak, not a timestep later as a subtraction of "
                              f"{rule.package} is: train with a reset to zero, or with beta = 1")
        if rule.comparison is Comparison.ABOVE:
            raise SourceError(f"{what} spike at their threshold, too, if it is subtracted: --compare ge, or train with "
                              f"a reset to zero or without leak")
    described: dict[str, Any] = {"name": name, "reset": rule.reset.value, "leak_shift": neurons.leak_shift,
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


def _real_neurons(stage: _Stage, neurons: SpikingNeurons, scales: list[Fraction], rule: Rule) -> tuple[RealNeuron, ...]:
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
    return tuple(
        RealNeuron(scale=scale * gain * area, gamma=Fraction(1), beta=gain * bias * between, centre=Fraction(0),
                   variance_epsilon=Fraction(1), theta=theta, initial=initial,
                   strict=rule.comparison is Comparison.ABOVE)
        for scale, gain, bias, theta, initial in zip(
            scales, per_channel(neurons.gain, channels), rationals(stage.node.bias),
            per_channel(neurons.theta, channels), per_channel(neurons.initial, channels), strict=True))


def _check_single(network: RationalNetwork, stages: list[_Stage], names: list[str]) -> None:
    """Check that no membrane can reach twice its threshold: then several spikes in a timestep are never due.

    A membrane is below its threshold after a timestep with at most one spike. So it stays below twice that as long as
    no current is larger than the threshold.
    """
    source = network.architecture["input"]
    pixels = Input(encoding=Encoding(source["encoding"]), channels=source["channels"], height=source["height"],
                   width=source["width"], zero_point=source["zero_point"])
    for index, (stage, name) in enumerate(zip(stages, names, strict=True)):
        if stage.neurons is None:
            continue
        inputs = widths.input_range(pixels) if index == 0 else widths.spike_range(summed=False)
        windows = math.prod(pool.size for pool in (stage.before, stage.between) if pool is not None)
        currents = widths.channel_currents(joined_filters(network.codes[name], None), inputs, pool=windows)
        for channel, (neuron, high) in enumerate(zip(network.neurons[name], currents.high, strict=True)):
            largest = neuron.scale * int(high) + neuron.beta
            if largest + max(neuron.initial, neuron.theta) > 2 * neuron.theta:
                raise SourceError(
                    f"node {stage.neurons.name}: a neuron must spike at most once in a timestep, but currents of "
                    f"channel {channel} reach {float(largest):g}, more than the threshold of {float(neuron.theta):g}, "
                    f"so there may be several spikes: train with one spike a timestep (Sinabs: "
                    f"spike_fn=SingleSpike), and say --spikes one")
