"""Show what a board computes, beside the reference, in a page of the browser: ``python -m firmware.demo``."""

import argparse
import os
import sys
import webbrowser
from collections.abc import Sequence

from firmware.demo.board import Board
from firmware.demo.networks import Catalogue
from firmware.demo.server import Server, create_app
from firmware.host.accelerator import Accelerator
from firmware.host.errors import DeviceError
from firmware.host.options import add_port_options, check_port_options
from firmware.host.ports import OVERLAY_PORT, SIMULATED, Report, open_port
from support import command_line
from support.command_line import path_argument, print_line

__all__ = ["create_parser", "main"]

_LISTEN_PORT, _MAX_LISTEN_PORT = 8028, 65_535


def create_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m firmware.demo", epilog="Ends with Ctrl-C.",
        description="Show what a board computes, beside the reference, in a page of the browser.")
    parser.add_argument("networks", metavar="NETWORK", nargs="*", type=path_argument,
                        help="compute the reference with the network file NETWORK, which a simulated board runs too; "
                             "several with the overlay (default: the shipped networks)")
    add_port_options(parser)
    parser.add_argument("--listen-port", metavar="N", type=int, default=_LISTEN_PORT,
                        help="serve the page at TCP port N of this computer, 0 for any that is free "
                             "(default: %(default)s)")
    parser.add_argument("--no-browser", action="store_true",
                        help="print the address only, do not open it in a browser")
    return parser


def _has_display() -> bool:
    """Whether a browser would have a window: without one, a browser for terminals would take this one."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def work(arguments: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C; raises what :func:`support.command_line.run` turns into a line."""
    check_port_options(arguments)
    if not 0 <= arguments.listen_port <= _MAX_LISTEN_PORT:
        raise DeviceError(f"--listen-port must be 0 to {_MAX_LISTEN_PORT}, not {arguments.listen_port}")
    simulated = arguments.port in SIMULATED
    if simulated and arguments.port != OVERLAY_PORT and len(arguments.networks) > 1:
        raise DeviceError(f"NETWORK must be one network, not several, with --port {arguments.port}: use --port "
                          f"{OVERLAY_PORT}")
    catalogue = Catalogue(arguments.networks)

    def open_board(report: Report) -> Accelerator:
        networks = arguments.networks if simulated else ()
        return Accelerator(open_port(arguments.port, arguments.baud, networks=networks, report=report),
                           timeout=arguments.timeout)

    board = Board(open_board, catalogue)
    with Server(create_app(board, catalogue, port=arguments.port), arguments.listen_port) as server:
        def show() -> None:
            print_line(f"{server.url}: open it in a browser; end it with Ctrl-C")
            if not arguments.no_browser and _has_display():
                webbrowser.open(server.url)

        # A page that shows how a simulation is compiled is wanted before it is; a board that is not there, is not.
        if simulated:
            show()
        board.run(ready=lambda: None if simulated else show())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return command_line.run(create_parser(), work, argv)
