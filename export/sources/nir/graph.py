"""From a stored NIR graph to a chain of nodes: structure, shapes and types, each refused by name where they do not fit.

Shapes are followed from the input on; those that nodes state of themselves (``input_type`` and the like) are not read,
as the packages write them with and without a batch axis.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.limits import MAX_SIDE
from arch.network import Shape
from export.sources.chain import (
    Chain,
    Convolution,
    Flatten,
    Linear,
    Node,
    OrPool,
    Pool,
    SourceError,
    SpikingNeurons,
)
from export.sources.nir.constants import integrator_gain, leak_and_gain
from export.sources.nir.file import Graph, RawNode
from export.sources.nodes import channel_bias, convolution, finite, one, or_of, pool, same_over_positions
from export.sources.rules import Rule
from support.errors import printable

__all__ = ["chain_of"]

#: Types that no network here has, and what to do.
_REFUSED = {
    "CubaLIF": "a synapse with a time constant of its own has no place: train with LIF or IF neurons",
    "CubaLI": "a synapse with a time constant of its own has no place: train with LIF or IF neurons",
    "LI": "a leaky integrator has no place, as scores are sums without leak: end in spiking neurons, or in weights",
    "I": "an integrator without threshold has no place: end in spiking neurons, or in weights, of which the currents "
         "are summed",
    "Delay": "delays have no place: train without them",
    "NIRGraph": "a graph within the graph has no place, nor have recurrent layers: export the layers one by one",
    "Scale": "scales have no place of their own: multiply the weights before or behind it",
    "Threshold": "a threshold without a membrane has a place only behind SumPool2d, as an OR: use IF neurons",
    "Conv1d": "convolutions must have two dimensions: use Conv2d with inputs of one row",
}


def _path(graph: Graph) -> list[str]:
    """Names of the nodes from the input to the output, both included; refuses everything but a chain."""
    ends = {}
    for kind, what in (("Input", "input"), ("Output", "output")):
        names = [name for name, node in graph.nodes.items() if node.kind == kind]
        if len(names) != 1:
            raise SourceError(f"a network must have one {what}, not {len(names)}"
                              + (f" ({', '.join(map(printable, names))})" if names else "")
                              + ": export a network with one")
        ends[kind] = names[0]
    following: dict[str, list[str]] = {}
    before: dict[str, list[str]] = {}
    for start, end in graph.edges:
        for name in (start, end):
            if name not in graph.nodes:
                raise SourceError(f"edges must be between nodes, not of {printable(name)}, which is none")
        following.setdefault(start, []).append(end)
        before.setdefault(end, []).append(start)
    path = [ends["Input"]]
    while path[-1] != ends["Output"]:
        name = path[-1]
        nexts = following.get(name, [])
        if len(nexts) != 1:
            to = ", ".join(map(printable, nexts)) or "none"
            raise SourceError(f"node {printable(name)}: one node must follow, not {len(nexts)} ({to}): branches and "
                              f"cycles have no place, export a plain chain")
        (after,) = nexts
        if after in path:
            raise SourceError(f"node {printable(after)}: it must not follow itself, as it does by way of node "
                              f"{printable(name)}: cycles have no place, train without recurrence")
        if len(before[after]) > 1:
            raise SourceError(f"node {printable(after)}: it must follow one node, not "
                              f"{', '.join(map(printable, before[after]))}: branches and cycles have no place, export "
                              f"a plain chain")
        path.append(after)
    stray = [name for name in graph.nodes if name not in path]
    if stray:
        raise SourceError(f"node {printable(stray[0])}: it must be between the input and the output: take it out of "
                          f"the graph")
    return path


def _array(name: str, node: RawNode, key: str) -> npt.NDArray[Any]:
    value = node.values.get(key)
    if not isinstance(value, np.ndarray):
        raise SourceError(f"node {name}: {node.kind} must have the numbers {key}")
    return value


def _finite(name: str, node: RawNode, key: str) -> npt.NDArray[Any]:
    return finite(name, key, _array(name, node, key))


def _one(name: str, node: RawNode, key: str) -> int:
    return one(name, key, _array(name, node, key))


def _shape(values: npt.NDArray[Any], stated: Shape | None, name: str) -> tuple[Shape, bool]:
    """Shape of the input, and whether it is flat."""
    found = np.ravel(finite(name, "shape", values))
    if not found.size or (found < 1).any() or (found % 1).any():
        raise SourceError(f"node {name}: shape must be of positive integers, not {found.tolist()}")
    sizes = [int(value) for value in found]
    if stated is not None:
        if math.prod(stated) != math.prod(sizes):
            raise SourceError(f"node {name}: --input must have the {math.prod(sizes)} values of the file's input "
                              f"{_times(sizes)}, not {_times(stated)}")
        own = [size for size in sizes if size > 1]
        if len(own) > 1 and own != [size for size in stated if size > 1]:
            raise SourceError(f"node {name}: --input must be that of the file's input, {_times(sizes)}, not "
                              f"{_times(stated)}: channels, rows and columns can be stated only of an input in a row")
        without_batch = sizes[1:] if len(sizes) > 1 and sizes[0] == 1 else sizes
        return stated, len(sizes) == 1 or len(without_batch) == 1
    if len(sizes) == 3:
        return (sizes[0], sizes[1], sizes[2]), False
    if len(sizes) == 1:
        if sizes[0] > MAX_SIDE:
            raise SourceError(f"node {name}: an input of {sizes[0]} numbers must be given a shape: say --input "
                              f"CHANNELSxHEIGHTxWIDTH")
        return (1, 1, sizes[0]), True
    rest = sizes[1:] if len(sizes) in (2, 4) else sizes
    raise SourceError(f"node {name}: the input must be channels x height x width, or a number of inputs, not "
                      f"{_times(sizes)}, which has a batch axis: export without it (ignore_dims=[0] in nirtorch), or "
                      f"say --input {_times(rest) if len(rest) in (1, 3) else 'CHANNELSxHEIGHTxWIDTH'}")


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def chain_of(graph: Graph, rule: Rule, shape: Shape | None = None) -> Chain:
    """Read ``graph`` by ``rule``; ``shape`` of the input where the file's is not to be taken.

    Raises
    ------
    :exc:`SourceError`
        If the graph is no chain, or a node has no place in a network; the line names the node and a remedy.
    """
    names = _path(graph)
    first = graph.nodes[names[0]]
    size, flat = _shape(_array(printable(names[0]), first, "shape"), shape, printable(names[0]))
    nodes: list[Node] = []
    row = flat
    for name in names[1:-1]:
        if graph.nodes[name].kind == "Threshold" and nodes and isinstance(nodes[-1], Pool) and not nodes[-1].mean:
            nodes[-1] = _or(printable(name), graph.nodes[name], nodes[-1])
            continue
        node = _node(printable(name), graph.nodes[name], rule, row)
        row = isinstance(node, Linear | Flatten) or (row and not isinstance(node, Convolution))
        nodes.append(node)
    return Chain(shape=size, flat=flat, nodes=tuple(nodes))


def _node(name: str, node: RawNode, rule: Rule, flat: bool) -> Node:
    if node.kind in _REFUSED:
        raise SourceError(f"node {name}: its type must not be {node.kind}: {_REFUSED[node.kind]}")
    if node.kind in ("Linear", "Affine"):
        weight = _finite(name, node, "weight")
        if weight.ndim != 2 or not weight.size:
            raise SourceError(f"node {name}: weights must be out x in, not {_times(weight.shape)}")
        return Linear(name=name, weight=weight, bias=channel_bias(name, _bias(name, node), len(weight)))
    if node.kind == "Conv2d":
        return _convolution(name, node)
    if node.kind in ("SumPool2d", "AvgPool2d"):
        return pool(name, size=_array(name, node, "kernel_size"), stride=_array(name, node, "stride"),
                    padding=_array(name, node, "padding"), mean=node.kind == "AvgPool2d")
    if node.kind == "Flatten":
        return _flatten(name, node, flat)
    if node.kind in ("IF", "LIF"):
        return _neurons(name, node, rule, flat)
    raise SourceError(f"node {name}: its type must be Linear, Affine, Conv2d, SumPool2d, AvgPool2d, Flatten, IF or "
                      f"LIF, not {printable(node.kind)}")


def _bias(name: str, node: RawNode) -> npt.NDArray[Any] | None:
    return _array(name, node, "bias") if "bias" in node.values else None


def _convolution(name: str, node: RawNode) -> Convolution:
    weight, stride, groups, dilation = (_array(name, node, key) for key in ("weight", "stride", "groups", "dilation"))
    padding = node.values.get("padding")
    if not isinstance(padding, str):
        padding = _array(name, node, "padding")
    return convolution(name, weight, _bias(name, node), stride=stride, padding=padding, groups=groups,
                       dilation=dilation)


def _or(name: str, node: RawNode, counted: Pool) -> OrPool:
    """Return the OR of which ``counted`` has counted the spikes."""
    threshold = _finite(name, node, "threshold")
    if not ((threshold > 0) & (threshold < 1)).all():
        raise SourceError(f"node {name}: a threshold behind SumPool2d must be between 0 and 1, the OR of a window, not "
                          f"{np.ravel(threshold)[0]:g}: use IF neurons behind weights for another")
    return or_of(counted)


def _flatten(name: str, node: RawNode, flat: bool) -> Flatten:
    start, end = _one(name, node, "start_dim"), _one(name, node, "end_dim")
    if not flat and (start != 0 or end not in (-1, 2)):
        raise SourceError(f"node {name}: Flatten must be over channels, rows and columns (start_dim 0, end_dim -1), "
                          f"not from {start} to {end}: flatten the whole map")
    return Flatten(name=name)


def _per_channel(name: str, node: RawNode, key: str, flat: bool) -> npt.NDArray[Any]:
    """Values of ``key`` per channel, or one for all: what is stored per position must not vary over positions."""
    values = _array(name, node, key)
    if values.size == 1:
        return values.reshape(1)
    if values.ndim != (1 if flat else 3) or not values.size:
        raise SourceError(f"node {name}: {key} must have one value, or the shape of the map, not "
                          f"{_times(values.shape)}")
    return same_over_positions(name, key, values.reshape(len(values), -1))


def _neurons(name: str, node: RawNode, rule: Rule, flat: bool) -> SpikingNeurons:
    keys = ("r", "v_threshold", "v_reset") + (("tau", "v_leak") if node.kind == "LIF" else ())
    found = {key: _per_channel(name, node, key, flat) for key in keys if key != "v_reset" or key in node.values}
    for key in ("v_reset", "v_leak", "v_threshold"):
        values = finite(name, key, found.get(key, np.zeros(1)))
        if key != "v_threshold" and values.any():
            raise SourceError(f"node {name}: {key} must be 0, not {values[values != 0][0]:g}: shift membrane and "
                              f"threshold so that it is")
    threshold = found["v_threshold"]
    if (threshold <= 0).any():
        raise SourceError(f"node {name}: v_threshold must be positive, not {threshold.min():g}")
    leak = Fraction(0)
    if node.kind == "LIF":
        leak, gain = leak_and_gain(name, found["tau"], found["r"], rule)
    else:
        gain = integrator_gain(name, finite(name, "r", found["r"]), rule)
    if min(gain) <= 0:
        raise SourceError(f"node {name}: r must be positive, not {float(found['r'].min()):g}")
    return SpikingNeurons(name=name, theta=tuple(Fraction(float(value)) for value in threshold), gain=gain,
                          leak=leak)
