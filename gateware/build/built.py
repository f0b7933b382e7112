"""Writes the bitstream that is in the folder of a build to a board; nothing is built: ``--program built``."""

import argparse
import pathlib

from arch import network_file
from boards import BOARDS, Board
from boards.programming import BITSTREAM, Programming, ProgrammingError, load_bitstream
from gateware.build.request import BuildError
from gateware.reports.folder import BuildFolder, check_folder, default_folder, overlay_folder
from models import DEFAULT_NETWORK
from sim.report import Weights
from support.errors import printable

__all__ = ["program_built"]

def _folder(arguments: argparse.Namespace, board: Board) -> pathlib.Path:
    """Folder of the build: the one that is given, or that of a build with these arguments."""
    if arguments.output is not None:
        output: pathlib.Path = arguments.output
        return output
    if arguments.weights == Weights.FLASH:
        return overlay_folder(board)
    file = DEFAULT_NETWORK if arguments.network is None else arguments.network
    return default_folder(board, printable(network_file.name_of(network_file.load(file), file)))


def _bitstream(path: pathlib.Path, board: Board) -> bytes:
    """Read the bitstream of a folder, and check it against its report."""
    try:
        bitstream = load_bitstream(path / BITSTREAM)
    except ProgrammingError as error:
        raise BuildError(f"{error}, without --program built") from None
    if bitstream.board != board.name:
        raise BuildError(f"{path / BITSTREAM}: must be for the board {board.name}, not {bitstream.board}: give "
                         f"--board {bitstream.board}, or the folder of another build with -o")
    return bitstream.content


def program_built(arguments: argparse.Namespace) -> None:
    """Write the bitstream of an earlier build, or of a network that was put into one.

    Raises
    ------
    :exc:`BuildError`
        If there is none, or it is not the one that its report is of, or for another board.
    :exc:`support.errors.InputError`, :exc:`support.errors.ToolchainError`
        If the folder cannot be used, or the programmer is missing or fails.
    """
    board = BOARDS[arguments.board]
    path = _folder(arguments, board)
    check_folder(path)
    bitstream = _bitstream(path, board)
    programming = Programming(board, programmer=arguments.programmer)
    with BuildFolder.opened(path) as folder:
        programming.write(folder.work, bitstream=bitstream)
