"""iCEBreaker: Lattice iCE40UP5K, 12 MHz oscillator, FTDI FT2232H on USB."""

from typing import Any

from boards.board import Board
from boards.families.ice40 import ICE40UP5K_SG48, ICEPROG

__all__ = ["ICEBREAKER"]


def _platform() -> Any:
    # Amaranth's platforms are imported when one is asked for: the list of boards is imported by every command.
    from amaranth_boards.icebreaker import ICEBreakerPlatform

    return ICEBreakerPlatform()


ICEBREAKER = Board(
    name             = "icebreaker",
    title            = "iCEBreaker",
    fpga             = ICE40UP5K_SG48,
    platform         = _platform,
    oscillator_hz    = 12e6,
    led              = "led_g",
    programmer       = ICEPROG,
    default_clock_hz = 48e6,
)
