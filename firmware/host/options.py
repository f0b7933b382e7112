"""Options of every command that talks to a board: which port, at what rate, and for how long it waits."""

import argparse
import numbers

from arch.link import BAUD_RATES
from firmware.host.errors import DeviceError
from firmware.host.ports import DEFAULT_BAUD, check_baud, listed

__all__ = ["MAX_TIMEOUT_SECONDS", "add_port_options", "check_port_options", "check_timeout"]

#: Limits of ``--timeout``.
_MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS = 0.001, 3600.0


def add_port_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--port``, ``--baud`` and ``--timeout``."""
    parser.add_argument("--port", metavar="PORT", default="auto",
                        help="talk to serial device PORT; to the board that is plugged in, auto; or to a simulated "
                             "one, sim:rom or sim:overlay (default: auto)")
    parser.add_argument("--baud", metavar="N", type=int,
                        help=f"set the line to N baud, {listed(BAUD_RATES)} (default: {DEFAULT_BAUD})")
    parser.add_argument("--timeout", metavar="S", type=float,
                        help="give up an answer after S seconds (default: 1, or 600 for a simulated board)")


def check_timeout(timeout: object, name: str = "timeout") -> None:
    """Raise :exc:`firmware.host.errors.DeviceError` if ``timeout`` is no number of seconds within its limits."""
    number = isinstance(timeout, numbers.Real) and not isinstance(timeout, bool)
    # Written so that nan is refused too.
    if not (number and _MIN_TIMEOUT_SECONDS <= timeout <= MAX_TIMEOUT_SECONDS):  # type: ignore[operator]
        raise DeviceError(f"{name} must be {_MIN_TIMEOUT_SECONDS:g} to {MAX_TIMEOUT_SECONDS:g} seconds, "
                          f"not {format(timeout, '.12g') if number else repr(timeout)}")


def check_port_options(arguments: argparse.Namespace) -> None:
    """Refuse options that make no sense; raises :exc:`firmware.host.errors.DeviceError`."""
    if arguments.baud is not None:
        check_baud(arguments.baud, "--baud")
    if arguments.timeout is not None:
        check_timeout(arguments.timeout, "--timeout")
