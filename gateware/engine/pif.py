"""The PIF unit: integrate, fire and reset of one neuron per clock, all its timesteps in a pipeline."""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig, bits_for
from gateware.engine.neuron_array import sums_layout

__all__ = ["Current", "PifUnit", "constants_layout", "mode_layout", "stored_layout"]


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


def stored_layout(config: EngineConfig) -> data.StructLayout:
    """Describe what a neuron goes on from in the next block of timesteps; 0 if it begins there."""
    return data.StructLayout({
        "membrane": config.membrane_width,  # less the threshold, before the reset
        "goes_on":  1,                      # it was not reset to zero
    })


class PifUnit(wiring.Component):
    """Computes ``V += (a << F) + B; s = V >= threshold; V -= threshold if s`` for T timesteps of one neuron.

    Each clock takes the sums of one neuron, and with them, or two clocks later, its constants. Timestep t is computed
    by a stage of its own, t clocks after timestep 0. So the membrane is only in the register between two stages. A
    stage keeps ``V - threshold`` as it is before the reset: its sign is the spike, known from a register, and the next
    stage subtracts the threshold once more if there was one. The spikes of all timesteps leave together.

    A streamed circuit takes the sums as they are: they are currents. It computes more than T timesteps in blocks: in
    the first one, a neuron begins with its first bias and ``stored`` must be 0; in the others, it goes on from
    what has been stored. With ``block_last``, timesteps beyond those of the network have no spikes. A score is what the
    membrane of a neuron without threshold comes to.

    Throughput: one neuron per clock. Latency: :meth:`latency_of` clocks to ``spikes``, :meth:`score_latency_of` to
    ``score``. No flow control and no reset: what leaves without a neuron having entered means nothing. Arithmetic is
    modulo ``2 ** membrane_width``: exact for every membrane and every difference to the threshold within that range.
    Cost per timestep: 3 adders of about ``membrane_width`` LUTs; with ``leak``, two more and a shifter. On the iCE40 at
    T = 4 and 19 bits: 323 LUTs, 421 flip-flops, 559 logic cells; streamed, with blocks, at 20 bits: 283 LUTs, 353
    flip-flops, 465 logic cells, and 428 without blocks.

    Parameters
    ----------
    config : :class:`EngineConfig`

    Members
    -------
    sums : :py:`In(sums_layout(config))`
    constants : :py:`In(constants_layout(config))`
        Those of the neuron whose sums came :meth:`constants_latency_of` clocks before: straight out of a block RAM.
    mode : :py:`In(mode_layout(config))`
        Must not change while neurons are under way, nor in the clock before.
    block_first : :py:`In(1)`
        With the sums. This and the next three only in a streamed circuit.
    stored : :py:`In(stored_layout(config))`
        In the clock after the sums: what the neuron goes on from.
    o_stored : :py:`Out(stored_layout(config))`
        With the spikes: what it goes on from in the next block.
    block_last : :py:`In(1)`
        With the spikes.
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
            **({"block_first": In(1),
                "stored":      In(stored_layout(config)),
                "o_stored":    Out(stored_layout(config)),
                "block_last":  In(1)} if config.streamed else {}),
            "spikes":    Out(config.timesteps),
            "score":     Out(signed(config.score_width)),
        })

    @staticmethod
    def constants_latency_of(config: EngineConfig) -> int:
        """Clocks from ``sums`` to ``constants``: sum and selection, where the sums are not currents yet."""
        return 0 if config.streamed else 2

    @classmethod
    def latency_of(cls, config: EngineConfig) -> int:
        """Clocks from ``sums`` to ``spikes``: currents, bias, timesteps."""
        return cls.constants_latency_of(config) + 1 + config.timesteps

    @classmethod
    def score_latency_of(cls, config: EngineConfig) -> int:
        """Clocks from ``sums`` to ``score``: that of ``spikes`` if it is a membrane, else that of the bias."""
        return cls.latency_of(config) if config.streamed else cls.constants_latency_of(config) + 1

    def elaborate(self, platform):
        m = Module()

        config, mode = self.config, self.mode
        steps, width = config.timesteps, config.membrane_width
        current = list(self.sums) if config.streamed else self._currents(m)

        # Bias of every timestep at once: the threshold alone has to travel along the stages. It does as its complement,
        # which is what a subtraction adds.
        first = Mux(self.block_first, self.constants.first, self.constants.bias) if config.blocks > 1 \
            else self.constants.first
        charge = []
        for step in range(steps):
            charge.append(Signal(width, name=f"charge{step}_0", reset_less=True))
            bias = self.constants.bias if step else first
            m.d.sync += charge[step].eq((current[step] << config.fraction) + bias)
        complement = Signal(width, reset_less=True)
        m.d.sync += complement.eq(~self.constants.threshold)

        # What a neuron goes on from in timestep 0: what is stored, or nothing.
        membrane = begins = None
        if config.blocks > 1:
            membrane, begins = self.stored.membrane, ~self.stored.goes_on
        spikes = Signal(0)
        for step in range(steps):
            # Membrane less threshold, before the reset.
            result    = Signal(width, name=f"result{step}")
            following = Signal(width, name=f"membrane{step}", reset_less=True)
            m.d.comb += result.eq(self._step(m, step, membrane, begins, charge[step], ~complement))
            m.d.sync += following.eq(result)
            membrane, begins = following, C(0)
            if config.hard_reset:
                # A register, though the membrane says it: from there, the LUTs of the adders had an input too many.
                begins = Signal(name=f"begins{step + 1}", reset_less=True)
                m.d.sync += begins.eq(~result[-1] & mode.hard)

            if step + 1 < steps:
                delayed_complement = Signal(width, name=f"complement{step + 1}", reset_less=True)
                m.d.sync += delayed_complement.eq(complement)
                complement = delayed_complement
                for later in range(step + 1, steps):
                    delayed = Signal(width, name=f"charge{later}_{step + 1}", reset_less=True)
                    m.d.sync += delayed.eq(charge[later])
                    charge[later] = delayed
                delayed_spikes = Signal(step + 1, name=f"spikes{step}", reset_less=True)
                m.d.sync += delayed_spikes.eq(Cat(spikes, ~membrane[-1]))
                spikes = delayed_spikes
        spikes = Cat(spikes, ~membrane[-1])

        if config.streamed:
            absent = Signal(steps)
            m.d.sync += absent.eq(Cat(mode.timesteps < step for step in range(steps)))
            m.d.comb += [
                self.spikes.eq(spikes & ~(absent & self.block_last.replicate(steps))),
                self.o_stored.membrane.eq(membrane),
                self.o_stored.goes_on.eq(~begins),
                self.score.eq(membrane.as_signed() >> config.fraction),
            ]
        else:
            m.d.comb += self.spikes.eq(spikes)
            m.d.comb += self.score.eq(charge[0].as_signed() >> config.fraction)

        return m

    def _currents(self, m):
        """Make currents of the sums of a circuit that is not streamed, in two clocks."""
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
        return current

    def _step(self, m, step, membrane, begins, charge, threshold):
        """Go on from a membrane less its threshold: reset it, leak, add the charge, and subtract the threshold.

        With ``begins``, or without a membrane, begin at 0.
        """
        config, mode = self.config, self.mode
        width = config.membrane_width
        if membrane is None:
            return charge - threshold
        spike = ~membrane[-1]
        charged = Signal(width, name=f"charged{step}")
        reduced = Signal(width, name=f"reduced{step}")
        m.d.comb += reduced.eq(charged - threshold)
        if not config.leak:
            # Both multiplexers share the LUTs of the adders before them. A neuron that begins is one with a spike.
            m.d.comb += charged.eq(Mux(begins, charge, membrane + charge))
            return Mux(spike, reduced, charged)

        kept    = Signal(width, name=f"kept{step}")
        shifted = Signal(signed(width), name=f"shifted{step}")
        leaked  = Signal(width, name=f"leaked{step}")
        m.d.comb += [
            kept.eq(Mux(begins, 0, Mux(spike, membrane, membrane + threshold))),
            shifted.eq(kept.as_signed() >> mode.leak),
            # The scaled membrane has ``scale`` zeros at its low end, and the leak is a multiple of them.
            leaked.eq(shifted & ~((1 << mode.scale) - 1)),
            charged.eq(kept - Mux(mode.leaky, leaked, 0) + charge),
        ]
        return reduced
