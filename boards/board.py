"""What the mapper and the build need to know of a board: pins, oscillator, FPGA, and what writes its flash."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from arch.flash.image import BASE
from arch.link import BAUD_RATES
from boards.families.family import BoardError, Family, Programmer

__all__ = ["Board", "BoardError", "FlashWiring"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FlashWiring:
    """How the FPGA reads the flash of a board while it runs; what is written into the flash comes from USB."""

    #: Resource of the pins: with ``cs``, ``clk`` and either ``dq`` of four lines, or ``copi`` and ``cipo``.
    resource: str
    #: Data lines that reach the FPGA: 4, or 1 in each direction.
    lines: int
    #: Data are taken half a clock later: for a flash that is slower than :class:`gateware.flash.phy.FlashPins` assumes.
    late: bool = False
    #: The part moves data at both edges of its clock, if it is asked to.
    double_rate: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """One board; pins are resources of its Amaranth platform."""

    #: Name on the command line.
    name: str
    #: Name for people.
    title: str
    #: The FPGA: a device of a family.
    fpga: Family
    #: Makes the Amaranth platform. It must have ``uart`` 0, and the resources named here.
    platform: Callable[[], Any]
    #: Frequency of the oscillator, in Hz.
    oscillator_hz: float
    #: Resource of the pin with the oscillator.
    oscillator: str = "clk12"
    #: Resource of the LED that is on while an inference runs.
    led: str
    #: Resources of outputs that are held inactive, such as the chip select of a memory that shares pins.
    inactive: tuple[str, ...] = ()
    #: Fastest rate that what is between USB and the FPGA takes, in baud.
    fastest_baud: int = max(BAUD_RATES)
    #: The oscillator is that of the USB side too, so both ends of the host link have the same clock.
    shares_oscillator: bool = False
    #: Programs that can write the flash; the first does if none is asked for.
    programmers: tuple[Programmer, ...]
    #: Size of the flash, in bytes: a power of two.
    flash_bytes: int
    #: Address in the flash of the image of models, which stands behind the bitstream.
    models_at: int = BASE
    #: How the FPGA reads the flash, if it can do so beside the serial port.
    flash_wiring: FlashWiring | None = None
    #: Why it cannot, as the end of a sentence about the board; only without ``flash_wiring``.
    flash_obstacle: str = "has no wiring of its flash described"
    #: System clock, in Hz, if none is asked for: a build of the shipped network closes it with one of its seeds.
    default_clock_hz: float

    @property
    def geometries(self) -> tuple[tuple[int, int], ...]:
        """Geometries of the array that the mapper tries; see :class:`Family`."""
        return self.fpga.geometries

    @property
    def timesteps(self) -> int:
        """Timesteps computed side by side."""
        return self.fpga.timesteps

    @property
    def spike_words(self) -> int:
        """Words of the spike memory."""
        return self.fpga.spike_words

    @property
    def weight_rows(self) -> int:
        """Rows of the weight memory."""
        return self.fpga.weight_rows

    @property
    def least_divisor(self) -> int:
        """Fewest clocks per bit of the host link: the receiver takes four, which bear no difference of the clocks."""
        return 4 if self.shares_oscillator else 8

    def programmer(self, name: str | None = None) -> Programmer:
        """Return the programmer of this name; without a name, the first.

        Raises
        ------
        :exc:`BoardError`
            If it cannot write the flash of this board.
        """
        for programmer in self.programmers:
            if name in (None, programmer.tool.name):
                return programmer
        names = ", ".join(programmer.tool.name for programmer in self.programmers)
        raise BoardError(f"programmer of the {self.title} must be one of {names}, not {name}"
                         if len(self.programmers) > 1 else
                         f"programmer of the {self.title} must be {names}, not {name}: leave the option out")

    def overlay_wiring(self, *, double: bool = False) -> FlashWiring:
        """Return how the overlay reads the flash, with ``double`` at both edges of the flash's clock.

        Raises
        ------
        :exc:`BoardError`
            If it cannot.
        """
        if self.flash_wiring is None:
            raise BoardError(f"board must let the FPGA read the flash for the overlay, and the {self.title} "
                             f"{self.flash_obstacle}: use another --board")
        if double and not self.flash_wiring.double_rate:
            raise BoardError(f"flash of the {self.title} must move data at both edges of its clock for --flash-rate "
                             "double: leave the option out")
        return self.flash_wiring

    def divisor(self, clock_hz: float, baud: int) -> int:
        """Clocks per bit of the host link.

        Raises
        ------
        :exc:`BoardError`
            If the clock does not divide into at least four clocks per bit, or eight without a common oscillator, or the
            board's USB side is slower.
        """
        if baud not in BAUD_RATES:
            raise BoardError(f"baud must be one of {', '.join(map(str, BAUD_RATES))}, not {baud}")
        if baud > self.fastest_baud:
            raise BoardError(f"baud must be at most {self.fastest_baud} on the {self.title}, not {baud}")
        divisor = clock_hz / baud
        if divisor != int(divisor) or divisor < 4:
            raise BoardError(f"baud {baud} must divide the clock of {clock_hz / 1e6:.12g} MHz at least four times")
        if divisor < self.least_divisor:
            raise BoardError(f"baud {baud} must have at least {self.least_divisor} clocks a bit on the {self.title}, "
                             f"whose USB side has another oscillator, not {divisor:.12g}: use a smaller --baud, or a "
                             "faster --clock")
        return int(divisor)

    def default_bauds(self, clock_hz: float) -> list[int]:
        """Rates of the host link at this clock if none is asked for, in baud, the fastest first.

        They have eight clocks per bit, also where the board would do with less (:attr:`least_divisor`): these rates
        work with any serial port.

        Raises
        ------
        :exc:`BoardError`
            If there is none.
        """
        bauds = [baud for baud in sorted(BAUD_RATES, reverse=True)
                 if baud <= self.fastest_baud and clock_hz % baud == 0 and clock_hz / baud >= 8]
        if bauds:
            return bauds
        rates = ", ".join(map(str, BAUD_RATES))
        raise BoardError(f"clock must be a multiple of one of {rates} Hz with eight clocks a bit, "
                         f"not {clock_hz / 1e6:.12g} MHz: use --clock with another, or --baud")

    def check_clock(self, clock_hz: float) -> None:
        """Check that the FPGA makes this clock of the board's oscillator.

        Raises
        ------
        :exc:`BoardError`
            If it does not; the message names the nearest one that the host link can use as well.
        """
        if not math.isfinite(clock_hz) or clock_hz <= 0:
            raise BoardError(f"clock must be a positive number of MHz, not {clock_hz / 1e6:g}")
        self.fpga.check_clock(self.oscillator_hz, clock_hz)

    def clock_below(self, limit_hz: float, *, baud: int | None = None) -> float | None:
        """Fastest clock of at most ``limit_hz`` that the FPGA makes and the host link divides, in Hz; None without.

        With ``baud``, it must divide to this rate; else to any rate with eight clocks per bit, as by default.
        """
        rates = [(rate, 8) for rate in BAUD_RATES if rate <= self.fastest_baud] if baud is None else [
            (baud, self.least_divisor)]
        found = None
        for clock_hz in self.fpga.clocks(self.oscillator_hz):
            if clock_hz > limit_hz:
                break
            if any(clock_hz % rate == 0 and clock_hz / rate >= least for rate, least in rates):
                found = clock_hz
        return found
