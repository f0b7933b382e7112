"""Talk to an accelerator over its host link: ``python -m firmware.host COMMAND --port PORT``."""

import argparse
from collections.abc import Sequence

from arch.link import BAUD_RATES
from firmware.host.accelerator import Accelerator
from firmware.host.commands import bench, classify, info, monitor, verify
from firmware.host.errors import DeviceError
from firmware.host.ports import DEFAULT_BAUD, open_port
from support import command_line

__all__ = ["MAX_TIMEOUT_SECONDS", "create_parser", "main"]

#: Limits of ``--timeout``.
_MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS = 0.001, 3600.0


def create_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m firmware.host",
                                     description="Talk to an accelerator over its host link.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    port = argparse.ArgumentParser(add_help=False)
    port.add_argument("--port", metavar="PORT", default="auto",
                      help="talk to serial device PORT; to the board that is plugged in, auto; or to a simulated one, "
                           "sim:rom or sim:overlay (default: auto)")
    port.add_argument("--baud", metavar="N", type=int,
                      help=f"set the line to N baud, {_listed(BAUD_RATES)} (default: {DEFAULT_BAUD})")
    port.add_argument("--timeout", metavar="S", type=float,
                      help="give up an answer after S seconds (default: 1, or 600 for a simulated board)")
    port.add_argument("--json", action="store_true", help="print JSON, an object per line")
    for add in (info.add_info, info.add_list, info.add_select, classify.add, bench.add, verify.add,
                monitor.add):
        add(commands, port)
    return parser


def _listed(numbers: Sequence[int]) -> str:
    *most, last = numbers
    return f"{', '.join(map(str, most))} or {last}"


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that make no sense; raises :exc:`DeviceError`."""
    if arguments.baud is not None and arguments.baud not in BAUD_RATES:
        raise DeviceError(f"--baud must be {_listed(BAUD_RATES)}, not {arguments.baud}")
    # Written so that nan is refused too.
    if arguments.timeout is not None and not _MIN_TIMEOUT_SECONDS <= arguments.timeout <= MAX_TIMEOUT_SECONDS:
        raise DeviceError(f"--timeout must be {_MIN_TIMEOUT_SECONDS:g} to {MAX_TIMEOUT_SECONDS:g} seconds, "
                          f"not {arguments.timeout:g}")


def work(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for; raises what :func:`support.command_line.run` turns into a line."""
    _check(arguments)
    with Accelerator(open_port(arguments.port, arguments.baud), timeout=arguments.timeout) as chip:
        arguments.work(arguments, chip)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return command_line.run(create_parser(), work, argv)
