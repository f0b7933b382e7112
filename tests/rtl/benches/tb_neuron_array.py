import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import NeuronArray
from tests.rtl.benches.clocking import start
from tests.twins import blocks as twins

CONFIG = EngineConfig(lanes=4, width=8, timesteps=4, accumulator_width=9)


def block():
    return NeuronArray(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(split=[0, 1])
async def sums_like_the_twin(dut, split):
    await start(dut, beat=0, word=0, weights=0, split=split)
    rng = random.Random(2)
    expected, beats = [], []
    for _ in range(8):
        length = CONFIG.cooldown_cycles + rng.randrange(4)
        words = [[[rng.getrandbits(1) for _ in range(4)] for _ in range(8)] for _ in range(length)]
        weights = [[[rng.choice((-1, 0, 1)) for _ in range(8)] for _ in range(4)] for _ in range(length)]
        expected += twins.sums(CONFIG, words, weights, bool(split))
        beats += [(words[index], weights[index], index == 0, index == length - 1) for index in range(length)]
        beats += [None] * rng.randrange(3)
    neurons, loads, ends = [], [], [clock for clock, beat in enumerate(beats) if beat and beat[3]]
    for clock in range(len(beats) + NeuronArray.latency_of(CONFIG) + CONFIG.lanes + 1):
        # What is read here was left by the rising edge before: the same clock as what is driven now.
        if loads and clock - loads[-1] <= CONFIG.lanes:
            word = dut.sums.value.to_unsigned()
            neurons.append([word >> step * 9 & 511 for step in range(4)])
        if dut.load.value == 1:
            loads.append(clock)
        beat = beats[clock] if clock < len(beats) else None
        dut.beat.value = 0
        if beat:
            word, weights, first, last = beat
            dut.beat.value = 1 | first << 1 | last << 2
            dut.word.value = sum(bit << 4 * lane + step for lane, bits in enumerate(word)
                                 for step, bit in enumerate(bits))
            dut.weights.value = sum(twins.pack_weights(row) << 16 * lane for lane, row in enumerate(weights))
        await FallingEdge(dut.clk)
    assert neurons == expected
    assert [load - end for load, end in zip(loads, ends, strict=True)] == [NeuronArray.latency_of(CONFIG)] * 8
