"""Collects the scores of the readout, finds the class, and hands the result out word by word."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from arch.link import RESULT_HEADER_WORDS as HEADER_WORDS
from gateware.engine.configuration import EngineConfig, bits_for

__all__ = ["CLOCK_COUNTER_WIDTH", "HEADER_WORDS", "Readout", "result_layout"]

#: Bits of the clocks and the stalls of an inference, as they are counted for the result.
CLOCK_COUNTER_WIDTH = 24


def result_layout() -> data.StructLayout:
    """Describe one word of a result.

    With ``error`` it is the only one, and its lowest byte is the error code that is sent in place of a result.
    """
    return data.StructLayout({
        "word":  32,
        "last":  1,
        "error": 1,
    })


class Readout(wiring.Component):
    """Keeps the largest score and its index, the lowest one on a tie, and then sends the result.

    Scores come in ascending order of classes, after ``clear``; those beyond ``classes`` (unused lanes of the last
    group) are dropped. ``send`` starts the transfer of ``HEADER_WORDS + classes`` words: class, cycles, stall cycles,
    cycles that waited for the flash, then every score, sign-extended.

    A circuit that is not streamed keeps the scores in a memory of the readout; in a streamed one, membranes are kept
    anyway, and with them the scores: the readout asks for one by one.

    Throughput: one score per clock in; one word per three clocks out. The first word is valid three clocks after
    ``send``. Stalls as long as the consumer does; ``clear`` and scores must not come while ``busy``.
    Cost on the iCE40: in the circuit of the shipped network 156 LUTs, 113 flip-flops, 1 block RAM; in the overlay 172
    LUTs, 105 flip-flops.

    Parameters
    ----------
    config : :class:`EngineConfig`

    Members
    -------
    clear : :py:`In(1)`
    score : :py:`In(signed(config.score_width))`
    score_valid : :py:`In(1)`
    classes : :py:`In(bits_for(config.classes))`
    cycles, stalls : :py:`In(CLOCK_COUNTER_WIDTH)`
        Sent as they are when their word is.
    flash_stalls : :py:`In(CLOCK_COUNTER_WIDTH)`
        So is this. This and the next two only in a streamed circuit; in others, the word is 0.
    next_kept : :py:`Out(1)`
        Strobe: the next score is wanted, after two clocks.
    kept : :py:`In(signed(config.score_width))`
        The first score from ``send`` on, and so on.
    send : :py:`In(1)`
    busy : :py:`Out(1)`
    o_words : :py:`Out(stream.Signature(result_layout()))`
    """

    def __init__(self, config: EngineConfig):
        self.config = config

        super().__init__({
            "clear":       In(1),
            "score":       In(signed(config.score_width)),
            "score_valid": In(1),
            "classes":     In(bits_for(config.classes)),
            "cycles":      In(CLOCK_COUNTER_WIDTH),
            "stalls":      In(CLOCK_COUNTER_WIDTH),
            **({
                "flash_stalls": In(CLOCK_COUNTER_WIDTH),
                "next_kept":    Out(1),
                "kept":         In(signed(config.score_width)),
            } if config.streamed else {}),
            "send":        In(1),
            "busy":        Out(1),
            "o_words":     Out(stream.Signature(result_layout())),
        })

    def elaborate(self, platform):
        m = Module()

        config = self.config
        width  = config.score_width

        # Scores beyond the classes are those of unused lanes. A register each, because the comparison takes long.
        index  = Signal(bits_for(config.classes + config.lanes), reset_less=True)
        score  = Signal(signed(width), reset_less=True)
        place  = Signal(range(config.classes), reset_less=True)
        used   = Signal()
        m.d.sync += [
            score.eq(self.score),
            place.eq(index),
            used.eq(self.score_valid & (index < self.classes)),
        ]
        best   = Signal(signed(width), reset_less=True)
        winner = Signal.like(place, reset_less=True)
        margin = Signal(signed(width + 1))
        m.d.comb += margin.eq(best - score)
        with m.If(self.clear):
            # Class 0 with the least score there is.
            m.d.sync += index.eq(0)
            m.d.sync += best.eq(-1 << width - 1)
            m.d.sync += winner.eq(0)
        with m.Else():
            # Of multiplexers, Yosys would make a clock enable, and a LUT more before it.
            better = used & margin[-1]
            m.d.sync += index.eq(index + self.score_valid)
            m.d.sync += best.eq(best ^ ((best ^ score) & better.replicate(width)))
            m.d.sync += winner.eq(winner ^ ((winner ^ place) & better.replicate(len(winner))))

        sent = Signal(bits_for(config.classes + HEADER_WORDS))
        # What the next word is, and whether it is the last one: a clock late, which is the first of each word.
        header = Signal(HEADER_WORDS)
        end    = Signal.like(sent)
        final  = Signal()
        is_score = Signal()
        m.d.sync += is_score.eq(sent >= HEADER_WORDS)
        m.d.sync += header.eq(Cat(sent == place for place in range(HEADER_WORDS)))
        m.d.sync += end.eq(self.classes + (HEADER_WORDS - 1))
        m.d.sync += final.eq(sent == end)
        if config.streamed:
            kept = self.kept
        else:
            m.submodules.scores = scores = memory.Memory(shape=signed(width), depth=config.classes, init=[])
            write = scores.write_port()
            read  = scores.read_port()
            kept  = read.data
            m.d.comb += [
                write.addr.eq(place),
                write.data.eq(score),
                write.en.eq(used),
                read.addr.eq(sent - HEADER_WORDS),
            ]

        def prepare():
            """Put the next word into the output register."""
            m.d.sync += self.o_words.p.last.eq(final)
            words = (winner, self.cycles, self.stalls, self.flash_stalls if config.streamed else C(0))
            m.d.sync += self.o_words.p.word.eq(kept)
            for chosen, word in zip(header, words, strict=True):
                with m.If(chosen):
                    m.d.sync += self.o_words.p.word.eq(word)
            if config.streamed:
                m.d.comb += self.next_kept.eq(is_score)

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += sent.eq(0)
                with m.If(self.send):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.busy.eq(1)
                m.next = "PREPARE"
            with m.State("PREPARE"):
                m.d.comb += self.busy.eq(1)
                prepare()
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.busy.eq(1)
                m.d.comb += self.o_words.valid.eq(1)
                with m.If(self.o_words.ready):
                    m.d.sync += sent.eq(sent + 1)
                    m.next = "READ"
                    with m.If(self.o_words.p.last):
                        m.next = "IDLE"

        return m
