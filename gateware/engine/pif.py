"""The PIF unit: integrate, fire and reset of one neuron per clock, all its timesteps in a pipeline."""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig, bits_for
from gateware.engine.neuron_array import sums_layout

__all__ = ["Current", "PifUnit", "constants_layout", "mode_layout"]


class Current(enum.Enum, shape=unsigned(2)):
    """What the sums of a neuron mean."""

    #: One current per timestep.
    STEPS  = 0
    #: Sums of bit-planes: the same current, ``sum(sum_t << t)``, in every timestep.
    PLANES = 1
    #: No neuron: the score is ``sum(sum_t)`` over the network's timesteps.
    SCORE  = 2


def constants_layout(config: EngineConfig) -> data.StructLayout:
    """Describe the constants of one neuron, in units of ``2 ** -fraction``.

    ``first`` is the bias of the first timestep with the (leaked) initial membrane in it. Both biases have the offset
    of :class:`gateware.engine.dot_product.DotProduct` taken out, modulo ``2 ** membrane_width``.
    """
    return data.StructLayout({
        "first":     config.membrane_width,
        "bias":      config.membrane_width,
        "threshold": config.membrane_width,
    })


def mode_layout(config: EngineConfig) -> data.StructLayout:
    """Describe how the neurons of a layer behave."""
    return data.StructLayout({
        "current":   Current,
        "hard":      1,                                     # reset to zero
        "leaky":     1,
        "leak":      bits_for(config.membrane_width - 1),   # shift of the scaled membrane
        "scale":     bits_for(config.fraction),             # fraction - F of the layer
        "timesteps": bits_for(config.timesteps - 1),        # timesteps of the network, minus one
    })


class PifUnit(wiring.Component):
    """Computes ``V += (a << F) + B; s = V >= threshold; V -= threshold if s`` for T timesteps of one neuron.

    Each clock takes the sums of one neuron, and two clocks later its constants. Timestep t is computed by a stage of
    its own, t clocks after timestep 0. So the membrane is only in the register between two stages, and no memory holds
    it. The spikes of all timesteps leave together.

    Throughput: one neuron per clock. Latency: :meth:`latency_of` clocks to ``spikes``, 3 to ``score``. No flow
    control and no reset: what leaves without a neuron having entered means nothing. Arithmetic is modulo
    ``2 ** membrane_width``: exact for every membrane within that range.
    Cost per timestep: 3 adders of about ``membrane_width`` LUTs; with ``leak``, one more and a shifter. On the iCE40 at
    T = 4 and 19 bits: 373 LUTs, 421 flip-flops.

    Parameters
    ----------
    config : :class:`EngineConfig`

    Members
    -------
    sums : :py:`In(sums_layout(config))`
    constants : :py:`In(constants_layout(config))`
        Those of the neuron whose sums came two clocks before: they come straight out of a block RAM.
    mode : :py:`In(mode_layout(config))`
        Must not change while neurons are under way, nor in the clock before.
    spikes : :py:`Out(config.timesteps)`
        Bit t is the spike of timestep t.
    score : :py:`Out(signed(config.score_width))`
        With :attr:`Current.SCORE`: the sum over time with the offset taken out by ``first``.
    """

    def __init__(self, config: EngineConfig):
        self.config = config

        super().__init__({
            "sums":      In(sums_layout(config)),
            "constants": In(constants_layout(config)),
            "mode":      In(mode_layout(config)),
            "spikes":    Out(config.timesteps),
            "score":     Out(signed(config.score_width)),
        })

    @staticmethod
    def latency_of(config: EngineConfig) -> int:
        """Clocks from ``sums`` to ``spikes``: sum, selection, bias, timesteps."""
        return 3 + config.timesteps

    def elaborate(self, platform):
        m = Module()

        config, mode = self.config, self.mode
        steps, width = config.timesteps, config.membrane_width
        # The mode is that of a layer: decoded into registers, off the critical path.
        planes = Signal()
        single = Signal()
        absent = Signal(steps)
        m.d.sync += [
            planes.eq(mode.current == Current.PLANES),
            single.eq(mode.current != Current.STEPS),
            absent.eq(Cat((mode.current == Current.SCORE) & (mode.timesteps < step) for step in range(steps))),
        ]

        # Sum over time or over bit-planes. One adder tree serves both: planes enter shifted.
        sums = Signal(sums_layout(config), reset_less=True)
        m.d.sync += sums.eq(self.sums)

        def add(low, high, shift):
            return low + Mux(planes, high << shift, high)

        used  = [Mux(absent[step], 0, self.sums[step]) if step else self.sums[step] for step in range(steps)]
        terms = []
        for step in range(0, steps, 2):
            pair = Signal(config.accumulator_width + 2, name=f"pair{step}", reset_less=True)
            m.d.sync += pair.eq(add(used[step], used[step + 1], 1) if step + 1 < steps else used[step])
            terms.append(pair)
        shift = 2
        while len(terms) > 1:
            terms = [add(terms[index], terms[index + 1], shift) if index + 1 < len(terms) else terms[index]
                     for index in range(0, len(terms), 2)]
            shift *= 2
        total = terms[0]

        total_width = min(width - config.fraction, config.accumulator_width + steps)
        current = [Signal(total_width, name=f"current{step}", reset_less=True) for step in range(steps)]
        for step in range(steps):
            m.d.sync += current[step].eq(Mux(single, total, sums[step]))

        # Bias of every timestep at once: the threshold alone has to travel along the stages.
        charge    = []
        for step in range(steps):
            charge.append(Signal(width, name=f"charge{step}_0", reset_less=True))
            bias = self.constants.bias if step else self.constants.first
            m.d.sync += charge[step].eq((current[step] << config.fraction) + bias)
        threshold = Signal(width, reset_less=True)
        m.d.sync += threshold.eq(self.constants.threshold)
        m.d.comb += self.score.eq(charge[0].as_signed() >> config.fraction)

        membrane = None
        spikes   = Signal(0)
        for step in range(steps):
            # Membrane before the reset, and what a spike would leave of it.
            charged = Signal(width, name=f"charged{step}")
            if membrane is None:
                m.d.comb += charged.eq(charge[step])
            else:
                kept = membrane
                if config.leak:
                    shifted = Signal(signed(width), name=f"shifted{step}")
                    leaked  = Signal(width, name=f"leaked{step}")
                    m.d.comb += shifted.eq(membrane.as_signed() >> mode.leak)
                    # The scaled membrane has ``scale`` zeros at its low end, and the leak is a multiple of them.
                    m.d.comb += leaked.eq(shifted & ~((1 << mode.scale) - 1))
                    kept = membrane - Mux(mode.leaky, leaked, 0)
                m.d.comb += charged.eq(kept + charge[step])
            reduced = Signal(width, name=f"reduced{step}")
            spike   = Signal(name=f"spike{step}")
            m.d.comb += reduced.eq(charged - threshold)
            m.d.comb += spike.eq(~reduced[-1])

            following = Signal(width, name=f"membrane{step}", reset_less=True)
            # What a reset leaves is never negative. As an AND, because a multiplexer would become a synchronous reset
            # and the spike be routed across the chip for it.
            m.d.sync += following.eq(Cat(Mux(spike, reduced, charged)[:-1], charged[-1] & reduced[-1]))
            if config.hard_reset:
                with m.If(spike & mode.hard):
                    m.d.sync += following.eq(0)
            membrane = following

            delayed_spikes = Signal(step + 1, name=f"spikes{step}", reset_less=True)
            m.d.sync += delayed_spikes.eq(Cat(spikes, spike))
            spikes = delayed_spikes

            if step + 1 < steps:
                delayed_threshold = Signal(width, name=f"threshold{step + 1}", reset_less=True)
                m.d.sync += delayed_threshold.eq(threshold)
                threshold = delayed_threshold
                for later in range(step + 1, steps):
                    delayed = Signal(width, name=f"charge{later}_{step + 1}", reset_less=True)
                    m.d.sync += delayed.eq(charge[later])
                    charge[later] = delayed
        m.d.comb += self.spikes.eq(spikes)

        return m
