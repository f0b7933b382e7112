"""The CRC-32 of the flash's sections, beside a plain one that takes a whole byte at a time."""

import functools

import pytest
from amaranth import *

from gateware.flash.crc32 import Crc32Check
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

#: CRC-32 of IEEE 802.3, lowest bit first.
POLYNOMIAL = 0xEDB88320


def shifted(bench, state, feedback, filler):
    """The state behind one shift for each bit that is fed back."""
    for bit in feedback:
        behind = Signal(32)
        bench.m.d.comb += behind.eq(Cat(state[1:], filler) ^ (bit.replicate(32) & POLYNOMIAL))
        state = behind
    return state


def taken(bench, crc, bits):
    """The CRC behind further bits."""
    for bit in bits:
        crc = shifted(bench, crc, [bit ^ crc[0]], C(0, 1))
    return crc


def bench(double, block):
    bench = Bench()
    m = bench.m
    crc32 = block(double=double)
    inside = Inside(crc32)
    bench.add("crc", crc32)
    # Whether this is the second half of a byte.
    second = C(0, 1) if double else bench.past(crc32.valid)
    if not double:
        bench.assume(~second | (~crc32.valid & (crc32.byte[4:] == bench.past(crc32.byte[4:]))))

    crc, wrong = Signal(32, init=0xFFFFFFFF), Signal()
    with_half = taken(bench, crc, crc32.byte[:4])
    with_byte = taken(bench, with_half, crc32.byte[4:])
    data, right = Signal(), Signal(range(5))
    with m.If(crc32.valid & crc32.checking):
        m.d.sync += crc.eq(Cat(crc[8:], C(0xFF, 8)))
        m.d.sync += wrong.eq(wrong | (crc32.byte != ~crc[:8]))
        m.d.sync += right.eq(right + (right != 4))
    with m.Elif(crc32.valid):
        m.d.sync += crc.eq(with_byte)
        m.d.sync += [data.eq(1), right.eq(0)]

    name = "flash-crc-double" if double else "flash-crc"
    bench.claim(name, second | (crc32.wrong == wrong))
    bench.claim(name, ~crc32.wrong | wrong)
    bench.situation(name, data & (right == 4) & ~second & ~wrong)

    state, feedback, filler = (inside[name] for name in ("state", "feedback", "filler"))
    settled = shifted(bench, state, feedback, filler)
    bench.lemma(wrong | second | (crc == settled))
    if not double:
        between = bench.past(with_half)
        bench.lemma(wrong | ~second | filler | (settled == between))
        bench.lemma(wrong | ~second | filler | (crc == taken(bench, between, crc32.byte[4:])))
        bench.lemma(wrong | ~(second & filler) | (crc == Cat(settled[4:], C(0xF, 4))))
        bench.lemma(~(second & filler) | crc32.wrong | (wrong == (crc32.byte[4:] != ~settled[:4])))
        bench.lemma(~(second & ~filler) | (wrong == crc32.wrong))
    return bench


PROOFS = [
    Proof(
        block=Crc32Check, parameters="half a byte at a time", bench=functools.partial(bench, False), clocks=1,
        claims={
            "flash-crc": Claim(
                says="Wrong is high, two clocks after a byte of a CRC and ever after, if that is not the one of the "
                     "CRC-32 of the data before it.",
                situation="data and their CRC have come, and nothing is wrong",
                fault=Fault("checking.eq(Mux(second, filler, self.checking))", "checking.eq(self.checking)"),
                faulty="what the second half belongs to is not kept"),
        }),
    Proof(
        block=Crc32Check, parameters="a byte per clock", bench=functools.partial(bench, True), clocks=1,
        claims={
            "flash-crc-double": Claim(
                says="Wrong is high, a clock after a byte of a CRC and ever after, if that is not the one of the "
                     "CRC-32 of the data before it.",
                situation="data and their CRC have come, and nothing is wrong",
                fault=Fault("0xEDB88320, 32", "0xEDB88320 ^ 1 << 16, 32"),
                faulty="the polynomial has another term"),
        }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: next(iter(proof.claims)))
def test_flash_crc(proof, tmp_path):
    check(proof, tmp_path)
