"""The nearest changes of a network with which it fits a streamed circuit: each was made, and its result laid out."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence

from arch.network import (
    Convolution,
    FullyConnected,
    Layer,
    Network,
    Neurons,
    Readout,
    Reset,
    projection_of,
    shortcut_of,
)
from gateware.engine.configuration import EngineConfig
from gateware.mapper.advice import (
    Change,
    Fits,
    ImageSize,
    fewer_channels,
    fewer_of_both,
    joined,
    largest,
    smaller_image,
)
from gateware.mapper.limits import Finding
from gateware.mapper.streamed.limits import most_classes, most_timesteps

__all__ = ["find_changes", "nearest_changes"]

#: Makes neurons that a circuit can have; the same neurons if it can have them.
_NeuronChange = Callable[[Neurons, EngineConfig], Neurons]


def nearest_changes(network: Network, config: EngineConfig, findings: Sequence[Finding], fits: Fits) -> str:
    """Say what :func:`find_changes` finds as a remedy, or that it finds nothing."""
    return "; or ".join(change.text for change in find_changes(network, config, findings, fits)) or (
        "no change was found with which it fits: tried were fewer timesteps, fewer channels of a layer and of all "
        "layers, smaller images, and all of these")


def find_changes(network: Network, config: EngineConfig, findings: Sequence[Finding], fits: Fits, *,
                 sizes: Sequence[ImageSize] | None = None) -> list[Change]:
    """Find changes of ``network`` for which ``fits`` is true; none if none of those that are tried is one.

    What the circuit has for no network is changed in any case: leaks, timesteps and classes beyond its limits. If that
    is not enough, the nearest change of each kind is found: the most timesteps, the channels that keep the most
    weights, and the largest image. One of them is enough.

    Parameters
    ----------
    network : :class:`Network`
        It does not fit.
    config : :class:`EngineConfig`
    findings : sequence of :class:`Finding`
        Why it does not. Channels are taken from layers that are named first, and from those whose maps they read.
    fits : function of a :class:`Network`
        Lays a network out, and says whether it fits.
    sizes : sequence of :class:`gateware.mapper.advice.ImageSize`, optional
        All smaller images that there can be, the largest first; by default any.
    """
    most = most_classes(config)

    def all_fit(candidate: Network) -> bool:
        return all(fits(part) for part in _parts(candidate, most))

    network, needed = _necessary(network, config)
    if network.classes > most:
        needed.append(f"split its classes over models of at most {most}")
    limit = min(network.timesteps, most_timesteps(config, network.input.encoding))

    def made(steps: int, change: Change | None = None) -> Change:
        """The network with fewer timesteps, after what is needed and with a change."""
        remedies = [*needed, *_timesteps(network, steps)]
        whole = dataclasses.replace(network, timesteps=steps) if change is None else change.networks[0]
        parts = Change(text=joined(remedies) if change is None else change.text, networks=tuple(_parts(whole, most)))
        return parts if change is None else parts.after(remedies)

    shorter = dataclasses.replace(network, timesteps=limit)
    if (needed or limit < network.timesteps) and all_fit(shorter):
        return [made(limit)]
    steps = _fewer_timesteps(shorter, all_fit)
    found = [] if steps is None else [made(steps)]
    # With all timesteps that the circuit computes, else with those that it computes side by side.
    for steps in dict.fromkeys((limit, min(limit, config.timesteps))):
        shorter = dataclasses.replace(network, timesteps=steps)
        choices = [_fewest_channels(shorter, findings, all_fit), smaller_image(shorter, all_fit, sizes)]
        if not found and not any(choices):
            choices = [fewer_of_both(shorter, all_fit, sizes)]
        found += [made(steps, choice) for choice in choices if choice is not None]
        if found:
            break
    return found


def _timesteps(network: Network, most: int) -> list[str]:
    """Say that a network must have fewer timesteps, if it must."""
    return [f"train it with at most {most} timestep{'s'[:most > 1]}"] if most < network.timesteps else []


def _necessary(network: Network, config: EngineConfig) -> tuple[Network, list[str]]:
    """Change what is beyond every network of the circuit, but for timesteps and classes; and say what was changed."""
    remedies: list[str] = []
    changes: tuple[tuple[str, _NeuronChange], ...] = (
        ("train it without a leak", _without_leak), ("train it with a reset by subtraction", _without_hard_reset))
    for remedy, change in changes:
        layers = tuple(_with_neurons(layer, config, change) for layer in network.layers)
        if any(after is not before for before, after in zip(network.layers, layers, strict=True)):
            network = dataclasses.replace(network, layers=layers)
            remedies.append(remedy)
    return network, remedies


def _with_neurons(layer: Layer, config: EngineConfig, change: _NeuronChange) -> Layer:
    """Change the neurons of a layer; the layer itself if nothing is changed."""
    if not isinstance(layer, Convolution | FullyConnected):
        return layer
    neurons = change(layer.neurons, config)
    return layer if neurons is layer.neurons else dataclasses.replace(layer, neurons=neurons)


def _without_leak(neurons: Neurons, config: EngineConfig) -> Neurons:
    return neurons if config.leak or neurons.leak_shift is None else dataclasses.replace(neurons, leak_shift=None)


def _without_hard_reset(neurons: Neurons, config: EngineConfig) -> Neurons:
    if config.hard_reset or neurons.reset is not Reset.ZERO:
        return neurons
    return dataclasses.replace(neurons, reset=Reset.SUBTRACT)


def _parts(network: Network, classes: int) -> Iterator[Network]:
    """Split the classes of a network over networks of at most ``classes``."""
    *layers, readout = network.layers
    assert isinstance(readout, Readout)
    if network.classes <= classes:
        yield network
        return
    for first in range(0, network.classes, classes):
        part = dataclasses.replace(readout, weights=readout.weights[first:first + classes])
        yield dataclasses.replace(network, layers=(*layers, part))


def _fewer_timesteps(network: Network, fits: Fits) -> int | None:
    """Find the most timesteps, fewer than it has, with which the network fits."""
    steps, found = largest(network.timesteps - 1, lambda steps: dataclasses.replace(network, timesteps=steps), fits)
    return None if found is None else steps


def _fewest_channels(network: Network, findings: Sequence[Finding], fits: Fits) -> Change | None:
    """Take channels from layers that findings name, or from layers whose maps these read; else from any."""
    named: set[int] = set()
    for finding in findings:
        if match := re.match(r"layer (\d+) ", finding.where):
            named |= _with_sources(network, int(match[1]))
    return (fewer_channels(network, fits, layers=named) if named else None) or fewer_channels(network, fits)


def _with_sources(network: Network, index: int) -> set[int]:
    """A layer and those whose maps it reads; in place of an or-pool, the layer with channels before it."""
    sources = [index, index - 1, shortcut_of(network.layers[index])]
    if (projection := projection_of(network.layers[index])) is not None:
        sources.append(projection.source)
    found = set()
    for source in sources:
        while source is not None and source >= 0 and not isinstance(network.layers[source],
                                                                    Convolution | FullyConnected | Readout):
            source -= 1
        if source is not None and source >= 0:
            found.add(source)
    return found
