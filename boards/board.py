"""What the mapper and the build need to know of a board."""

import dataclasses
from collections.abc import Callable
from typing import Any

from arch.link import BAUD_RATES
from support.errors import InputError

__all__ = ["Board", "BoardError"]


class BoardError(InputError):
    """A board cannot do what is asked of it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """One board, with the limits of its FPGA."""

    #: Name on the command line.
    name: str
    #: Name for people.
    title: str
    #: FPGA, as the vendor writes it.
    device: str
    #: Makes the Amaranth platform.
    platform: Callable[[], Any]
    #: Frequency of the oscillator, in Hz.
    oscillator_hz: float
    #: Logic cells (LUT4 with carry and flip-flop).
    logic_cells: int
    #: Block RAMs of 4,096 bits.
    block_rams: int
    #: Single-port RAMs of 16,384 x 16 bits.
    sprams: int
    #: Multipliers.
    dsps: int
    #: Geometries of the array that the mapper tries, largest first: output channels and synapses per clock.
    geometries: tuple[tuple[int, int], ...]
    #: Timesteps computed side by side.
    timesteps: int
    #: Words of the spike memory for words of ``width * timesteps`` bits.
    spike_words: int
    #: Rows of the weight memory.
    weight_rows: int
    #: System clock, in Hz, if none is asked for: eight of eight place-and-route seeds close it for the shipped network.
    default_clock_hz: float

    def divisor(self, clock_hz: float, baud: int) -> int:
        """Clocks per bit of the host link.

        Raises
        ------
        :exc:`BoardError`
            If the clock does not divide into at least four clocks per bit.
        """
        if baud not in BAUD_RATES:
            raise BoardError(f"baud must be one of {', '.join(map(str, BAUD_RATES))}, not {baud}")
        divisor = clock_hz / baud
        if divisor != int(divisor) or divisor < 4:
            raise BoardError(f"baud {baud} must divide the clock of {clock_hz / 1e6:g} MHz at least four times")
        return int(divisor)

    def default_baud(self, clock_hz: float) -> int:
        """Rate of the host link at this clock if none is asked for, in baud.

        The fastest with eight clocks per bit: with less, the receiver bears no difference between the two clocks, which
        only a board that feeds both ends from one oscillator can promise.

        Raises
        ------
        :exc:`BoardError`
            If there is none.
        """
        for baud in sorted(BAUD_RATES, reverse=True):
            if clock_hz % baud == 0 and clock_hz / baud >= 8:
                return baud
        rates = ", ".join(map(str, BAUD_RATES))
        raise BoardError(f"clock must be a multiple of one of {rates} Hz with eight clocks a bit, "
                         f"not {clock_hz / 1e6:g} MHz: use --clock with another, or --baud")
