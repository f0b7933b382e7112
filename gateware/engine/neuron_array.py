"""The array: P output channels x T timesteps of accumulators, fed by one spike word per clock."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.dot_product import DotProduct, weights_layout

__all__ = ["NeuronArray", "beat_layout", "ending_layout", "follow_ending", "segment_layout", "sums_layout",
           "word_layout"]


def word_layout(config: EngineConfig) -> data.ArrayLayout:
    """Describe one spike word: ``width`` lanes, the ``timesteps`` bits of a lane adjacent."""
    return data.ArrayLayout(config.timesteps, config.width)


def beat_layout() -> data.StructLayout:
    """Describe what a clock of the array is for."""
    return data.StructLayout({
        "valid": 1,  # this clock carries a word
        "first": 1,  # it begins a sum
        "last":  1,  # it ends the sum
    })


def ending_layout(config: EngineConfig) -> data.StructLayout:
    """Describe what the end of a segment is for; a sum of a baked circuit is one segment.

    Valid with ``last`` of a :func:`beat_layout`.
    """
    segment = {
        "opens":        1,  # first segment of a sum: start from 0
        "closes":       1,  # last segment of a sum: to the neurons
        "sum_end":      1,  # the next segment has the next slot of the partial sums
        "part_end":     1,  # ... and that is slot 0
        "scaled":       1,  # worth ``2 ** timesteps`` times as much
        "block_first":  1,  # of the blocks of timesteps
        "block_last":   1,
    } if config.streamed else {}
    return data.StructLayout({
        **segment,
        "window_first": 1,  # of the pooling window
        "window_last":  1,
        "group_last":   1,  # the next sum is of the next group of channels
    })


def follow_ending(m: Module, config: EngineConfig, *, ending: Value, strobe: Value, stable: int, delay: int,
                  name: str) -> Value:
    """Make registers that hold the flags of an ending until its sums have come as far as they are wanted.

    Endings are at least :attr:`EngineConfig.cooldown_cycles` apart, so one register does for as many clocks.

    Parameters
    ----------
    ending : flags, which hold from the clock of ``strobe`` on
    strobe : once per ending
    stable : clocks for which they hold at least, that of the strobe included
    delay : clocks after the strobe in which the flags are wanted
    name : prefix of the registers

    Returns
    -------
    The flags, valid ``delay`` clocks after the strobe, if not longer.
    """
    last = stable - 1  # clocks after the strobe until which they hold
    line = [strobe]    # the strobe, delayed
    while last < delay:
        while len(line) <= last:
            line.append(Signal(name=f"{name}_strobe{len(line)}"))
            m.d.sync += line[-1].eq(line[-2])
        held = Signal(ending_layout(config), name=f"{name}{last + 1}", reset_less=True)
        with m.If(line[last]):
            m.d.sync += held.eq(ending)
        ending, last = held, last + config.cooldown_cycles
    return ending


def sums_layout(config: EngineConfig) -> data.ArrayLayout:
    """Describe the whole sums of one neuron, one per timestep."""
    return data.ArrayLayout(config.current_width, config.timesteps)


def segment_layout(config: EngineConfig) -> data.ArrayLayout:
    """Describe what the array sums for one neuron, one sum per timestep."""
    return data.ArrayLayout(config.accumulator_width, config.timesteps)


class NeuronArray(wiring.Component):
    """Sums the words of ``lanes`` neurons x ``timesteps`` and hands the neurons out one by one.

    A word is summed in all ``lanes`` neurons, each with its own weights, and in all timesteps. When a word with
    ``last`` has been added, the sums of all neurons are copied to a shift register and leave it in ascending order,
    one neuron per clock, while the next sums grow. The word after one with ``last`` begins the next sums. In a streamed
    circuit a sum is that of a segment; :mod:`gateware.engine.partial_sums` adds the segments.

    Throughput: one word per clock; a sum must not end within :attr:`EngineConfig.cooldown_cycles` clocks of the end of
    the sum before it. Latency: ``load`` comes :meth:`latency_of` clocks after the word with ``last``; the
    neurons leave in the ``lanes`` clocks after ``load``. No flow control. Sums must stay below
    ``2 ** accumulator_width``: beyond, they spoil those of the next timestep. Reset clears only the control pipeline.
    Cost: per neuron and timestep the dot product, ``accumulator_width`` LUTs with flip-flops for the sum, and as many
    for the shift register. On the iCE40 at P = 8, W = 16 and T = 4: in the circuit of the shipped network 1,856 LUTs,
    1,994 flip-flops, 2,004 logic cells; in the overlay 1,795 LUTs, 1,834 flip-flops, 1,843 logic cells. Their
    accumulators have 9 and 8 bits.

    Parameters
    ----------
    config : :class:`EngineConfig`

    Members
    -------
    beat : :py:`In(beat_layout())`
        Aligned with ``word`` and ``weights``.
    word : :py:`In(word_layout(config))`
    weights : :py:`In(data.ArrayLayout(weights_layout(config.width), config.lanes))`
    split : :py:`In(1)`
        Pixel mode; must not change while sums are under way. Only in a circuit that is not streamed.
    load : :py:`Out(1)`
        The first neuron leaves in the next clock.
    sums : :py:`Out(segment_layout(config))`
        Sums of one neuron.
    """

    def __init__(self, config: EngineConfig):
        self.config = config

        super().__init__({
            "beat":    In(beat_layout()),
            "word":    In(word_layout(config)),
            "weights": In(data.ArrayLayout(weights_layout(config.width), config.lanes)),
            **({} if config.streamed else {"split": In(1)}),
            "load":    Out(1),
            "sums":    Out(segment_layout(config)),
        })

    @staticmethod
    def latency_of(config: EngineConfig) -> int:
        """Clocks from the last word to ``load``: the dot product and the accumulator."""
        return DotProduct.latency_of(config) + 1

    def elaborate(self, platform):
        m = Module()

        config = self.config

        beat = self.beat
        for stage in range(DotProduct.latency_of(config)):
            delayed = Signal(beat_layout(), name=f"beat{stage}")
            m.d.sync += delayed.eq(beat)
            beat = delayed
        first = Signal(init=1)  # the next word begins a sum
        m.d.sync += self.load.eq(beat.valid & beat.last)
        with m.If(beat.valid):
            m.d.sync += first.eq(beat.last)

        width = config.accumulator_width
        sums  = segment_layout(config)
        held  = [Signal(sums, name=f"held{lane}", reset_less=True) for lane in range(config.lanes)]
        for lane in range(config.lanes):
            counts = []
            for step in range(config.timesteps):
                m.submodules[f"dot{lane}_{step}"] = dot = DotProduct(config)
                m.d.comb += [
                    dot.spikes.eq(Cat(self.word[synapse][step] for synapse in range(config.width))),
                    dot.weights.eq(self.weights[lane]),
                ]
                if not config.streamed:
                    m.d.comb += dot.split.eq(self.split)
                counts.append(dot.total)

            total  = Signal(sums, name=f"total{lane}", reset_less=True)
            # One carry chain for all timesteps: no sum overflows into the next one, and only the lowest bit of a chain
            # takes a cell more than its own on the iCE40.
            padded = Cat(Cat(count, C(0, width))[:width] for count in counts)
            added  = Signal(sums, name=f"added{lane}")
            m.d.comb += added.eq(total.as_value() + padded)
            with m.If(beat.valid):
                for step, count in enumerate(counts):
                    # The upper bits as an AND, because a multiplexer would become a synchronous reset, which the lower
                    # bits have not: the chain would be cut in two.
                    m.d.sync += total[step].eq(Cat(Mux(first, count, added[step][:len(count)]),
                                                   added[step][len(count):] & ~first.replicate(width)))
            following = held[lane + 1] if lane + 1 < config.lanes else total
            m.d.sync += held[lane].eq(Mux(self.load, total, following))
        m.d.comb += self.sums.eq(held[0])

        return m
