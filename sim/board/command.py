"""Simulate a board: ``python -m sim.board``; a host opens the pseudo-terminal that it names.

``python -m firmware.host --port sim`` starts this program by itself.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence

import models
from firmware.host.known_boards import TITLES
from sim.board.request import SHIPPED, BoardRequest
from sim.board.saved import keep, kept
from sim.board.server import PseudoTerminal, serve
from sim.power_on import PowerOn
from sim.verilator import Report, shown_by
from sim.weights import Weights
from support.command_line import EXIT_INTERRUPTED, EXIT_OK, path_argument, print_line, run
from support.errors import InputError
from support.progress import Progress

__all__ = ["create_parser", "main"]

#: When this program had imported what it needs to look for a kept board; and how much earlier a source must have been
#: written for it to be what was imported: a clock of a file system is coarser than that of the system.
_BEGUN, _MARGIN_SECONDS = time.time(), 5.0


#: What is said at the end of the standard input, which a script's ``&`` brings at once.
_ENDED = ("ended with its standard input: to run it in the background, keep that open: tail -f /dev/null | python -m "
          "sim.board &")


def create_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sim.board", description="Simulate a board, for programs that open a serial port.",
        epilog="Ends with Ctrl-C, or when its standard input ends.")
    parser.add_argument("networks", metavar="NETWORK", nargs="*", type=path_argument,
                        help="run NETWORK; several with --weights flash (default: the shipped networks)")
    parser.add_argument("--weights", metavar="WHERE", choices=[weights.value for weights in Weights],
                        default=Weights.BAKED.value,
                        help="simulate the circuit with its weights in its memories, baked, or the overlay, flash "
                             "(default: %(default)s)")
    parser.add_argument("--image", metavar="IMAGE", type=path_argument,
                        help="with --weights flash, have IMAGE in the flash, as python -m export --flash IMAGE makes "
                             "it, in place of networks")
    parser.add_argument("--board", metavar="BOARD", choices=sorted(TITLES), default="icebreaker",
                        help="simulate BOARD: %(choices)s (default: %(default)s)")
    parser.add_argument("--json", action="store_true",
                        help="print JSON: an object for each step of a compilation, then "
                             "one with the port")
    return parser


def _request(arguments: argparse.Namespace) -> BoardRequest:
    weights = Weights(arguments.weights)
    if weights is Weights.BAKED and len(arguments.networks) > 1:
        raise InputError("NETWORK must be one network, not several, with --weights baked: use --weights flash")
    if arguments.image is not None and weights is Weights.BAKED:
        raise InputError("--image must be given with --weights flash: a baked circuit has no models in flash")
    if arguments.image is not None and arguments.networks:
        raise InputError("--image must be given without NETWORK: the flash holds the models of the image")
    shipped = [] if arguments.image is not None else [
        models.FOLDER / name for name in SHIPPED[:1 if weights is Weights.BAKED else None]]
    return BoardRequest(board=arguments.board, weights=weights, networks=tuple(arguments.networks or shipped),
                        image=arguments.image)


@contextlib.contextmanager
def _reporting(as_json: bool) -> Iterator[Report]:
    """Yield what is told of every step of a compilation, and shows it to a person, and to a program that asked."""
    with Progress("simulation", first_seconds=2) as progress:
        shown = shown_by(progress)

        def report(step: str, done: int, total: int) -> None:
            shown(step, done, total)
            if as_json:
                print_line(json.dumps({"step": step, "done": done, "total": total}))

        yield report


def _board(request: BoardRequest, *, as_json: bool) -> PowerOn:
    """Return the board that is asked for: one that is kept, or a new one, which is then kept."""
    key = request.key()
    board = kept(key)
    if board is None:
        # Here, because what makes a circuit takes longer to import than a kept board to start.
        from sim.board.making import make_board

        with _reporting(as_json) as report:
            board = make_board(request, report)
        if request.key() == key and request.sources_changed_at() < _BEGUN - _MARGIN_SECONDS:
            keep(key, board)
    return board


def work(arguments: argparse.Namespace) -> int:
    """Simulate until there is no more input; raises what :func:`support.command_line.run` turns into a line."""
    try:
        _simulate(arguments)
    except KeyboardInterrupt:
        if not arguments.json:
            raise
        # The program that started this one has ended it, and says so itself.
        return EXIT_INTERRUPTED
    return EXIT_OK


def _simulate(arguments: argparse.Namespace) -> None:
    with _board(_request(arguments), as_json=arguments.json).start() as simulation, PseudoTerminal() as terminal:
        title = TITLES[arguments.board]
        print_line(json.dumps({"port": terminal.name, "board": title}) if arguments.json else
                   f"{title}, simulated, at {terminal.name}: end it with Ctrl-C")
        serve(simulation, terminal, sys.stdin.fileno())
        if not arguments.json:
            print_line("ended: there was a line on its standard input" if os.read(sys.stdin.fileno(), 1) else _ENDED)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run(create_parser(), work, argv)
