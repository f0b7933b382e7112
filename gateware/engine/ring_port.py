"""The port through which a stream fills the rings of the engine."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig, bits_for
from gateware.engine.program import layer_entries
from gateware.engine.weight_ring import BANK_WEIGHTS, WeightRing

__all__ = ["RingPort"]


class RingPort(wiring.Signature):
    """Writes of bytes and weights into the rings, and what becomes free there, seen from who writes.

    Places follow each other modulo the sizes of the rings, from 0 after reset.

    Parameters
    ----------
    config : :class:`EngineConfig`

    Members
    -------
    layer_written, row_written : :py:`Out(1)`
        Strobes: the next program is complete; the next row is, and the constants of its group.
    release_layer, release_group, release_row : :py:`In(1)`
        Strobes: the oldest place of a ring is free.
    byte : :py:`Out(8)`
        A byte of an entry of 64 bits, of a program or of constants.
    entry_mask : :py:`Out(8)`
        Which byte of the entry it is, one bit each.
    program_write, constants_write : :py:`Out(1)`
        It is written, into the one ring or the other.
    program_address : :py:`Out(...)`
        Place of the layer, and entry.
    constants_group, constants_lane : :py:`Out(...)`
        Place of the group, and lane.
    row : :py:`Out(config.row_width)`
    row_banks, row_mask, row_weights : :py:`Out(...)`
        As ``banks``, ``mask`` and ``write_weights`` of :class:`gateware.engine.weight_ring.WeightRing`.
    """

    def __init__(self, config: EngineConfig):
        banks = WeightRing.banks_of(config)
        super().__init__({
            "layer_written":   Out(1),
            "row_written":     Out(1),
            "release_layer":   In(1),
            "release_group":   In(1),
            "release_row":     In(1),
            "byte":            Out(8),
            "entry_mask":      Out(8),
            "program_write":   Out(1),
            "constants_write": Out(1),
            "program_address": Out(config.layer_width + bits_for(layer_entries(config) - 1)),
            "constants_group": Out(config.group_width),
            "constants_lane":  Out(range(config.lanes)),
            "row":             Out(config.row_width),
            "row_banks":       Out(banks),
            "row_mask":        Out(data.ArrayLayout(BANK_WEIGHTS, banks)),
            "row_weights":     Out(data.ArrayLayout(data.ArrayLayout(2, BANK_WEIGHTS), banks)),
        })
