import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.configuration import EngineConfig
from gateware.engine.readout import Readout
from tests.rtl.benches.clocking import start
from tests.twins.blocks import result_words

CONFIG = EngineConfig(lanes=4, width=8, accumulator_width=6, classes=12)


def block():
    return Readout(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stall=[0, 3])
async def results_are_the_twins(dut, stall):
    await start(dut, clear=0, score=0, score_valid=0, classes=0, cycles=77, stalls=5, send=0, o_words__ready=0)
    rng = random.Random(7)
    for number in range(10):
        scores = [rng.randrange(-4, 4) if number % 2 else rng.randrange(-256, 256) for _ in range(rng.randrange(2, 13))]
        dut.classes.value = len(scores)
        dut.clear.value = 1
        await FallingEdge(dut.clk)
        dut.clear.value = 0
        for score in scores + [255] * (-len(scores) % 4):
            dut.score.value, dut.score_valid.value = score, 1
            await FallingEdge(dut.clk)
        dut.score_valid.value = 0
        for _ in range(3):
            await FallingEdge(dut.clk)
        dut.send.value = 1
        await FallingEdge(dut.clk)
        dut.send.value = 0
        words, last = [], 0
        while not last:
            for _ in range(stall):
                await FallingEdge(dut.clk)
            dut.o_words__ready.value = 1
            while dut.o_words__valid.value == 0:
                await FallingEdge(dut.clk)
            payload = dut.o_words__payload.value.to_unsigned()
            words.append(payload & 0xFFFFFFFF)
            last = payload >> 32 & 1
            await FallingEdge(dut.clk)
            dut.o_words__ready.value = 0
        assert words == result_words(scores, 77, 5)
