"""The widths of :mod:`arch.widths`: what a register of theirs has to hold, for every input in every timestep.

The rule of the neuron runs here in registers that are wide enough for anything. The ranges are those that the mapper
gives a circuit its registers by; in a membrane that keeps to them, the proofs of the neuron say that the circuit
computes this rule. Neurons are a few with constants that differ in all that the ranges depend on.
"""

import numpy as np
import pytest
from amaranth import *

from arch.network import Neurons, Reset
from arch.widths import Range, channel_currents, membrane_range
from tests.formal.bench import Bench
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

TIMESTEPS = 3
#: Wide enough for every number below.
BITS = 12

WEIGHTS = np.array([[1, -1, 0, 1, 1], [-1, -1, 1, 0, -1]], np.int8)
PIXELS = Range(-2, 5)


def within(value, low, high):
    """Whether a signed value is in a range of integers."""
    return (value >= int(low)) & (value <= int(high))


def neurons(reset, leak_shift=None):
    return Neurons(threshold=np.array([5, 3]), bias=np.array([1, -2]), initial=np.array([2, -7]), fraction=1,
                   reset=reset, leak_shift=leak_shift)


def currents_bench(currents_of):
    """A sum that begins anywhere among its inputs, with any inputs, stays in the range of its channel."""
    bench = Bench()
    for name, inputs in (("widths-spikes", Range(0, 1)), ("widths-summed-spikes", Range(0, 2)),
                         ("widths-pixels", PIXELS)):
        found = currents_of(WEIGHTS, inputs)
        values = [bench.free(signed(BITS), f"{name}{number}") for number in range(WEIGHTS.shape[1])]
        for value in values:
            bench.assume(within(value, inputs.low, inputs.high))
        ends = []
        for filters, low, high in zip(WEIGHTS, found.low, found.high, strict=True):
            terms = [value * int(weight) for value, weight in zip(values, filters, strict=True)]
            for first in range(len(terms)):
                for last in range(first + 1, len(terms) + 1):
                    bench.claim(name, within(sum(terms[first:last]), low, high))
            ends.append(sum(terms))
        # Both channels at once, each at another end: the inputs that add to one take from the other.
        bench.situation(name, (ends[0] == int(found.high[0])) & (ends[1] < 0))
    return bench


class _Rule:
    """A neuron in wide registers, over and over from its first membrane on, and all values that its range is about."""

    def __init__(self, bench, layer, channel, current):
        m = bench.m
        constants = [int(values[channel]) for values in (layer.threshold, layer.bias, layer.initial)]
        threshold, bias, initial = constants
        step = Signal(range(TIMESTEPS))
        self.membrane = Signal(signed(BITS), init=initial)
        leaked, added, reset = (Signal(signed(BITS)) for _ in range(3))
        shift = layer.leak_shift
        m.d.comb += [
            leaked.eq(self.membrane if shift is None else self.membrane - (self.membrane >> shift)),
            added.eq(leaked + (current << layer.fraction) + bias),
            reset.eq(Mux(added < threshold, added, added - threshold if layer.reset is Reset.SUBTRACT else 0))]
        last = step == TIMESTEPS - 1
        m.d.sync += [step.eq(Mux(last, 0, step + 1)), self.membrane.eq(Mux(last, initial, reset))]
        bench.lemma(step < TIMESTEPS)
        self.first = step == 0
        self.added = added
        self.difference = added - threshold
        self.seen = [self.membrane, leaked, added, reset]


def membrane_bench(range_of):
    bench = Bench()
    for name, layer, constant in (
            ("widths-reset-by-subtraction", neurons(Reset.SUBTRACT), False),
            ("widths-reset-to-zero", neurons(Reset.ZERO), False), ("widths-leak", neurons(Reset.SUBTRACT, 1), False),
            ("widths-constant-current", neurons(Reset.SUBTRACT), True)):
        currents = channel_currents(WEIGHTS, Range(0, 1))
        membrane, difference = range_of(layer, currents, TIMESTEPS, constant=constant)
        reached = []
        for channel in range(layer.channels):
            current = bench.free(signed(BITS), f"{name}_current{channel}")
            bench.assume(within(current, currents.low[channel], currents.high[channel]))
            rule = _Rule(bench, layer, channel, current)
            if constant:
                bench.assume(rule.first | (current == bench.past(current)))
            for value in rule.seen:
                bench.claim(name, within(value, membrane.low[channel], membrane.high[channel]))
            bench.claim(name, within(rule.difference, difference.low[channel], difference.high[channel]))
            reached.append(rule.added == int((membrane.high if channel == 0 else membrane.low)[channel]))
        bench.situation(name, reached[0] & reached[1])
    return bench


PARAMETERS = "two neurons of 5 inputs, T = 3, F = 1"
PROOFS = [
    Proof(block=channel_currents, parameters="two neurons of 5 inputs", bench=currents_bench, clocks=1, claims={
        "widths-spikes": Claim(
            says="A sum of spikes by weights, and of any of them that follow each other, is in the range of its "
                 "channel.",
            situation="one channel has its highest current while another has a negative one",
            fault=Fault("np.count_nonzero(flat < 0, axis=1)", "np.count_nonzero(flat < -1, axis=1)"),
            faulty="weights of -1 are not counted"),
        "widths-summed-spikes": Claim(
            says="So is one of spikes that a shortcut adds.",
            situation="the same",
            fault=Fault("plus * inputs.high - minus * inputs.low", "plus - minus * inputs.low"),
            faulty="two spikes count as one"),
        "widths-pixels": Claim(
            says="So is one of pixels, with a zero point within their range.",
            situation="the same",
            fault=Fault("plus * inputs.high - minus * inputs.low", "plus * inputs.high"),
            faulty="a weight of -1 adds nothing for a negative pixel"),
    }),
    Proof(block=membrane_range, parameters=PARAMETERS, bench=membrane_bench, clocks=TIMESTEPS + 1, claims={
        "widths-reset-by-subtraction": Claim(
            says="A membrane that is reset by subtraction is in the range of its channel before and after leak, "
                 "addition and reset, and so is its difference from the threshold, for every current.",
            situation="one neuron's membrane is the highest and another's the lowest that the range has",
            fault=Fault("top - threshold))", "top - threshold - step))"),
            faulty="the highest membrane after a reset is missed"),
        "widths-reset-to-zero": Claim(
            says="So is one that is reset to zero.", situation="the same",
            fault=Fault("(bottom, min(below, top))", "(bottom, bottom)"),
            faulty="of the membranes without a spike only the lowest goes on"),
        "widths-leak": Claim(
            says="So is one that leaks.", situation="the same",
            fault=Fault("high - (high >> neurons.leak_shift)", "high - (high >> neurons.leak_shift) - 1"),
            faulty="the highest membrane leaks more than it does"),
        "widths-constant-current": Claim(
            says="So is one whose current is the same in all timesteps, that of a pixel layer, in the smaller range of "
                 "such a layer.", situation="the same",
            fault=Fault("currents.high[channel] + 1", "currents.high[channel]"),
            faulty="the highest current is missed"),
    }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_widths(proof, tmp_path):
    check(proof, tmp_path)
