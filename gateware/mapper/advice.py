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
from support.counting import counted

__all__ = ["Change", "Fits", "ImageSize", "fewer_channels", "fewer_of_both", "find_change", "joined", "known_remedy",
           "largest", "nearest_change", "resized", "smaller_image"]

#: Says whether a network fits what it is meant for.
Fits = Callable[[Network], bool]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ImageSize:
    """A size that images can have, where they cannot have any."""

    #: In pixels.
    height: int
    width: int
    #: How to make them so, as the end of a sentence.
    remedy: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Change:
    """A change of a network that was made, and with which it fits."""

    #: What to do, as the end of a sentence.
    text: str
    #: What the network becomes; several where its classes are split over models.
    networks: tuple[Network, ...]

    def after(self, remedies: Sequence[str]) -> "Change":
        """Return this change with what was done before it."""
        return dataclasses.replace(self, text=joined([*remedies, self.text]))


def nearest_change(network: Network, fits: Fits, *, timesteps: int) -> str:
    """Say the change that :func:`find_change` finds as a remedy; if it finds none, what is known without trying."""
    change = find_change(network, fits, timesteps=timesteps)
    return known_remedy(network, timesteps=timesteps) if change is None else change.text


def known_remedy(network: Network, *, timesteps: int) -> str:
    """Say what is known to be needed, where no change was found with which the network fits."""
    remedies, supported = _within(network, timesteps)
    if supported is None:
        return joined(remedies)
    return joined([*remedies, "take layers out, because fewer channels and smaller images are not enough"])


def find_change(network: Network, fits: Fits, *, timesteps: int,
                sizes: Sequence[ImageSize] | None = None) -> Change | None:
    """Find a change of ``network`` for which ``fits`` is true; None if none of those that are tried is one.

    Layers that the array does not run are replaced, and timesteps beyond ``timesteps`` left out, in any case. If that
    is not enough, the change of channels, in one layer or in all, that keeps the most weights is taken; if no number of
    channels helps, the largest image that does; and if none does, both. With ``sizes``, images have one of these, which
    begin with the largest.
    """
    remedies, supported = _within(network, timesteps)
    if supported is None:
        return None
    if fits(supported):
        return Change(text=joined(remedies), networks=(supported,))
    found = (fewer_channels(supported, fits) or smaller_image(supported, fits, sizes)
             or fewer_of_both(supported, fits, sizes))
    return None if found is None else found.after(remedies)


def _within(network: Network, timesteps: int) -> tuple[list[str], Network | None]:
    """Change what no array of the board runs; return what was changed, and the network, None if it cannot be."""
    remedies  = list(dict.fromkeys(finding.remedy for finding in unsupported_layers(network)))
    supported = _supported(network)
    if supported is not None and supported.timesteps > timesteps:
        supported = dataclasses.replace(supported, timesteps=timesteps)
        remedies.append(f"train it with {counted(timesteps, 'timestep')}")
    return remedies, supported


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


def fewer_channels(network: Network, fits: Fits, *, layers: Collection[int] | None = None) -> Change | None:
    """Find fewer channels of one layer, or of all, with which the network fits and keeps the most weights.

    With ``layers``, of these alone.
    """
    return max(_channel_choices(network, fits, layers), key=lambda change: change.networks[0].weight_count,
               default=None)


def _channel_choices(network: Network, fits: Fits, layers: Collection[int] | None) -> Iterator[Change]:
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
            yield Change(text=f"use at most {count} {what} in layer {index} ({layer.kind})", networks=(smaller,))
    if layers is not None:
        return

    def scaled(percent: int) -> Network | None:
        return resized(network, channels={index: max(1, most * percent // 100) for index, most in channels.items()})

    percent, smaller = largest(99, scaled, fits)
    if smaller is not None:
        yield Change(text=f"use at most {percent} % of the channels of every layer", networks=(smaller,))


def smaller_image(network: Network, fits: Fits, sizes: Sequence[ImageSize] | None = None) -> Change | None:
    """Find the largest image with which the network fits: of ``sizes``, by default of all of the same proportions."""
    if sizes is not None:
        made = ((resized(network, image=(size.height, size.width)), size.remedy) for size in sizes)
        return next((Change(text=remedy, networks=(smaller,)) for smaller, remedy in made
                     if smaller is not None and fits(smaller)), None)
    height, width = network.input.height, network.input.width
    longer = max(height, width)

    def scaled(side: int) -> Network | None:
        return resized(network, image=(max(1, height * side // longer), max(1, width * side // longer)))

    _, smaller = largest(longer - 1, scaled, fits)
    if smaller is None:
        return None
    return Change(text=f"use images of at most {smaller.input.height} x {smaller.input.width}", networks=(smaller,))


def fewer_of_both(network: Network, fits: Fits, sizes: Sequence[ImageSize] | None = None) -> Change | None:
    """Find the largest image, of ``sizes`` or of some smaller ones, with which fewer channels are enough."""
    for size in _eighths(network) if sizes is None else sizes:
        smaller = resized(network, image=(size.height, size.width))
        found   = None if smaller is None else fewer_channels(smaller, fits)
        if found is not None:
            return found.after([size.remedy])
    return None


def _eighths(network: Network) -> Iterator[ImageSize]:
    """Some images that are smaller than those of a network, the largest first."""
    for eighths in range(7, 0, -1):
        height, width = (max(1, side * eighths // 8) for side in (network.input.height, network.input.width))
        yield ImageSize(height=height, width=width, remedy=f"use images of at most {height} x {width}")


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
