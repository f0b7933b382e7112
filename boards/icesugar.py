"""iCESugar of MuseLab: Lattice iCE40UP5K, 12 MHz from the iCELink debugger, which is also the USB side.

The serial port is the iCELink's, a microcontroller whose fastest rate no document of the board names: the host link
runs at 1 Mbaud, the slowest rate of the protocol.

The flash is a Winbond W25Q64 of 8 MiB.
"""

from typing import Any

from boards.board import Board
from boards.families.ice40 import ICE40UP5K_SG48, ICESPROG

__all__ = ["ICESUGAR"]


def _platform() -> Any:
    # Here, as in icebreaker.py.
    from amaranth_boards.icesugar import ICESugarPlatform

    return ICESugarPlatform()


ICESUGAR = Board(
    name             = "icesugar",
    title            = "iCESugar",
    fpga             = ICE40UP5K_SG48,
    platform         = _platform,
    oscillator_hz    = 12e6,
    led              = "led_g",
    fastest_baud     = 1_000_000,
    programmer       = ICESPROG,
    flash_bytes      = 8 << 20,
    default_clock_hz = 48e6,
)
