# amaranth: UnusedElaboratable=no
import random

import pytest
from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from gateware.engine.configuration import EngineConfig
from gateware.engine.spike_memory import SpikeMemory
from tests import streams

CONFIGS = {
    "smallest": EngineConfig(lanes=1, width=2, timesteps=1, pixels=False, spike_words=2),
    "W4-T4": EngineConfig(lanes=2, width=4, timesteps=4, spike_words=16),
    "W16-T4": EngineConfig(spike_words=32),
    "W8-T3": EngineConfig(lanes=2, width=8, timesteps=3, pixels=False, spike_words=8),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_is_a_memory_with_masked_lanes(name):
    run_as_memory(SpikeMemory(CONFIGS[name]))


def run_as_memory(dut):
    config = dut.config
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


class Model(wiring.Component):
    """A large memory as families of FPGAs bring it, of Amaranth's memory."""

    def __init__(self, *, width, depth, grain):
        self.size = width, depth, grain
        super().__init__({"address": In(ceil_log2(depth)), "enable": In(1), "write": In(1), "mask": In(width // grain),
                          "write_data": In(width), "read_data": Out(width)})

    def elaborate(self, platform):
        m = Module()
        width, depth, grain = self.size
        m.submodules.words = words = memory.Memory(shape=width, depth=depth, init=[])
        write, read = words.write_port(granularity=grain), words.read_port()
        m.d.comb += [write.addr.eq(self.address), write.data.eq(self.write_data), read.addr.eq(self.address),
                     write.en.eq(Mux(self.enable & self.write, self.mask, 0)), read.en.eq(self.enable & ~self.write),
                     self.read_data.eq(read.data)]
        return m


def test_large_memory_of_a_family_is_asked_for_whole_words():
    sizes = []

    def large_ram(**size):
        sizes.append(size)
        return Model(**size)

    run_as_memory(SpikeMemory(CONFIGS["W4-T4"], large_ram=large_ram))
    assert sizes == [{"width": 16, "depth": 16, "grain": 4}]
