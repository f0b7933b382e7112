import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.configuration import EngineConfig
from gateware.engine.pif import PifUnit
from gateware.engine.program import LayerEntry, layer_layouts
from gateware.engine.spike_collector import SpikeCollector
from tests.rtl.benches.clocking import start
from tests.twins.blocks import Write, writes

CONFIG = EngineConfig(lanes=2, width=8, timesteps=4, spike_words=64)


def block():
    return SpikeCollector(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(groups=[1, 4, 5], windows=[1, 4])
async def writes_are_the_twins(dut, groups, windows):
    await start(dut, start=0, target=0, target_valid=0, load=0, ending=0, spikes=0, score_mode=0)
    rng = random.Random(8)
    sums = 3 * windows
    spikes = [[rng.getrandbits(4) & rng.getrandbits(4) for _ in range(2)] for _ in range(sums * groups)]
    dut.target.value = layer_layouts(CONFIG)[LayerEntry.TARGET].const(
        {"address": 5 * CONFIG.slots - 1, "advance": -(-groups // CONFIG.slots) * CONFIG.slots}).as_value().value
    dut.target_valid.value = 1
    await FallingEdge(dut.clk)
    dut.target_valid.value = 0
    clock, loads, results = 0, {}, {}
    for number in range(len(spikes)):
        clock += CONFIG.cooldown_cycles + rng.randrange(3)
        loads[clock] = ((number % windows == 0) | (number % windows == windows - 1) << 1
                        | (number % sums == sums - 1) << 2)
        for lane in range(2):
            results[clock + 1 + lane + PifUnit.latency_of(CONFIG)] = spikes[number][lane]
    written = []
    for now in range(clock + SpikeCollector.latency_of(CONFIG) + 3):
        if dut.write.value == 1:
            mask, data = dut.mask.value.to_unsigned(), dut.write_data.value.to_unsigned()
            written.append(Write(address=dut.address.value.to_unsigned(), mask=mask,
                                 spikes=tuple(data >> 4 * lane & 15 for lane in range(8) if mask >> lane & 1)))
        dut.load.value = int(now in loads)
        dut.ending.value = loads.get(now, 0)
        dut.spikes.value = results.get(now, 15)
        await FallingEdge(dut.clk)
    assert written == list(writes(CONFIG, address=5, groups=groups, windows=windows, spikes=spikes))
