"""A slow second reference for one image, in plain Python integers, to check the fast one against.

It shares no arithmetic with :mod:`reference.network`: it loops over the synapses as the contract states them.
"""

import dataclasses
from typing import Any

import numpy.typing as npt

from arch.images import check_array
from arch.network import Convolution, Encoding, FullyConnected, Network, Neurons, OrPool, Readout, Reset

__all__ = ["Trace", "infer"]

#: Values of a map, ``[channel][row][column]``.
Map = list[list[list[int]]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """What the network computed for one image."""

    #: Scores of the classes.
    scores: list[int]
    #: What each timestep adds to them: ``step_scores[timestep][class]``.
    step_scores: list[list[int]]
    #: Index of the largest score, the lowest one on a tie.
    winner: int
    #: Spikes of each layer but the readout: ``spikes[layer][timestep][channel][row][column]``.
    spikes: list[list[Map]]
    #: Membranes after the reset, the same nesting; None for an OR-pool.
    membranes: list[list[Map] | None]


def infer(network: Network, image: npt.NDArray[Any]) -> Trace:
    """Compute one image: ``[C, H, W]`` of pixels or ``[T, C, H, W]`` of events."""
    check_array(image)
    if network.input.encoding is Encoding.PIXELS:
        pixels = [[[int(p) - network.input.zero_point for p in row] for row in plane] for plane in image.tolist()]
        maps = [pixels] * network.timesteps
    else:
        maps = [[[[int(p) for p in row] for row in plane] for plane in frame] for frame in image.tolist()]
    spikes: list[list[Map]] = []
    membranes: list[list[Map] | None] = []
    for layer in network.layers[:-1]:
        if not isinstance(layer, OrPool | Readout) and layer.shortcut is not None:
            maps = [_add(frame, other) for frame, other in zip(maps, spikes[layer.shortcut], strict=True)]
        if isinstance(layer, OrPool):
            maps = [_pool(layer.size, frame) for frame in maps]
            membranes.append(None)
        elif isinstance(layer, Convolution):
            weights = layer.weights.tolist()
            sums = [_convolve(weights, layer.stride, layer.padding, frame) for frame in maps]
            if layer.projection is not None:
                beside = layer.projection
                sums = [_add(frame, _convolve(beside.weights.tolist(), beside.stride, 0, other))
                        for frame, other in zip(sums, spikes[beside.source], strict=True)]
            currents = [_sum(layer.pool, frame) for frame in sums]
            maps, left = _fire(layer.neurons, currents)
            membranes.append(left)
        else:
            assert isinstance(layer, FullyConnected)
            maps, left = _fire(layer.neurons, [_connect(layer.weights.tolist(), frame) for frame in maps])
            membranes.append(left)
        spikes.append(maps)
    readout = network.layers[-1]
    assert not isinstance(readout, OrPool)
    scores = [0] * network.classes
    step_scores: list[list[int]] = []
    for frame in maps:
        step_scores.append([current for ((current,),) in _connect(readout.weights.tolist(), frame)])
        for index, current in enumerate(step_scores[-1]):
            scores[index] += current
    winner = 0
    for index, score in enumerate(scores):
        if score > scores[winner]:
            winner = index
    return Trace(scores=scores, step_scores=step_scores, winner=winner, spikes=spikes, membranes=membranes)


def _add(frame: Map, other: Map) -> Map:
    return [[[value + more for value, more in zip(row, others, strict=True)]
             for row, others in zip(plane, planes, strict=True)]
            for plane, planes in zip(frame, other, strict=True)]


def _sum(size: int, frame: Map) -> Map:
    return [[[sum(plane[row * size + y][column * size + x] for y in range(size) for x in range(size))
              for column in range(len(plane[0]) // size)]
             for row in range(len(plane) // size)]
            for plane in frame]


def _pool(size: int, frame: Map) -> Map:
    return [[[int(any(plane[row * size + y][column * size + x] for y in range(size) for x in range(size)))
              for column in range(len(plane[0]) // size)]
             for row in range(len(plane) // size)]
            for plane in frame]


def _convolve(weights: list[list[list[list[int]]]], stride: int, padding: int, frame: Map) -> Map:
    kernel, height, width = len(weights[0][0]), len(frame[0]), len(frame[0][0])

    def current(of: list[list[list[int]]], top: int, left: int) -> int:
        total = 0
        for channel, plane in enumerate(of):
            for y, row in enumerate(plane):
                for x, weight in enumerate(row):
                    if 0 <= top + y < height and 0 <= left + x < width:
                        total += weight * frame[channel][top + y][left + x]
        return total

    return [[[current(of, row * stride - padding, column * stride - padding)
              for column in range((width + 2 * padding - kernel) // stride + 1)]
             for row in range((height + 2 * padding - kernel) // stride + 1)]
            for of in weights]


def _connect(weights: list[list[int]], frame: Map) -> Map:
    flat = [value for plane in frame for row in plane for value in row]
    return [[[sum(weight * value for weight, value in zip(row, flat, strict=True))]] for row in weights]


def _fire(neurons: Neurons, currents: list[Map]) -> tuple[list[Map], list[Map]]:
    thresholds, biases = neurons.threshold.tolist(), neurons.bias.tolist()
    state = [[[initial for _ in row] for row in plane]
             for initial, plane in zip(neurons.initial.tolist(), currents[0], strict=True)]
    spikes: list[Map] = []
    membranes: list[Map] = []
    for frame in currents:
        fired = [[[0 for _ in row] for row in plane] for plane in frame]
        for channel, plane in enumerate(frame):
            for y, row in enumerate(plane):
                for x, current in enumerate(row):
                    v = state[channel][y][x]
                    if neurons.leak_shift is not None:
                        v -= v >> neurons.leak_shift
                    v += current * 2**neurons.fraction + biases[channel]
                    if v >= thresholds[channel]:
                        fired[channel][y][x] = 1
                        v = v - thresholds[channel] if neurons.reset is Reset.SUBTRACT else 0
                    state[channel][y][x] = v
        spikes.append(fired)
        membranes.append([[list(row) for row in plane] for plane in state])
    return spikes, membranes
