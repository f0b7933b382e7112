"""The PIF unit of a streamed circuit against the integer rule, block by block of timesteps.

The rule is that of :mod:`tests.formal.test_pif`; a neuron goes on from what it left of the block before.
"""

import pytest
from amaranth import *

from gateware.engine.pif import PifUnit
from tests.circuits import streamed_circuit
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check
from tests.formal.test_pif import Rule, delayed

CONFIG = streamed_circuit(lanes=2, width=4, membrane_width=6, fraction=1, timesteps=2, partial_width=3, blocks=2,
                          pixels=False)


def bench(block):
    bench, config = Bench(), CONFIG
    m = bench.m
    pif = block(config)
    mode = Signal.like(pif.mode)
    m.d.comb += mode.as_value().eq(bench.constant(len(mode.as_value()), "pif_mode"))
    inside = Inside(pif)
    bench.add("pif", pif, mode=mode.as_value())

    # What is stored comes a clock behind the sums; so all else is taken a clock late.
    sums, stored = [bench.past(sum_) for sum_ in pif.sums], pif.stored
    first, bias, threshold = (bench.past(value.as_signed()) for value in (
        Mux(pif.block_first, pif.constants.first, pif.constants.bias), pif.constants.bias, pif.constants.threshold))
    begins = bench.past(pif.block_first)
    bench.assume(~begins | (stored.as_value() == 0))

    rule = Rule(m, config, mode, threshold)
    kept = stored.membrane.as_signed()
    left = rule.named(Mux(stored.goes_on, Mux(kept >= 0, kept, kept + threshold), 0), "begun")
    spikes = []
    for step, sum_ in enumerate(sums):
        left, spike, difference = rule.step(step, left, sum_, bias if step else first)
        spikes.append(spike)
        ready = delayed(bench, C(1), 1 + step) & delayed(bench, rule.exact, step)
        bench.lemma(~ready | (inside[f"result{step}"].as_signed() == delayed(bench, difference, step)))

    after = config.timesteps
    begun = delayed(bench, C(1), 1 + after) & delayed(bench, rule.exact, after)
    present = Cat(~pif.block_last | (mode.timesteps >= step) for step in range(config.timesteps))
    bench.claim("pif-streamed", ~begun | (pif.spikes == (delayed(bench, Cat(spikes), after) & present)))
    bench.situation("pif-streamed", begun & delayed(bench, ~begins & (kept < 0), after) & mode.leaky
                    & (pif.spikes == 0b10))
    kept_right = pif.o_stored.membrane.as_signed() == delayed(bench, difference, after)
    goes_right = pif.o_stored.goes_on == ~(mode.hard & delayed(bench, spike, after))
    bench.claim("pif-streamed-stored", ~begun | (kept_right & goes_right))
    bench.situation("pif-streamed-stored", begun & ~pif.o_stored.goes_on)

    # A neuron without threshold, reset and leak.
    total = Signal(signed(config.membrane_width + 4))
    m.d.comb += total.eq(Mux(stored.goes_on, kept, 0) + sum((sum_ << config.fraction for sum_ in sums), C(0))
                         + first + bias * (config.timesteps - 1))
    fits = total[config.membrane_width - 1:].all() | ~total[config.membrane_width - 1:].any()
    scored = delayed(bench, C(1), 1 + after) & delayed(bench, fits & (threshold == 0), after) & ~mode.leaky & ~mode.hard
    bench.claim("pif-streamed-score", ~scored | (pif.score == delayed(bench, total, after) >> config.fraction))
    bench.situation("pif-streamed-score", scored & (pif.score < -3))
    return bench


PROOFS = [
    Proof(
        block=PifUnit, parameters="T = 2, two blocks, membranes of 6 bits, F = 1, sums of 3 bits, streamed",
        bench=bench, clocks=4, claims={
            "pif-streamed": Claim(
                says="Spikes of a block of timesteps are those of the integer rule, from what was stored of the block "
                     "before, and none beyond the network's timesteps.",
                situation="a neuron that leaks goes on below its threshold and fires in the second timestep only",
                fault=Fault("Mux(spike, membrane, membrane + threshold)",
                            "Mux(spike, membrane + threshold, membrane)"),
                faulty="the reset by subtraction is that of neurons without a spike"),
            "pif-streamed-stored": Claim(
                says="What is stored of a block is the last membrane less its threshold, before the reset, and whether "
                     "it goes on.",
                situation="a neuron is reset to zero at the end of a block",
                fault=Fault("begins.eq(~result[-1] & mode.hard)", "begins.eq(~result[-1])"),
                faulty="a neuron with a spike does not go on after a reset by subtraction"),
            "pif-streamed-score": Claim(
                says="The score of a neuron without threshold is the sum of what is stored, of currents and biases.",
                situation="a score is small and negative",
                fault=Fault("membrane.as_signed() >> config.fraction", "membrane.as_signed() + 1 >> config.fraction"),
                faulty="the score is rounded up"),
        }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.parameters)
def test_pif_streamed(proof, tmp_path):
    check(proof, tmp_path)
