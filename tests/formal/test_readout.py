"""The readout of three classes: for all scores and any consumer of the words, in a baked and in a streamed circuit.

What is assumed is what its data sheet asks for: scores come after ``clear`` and not while the readout is busy, there is
one for each class before ``send``, and the number of classes changes with ``clear`` only. In a streamed circuit, kept
scores are there two clocks after they were asked for.
"""

import functools

import pytest
from amaranth import *

from gateware.engine.configuration import EngineConfig
from gateware.engine.readout import HEADER_WORDS, Readout
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check

CLASSES = 3
BAKED = EngineConfig(lanes=2, width=2, timesteps=1, accumulator_width=2, classes=CLASSES, pixels=False)
STREAMED = EngineConfig(lanes=2, width=4, timesteps=4, membrane_width=8, fraction=4, classes=CLASSES, streamed=True,
                        pixels=False, spike_words=64, max_run=8, max_side=8, max_row_words=8)


def bench(config, names, block):
    bench = Bench()
    m = bench.m
    readout = block(config)
    inside = Inside(readout, memories=() if config.streamed else ("scores",))
    bench.add("readout", readout)
    words, busy, classes = readout.o_words, readout.busy, readout.classes
    starts = readout.send & ~busy

    # The scores since `clear`, by class, and how many there were.
    scores = Array(Signal(signed(config.score_width), name=f"score{place}") for place in range(CLASSES))
    count, cleared = Signal(range(CLASSES + config.lanes + 1)), Signal()
    with m.If(readout.clear):
        m.d.sync += [count.eq(0), cleared.eq(1)]
    with m.Elif(readout.score_valid):
        m.d.sync += count.eq(count + 1)
        with m.If(count < CLASSES):
            m.d.sync += scores[count].eq(readout.score)
    bench.assume(cleared | ~(readout.score_valid | readout.send))
    bench.assume(~(readout.clear & (readout.score_valid | readout.send)))
    bench.assume(~busy | ~(readout.clear | readout.score_valid))
    bench.assume(~readout.score_valid | (count < CLASSES + config.lanes - 1))
    bench.assume(~starts | (count + readout.score_valid >= classes))
    bench.assume(bench.first | readout.clear | (classes == bench.past(classes)))
    bench.assume((classes > 0) & (classes <= CLASSES))

    # Words of the result that have been taken, and clocks since the last one or since `send`.
    taken, clocks, sending = Signal(range(HEADER_WORDS + CLASSES + 1)), Signal(2), Signal()
    with m.If(starts):
        m.d.sync += [taken.eq(0), clocks.eq(1), sending.eq(1)]
    with m.Elif(words.valid & words.ready):
        m.d.sync += [taken.eq(taken + 1), clocks.eq(1), sending.eq(taken != HEADER_WORDS - 1 + classes)]
    with m.Elif(clocks < 3):
        m.d.sync += clocks.eq(clocks + 1)

    if config.streamed:
        # Scores are given one after the other; which one in the clock after it was asked for is open.
        place, asked = Signal(range(CLASSES + 1)), bench.past(readout.next_kept)
        with m.If(starts):
            m.d.sync += place.eq(0)
        with m.Elif(readout.next_kept):
            m.d.sync += place.eq(place + (place < CLASSES))
        bench.assume(asked | ~busy | (place >= CLASSES) | (readout.kept == scores[place]))
        bench.lemma(~busy | (place == Mux(taken < HEADER_WORDS, 0, taken - HEADER_WORDS)
                             + (words.valid & (taken >= HEADER_WORDS))))

    word = words.p.word
    winner = word[:2]
    beaten = [(place >= classes) | (scores[winner] > scores[place]) | ((scores[winner] == scores[place])
                                                                       & (winner <= place)) for place in range(CLASSES)]
    bench.claim(names[0], ~(words.valid & (taken == 0)) | ((word < classes) & Cat(beaten).all()))
    bench.situation(names[0], words.valid & (taken == 0) & (winner == 1) & (scores[1] == scores[2]) & (scores[0] < 0)
                    & (classes == 3))

    new = words.valid & bench.past(~words.valid)
    clocks_sent = (readout.cycles, readout.stalls, readout.flash_stalls if config.streamed else C(0))
    for place, sent in enumerate(clocks_sent, 1):
        bench.claim(names[1], ~(new & (taken == place)) | (word == bench.past(sent)))
    # Any one score.
    follow = bench.constant(range(CLASSES), "follow")
    followed = words.valid & (taken == HEADER_WORDS + follow)
    bench.claim(names[1], ~followed | (word.as_signed() == scores[follow]))
    bench.claim(names[1], ~words.valid | ((words.p.last == (taken == HEADER_WORDS - 1 + classes)) & ~words.p.error))
    bench.situation(names[1], followed & words.ready & (follow == 1) & (scores[follow] < 0))

    waits = bench.past(words.valid & ~words.ready)
    bench.claim(names[2], words.valid == (sending & (clocks == 3)))
    bench.claim(names[2], busy == sending)
    bench.claim(names[2], ~waits | (words.p.as_value() == bench.past(words.p.as_value())))
    bench.situation(names[2], ~busy & bench.past(waits & words.p.last))

    # A score is in registers for a clock before it counts.
    used, place, score = inside["used"], inside["place"], inside["score"]
    best, winner = inside["best"], inside["winner"]
    known = cleared & ~readout.clear
    counted = Signal.like(count)
    m.d.comb += counted.eq(Mux(count < classes, count, classes) - used)
    bench.lemma(~cleared | (inside["index"] == count))
    bench.lemma(cleared | ~(busy | used))
    bench.lemma(count < CLASSES + config.lanes)
    bench.lemma(~(used & known) | ((count > 0) & (count <= classes) & (place == count - 1)
                                   & (score.as_signed() == scores[place])))
    bench.lemma(~known | Mux(counted == 0, (best.as_signed() == -1 << config.score_width - 1) & (winner == 0),
                             (best.as_signed() == scores[winner]) & (winner < counted)))
    for number, score in enumerate(scores):
        bench.lemma(~known | (counted <= number) | (best.as_signed() > score)
                    | ((best.as_signed() == score) & (winner <= number)))
    if not config.streamed:
        port = inside.memories["scores"]
        m.d.comb += port.addr.eq(follow)
        bench.lemma(~known | (follow >= counted) | (port.data == scores[follow]))

    for number, name in enumerate(("READ", "PREPARE", "SEND"), 1):
        bench.lemma(inside.state(name) == (sending & (clocks == number)))
    bench.lemma(inside.state("IDLE") == ~sending)
    bench.lemma(~sending | ((inside["sent"] == taken) & (taken < HEADER_WORDS + classes) & (count >= classes)))
    bench.lemma(~sending | (clocks > 0))
    return bench


def proof(config, parameters, suffix, *, fault, faulty):
    names = [f"readout-{name}{suffix}" for name in ("class", "words", "order")]
    return Proof(
        block=Readout, parameters=parameters, bench=functools.partial(bench, config, names), clocks=3,
        claims={
            names[0]: Claim(
                says="The first word is the class with the highest score, and of those with the same score the first.",
                situation="the second class wins with the same score as the third",
                fault=Fault("used & margin[-1]", "used & (margin <= 0)"),
                faulty="of equal scores the last one wins"),
            names[1]: Claim(
                says="The next words are clocks, stalls and stalls of the flash, as they were a clock before; then "
                     "comes each score, sign-extended. The last word, and no other, is marked as such.",
                situation="the second score is negative",
                fault=fault, faulty=faulty, within=30),
            names[2]: Claim(
                says="A word is offered three clocks after `send` or after the word before was taken, and stays until "
                     "it is taken; after the last one, no more are until the next `send`.",
                situation="the last word was not taken at once",
                fault=Fault("with m.If(self.o_words.ready):", "with m.If(self.o_words.ready | header[1]):"),
                faulty="the second word does not wait", within=30),
        })


PROOFS = [
    proof(BAKED, "3 classes, scores of 4 bits, baked", "", faulty="a score that does not win is not kept",
          fault=Fault("write.en.eq(used)", "write.en.eq(used & margin[-1])")),
    proof(STREAMED, "3 classes, scores of 4 bits, streamed", "-streamed",
          fault=Fault("self.next_kept.eq(is_score)", "self.next_kept.eq(1)"),
          faulty="scores are asked for by words of the header, too"),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.parameters)
def test_readout(proof, tmp_path):
    check(proof, tmp_path)
