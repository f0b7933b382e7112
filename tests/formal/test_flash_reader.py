"""The reader of the flash: what it sends in every clock of a command, and that it loses and invents no byte.

The flash is free, and answers a fixed number of clocks after it was asked. Pauses are of four clocks.
"""

import itertools

import pytest
from amaranth import *

from gateware.flash.reader import FlashReader
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

LATENCY = 1
#: Bytes that are sent by the commands before the first read, in their order; then bits that come back.
COMMANDS = ((0xAB,), 0), ((0x35,), 8), ((0x50,), 0), ((0x31, 0x02), 0), ((0x35,), 8)
READ = len(COMMANDS)
#: Clocks of the quad read before its data.
READ_CLOCKS = 8 + 6 + 2 + 4


def expected_lines(m, step, age, address):
    """What is to be driven in a clock of a command: the lines, whether lines 0, 2 and 3 are, and whether line 1 is."""
    lines, drive, quad = Signal(4), Signal(), Signal()
    m.d.comb += [lines.eq(0b1100), drive.eq(1)]
    for number, sent in enumerate([*(sent for sent, _ in COMMANDS), (0xEB,)]):
        bits = [byte >> 7 - place & 1 for byte in sent for place in range(8)]
        with m.If(step == number):
            m.d.comb += lines[0].eq(Cat(C(bit, 1) for bit in bits).bit_select(age[:4], 1))
    with m.If((step == READ) & (age >= 8)):
        nibbles = Cat(*(address[20 - 4 * index:][:4] for index in range(6)), C(0xFF, 8))
        m.d.comb += [lines.eq(nibbles.word_select((age - 8)[:3], 4)), quad.eq(1)]
        with m.If(age >= 16):
            m.d.comb += [drive.eq(0), quad.eq(0)]
    return lines, drive, quad


def bench(block):
    bench = Bench()
    m = bench.m
    # A faulty reader has an enum of its own.
    mode = block.elaborate.__globals__["FlashMode"].QUAD
    reader = block(mode=mode, clock_hz=1e6, latency=LATENCY)
    inside = Inside(reader)
    bench.add("reader", reader)
    bus = reader.bus
    step, count, timer = Value.cast(inside["step"]), inside["count"], inside["timer"]
    pause, command, settle, data, stop = (inside.state(name) for name in ("PAUSE", "COMMAND", "SETTLE", "DATA", "STOP"))

    # Clocks since the flash was selected.
    age = Signal(6)
    m.d.sync += age.eq(Mux(bus.select, age + ~age.all(), 0))
    clocks = Signal(6)
    m.d.comb += clocks.eq(READ_CLOCKS)
    for number, (sent, back) in enumerate(COMMANDS):
        with m.If(step == number):
            m.d.comb += clocks.eq(8 * len(sent) + back)
    address = bench.past(bench.past(reader.address))
    lines, drive, quad = expected_lines(m, step, age, address)
    sending = bus.select & (age < clocks)
    driven = (bus.drive == drive) & (bus.quad == quad) & ((bus.o == lines) | ~drive)
    bench.claim("flash-reader-command", ~sending | ((bus.sck == 0b10) & driven))
    bench.claim("flash-reader-command", bus.select | (bus.sck == 0))
    behind = bus.select & (age >= clocks) & (step != READ)
    bench.claim("flash-reader-command", ~behind | ((age == clocks) & (bus.sck == 0)))
    bench.situation("flash-reader-command", sending & (step == READ) & (age == 13) & (bus.o == 5))

    # What was asked for, on its way back.
    ends = reader.start | reader.stop
    reading = bus.select & (step == READ) & (age >= READ_CLOCKS)
    way = [Signal(name=f"way{clock}") for clock in range(LATENCY + 1)]
    m.d.sync += way[0].eq(data & reader.run & ~ends)
    for before, after in itertools.pairwise(way):
        m.d.sync += after.eq(before & ~ends)
    half, high = Signal(), Signal(4)
    arrives = way[-1] & ~ends
    m.d.sync += half.eq((half ^ way[-1]) & ~ends)
    with m.If(way[-1]):
        m.d.sync += high.eq(bus.i[0])
    bench.claim("flash-reader-bytes", reader.valid == bench.past(arrives & half))
    bench.claim("flash-reader-bytes", ~reader.valid | (reader.byte == bench.past(Cat(bus.i[0], high))))
    bench.claim("flash-reader-bytes", ~reading | (bus.sck == Cat(0, bench.past(data & reader.run))))
    bench.situation("flash-reader-bytes", reader.valid & (reader.byte == 0xA5))
    late = Signal(4)
    m.d.sync += late.eq(Mux(reader.run, 0, late + (reader.valid & ~late.all())))
    bench.claim("flash-reader-overrun", late + (reader.valid & ~reader.run) <= reader.overrun)
    bench.situation("flash-reader-overrun", late == reader.overrun - 1)

    bench.lemma(step <= READ)
    bench.lemma(~command | ((count > 0) & (count <= clocks) & (bus.select == (count > 1))))
    bench.lemma(~command | (count <= 1) | (age == count - 2))
    bench.lemma(~(data | stop) | (bus.select & (age >= clocks - 1) & (step == READ) & (timer == 0)))
    bench.lemma(~settle | (bus.select & (age == clocks - 1 + timer) & (step != READ) & (timer <= LATENCY)))
    pending, place, earlier = inside["pending"], inside["place"], inside["earlier"]
    bench.lemma(~inside["reading"] | (step == READ))
    bench.lemma(Mux(step == READ, pending == Cat(way), ~Cat(way).any()))
    bench.lemma((step == READ) | ~pause | (pending == 0))
    bench.lemma((step == READ) | ~command | (pending == 0) | (count > 15))
    bench.lemma((step == READ) | ~(settle & (timer == LATENCY)) | ~pending[:-1].any())
    bench.lemma((place == half) & (~half | (earlier == high)))
    bench.lemma(~(way[0] | way[1] | half) | inside["reading"])
    return bench


PROOFS = [
    Proof(
        block=FlashReader, parameters="quad, latency 1, pauses of 4 clocks", bench=bench, clocks=4, claims={
            "flash-reader-command": Claim(
                says="A command is the bits that it is documented to be, one or four per clock: with the quad read, "
                     "opcode, six nibbles of the address, mode bits of ones, and four clocks in which nothing is "
                     "driven.",
                situation="the last nibble of an address is sent",
                fault=Fault("place[:4] < 6", "place[:4] < 5"), faulty="the last nibble of the address is all ones",
                within=60),
            "flash-reader-bytes": Claim(
                says="Each two cycles of the flash's clock that ask for data, counted from the start of the read, make "
                     "one byte, in order, latency + 2 clocks after the second one, whatever run does; after start and "
                     "stop none of the read before comes.",
                situation="a byte comes",
                fault=Fault("Mux(ends, 0, Cat(wanted, pending))", "Cat(wanted, pending)"),
                faulty="what is under way at a stop comes all the same", within=70),
            "flash-reader-overrun": Claim(
                says="After run has gone low no more than overrun bytes come.",
                situation="all but one of these have come",
                fault=Fault("wanted.eq(self.run)", "wanted.eq(1)"),
                faulty="bytes are made of what nobody asked for", within=76),
        }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.block.__name__)
def test_flash_reader(proof, tmp_path):
    check(proof, tmp_path)
