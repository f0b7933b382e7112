"""The masked memory as the tools infer it: any one bit of any one word is followed through all writes and reads."""

import pytest
from amaranth import *

from gateware.engine.masked_ram import MaskedRam
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

WIDTH, DEPTH = 4, 4


def bench(block):
    bench = Bench()
    m = bench.m
    ram = block(width=WIDTH, depth=DEPTH)
    inside = Inside(ram, memories=("words",))
    bench.add("ram", ram)

    address, bit = bench.constant(range(DEPTH), "followed"), bench.constant(range(WIDTH), "bit")
    written = ram.write & (ram.write_address == address)
    kept, known = Signal(), Signal()
    with m.If(written & ram.mask.bit_select(bit, 1)):
        m.d.sync += [kept.eq(ram.write_data.bit_select(bit, 1)), known.eq(1)]
    # What was read last, but not in the clock of a write to the same word.
    shown, value = Signal(), Signal()
    with m.If(ram.read):
        m.d.sync += [shown.eq((ram.read_address == address) & ~written & known), value.eq(kept)]

    port = inside.memories["words"]
    m.d.comb += port.addr.eq(address)
    bench.claim("masked-ram", ~shown | (ram.read_data.bit_select(bit, 1) == value))
    bench.situation("masked-ram", shown & value & ~kept & ~bench.past(ram.read))
    bench.lemma(~known | (port.data.bit_select(bit, 1) == kept))
    return bench


PROOFS = [Proof(
    block=MaskedRam, parameters="4 words of 4 bits, as the tools infer it", bench=bench, clocks=1,
    claims={
        "masked-ram": Claim(
            says="What is read of a bit of a word is what was written there last, whatever other bits and words were "
                 "written since, and stays until the next read, whatever is written meanwhile.",
            situation="a bit is shown that has been overwritten",
            fault=Fault("self.mask & self.write.replicate(self.width)", "self.write.replicate(self.width)"),
            faulty="a write takes all bits"),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_masked_ram(proof, tmp_path):
    check(proof, tmp_path)
