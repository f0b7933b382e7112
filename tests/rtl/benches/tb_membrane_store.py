import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.membrane_store import MembraneStore
from tests.circuits import streamed_circuit
from tests.rtl.benches.clocking import start

CONFIG = streamed_circuit(lanes=4, width=8, timesteps=4, blocks=4, membrane_width=20)


def block():
    return MembraneStore(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def neurons_go_on_in_their_order(dut):
    await start(dut, clear=0, read=0, begins=0, read_last=0, write=0, write_last=0, i_stored=0)
    rng = random.Random(1)
    before = [0] * 32
    for number in range(4):
        words = [rng.getrandbits(21) for _ in before]
        dut.read.value = 1
        dut.begins.value = number == 0
        for neuron, kept in enumerate(before):
            dut.read_last.value = neuron == len(before) - 1
            await FallingEdge(dut.clk)
            assert dut.stored.value.to_unsigned() == kept
        dut.read.value = 0
        dut.write.value = 1
        for neuron, word in enumerate(words):
            dut.write_last.value = neuron == len(words) - 1
            dut.i_stored.value = word
            await FallingEdge(dut.clk)
        dut.write.value = 0
        before = words
