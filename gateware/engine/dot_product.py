"""Ternary dot product of one neuron and one timestep, with neither multiplier nor subtraction."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

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


class DotProduct(wiring.Component):
    """Counts ``negative ^ (nonzero & spike)`` over ``width`` synapses.

    Each clock takes one word of spikes and one of weights. A synapse of weight -1 counts one when there is *no* spike.
    So the count is ``sum(w * s)`` plus the number of weights of -1: an offset which depends on the weights alone, and
    which the mapper takes out of the bias. One adder tree is left, where a count of the weights of +1 and one of those
    of -1 would take two trees and a subtraction.

    With ``split``, the slices of the word are counted apart and placed side by side, slice ``i`` worth
    ``2 ** (i * timesteps)``: slice ``i`` of a pixel word carries the bit-planes from ``i * timesteps`` on.

    Throughput: one word per clock. Latency: :attr:`latency` clocks from ``spikes`` and ``weights`` to ``total``;
    ``split`` must not change while words are under way. No flow control and no reset: what leaves the pipeline before
    the first word is not a sum. The count cannot overflow.
    Cost on the iCE40 at W = 16, with pixels: 40 LUTs, 44 flip-flops.

    Parameters
    ----------
    config : :class:`EngineConfig`
        Uses ``width``, ``timesteps`` and ``pixels``.

    Members
    -------
    spikes : :py:`In(width)`
    weights : :py:`In(weights_layout(width))`
    split : :py:`In(1)`
    total : :py:`Out(config.sum_width)`
    """

    def __init__(self, config: EngineConfig):
        self.config = config

        super().__init__({
            "spikes":  In(config.width),
            "weights": In(weights_layout(config.width)),
            "split":   In(1),
            "total":   Out(config.sum_width),
        })

    @staticmethod
    def latency_of(config: EngineConfig) -> int:
        """Clocks from a word to its count: gates, counts of four, one per adder level."""
        groups = -(-config.slice_width // 4)
        within = (groups - 1).bit_length()
        return 2 + within + (config.slices - 1).bit_length() + (config.slices == 1)

    @property
    def latency(self) -> int:
        """Clocks from a word to its count."""
        return self.latency_of(self.config)

    def elaborate(self, platform):
        m = Module()

        config = self.config

        def add_pairs(counts, maximum, name):
            """One registered adder level; ``maximum`` bounds each operand."""
            sums = []
            for index in range(0, len(counts) - 1, 2):
                pair = Signal(range(2 * maximum + 1), name=f"{name}_{index}", reset_less=True)
                m.d.sync += pair.eq(counts[index] + counts[index + 1])
                sums.append(pair)
            if len(counts) % 2:
                rest = Signal.like(counts[-1], name=f"{name}_rest", reset_less=True)
                m.d.sync += rest.eq(counts[-1])
                sums.append(rest)
            return sums

        gates = Signal(config.width, reset_less=True)
        m.d.sync += gates.eq(self.weights.negative ^ (self.weights.nonzero & self.spikes))

        slices = []
        for index in range(config.slices):
            synapses = list(gates[index * config.slice_width:][:config.slice_width])
            counts = []
            for start in range(0, len(synapses), 4):
                group = synapses[start:start + 4]
                count = Signal(range(len(group) + 1), name=f"count{index}_{start}", reset_less=True)
                m.d.sync += count.eq(_popcount4(group))
                counts.append(count)
            maximum = min(4, config.slice_width)
            while len(counts) > 1:
                counts = add_pairs(counts, maximum, f"slice{index}_{len(counts)}")
                maximum *= 2
            slices.append(counts[0])

        apart = Cat(*(Cat(count, C(0, 8))[:config.timesteps] for count in slices))
        counts = slices
        maximum = config.slice_width
        while len(counts) > 2:
            counts = add_pairs(counts, maximum, f"tree{len(counts)}")
            apart_next = Signal.like(apart, name=f"apart{len(counts)}", reset_less=True)
            m.d.sync += apart_next.eq(apart)
            apart = apart_next
            maximum *= 2

        together = Signal(range(config.width + 1))
        m.d.comb += together.eq(counts[0] + counts[1] if len(counts) == 2 else counts[0])
        total = Signal(config.sum_width, reset_less=True)
        m.d.sync += total.eq(Mux(self.split, apart, together) if config.slices > 1 else together)
        m.d.comb += self.total.eq(total)

        return m
