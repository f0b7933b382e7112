"""The counters of the line's faults."""

import pytest
from amaranth import *

from gateware.link.counters import FaultCounters
from tests.formal.bench import Bench
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check


def bench(block):
    bench = Bench()
    counters = bench.add("counters", block())
    strobes = (counters.bad_frame, counters.overrun, counters.aborted)
    for strobe, name in zip(strobes, ("bad_frames", "overruns", "aborted_frames"), strict=True):
        count = getattr(counters.counts, name)
        before = bench.past(count)
        bench.claim("fault-counters", Mux(bench.first, count == 0,
                                          count == Mux(bench.past(strobe) & (before != 255), before + 1, before)))
    bench.situation("fault-counters", (counters.counts.bad_frames == 2) & (counters.counts.overruns == 0)
                    & (counters.counts.aborted_frames == 1))
    return bench


PROOFS = [Proof(
    block=FaultCounters, parameters="whole", bench=bench, clocks=1,
    claims={
        "fault-counters": Claim(
            says="Each counter counts the strobes of its own input, from 0 on, and stays at 255.",
            situation="two of them have counted, and the third has not",
            fault=Fault("(self.overrun, self.counts.overruns)", "(self.overrun | self.aborted, self.counts.overruns)"),
            faulty="a frame that is given up counts as an overrun, too", within=8),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_fault_counters(proof, tmp_path):
    check(proof, tmp_path)
