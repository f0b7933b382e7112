"""Chooses a circuit for a network where no board limits it: memories as small as the network allows."""

import dataclasses
from collections.abc import Iterator

from arch.network import Encoding, Network
from gateware.engine.configuration import PLANES, ConfigError, EngineConfig
from gateware.mapper.choice import choose_config, map_network
from gateware.mapper.limits import memory_findings, unsupported_layers
from gateware.mapper.placement import place
from gateware.mapper.plan import Plan
from gateware.mapper.stages import stages_of

__all__ = ["LANES", "WIDTH", "plan_for_system"]

#: Largest P and W that are chosen if nothing else is asked for: the array of the shipped boards.
LANES, WIDTH = 8, 16


def plan_for_system(network: Network, *, lanes: int | None = None, width: int | None = None) -> Plan:
    """Lay a network out for a circuit of its own.

    Parameters
    ----------
    network : :class:`Network`
    lanes, width : :class:`int`, optional
        P and W of the array. By default the width is 16, or as many as pixels allow at so few timesteps, and the lanes
        are 8, or as many as the width.

    Raises
    ------
    :exc:`ConfigError`
        If no circuit of this geometry runs the network.
    """
    steps = _timesteps(network)
    if width is None:
        width = next(each for each in _powers_below(max(WIDTH, lanes or 1)) if _is_geometry(network, 1, each, steps))
    if lanes is None:
        lanes = min(LANES, width)
    base = EngineConfig(lanes=lanes, width=width, timesteps=steps, spike_words=_LEAST, weight_rows=_LEAST,
                        pixels=network.input.encoding is Encoding.PIXELS)
    if next(unsupported_layers(network), None) is None:
        base = _with_memories(network, base)
    return map_network(network, choose_config(
        network, lanes=lanes, width=width, timesteps=steps, spike_words=base.spike_words,
        weight_rows=base.weight_rows))


def _timesteps(network: Network) -> int:
    """Fewest timesteps of a circuit for the network; more than there can be, if there is none."""
    if network.input.encoding is not Encoding.PIXELS:
        return network.timesteps
    return next((steps for steps in range(network.timesteps, PLANES) if PLANES % steps == 0), PLANES)


def _powers_below(most: int) -> Iterator[int]:
    """Powers of two up to ``most``, the largest first."""
    return (1 << power for power in reversed(range(most.bit_length())))


def _is_geometry(network: Network, lanes: int, width: int, timesteps: int) -> bool:
    try:
        EngineConfig(lanes=lanes, width=width, timesteps=timesteps, pixels=network.input.encoding is Encoding.PIXELS)
    except ConfigError:
        # What is wrong with the timesteps is said when the circuit is chosen.
        return width == 2
    return True


def _with_memories(network: Network, base: EngineConfig) -> EngineConfig:
    """Return the circuit with the smallest memories in which the network has room."""
    while True:
        findings = memory_findings(network, base, place(base, stages_of(network)))
        larger = next((finding.circuit for finding in findings if finding.circuit.keys() & _MEMORIES), None)
        if larger is None:
            return base
        base = dataclasses.replace(base, **{name: larger[name] for name in _MEMORIES & larger.keys()})


#: Rows of a memory that are never undercut: no FPGA has smaller ones.
_LEAST = 16
#: Parameters that are depths of memories.
_MEMORIES = frozenset({"spike_words", "weight_rows"})
