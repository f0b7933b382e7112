"""iCEBreaker: Lattice iCE40UP5K, 12 MHz oscillator, FTDI FT2232H on USB.

The oscillator U7 drives both, over the net FTDI_CLK: pin 2 of the FT2232H (OSCI) and pin 35 of the FPGA. The FT2232H's
serial port makes up to 12 Mbaud.

The flash U5 is a Winbond W25Q128JV-DTR of 16 MiB: DTR is the part that moves data at both edges of its clock, too. All
of its lines reach the FPGA: the clock pin 15, the select pin 16 over jumper J18, IO0 and IO1 pins 14 and 17 over
jumpers J15 and J16, IO2 pin 12 and IO3 pin 13. The jumpers are closed as the board is sold. Beside the FPGA only the
FTDI chip is on these lines; it drives them while it programs.

Sources: the board's repository icebreaker-fpga/icebreaker, hardware/v1.0e/icebreaker.kicad_pcb, and its README ("12 MHz
XTAL oscillator (shared with FPGA)"); the pins of IO0 and IO1 also amaranth-boards 0.0.21, icebreaker.py; FTDI, FT2232H
data sheet, version 2.6 (FT_000061), page 1.
"""

from typing import Any

from boards.board import Board, FlashWiring
from boards.families.ice40 import ICE40UP5K_SG48, ICEPROG, OPEN_FPGA_LOADER

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
    programmers       = (ICEPROG, OPEN_FPGA_LOADER),
    flash_bytes       = 16 << 20,
    flash_wiring      = FlashWiring(resource="spi_flash_4x", lines=4, double_rate=True),
    default_clock_hz  = 48e6,
)
