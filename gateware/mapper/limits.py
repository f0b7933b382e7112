"""What a network asks of a circuit, and the limits that it exceeds."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from arch.link import MAX_IMAGE_BYTES
from arch.network import MAX_POOL, Convolution, Encoding, Network, OrPool, Readout, Reset, projection_of, shortcut_of
from arch.widths import LayerWidths, layer_widths
from boards.board import Board
from gateware.engine.configuration import MAX_ACCUMULATOR_WIDTH, MAX_MEMBRANE_WIDTH, PLANES, EngineConfig, bits_for
from gateware.mapper.cycles import MAX_CYCLES, exceeding_cycles
from gateware.mapper.memories import count_block_rams
from gateware.mapper.placement import spike_memory_shortages
from gateware.mapper.plan import PlacedStage
from gateware.mapper.stages import Stage

__all__ = ["Finding", "above", "board_findings", "circuit_findings", "memory_findings", "needs", "remedied",
           "signed_bits", "unsupported_layers", "width_findings"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A limit that a network exceeds, or something that the array does not do."""

    #: Layer, as in ``layer 2 (convolution)``; ``network`` if it is all of them together.
    where: str
    #: What is wrong, to stand behind :attr:`where`.
    problem: str
    #: What the network asks for, and what there is; None where it is no number.
    value: int | None = None
    limit: int | None = None
    #: Change of the network that helps, if it is known without trying; else empty.
    remedy: str = ""
    #: Parameters of a circuit (:class:`EngineConfig`) without this limit, where there can be one.
    circuit: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"

    @property
    def excess(self) -> float:
        """How many times the limit is asked for; infinite where it is no number."""
        return self.value / self.limit if self.value is not None and self.limit else math.inf


def above(where: str, what: str, value: int, limit: int, **circuit: int) -> Iterator[Finding]:
    """Find that a number is above its limit, if it is."""
    if value > limit:
        yield Finding(where=where, problem=f"{what} must be at most {limit}, not {value}", value=value, limit=limit,
                      circuit=circuit)


def remedied(findings: Iterator[Finding], remedy: str) -> Iterator[Finding]:
    """Say what helps."""
    return (dataclasses.replace(finding, remedy=remedy) for finding in findings)


def unsupported_layers(network: Network) -> Iterator[Finding]:
    """Find the layers that the array does not run, whatever its size."""
    shapes = list(network.shapes())
    for index, (layer, _, _) in enumerate(shapes):
        where = f"layer {index} ({layer.kind})"
        if (added := shortcut_of(layer)) is not None:
            yield Finding(where=where, problem=f"adds the spikes of layer {added}: summed spikes do not run on the "
                                               f"array, only on the reference",
                          remedy="train it without the shortcut")
        if (beside := projection_of(layer)) is not None:
            yield Finding(where=where, problem=f"sees the spikes of layer {beside.source} through weights of their "
                                               f"own: projections do not run on the array, only on the reference",
                          remedy="train it without the projection")
        if isinstance(layer, Convolution) and layer.pool > 1:
            yield Finding(where=where, problem=f"sums the currents of {layer.pool} x {layer.pool} windows: pooled "
                                               f"currents do not run on the array, only on the reference",
                          remedy="train it with an or-pool instead")
        before = network.layers[index - 1] if index else None
        if isinstance(layer, OrPool) and isinstance(before, OrPool):
            side = before.size * layer.size
            # Windows of windows are windows: the spikes are the same.
            yield Finding(where=where, problem="follows another or-pool, and the array runs one behind a layer",
                          remedy=f"use one or-pool of {side}, which gives the same spikes" if side <= MAX_POOL else
                                 "put a layer with weights between them")
    if isinstance(network.layers[0], Readout) and network.input.encoding is Encoding.PIXELS:
        yield Finding(where="layer 0 (readout)", problem="reads pixels, and the array's readout sums spikes",
                      remedy="put a layer with neurons before it")


def memory_findings(network: Network, config: EngineConfig, stages: Sequence[PlacedStage]) -> Iterator[Finding]:
    """Find what does not fit the input, timesteps, spike memory, weight memory and clock counter of a circuit."""
    if (pixels := network.input.encoding is Encoding.PIXELS) != config.pixels:
        yield Finding(where="network", problem=f"its input must be {'pixels' if config.pixels else 'events'} for this "
                                               f"circuit, not {network.input.encoding.value}",
                      circuit={"pixels": pixels})
    if network.timesteps > config.timesteps:
        # Timesteps that a circuit can have: bit-planes of pixels travel through them.
        more = [steps for steps in range(network.timesteps, PLANES + 1) if not pixels or PLANES % steps == 0]
        yield from above("network", "timesteps", network.timesteps, config.timesteps,
                          **({"timesteps": more[0]} if more else {}))
    yield from above("input", "bytes of an image", math.prod(network.input.shape), MAX_IMAGE_BYTES)
    windows, half = stages[0].window_words(config), config.spike_words // 2
    if windows > half:
        yield from above(stages[0].name, "words of packed windows", windows, half,
                          spike_words=_enough_spike_words(config, stages))
    else:
        for shortage in spike_memory_shortages(config, stages):
            yield Finding(
                where=stages[shortage.stage].name,
                problem=f"its {shortage.words} words of spikes{shortage.beside} must be at most {shortage.limit} words "
                        f"of spike memory",
                value=shortage.total, limit=shortage.limit,
                circuit={"spike_words": _enough_spike_words(config, stages)})
    rows = sum(stage.placement.weight_rows for stage in stages)
    yield from above("network", f"weight rows of {config.lanes} x {config.width}", rows, config.weight_rows,
                      weight_rows=rows)
    if (clocks := exceeding_cycles(config, stages)) is not None:
        yield Finding(where="network", problem=f"clocks of an inference must be at most {MAX_CYCLES}, not {clocks}",
                      value=clocks, limit=MAX_CYCLES, remedy="use fewer channels or smaller images")


def _enough_spike_words(config: EngineConfig, stages: Sequence[Stage]) -> int:
    """Least power of two, in words, of a spike memory that has room for the maps."""
    words = 2
    while True:
        larger = dataclasses.replace(config, spike_words=words)
        if stages[0].window_words(larger) <= words // 2 and not any(spike_memory_shortages(larger, stages)):
            return words
        words *= 2


def width_findings(network: Network, stages: Sequence[PlacedStage], needed: Mapping[str, Any]) -> Iterator[Finding]:
    """Find sums and membranes that no circuit holds; ``needed`` are the parameters of :func:`needs`."""
    yield from above("network", "accumulator bits", needed["accumulator_width"], MAX_ACCUMULATOR_WIDTH)
    for stage, bits in zip(stages, membrane_bits(network, stages, needed["fraction"]), strict=True):
        yield from above(stage.name, "membrane bits", bits, MAX_MEMBRANE_WIDTH)


def board_findings(config: EngineConfig, board: Board) -> Iterator[Finding]:
    """Find what a circuit takes that a board has not."""
    where = f"array of {config.lanes} x {config.width}"
    if board.fpga.large_ram is not None:
        # The depth of the spike memory is counted in words of the widest array.
        yield from above(where, "width", config.width, max(width for _, width in board.geometries))
    yield from above(where, "block RAMs", count_block_rams(config, board.fpga), board.fpga.resources.block_rams)


def needs(network: Network, config: EngineConfig, stages: Sequence[PlacedStage]) -> dict[str, Any]:
    """Return the smallest parameters of a circuit for the network, beside geometry and depths that ``config`` has."""
    neurons  = [stage.layer.neurons for stage in stages if not isinstance(stage.layer, Readout)]
    fraction = max((item.fraction for item in neurons), default=0)
    return {
        "accumulator_width": max(2, config.sum_width if config.pixels else 0, _accumulator_bits(config, stages)),
        "membrane_width": max(fraction + 2, *membrane_bits(network, stages, fraction)),
        "fraction": fraction,
        "hard_reset": any(item.reset is Reset.ZERO for item in neurons),
        "leak": any(item.leak_shift is not None for item in neurons),
        "channel_groups": max(2, sum(stage.placement.groups for stage in stages)),
        "layers": max(2, len(stages)),
        "max_run": max(stage.placement.run for stage in stages),
        "max_side": max(_side(stage) for stage in stages),
        "max_row_words": max(stage.placement.padded_row_words for stage in stages),
        "classes": network.classes,
    }


def circuit_findings(network: Network, config: EngineConfig, stages: Sequence[PlacedStage]) -> Iterator[Finding]:
    """Find what exceeds the widths and depths of a circuit that is there."""
    yield from above("network", "layers with weights", len(stages), config.layers, layers=len(stages))
    yield from above("network", "classes", network.classes, config.classes, classes=network.classes)
    groups = sum(stage.placement.groups for stage in stages)
    yield from above("network", f"groups of {config.lanes} channels", groups, config.channel_groups,
                      channel_groups=groups)
    bits = _accumulator_bits(config, stages)
    yield from above("network", "accumulator bits", bits, config.accumulator_width,
                      **({"accumulator_width": bits} if bits <= MAX_ACCUMULATOR_WIDTH else {}))
    for stage in stages:
        if not isinstance(stage.layer, Readout):
            fraction = stage.layer.neurons.fraction
            yield from above(stage.name, "fractional bits", fraction, config.fraction, fraction=fraction)
    # A layer with more is scaled down by none: its membranes are compared as they are.
    shift = max([config.fraction, *(stage.layer.neurons.fraction for stage in stages
                                    if not isinstance(stage.layer, Readout))])
    membranes = membrane_bits(network, stages, shift)
    for stage, membrane in zip(stages, membranes, strict=True):
        at = stage.placement
        yield from above(stage.name, "words of a kernel row", at.run, config.max_run, max_run=at.run)
        yield from above(stage.name, "words of a map row", at.padded_row_words, config.max_row_words,
                          max_row_words=at.padded_row_words)
        yield from above(stage.name, "side of its maps", _side(stage), config.max_side, max_side=_side(stage))
        yield from above(stage.name, "membrane bits", membrane, config.membrane_width,
                          **({"membrane_width": membrane} if membrane <= MAX_MEMBRANE_WIDTH else {}))
        if isinstance(stage.layer, Readout):
            continue
        if stage.layer.neurons.reset is Reset.ZERO and not config.hard_reset:
            yield Finding(where=stage.name, problem="this circuit has no hard reset", circuit={"hard_reset": True})
        if stage.layer.neurons.leak_shift is not None and not config.leak:
            yield Finding(where=stage.name, problem="this circuit has no leak", circuit={"leak": True})


@functools.lru_cache(maxsize=2)
def _widths(network: Network) -> tuple[LayerWidths | None, ...]:
    """Widths of the layers: they take long, and each question about the same network asks for them."""
    return tuple(layer_widths(network))


def membrane_bits(network: Network, stages: Sequence[Stage], fraction: int) -> list[int]:
    """Bits that the PIF unit needs for each stage: membranes and what they lack to the threshold; last, the scores."""
    widths = _widths(network)
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
        bits.append(signed_bits(low << shift, high << shift))
    # Scores leave through the adder of the first timestep.
    scores = network.timesteps * int(np.count_nonzero(stages[-1].layer.weights, axis=1).max())
    return [*bits, fraction + signed_bits(-scores, scores)]


def signed_bits(least: int, most: int) -> int:
    """Bits of a signed number that reaches from ``least`` to ``most``."""
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
