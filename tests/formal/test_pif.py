"""The PIF unit against the integer rule of a neuron, for all sums, constants and modes of small widths.

The rule is written here with four bits more than a membrane has. What it says must be what the unit does wherever no
membrane, and no difference between one and its threshold, leaves the membrane's width.
"""

import pytest
from amaranth import *

from gateware.engine.configuration import EngineConfig
from gateware.engine.pif import Current, PifUnit
from tests.formal.bench import Bench
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

CONFIG = EngineConfig(lanes=2, width=2, membrane_width=6, fraction=1, timesteps=2, accumulator_width=3, pixels=False)


class Rule:
    """The integer rule, with bits to spare; ``exact`` says that all of it has fitted into a membrane."""

    def __init__(self, m, config, mode, threshold):
        self.m, self.config, self.mode, self.threshold = m, config, mode, threshold
        self.exact = C(1)

    def named(self, value, name):
        """Name a number of the rule; it has to fit into a membrane."""
        signal = Signal(signed(self.config.membrane_width + 4), name=name)
        self.m.d.comb += signal.eq(value)
        self.exact = self.exact & (signal[self.config.membrane_width - 1:].all()
                                   | ~signal[self.config.membrane_width - 1:].any())
        return signal

    def step(self, step, membrane, current, bias):
        """Leak, integrate, fire and reset: the membrane, the spike, and the difference before the reset."""
        if membrane is not None and self.config.leak:
            leak = (membrane >> (self.mode.leak + self.mode.scale)) << self.mode.scale
            membrane = membrane - Mux(self.mode.leaky, leak, 0)
        charged = self.named((0 if membrane is None else membrane) + (current << self.config.fraction) + bias,
                             f"charged{step}")
        difference = self.named(charged - self.threshold, f"difference{step}")
        spike = charged >= self.threshold
        soft = self.named(Mux(spike, difference, charged), f"left{step}")
        return Mux(self.mode.hard & spike, 0, soft), spike, difference


def delayed(bench, value, clocks):
    for _ in range(clocks):
        value = bench.past(value)
    return value


def bench(block):
    bench, config = Bench(), CONFIG
    m = bench.m
    pif = block(config)
    mode = Signal.like(pif.mode)
    m.d.comb += mode.as_value().eq(bench.constant(len(mode.as_value()), "pif_mode"))
    bench.add("pif", pif, mode=mode.as_value())

    # A faulty unit has an enum of its own.
    kind = Value.cast(mode.current)

    # Constants come two clocks behind the sums.
    late = PifUnit.constants_latency_of(config)
    sums = [delayed(bench, sum_, late) for sum_ in pif.sums]
    constants = pif.constants
    rule = Rule(m, config, mode, constants.threshold.as_signed())
    planes = sum((sum_ << step for step, sum_ in enumerate(sums)), C(0))
    membrane, spikes = None, []
    for step, sum_ in enumerate(sums):
        bias = constants.bias if step else constants.first
        membrane, spike, _ = rule.step(step, membrane, Mux(kind == Current.PLANES.value, planes, sum_),
                                       bias.as_signed())
        spikes.append(spike)

    after = config.timesteps + 1
    # The mode must be there a clock before the neuron.
    begun = delayed(bench, C(1), 1 + late + after)
    right = (pif.spikes == delayed(bench, Cat(spikes), after)) | ~begun | ~delayed(bench, rule.exact, after)
    for name, current in (("pif-steps", Current.STEPS), ("pif-planes", Current.PLANES)):
        bench.claim(name, right | (kind != current.value))
        bench.situation(name, begun & delayed(bench, rule.exact, after) & (kind == current.value) & mode.leaky
                        & (pif.spikes == 0b10))

    total = Signal(signed(config.score_width + 4))
    m.d.comb += total.eq(sum((Mux(mode.timesteps >= step, sum_, 0) for step, sum_ in enumerate(sums)), C(0))
                         + (constants.first.as_signed() >> config.fraction))
    width = min(config.score_width, config.membrane_width - config.fraction)
    fits = total[width - 1:].all() | ~total[width - 1:].any()
    scored = delayed(bench, C(1), 1 + late + 1) & (kind == Current.SCORE.value) & bench.past(fits)
    bench.claim("pif-score", ~scored | (pif.score == bench.past(total)))
    bench.situation("pif-score", scored & (pif.score < 0))
    return bench


PROOFS = [
    Proof(
        block=PifUnit, parameters="T = 2, membranes of 6 bits, F = 1, sums of 3 bits, baked", bench=bench, clocks=7,
        claims={
            "pif-steps": Claim(
                says="Spikes are those of the integer rule, with soft and hard reset and with a leak, wherever no "
                     "membrane leaves its width.",
                situation="a neuron that leaks fires in the second timestep only",
                fault=Fault("Mux(spike, membrane, membrane + threshold)",
                            "Mux(spike, membrane + threshold, membrane)"),
                faulty="the reset by subtraction is that of neurons without a spike"),
            "pif-planes": Claim(
                says="The current of a pixel is the sum of its bit-planes, bit-plane t worth 2 ** t, in every "
                     "timestep.",
                situation="a neuron that leaks fires in the second timestep only",
                fault=Fault("used[step + 1], 1) if", "used[step + 1], 0) if"),
                faulty="the second bit-plane is worth as much as the first"),
            "pif-score": Claim(
                says="A score is the sum of the network's timesteps and the constant, sign-extended.",
                situation="a score is negative",
                fault=Fault("(mode.timesteps < step) for step in range(steps))),\n        ]\n\n        # Sum",
                            "(mode.timesteps <= step) for step in range(steps))),\n        ]\n\n        # Sum"),
                faulty="the last timestep of the network does not count"),
        }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.parameters)
def test_pif(proof, tmp_path):
    check(proof, tmp_path)
