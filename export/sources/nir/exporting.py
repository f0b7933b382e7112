"""From an integer network to a NIR graph that says the same in numbers: what other simulators read.

Weights are -1, 0 and 1; threshold and bias are those of the network over 2^F, so that a neuron sees whole currents. An
OR-pool is the sum of a window above one half. What NIR does not say is in the side-car, first membranes included.

With a hard reset the threshold lies half a unit of 2^-F below that of the network: no membrane comes between, and
``>`` gives the same spikes as ``>=``. So packages that compare with either read such a network rightly, and those that
compare with ``>=`` read all.
"""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Network,
    Neurons,
    OrPool,
    Reset,
    Shape,
    projection_of,
    shortcut_of,
)
from export.sources.chain import SourceError
from export.sources.nir import sidecar
from export.sources.nir.file import Graph, RawNode
from export.sources.nir.sidecar import Facts
from export.sources.rules import Comparison

__all__ = ["FORMAT", "graph_of"]

#: Version of the package ``nir`` whose groups are written.
FORMAT = "1.0.8"
#: Length of a timestep that is written; with r = 1 / dt a current is added as it is.
_DT = Fraction(1, 10000)


def _floats(name: str, values: npt.NDArray[np.int64], fraction: int) -> npt.NDArray[np.floating]:
    """Return ``values`` over ``2^fraction``, in float32 where that is exact, else in float64, which holds 2^53."""
    exact = np.ldexp(values.astype(np.float64), -fraction)
    single = exact.astype(np.float32)
    return single if np.array_equal(single, exact) else exact


def _neurons(neurons: Neurons, shape: Shape, flat: bool) -> RawNode:
    hard = neurons.reset is Reset.ZERO
    # Half a unit more of fraction holds the half that is taken off.
    threshold = _floats("threshold", 2 * neurons.threshold - hard, neurons.fraction + 1)
    places = shape[:1] if flat else shape
    whole = np.broadcast_to(threshold.reshape(-1, *[1] * (len(places) - 1)), places)
    # No v_reset: version 1.0.4 refuses it, and later ones take 0 without it.
    return RawNode(kind="IF", values={"r": np.full(places, float(1 / _DT)), "v_threshold": np.ascontiguousarray(whole)})


def _check(index: int, layer: Any, resets: set[Reset]) -> None:
    where = f"layer {index} ({layer.kind})"
    if shortcut_of(layer) is not None or projection_of(layer) is not None:
        raise SourceError(f"{where} must see one map for a NIR graph: shortcuts and projections are not written")
    if isinstance(layer, Convolution) and layer.pool > 1:
        raise SourceError(f"{where} must have no pool of currents for a NIR graph: a bias behind it is not written")
    if isinstance(layer, Convolution | FullyConnected):
        if layer.neurons.leak_shift is not None:
            raise SourceError(f"{where} must have no leak for a NIR graph: that of the integers rounds downwards, "
                              f"which NIR does not say")
        resets.add(layer.neurons.reset)
        if len(resets) > 1:
            raise SourceError(f"{where} must have the reset of the layers before it for a NIR graph, which has one for "
                              f"all")


def _nodes(network: Network) -> Iterator[tuple[str, RawNode]]:
    """Iterate over the nodes between input and output, with their names."""
    flat = False
    for index, (layer, shape, output) in enumerate(network.shapes()):
        if isinstance(layer, OrPool):
            side = np.array([layer.size] * 2)
            yield f"sum{index}", RawNode(kind="SumPool2d", values={
                "kernel_size": side, "stride": side, "padding": np.zeros(2, dtype=np.int64)})
            yield f"or{index}", RawNode(kind="Threshold", values={"threshold": np.full(output, 0.5, dtype=np.float32)})
            continue
        weight = layer.weights.astype(np.float32)
        neurons = None if not isinstance(layer, Convolution | FullyConnected) else layer.neurons
        bias = None if neurons is None else _floats("bias", neurons.bias, neurons.fraction)
        if isinstance(layer, Convolution):
            assert bias is not None
            yield f"conv{index}", RawNode(kind="Conv2d", values={
                "input_shape": np.array(shape[1:]), "weight": weight, "bias": bias,
                "stride": np.array([layer.stride] * 2), "padding": np.array([layer.padding] * 2),
                "dilation": np.array([1, 1]), "groups": np.array(1)})
        else:
            if not flat:
                yield f"flatten{index}", RawNode(kind="Flatten", values={
                    "start_dim": np.array(0), "end_dim": np.array(-1), "input_type": np.array(shape)})
            flat = True
            if bias is None:
                yield f"readout{index}", RawNode(kind="Linear", values={"weight": weight})
            else:
                yield f"fc{index}", RawNode(kind="Affine", values={"weight": weight, "bias": bias})
        if neurons is not None:
            yield f"if{index}", _neurons(neurons, output, flat)


def graph_of(network: Network) -> Graph:
    """Return the graph of ``network``, with its side-car.

    Raises
    ------
    :exc:`SourceError`
        If a layer has no exact place in one; the line names the layer.
    """
    resets: set[Reset] = set()
    for index, layer in enumerate(network.layers):
        _check(index, layer, resets)
    initial = {}
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Convolution | FullyConnected) and layer.neurons.initial.any():
            unit = 2**layer.neurons.fraction
            initial[f"if{index}"] = tuple(Fraction(int(value), unit) for value in layer.neurons.initial)
    source = network.input
    facts = Facts(
        comparison=Comparison.AT_LEAST, reset=next(iter(resets), Reset.SUBTRACT), several=False, dt=_DT,
        timesteps=network.timesteps, encoding=source.encoding,
        scale=Fraction(1) if source.encoding is Encoding.PIXELS else None,
        zero_point=source.zero_point if source.encoding is Encoding.PIXELS else None, currents=True,
        initial=initial or None)
    nodes = {"input": RawNode(kind="Input", values={"shape": np.array(source.shape)}), **dict(_nodes(network)),
             "output": RawNode(kind="Output", values={"shape": np.array([network.classes])})}
    names = list(nodes)
    return Graph(nodes=nodes, edges=tuple(itertools.pairwise(names)),
                 metadata={sidecar.KEY: sidecar.dumps(facts)})
