"""Random layers for a streamed circuit: loops, sources and modes of every kind that the sequencer walks through."""

import dataclasses
from typing import Any

import numpy as np

from gateware.engine.configuration import EngineConfig
from gateware.engine.pif import Current
from gateware.mapper.layer_program import LayerLoops, LayerSource, LayerTarget, layer_program

__all__ = ["KINDS", "STREAMED", "RandomLayer", "random_layer"]

#: Small streamed circuits by name.
STREAMED = {
    "P2-W4-T4": EngineConfig(
        streamed=True, lanes=2, width=4, timesteps=4, accumulator_width=5, membrane_width=20, weight_rows=64,
        channel_groups=8, layers=4, spike_words=1024, max_run=63, max_side=15, max_row_words=63, classes=8, blocks=4,
        max_groups=8, leak=False),
    "P1-W8-T8": EngineConfig(
        streamed=True, lanes=1, width=8, timesteps=8, accumulator_width=6, membrane_width=20, weight_rows=128,
        channel_groups=8, layers=4, spike_words=1024, max_run=63, max_side=15, max_row_words=63, classes=8,
        max_groups=8, leak=False),
    "P4-W4-T3-events": EngineConfig(
        streamed=True, lanes=4, width=4, timesteps=3, pixels=False, accumulator_width=8, membrane_width=20,
        weight_rows=64, channel_groups=8, layers=4, spike_words=1024, max_run=63, max_side=15, max_row_words=63,
        classes=8, blocks=8, max_groups=8, leak=False),
}

#: Kinds of layers.
KINDS = ("convolution", "strided", "or-pool", "average-pool", "sum", "identity", "projection", "slices", "parts",
         "blocks", "fully connected", "readout", "readout over blocks")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RandomLayer:
    """A layer and all that :func:`gateware.mapper.layer_program.layer_program` takes."""

    loops: LayerLoops
    source_size: tuple[int, int]
    target: LayerTarget
    mode: dict[str, Any]
    segment: int

    def program(self, config: EngineConfig) -> list[int]:
        """The entries of the layer."""
        return layer_program(config, self.loops, source_size=self.source_size, target=self.target, mode=self.mode,
                             segment=self.segment)


def random_layer(config: EngineConfig, rng: np.random.Generator, kind: str, *, final: bool = False) -> RandomLayer:
    """Draw a layer of a kind of :data:`KINDS` that the circuit holds."""

    def draw(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    slots  = config.slots
    blocks = draw(2, config.blocks) if config.blocks > 1 and "blocks" in kind else 1
    groups = draw(1, 3)
    words  = draw(1, 2)
    size   = config.spike_words * slots
    second, reuse, across_blocks, parts = None, False, False, 1
    pool   = (draw(1, 3), draw(1, 3)) if "pool" in kind else (1, 1)
    if kind == "fully connected" or kind.startswith("readout"):
        kernel, run = (draw(1, 3), draw(2, 7)) if draw(0, 1) else (1, draw(1, 20))
        parts = draw(1, 2) if kernel > 1 else 1
        height, row_words = kernel * parts, run
        rows = columns = 1
        if kind == "readout over blocks":
            pool, across_blocks, blocks = (1, blocks), True, 1
        first = LayerSource(address=draw(0, size - 1), words=run, row_words=row_words, kernel=kernel, run=run,
                            part_rows=kernel, block_slots=draw(0, size - 1))
    else:
        side    = draw(1, 3) if kind != "strided" else draw(2, 3)
        parts   = draw(2, 3) if kind == "parts" else 1
        stride  = draw(2, 3) if kind == "strided" else draw(1, 2)
        padding = draw(0, side - 1)
        height, width = (draw(max(1, side - 2 * padding), 5) for _ in range(2))
        height  = max(height, pool[0])
        rows    = max(1, min(3, (height + 2 * padding - side) // stride // pool[0] + 1))
        columns = max(1, min(3, (width + 2 * padding - side) // stride // pool[1] + 1))
        row_words = width * words
        # A long filter has a row of the kernel, or more, in each part.
        kernel = draw(1, 2) if kind == "parts" else side
        run    = side * words
        if run == 1 and kernel > 1:
            kernel, parts = 1, 1
        first = LayerSource(address=draw(0, size - 1), words=words, row_words=row_words, stride=stride, padding=padding,
                            kernel=kernel, run=run, part_rows=kernel, block_slots=draw(0, size - 1))
        if kind in ("sum", "slices"):
            reuse  = kind == "slices" or bool(draw(0, 1))
            second = dataclasses.replace(first, address=draw(0, size - 1))
        elif kind in ("identity", "projection"):
            other  = draw(1, words)
            second = LayerSource(address=draw(0, size - 1), words=other, row_words=draw(1, 20), stride=draw(1, 3),
                                 kernel=1, run=other, block_slots=draw(0, size - 1),
                                 group_slots=1 if kind == "identity" else 0)
    planes = config.pixels and kind == "slices"
    return RandomLayer(
        loops=LayerLoops(rows=rows, columns=columns, down=pool[0], across=pool[1], blocks=blocks, parts=parts,
                         groups=groups, across_blocks=across_blocks, first=first, second=second, reuse=reuse),
        source_size=(row_words, height),
        target=LayerTarget(address=draw(0, size - 1), position_slots=-(-groups // slots) * slots,
                           block_slots=draw(0, size - 1) if blocks > 1 else 0),
        mode={"neurons": {"current": Current.PLANES if planes else
                          Current.SCORE if final else Current.STEPS,
                          "hard": draw(0, 1), "leaky": 0, "leak": 0, "scale": 0, "timesteps": config.timesteps - 1},
              "input": draw(0, 1), "final": final, "classes": 2,
              "summed": kind == "average-pool" or across_blocks, "padded": draw(0, 1)},
        segment=draw(1, config.max_segment))
