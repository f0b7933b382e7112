"""The CRC of the host link: its polynomial, its residue, and that it notices what a CRC of 16 bits promises."""

import pytest
from amaranth import *

from arch.link import CRC_INIT
from gateware.link.crc import SerialCrc
from tests.formal.bench import Bench
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

BITS = 16


def bench(block):
    """One CRC, to which anything may be done."""
    bench = Bench()
    m = bench.m
    crc = bench.add("crc", block())
    before, taken, cleared = (bench.past(value) for value in (crc.crc, crc.enable & ~crc.clear, crc.clear))
    feedback = bench.past(crc.bit ^ crc.crc[0])

    bench.claim("crc-start", ~(cleared | bench.first) | (crc.crc == CRC_INIT))
    bench.situation("crc-start", cleared & (before != CRC_INIT) & bench.past(crc.enable))
    bench.claim("crc-hold", taken | cleared | bench.first | (crc.crc == before))
    bench.situation("crc-hold", ~taken & ~cleared & ~bench.first & (crc.crc != CRC_INIT))

    # x^16 + x^12 + x^5 + 1, in the order of the line: the highest power is the lowest bit.
    powers = {BITS - 1 - power for power in (0, 5, 12)}
    shifted = [before[index + 1] if index + 1 < BITS else C(0) for index in range(BITS)]
    expected = Cat(bit ^ feedback if index in powers else bit for index, bit in enumerate(shifted))
    bench.claim("crc-polynomial", ~taken | (crc.crc == expected))
    bench.situation("crc-polynomial", taken & feedback & bench.past(taken & feedback))

    # Bits in a row that were those of the CRC itself.
    run, data = Signal(range(BITS + 1)), Signal()
    with m.If(crc.clear):
        m.d.sync += [run.eq(0), data.eq(0)]
    with m.Elif(crc.enable):
        m.d.sync += run.eq(Mux(crc.bit != crc.crc[0], 0, Mux(run == BITS, run, run + 1)))
        m.d.sync += data.eq(data | (crc.bit != crc.crc[0]))
    bench.claim("crc-residue", (run < BITS) | (crc.good & (crc.crc == 0)))
    bench.situation("crc-residue", data & (run == BITS))
    for length in range(1, BITS + 1):
        bench.lemma((run != length) | (crc.crc[BITS - length:] == 0))
    return bench


def burst_bench(block):
    """Two lines that differ within 16 bits, and the CRC of each."""
    bench = Bench()
    m = bench.m
    bit, error = bench.free(1, "bit"), bench.free(1, "error")
    sent, arrived = (bench.add(name, block(), clear=C(0), enable=C(1), bit=value)
                     for name, value in (("sent", bit), ("arrived", bit ^ error)))
    # Bits from the first wrong one on; it stays at the length of the longest burst.
    since = Signal(range(BITS + 1))
    with m.If(error | (since > 0)):
        m.d.sync += since.eq(Mux(since == BITS, since, since + 1))
    bench.assume(~error | (since < BITS))
    bench.claim("crc-burst", (since == 0) == (sent.crc == arrived.crc))
    bench.situation("crc-burst", (since == BITS) & bench.past(error))
    return bench


PROOFS = [
    Proof(
        block=SerialCrc, parameters="whole", bench=bench, clocks=1,
        claims={
            "crc-start": Claim(
                says="After reset and clear the CRC is FFFFh, also when a bit comes with the clear.",
                situation="a CRC under way is cleared while a bit comes",
                fault=Fault("with m.If(self.clear):", "with m.If(self.clear & ~self.enable):"),
                faulty="a bit goes before a clear"),
            "crc-hold": Claim(
                says="Without a bit and a clear the CRC stays.",
                situation="a CRC under way has no bit for a clock",
                fault=Fault("with m.Elif(self.enable):", "with m.Elif(self.enable | self.bit):"),
                faulty="a bit is taken without enable"),
            "crc-polynomial": Claim(
                says="A bit takes the CRC on by the polynomial x^16 + x^12 + x^5 + 1, lowest bit first.",
                situation="two bits in a row differ from the CRC's lowest bit",
                fault=Fault("& CRC_POLYNOMIAL)", "& (CRC_POLYNOMIAL ^ 8))"),
                faulty="the term x^12 is missing"),
            "crc-residue": Claim(
                says="Over data followed by their CRC it ends at 0, and says that it is good.",
                situation="data and their CRC have come",
                fault=Fault("(self.crc >> 1)", "((self.crc >> 1) | (self.crc & 0x8000))"),
                faulty="the highest bit is not shifted out",
                within=20),
        }),
    Proof(
        block=SerialCrc, parameters="two of them", bench=burst_bench, clocks=18,
        claims={
            "crc-burst": Claim(
                says="Two lines that differ somewhere, but only within 16 bits, have different CRCs ever after.",
                situation="a burst of 16 bits has ended with a wrong one",
                fault=Fault("& CRC_POLYNOMIAL)", "& (CRC_POLYNOMIAL & 0x7FFF))"),
                faulty="the polynomial has no constant term",
                within=20),
        }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.parameters)
def test_crc(proof, tmp_path):
    check(proof, tmp_path)
