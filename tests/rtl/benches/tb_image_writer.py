import random

import cocotb
from cocotb.triggers import FallingEdge

from gateware.engine.image_writer import ImageWriter
from tests.circuits import streamed_circuit
from tests.rtl.benches.clocking import settle, start
from tests.twins.streamed_blocks import image_writes

CONFIG = streamed_circuit(lanes=4, width=8, timesteps=4, spike_words=256)


def block():
    return ImageWriter(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(channels=[1, 3, 8, 11], slices=[1, 2])
async def images_like_the_twin(dut, channels, slices):
    rng = random.Random(channels)
    words = 6 * -(-channels // 8)
    await start(dut, begin=0, buffer=1, channels=channels - 1, slices=slices - 1, plane_words=words, grant=0,
                i_pixels__valid=0, i_pixels__payload=0)
    dut.begin.value = 1
    await FallingEdge(dut.clk)
    dut.begin.value = 0
    image = [rng.getrandbits(8) for _ in range(6 * channels)]
    written = {}
    for byte in image:
        dut.i_pixels__valid.value, dut.i_pixels__payload.value = 1, byte
        taken = False
        while not taken:
            dut.grant.value = rng.getrandbits(1)
            await settle()
            if dut.write.value == 1 and dut.grant.value == 1:
                lane = dut.mask.value.to_unsigned().bit_length() - 1
                assert dut.mask.value.to_unsigned() == 1 << lane
                place = dut.address.value.to_unsigned(), lane
                assert place not in written
                written[place] = dut.write_data.value.to_unsigned() >> 4 * lane & 15
            taken = dut.i_pixels__ready.value == 1
            await FallingEdge(dut.clk)
        dut.i_pixels__valid.value = 0
        await FallingEdge(dut.clk)
    assert written == image_writes(CONFIG, channels=channels, slices=slices, plane_words=words, base=128, image=image)
