"""Where maps, weight rows and constants lie."""

import dataclasses
from collections.abc import Sequence

from arch.network import Convolution
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.mapper.plan import PlacedStage, Placement
from gateware.mapper.stages import Stage

__all__ = ["place"]


def place(config: EngineConfig, stages: Sequence[Stage]) -> tuple[PlacedStage, ...]:
    """Give the operands of all stages their places; raises :exc:`ConfigError` when the spike memory runs out.

    Weight rows and constants of one stage follow those of the stage before.
    """
    maps = _place_maps(config, stages)
    placed: list[PlacedStage] = []
    row = group = 0
    for number, stage in enumerate(stages):
        placement = _placement(
            config, stage, first=number == 0, source=0 if number == 0 else maps[number - 1],
            target=maps[number] if number < len(maps) else 0, row=row, group=group)
        values = {field.name: getattr(stage, field.name) for field in dataclasses.fields(stage)}
        placed.append(PlacedStage(**values, placement=placement))
        row   += placement.weight_rows
        group += placement.groups
    return tuple(placed)


def _placement(config: EngineConfig, stage: Stage, *, first: bool, source: int, target: int, row: int,
               group: int) -> Placement:
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
                     stride=stride, padding=padding, groups=-(-stage.target[0] // config.lanes), row=row, group=group)


def _place_maps(config: EngineConfig, stages: Sequence[Stage]) -> list[int]:
    """First words of the results of all stages but the readout."""
    half = config.spike_words // 2
    buffer_words = stages[0].window_words(config)
    if buffer_words > half:
        raise ConfigError(f"{stages[0].name}: words of packed windows must be at most {half}, not {buffer_words}: "
                          f"use a smaller image, a larger stride or a smaller kernel")

    # Every map in a place of its own if they fit (then a simulation can read all of them back), else the maps take
    # turns at both ends of what the image buffers leave.
    sizes  = [stage.map_words(config) for stage in stages[:-1]]
    places = _place_apart(sizes, [(buffer_words, half), (half + buffer_words, config.spike_words)])
    if places is not None:
        return places
    low, high = half + buffer_words, config.spike_words
    places = [low if number % 2 == 0 else high - size for number, size in enumerate(sizes)]
    for number, (first, size) in enumerate(zip(places, sizes, strict=True)):
        fits = low <= first and first + size <= high
        if number and fits:
            before = (places[number - 1], places[number - 1] + sizes[number - 1])
            fits = first >= before[1] or first + size <= before[0]
        if not fits:
            raise ConfigError(f"{stages[number].name}: its spikes take {size} words of spike memory and those of "
                              f"the layer before must stay: {high - low} words are not enough")
    return places


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
