"""``swap``: write another network to the board that is plugged in; :mod:`firmware.host.swapping` does it."""

import argparse

from firmware.host.known_boards import TITLES
from support.command_line import path_argument

__all__ = ["add"]


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", port: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser("swap", parents=[port],
                                 help="write another network to the board, and see that the board runs it")
    parser.add_argument("image", metavar="IMAGE", type=path_argument,
                        help="write the models of IMAGE, as python -m export --flash IMAGE makes it, for a board with "
                             "the overlay; or the bitstream IMAGE of a network, sterna.bin of a build")
    parser.add_argument("--board", metavar="BOARD", choices=sorted(TITLES),
                        help="write to BOARD: %(choices)s (default: the one that its USB identity tells)")
    parser.add_argument("--programmer", metavar="TOOL",
                        help="write with TOOL: iceprog, icesprog or openFPGALoader (default: the one for the board)")
    parser.set_defaults(work=_work, opens_port=True)


def _work(arguments: argparse.Namespace) -> None:
    # Here, because what is known of boards imports Amaranth, which the other commands do not need.
    from firmware.host.swapping import swap

    swap(arguments)
