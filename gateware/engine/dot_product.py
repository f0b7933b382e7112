"""Ternary dot product of one neuron and one timestep, with neither multiplier nor subtraction."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from gateware.engine.configuration import EngineConfig

__all__ = ["DotProduct", "weights_layout"]


def weights_layout(width: int) -> data.StructLayout:
    """Describe the weights of ``width`` synapses as two bit-planes of the 2-bit code of :mod:`arch.ternary`."""
    return data.StructLayout({
        "nonzero":  width,  # low bit of the code
        "negative": width,  # high bit of the code
    })


def _popcount4(bits):
    """Count up to four bits in one level of 4-input LUTs."""
    bits = [*bits, *[Const(0)] * (4 - len(bits))]
    a, b, c, d = bits
    four = a & b & c & d
    two  = (a & b) | (c & d) | ((a | b) & (c | d))
    return Cat(a ^ b ^ c ^ d, two & ~four, four)


def _add(low, high, maximum):
    """Add two counts of at most ``maximum``, a power of two.

    The highest bit of the sum is set only if both are ``maximum``, so it is no carry: on the iCE40 a carry leaves the
    chain by way of a cell of its own.
    """
    top = exact_log2(maximum)
    return Cat((low + high)[:top + 1], low[top] & high[top])


class DotProduct(wiring.Component):
    """Counts ``negative ^ (nonzero & spike)`` over ``width`` synapses.

    Each clock takes one word of spikes and one of weights. A synapse of weight -1 counts one when there is *no* spike.
    So the count is ``sum(w * s)`` plus the number of weights of -1: an offset which depends on the weights alone, and
    which the mapper takes out of the bias. One adder tree is left, where a count of the weights of +1 and one of those
    of -1 would take two trees and a subtraction.

    With ``split``, the slices of the word are counted apart and placed side by side, slice ``i`` worth
    ``2 ** (i * timesteps)``: slice ``i`` of a pixel word carries the bit-planes from ``i * timesteps`` on. A streamed
    circuit has no use for it: its slices are words of their own.

    Throughput: one word per clock. Latency: :attr:`latency` clocks from ``spikes`` and ``weights`` to ``total``;
    ``split`` must not change while words are under way. No flow control and no reset: what leaves the pipeline before
    the first word is not a sum. The count cannot overflow.
    Cost on the iCE40 at W = 16: in the circuit of the shipped network 42 LUTs, 44 flip-flops; in the overlay 41 LUTs,
    41 flip-flops.

    Parameters
    ----------
    config : :class:`EngineConfig`
        Uses ``width``, ``timesteps``, ``pixels`` and ``streamed``.

    Members
    -------
    spikes : :py:`In(width)`
    weights : :py:`In(weights_layout(width))`
    split : :py:`In(1)`
        Only in a circuit that is not streamed.
    total : :py:`Out(config.sum_width)`
    """

    def __init__(self, config: EngineConfig):
        self.config = config

        super().__init__({
            "spikes":  In(config.width),
            "weights": In(weights_layout(config.width)),
            **({} if config.streamed else {"split": In(1)}),
            "total":   Out(config.sum_width),
        })

    @staticmethod
    def latency_of(config: EngineConfig) -> int:
        """Clocks from a word to its count: gates, counts of four, one per adder level."""
        groups = -(-config.width // 4) if config.streamed else config.slices * -(-config.slice_width // 4)
        return 2 + exact_log2(groups)

    @property
    def latency(self) -> int:
        """Clocks from a word to its count."""
        return self.latency_of(self.config)

    def elaborate(self, platform):
        m = Module()

        config = self.config
        slices = 1 if config.streamed else config.slices
        length = config.width // slices

        def add_pairs(counts, maximum, name):
            """One registered adder level; ``maximum`` bounds each operand."""
            sums = []
            for index in range(0, len(counts), 2):
                pair = Signal(range(2 * maximum + 1), name=f"{name}_{index}", reset_less=True)
                m.d.sync += pair.eq(_add(counts[index], counts[index + 1], maximum))
                sums.append(pair)
            return sums

        gates = Signal(config.width, reset_less=True)
        m.d.sync += gates.eq(self.weights.negative ^ (self.weights.nonzero & self.spikes))

        apart = []
        for index in range(slices):
            synapses = list(gates[index * length:][:length])
            counts = []
            for start in range(0, len(synapses), 4):
                group = synapses[start:start + 4]
                count = Signal(range(len(group) + 1), name=f"count{index}_{start}", reset_less=True)
                m.d.sync += count.eq(_popcount4(group))
                counts.append(count)
            maximum = min(4, length)
            while len(counts) > 1:
                counts = add_pairs(counts, maximum, f"slice{index}_{len(counts)}")
                maximum *= 2
            apart.append(counts[0])

        if slices == 1:
            m.d.comb += self.total.eq(apart[0])
            return m

        counts = apart
        apart = Cat(*(Cat(count, C(0, 8))[:config.timesteps] for count in counts))
        while len(counts) > 2:
            counts = add_pairs(counts, maximum, f"tree{len(counts)}")
            apart_next = Signal.like(apart, name=f"apart{len(counts)}", reset_less=True)
            m.d.sync += apart_next.eq(apart)
            apart = apart_next
            maximum *= 2
        total = Signal(config.sum_width, reset_less=True)
        m.d.sync += total.eq(Mux(self.split, apart, _add(*counts, maximum)))
        m.d.comb += self.total.eq(total)

        return m
