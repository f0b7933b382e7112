"""The PIF unit: integrate, fire and reset of one neuron per clock, all its timesteps in a pipeline."""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.adder_pair import AdderPairFactory
from gateware.engine.configuration import EngineConfig, bits_for
from gateware.engine.neuron_array import sums_layout

__all__ = ["Current", "PifUnit", "constants_layout", "mode_layout", "stored_layout"]


#: Bits that each of a pair of adders delays.
DELAY_WIDTH = 16


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
    T = 4: in the circuit of the shipped network 318 LUTs, 418 flip-flops, 550 logic cells; in the overlay 219 LUTs,
    133 flip-flops, 246 logic cells, 5 multipliers; the same without multipliers 283 LUTs, 353 flip-flops, 466 logic
    cells. Their membranes have 19 and 20 bits.

    Parameters
    ----------
    config : :class:`EngineConfig`
    adder_pair : :class:`AdderPairFactory`, optional
        Makes pairs of adders with registers before them that cost nothing: they add currents and biases, and delay
        charges and thresholds. None makes all of it of logic cells.

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

    def __init__(self, config: EngineConfig, *, adder_pair: AdderPairFactory | None = None):
        self.config     = config
        self.adder_pair = adder_pair

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
        biases = [self.constants.bias if step else first for step in range(steps)]
        charge = self._charges(m, current, biases)
        complement = [Signal(width, name=f"complement{step}", reset_less=True) for step in range(steps)]
        m.d.sync += complement[0].eq(~self.constants.threshold)
        self._delay(m, complement)

        # What a neuron goes on from in timestep 0: what is stored, or nothing.
        membrane = begins = None
        if config.blocks > 1:
            membrane, begins = self.stored.membrane, ~self.stored.goes_on
        spikes = Signal(0)
        for step in range(steps):
            # Membrane less threshold, before the reset.
            result    = Signal(width, name=f"result{step}")
            following = Signal(width, name=f"membrane{step}", reset_less=True)
            m.d.comb += result.eq(self._step(m, step, membrane, begins, charge[step], ~complement[step]))
            m.d.sync += following.eq(result)
            membrane, begins = following, C(0)
            if config.hard_reset:
                # A register, though the membrane says it: from there, the LUTs of the adders had an input too many.
                begins = Signal(name=f"begins{step + 1}", reset_less=True)
                m.d.sync += begins.eq(~result[-1] & mode.hard)

            if step + 1 < steps:
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

    def _charges(self, m, current, biases):
        """Add currents and biases, and delay the charge of each timestep to its stage: by a clock, and one per step."""
        fraction = self.config.fraction
        width    = self.config.membrane_width - fraction

        def delay(value, clocks, name):
            for age in range(clocks):
                delayed = Signal(value.shape(), name=f"{name}_{age}", reset_less=True)
                m.d.sync += delayed.eq(value)
                value = delayed
            return value

        # Nothing is added to the bits of the fraction.
        fractions = [delay(bias[:fraction], 1 + step, f"fraction{step}") for step, bias in enumerate(biases)]
        biases    = [bias[fraction:] for bias in biases]
        if self.adder_pair is None:
            charges = []
            for step, bias in enumerate(biases):
                charge = Signal(width, name=f"charge{step}", reset_less=True)
                m.d.sync += charge.eq(current[step] + bias)
                charges.append(delay(charge, step, f"charge{step}"))
        else:
            charges = self._charges_of_pairs(m, current, biases)
        return [Cat(low, high) for low, high in zip(fractions, charges, strict=True)]

    def _charges_of_pairs(self, m, current, biases):
        """Add in pairs of adders, and delay in further pairs, each by a clock, or two with the registers before it."""
        charges = []
        for start in range(0, len(biases), 2):
            values  = list(zip(current[start:start + 2], biases[start:start + 2], strict=True))
            further = start // 2
            lates   = [(start > 0, True), *((turn + 1 < further, True) for turn in range(further))]
            for turn, late in enumerate(lates):
                m.submodules[f"charges{start}_{turn}"] = pair = self.adder_pair(width=len(biases[0]), late=late)
                m.d.comb += pair.alone.eq(turn > 0)
                for index, (current_, bias) in enumerate(values):
                    m.d.comb += pair.a[index].eq(current_)
                    m.d.comb += pair.b[index].eq(bias)
                values = [(pair.sums[index], C(0)) for index in range(len(values))]
            charges += [value for value, _ in values]
        return charges

    def _delay(self, m, line):
        """Delay the first of ``line`` by a clock into each of the others, in pairs of adders if there are any."""
        before, after = Cat(line[:-1]), Cat(line[1:])
        if self.adder_pair is None:
            m.d.sync += after.eq(before)
            return
        size = 2 * DELAY_WIDTH
        for start in range(0, len(after), size):
            m.submodules[f"delays{start}"] = pair = self.adder_pair(width=DELAY_WIDTH)
            m.d.comb += pair.alone.eq(1)
            m.d.comb += pair.a.eq(before[start:start + size])
            m.d.comb += after[start:start + size].eq(pair.sums)

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
