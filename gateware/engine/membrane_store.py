"""Keeps the membranes of a pooling window from one block of timesteps to the next, and the scores of a readout."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.masked_ram import MaskedRam, MaskedRamFactory
from gateware.engine.pif import stored_layout

__all__ = ["STORED_NEURONS", "MembraneStore"]

#: Most neurons that are kept; one word more is what a neuron begins with.
STORED_NEURONS = 255


class MembraneStore(wiring.Component):
    """Keeps what neurons go on from, in the order in which they come and leave.

    Neurons have no number: the n-th that is read is the n-th that was written, counted from the last ``clear`` or the
    last one with ``read_last`` or ``write_last``. A neuron that begins reads 0. The scores of a readout are kept as
    membranes are, and read after a ``clear``.

    Throughput: a read and a write per clock. ``stored`` follows ``read`` by one clock. What is written can be read from
    the next clock on. More than :data:`STORED_NEURONS` neurons overwrite each other. Reset starts both counts.
    Cost on the iCE40: in the overlay 26 LUTs, 16 flip-flops, 2 block RAMs.

    Parameters
    ----------
    config : :class:`EngineConfig`
    masked_ram : :class:`MaskedRamFactory`
        Makes the memory.

    Members
    -------
    clear : :py:`In(1)`
        The next neuron is the first one, for reads and for writes.
    read : :py:`In(1)`
    begins : :py:`In(1)`
        With ``read``: the neuron begins.
    read_last : :py:`In(1)`
        With ``read``: the next neuron is the first one again.
    stored : :py:`Out(stored_layout(config))`
    write : :py:`In(1)`
    write_last : :py:`In(1)`
        With ``write``: the next neuron is the first one again.
    i_stored : :py:`In(stored_layout(config))`
    """

    def __init__(self, config: EngineConfig, *, masked_ram: MaskedRamFactory = MaskedRam):
        self.config     = config
        self.masked_ram = masked_ram

        super().__init__({
            "clear":      In(1),
            "read":       In(1),
            "begins":     In(1),
            "read_last":  In(1),
            "stored":     Out(stored_layout(config)),
            "write":      In(1),
            "write_last": In(1),
            "i_stored":   In(stored_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()

        entering = Signal(range(STORED_NEURONS + 1))
        leaving  = Signal(range(STORED_NEURONS + 1))
        m.submodules.words = words = self.masked_ram(
            width=stored_layout(self.config).size, depth=STORED_NEURONS + 1)
        m.d.comb += [
            # The last word is never written: it is 0, as all are after configuration.
            words.read_address.eq(entering | self.begins.replicate(len(entering))),
            self.stored.eq(words.read_data),
            words.write.eq(self.write),
            words.write_address.eq(leaving),
            words.mask.eq(-1),
            words.write_data.eq(self.i_stored),
        ]
        for index, strobe, last in ((entering, self.read, self.read_last), (leaving, self.write, self.write_last)):
            with m.If(self.clear | (strobe & last)):
                m.d.sync += index.eq(0)
            with m.Elif(strobe):
                m.d.sync += index.eq(index + 1)

        return m
