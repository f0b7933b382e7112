"""Boards: one file each, with pins, oscillator and FPGA; families of FPGAs are in ``families/``."""

from boards.board import Board, BoardError
from boards.icebreaker import ICEBREAKER

__all__ = ["BOARDS", "Board", "BoardError"]

#: Boards by the name on the command line.
BOARDS = {board.name: board for board in (
    ICEBREAKER,
)}
