"""The partial sums of two lanes: any one neuron is followed through its segments, wherever others come between them."""

import pytest
from amaranth import *

from gateware.engine.configuration import EngineConfig
from gateware.engine.masked_ram import MaskedRam
from gateware.engine.partial_sums import PartialSums
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

CONFIG = EngineConfig(lanes=2, width=4, timesteps=1, accumulator_width=3, partial_width=4, membrane_width=8, fraction=2,
                      streamed=True, pixels=False, spike_words=64, max_run=8, max_side=8, max_row_words=8)


class WatchedRam(MaskedRam):
    """A masked memory with a further port to read, for the bench."""

    def __init__(self, *, width, depth):
        super().__init__(width=width, depth=depth)
        self.watched, self.found = Signal(range(depth)), Signal(width)

    def elaborate(self, platform):
        m = super().elaborate(platform)
        port = m.submodules.words.read_port(domain="comb")
        m.d.comb += [port.addr.eq(self.watched), self.found.eq(port.data)]
        return m


def bench(block):
    bench, config = Bench(), CONFIG
    m = bench.m
    rams = []

    def watched_ram(**parameters):
        rams.append(WatchedRam(**parameters))
        return rams[-1]

    partial = block(config, masked_ram=watched_ram)
    inside = Inside(partial)
    bench.add("partial", partial)
    (ram,) = rams

    def delayed(value, clocks):
        for _ in range(clocks):
            value = bench.past(value)
        return value

    ending = partial.ending
    load = [delayed(partial.load, clocks) for clocks in range(config.lanes + 3)]
    bench.assume(~partial.load | ~Cat(load[1:config.cooldown_cycles]).any())

    # The slot of the segment that is loaded, by the flags of the one before.
    before, slot, current = (Signal(ending.shape(), name="before"), Signal(range(config.partial_slots), name="slot"),
                             Signal(range(config.partial_slots), name="current"))
    m.d.comb += current.eq(Mux(before.sum_end, Mux(before.part_end, 0, slot + 1), slot))
    with m.If(partial.load):
        m.d.sync += [before.eq(ending), slot.eq(current)]

    bench.claim("partial-sums-ending", partial.o_load == (load[1] & before.closes))
    bench.claim("partial-sums-ending", partial.o_ending.as_value() == before.as_value())
    bench.situation("partial-sums-ending", partial.o_load & before.sum_end & (slot == 1))

    # What has been summed of any one neuron, and whether its sum was begun.
    place, lane = bench.constant(range(config.partial_slots), "place"), bench.constant(range(config.lanes), "lane")
    comes = Signal()
    m.d.comb += comes.eq((slot == place) & Mux(lane == 0, load[1], load[2]))
    total, begun = Signal(config.partial_width), Signal()
    with m.If(comes):
        m.d.sync += total.eq(Mux(before.opens, 0, total) + partial.segment[0])
        m.d.sync += begun.eq(begun | before.opens)
    late = delayed(total, 1), delayed(begun, 1)
    stored = delayed(total, 2), delayed(begun, 2)
    shown = delayed(comes, 2)
    bench.claim("partial-sums-total", ~(shown & late[1]) | (partial.sums[0] == late[0]))
    bench.situation("partial-sums-total", shown & late[1] & ~delayed(before.opens, 2) & (late[0] == 4)
                    & ~delayed(comes, 5))

    m.d.comb += ram.watched.eq(Cat(lane, place))
    bench.lemma(~stored[1] | (ram.found == stored[0]))
    bench.lemma((inside["slot"] == slot) & (inside["flags"] == before.as_value()))
    bench.lemma(inside["count"] == Mux(load[1], 0, Mux(load[2], 1, 2)))
    return bench


PROOFS = [Proof(
    block=PartialSums, parameters="P = 2, T = 1, sums of 4 bits", bench=bench, clocks=7,
    claims={
        "partial-sums-ending": Claim(
            says="What a segment is for is said from the clock after its load on, with a strobe if it closes its sum.",
            situation="the second sum closes",
            fault=Fault("load[1] & flags.closes", "load[1] & flags.opens"),
            faulty="a sum is handed on where it opens"),
        "partial-sums-total": Claim(
            says="Three clocks after a segment of a neuron was loaded, its sum is that of all segments since the one "
                 "that opened it, whatever segments of others came between them.",
            situation="a sum goes on after a segment of another one",
            fault=Fault("written.eq(slot)", "written.eq(written + 1)"),
            faulty="each segment is kept in a slot of its own"),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_partial_sums(proof, tmp_path):
    check(proof, tmp_path)
