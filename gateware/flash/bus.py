"""The wires between the flash reader and the pins, clock by clock."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FlashBus", "flash_lines"]


def flash_lines(*, double: bool) -> data.ArrayLayout:
    """Describe what the four data lines carry in a clock: a nibble or, with ``double``, one in each half."""
    return data.ArrayLayout(4, 2 if double else 1)


class FlashBus(wiring.Signature):
    """Select, clock and data lines of a serial flash, as the reader drives them.

    A cycle of the flash's clock lasts one clock here: low in the first half, high in the second. The flash takes what
    ``o`` holds when its clock rises, in the middle, and changes what it drives when its clock falls, at the end. With
    ``double`` it does both at both edges. What it drives comes back in ``i`` a fixed number of clocks after the cycle
    that asked for it, which the pins decide (:attr:`gateware.flash.phy.FlashPins.latency`).

    Line 0 is DI of single SPI, line 1 is DO, lines 2 and 3 are WP and HOLD.

    Parameters
    ----------
    double : :class:`bool`
        Data move at both edges of the flash's clock.

    Members
    -------
    select : :py:`Out(1)`
        The flash is selected; its CS is the complement.
    sck : :py:`Out(2)`
        Level of the flash's clock in the two halves of this clock, the first half in bit 0.
    o : :py:`Out(4)`
        What the reader drives.
    drive : :py:`Out(1)`
        The reader drives lines 0, 2 and 3.
    quad : :py:`Out(1)`
        The reader drives line 1 as well.
    i : :py:`In(flash_lines(double=double))`
        What the flash drove.
    """

    def __init__(self, *, double: bool = False):
        self.double = double
        super().__init__({
            "select": Out(1),
            "sck":    Out(2),
            "o":      Out(4),
            "drive":  Out(1),
            "quad":   Out(1),
            "i":      In(flash_lines(double=double)),
        })
