"""A network as the streamed circuit runs it: passes, each one run of the sequencer's loops.

A pass reads its source maps by *walks*: addresses that are linear in the loops. Most layers are one pass. A layer whose
filter does not fit the ring of weight rows, and whose map has more sums than the memory of partial sums holds, is cut
into tiles, each a pass of its own with the same weights.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from arch.network import Neurons, Shape

__all__ = ["IMAGE", "MapShape", "Pass", "Tile", "Walk", "runs_of_sum"]

#: Stands for the image where the index of a layer is expected.
IMAGE = -1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MapShape:
    """A map of spikes, or the image, in words of the spike memory: one plane of positions per time block or slice."""

    #: Index of the layer that writes it; :data:`IMAGE` for the image.
    layer: int
    #: Channels, rows, columns.
    shape: Shape
    #: Words of a position.
    words: int
    #: Planes: blocks of timesteps of spikes, slices of bits of pixels.
    planes: int

    @property
    def plane_words(self) -> int:
        """Words of a plane."""
        return self.shape[1] * self.shape[2] * self.words

    @property
    def total_words(self) -> int:
        """Words of the map."""
        return self.planes * self.plane_words


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """How a pass reads one of its source maps, as :class:`gateware.mapper.layer_program.LayerSource` but unplaced."""

    #: The map.
    source: MapShape
    #: Plane that is read first.
    plane: int = 0
    #: Rows of the kernel in a part of the filter, and words of such a row.
    kernel: int = 1
    run: int
    #: Words of a position, and of a row of the map, or of what stands for one.
    words: int
    row_words: int
    #: Step between receptive fields, and positions around the map, on each side.
    stride: int = 1
    padding: int = 0
    #: From one part of the filter to the next: rows of the map and words.
    part_rows: int = 0
    part_words: int = 0
    #: Whether each time block has a plane of its own.
    blocks: bool = True
    #: From one group of output channels to the next, in slots of a word.
    group_slots: int = 0

    @property
    def sum_words(self) -> int:
        """Words of one sum in a part."""
        return self.kernel * self.run


def runs_of_sum(first: Walk, second: Walk | None, *, pixels: bool) -> tuple[int, ...]:
    """Words of a sum in a part that are cut into segments together: of both walks, unless the second counts more."""
    if second is None:
        return (first.sum_words,)
    return (first.sum_words, second.sum_words) if pixels else (first.sum_words + second.sum_words,)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A rectangle of the (pooled) result whose positions are adjacent in memory: whole rows, or a piece of one."""

    row: int
    column: int
    rows: int
    columns: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pass:
    """One run of the sequencer's loops: a layer with weights and the pool behind it, or a tile of it."""

    #: Index of the layer with the weights, and of the layer whose map is written.
    layer: int
    last_layer: int
    #: Its kind.
    kind: str
    #: Its neurons; None for a readout.
    neurons: Neurons | None
    #: The first walk, and words of a row and rows of its map, beyond which is padding.
    first: Walk
    source_size: tuple[int, int]
    #: The second walk: a second map, or the high slice of the pixels. None: there is none.
    second: Walk | None = None
    #: The second walk goes through the weight rows of the first.
    reuse: bool = False
    #: The sources are slices of pixels.
    pixels: bool = False
    #: What is computed of the result.
    tile: Tile
    #: Side of the pooling window, and whether the neurons see the sum over it; else their spikes are ORed.
    pool: int = 1
    summed: bool = False
    #: Blocks of timesteps; those of a readout are one sum.
    blocks: int = 1
    #: Parts of the filter.
    parts: int = 1
    #: Words of a segment, at most.
    segment: int
    #: Output channels.
    channels: int
    #: Result; None for a readout.
    target: MapShape | None
    #: Weights of all groups, rows in the order in which they are read first: ``int8[groups, rows, lanes, width]``.
    weights: npt.NDArray[np.int8]

    @property
    def groups(self) -> int:
        """Groups of output channels."""
        return self.weights.shape[0]

    @property
    def group_rows(self) -> int:
        """Weight rows of a group."""
        return self.weights.shape[1]

    @property
    def part_rows(self) -> int:
        """Weight rows of a part of a group."""
        return self.group_rows // self.parts

    @property
    def part_words(self) -> int:
        """Words of a sum in a part."""
        return self.first.sum_words + (self.second.sum_words if self.second else 0)

    @property
    def sum_runs(self) -> tuple[int, ...]:
        """Those of :func:`runs_of_sum`."""
        return runs_of_sum(self.first, self.second, pixels=self.pixels)

    @property
    def part_sums(self) -> int:
        """Sums in a part of a group: positions before an OR-pool, in all time blocks."""
        blocks = 1 if self.neurons is None else self.blocks
        return self.tile.rows * self.tile.columns * blocks * (1 if self.summed else self.pool**2)

    @property
    def row_uses(self) -> int:
        """Times that each weight row is read, by each walk that reads it."""
        return self.tile.rows * self.tile.columns * self.blocks * self.pool**2

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"layer {self.layer} ({self.kind})"

    def walks(self) -> Iterator[Walk]:
        """Iterate over the walks of the pass."""
        yield self.first
        if self.second is not None:
            yield self.second
