import random

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from arch.images import image_bytes
from gateware.engine.window_writer import WindowWriter
from tests.random_networks import SMALL, with_kernel
from tests.rtl.benches.clocking import settle, start
from tests.twins.blocks import window_words

PLAN, _ = with_kernel(SMALL, 3, 2, 10)


def block():
    return WindowWriter(SMALL, init=PLAN.contents.pixels)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(rate=[1.0, 0.5])
async def windows_are_the_twins(dut, rate):
    await start(dut, begin=0, proceed=0, buffer=1, i_pixels__payload=0, i_pixels__valid=0, grant=0)
    rng = random.Random(10)
    image = np.random.default_rng(10).integers(0, 256, PLAN.network.input.shape, dtype=np.uint8)
    values = list(image_bytes(PLAN.network, image))
    words = {}
    begun, quiet, memory_ready = False, 0, False
    while quiet < 3:
        memory_ready = dut.ready.value == 1
        granted = not memory_ready or rng.random() < rate
        dut.grant.value = int(granted)
        dut.begin.value = int(memory_ready and not begun)
        offered = begun and bool(values)
        dut.i_pixels__valid.value = int(offered)
        dut.i_pixels__payload.value = values[0] if offered else 0
        await settle()
        if granted and dut.write.value == 1:
            mask, data = dut.mask.value.to_unsigned(), dut.write_data.value.to_unsigned()
            word = words.setdefault(dut.address.value.to_unsigned(), [None] * SMALL.width)
            for lane in range(SMALL.width):
                if mask >> lane & 1:
                    word[lane] = data >> SMALL.timesteps * lane & (1 << SMALL.timesteps) - 1
        if offered and dut.i_pixels__ready.value == 1:
            values.pop(0)
        quiet = quiet + 1 if begun and not values and not offered and dut.finished.value == 1 else 0
        begun = begun or memory_ready
        await FallingEdge(dut.clk)
    assert len(words) == SMALL.spike_words, "the fill"
    for address, word in window_words(PLAN, image, 1).items():
        assert words[address] == word, f"word {address}"
