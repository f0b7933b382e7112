"""UPduino v3 of tinyVision: Lattice iCE40UP5K, FTDI FT232H on USB.

The 12 MHz oscillator reaches the FPGA only through the jumper OSC, which the user closes with solder; then it is at
pin 20. It also drives the FTDI chip, so both ends of the serial line have the same clock. The internal oscillator,
which needs no jumper, may be 10 % off, and a serial line bears about 4 %: a host could not be sure to be understood.
Pin 20 is not wired to the PLL, so the clock passes through the fabric.

The FTDI chip's serial port shares the pins of the flash, which is held deselected: pin 15 receives, pin 14 sends. The
Amaranth platform has no serial port and names the LED by its three colours; both are resources added here. The flash
is a Winbond W25Q32 of 4 MiB. Because pin 15 is the clock of the flash and pin 14 a data line, the FPGA cannot read the
flash and talk to the host, and the overlay does not run on this board. Two lines of the flash, IO2 and IO3, reach pins
10 and 20 only through jumpers, and pin 20 is that of the oscillator.

Sources: the board's repository tinyvision-ai-inc/UPduino-v3.0, docs/source/tutorials/oscillator.rst (oscillator),
RTL/common/upduino.pcf (serial port and flash), docs/source/features/specs.rst and docs/source/tutorials/qspi_flash.rst
(IO2 and IO3).
"""

from typing import Any

from boards.board import Board
from boards.families.ice40 import ICE40UP5K_SG48, ICEPROG

__all__ = ["UPDUINO_V3"]


def _platform() -> Any:
    # Here, as in icebreaker.py.
    from amaranth.build import Attrs, PinsN, Resource
    from amaranth_boards.resources import UARTResource
    from amaranth_boards.upduino_v3 import UpduinoV3Platform

    platform, levels = UpduinoV3Platform(), Attrs(IO_STANDARD="SB_LVCMOS")
    platform.add_resources([
        UARTResource(0, rx="15", tx="14", attrs=levels),
        Resource("flash_select", 0, PinsN("16", dir="o"), levels),
        Resource("led_g", 0, PinsN("39", dir="o"), levels),
    ])
    return platform


UPDUINO_V3 = Board(
    name              = "upduino-v3",
    title             = "UPduino v3",
    fpga              = ICE40UP5K_SG48,
    platform          = _platform,
    oscillator_hz     = 12e6,
    led               = "led_g",
    shares_oscillator = True,
    inactive          = ("flash_select",),
    programmers       = (ICEPROG,),
    flash_bytes       = 4 << 20,
    flash_obstacle    = "has its serial port on the pins of the flash",
    default_clock_hz  = 48e6,
)
