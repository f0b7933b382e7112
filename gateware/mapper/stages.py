"""A network as the engine runs it: stages, each a layer with weights and the OR-pool behind it."""

import dataclasses

import numpy as np
import numpy.typing as npt

from arch.network import Convolution, FullyConnected, Network, OrPool, Readout, Shape
from gateware.engine.configuration import EngineConfig

__all__ = ["Field", "Stage", "seen_positions", "stages_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """What a neuron sees of the source map, and how far the next neuron's view is, in positions."""

    #: Rows and columns of the receptive field.
    rows: int
    columns: int
    #: Step between receptive fields.
    stride: int
    #: Positions around the map that read as zero, on each side.
    padding: int


def seen_positions(size: int, *, kernel: int, stride: int, padding: int, places: int) -> int:
    """Count what ``places`` receptive fields see of a side of ``size`` positions, padding excluded."""
    return sum(0 <= place * stride - padding + tap < size for place in range(places) for tap in range(kernel))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One pass of the engine: a layer with weights and the OR-pool behind it, if any."""

    #: Index of the layer with the weights, in ``network.layers``.
    index: int
    #: Index of the layer whose output this stage writes.
    last_index: int
    #: The layer with the weights.
    layer: Convolution | FullyConnected | Readout
    #: Side of the OR-pool behind it; 1 without.
    pool: int
    #: Shape of the source map.
    source: Shape
    #: Shape before the pool; positions that the pool drops are not computed.
    computed: Shape
    #: Shape of the result.
    target: Shape

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"layer {self.index} ({self.layer.kind})"

    @property
    def field(self) -> Field:
        """Receptive field; a fully connected layer sees the map at once."""
        if isinstance(self.layer, Convolution):
            kernel = self.layer.kernel
            return Field(rows=kernel, columns=kernel, stride=self.layer.stride, padding=self.layer.padding)
        return Field(rows=self.source[1], columns=self.source[2], stride=1, padding=0)

    @property
    def weights(self) -> npt.NDArray[np.int8]:
        """Weights as ``[out, kernel row, kernel column, in]``."""
        weights, field = self.layer.weights, self.field
        return weights.reshape(len(weights), self.source[0], field.rows, field.columns).transpose(0, 2, 3, 1)

    @property
    def turns(self) -> int:
        """Windows a side that could share a pixel, if the stage is the first."""
        return -(-self.field.columns // self.field.stride) if isinstance(self.layer, Convolution) else 1

    def map_words(self, config: EngineConfig) -> int:
        """Words of spike memory that the result takes."""
        return -(-self.target[0] // config.width) * self.target[1] * self.target[2]

    def window_length(self, config: EngineConfig) -> int:
        """Words of one packed window, if the stage is the first."""
        return -(-self.field.rows * self.field.columns * self.source[0] // config.slice_width)

    def window_words(self, config: EngineConfig) -> int:
        """Words of all packed windows, one for each position computed, if the stage is the first."""
        return self.computed[1] * self.computed[2] * self.window_length(config)


def stages_of(network: Network) -> tuple[Stage, ...]:
    """Join every layer with the pools behind it.

    What the array does not run (:func:`gateware.mapper.limits.unsupported_layers`) has stages too, of the same sizes:
    spikes that are added and projections are left out, and pooled currents stand as an OR-pool of the same size.
    """
    stages: list[Stage] = []
    for index, (layer, source, target) in enumerate(network.shapes()):
        if isinstance(layer, OrPool):
            before = stages[-1]
            pool   = before.pool * layer.size
            channels, rows, columns = target
            stages[-1] = dataclasses.replace(before, pool=pool, target=target, last_index=index,
                                             computed=(channels, rows * pool, columns * pool))
            continue
        pool     = layer.pool if isinstance(layer, Convolution) else 1
        computed = (target[0], target[1] * pool, target[2] * pool)
        stages.append(Stage(index=index, last_index=index, layer=layer, pool=pool, source=source, computed=computed,
                            target=target))
    return tuple(stages)
