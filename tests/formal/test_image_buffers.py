"""The exchange of the image buffers: what the accelerator does with begin, commit and abort, among stand-ins.

The exchange is that of :class:`gateware.engine.accelerator.Accelerator`. Its neighbours are what their data sheets say:

* The window writer writes the images that are in the FIFO one after the other. It is finished when all pixels of one
  are in memory, at any time, and goes on with ``proceed``. It takes its buffer in the clock after ``begin`` or
  ``proceed``. It writes nothing while it is finished, nor while no image has sent a pixel that it has not written.
* The sequencer reads from ``start`` to ``done``, for any time; the readout is busy at any time.
* The link begins an image only with ``accept``, and commits or aborts it before it begins another.
"""

import types

import pytest
from amaranth import *
from amaranth.lib import wiring

from gateware.engine.accelerator import Accelerator
from tests.formal.bench import Bench, Inside
from tests.formal.faults import Fault
from tests.formal.properties import Claim, Proof, check


def wires(*names, **wider):
    """Make signals by their names, of one bit or of a width."""
    return types.SimpleNamespace(**{name: Signal(wider.get(name, 1), name=name) for name in (*names, *wider)})


class Exchange(wiring.Component):
    """The accelerator's exchange of buffers alone: its own members and those of its neighbours are wires."""

    def __init__(self, accelerator):
        self.exchange    = accelerator._exchange_buffers
        self.accelerator = wires("begin", "commit", "abort", "accept", "busy", image_bytes=16, result_words=16)
        self.pixels      = wires("flush", "half_full")
        self.windows     = wires("begin", "proceed", "buffer", "finished", "ready")
        self.windows.sizes = wires(image_bytes=16, classes=8)
        self.sequencer   = wires("start", "busy", "done", "buffer")
        self.readout     = wires("busy")
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        self.exchange(self.accelerator, m, pixels=self.pixels, windows=self.windows, sequencer=self.sequencer,
                      readout=self.readout)
        return m


class Stage:
    """The exchange with its neighbours, and what they do."""

    def __init__(self, bench, block):
        m = bench.m
        exchange = Exchange(block)
        self.inside = Inside(exchange)
        bench.add("exchange", exchange)
        self.windows, self.pixels, self.readout = exchange.windows, exchange.pixels, exchange.readout
        self.sequencer = sequencer = exchange.sequencer
        accelerator, windows = exchange.accelerator, exchange.windows

        # The link.
        self.begin, self.commit, self.abort = (bench.free(1, name) for name in ("begin", "commit", "abort"))
        self.live = Signal()
        m.d.comb += [accelerator.begin.eq(self.begin), accelerator.commit.eq(self.commit),
                     accelerator.abort.eq(self.abort)]
        m.d.comb += [self.pixels.half_full.eq(bench.free(1, "half_full")),
                     self.readout.busy.eq(bench.free(1, "readout_busy")),
                     windows.ready.eq(bench.free(1, "ready"))]
        bench.assume(~self.begin | (accelerator.accept & ~self.live))
        bench.assume(~(self.commit | self.abort) | self.live)
        bench.assume(~(self.commit & self.abort))
        m.d.sync += self.live.eq((self.live | self.begin) & ~(self.commit | self.abort))

        # The writer.
        finishes = bench.free(1, "finishes")
        finished = Signal(init=1)
        starts = windows.begin | windows.proceed
        self.target = Signal()
        m.d.sync += finished.eq(~starts & (finished | finishes))
        m.d.comb += windows.finished.eq(finished)
        self.fresh = fresh = bench.past(starts)
        with m.If(fresh):
            m.d.sync += self.target.eq(windows.buffer)
        # Complete images whose pixels are not all in memory; those in memory; and there are pixels behind the former.
        self.waiting, self.stored, self.behind = Signal(range(5)), Signal(range(5)), Signal()
        m.d.sync += self.waiting.eq(self.waiting + self.commit - windows.proceed)
        m.d.sync += self.stored.eq(self.stored + windows.proceed - sequencer.done)
        m.d.sync += self.behind.eq((self.behind | self.begin) & ~self.commit)
        self.writes = Signal()
        m.d.comb += self.writes.eq(bench.free(1, "writes") & ~finished & ~fresh & (self.waiting.any() | self.behind))

        # The engine.
        ends = bench.free(1, "ends")
        m.d.sync += sequencer.busy.eq(sequencer.start | (sequencer.busy & ~ends))
        m.d.sync += sequencer.done.eq(sequencer.busy & ends)
        self.reads = Signal()
        m.d.comb += self.reads.eq(sequencer.start | sequencer.busy | sequencer.done)


def bench(block):
    bench = Bench()
    m = bench.m
    stage = Stage(bench, block)
    windows, sequencer, inside = stage.windows, stage.sequencer, stage.inside
    waiting, stored, behind, target = stage.waiting, stage.stored, stage.behind, stage.target

    # Any one image: it is received, complete or aborted, and classified; and how many results come before its own.
    follow = bench.free(1, "follow")
    received, complete, aborted, classified = Signal(), Signal(), Signal(), Signal()
    before, second = Signal(range(5)), Signal()
    with m.If(stage.begin & follow & ~(received | complete | aborted)):
        m.d.sync += received.eq(1)
    with m.If(received & stage.commit):
        m.d.sync += [received.eq(0), complete.eq(1), before.eq(waiting + stored - sequencer.done)]
        m.d.sync += second.eq(waiting + stored - sequencer.done == 1)
    with m.Elif(received & stage.abort):
        m.d.sync += [received.eq(0), aborted.eq(1)]
    with m.Elif(complete & ~classified & sequencer.done):
        m.d.sync += [before.eq(before - 1), classified.eq(before == 0)]
    current = complete & ~classified & (before == 0)

    # What an aborted image has left: until the writer and the FIFO begin anew. It is the followed one's, or any one's.
    left, left_any = Signal(), Signal()
    m.d.sync += left.eq((received & stage.abort) | (left & ~windows.begin))
    m.d.sync += left_any.eq(stage.abort | (left_any & ~windows.begin))
    # The image that the writer is at is the followed one.
    at_it = Mux(waiting.any(), complete & ~classified & (before == stored), received | left)

    # Of each buffer: whether it has pixels of the followed image, and whether it has all pixels of one image.
    has, whole = Signal(2), Signal(2)
    with m.If(windows.proceed):
        m.d.sync += [has.bit_select(target, 1).eq(at_it), whole.bit_select(target, 1).eq(1)]
    with m.Elif(stage.writes):
        m.d.sync += [has.bit_select(target, 1).eq(has.bit_select(target, 1) | at_it),
                     whole.bit_select(target, 1).eq(0)]
    read_has, read_whole = (value.bit_select(sequencer.buffer, 1) for value in (has, whole))

    bench.claim("image-buffers-apart", ~(stage.reads & stage.writes & (target == sequencer.buffer)))
    bench.situation("image-buffers-apart", stage.reads & stage.writes & (stored == 1) & (waiting == 1))
    bench.claim("image-buffers-order", ~stage.reads | (read_whole & (read_has == current)))
    bench.claim("image-buffers-order", ~windows.proceed | (waiting.any() & windows.finished))
    bench.claim("image-buffers-order", (windows.begin == stage.pixels.flush) & ~(windows.begin & waiting.any()))
    bench.situation("image-buffers-order", sequencer.done & current & second)
    bench.claim("image-buffers-abort", ~(stage.reads & aborted & read_has))
    bench.claim("image-buffers-abort", ~(stage.begin & left_any & ~windows.begin))
    bench.situation("image-buffers-abort", aborted & has.any() & stage.reads & bench.past(waiting.any()))
    idle = stored.any() & ~stage.reads & ~stage.readout.busy
    bench.claim("image-buffers-start", sequencer.start == bench.past(idle))
    bench.situation("image-buffers-start", sequencer.start & (stored == 2))

    loading, computing = inside["loading"], inside["computing"]
    bench.lemma((inside["pending"] == waiting) & (inside["filled"] == stored))
    bench.lemma(waiting + stored + behind <= 2)
    bench.lemma(~stage.live | (behind & ~left_any))
    bench.lemma(~received | stage.live)
    bench.lemma(received + complete + aborted <= 1)
    bench.lemma(~left | (aborted & left_any))
    bench.lemma(~left_any | ~waiting.any() | (inside["spoilt"] & behind))
    bench.lemma(~complete | classified | (before < waiting + stored))
    bench.lemma(~stage.reads | stored.any())
    bench.lemma(sequencer.start + sequencer.busy + sequencer.done <= 1)
    bench.lemma(~inside["settled"] | (waiting.any() & windows.finished))
    bench.lemma((loading ^ computing) == stored[0])
    bench.lemma(stage.fresh | (target == loading))
    for place in range(2):
        index = computing ^ place
        bench.lemma((stored <= place) | (whole.bit_select(index, 1)
                    & (has.bit_select(index, 1) == (complete & ~classified & (before == place)))))
    return bench


def abort_bench(block):
    """Two exchanges side by side: one does not see the images that will be aborted. All else is the same for both."""
    bench = Bench()
    m = bench.m
    seeing, blind = Exchange(block), Exchange(block)
    of_seeing, of_blind = Inside(seeing), Inside(blind)
    bench.add("seeing", seeing)
    bench.add("blind", blind)
    begin, commit, abort, doomed = (bench.free(1, name) for name in ("begin", "commit", "abort", "doomed"))
    inputs = {name: bench.free(1, name.replace(".", "_")) for name in (
        "pixels.half_full", "windows.finished", "windows.ready", "sequencer.busy", "sequencer.done", "readout.busy")}
    live, fate = Signal(), Signal()
    m.d.sync += live.eq((live | begin) & ~(commit | abort))
    with m.If(begin):
        m.d.sync += fate.eq(doomed)
    m.d.comb += [seeing.accelerator.begin.eq(begin), seeing.accelerator.commit.eq(commit),
                 seeing.accelerator.abort.eq(abort), blind.accelerator.begin.eq(begin & ~doomed),
                 blind.accelerator.commit.eq(commit)]
    for path, value in inputs.items():
        neighbour, name = path.split(".")
        m.d.comb += [getattr(getattr(one, neighbour), name).eq(value) for one in (seeing, blind)]
    bench.assume(~begin | (seeing.accelerator.accept & ~live))
    bench.assume(~commit | (live & ~fate))
    bench.assume(~abort | (live & fate))
    # The sequencer ends once what it began.
    computing = Signal()
    m.d.sync += computing.eq(blind.sequencer.start | (computing & ~inputs["sequencer.done"]))
    bench.assume(~inputs["sequencer.done"] | computing)
    bench.assume(~inputs["sequencer.busy"] | computing)
    bench.assume(~(inputs["sequencer.busy"] & inputs["sequencer.done"]))
    bench.assume(~computing | inputs["sequencer.busy"] | inputs["sequencer.done"])

    name = "image-buffers-trace"
    both = [(getattr(getattr(seeing, neighbour), wire), getattr(getattr(blind, neighbour), wire))
            for neighbour, wire in (("windows", "buffer"), ("windows", "proceed"), ("sequencer", "buffer"),
                                    ("sequencer", "start"))]
    for one, other in both:
        bench.claim(name, one == other)
    # The next image begins in the same way for both, and in the same clock unless the other has been waited for.
    waiting = of_blind["pending"].any()
    aborting = Signal()
    m.d.sync += aborting.eq(abort | (aborting & waiting))
    bench.claim(name, ~begin | doomed | (blind.accelerator.accept & (seeing.windows.begin == blind.windows.begin)
                                         & (seeing.pixels.flush == blind.pixels.flush)))
    bench.claim(name, live | aborting | (seeing.accelerator.accept == blind.accelerator.accept))
    left = Signal()
    m.d.sync += left.eq((abort & waiting) | left)
    bench.situation(name, left & seeing.sequencer.start & (of_seeing["pending"] == 1))
    for register in ("pending", "filled", "loading", "computing", "settled"):
        bench.lemma(of_seeing[register] == of_blind[register])
    bench.lemma(aborting | ~of_seeing["spoilt"])
    bench.lemma(~of_blind["spoilt"])
    return bench


PROOFS = [
    Proof(
        block=Accelerator, parameters="the exchange of its buffers, with stand-ins for its neighbours", bench=bench,
        clocks=2, claims={
            "image-buffers-apart": Claim(
                says="The window writer never writes the buffer that the engine reads.",
                situation="an image is written while another is read and a third waits for its buffer",
                fault=Fault("(pending[1] | filled[1] | (pending[0] & filled[0]))",
                            "(pending[1] | (pending[0] & filled[0]))"),
                faulty="an image begins while both buffers hold complete ones"),
            "image-buffers-order": Claim(
                says="What the engine reads for result n is all of the complete image n and nothing of another.",
                situation="the result is that of an image that was complete before the one ahead of it was classified",
                fault=Fault("with m.If(sequencer.done):", "with m.If(sequencer.start):"),
                faulty="the engine changes to the other buffer when it starts"),
            "image-buffers-abort": Claim(
                says="Nothing of an aborted image is ever read, and none begins behind what is left of it.",
                situation="one that was aborted behind a complete image is in a buffer while the other is read",
                fault=Fault("windows.ready & ~spoilt & ~(", "windows.ready & ~("),
                faulty="an image begins behind the pixels of an aborted one"),
            "image-buffers-start": Claim(
                says="An image in memory starts in the clock after engine and readout are free, and never else.",
                situation="one starts while both buffers are full",
                fault=Fault("filled.any() & ~sequencer.start", "filled[0] & ~sequencer.start"),
                faulty="two full buffers do not start"),
        }),
    Proof(
        block=Accelerator, parameters="the exchange of its buffers, two of them", bench=abort_bench, clocks=2, claims={
            "image-buffers-trace": Claim(
                says="An image that is aborted changes nothing, in any clock, of when the others are read, and from "
                     "which buffer; accept may be low until what was complete before it is in memory.",
                situation="one was aborted behind a complete image, and later one starts while another is complete",
                fault=Fault("pending + self.commit - settled", "pending + (self.commit | self.abort) - settled"),
                faulty="an aborted image counts as a complete one"),
        }),
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.parameters)
def test_image_buffers(proof, tmp_path):
    check(proof, tmp_path)
