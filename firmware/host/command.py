"""Talk to an accelerator over its host link: ``python -m firmware.host COMMAND --port PORT``."""

import argparse
from collections.abc import Sequence

from firmware.host.accelerator import Accelerator
from firmware.host.commands import bench, classify, info, monitor, swap, verify
from firmware.host.options import add_port_options, check_port_options
from firmware.host.ports import open_port
from support import command_line

__all__ = ["create_parser", "main"]


def create_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m firmware.host",
                                     description="Talk to an accelerator over its host link.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    port = argparse.ArgumentParser(add_help=False)
    add_port_options(port)
    port.add_argument("--json", action="store_true", help="print JSON, an object per line")
    # Most commands are given the accelerator; a command that writes to the board opens the port when it needs it.
    port.set_defaults(opens_port=False)
    for add in (info.add_info, info.add_list, info.add_select, classify.add, bench.add, verify.add,
                monitor.add, swap.add):
        add(commands, port)
    return parser


def work(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for; raises what :func:`support.command_line.run` turns into a line."""
    check_port_options(arguments)
    if arguments.opens_port:
        arguments.work(arguments)
        return
    with Accelerator(open_port(arguments.port, arguments.baud), timeout=arguments.timeout) as chip:
        arguments.work(arguments, chip)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return command_line.run(create_parser(), work, argv)
