"""Simulate a board: ``python -m sim.board``; a host opens the pseudo-terminal that it names.

``python -m firmware.host --port sim`` starts this program by itself.
"""

import argparse
import contextlib
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence

import models
from arch import network_file
from arch.flash.image import build_image
from arch.link import cut_name
from arch.network import Network
from boards import BOARDS, board_named
from gateware.mapper.streamed.choice import lay_out, streamed_config
from gateware.mapper.streamed.model import model_of
from sim.board.server import PseudoTerminal, serve
from sim.circuits import CLOCK_HZ
from sim.report import Weights
from sim.rtl import SLOW_DIVISOR, RtlEngine
from sim.session import SimulatedEngine
from sim.streamed_rtl import StreamedRtlEngine
from sim.verilator import Report, shown_by
from support.command_line import path_argument, print_line, run
from support.errors import InputError, printable
from support.progress import Progress

__all__ = ["create_parser", "main"]

#: Networks that the simulated board has where none is named; the baked circuit has the first.
_SHIPPED = ("mnist-conv.safetensors", "fashion-conv.safetensors")


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
    parser.add_argument("--board", metavar="BOARD", choices=sorted(BOARDS), default="icebreaker",
                        help="simulate BOARD: %(choices)s (default: %(default)s)")
    parser.add_argument("--json", action="store_true",
                        help="print JSON: an object for each step of a compilation, then "
                             "one with the port")
    return parser


def _networks(paths: Sequence[pathlib.Path], weights: Weights) -> list[tuple[str, Network]]:
    """Load the networks with their names; the shipped ones if none is asked for."""
    if weights is Weights.BAKED and len(paths) > 1:
        raise InputError("NETWORK must be one network, not several, with --weights baked: use --weights flash")
    files = list(paths) or [models.FOLDER / name for name in _SHIPPED[:1 if weights is Weights.BAKED else None]]
    networks = [network_file.load(path) for path in files]
    return [(cut_name(printable(network_file.name_of(network, path))), network)
            for path, network in zip(files, networks, strict=True)]


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


def _engine(arguments: argparse.Namespace, report: Report) -> SimulatedEngine:
    """Start the simulation."""
    weights = Weights(arguments.weights)
    networks = _networks(arguments.networks, weights)
    first = networks[0][1]
    if weights is Weights.BAKED:
        # As at 3 Mbaud: with fewer clocks a bit, a second image comes before the windows of the first are written.
        return RtlEngine(first, board=arguments.board, divisor=SLOW_DIVISOR, report=report)
    board = board_named(arguments.board)
    board.overlay_wiring()
    config = streamed_config(board)
    image = build_image([model_of(lay_out(network, config), name=name, clock_hz=CLOCK_HZ)
                         for name, network in networks], base=board.models_at, flash_bytes=board.flash_bytes)
    return StreamedRtlEngine(first, board=arguments.board, image=image, report=report)


def work(arguments: argparse.Namespace) -> None:
    """Simulate until there is no more input; raises what :func:`support.command_line.run` turns into a line."""
    with contextlib.ExitStack() as stack:
        with _reporting(arguments.json) as report:
            engine = stack.enter_context(_engine(arguments, report))
        terminal = stack.enter_context(PseudoTerminal())
        title = BOARDS[arguments.board].title
        print_line(json.dumps({"port": terminal.name, "board": title}) if arguments.json else
                   f"{title}, simulated, at {terminal.name}: end it with Ctrl-C")
        serve(engine.simulation, terminal, sys.stdin.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run(create_parser(), work, argv)
