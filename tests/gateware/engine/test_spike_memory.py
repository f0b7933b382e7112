# amaranth: UnusedElaboratable=no
import random

import pytest

from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.engine.spike_memory import MemoryKind, SpikeMemory
from tests import streams

CONFIGS = {
    "smallest": EngineConfig(lanes=1, width=2, timesteps=1, pixels=False, spike_words=2),
    "W4-T4": EngineConfig(lanes=2, width=4, timesteps=4, spike_words=16),
    "W16-T4": EngineConfig(spike_words=32),
    "W8-T3": EngineConfig(lanes=2, width=8, timesteps=3, pixels=False, spike_words=11),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_is_a_memory_with_masked_lanes(name):
    config = CONFIGS[name]
    dut = SpikeMemory(config)
    rng = random.Random(9)
    full = (1 << config.width) - 1

    def random_word():
        return [rng.getrandbits(config.timesteps) for _ in range(config.width)]

    async def testbench(ctx):
        words = [[0] * config.width for _ in range(config.spike_words)]
        held = None
        for step in range(config.spike_words + 300):
            filling = step < config.spike_words
            address = step if filling else rng.randrange(config.spike_words)
            enable = filling or rng.random() < 0.8
            write = filling or rng.random() < 0.4
            mask = full if filling else rng.choice((0, full, rng.getrandbits(config.width)))
            data = random_word()
            ctx.set(dut.address, address)
            ctx.set(dut.enable, enable)
            ctx.set(dut.write, write)
            ctx.set(dut.mask, mask)
            ctx.set(dut.write_data, data)
            await ctx.tick()
            if enable and write:
                held = None
                for lane in range(config.width):
                    if mask >> lane & 1:
                        words[address][lane] = data[lane]
            elif enable:
                held = list(words[address])
            if held is not None:
                assert list(ctx.get(dut.read_data)) == held, f"step {step}"

    streams.run(dut, testbench)


@pytest.mark.parametrize(("options", "message"), [
    ({"timesteps": 2, "width": 8}, r"^timesteps must be a multiple of 4 for SPRAM, not 2$"),
    ({"spike_words": 16385}, r"^spike words must be at most 16384 for SPRAM, not 16385$"),
])
def test_spram_refuses_what_it_cannot_be(options, message):
    config = EngineConfig(**options)
    with pytest.raises(ConfigError, match=message):
        SpikeMemory(config, kind=MemoryKind.SPRAM)
