"""The nearest change of a network that makes it fit, found by trying."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from arch.network import (
    MAX_POOL,
    Convolution,
    FullyConnected,
    Layer,
    Network,
    NetworkError,
    Neurons,
    OrPool,
    Readout,
)
from gateware.mapper.limits import unsupported_layers

__all__ = ["Fits", "fewer_channels", "fewer_of_both", "joined", "largest", "nearest_change", "resized", "smaller_image"]

#: Says whether a network fits what it is meant for.
Fits = Callable[[Network], bool]


def nearest_change(network: Network, fits: Fits, *, timesteps: int) -> str:
    """Find a change of ``network`` for which ``fits`` is true, and say it as a remedy.

    Layers that the array does not run are replaced, and timesteps beyond ``timesteps`` left out, in any case. If that
    is not enough, the change of channels, in one layer or in all, that keeps the most weights is taken; if no number of
    channels helps, the largest image that does; and if none does, both.
    """
    remedies = list(dict.fromkeys(finding.remedy for finding in unsupported_layers(network)))
    supported = _supported(network)
    if supported is None:
        return joined(remedies)
    if supported.timesteps > timesteps:
        supported = dataclasses.replace(supported, timesteps=timesteps)
        remedies.append(f"train it with {timesteps} timesteps")
    if not fits(supported):
        remedies.append(fewer_channels(supported, fits) or smaller_image(supported, fits)
                        or fewer_of_both(supported, fits)
                        or "take layers out, because fewer channels and smaller images are not enough")
    return joined(remedies)


def joined(remedies: Sequence[str]) -> str:
    """Join remedies that are all needed."""
    return " and ".join(filter(None, [", ".join(remedies[:-1]), remedies[-1]]))


def _supported(network: Network) -> Network | None:
    """Replace layers that the array does not run by the nearest that it does; None if there is none."""
    layers: list[Layer] = []
    for layer in network.layers:
        if isinstance(layer, Convolution | FullyConnected):
            layer = dataclasses.replace(layer, shortcut=None)
        if isinstance(layer, Convolution):
            layer = dataclasses.replace(layer, projection=None)
        if isinstance(layer, Convolution) and layer.pool > 1:
            layers += [dataclasses.replace(layer, pool=1), OrPool(size=layer.pool)]
        elif isinstance(layer, OrPool) and isinstance(layers[-1], OrPool):
            if layers[-1].size * layer.size > MAX_POOL:
                return None
            layers[-1] = OrPool(size=layers[-1].size * layer.size)
        else:
            layers.append(layer)
    result = dataclasses.replace(network, layers=tuple(layers))
    return None if next(unsupported_layers(result), None) else result


def fewer_channels(network: Network, fits: Fits, *, layers: Collection[int] | None = None) -> str | None:
    """Find fewer channels of one layer, or of all, with which the network fits and keeps the most weights.

    With ``layers``, of these alone.
    """
    best: tuple[int, str] | None = None
    for remedy, smaller in _channel_choices(network, fits, layers):
        if best is None or smaller.weight_count > best[0]:
            best = smaller.weight_count, remedy
    return None if best is None else best[1]


def _channel_choices(network: Network, fits: Fits, layers: Collection[int] | None) -> Iterator[tuple[str, Network]]:
    channels = {index: layer.neurons.channels for index, layer in enumerate(network.layers)
                if isinstance(layer, Convolution | FullyConnected)}
    for index, most in channels.items():
        if layers is not None and index not in layers:
            continue

        def cut(count: int, index: int = index) -> Network | None:
            return resized(network, channels={index: count})

        # Most layers cannot help, and one try says so.
        if most == 1 or (least := cut(1)) is None or not fits(least):
            continue
        count, smaller = largest(most - 1, cut, fits)
        if smaller is not None:
            layer = network.layers[index]
            what  = "neurons" if isinstance(layer, FullyConnected) else "channels"
            yield f"use at most {count} {what} in layer {index} ({layer.kind})", smaller
    if layers is not None:
        return

    def scaled(percent: int) -> Network | None:
        return resized(network, channels={index: max(1, most * percent // 100) for index, most in channels.items()})

    percent, smaller = largest(99, scaled, fits)
    if smaller is not None:
        yield f"use at most {percent} % of the channels of every layer", smaller


def smaller_image(network: Network, fits: Fits) -> str | None:
    """Find the largest image of the same proportions with which the network fits."""
    height, width = network.input.height, network.input.width
    longer = max(height, width)

    def scaled(side: int) -> Network | None:
        return resized(network, image=(max(1, height * side // longer), max(1, width * side // longer)))

    _, smaller = largest(longer - 1, scaled, fits)
    return None if smaller is None else f"use images of at most {smaller.input.height} x {smaller.input.width}"


def fewer_of_both(network: Network, fits: Fits) -> str | None:
    """Find the largest of some smaller images with which fewer channels are enough."""
    for eighths in range(7, 0, -1):
        height, width = (max(1, side * eighths // 8) for side in (network.input.height, network.input.width))
        smaller = resized(network, image=(height, width))
        found   = None if smaller is None else fewer_channels(smaller, fits)
        if found is not None:
            return f"use images of at most {height} x {width} and {found}"
    return None


def largest(most: int, make: Callable[[int], Network | None], fits: Fits) -> tuple[int, Network | None]:
    """Find the largest number from 1 to ``most`` of which ``make`` makes a network that fits; None if there is none.

    Smaller numbers are taken to fit as well. Where they do not, what is found fits all the same.
    """
    low, high, found = 0, most, None
    while low < high:
        middle = (low + high + 1) // 2
        network = make(middle)
        if network is not None and fits(network):
            low, found = middle, network
        else:
            high = middle - 1
    return low, found


def resized(network: Network, *, channels: Mapping[int, int] | None = None,
            image: tuple[int, int] | None = None) -> Network | None:
    """Cut a network down to fewer ``channels`` of some layers, and to a smaller ``image``, height and width.

    Weights of what is left stay; None if a map would vanish, or if maps that a shortcut joins would differ.
    """
    height, width = image or (network.input.height, network.input.width)
    source = dataclasses.replace(network.input, height=height, width=width)
    shape  = source.shape
    layers: list[Layer] = []
    counts: list[int] = []  # channels of the results so far
    try:
        for index, (layer, before, _) in enumerate(network.shapes()):
            if isinstance(layer, Convolution):
                count = (channels or {}).get(index, layer.neurons.channels)
                projection = layer.projection
                if projection is not None:
                    weights = projection.weights[:count, :counts[projection.source]]
                    if projection.diagonal and weights.shape[0] != weights.shape[1]:
                        return None
                    projection = dataclasses.replace(projection, weights=weights)
                layer = dataclasses.replace(layer, weights=layer.weights[:count, :shape[0]], projection=projection,
                                            neurons=_first(layer.neurons, count))
            elif not isinstance(layer, OrPool):
                kept    = layer.weights.reshape(-1, *before)[:, :shape[0], :shape[1], :shape[2]]
                weights = kept.reshape(len(kept), -1)
                if isinstance(layer, Readout):
                    layer = dataclasses.replace(layer, weights=weights)
                else:
                    count = (channels or {}).get(index, layer.neurons.channels)
                    layer = dataclasses.replace(layer, weights=weights[:count], neurons=_first(layer.neurons, count))
            shape = layer.output_shape(shape)
            layers.append(layer)
            counts.append(shape[0])
        return dataclasses.replace(network, input=source, layers=tuple(layers))
    except NetworkError:
        return None


def _first(neurons: Neurons, count: int) -> Neurons:
    """Return the first ``count`` neurons."""
    return dataclasses.replace(neurons, threshold=neurons.threshold[:count], bias=neurons.bias[:count],
                               initial=neurons.initial[:count])
