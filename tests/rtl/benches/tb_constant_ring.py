import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.weight_ring import ConstantRing
from tests.circuits import streamed_circuit
from tests.rtl.benches.clocking import start, stream_through
from tests.twins.blocks import constant_words

CONFIG = streamed_circuit(lanes=4, width=8, timesteps=4, membrane_width=20)


def block():
    return ConstantRing(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def constants_are_read_as_they_were_written(dut):
    await start(dut, group=0, lane=0, write=0, write_group=0, write_lane=0, write_mask=0, write_data=0)
    rng = random.Random(4)
    words = {(group, lane): constant_words(CONFIG, *(rng.getrandbits(20) for _ in range(3)))
             for group in range(CONFIG.channel_groups) for lane in range(CONFIG.lanes)}
    dut.write.value = 1
    for (group, lane), word in words.items():
        dut.write_group.value, dut.write_lane.value = group, lane
        for place, byte in enumerate(word.to_bytes(8, "little")):
            dut.write_mask.value, dut.write_data.value = 1 << place, byte
            await FallingEdge(dut.clk)
    dut.write.value = 0
    neurons = [rng.choice([*words]) for _ in range(60)]

    def drive(neuron):
        dut.group.value, dut.lane.value = neuron

    out = await stream_through(dut, neurons, 1, drive, lambda: dut.constants.value.to_unsigned())
    assert out == [words[neuron] for neuron in neurons]
