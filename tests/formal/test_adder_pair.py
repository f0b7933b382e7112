"""The pair of adders, of which the second one is late: all operands."""

import pytest
from amaranth import *

from gateware.engine.adder_pair import AdderPair
from tests.formal.bench import Bench
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

WIDTH = 6


def bench(block):
    bench = Bench()
    pair = block(width=WIDTH, late=(False, True))
    bench.add("pair", pair)
    begun = C(1)
    alone = bench.past(pair.alone)
    for index, latency in enumerate((1, 2)):
        a, b = pair.a[index], pair.b[index]
        for _ in range(latency):
            a, b, begun = bench.past(a), bench.past(b), bench.past(begun)
        bench.claim("adder-pair", ~begun | (pair.sums[index] == (a + Mux(alone, 0, b))[:WIDTH]))
    bench.situation("adder-pair", begun & ~alone & bench.past(alone) & (pair.sums[1] == 0) & (pair.sums[0] == 1))
    return bench


PROOFS = [Proof(
    block=AdderPair, parameters="6 bits, the second adder late", bench=bench, clocks=4,
    claims={
        "adder-pair": Claim(
            says="A sum is that of its operands of a clock before, or of two clocks for a late adder; alone, it is the "
                 "first operand.",
            situation="both add after a clock in which they did not",
            fault=Fault("Mux(self.alone, a, a + b)", "a + b"),
            faulty="nothing is handed on alone"),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_adder_pair(proof, tmp_path):
    check(proof, tmp_path)
