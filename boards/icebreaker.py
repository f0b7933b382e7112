"""iCEBreaker: Lattice iCE40UP5K, 12 MHz oscillator, FTDI FT2232H on USB.

The oscillator U7 drives both, over the net FTDI_CLK: pin 2 of the FT2232H (OSCI) and pin 35 of the FPGA. The FT2232H's
serial port makes up to 12 Mbaud.

The flash is a Winbond W25Q128JV of 16 MiB.

Sources: the board's repository icebreaker-fpga/icebreaker, hardware/v1.0e/icebreaker.kicad_pcb, and its README ("12 MHz
XTAL oscillator (shared with FPGA)"); FTDI, FT2232H data sheet, version 2.6 (FT_000061), page 1.
"""

from typing import Any

from boards.board import Board
from boards.families.ice40 import ICE40UP5K_SG48, ICEPROG

__all__ = ["ICEBREAKER"]


def _platform() -> Any:
    # Amaranth's platforms are imported when one is asked for: the list of boards is imported by every command.
    from amaranth_boards.icebreaker import ICEBreakerPlatform

    return ICEBreakerPlatform()


ICEBREAKER = Board(
    name              = "icebreaker",
    title             = "iCEBreaker",
    fpga              = ICE40UP5K_SG48,
    platform          = _platform,
    oscillator_hz     = 12e6,
    led               = "led_g",
    shares_oscillator = True,
    programmer        = ICEPROG,
    flash_bytes       = 16 << 20,
    default_clock_hz  = 48e6,
)
