import types

from boards import BOARDS
from gateware.mapper.memories import block_ram_memories, count_block_rams
from sim.verilated import memory_shapes
from tests.random_networks import CIRCUITS, system_verilog

FPGA = BOARDS["icebreaker"].fpga
NAME = "P8-W16-T4"


def test_every_memory_of_the_circuit_is_counted():
    """At the size that it has in the Verilog; spikes go to the large memories, if there are any."""
    shapes = memory_shapes(system_verilog(NAME))
    spikes = [name for name in shapes if name.endswith("spikes.words")]
    assert len(spikes) == 1
    found = [(shape.width, shape.depth) for name, shape in shapes.items() if name not in spikes]
    counted = [(memory.width, memory.depth) for memory in block_ram_memories(CIRCUITS[NAME], FPGA)]
    assert sorted(counted) == sorted(found)
    without = types.SimpleNamespace(large_ram=None)
    added = list(block_ram_memories(CIRCUITS[NAME], without))[len(counted):]
    assert [(memory.width, memory.depth) for memory in added] == [(shapes[spikes[0]].width, shapes[spikes[0]].depth)]


def test_block_rams_are_those_of_the_family():
    one_each = types.SimpleNamespace(large_ram=FPGA.large_ram, block_rams=lambda width, depth: 1)
    # Eight lanes of weights, constants, program, table, scores, FIFO, information.
    assert count_block_rams(CIRCUITS[NAME], one_each) == 8 + 6
