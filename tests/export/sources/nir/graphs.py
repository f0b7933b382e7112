"""NIR graphs for the tests, made of nodes as they are stored."""

import itertools

import numpy as np

from export.sources.nir.file import Graph, RawNode


def node(kind, **values):
    return RawNode(kind=kind, values={key: value if isinstance(value, str) else np.asarray(value)
                                      for key, value in values.items()})


def spiking(shape, r=10000.0, threshold=1.0, kind="IF", **more):
    return node(kind, **({"r": np.full(shape, r), "v_threshold": np.full(shape, threshold),
                          "v_reset": np.zeros(shape)} | more))


def convolution(weight, **more):
    weight = np.asarray(weight, dtype=np.float32)
    return node("Conv2d", **({"weight": weight, "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1,
                              "bias": np.zeros(len(weight)), "input_shape": [4, 4]} | more))


def pool(kind="AvgPool2d", size=2, stride=2, padding=(0, 0)):
    return node(kind, kernel_size=[size, size], stride=[stride, stride], padding=list(padding))


FLATTEN = {"start_dim": 0, "end_dim": -1}
TERNARY = np.sign(np.random.default_rng(3).integers(-2, 3, (4, 1, 3, 3))) * 0.5
DENSE = np.sign(np.random.default_rng(4).integers(-2, 3, (3, 16))) * 0.25


def layers(**changed):
    """Nodes of a small network between its input and its output, with some ``changed``, or left out with None."""
    nodes = {"conv": convolution(TERNARY),
             "if1": spiking((4, 4, 4)), "pool": pool(), "flat": node("Flatten", **FLATTEN),
             "fc": node("Linear", weight=DENSE), "if2": spiking((3,))}
    return {name: value for name, value in (nodes | changed).items() if value is not None}


def chained(nodes, shape=(1, 4, 4), **more):
    """The graph of ``nodes`` in their order."""
    every = {"input": node("Input", shape=list(shape)), **nodes, "output": node("Output", shape=[3])}
    names = list(every)
    return Graph(**{"nodes": every, "edges": tuple(itertools.pairwise(names))} | more)
