"""iCEBreaker: Lattice iCE40UP5K, 12 MHz oscillator, FTDI FT2232H on USB."""

from typing import Any

from boards.board import Board

__all__ = ["ICEBREAKER"]


def _platform() -> Any:
    from amaranth_boards.icebreaker import ICEBreakerPlatform

    return ICEBreakerPlatform()


ICEBREAKER = Board(
    name             = "icebreaker",
    title            = "iCEBreaker",
    device           = "iCE40UP5K-SG48",
    platform         = _platform,
    oscillator_hz    = 12e6,
    logic_cells      = 5280,
    block_rams       = 30,
    sprams           = 4,
    dsps             = 8,
    geometries       = ((8, 16), (4, 16), (2, 16), (1, 16)),
    timesteps        = 4,
    spike_words      = 16384,
    weight_rows      = 256,
    default_clock_hz = 48e6,
)
