"""Writes the bitstream that is in the folder of a build to a board; nothing is built: ``--program built``."""

import argparse
import hashlib
import json
import pathlib

from arch import network_file
from boards import BOARDS, Board
from gateware.build.programming import Programming
from gateware.build.request import BuildError
from gateware.reports.folder import BITSTREAM, REPORT, BuildFolder, check_folder, default_folder, overlay_folder
from models import DEFAULT_NETWORK
from sim.report import Weights
from support.errors import printable
from support.files import read_file

__all__ = ["program_built"]

#: Largest report and bitstream that are read.
_REPORT_BYTES, _BITSTREAM_BYTES = 1 << 24, 1 << 24


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
        bitstream = read_file(path / BITSTREAM, limit=_BITSTREAM_BYTES)
        report = json.loads(read_file(path / REPORT, limit=_REPORT_BYTES))
        made_for, digest = report["board"], report["bitstream_sha256"]
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        raise BuildError(f"{path}: must have the {BITSTREAM} and the {REPORT} of a build: build first, without "
                         f"--program built") from None
    if made_for != board.name:
        raise BuildError(f"{path / BITSTREAM}: must be for the board {board.name}, not {made_for}: give --board "
                         f"{made_for}, or the folder of another build with -o")
    found = hashlib.sha256(bitstream).hexdigest()
    if found != digest:
        raise BuildError(f"{path / BITSTREAM}: sha256 must be that of its {REPORT}, {digest}, not {found}: build "
                         f"again, without --program built")
    return bitstream


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
        programming.write(folder, bitstream=bitstream)
