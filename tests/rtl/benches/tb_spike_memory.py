import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.configuration import EngineConfig
from gateware.engine.spike_memory import SpikeMemory
from tests.rtl.benches.clocking import start

CONFIG = EngineConfig(lanes=2, width=4, timesteps=4, spike_words=16)


def block():
    return SpikeMemory(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def is_a_memory_with_masked_lanes(dut):
    await start(dut, address=0, enable=0, write=0, mask=0, write_data=0)
    rng = random.Random(4)
    words, held = [0] * 16, None
    for step in range(300):
        address, enable, write = rng.randrange(16), rng.random() < 0.8, rng.random() < 0.5
        mask, data = rng.getrandbits(4), rng.getrandbits(16)
        if step < 16:
            address, enable, write, mask = step, 1, 1, 15
        dut.address.value, dut.enable.value, dut.write.value = address, int(enable), int(write)
        dut.mask.value, dut.write_data.value = mask, data
        await FallingEdge(dut.clk)
        if enable and write:
            held = None
            lanes = sum(15 << 4 * lane for lane in range(4) if mask >> lane & 1)
            words[address] = words[address] & ~lanes | data & lanes
        elif enable:
            held = words[address]
        if held is not None:
            assert dut.read_data.value.to_unsigned() == held, f"step {step}"
