"""The counter of a payload's bytes, which keeps the complement of what is missing."""

import pytest
from amaranth import *

from gateware.link.receiver import PayloadCounter
from tests.formal.bench import Bench
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check


def bench(block):
    bench = Bench()
    m = bench.m
    counter = bench.add("counter", block())
    loads = counter.load_low | counter.load_high
    bench.assume(~(counter.counting & loads))
    bench.assume(counter.counting | ~counter.count)
    bench.assume(~(counter.count & counter.complete))
    # `complete` is a clock late, and says nothing in the first clock of counting.
    settled = bench.past(counter.counting) & ~bench.past(counter.count)
    bench.assume(~counter.count | settled)

    left = Signal(16, init=0xFFFF)
    with m.If(counter.load_low):
        m.d.sync += left[:8].eq(counter.byte)
    with m.If(counter.load_high):
        m.d.sync += left[8:].eq(counter.byte)
    with m.If(counter.count):
        m.d.sync += left.eq(left - 1)
    bench.claim("payload-counter-left", counter.missing == ~left)
    bench.situation("payload-counter-left", bench.past(left == 0x0100) & (left == 0x00FF))
    bench.claim("payload-counter-complete", ~settled | (counter.complete == (left == 0)))
    bench.situation("payload-counter-complete", counter.complete & settled & (bench.past(bench.past(left)) == 1))
    return bench


PROOFS = [Proof(
    block=PayloadCounter, parameters="whole", bench=bench, clocks=1,
    claims={
        "payload-counter-left": Claim(
            says="What is missing is the length that was loaded, in any order of its bytes, less the bytes that were "
                 "counted.",
            situation="the low byte is counted below zero",
            fault=Fault("self.missing[8:].eq(Mux(load, ~self.byte, counted[9:17]))",
                        "self.missing[8:].eq(Mux(load, ~self.byte, self.missing[8:]))"),
            faulty="nothing is carried into the high byte"),
        "payload-counter-complete": Claim(
            says="Complete means that no byte is missing, from two clocks after the last load or count on.",
            situation="the last byte has been counted",
            fault=Fault("self.complete.eq(counted[17])", "self.complete.eq(counted[9:17].all())"),
            faulty="the last 256 bytes are not waited for"),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_payload_counter(proof, tmp_path):
    check(proof, tmp_path)
