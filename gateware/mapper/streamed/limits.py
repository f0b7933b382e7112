"""What a network asks of a streamed circuit beyond the loops and rings: widths, sides, and what its neurons do."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from arch.link import MAX_EVENT_TIMESTEPS, MAX_IMAGE_BYTES
from arch.network import Encoding, Network, Neurons, OrPool, Readout, Reset
from arch.widths import layer_widths
from gateware.engine.configuration import PLANES, EngineConfig
from gateware.engine.membrane_store import STORED_NEURONS
from gateware.mapper.limits import Finding, above, remedied, signed_bits
from gateware.mapper.streamed.passes import Pass

__all__ = ["network_findings", "pass_findings"]

#: What helps where the constants of neurons need more bits than there are.
_FIT = "export the checkpoint with --fit BOARD, which moves constants and says what that costs"
#: Channels of an image that the header of a model can state.
_MAX_IMAGE_CHANNELS = 64


def network_findings(network: Network, config: EngineConfig) -> Iterator[Finding]:
    """Find what is beyond a circuit in the input, the timesteps, the classes and the neurons of a network."""
    source, events = network.input, network.input.encoding is Encoding.EVENTS
    if not events and not config.pixels:
        yield Finding(where="network", problem="its input must be events for this circuit, not pixels")
    most = config.timesteps * config.blocks
    yield from above("network", "timesteps", network.timesteps, min(most, MAX_EVENT_TIMESTEPS) if events else most)
    yield from above("input", "channels", source.channels, _MAX_IMAGE_CHANNELS)
    yield from above("input", "bytes of an image", math.prod(source.shape), MAX_IMAGE_BYTES)
    # The scores of unused lanes of the last group are kept as well, and one word is what neurons begin with.
    kept = (STORED_NEURONS - 1) // config.lanes * config.lanes
    yield from above("network", "classes", network.classes, min(config.classes, kept))
    for index, (layer, widths) in enumerate(zip(network.layers, layer_widths(network), strict=True)):
        where = f"layer {index} ({layer.kind})"
        if widths is None or isinstance(layer, OrPool):
            continue
        if isinstance(layer, Readout):
            assert widths.score is not None
            yield from above(where, "score bits", config.fraction + widths.score.bits, config.membrane_width)
            continue
        neurons = layer.neurons
        yield from _neuron_findings(where, neurons, config)
        assert widths.membrane is not None
        assert widths.difference is not None
        scale = max(0, config.fraction - neurons.fraction)
        threshold = int(neurons.threshold.max())
        low  = min(widths.membrane.low, widths.difference.low, -threshold)
        high = max(widths.membrane.high, widths.difference.high, threshold)
        wide = above(where, "membrane bits", signed_bits(low << scale, high << scale), config.membrane_width)
        # No constants keep a neuron that never spikes in the range.
        alone = signed_bits(network.timesteps * widths.current.low << config.fraction, 0)
        yield from remedied(wide, _FIT if alone <= config.membrane_width else
                            "use fewer timesteps, inputs or pooled positions")


def _neuron_findings(where: str, neurons: Neurons, config: EngineConfig) -> Iterator[Finding]:
    yield from remedied(above(where, "fractional bits", neurons.fraction, config.fraction), _FIT)
    if neurons.reset is Reset.ZERO and not config.hard_reset:
        yield Finding(where=where, problem="this circuit has no hard reset")
    if neurons.leak_shift is not None and not config.leak:
        yield Finding(where=where, problem="this circuit has no leak", remedy="train it without a leak")


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
