"""The dot product, for all spikes and weights: width 16 and 4 timesteps, as in the circuits that ship."""

import functools

import pytest
from amaranth import *

from gateware.engine.configuration import EngineConfig
from gateware.engine.dot_product import DotProduct
from tests.circuits import streamed_circuit
from tests.formal.bench import Bench
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

SIZES = {"lanes": 8, "width": 16, "timesteps": 4}
BAKED, STREAMED = EngineConfig(**SIZES), streamed_circuit(**SIZES)


def count(synapses):
    """Count as the data sheet says: a weight of 1 with a spike, and one of -1 without."""
    total = C(0)
    for nonzero, negative, spike in synapses:
        total = total + (nonzero & Mux(negative, ~spike, spike))
    return total


def bench(config, block):
    bench = Bench()
    # It must not change while words are under way.
    split = {} if config.streamed else {"split": bench.constant(1, "split")}
    dot = bench.add("dot", block(config), **split)
    weights = dot.weights
    synapses = [(weights.nonzero[index], weights.negative[index], dot.spikes[index]) for index in range(config.width)]
    # The other code with the high bit is none of a weight.
    bench.assume((weights.negative & ~weights.nonzero) == 0)

    whole = count(synapses)
    slices = [count(synapses[index * config.slice_width:][:config.slice_width]) for index in range(config.slices)]
    apart = sum((part << (index * config.timesteps) for index, part in enumerate(slices)), C(0))
    expected = {"dot-product": whole} if config.streamed else {"dot-product": whole, "dot-product-slices": apart}
    begun = C(1)
    for _ in range(dot.latency):
        begun    = bench.past(begun)
        expected = {name: bench.past(value) for name, value in expected.items()}
    if config.streamed:
        bench.claim("dot-product-streamed", ~begun | (dot.total == expected["dot-product"]))
        bench.situation("dot-product-streamed", begun & (dot.total == config.width))
        return bench
    bench.claim("dot-product", ~begun | dot.split | (dot.total == expected["dot-product"]))
    bench.situation("dot-product", begun & ~dot.split & (dot.total == config.width))
    bench.claim("dot-product-slices", ~begun | ~dot.split | (dot.total == expected["dot-product-slices"]))
    bench.situation("dot-product-slices", begun & dot.split & (dot.total == 0x88))
    return bench


PROOFS = [
    Proof(
        block=DotProduct, parameters="W = 16, T = 4, baked", bench=functools.partial(bench, BAKED), clocks=4,
        claims={
            "dot-product": Claim(
                says="The count is that of the synapses of 1 with a spike and of those of -1 without one.",
                situation="all synapses count",
                fault=Fault("low[top] & high[top]", "low[top] | high[top]"),
                faulty="the highest bit of a sum is set by one of its operands"),
            "dot-product-slices": Claim(
                says="With split, slices are counted apart, slice i worth 2 ** (i T).",
                situation="all synapses of both slices count",
                fault=Fault("C(0, 8))[:config.timesteps]", "C(0, 8))[:config.timesteps - 1]"),
                faulty="slices are a bit too close"),
        }),
    Proof(
        block=DotProduct, parameters="W = 16, T = 4, streamed", bench=functools.partial(bench, STREAMED), clocks=4,
        claims={
            "dot-product-streamed": Claim(
                says="The count of a streamed circuit is that of the synapses of 1 with a spike and of those of -1 "
                     "without one.",
                situation="all synapses count",
                fault=Fault("two & ~four", "two | four"),
                faulty="four synapses of a group count six"),
        }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.parameters)
def test_dot_product(proof, tmp_path):
    check(proof, tmp_path)
