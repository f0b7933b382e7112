"""Boards: one file each, with pins, oscillator and FPGA; families of FPGAs are in ``families/``."""

from boards.board import Board, BoardError, FlashWiring
from boards.icebreaker import ICEBREAKER
from boards.icesugar import ICESUGAR
from boards.upduino_v3 import UPDUINO_V3

__all__ = ["BOARDS", "Board", "BoardError", "FlashWiring", "board_named"]

#: Boards by the name on the command line.
BOARDS = {board.name: board for board in (
    ICEBREAKER,
    ICESUGAR,
    UPDUINO_V3,
)}


def board_named(name: str) -> Board:
    """Return the board that has this name on the command line; raises :exc:`BoardError` if none has."""
    if name not in BOARDS:
        raise BoardError(f"board must be one of {', '.join(sorted(BOARDS))}, not {name!r}")
    return BOARDS[name]
