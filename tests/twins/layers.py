"""Twins of the layer program: what a program means, and what the words of a layer are.

:func:`walk` reads the entries as the sequencer does and knows nothing of maps; :func:`layer_words` starts from the maps
and knows nothing of entries. Both give the same words, in the same order.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from amaranth.hdl import Const
from amaranth.lib import data

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import ending_layout
from gateware.engine.pif import Current
from gateware.engine.program import SECOND, LayerEntry, layer_layouts
from gateware.mapper.layer_program import LayerLoops, LayerSource

__all__ = ["LayerWord", "decode_entry", "layer_words", "walk", "walk_layers"]

_LOOPS = ("group", "part", "row", "column", "block", "down", "across")
_STEPS = {"kernel": LayerEntry.KERNEL, "across": LayerEntry.ACROSS, "down": LayerEntry.DOWN, "block": LayerEntry.BLOCK,
          "column": LayerEntry.COLUMN, "row": LayerEntry.ROW, "part": LayerEntry.PART, "group": LayerEntry.GROUP}


class LayerWord(NamedTuple):
    """One word that the sequencer asks for."""

    #: Word of the spike memory; meaningless for padding.
    address: int
    #: Row of the weight memory.
    row: int
    #: Padding, and whether it reads as 1 in the last timestep.
    zero: bool
    marked: bool
    #: Begins a segment, ends it.
    first: bool
    last: bool
    #: Flags of the segment's end by name; None where there is none. Those of windows and groups mean something only in
    #: segments that close a sum.
    ending: dict[str, bool] | None
    #: First use of the weight row, which must be there, and last one, which frees it.
    first_use: bool
    last_use: bool


def decode_entry(config: EngineConfig, program: Sequence[int], entry: LayerEntry) -> Any:
    """Read an entry of a layer's program by its layout: a constant, with fields."""
    layout = layer_layouts(config)[entry]
    assert isinstance(layout, data.StructLayout)
    return layout.from_bits(Const(program[entry], layout.size).value)


def walk_layers(config: EngineConfig, programs: Sequence[Sequence[int]], buffer: int, row: int = 0
                ) -> Iterator[tuple[int, LayerWord]]:
    """Walk through layers, whose rows follow each other in a ring from ``row`` on; numbers of layers, and words."""
    for number, program in enumerate(programs):
        for word, following in walk(config, program, buffer, row):
            yield number, word
            row = following


def walk(config: EngineConfig, program: Sequence[int], buffer: int, row: int = 0) -> Iterator[tuple[LayerWord, int]]:
    """Walk through a layer; its words, and for each the row that follows it.

    Parameters
    ----------
    config : :class:`EngineConfig`
    program : entries of the layer
    buffer : image buffer
    row : of a ring, at which the layer begins; of no meaning if the rows are not streamed
    """
    layouts = layer_layouts(config)
    sizes   = {name: field.width for name, field in layouts[LayerEntry.START]}
    loops, size, source, mode = (decode_entry(config, program, entry) for entry in (
        LayerEntry.LOOPS, LayerEntry.SIZES, LayerEntry.SOURCE, LayerEntry.MODE))
    source_words, source_height, sizes_segment, planes = (
        source.words, source.height, size.segment + 2 if config.streamed else 1 << 30,
        mode.neurons.current == Current.PLANES)
    names    = [name for name, _ in ending_layout(config)]
    streamed = config.streamed
    second, reuse, summed, padded = (streamed and bool(getattr(mode, name))
                                     for name in ("second", "reuse", "summed", "padded"))
    turns = {"group": 1 - loops.groups, "part": loops.part + 1 if streamed else 1, "row": size.rows + 1,
             "column": size.columns + 1, "block": loops.block + 1 if config.blocks > 1 else 1, "down": loops.down + 1,
             "across": loops.across + 1}
    kernels = [loops.kernel + 1] + ([loops.second + 1] if second else [])

    @functools.cache
    def step(number: int) -> dict[str, int]:
        value = decode_entry(config, program, LayerEntry(number))
        return {name: getattr(value, name) for name in sizes}

    def add(pointer: dict[str, int], change: dict[str, int]) -> None:
        for name in pointer:
            pointer[name] = (pointer[name] + change[name]) % (1 << sizes[name])

    flip = (buffer & mode.input) * config.spike_words // 2
    pointer = dict.fromkeys(sizes, 0) | {"row": row if streamed else 0, "run": -1}
    add(pointer, step(LayerEntry.START))
    other = step(LayerEntry.SECOND_START)["address"] if second else 0
    left, opening = 0, True
    for state in itertools.product(*(range(turns[name]) for name in _LOOPS)):
        at    = dict(zip(_LOOPS, state, strict=True))
        ended = {name: at[name] == turns[name] - 1 for name in _LOOPS}
        goes_on = next((name for name in reversed(_LOOPS) if not ended[name]), "group")
        begins = all(at[name] == 0 for name in ("row", "column", "block", "down", "across"))
        stops  = all(ended[name] for name in ("row", "column", "block", "down", "across"))
        window_first, window_last = at["down"] == at["across"] == 0, ended["down"] and ended["across"]
        for number, kernel in enumerate(kernels):
            last_source = number == len(kernels) - 1
            for turn in range(kernel):
                while True:
                    row_ends = pointer["run"] >> sizes["run"] - 1 == 1
                    source_ends = row_ends and turn == kernel - 1
                    if left == 0:
                        left, first = sizes_segment, True
                    left -= 1
                    last = (source_ends and (last_source or planes)) or left == 0
                    sum_end = source_ends and last_source and (not summed or window_last)
                    flags = {
                        "opens": opening and at["part"] == 0, "closes": sum_end and ended["part"], "sum_end": sum_end,
                        "part_end": sum_end and stops, "scaled": number == 1 and planes,
                        "block_first": at["block"] == 0, "block_last": ended["block"],
                        "window_first": window_first or summed, "window_last": window_last,
                        "group_last": stops and ended["part"]}
                    word = LayerWord(
                        address=pointer["address"] // config.slots ^ flip, row=pointer["row"],
                        zero=(pointer["x"] >= source_words or pointer["y"] >= source_height) and (
                            not number or reuse),
                        marked=padded and (config.slices == 1 or number == 1), first=first, last=last,
                        ending={name: bool(flags[name]) for name in names} if last else None,
                        first_use=streamed and begins and not (number and reuse),
                        last_use=streamed and stops and (last_source or not reuse))
                    first = False
                    if last:
                        left, opening = 0, sum_end
                    if not row_ends:
                        add(pointer, step(LayerEntry.WORD))
                        yield word, pointer["row"]
                        continue
                    loop = "kernel" if not source_ends else goes_on
                    add(pointer, step(_STEPS[loop] + (SECOND if number else 0)))
                    if source_ends and second:
                        pointer["address"], other = other, pointer["address"]
                    yield word, pointer["row"]
                    break


def layer_words(config: EngineConfig, loops: LayerLoops, *, source_size: tuple[int, int], mode: dict[str, Any],
                segment: int, row: int = 0, half: int = 0) -> Iterator[LayerWord]:
    """Iterate over the words of a layer of a streamed circuit; parameters as of :func:`layer_program`.

    ``row`` is the first row of the ring, ``half`` the image buffer of a layer that reads it.
    """
    for group, part, y, x, block in itertools.product(*map(range, (
            loops.groups, loops.parts, loops.rows, loops.columns, loops.blocks))):
        windows = list(itertools.product(range(loops.down), range(loops.across)))
        first_row = row + (group * loops.parts + part) * loops.part_weight_rows
        for down, across in windows:
            last_window = (down, across) == windows[-1]
            final = (y, x, block) == (loops.rows - 1, loops.columns - 1, loops.blocks - 1) and last_window
            sources = [loops.first] + ([loops.second] if loops.second is not None else [])
            planes  = mode["neurons"]["current"] == Current.PLANES
            before  = 0  # words of the sum in the sources before, unless those are worth less
            for number, source in enumerate(sources):
                ends = number == len(sources) - 1
                words = list(_source_words(config, loops, source, group=group, part=part, y=y, x=x, block=block,
                                           down=down, across=across))
                row_of = first_row + (loops.first.sum_words if number and not loops.reuse else 0)
                for index, (address, left, top) in enumerate(words):
                    place   = before + index
                    last    = place % segment == segment - 1 or (index == len(words) - 1 and (ends or planes))
                    sum_end = index == len(words) - 1 and ends and (last_window or not mode["summed"])
                    opens   = (part == 0 and place < segment and not (planes and number)
                               and ((down, across) == windows[0] or not mode["summed"]))
                    flags = {
                        "opens": opens, "closes": sum_end and part == loops.parts - 1, "sum_end": sum_end,
                        "part_end": sum_end and final,
                        "scaled": number == 1 and planes,
                        "block_first": block == 0, "block_last": block == loops.blocks - 1,
                        "window_first": bool(mode["summed"]) or (down, across) == windows[0],
                        "window_last": last_window, "group_last": final and part == loops.parts - 1}
                    yield LayerWord(
                        address=(address // config.slots) % config.spike_words ^ (
                            config.spike_words // 2 if half and mode["input"] else 0),
                        row=(row_of + index) % config.weight_rows,
                        zero=not (0 <= left < source_size[0] and 0 <= top < source_size[1]) and (
                            not number or loops.reuse),
                        marked=bool(mode["padded"]) and (config.slices == 1 or number == 1),
                        first=place % segment == 0, last=last,
                        ending={name: flags[name] for name, _ in ending_layout(config)} if last else None,
                        first_use=(y, x, block, down, across) == (0, 0, 0, 0, 0) and not (number and loops.reuse),
                        last_use=final and (ends or not loops.reuse))
                before = 0 if planes else len(words)


def _source_words(config: EngineConfig, loops: LayerLoops, source: LayerSource, *, group: int, part: int, y: int,
                  x: int, block: int, down: int, across: int) -> Iterator[tuple[int, int, int]]:
    """Slot of each word of one source of a sum, and the coordinates that tell padding."""
    if loops.across_blocks:
        block, window_x = across, x
    else:
        window_x = x * loops.across + across
    window_x, window_y = window_x + loops.first_column, y * loops.down + down + loops.first_row
    for kernel_y in range(part * source.part_rows, part * source.part_rows + source.kernel):
        for word in range(source.run):
            line   = window_y * source.stride - source.padding + kernel_y
            column = window_x * source.stride - source.padding
            slot   = (line * source.row_words + column * source.words + part * source.part_words + word) * config.slots
            yield (source.address + slot + block * source.block_slots + group * source.group_slots,
                   (window_x * loops.first.stride - source.padding) * loops.first.words + word,
                   window_y * loops.first.stride - source.padding + kernel_y)
