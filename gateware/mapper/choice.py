"""Chooses a circuit for a network, checks its limits, and lays the network out."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from arch.network import Encoding, Network, Readout, Reset
from arch.widths import layer_widths
from boards.board import Board
from gateware.engine.configuration import ConfigError, EngineConfig, bits_for
from gateware.mapper.contents import memory_contents
from gateware.mapper.placement import place
from gateware.mapper.plan import PlacedStage, Plan
from gateware.mapper.stages import Stage, stages_of

__all__ = ["choose_config", "map_network", "plan_for_board"]

#: Largest image that a frame of the host link holds (:mod:`arch.link`), in bytes.
MAX_IMAGE_BYTES = 65535


def choose_config(network: Network, *, lanes: int, width: int, timesteps: int, spike_words: int,
                  weight_rows: int) -> EngineConfig:
    """Choose the smallest widths and depths with which a circuit of this geometry runs the network.

    Parameters
    ----------
    network : :class:`Network`
    lanes, width, timesteps : :class:`int`
        P, W and T of the array.
    spike_words, weight_rows : :class:`int`
        Depth of the memories, from the board.

    Raises
    ------
    :exc:`ConfigError`
        If no circuit of this geometry runs the network.
    """
    stages = stages_of(network)
    pixels = network.input.encoding is Encoding.PIXELS
    base   = EngineConfig(lanes=lanes, width=width, timesteps=timesteps, pixels=pixels, spike_words=spike_words,
                          weight_rows=weight_rows)
    placed = place(base, stages)
    neurons  = [stage.layer.neurons for stage in stages if not isinstance(stage.layer, Readout)]
    fraction = max((item.fraction for item in neurons), default=0)
    return dataclasses.replace(
        base,
        accumulator_width=max(2, base.sum_width if pixels else 0, _accumulator_bits(base, stages)),
        membrane_width=max(fraction + 2, *_membrane_bits(network, stages, fraction)),
        fraction=fraction,
        hard_reset=any(item.reset is Reset.ZERO for item in neurons),
        leak=any(item.leak_shift is not None for item in neurons),
        channel_groups=max(2, sum(stage.placement.groups for stage in placed)),
        layers=max(2, len(stages)),
        max_run=max(stage.placement.run for stage in placed),
        max_side=max(_side(stage) for stage in stages),
        max_row_words=max(stage.placement.padded_row_words for stage in placed),
        classes=network.classes,
    )


def _membrane_bits(network: Network, stages: Sequence[Stage], fraction: int) -> list[int]:
    """Bits that the PIF unit needs for each stage: membranes and what they lack to the threshold; last, the scores."""
    widths = list(layer_widths(network))
    bits = []
    for stage in stages:
        if isinstance(stage.layer, Readout):
            continue
        layer = widths[stage.index]
        assert layer is not None
        assert layer.membrane is not None
        assert layer.difference is not None
        shift = fraction - stage.layer.neurons.fraction
        low  = min(layer.membrane.low, layer.difference.low, -int(stage.layer.neurons.threshold.max()))
        high = max(layer.membrane.high, layer.difference.high, int(stage.layer.neurons.threshold.max()))
        bits.append(_signed_bits(low << shift, high << shift))
    # Scores leave through the adder of the first timestep.
    scores = network.timesteps * int(np.count_nonzero(stages[-1].layer.weights, axis=1).max())
    return [*bits, fraction + _signed_bits(-scores, scores)]


def _signed_bits(least: int, most: int) -> int:
    return max((~least if least < 0 else least).bit_length(), (~most if most < 0 else most).bit_length()) + 1


def _accumulator_bits(config: EngineConfig, stages: Sequence[Stage]) -> int:
    """Bits of the largest count: every synapse that is not zero counts one, in each slice of a word of pixels."""
    counts = []
    for number, stage in enumerate(stages):
        nonzero = int(np.count_nonzero(stage.layer.weights.reshape(len(stage.layer.weights), -1), axis=1).max())
        planes  = config.pixels and number == 0
        counts.append(nonzero * sum(1 << (part * config.timesteps) for part in range(config.slices)) if planes
                      else nonzero)
    return bits_for(max(counts))


def _side(stage: Stage) -> int:
    """Largest coordinate of a stage's maps; those of the source begin and end in the padding."""
    padding = stage.field.padding
    return max(*(side + padding for side in stage.source[1:]), *stage.computed[1:], *stage.target[1:])


def _check(name: str, what: str, value: int, limit: int, remedy: str) -> None:
    if value > limit:
        raise ConfigError(f"{name}: {what} must be at most {limit}, not {value}: {remedy}")


def _check_limits(network: Network, config: EngineConfig, stages: Sequence[PlacedStage]) -> None:
    pixels = network.input.encoding is Encoding.PIXELS
    if pixels != config.pixels:
        raise ConfigError(f"network: its input must be {'pixels' if config.pixels else 'events'} for this circuit, "
                          f"not {network.input.encoding.value}")
    _check("network", "timesteps", network.timesteps, config.timesteps, "choose a circuit with more timesteps")
    _check("network", "layers with weights", len(stages), config.layers, "choose a circuit with a longer program")
    _check("input", "bytes of an image", math.prod(network.input.shape), MAX_IMAGE_BYTES, "use a smaller image")
    _check("network", "classes", network.classes, config.classes, "choose a circuit with more classes")
    rows   = sum(stage.placement.weight_rows for stage in stages)
    groups = sum(stage.placement.groups for stage in stages)
    _check("network", f"weight rows of {config.lanes} x {config.width}", rows, config.weight_rows,
           "use fewer or smaller layers")
    _check("network", f"groups of {config.lanes} channels", groups, config.channel_groups,
           "use fewer channels in all layers together")
    _check("network", "accumulator bits", _accumulator_bits(config, stages), config.accumulator_width,
           "choose a circuit with wider accumulators")
    for stage in stages:
        if not isinstance(stage.layer, Readout):
            _check(stage.name, "fractional bits", stage.layer.neurons.fraction, config.fraction, "export it with fewer")
    membranes = iter(_membrane_bits(network, stages, config.fraction))
    for stage in stages:
        _check(stage.name, "words of a kernel row", stage.placement.run, config.max_run,
               "use a smaller map or fewer channels")
        _check(stage.name, "words of a map row", stage.placement.padded_row_words, config.max_row_words,
               "use a narrower map or fewer channels")
        _check(stage.name, "side of its maps", _side(stage), config.max_side, "use a smaller map")
        _check(stage.name, "membrane bits", next(membranes), config.membrane_width,
               "choose a circuit with a wider membrane")
        if isinstance(stage.layer, Readout):
            continue
        neurons = stage.layer.neurons
        if neurons.reset is Reset.ZERO and not config.hard_reset:
            raise ConfigError(f"{stage.name}: this circuit has no hard reset")
        if neurons.leak_shift is not None and not config.leak:
            raise ConfigError(f"{stage.name}: this circuit has no leak")


def map_network(network: Network, config: EngineConfig) -> Plan:
    """Lay a network out for a circuit.

    Raises
    ------
    :exc:`ConfigError`
        If the network does not fit; the message names the layer and the limit.
    """
    stages = place(config, stages_of(network))
    _check_limits(network, config, stages)
    return Plan(network=network, config=config, stages=stages, contents=memory_contents(network, config, stages))


def plan_for_board(network: Network, board: Board, *, lanes: int | None = None, width: int | None = None) -> Plan:
    """Choose the largest array of a board that runs the network, and lay the network out for it.

    Parameters
    ----------
    network : :class:`Network`
    board : :class:`boards.Board`
    lanes, width : :class:`int`, optional
        Ask for this geometry instead; both or neither, or ``lanes`` with the board's largest width.

    Raises
    ------
    :exc:`ConfigError`
        If no geometry of the board runs the network; the message is that of the largest one.
    """
    if lanes is not None or width is not None:
        geometries: tuple[tuple[int, int], ...] = ((lanes or board.geometries[0][0], width or board.geometries[0][1]),)
    else:
        geometries = board.geometries
    refusal = None
    for geometry in geometries:
        try:
            config = choose_config(network, lanes=geometry[0], width=geometry[1], timesteps=board.timesteps,
                                   spike_words=board.spike_words, weight_rows=board.weight_rows)
            return map_network(network, config)
        except ConfigError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal
