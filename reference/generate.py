"""Random networks and inputs: odd sizes, all features, neurons that often meet their threshold exactly."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.images import TakesImages
from arch.limits import MAX_STRIDE, convolved_shape
from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Input,
    Layer,
    Network,
    Neurons,
    OrPool,
    Projection,
    Readout,
    Reset,
    Shape,
)

__all__ = ["random_images", "random_network", "random_neurons", "random_projection", "random_weights"]


def random_weights(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.int8]:
    """Make ternary weights with a random share of zeros."""
    zero = rng.uniform(0, 0.6)
    return rng.choice([-1, 0, 1], p=[(1 - zero) / 2, zero, (1 - zero) / 2], size=shape).astype(np.int8)


def random_neurons(rng: np.random.Generator, channels: int, spread: float, *, reset: Reset | None = None,
                   leak_shift: int | None = None) -> Neurons:
    """Make neurons for currents of about ``spread``; F is 0 half of the time, so that V == Theta is frequent."""
    fraction = int(rng.choice([0, 0, 1, 3]))
    unit = max(1, int(spread)) << fraction
    return Neurons(
        threshold=rng.integers(1, 2 * unit + 1, channels),
        bias=rng.integers(-unit // 2, unit // 2 + 1, channels),
        initial=rng.integers(-unit // 2, unit + 1, channels),
        fraction=fraction, reset=reset or list(Reset)[rng.integers(len(Reset))], leak_shift=leak_shift)


def random_projection(rng: np.random.Generator, shapes: Sequence[Shape], currents: Shape) -> Projection | None:
    """Make a projection of a map of one of the ``shapes`` onto ``currents``; None if no map has the right sides.

    Where it can be, every second one is diagonal, as identity shortcuts are.
    """
    channels, *sides = currents
    found = [(source, stride) for source, (_, height, width) in enumerate(shapes) for stride in range(1, MAX_STRIDE + 1)
             if [(height - 1) // stride + 1, (width - 1) // stride + 1] == sides]
    if not found:
        return None
    source, stride = found[rng.integers(len(found))]
    weights = random_weights(rng, channels, shapes[source][0], 1, 1)
    if shapes[source][0] == channels and rng.random() < 0.5:
        weights *= np.eye(channels, dtype=np.int8)[..., None, None]
    return Projection(source=source, weights=weights, stride=stride)


def random_network(rng: np.random.Generator, *, timesteps: int | None = None, encoding: Encoding | None = None,
                   max_side: int = 9, max_channels: int = 20, layers: int | None = None, reset: Reset | None = None,
                   leak: bool | None = None, shortcuts: bool = False, pools: bool = False,
                   projections: bool = False) -> Network:
    """Make a network of odd sizes; what is not given is drawn from ``rng``.

    Parameters
    ----------
    rng : the source of all choices
    timesteps : T (default: 1 to 4)
    encoding : of the input
    max_side : largest side of the input, in pixels
    max_channels : most channels or neurons of a layer
    layers : layers with neurons (default: 1 to 3)
    reset : of all neurons (default: drawn per layer)
    leak : whether neurons leak (default: one layer in four)
    shortcuts : add the spikes of an earlier layer wherever one has the shape of the input map; more than half of the
        layers behind the first are convolutions that keep the shape of their map
    pools : sum currents over windows in half of the other convolutions, where there is room for one
    projections : give a projection to two of three convolutions without a shortcut, wherever an earlier map has the
        right sides
    """
    timesteps = timesteps or int(rng.integers(1, 5))
    encoding = encoding or list(Encoding)[rng.integers(len(Encoding))]
    pixels = encoding is Encoding.PIXELS
    source = Input(encoding=encoding, channels=int(rng.integers(1, 4)), height=int(rng.integers(1, max_side + 1)),
                   width=int(rng.integers(1, max_side + 1)), zero_point=int(rng.choice([0, 128])) if pixels else 0)
    shape: Shape = source.shape
    amplitude = 100 if pixels else 0.5
    chain: list[Layer] = []
    shapes: list[Shape] = []
    for _ in range(layers or int(rng.integers(1, 4))):
        shift = int(rng.integers(1, 4)) if (rng.random() < 0.25 if leak is None else leak) else None
        out = int(rng.integers(1, max_channels + 1))
        sources = [index for index, other in enumerate(shapes[:-1]) if other == shape]
        shortcut = int(rng.choice(sources)) if shortcuts and sources else None
        amplitude *= 1 if shortcut is None else 2
        # Without layers that keep the shape of their map, two maps of one shape are rare.
        keep = shortcuts and bool(shapes) and rng.random() < 0.6
        layer: Layer
        if keep or rng.random() < 0.8:
            kernel = int(rng.integers(1, min(7, min(shape[1:]) + 2) + 1))
            kernel, out = (kernel | 1, shape[0]) if keep else (kernel, out)
            least = max(0, -(-(kernel - min(shape[1:])) // 2))
            weights = random_weights(rng, out, shape[0], kernel, kernel)
            padding = kernel // 2 if keep else int(rng.integers(least, max(least, kernel - 1) + 1))
            stride = 1 if keep else int(rng.integers(1, 4))
            # As a stride alone would make it, a map has the sides that a projection of the input map has; with as
            # many channels it may have an identity.
            if projections and not keep and rng.random() < 0.5:
                kernel, padding = kernel | 1, (kernel | 1) // 2
                out = shape[0] if rng.random() < 0.5 else out
                weights = random_weights(rng, out, shape[0], kernel, kernel)
            room = min((side + 2 * padding - kernel) // stride + 1 for side in shape[1:])
            pooled = pools and room > 1 and not keep and rng.random() < 0.5
            pool = int(rng.integers(2, min(3, room) + 1)) if pooled else 1
            spread = amplitude * pool * math.sqrt(weights[0].size)
            projection = None
            if projections and shortcut is None and rng.random() < 2 / 3:
                currents = convolved_shape(weights, shape, stride, padding)
                projection = random_projection(rng, shapes, currents)
            layer = Convolution(weights=weights, stride=stride, padding=padding, pool=pool, shortcut=shortcut,
                                projection=projection,
                                neurons=random_neurons(rng, out, spread, reset=reset, leak_shift=shift))
        else:
            weights = random_weights(rng, out, math.prod(shape))
            spread = amplitude * math.sqrt(weights[0].size)
            layer = FullyConnected(weights=weights, shortcut=shortcut,
                                   neurons=random_neurons(rng, out, spread, reset=reset, leak_shift=shift))
        chain.append(layer)
        shape, amplitude = layer.output_shape(shape), 0.5
        shapes.append(shape)
        if min(shape[1:]) >= 2 and not keep and rng.random() < 0.5:
            or_pool = OrPool(size=int(rng.integers(2, min(3, *shape[1:]) + 1)))
            chain.append(or_pool)
            shape = or_pool.output_shape(shape)
            shapes.append(shape)
    chain.append(Readout(weights=random_weights(rng, int(rng.integers(2, 12)), math.prod(shape))))
    return Network(input=source, layers=tuple(chain), timesteps=timesteps, metadata={"name": "random"})


def random_images(network: TakesImages, rng: np.random.Generator, count: int) -> npt.NDArray[Any]:
    """Make inputs: all zeros, all ones, then noise."""
    images: npt.NDArray[Any]
    if network.input.encoding is Encoding.PIXELS:
        images = rng.integers(0, 256, (count, *network.input.shape), dtype=np.uint8)
        images[:1], images[1:2] = 0, 255
    else:
        images = rng.random((count, network.timesteps, *network.input.shape)) < rng.uniform(0.05, 0.6)
        images[:1], images[1:2] = False, True
    return images
