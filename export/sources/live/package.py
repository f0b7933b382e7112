"""What a package of spiking neurons on PyTorch is to the bridge: its neurons, and how they begin."""

import dataclasses
from collections.abc import Callable
from typing import Any

from export.sources.chain import SpikingNeurons
from export.sources.live.tracing import Place
from export.sources.rules import Comparison

__all__ = ["Package"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A package, by what it computes."""

    #: Its name as a module of Python, and as it writes itself.
    name: str
    title: str
    comparison: Comparison
    #: Names of its classes of neurons that have a place.
    neurons: tuple[str, ...]
    #: Makes a node of neurons; raises :exc:`export.sources.chain.SourceError` if they have no exact place.
    read: Callable[[str, Place], SpikingNeurons]
    #: Gives a layer the state that it has before the first timestep.
    reset: Callable[[Any], None]
    #: Whether a layer of neurons sees all timesteps in one call.
    all_at_once: Callable[[Any], bool]
