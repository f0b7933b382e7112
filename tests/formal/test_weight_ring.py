"""The ring of weights: any one weight is followed, in any row; and how the places of a ring in use are counted."""

import pytest
from amaranth import *

from gateware.engine.masked_ram import MaskedRam
from gateware.engine.weight_ring import WeightRing
from gateware.flash.loader import _Usage
from tests.circuits import streamed_circuit
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

CONFIG = streamed_circuit(lanes=4, width=4)
DEPTH, SPARE = 16, 4


def bench(block):
    bench = Bench()
    m = bench.m
    ports = []
    # The weight, and its place in a bank.
    row, index = bench.constant(CONFIG.row_width, "row"), bench.constant(range(CONFIG.lanes * CONFIG.width), "index")

    def make(**size):
        ram = MaskedRam(**size)
        ports.append(Inside(ram, memories=("words",)).memories["words"])
        return ram

    ring = block(CONFIG, masked_ram=make)
    # Elaborated here: that makes the memories.
    Inside(ring)
    bench.add("ring", ring)
    m.d.comb += [port.addr.eq(row) for port in ports]

    bank, place = index[3:], index[:3]
    writes = (ring.write_row == row) & ring.banks.bit_select(bank, 1) & ring.mask[bank].bit_select(place, 1)
    known, code = Signal(), Signal(2)
    with m.If(writes):
        m.d.sync += [known.eq(1), code.eq(ring.write_weights.as_value().word_select(index, 2))]
    read = bench.past(known & (ring.row == row) & ~writes)
    nonzero, negative = (Cat(getattr(lane, name) for lane in ring.weights).bit_select(index, 1)
                         for name in ("nonzero", "negative"))
    bench.claim("weight-ring", ~read | (Cat(nonzero, negative) == bench.past(code)))
    others = Signal()
    touched = (ring.write_row == row) & ring.banks.any() & ring.mask.as_value().any()
    m.d.sync += others.eq(others | (known & ~writes & touched))
    bench.situation("weight-ring", read & others & (code == 0b11) & (index == 11))
    stored = Cat(port.data for port in ports).word_select(index, 2)
    bench.lemma(~known | (stored == code))
    return bench


def usage_bench(block):
    bench = Bench()
    m = bench.m
    usage = block(DEPTH, SPARE)
    inside = Inside(usage)
    bench.add("usage", usage)
    used = Signal(range(DEPTH + 2))
    m.d.sync += used.eq(used + usage.written - usage.released)
    # What is written of a ring that is full, and what is released of an empty one.
    late = Signal(range(SPARE + 1))
    m.d.sync += late.eq(Mux(usage.full, late + usage.written, 0))
    bench.assume(~(usage.full & usage.written) | (late < SPARE - 1))
    bench.assume(~usage.released | (used > 0))
    bench.claim("ring-usage", usage.full == (used >= DEPTH - SPARE))
    bench.situation("ring-usage", usage.full & bench.past(usage.full & usage.written & usage.released))
    bench.claim("ring-room", used < DEPTH)
    bench.situation("ring-room", used == DEPTH - 1)
    bench.lemma(Mux(usage.full, used <= DEPTH - SPARE + late, used < DEPTH - SPARE))
    bench.lemma(late < SPARE)
    bench.lemma(inside["count"] == used)
    return bench


PROOFS = [
    Proof(
        block=WeightRing, parameters="P = 4, W = 4, 16 rows", bench=bench, clocks=2, claims={
            "weight-ring": Claim(
                says="Of each weight of each row, what is read is what was written there last, whatever is written of "
                     "the other weights of the row and of other rows.",
                situation="a weight of -1 is read after others of its row were written",
                fault=Fault("for weight in self.mask[index]", "for weight in self.mask[0]"),
                faulty="all banks take the mask of the first one"),
        }),
    Proof(
        block=_Usage, parameters="a ring of 16 places, 4 of them spare", bench=usage_bench, clocks=1, claims={
            "ring-usage": Claim(
                says="A ring is full while no more places than the spare ones are free.",
                situation="a place of a full ring is written while another is released",
                fault=Fault("one.eq(self.written ^ self.released)", "one.eq(self.written | self.released)"),
                faulty="a place that is written while another is released counts twice"),
            "ring-room": Claim(
                says="If fewer places than the spare ones are written after a ring is full, none in use is ever "
                     "overwritten.",
                situation="all places but one are in use",
                fault=Fault("count[exact_log2(self.spare):].all()", "count[exact_log2(self.spare) - 1:].all()"),
                faulty="full is seen when half of the spare places have been written", within=24),
        }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_weight_ring(proof, tmp_path):
    check(proof, tmp_path)
