"""What a network asks of a streamed circuit beyond the loops and rings: widths, sides, and what its neurons do."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from arch.link import MAX_EVENT_TIMESTEPS, MAX_IMAGE_BYTES
from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Network,
    Neurons,
    OrPool,
    Readout,
    Reset,
    filters_of,
    shortcut_of,
)
from arch.widths import LayerWidths, input_range, layer_widths, spike_range
from gateware.engine.configuration import PLANES, EngineConfig
from gateware.engine.membrane_store import STORED_NEURONS
from gateware.mapper.limits import Finding, above, remedied, signed_bits
from gateware.mapper.streamed.passes import Pass

__all__ = ["most_classes", "most_timesteps", "network_findings", "pass_findings"]

#: What helps where the constants of neurons need more bits than there are.
_FIT = "export the checkpoint with --fit BOARD, which moves constants and says what that costs"
#: Channels of an image that the header of a model can state.
_MAX_IMAGE_CHANNELS = 64


def most_timesteps(config: EngineConfig, encoding: Encoding) -> int:
    """Most timesteps of a network: all blocks of the circuit, and of events what a byte of an image has room for."""
    most = config.timesteps * config.blocks
    return min(most, MAX_EVENT_TIMESTEPS) if encoding is Encoding.EVENTS else most


def most_classes(config: EngineConfig) -> int:
    """Most classes: the scores of unused lanes of the last group are kept too, beside the word of new neurons."""
    return min(config.classes, (STORED_NEURONS - 1) // config.lanes * config.lanes)


def network_findings(network: Network, config: EngineConfig) -> Iterator[Finding]:
    """Find what is beyond a circuit in the input, the timesteps, the classes and the neurons of a network."""
    source, events = network.input, network.input.encoding is Encoding.EVENTS
    if not events and not config.pixels:
        yield Finding(where="network", problem="its input must be events for this circuit, not pixels")
    yield from above("network", "timesteps", network.timesteps, most_timesteps(config, source.encoding))
    yield from above("input", "channels", source.channels, _MAX_IMAGE_CHANNELS)
    yield from above("input", "bytes of an image", math.prod(source.shape), MAX_IMAGE_BYTES)
    yield from above("network", "classes", network.classes, most_classes(config))
    widths: list[LayerWidths | None] = []
    for index, layer in enumerate(network.layers):
        where = f"layer {index} ({layer.kind})"
        if isinstance(layer, OrPool):
            continue
        if not isinstance(layer, Readout):
            yield from _neuron_findings(where, layer.neurons, config)
        # The exact ranges of membranes take long; mostly a bound says that they are small enough.
        if signed_bits(-(bound := _membrane_bound(network, config, index)), bound) > config.membrane_width:
            widths = widths or list(layer_widths(network))
            yield from _width_findings(where, layer, widths[index], config, network.timesteps)


def _membrane_bound(network: Network, config: EngineConfig, index: int) -> int:
    """Bound what a neuron of a layer, or a score, may reach, with the fractional bits that it has in the circuit."""
    layer = network.layers[index]
    assert not isinstance(layer, OrPool)
    inputs = input_range(network.input) if index == 0 else spike_range(summed=shortcut_of(layer) is not None)
    synapses = int(np.count_nonzero(filters_of(layer), axis=1).max())
    windows = layer.pool**2 if isinstance(layer, Convolution) else 1
    largest = synapses * windows * max(-inputs.low, inputs.high)
    if isinstance(layer, Readout):
        return network.timesteps * largest << config.fraction
    neurons = layer.neurons
    bias, initial = (int(np.abs(values).max()) for values in (neurons.bias, neurons.initial))
    bound = initial + network.timesteps * ((largest << neurons.fraction) + bias) + int(neurons.threshold.max())
    return bound << max(0, config.fraction - neurons.fraction)


def _width_findings(where: str, layer: Convolution | FullyConnected | Readout, widths: LayerWidths | None,
                    config: EngineConfig, timesteps: int) -> Iterator[Finding]:
    """Find a membrane or score that the circuit does not hold."""
    assert widths is not None
    if isinstance(layer, Readout):
        assert widths.score is not None
        yield from above(where, "score bits", config.fraction + widths.score.bits, config.membrane_width)
        return
    assert widths.membrane is not None
    assert widths.difference is not None
    scale = max(0, config.fraction - layer.neurons.fraction)
    threshold = int(layer.neurons.threshold.max())
    low  = min(widths.membrane.low, widths.difference.low, -threshold)
    high = max(widths.membrane.high, widths.difference.high, threshold)
    wide = above(where, "membrane bits", signed_bits(low << scale, high << scale), config.membrane_width)
    # No constants near the trained ones keep a neuron that never spikes in the range.
    alone = signed_bits(timesteps * widths.current.low << config.fraction, 0)
    yield from remedied(wide, _FIT) if alone <= config.membrane_width else wide


def _neuron_findings(where: str, neurons: Neurons, config: EngineConfig) -> Iterator[Finding]:
    yield from remedied(above(where, "fractional bits", neurons.fraction, config.fraction), _FIT)
    if neurons.reset is Reset.ZERO and not config.hard_reset:
        yield Finding(where=where, problem="this circuit has no hard reset")
    if neurons.leak_shift is not None and not config.leak:
        yield Finding(where=where, problem="this circuit has no leak")


def pass_findings(passes: Sequence[Pass], config: EngineConfig) -> Iterator[Finding]:
    """Find what is beyond the counters and sums of a circuit in the passes of a network."""
    for item in passes:
        yield from above(item.name, "groups of channels", item.groups, config.max_groups)
        yield from above(item.name, "words of a kernel row", max(walk.run for walk in item.walks()), config.max_run)
        padding, first = item.first.padding, item.first
        yield from above(item.name, "words of a map row", item.source_size[0] + padding * first.words,
                         config.max_row_words)
        side = max(item.source_size[1] + padding, item.tile.rows, item.tile.columns)
        yield from above(item.name, "side of its maps", side, config.max_side)
        nonzero = int(np.count_nonzero(item.weights, axis=(1, 3)).max())
        # A pixel counts with the weight of each of its bits.
        times   = (1 << PLANES) - 1 if item.pixels else 2 if item.reuse else 1
        largest = nonzero * times * (item.pool**2 if item.summed else 1)
        yield from above(item.name, "synapses of a sum", largest, (1 << config.partial_width) - 1)
