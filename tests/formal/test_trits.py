"""The decoder of five weights to a byte, for all bytes: against the table of :mod:`arch.flash.trits`."""

import pytest
from amaranth import *

from arch.flash.trits import SET_BANKS, decoding, spare_bytes
from arch.ternary import pack
from gateware.flash.trits import TritDecoder
from tests.formal.bench import Bench
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check


def bench(block):
    bench = Bench()
    m = bench.m
    one, other = bench.add("one", block()), bench.add("other", block())

    expected = Signal(2 * SET_BANKS)
    with m.Switch(one.byte):
        for byte, weights in enumerate(decoding().tolist()):
            with m.Case(byte):
                m.d.comb += expected.eq(pack(weights))
    trits, others = one.trits.as_value(), other.trits.as_value()
    bench.claim("trit-decoder", trits == expected)
    bench.situation("trit-decoder", trits == pack([1, -1, 0, -1, 1]))
    spare = one.byte.matches(*spare_bytes()) | other.byte.matches(*spare_bytes())
    bench.claim("trit-decoder-distinct", (one.byte == other.byte) | spare | (trits != others))
    bench.situation("trit-decoder-distinct", (one.byte != other.byte) & (trits == others))
    return bench


PROOFS = [Proof(
    block=TritDecoder, parameters="whole", bench=bench, clocks=1,
    claims={
        "trit-decoder": Claim(
            says="The five weights are those that the table of the file format has for the byte.",
            situation="a byte stands for +1, -1, 0, -1, +1",
            fault=Fault("digits[3].eq(byte[7]), digits[4].eq(2)", "digits[3].eq(byte[7]), digits[4].eq(1)"),
            faulty="a last digit of 2 is decoded as 1", within=1),
        "trit-decoder-distinct": Claim(
            says="No two bytes stand for the same weights, but for the 13 spare ones.",
            situation="a spare byte stands for the weights of another",
            fault=Fault("digits[1].eq(low[4]), digits[2].eq(2)", "digits[1].eq(low[3]), digits[2].eq(2)"),
            faulty="the second digit is decoded of the bit of the first one", within=1),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_trits(proof, tmp_path):
    check(proof, tmp_path)
