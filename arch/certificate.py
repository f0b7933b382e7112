"""What a network's file says about its exactness: proven, refuted in some channels, or not certified.

The export writes the certificate into the network's metadata, an entry per layer with neurons. Leaky neurons are
defined by their integers: there is nothing to prove, and nothing that could be wrong.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from arch.network import Convolution, FullyConnected, Network
from support.counting import counted

__all__ = ["Certificate", "State", "certificate_of", "few"]

#: Channels of a layer that one line shows.
_MOST = 8


class State(enum.Enum):
    """What is known about a network's spikes."""

    #: Every spike of every layer equals the trained network's, for every input.
    EXACT = "exact"
    #: In some channels a spike may differ for some input.
    INEXACT = "inexact"
    #: No channel is known to differ, and some layers are leaky, which are not certified.
    NOT_CERTIFIED = "not certified"
    #: The file has no certificate, or not one for these layers.
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """State of a network, and the layers that it is due to."""

    #: The state.
    state: State
    #: Channels that may differ, by the name of their layer.
    inexact: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    #: Names of the leaky layers.
    leaky: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for a report, without a full stop."""
        if self.state is State.EXACT:
            return "yes, every spike of every layer, for every input"
        if self.state is State.UNKNOWN:
            return "unknown, the network's file has no certificate"
        parts = []
        if self.inexact:
            differ = (f"{name} may differ in {counted(len(channels), 'channel')}: {few(channels)}"
                      for name, channels in self.inexact.items())
            parts.append(f"NO, {'; '.join(differ)}")
        if self.leaky:
            parts.append(f"not certified (leaky): {', '.join(self.leaky)}")
        return "; ".join(parts)


def few(channels: tuple[int, ...]) -> str:
    """Return the first of ``channels`` for a line, and an ellipsis if there are more."""
    return ", ".join(map(str, channels[:_MOST])) + (", ..." if len(channels) > _MOST else "")


def _entries(metadata: Mapping[str, Any]) -> dict[Any, Mapping[str, Any]] | None:
    """Entries of the certificate by the index of their layer; None if they have not the form that the export writes."""
    certificate = metadata.get("certificate")
    layers = certificate.get("layers") if isinstance(certificate, Mapping) else None
    if not isinstance(layers, list):
        return None
    found = {}
    for entry in layers:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            return None
        if type(entry.get("layer")) is not int or not isinstance(entry.get("inexact_channels"), list):
            return None
        found[entry["layer"]] = entry
    return found


def certificate_of(network: Network) -> Certificate:
    """Return what the metadata of ``network`` say, if they fit its layers; they may be anybody's."""
    entries = _entries(network.metadata)
    layers = {index: layer for index, layer in enumerate(network.layers)
              if isinstance(layer, Convolution | FullyConnected)}
    if entries is None or set(entries) != set(layers):
        return Certificate(state=State.UNKNOWN)
    inexact: dict[str, tuple[int, ...]] = {}
    leaky = []
    for index, layer in layers.items():
        entry = entries[index]
        channels = entry["inexact_channels"]
        valid = all(type(channel) is int and 0 <= channel < layer.neurons.channels for channel in channels)
        if layer.neurons.leak_shift is not None and entry.get("exact") is None and not channels:
            leaky.append(entry["name"])
        elif not valid or layer.neurons.leak_shift is not None or entry.get("exact") is not (not channels):
            return Certificate(state=State.UNKNOWN)
        elif channels:
            inexact[entry["name"]] = tuple(channels)
    state = State.INEXACT if inexact else State.NOT_CERTIFIED if leaky else State.EXACT
    return Certificate(state=state, inexact=inexact, leaky=tuple(leaky))
