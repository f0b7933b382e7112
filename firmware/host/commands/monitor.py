"""``monitor``: watch the device's counters of faults of the line."""

import argparse
import dataclasses
import json
import time

from firmware.host.accelerator import Accelerator
from firmware.host.errors import DeviceError
from support.command_line import print_line

__all__ = ["add"]

_LEAST_SECONDS, _MOST_SECONDS = 0.01, 3600.0


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", port: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser("monitor", parents=[port],
                                 help="print the device's counters of faults whenever they change, until Ctrl-C")
    parser.add_argument("--every", metavar="S", type=float, default=1.0,
                        help="ask every S seconds (default: %(default)s)")
    parser.add_argument("--count", metavar="N", type=int, help="ask N times, then end")
    parser.set_defaults(work=_work)


def _work(arguments: argparse.Namespace, chip: Accelerator) -> None:
    # Written so that nan is refused too.
    if not _LEAST_SECONDS <= arguments.every <= _MOST_SECONDS:
        raise DeviceError(f"--every must be {_LEAST_SECONDS:g} to {_MOST_SECONDS:g} seconds, "
                          f"not {arguments.every:.12g}")
    if arguments.count is not None and arguments.count < 1:
        raise DeviceError(f"--count must be 1 or more, not {arguments.count}")
    asked, before = 0, None
    begun = time.monotonic()
    while True:
        counters = chip.ask_counters()
        asked += 1
        if counters != before:
            fields = dataclasses.asdict(counters)
            seconds = time.monotonic() - begun
            print_line(json.dumps({"seconds": seconds} | fields) if arguments.json else
                       f"{seconds:8.1f} s  " + ", ".join(f"{name.replace('_', ' ')} {value}"
                                                         for name, value in fields.items()))
            before = counters
        if asked == arguments.count:
            return
        time.sleep(arguments.every)
