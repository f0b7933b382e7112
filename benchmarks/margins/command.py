"""Say how Fmax is distributed over the seeds of builds, and write ``docs/timing-margins.md``.

Usage, from the checkout::

    python -m gateware.build --board icebreaker --seeds 50
    python -m gateware.build --board icebreaker --weights flash --clock 48 --seeds 50
    python -m benchmarks.margins build/icebreaker/mnist-conv/report.json build/icebreaker/overlay/report.json \
        --page docs/timing-margins.md

A report must be of a clean checkout and of at least two seeds.
"""

import argparse
import os
import pathlib
from collections.abc import Sequence

from benchmarks.margins.page import Margins, page
from gateware.build.page import rebuilding
from gateware.build.page.subject import shipped_network
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from gateware.reports.reader import load_report
from support.command_line import path_argument, print_line, run
from support.errors import InputError, printable
from support.files import check_output, write_atomically
from support.provenance import command_line

__all__ = ["build_command", "create_parser", "main"]


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.margins",
                                     description="Say how the maximal clock of builds is distributed over the seeds of "
                                                 "place and route.")
    parser.add_argument("reports", metavar="REPORT", nargs="+", type=path_argument,
                        help="read the seeds from REPORT, the report.json of python -m gateware.build --seeds N")
    parser.add_argument("--page", metavar="FILE", type=path_argument,
                        help="write the page to FILE, which is overwritten (default: none)")
    return parser


def build_command(report: Report | OverlayReport) -> str:
    """Return the command that builds what a report is of.

    Raises
    ------
    :exc:`InputError`
        If it is of a network that does not ship, whose file nobody else has.
    """
    return rebuilding.build_command(report, _shipped(report) if isinstance(report, Report) else "")


def _shipped(report: Report) -> str:
    if (found := shipped_network(report.network_sha256)) is not None:
        return found[1]
    raise InputError(f"report must be of a network that ships in models/, not of {printable(report.network)} "
                     f"(sha256 {report.network_sha256[:16]}): build one of those")


def _read(path: pathlib.Path) -> Margins:
    """Read the report of a build, which must be one that the page can name."""
    name = printable(os.fspath(path))
    report = load_report(path)
    if report.revision.endswith(("-dirty", "-unknown")):
        raise InputError(f"{name}: report must be of a clean checkout, not of revision {report.revision}: commit, and "
                         f"build again")
    if report.lc is None:
        raise InputError(f"{name}: report must be of a bitstream, and no seed has one: build with --seeds 50")
    if len(report.fmax_mhz) < 2:
        raise InputError(f"{name}: report must be of 2 seeds or more that were placed, not of {len(report.fmax_mhz)}: "
                         f"build with --seeds 50")
    return Margins(report)


def _measure(arguments: argparse.Namespace) -> None:
    if arguments.page is not None:
        check_output(arguments.page, inputs=arguments.reports)
    margins = [_read(path) for path in arguments.reports]
    for one in margins:
        print_line(f"{printable(one.title)}: " + "; ".join(f"{name} {value}" for name, value in one.figures()))
    if arguments.page is None:
        return
    command = command_line("benchmarks.margins", [*map(str, arguments.reports), "--page", str(arguments.page)])
    text = page([(one, build_command(one.report)) for one in margins], command)
    write_atomically(arguments.page, text.encode())
    print_line(f"wrote {printable(str(arguments.page))}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run(create_parser(), _measure, argv)
