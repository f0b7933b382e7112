"""What the neurons of the streamed circuit of a board have room for."""

from boards.board import Board
from export.fitting import FitError, Room
from gateware.mapper.streamed.choice import streamed_config

__all__ = ["room_of"]


def room_of(board: Board) -> Room:
    """Return the widths of the neurons of the circuit that runs every model for ``board``.

    Raises
    ------
    :exc:`export.fitting.FitError`
        If there is none, because the FPGA cannot read the flash.
    """
    if board.flash_wiring is None:
        raise FitError(f"--fit must be a board whose FPGA reads the flash, and the {board.title} "
                       f"{board.flash_obstacle}: use another board")
    config = streamed_config(board)
    return Room(board=board.name, title=board.title, fraction=config.fraction, membrane_width=config.membrane_width)
