"""iCESugar of MuseLab: Lattice iCE40UP5K, 12 MHz from the iCELink debugger, which is also the USB side.

The serial port is the iCELink's, a microcontroller whose fastest rate no document of the board names: the host link
runs at 1 Mbaud, the slowest rate of the protocol.

The flash U5 is a Winbond W25Q64 of 8 MiB. All of its lines reach the FPGA: the clock pin 15, the select pin 16, IO0
and IO1 pins 14 and 17 over jumper J3 in the position "Prog Flash", IO2 pin 12 and IO3 pin 13. Whether it is the DTR
part, which moves data at both edges of its clock, no document says.

Sources: the board's repository wuxx/icesugar, schematic/iCESugar-v1.5.pdf (pins and jumper) and the
English README (part).
"""

from typing import Any

from boards.board import Board, FlashWiring
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
    programmers      = (ICESPROG,),
    flash_bytes      = 8 << 20,
    flash_wiring     = FlashWiring(resource="spi_flash_4x", lines=4),
    default_clock_hz = 48e6,
)
