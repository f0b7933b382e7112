import random

import cocotb

from gateware.engine.configuration import EngineConfig
from gateware.engine.dot_product import DotProduct
from tests.rtl.benches.clocking import start, stream_through
from tests.twins.blocks import pack_weights, sums

CONFIG = EngineConfig(lanes=1, width=8, timesteps=4)


def block():
    return DotProduct(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(split=[0, 1])
async def counts_like_the_twin(dut, split):
    await start(dut, spikes=0, weights=0, split=split)
    rng = random.Random(1)
    words = [([rng.getrandbits(1) for _ in range(8)], [rng.choice((-1, 0, 1)) for _ in range(8)]) for _ in range(60)]

    def drive(word):
        dut.spikes.value = sum(spike << index for index, spike in enumerate(word[0]))
        dut.weights.value = pack_weights(word[1])

    totals = await stream_through(dut, words, DotProduct.latency_of(CONFIG), drive,
                                  lambda: dut.total.value.to_unsigned())
    expected = [sums(CONFIG, [[[spike] * 4 for spike in spikes]], [[weights]], bool(split))[0][0]
                for spikes, weights in words]
    assert totals == expected
