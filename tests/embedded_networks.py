"""A small network as Verilog for systems on chips: for tests of the file, and the benches that run it."""

import functools

import numpy as np

from arch.images import image_bytes
from arch.network import Encoding
from gateware.mapper.cycles import count_cycles
from gateware.verilog.plan import plan_for_system
from reference.generate import random_images, random_network
from reference.network import Reference

__all__ = ["LANES", "WIDTH", "expected", "images", "plan"]

#: Geometry of the array: the smallest that pixels allow at four timesteps.
LANES, WIDTH = 2, 4


@functools.cache
def plan():
    """Draw a network of pixels that a slow simulator runs, with images that differ and do not fill their last word."""
    for seed in range(2000):
        network = random_network(np.random.default_rng([23, seed]), timesteps=4, encoding=Encoding.PIXELS, max_side=4,
                                 max_channels=5)
        size = int(np.prod(network.input.shape))
        if size < 20 or size % 4 != 3:
            continue
        placed = plan_for_system(network, lanes=LANES, width=WIDTH)
        if count_cycles(placed).total < 900 and len(placed.stages) > 2:
            result = Reference(network).run(_images(network))
            if len(set(map(tuple, result.scores))) == len(result.scores) and len(set(result.classes)) > 1:
                return placed
    raise AssertionError("no small network")


def _images(network):
    return random_images(network, np.random.default_rng(7), 4)


@functools.cache
def images():
    """Four images, each as the bytes of a payload."""
    network = plan().network
    return [image_bytes(network, image) for image in _images(network)]


@functools.cache
def expected():
    """What the reference computes of the images, as words of results with the clocks of the cycle model."""
    result = Reference(plan().network).run(_images(plan().network))
    clocks = count_cycles(plan()).total
    return [[int(label), clocks, 0, 0, *map(int, scores)]
            for label, scores in zip(result.classes, result.scores, strict=True)]
