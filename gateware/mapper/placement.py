"""Where maps, weight rows and constants lie."""

import dataclasses
from collections.abc import Iterator, Sequence

from arch.network import Convolution
from gateware.engine.configuration import EngineConfig
from gateware.mapper.plan import PlacedStage, Placement
from gateware.mapper.stages import Stage

__all__ = ["Shortage", "place", "spike_memory_shortages"]


def place(config: EngineConfig, stages: Sequence[Stage]) -> tuple[PlacedStage, ...]:
    """Give the operands of all stages their places.

    Weight rows of one stage follow those of the stage before. Where the memories are too small, the
    places mean nothing: :func:`gateware.mapper.limits.memory_findings` says so.
    """
    maps = _place_maps(config, stages)
    placed: list[PlacedStage] = []
    row = 0
    for number, stage in enumerate(stages):
        placement = _placement(
            config, stage, first=number == 0, source=0 if number == 0 else maps[number - 1],
            target=maps[number] if number < len(maps) else 0, row=row)
        values = {field.name: getattr(stage, field.name) for field in dataclasses.fields(stage)}
        placed.append(PlacedStage(**values, placement=placement))
        row += placement.weight_rows
    return tuple(placed)


def _placement(config: EngineConfig, stage: Stage, *, first: bool, source: int, target: int, row: int) -> Placement:
    """Say how a stage reads its source: the windows of the image, rows of a kernel, or the whole map."""
    kernel, stride, padding = 1, 1, 0
    words = -(-stage.source[0] // config.width)
    if first:
        # Every window is one run, and the next one follows it.
        run = words = stage.window_length(config)
        row_words = run * stage.computed[2]
    elif isinstance(stage.layer, Convolution):
        kernel, stride, padding = stage.field.rows, stage.field.stride, stage.field.padding
        run = stage.field.columns * words
        row_words = stage.source[2] * words
    else:
        run = row_words = words = stage.source[1] * stage.source[2] * words
    return Placement(source=source, target=target, kernel=kernel, run=run, row_words=row_words, words=words,
                     stride=stride, padding=padding, groups=-(-stage.target[0] // config.lanes), row=row)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shortage:
    """A map that the spike memory has no room for."""

    #: Number of the stage that writes it.
    stage: int
    #: Words of the map.
    words: int
    #: Words of it and of the map that it is made of, which must stay meanwhile.
    total: int
    #: Words that the image buffers leave.
    limit: int

    @property
    def beside(self) -> str:
        """Words for the map that must stay."""
        return f" and the {self.total - self.words} of the layer before" if self.total > self.words else ""


def spike_memory_shortages(config: EngineConfig, stages: Sequence[Stage]) -> Iterator[Shortage]:
    """Find the maps that have no place in the spike memory, given that the windows of the image have one."""
    sizes  = [stage.map_words(config) for stage in stages[:-1]]
    buffer = stages[0].window_words(config)
    half   = config.spike_words // 2
    if _place_apart(sizes, [(buffer, half), (half + buffer, config.spike_words)]) is not None:
        return
    for number, size in enumerate(sizes):
        total = size + (sizes[number - 1] if number else 0)
        if total > half - buffer:
            yield Shortage(stage=number, words=size, total=total, limit=max(0, half - buffer))


def _place_maps(config: EngineConfig, stages: Sequence[Stage]) -> list[int]:
    """First words of the results of all stages but the readout.

    Every map gets a place of its own if they fit (then a simulation can read all of them back), else the maps take
    turns at both ends of what the image buffers leave.
    """
    half   = config.spike_words // 2
    buffer = stages[0].window_words(config)
    sizes  = [stage.map_words(config) for stage in stages[:-1]]
    places = _place_apart(sizes, [(buffer, half), (half + buffer, config.spike_words)])
    if places is not None:
        return places
    return [half + buffer if number % 2 == 0 else config.spike_words - size for number, size in enumerate(sizes)]


def _place_apart(sizes: list[int], spaces: list[tuple[int, int]]) -> list[int] | None:
    """Place maps side by side in the first space that has room for each; None if they do not all fit."""
    free   = [list(space) for space in spaces]
    places = []
    for size in sizes:
        for space in free:
            if space[1] - space[0] >= size:
                places.append(space[0])
                space[0] += size
                break
        else:
            return None
    return places
