"""The memories of a circuit, and the block RAMs that they take."""

import dataclasses
from collections.abc import Iterator

from arch.link import INFO_BYTES
from boards.families.family import Family
from gateware.engine.accelerator import PIXEL_FIFO_DEPTH
from gateware.engine.configuration import EngineConfig
from gateware.engine.program import PIXEL_ENTRIES, layer_entries, pixel_width, program_width

__all__ = ["MemorySize", "block_ram_memories", "count_block_rams"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemorySize:
    """One memory, as the tools see it."""

    #: What it holds.
    name: str
    #: Bits of a row, and rows.
    width: int
    depth: int


def block_ram_memories(config: EngineConfig, family: Family) -> Iterator[MemorySize]:
    """Iterate over the memories of a circuit that are made of block RAM on an FPGA of ``family``."""
    for lane in range(config.lanes):
        yield MemorySize(name=f"weights of lane {lane}", width=2 * config.width, depth=config.weight_rows)
    yield MemorySize(name="constants", width=3 * config.membrane_width, depth=config.constant_rows)
    yield MemorySize(name="program", width=program_width(config), depth=config.layers * layer_entries(config))
    yield MemorySize(name="pixel table", width=pixel_width(config), depth=PIXEL_ENTRIES)
    yield MemorySize(name="scores", width=config.score_width, depth=config.classes)
    yield MemorySize(name="pixel FIFO", width=8, depth=PIXEL_FIFO_DEPTH)
    # As many rows again behind the info block: the first of them hold the tags of frames.
    yield MemorySize(name="information", width=8, depth=2 * INFO_BYTES)
    if family.large_ram is None:
        yield MemorySize(name="spikes", width=config.width * config.timesteps, depth=config.spike_words)


def count_block_rams(config: EngineConfig, family: Family) -> int:
    """Count the block RAMs that the memories of a circuit take on an FPGA of ``family``."""
    return sum(family.block_rams(memory.width, memory.depth) for memory in block_ram_memories(config, family))
