"""The FIFO of pixels, depth 4: every byte is followed on its way through registers and memory."""

import pytest
from amaranth import *

from gateware.engine.pixel_fifo import PixelFifo
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

DEPTH = 4


def bench(block):
    bench = Bench()
    m = bench.m
    fifo = block(depth=DEPTH)
    inside = Inside(fifo, memories=("bytes",))
    bench.add("fifo", fifo)

    # Bytes in the FIFO, and of them those behind the one that is offered.
    level, behind = Signal(range(DEPTH + 2)), Signal(range(DEPTH + 2))
    given = fifo.i.valid & fifo.i.ready & ~fifo.flush
    taken = fifo.o.valid & fifo.o.ready & ~fifo.flush
    m.d.comb += behind.eq(level - fifo.o.valid)
    m.d.sync += level.eq(Mux(fifo.flush, 0, level + given - taken))

    # Any one byte: which, and how many are before it.
    follow = bench.free(1, "follow")
    followed, ahead, byte = Signal(), Signal(range(DEPTH + 2)), Signal(8)
    behind_all = Signal()
    with m.If(fifo.flush):
        m.d.sync += followed.eq(0)
    with m.Elif(followed):
        m.d.sync += ahead.eq(ahead - taken)
        m.d.sync += followed.eq(~(taken & (ahead == 0)))
    with m.Elif(given & follow):
        m.d.sync += [followed.eq(1), ahead.eq(level - taken), byte.eq(fifo.i.payload)]
        m.d.sync += behind_all.eq(level - taken == DEPTH)

    hidden = (level > 0) & ~fifo.o.valid
    bench.claim("pixel-fifo-order", ~(fifo.o.valid & followed & (ahead == 0)) | (fifo.o.payload == byte))
    bench.claim("pixel-fifo-order", ~fifo.o.valid | (level > 0))
    bench.claim("pixel-fifo-order", ~(hidden & bench.past(hidden)))
    bench.situation("pixel-fifo-order", followed & behind_all & taken & (ahead == 0))
    bench.claim("pixel-fifo-room", behind <= DEPTH)
    bench.claim("pixel-fifo-room", fifo.i.ready | (bench.past(behind) >= DEPTH - 1))
    bench.situation("pixel-fifo-room", ~fifo.i.ready & (behind == DEPTH))
    bench.claim("pixel-fifo-half-full", fifo.half_full == (behind > DEPTH // 2))
    bench.situation("pixel-fifo-half-full", fifo.half_full & bench.past(~fifo.half_full))
    bench.claim("pixel-fifo-flush", ~bench.past(fifo.flush) | (~fifo.o.valid & fifo.i.ready & ~fifo.half_full))
    bench.situation("pixel-fifo-flush", bench.past(fifo.flush & ~fifo.i.ready))

    port = inside.memories["bytes"]
    place = Signal(range(DEPTH))
    m.d.comb += [place.eq(inside["read"] + ahead - fifo.o.valid), port.addr.eq(place)]
    bench.lemma(inside["waiting"] + behind == 0)
    bench.lemma(behind[:2] == (inside["written"] - inside["read"])[:2])
    bench.lemma((level > 0) | ~fifo.o.valid)
    bench.lemma((behind < DEPTH) | inside["full"])
    bench.lemma(~followed | (ahead < level))
    bench.lemma(~followed | Mux(fifo.o.valid & (ahead == 0), fifo.o.payload == byte, port.data == byte))
    return bench


PROOFS = [Proof(
    block=PixelFifo, parameters="depth 4", bench=bench, clocks=1,
    claims={
        "pixel-fifo-order": Claim(
            says="Each byte leaves once, in its order and as it was given, and is offered two clocks after it was "
                 "given.",
            situation="a byte that came behind four others leaves",
            fault=Fault("written.eq(written + writes)", "written.eq(written + (writes & ~reads))"),
            faulty="a byte that is given while another is taken is overwritten"),
        "pixel-fifo-room": Claim(
            says="No byte is taken without room for it, and none is refused while fewer than depth - 1 wait.",
            situation="the FIFO is full",
            fault=Fault("waiting[-1] & ~waiting[1:-1].any()", "waiting[-1] & ~waiting[:-1].any()"),
            faulty="full is seen a byte too late"),
        "pixel-fifo-half-full": Claim(
            says="Half full means that more than half of the depth waits behind the byte that is offered.",
            situation="half full is reached",
            fault=Fault("waiting[-1] & ~waiting[-2]", "waiting[-1] & ~waiting[0]"),
            faulty="another bit of the level is looked at"),
        "pixel-fifo-flush": Claim(
            says="In the clock after a flush the FIFO is empty and takes bytes, whatever was in it.",
            situation="a full FIFO is flushed",
            fault=Fault("                full.eq(0),\n", ""),
            faulty="a flush does not clear the flag of a full FIFO"),
    })]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_pixel_fifo(proof, tmp_path):
    check(proof, tmp_path)
