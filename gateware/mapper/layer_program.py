"""The program of one layer: from its loops and sources to the entries that the sequencer reads.

A step is the difference of the pointers between the last word before a loop goes on and the first word after. All
pointers are linear in the turns of the loops, so each loop has one step, wherever the others are.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from gateware.engine.configuration import EngineConfig
from gateware.engine.program import SECOND, LayerEntry, countdown, layer_entries, layer_layouts
from gateware.mapper.packing import pack_entries

__all__ = ["LayerLoops", "LayerSource", "LayerTarget", "layer_program"]


class _State(NamedTuple):
    """Turns of all loops, outermost first."""

    group: int = 0
    part: int = 0
    row: int = 0
    column: int = 0
    block: int = 0
    down: int = 0
    across: int = 0
    kernel: int = 0
    word: int = 0


#: The loop that each step is named for.
_STEPS = {
    LayerEntry.KERNEL: "kernel",
    LayerEntry.ACROSS: "across",
    LayerEntry.DOWN:   "down",
    LayerEntry.BLOCK:  "block",
    LayerEntry.COLUMN: "column",
    LayerEntry.ROW:    "row",
    LayerEntry.PART:   "part",
    LayerEntry.GROUP:  "group",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerSource:
    """A map that a layer reads. Positions before and behind it are padding."""

    #: First slot of the map.
    address: int
    #: Words of a position, and of a row of the map.
    words: int
    row_words: int
    #: Step between receptive fields, and positions around the map, on each side.
    stride: int = 1
    padding: int = 0
    #: Rows of the kernel in one part of the filters, and words of such a row.
    kernel: int
    run: int
    #: From one part of the filters to the next: kernel rows, and words.
    part_rows: int = 0
    part_words: int = 0
    #: Slots from one block of timesteps to the next, and from one group of channels to the next.
    block_slots: int = 0
    group_slots: int = 0

    def __post_init__(self) -> None:
        # The sequencer has a clock to read the step to the next row.
        assert self.run > 1 or self.kernel == 1, "a kernel with rows of a single word has one row"

    @property
    def sum_words(self) -> int:
        """Words of one part of a sum."""
        return self.kernel * self.run


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerTarget:
    """Where a layer writes its result, in slots."""

    #: First slot of the map.
    address: int
    #: From one position to the next.
    position_slots: int
    #: From one block of timesteps to the next.
    block_slots: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerLoops:
    """The loops of a layer, and what it reads in them.

    With a second source, each sum goes on in it. The coordinates that tell padding are those of the first source: the
    second one has its strides, except that it may have another padding; its own address follows its own strides.
    """

    #: Size of the (pooled) map.
    rows: int
    columns: int
    #: Positions before the OR-pool or the sum of a window that are not computed, above and to the left: of a tile.
    first_row: int = 0
    first_column: int = 0
    #: Size of the pooling window.
    down: int = 1
    across: int = 1
    #: Blocks of timesteps, parts of the filters, groups of output channels.
    blocks: int = 1
    parts: int = 1
    groups: int
    #: The loop across the pooling window runs through blocks of timesteps instead: a readout sums over them.
    across_blocks: bool = False
    first: LayerSource
    second: LayerSource | None = None
    #: The second source runs through the weight rows of the first again.
    reuse: bool = False
    #: First weight row; of no meaning where they are streamed.
    weight_row: int = 0

    def __post_init__(self) -> None:
        if self.second is not None:
            assert self.second is not self.first, "two sources are two objects"
            assert not self.reuse or self.second.sum_words == self.first.sum_words, "the rows are not the same"

    @property
    def part_weight_rows(self) -> int:
        """Weight rows of one part of a group of channels."""
        return self.first.sum_words + (0 if self.second is None or self.reuse else self.second.sum_words)

    @property
    def group_weight_rows(self) -> int:
        """Weight rows of a group of channels."""
        return self.parts * self.part_weight_rows

    def point(self, config: EngineConfig, source: LayerSource, state: _State) -> dict[str, int]:
        """Pointers in one state of the loops, and the turns of the innermost one as the sequencer counts them."""
        across, block = (0, state.across) if self.across_blocks else (state.across, state.block)
        y = self.first_row + state.row * self.down + state.down
        x = self.first_column + state.column * (1 if self.across_blocks else self.across) + across
        kernel = state.part * source.part_rows + state.kernel - source.padding
        field  = ((y * source.stride + kernel) * source.row_words
                  + (x * source.stride - source.padding) * source.words + state.part * source.part_words
                  + state.word)
        part   = state.group * self.parts + state.part
        row    = self.weight_row + part * self.part_weight_rows + state.kernel * source.run + state.word
        if source is self.second and not self.reuse:
            row += self.first.sum_words
        return {
            "address": source.address + field * config.slots + block * source.block_slots
                       + state.group * source.group_slots,
            "x": (x * self.first.stride - source.padding) * self.first.words + state.word,
            "y": y * self.first.stride + kernel,
            "row": row,
            "run": source.run - 2 - state.word,
        }

    def steps(self, config: EngineConfig) -> dict[int, dict[str, int]]:
        """All steps, by :class:`LayerEntry`; those of a second source only if there is one."""
        steps = {entry: self._step(config, loop, self.first, self.second) for entry, loop in _STEPS.items()}
        start = self.point(config, self.first, _State())
        # The pointers begin at zero, but the rows of a ring, and the turns of a loop with the -1 that ends it.
        steps[LayerEntry.START] = {**start, "run": self.first.run - 1, "row": 0 if config.streamed else start["row"]}
        steps[LayerEntry.WORD]  = {"address": config.slots, "x": 1, "y": 0, "row": 1, "run": -1}
        if self.second is not None:
            steps |= {LayerEntry(entry + SECOND): self._step(config, loop, self.second, self.first)
                      for entry, loop in _STEPS.items()}
            steps[LayerEntry.SECOND_START] = {"address": self.point(config, self.second, _State())["address"],
                                              "x": 0, "y": 0, "row": 0, "run": 0}
        return {entry: step for entry, step in steps.items() if LayerEntry(entry).exists(config)}

    def _step(self, config: EngineConfig, loop: str, source: LayerSource, other: LayerSource | None) -> dict[str, int]:
        """Step that ends a kernel row of ``source`` when ``loop`` goes on; ``other`` is the other source of the sum."""
        turns  = _State(self.groups, self.parts, self.rows, self.columns, self.blocks, self.down, self.across,
                        source.kernel, source.run)
        inner  = _State._fields[_State._fields.index(loop) + 1:]
        before = _State(**{name: getattr(turns, name) - 1 for name in inner})
        after  = _State(**{loop: 1})
        end, begin = self.point(config, source, before), self.point(config, source, after)
        address = begin["address"] - end["address"]
        if loop != "kernel" and other is not None:
            # The second source is at the same position, the first one at the next.
            begin = self.point(config, other, before._replace(kernel=0, word=0) if other is self.second else after)
        # A loop that ends leaves its turns at -1.
        return {**{name: begin[name] - end[name] for name in ("x", "y", "row")}, "address": address,
                "run": begin["run"] + 1}


def layer_program(config: EngineConfig, loops: LayerLoops, *, source_size: tuple[int, int], target: LayerTarget,
                  mode: Mapping[str, Any], segment: int | None = None) -> list[int]:
    """Make the entries of a layer.

    Parameters
    ----------
    config : :class:`EngineConfig`
    loops : :class:`LayerLoops`
    source_size
        Words of a row of the first source, and its rows: beyond them is padding.
    target : :class:`LayerTarget`
    mode
        The fields of :attr:`LayerEntry.MODE`, without ``second`` and ``reuse``.
    segment
        Words of a segment, at most :attr:`EngineConfig.max_segment`; only in a streamed circuit.
    """
    layouts = layer_layouts(config)
    turns   = {"kernel": loops.first.kernel, "across": loops.across, "down": loops.down}
    sizes   = {"columns": loops.columns - 1, "rows": loops.rows - 1}
    places  = {"address": (target.address - 1) % (1 << config.slot_address_width), "advance": target.position_slots}
    if config.streamed:
        assert segment is not None
        turns |= {"second": 1 if loops.second is None else loops.second.kernel, "block": loops.blocks,
                  "part": loops.parts}
        sizes["segment"] = countdown(segment)
        mode = {**mode, "second": loops.second is not None, "reuse": loops.second is not None and loops.reuse}
        # After the last block comes the first one of the next position.
        places["advance"] = (target.position_slots - (loops.blocks - 1) * target.block_slots) % (
            1 << config.slot_address_width)
        if config.blocks > 1:
            places["block"] = target.block_slots
    return pack_entries(layer_entries(config), layouts, loops.steps(config), {
        LayerEntry.LOOPS:  {**{name: count - 1 for name, count in turns.items()}, "groups": 1 - loops.groups},
        LayerEntry.SIZES:  sizes,
        LayerEntry.SOURCE: {"words": source_size[0], "height": source_size[1]},
        LayerEntry.TARGET: places,
        LayerEntry.MODE:   mode,
    })
