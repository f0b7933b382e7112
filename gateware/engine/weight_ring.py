"""The ring of weight rows and that of constants: what a streamed circuit keeps of its model at a time."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.dot_product import weights_layout
from gateware.engine.masked_ram import EntryRing, MaskedRam, MaskedRamFactory
from gateware.engine.pif import constants_layout

__all__ = ["BANK_WEIGHTS", "ConstantRing", "WeightRing"]

#: Weights of a row that a bank holds, two bits each.
BANK_WEIGHTS = 8


class WeightRing(wiring.Component):
    """Keeps ``weight_rows`` rows of ``lanes x width`` ternary weights; reads a row a clock and writes some weights.

    The weights of a row are held in banks of eight, lane by lane: weight p of bank b is weight ``8 b + p`` of the row.

    Throughput: a row read and a write per clock. The weights follow the row number by one clock; what is read of a row
    in the clock of a write to it is undefined. No flow control: whoever writes keeps count of the rows in use.
    Cost on the iCE40: one block RAM per bank and 256 rows, 16 at P = 8 and W = 16, and the inverters of ``mask``.

    Parameters
    ----------
    config : :class:`EngineConfig`
    masked_ram : :class:`MaskedRamFactory`
        Makes the banks.

    Members
    -------
    row : :py:`In(config.row_width)`
    weights : :py:`Out(data.ArrayLayout(weights_layout(config.width), config.lanes))`
    write_row : :py:`In(config.row_width)`
    banks : :py:`In(WeightRing.banks_of(config))`
        Banks to write, one bit each.
    mask : :py:`In(data.ArrayLayout(8, banks))`
        Weights of each bank to write, one bit each.
    write_weights : :py:`In(data.ArrayLayout(data.ArrayLayout(2, 8), banks))`
        Weights in the 2-bit code of :mod:`arch.ternary`.

    Raises
    ------
    :exc:`ValueError`
        If a row is no whole number of banks.
    """

    def __init__(self, config: EngineConfig, *, masked_ram: MaskedRamFactory = MaskedRam):
        if config.lanes * config.width % BANK_WEIGHTS:
            raise ValueError(f"lanes x width must be a multiple of {BANK_WEIGHTS} weights for a ring, "
                             f"not {config.lanes} x {config.width}")
        self.config     = config
        self.masked_ram = masked_ram

        banks = self.banks_of(config)
        super().__init__({
            "row":           In(config.row_width),
            "weights":       Out(data.ArrayLayout(weights_layout(config.width), config.lanes)),
            "write_row":     In(config.row_width),
            "banks":         In(banks),
            "mask":          In(data.ArrayLayout(BANK_WEIGHTS, banks)),
            "write_weights": In(data.ArrayLayout(data.ArrayLayout(2, BANK_WEIGHTS), banks)),
        })

    @staticmethod
    def banks_of(config: EngineConfig) -> int:
        """Count the banks of a row."""
        return config.lanes * config.width // BANK_WEIGHTS

    def elaborate(self, platform):
        m = Module()

        codes = []
        for index in range(self.banks_of(self.config)):
            m.submodules[f"bank{index}"] = bank = self.masked_ram(
                width=2 * BANK_WEIGHTS, depth=self.config.weight_rows)
            m.d.comb += [
                bank.read_address.eq(self.row),
                bank.write.eq(self.banks[index]),
                bank.write_address.eq(self.write_row),
                bank.mask.eq(Cat(weight.replicate(2) for weight in self.mask[index])),
                bank.write_data.eq(self.write_weights[index]),
            ]
            codes += [bank.read_data.word_select(place, 2) for place in range(BANK_WEIGHTS)]
        for lane in range(self.config.lanes):
            row = codes[lane * self.config.width:][:self.config.width]
            m.d.comb += self.weights[lane].nonzero.eq(Cat(code[0] for code in row))
            m.d.comb += self.weights[lane].negative.eq(Cat(code[1] for code in row))

        return m


class ConstantRing(wiring.Component):
    """Keeps the constants of ``channel_groups x lanes`` neurons, written byte by byte.

    A neuron takes eight bytes of the stream, the bits of ``constants_layout`` in ascending order.

    Throughput: a neuron read and a byte written per clock. The constants follow the address by one clock; what is read
    of a neuron in the clock of a write to it is undefined. No flow control: whoever writes keeps count of the groups in
    use. Cost on the iCE40: ``3 * membrane_width / 16`` block RAMs per 256 neurons, rounded up, and the inverters
    of ``write_mask``.

    Parameters
    ----------
    config : :class:`EngineConfig`
    masked_ram : :class:`MaskedRamFactory`
        Makes the memory.

    Members
    -------
    group : :py:`In(config.group_width)`
    lane : :py:`In(range(config.lanes))`
    constants : :py:`Out(constants_layout(config))`
    write : :py:`In(1)`
    write_group : :py:`In(config.group_width)`
    write_lane : :py:`In(range(config.lanes))`
    write_mask : :py:`In(8)`
        Which of the eight bytes, one bit each.
    write_data : :py:`In(8)`

    Raises
    ------
    :exc:`ValueError`
        If the constants of a neuron have more than 64 bits.
    """

    def __init__(self, config: EngineConfig, *, masked_ram: MaskedRamFactory = MaskedRam):
        if constants_layout(config).size > 8 * EntryRing.BYTES:
            raise ValueError(f"constants of a neuron must be at most {8 * EntryRing.BYTES} bits for a ring, "
                             f"not 3 x {config.membrane_width}")
        self.config     = config
        self.masked_ram = masked_ram

        super().__init__({
            "group":       In(config.group_width),
            "lane":        In(range(config.lanes)),
            "constants":   Out(constants_layout(config)),
            "write":       In(1),
            "write_group": In(config.group_width),
            "write_lane":  In(range(config.lanes)),
            "write_mask":  In(EntryRing.BYTES),
            "write_data":  In(8),
        })

    def elaborate(self, platform):
        m = Module()

        config = self.config
        m.submodules.neurons = ring = EntryRing(width=constants_layout(config).size, masked_ram=self.masked_ram,
                                                depth=config.channel_groups * config.lanes)
        m.d.comb += [
            ring.read_address.eq(Cat(self.lane, self.group)),
            self.constants.eq(ring.read_data),
            ring.write.eq(self.write),
            ring.write_address.eq(Cat(self.write_lane, self.write_group)),
            ring.write_mask.eq(self.write_mask),
            ring.write_data.eq(self.write_data),
        ]

        return m
