"""What each layer of a network takes of a streamed circuit, and how long it takes."""

import dataclasses
import functools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from arch.link import BYTE_BITS, CRC_BYTES, HEADER_BYTES
from arch.network import Convolution, Network, OrPool, projection_of, shortcut_of
from gateware.engine.configuration import EngineConfig
from gateware.flash.reader import FlashMode
from gateware.mapper.stages import seen_positions
from gateware.mapper.streamed.cycles import PassCycles, count_cycles
from gateware.mapper.streamed.passes import Pass
from gateware.mapper.streamed.plan import StreamedPlan

__all__ = ["StreamedFit", "StreamedLayerFit", "fit_of", "layer_fits"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StreamedLayerFit:
    """What one layer, with the or-pools behind it, takes; its passes are added up."""

    #: Index of the layer, and its kind.
    index: int
    kind: str
    #: Runs of the sequencer's loops: more than one if the layer is cut into tiles, which each have all weights.
    passes: int
    #: Rows of weights in the stream, and words of the spike memory for the result; 0 for a readout.
    weight_rows: int
    spike_words: int
    #: Clocks of one inference, and what they are spent on.
    cycles: PassCycles
    #: Synapses x timesteps, padding excluded. A pixel synapse counts once per timestep. 0 for an or-pool.
    operations: int
    #: Operations by what the array can do in the clocks.
    utilisation: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StreamedFit:
    """What a network takes of a streamed circuit."""

    #: One entry per layer.
    layers: tuple[StreamedLayerFit, ...]
    #: Clocks of one inference from the start of the engine to the class, if the rings are full at the start.
    cycles: PassCycles
    #: Most clocks in which pixels of the next image can hold the engine up.
    pixel_stalls: int
    #: Bytes of an image on the line, the frame around it included.
    frame_bytes: int
    #: Image buffers: with two, the next image arrives while one is computed.
    buffers: int
    #: Operations of all layers by what the array can do in the clocks.
    utilisation: float

    def image_clocks(self, divisor: int) -> int:
        """Clocks from one image to the next on a line of ``divisor`` clocks per bit, if images follow each other.

        With one image buffer an image is sent when the result before it is there.
        """
        line = self.frame_bytes * BYTE_BITS * divisor
        if self.buffers == 1:
            return line + self.cycles.clocks
        # The flash sends the whole stream for each image.
        return max(line, self.cycles.clocks + self.pixel_stalls, self.cycles.flash_clocks)


def fit_of(plan: StreamedPlan, *, mode: Any = FlashMode.QUAD, clock_hz: float) -> StreamedFit:
    """Say what the layers of a plan take.

    Parameters
    ----------
    plan : :class:`StreamedPlan`
    mode : :class:`gateware.flash.reader.FlashMode`
        How fast the flash of the board is.
    clock_hz : :class:`float`
        Clock of the circuit, in Hz.
    """
    config = plan.config
    counted = count_cycles(config, plan.passes, mode=mode, clock_hz=clock_hz).passes
    layers  = layer_fits(plan.network, config, plan.passes, counted)
    image  = plan.image
    size   = math.prod(image.shape)
    cycles = _sum(counted)
    return StreamedFit(
        layers=layers, cycles=cycles, pixel_stalls=size * image.planes,
        frame_bytes=HEADER_BYTES + size + CRC_BYTES, buffers=plan.allocation.buffers,
        utilisation=sum(layer.operations for layer in layers) / (cycles.clocks * config.sop_per_cycle))


def layer_fits(network: Network, config: EngineConfig, passes: Sequence[Pass],
               counted: Sequence[PassCycles]) -> tuple[StreamedLayerFit, ...]:
    """Add up what the ``passes`` of each layer take; ``counted`` are the clocks of each pass."""
    layers = []
    for index in dict.fromkeys(item.layer for item in passes):
        found = [(item, cycles) for item, cycles in zip(passes, counted, strict=True) if item.layer == index]
        layers.append(_layer(network, config, [item for item, _ in found], _sum(cycles for _, cycles in found)))
    return tuple(layers)


def _sum(cycles: Iterable[PassCycles]) -> PassCycles:
    return functools.reduce(operator.add, cycles)


def _layer(network: Network, config: EngineConfig, passes: Sequence[Pass],
           cycles: PassCycles) -> StreamedLayerFit:
    """Add up the passes of a layer; ``cycles`` are those of all of them."""
    first      = passes[0]
    operations = _synapses(network, first) * network.timesteps
    return StreamedLayerFit(
        index=first.layer, kind=first.kind, passes=len(passes),
        weight_rows=sum(item.groups * item.group_rows for item in passes),
        spike_words=0 if first.target is None else first.target.total_words, cycles=cycles, operations=operations,
        utilisation=operations / (cycles.clocks * config.sop_per_cycle))


def _synapses(network: Network, item: Pass) -> int:
    """Count the synapses of all neurons of a layer of which ``item`` is a pass, padding excluded."""
    layer = network.layers[item.layer]
    if isinstance(layer, OrPool):
        return 0
    maps = 1 if shortcut_of(layer) is None else 2
    if not isinstance(layer, Convolution):
        return maps * layer.weights.size
    assert item.target is not None
    channels, *sides = item.first.source.shape
    places = [side * item.pool for side in item.target.shape[1:]]
    seen   = [seen_positions(side, kernel=layer.kernel, stride=layer.stride, padding=layer.padding, places=count)
              for side, count in zip(sides, places, strict=True)]
    count  = maps * channels * math.prod(seen)
    if (projection := projection_of(layer)) is not None:
        # A neuron with an identity shortcut sees one channel through it.
        count += math.prod(places) * (1 if projection.diagonal else projection.weights.shape[1])
    return count * item.channels
