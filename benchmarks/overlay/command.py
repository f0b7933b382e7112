"""Ship the report of an overlay, and rewrite the example of ``docs/overlay.md`` that states its figures.

Usage, from the checkout::

    python -m gateware.build --board icebreaker --weights flash --clock 48 --seeds 8
    python -m benchmarks.overlay build/icebreaker/overlay/report.json

The report must be of a clean checkout, of today's circuit, of several seeds and with its simulation.
"""

import argparse
import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from boards import board_named
from export.command import create_parser as export_parser
from export.command import flash
from export.flash.report import format_image
from gateware.engine.signature import circuit_of
from gateware.mapper.streamed.choice import streamed_config
from gateware.reports import prebuilt
from gateware.reports.overlay import OverlayReport
from support.command_line import path_argument, print_line, run
from support.errors import InputError
from support.files import read_file, write_atomically

__all__ = ["check_report", "create_parser", "main", "with_example"]

_ROOT = Path(__file__).resolve().parents[2]
PAGE = _ROOT / "docs" / "overlay.md"

#: Longest report that is read, in bytes.
_MAX_BYTES = 1 << 24
#: The example: its command, and what that prints.
_EXAMPLE = re.compile(r"(```console\n\$ python -m export )(\S+ --flash (\S+) -q)(\n).*?(```)", re.DOTALL)


def check_report(report: OverlayReport, *, name: str) -> None:
    """Check that a report may ship.

    Raises
    ------
    :exc:`InputError`
        If it may not.
    """
    board = board_named(report.board)
    if report.revision.endswith(("-dirty", "-unknown")):
        raise InputError(f"{name}: report must be of a clean checkout, not of revision {report.revision}: commit, and "
                         f"build again")
    circuit = circuit_of(streamed_config(board)).to_bytes().hex()
    if report.circuit != circuit:
        raise InputError(f"{name}: circuit must be {circuit}, that of these sources, not {report.circuit}: build again")
    if len(report.seeds) < 2 or report.lc is None:
        raise InputError(f"{name}: report must be of 2 seeds or more, not of {len(report.seeds)}: build with --seeds 8")
    if not report.sample_images:
        raise InputError(f"{name}: report must be of a build with its simulation: build without --no-simulation")


def with_example(text: str) -> str:
    """Return the page with what its example prints now.

    Raises
    ------
    :exc:`InputError`
        If the page has not one such example.
    """
    found = _EXAMPLE.findall(text)
    if len(found) != 1:
        raise InputError(f"{PAGE}: must have one example of python -m export NETWORK --flash IMAGE -q, "
                         f"not {len(found)}")
    arguments = export_parser().parse_args([*found[0][1].split(), "--dry-run"])
    # The page names files as somebody in the checkout does.
    with contextlib.chdir(_ROOT):
        output = format_image(flash(arguments), written=found[0][2])
    return _EXAMPLE.sub(lambda match: f"{match[1]}{match[2]}{match[4]}{output}\n{match[5]}", text)


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overlay",
        description="Ship the report of a build of the overlay, and rewrite the example of docs/overlay.md.")
    parser.add_argument("report", metavar="REPORT", type=path_argument,
                        help="ship REPORT, the report.json of python -m gateware.build --weights flash --seeds 8")
    return parser


def _renew(arguments: argparse.Namespace) -> None:
    name = os.fspath(arguments.report)
    content = read_file(arguments.report, limit=_MAX_BYTES)
    report = OverlayReport.from_json(content, name=name)
    check_report(report, name=name)
    path = prebuilt.FOLDER / f"{report.board}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, content)
    write_atomically(PAGE, with_example(PAGE.read_text(encoding="utf-8")).encode())
    print_line(f"wrote {path} and {PAGE}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run(create_parser(), _renew, argv)
