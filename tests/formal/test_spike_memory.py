"""The spike memory as the tools infer it: any one lane of any one word is followed through all writes and reads."""

import pytest
from amaranth import *

from gateware.engine.configuration import EngineConfig
from gateware.engine.spike_memory import SpikeMemory
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

CONFIG = EngineConfig(lanes=2, width=4, timesteps=2, pixels=False, spike_words=4)


def bench(block):
    bench, config = Bench(), CONFIG
    m = bench.m
    spikes = block(config)
    inside = Inside(spikes, memories=("words",))
    bench.add("spikes", spikes)

    address, lane = bench.constant(config.address_width, "followed"), bench.constant(range(config.width), "lane")
    here = spikes.enable & (spikes.address == address)
    kept, known = Signal(config.timesteps), Signal()
    with m.If(here & spikes.write & spikes.mask.bit_select(lane, 1)):
        m.d.sync += [kept.eq(Value.cast(spikes.write_data).word_select(lane, config.timesteps)), known.eq(1)]
    # It was read, and nothing was done since.
    shown, old = Signal(), Signal()
    with m.If(spikes.enable):
        m.d.sync += shown.eq(here & ~spikes.write & known)
    m.d.sync += old.eq(shown & ~spikes.enable)

    port = inside.memories["words"]
    m.d.comb += port.addr.eq(address)
    data = Value.cast(spikes.read_data).word_select(lane, config.timesteps)
    bench.claim("spike-memory", ~shown | (data == kept))
    bench.situation("spike-memory", shown & old & (kept == 2) & (lane == 1))
    bench.lemma(~known | (port.data.word_select(lane, config.timesteps) == kept))
    bench.lemma(~shown | known)
    return bench


PROOFS = [Proof(
    block=SpikeMemory, parameters="4 words, W = 4, T = 2, as the tools infer it", bench=bench, clocks=1,
    claims={
        "spike-memory": Claim(
            says="What is read of a lane of a word is what was written there last, whatever other lanes and words were "
                 "written since, and stays until the next access.",
            situation="a lane is shown for a second clock",
            fault=Fault("self.mask & (self.enable & self.write).replicate(config.width)",
                        "(self.enable & self.write).replicate(config.width)"),
            faulty="a write takes all lanes"),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_spike_memory(proof, tmp_path):
    check(proof, tmp_path)
