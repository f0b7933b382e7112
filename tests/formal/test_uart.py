"""The UART: when bits are sampled and sent, and that it comes back to rest whatever was on the line."""

import functools

import pytest
from amaranth import *

from gateware.link.uart import UartReceiver, UartTransmitter
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check


def receiver_bench(divisor, block):
    bench = Bench()
    m = bench.m
    uart = block(divisor)
    inside = Inside(uart)
    bench.add("uart", uart)
    phase, timer, due = (inside[name] for name in ("phase", "timer", "due"))
    idle = phase == 1
    first = (divisor - 1) // 2

    # Clocks since the falling edge of a start bit was seen, for a character that is under way.
    age, running = Signal(range(10 * divisor + 1)), Signal()
    m.d.comb += running.eq(phase[3] | (phase == 7) | (phase == 0))
    begun = Signal()
    m.d.sync += begun.eq((begun | (idle & ~uart.bit)) & ~(uart.received | uart.error) & ~(idle & uart.bit)
                         & ~((phase == 7) & due & uart.bit))
    m.d.sync += age.eq(Mux(idle, 1, age + 1))

    # Of a character that began at rest.
    places = {first + number * divisor for number in range(1, 9)}
    at_data = Cat(age == place for place in sorted(places)).any()
    at_stop = age == first + 9 * divisor
    bench.claim("uart-receiver-samples", ~begun | (uart.bit_stb == at_data))
    bench.claim("uart-receiver-samples", ~begun | ((uart.received | uart.error) == at_stop))
    bench.situation("uart-receiver-samples", begun & uart.received & (uart.data == 0x5A))
    for number in range(10):
        there = begun & (phase == (7 + number) % 16)
        bench.lemma(~there | (age + timer == first + number * divisor))
    bench.lemma(~begun | running)
    bench.lemma(idle | (due == (timer == 0)))
    bench.lemma(timer < divisor)
    bench.lemma(phase[3] | (phase == 0) | (phase == 1) | (phase == 6) | (phase == 7))

    # The last eight data bits.
    last = Signal(8)
    with m.If(uart.bit_stb):
        m.d.sync += last.eq(Cat(last[1:], uart.bit))
    bench.claim("uart-receiver-data", bench.first | ~uart.received | ~begun | (uart.data == last))
    bench.situation("uart-receiver-data", begun & uart.received & (uart.data == 0xA5))
    written = Signal(range(9))
    with m.If(idle):
        m.d.sync += written.eq(0)
    with m.Elif(uart.bit_stb & (written < 8)):
        m.d.sync += written.eq(written + 1)
    for number in range(1, 9):
        bench.lemma((written < number) | (uart.data[8 - number] == last[8 - number]))
    bench.lemma(~begun | (phase != 7) | (written == 0))
    for number in range(9):
        bench.lemma(~begun | (phase != (8 + number) % 16) | (written == number))
    return bench


def rest_bench(divisor, block):
    bench = Bench()
    m = bench.m
    uart = block(divisor)
    inside = Inside(uart)
    bench.add("uart", uart)
    # As long as a character from the middle of its start bit to that of its stop bit.
    length = 9 * divisor
    high = Signal(range(length + 1))
    m.d.sync += high.eq(Mux(~uart.bit, 0, Mux(high == length, high, high + 1)))
    bench.claim("uart-receiver-rest", (high < length) | (inside["phase"] == 1))
    bench.situation("uart-receiver-rest", (high == length) & bench.past(inside["phase"] != 1))
    return bench


def transmitter_bench(divisor, block):
    bench = Bench()
    m = bench.m
    uart = block(divisor)
    inside = Inside(uart)
    bench.add("uart", uart)
    phase, timer = inside["phase"], inside["timer"]

    # Clocks since the last tick.
    age, ticked = Signal(range(divisor + 1)), Signal()
    m.d.sync += age.eq(Mux(uart.tick, 1, age + 1))
    m.d.sync += ticked.eq(ticked | uart.tick)
    bench.claim("uart-transmitter-tick", ~ticked | (uart.tick == (age == divisor)))
    bench.situation("uart-transmitter-tick", ticked & uart.tick)
    bench.lemma(timer < divisor)
    bench.lemma(bench.first | (uart.tick == (timer == divisor - 1)))
    bench.lemma(~ticked | uart.tick | (age + timer == divisor - 1))
    bench.lemma(~ticked | (age <= divisor))

    # What has been sent of a character: 0 nothing, 1 its start bit, 2 to 9 data bits.
    sent = Signal(range(10))
    with m.If(uart.tick):
        m.d.sync += sent.eq(Mux(sent == 9, 0, Mux(sent == 0, (phase == 1) & uart.i.valid, sent + 1)))
    level = Mux(sent == 0, 1, Mux(sent == 1, 0, bench.past(uart.i.payload)))
    bench.claim("uart-transmitter-frame", ~bench.past(uart.tick) | (uart.tx == level))
    bench.claim("uart-transmitter-frame", bench.first | bench.past(uart.tick) | (uart.tx == bench.past(uart.tx, 1)))
    bench.claim("uart-transmitter-frame", uart.i.ready == (uart.tick & (sent > 0) & (sent < 9)))
    bench.claim("uart-transmitter-frame", ~uart.i.ready | (uart.position == sent - 1))
    bench.situation("uart-transmitter-frame", (sent == 9) & ~uart.tx)
    bench.lemma(sent <= 9)
    bench.lemma(Mux(sent == 0, phase == 1, phase == (7 + sent)[:4]))
    return bench


PROOFS = [
    Proof(
        block=UartReceiver, parameters="4 clocks a bit", clocks=1, bench=functools.partial(receiver_bench, 4),
        claims={
            "uart-receiver-samples": Claim(
                says="Of a character that begins at rest, each bit is sampled once, (divisor - 1) // 2 clocks and so "
                     "many times divisor after the start bit was seen, and never else.",
                situation="a character is received",
                fault=Fault("first  = (self.divisor - 1) // 2 - 1", "first  = (self.divisor - 1) // 2"),
                faulty="the first sample is a clock late", within=46),
            "uart-receiver-data": Claim(
                says="The character is made of the bits that were sampled, the first one lowest.",
                situation="another character is received",
                fault=Fault("self.data.eq(Cat(self.data[1:], line))", "self.data.eq(Cat(line, self.data[:-1]))"),
                faulty="the first bit becomes the highest", within=46),
        }),
    Proof(
        block=UartReceiver, parameters="4 clocks a bit", clocks=40, bench=functools.partial(rest_bench, 4),
        claims={
            "uart-receiver-rest": Claim(
                says="On a line that is high for 9 bit times the receiver is at rest, whatever was before.",
                situation="a character ends at that moment",
                fault=Fault("with m.Elif(line):\n                m.d.sync += phase.eq(1)",
                            "with m.Elif(line & ~phase[2]):\n                m.d.sync += phase.eq(1)"),
                faulty="a start bit that has gone by its middle is one all the same", within=45),
        }),
    Proof(
        block=UartTransmitter, parameters="5 clocks a bit", clocks=1, bench=functools.partial(transmitter_bench, 5),
        claims={
            "uart-transmitter-tick": Claim(
                says="Ticks are divisor clocks apart, always.",
                situation="there is a second tick",
                fault=Fault("Mux(timer == 0, self.divisor - 1, timer - 1)",
                            "Mux(timer == 0, self.divisor - 2, timer - 1)"),
                faulty="a bit is a clock short", within=20),
            "uart-transmitter-frame": Claim(
                says="A character is a low start bit, the eight bits that are taken and a high stop bit, each from a "
                     "tick to the next.",
                situation="the last data bit of a character is low",
                fault=Fault("m.d.sync += self.tx.eq(1)\n                m.d.sync += phase.eq(1)",
                            "m.d.sync += phase.eq(1)"),
                faulty="the stop bit is as the last data bit", within=60),
        }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: f"{proof.block.__name__}-{next(iter(proof.claims))}")
def test_uart(proof, tmp_path):
    check(proof, tmp_path)
