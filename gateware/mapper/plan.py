"""The mapper's result: a network laid out for one circuit."""

import dataclasses
import itertools

from arch.network import Network
from gateware.engine.configuration import EngineConfig
from gateware.engine.contents import MemoryContents
from gateware.mapper.stages import Stage, seen_positions

__all__ = ["PlacedStage", "Placement", "Plan", "stage_operations", "synaptic_operations"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where a stage's operands are, in the units of the engine."""

    #: First word of the source map, or of image buffer 0.
    source: int
    #: First word of the result; 0 for the readout, which writes none.
    target: int
    #: Rows of a kernel; 1 if the whole receptive field is contiguous.
    kernel: int
    #: Words of a kernel row.
    run: int
    #: Words of a row of the source map.
    row_words: int
    #: Words of a position.
    words: int
    #: Step between receptive fields, in positions.
    stride: int
    #: Padding that is read as zero words.
    padding: int
    #: Groups of output channels.
    groups: int
    #: First weight row.
    row: int

    @property
    def sum_words(self) -> int:
        """Words of one sum."""
        return self.kernel * self.run

    @property
    def weight_rows(self) -> int:
        """Weight rows of the stage."""
        return self.groups * self.sum_words

    @property
    def padded_row_words(self) -> int:
        """Largest coordinate within a row of the source map, in words; a row ends in the padding."""
        return self.row_words + self.padding * self.words


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PlacedStage(Stage):
    """A stage whose operands have their places."""

    #: Where they are.
    placement: Placement


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """A network laid out for one circuit."""

    network: Network
    config: EngineConfig
    stages: tuple[PlacedStage, ...]
    contents: MemoryContents

    @property
    def weight_rows(self) -> int:
        """Weight rows in use."""
        return sum(stage.placement.weight_rows for stage in self.stages)

    @property
    def maps_are_apart(self) -> bool:
        """Whether every map has a place of its own, so that all can be read after an inference."""
        places = sorted((stage.placement.target, stage.placement.target + stage.map_words(self.config))
                        for stage in self.stages[:-1])
        return all(before[1] <= after[0] for before, after in itertools.pairwise(places))

    @property
    def spike_words(self) -> int:
        """Highest spike memory word in use, plus one."""
        return max([self.config.spike_words // 2 + self.stages[0].window_words(self.config),
                    *(stage.placement.target + stage.map_words(self.config) for stage in self.stages[:-1])])


def synaptic_operations(plan: Plan, number: int) -> int:
    """Synapses x timesteps of a stage of a plan, as :func:`stage_operations`."""
    return stage_operations(plan.stages[number], plan.network.timesteps)


def stage_operations(stage: Stage, timesteps: int) -> int:
    """Synapses x timesteps of a stage, padding excluded. A pixel synapse counts once per timestep of the network."""
    field = stage.field
    channels, height, width = stage.source
    _, out_rows, out_columns = stage.computed
    rows    = seen_positions(height, kernel=field.rows, stride=field.stride, padding=field.padding, places=out_rows)
    columns = seen_positions(width, kernel=field.columns, stride=field.stride, padding=field.padding,
                             places=out_columns)
    return rows * columns * channels * stage.target[0] * timesteps
