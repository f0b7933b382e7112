"""Rewrite what ``README.md`` takes from builds: the console block and the table between the two report marks.

Usage, from the checkout::

    make bitstream > build/bitstream.txt
    python -m gateware.build --board icebreaker --seeds 8 -o build/seeds
    python -m benchmarks.readme build/icebreaker/mnist-conv/report.json build/bitstream.txt build/seeds/report.json

The first report is that of the console block, the last one gives Fmax over its seeds. Both must be of the same network
and design, and of a clean checkout.
"""

import argparse
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from gateware.reports.network import Report
from support.command_line import path_argument, run
from support.errors import InputError
from support.files import read_file, write_atomically

__all__ = ["create_parser", "main", "refreshed"]

README = Path(__file__).resolve().parents[2] / "README.md"
#: Longest report or console text that is read, in bytes.
_MAX_BYTES = 2**24
BLOCK = re.compile(r"(<!-- report: all.*? -->\n\n).*?(\n\n<!-- report: end -->)", re.DOTALL)


def _rows(report: Report, seeds: Report) -> list[tuple[str, str, str, str]]:
    """Rows of the table: what, value, how it is known, and the command that gives it."""
    use, fmax = report.array_utilisation, seeds.fmax_mhz
    built = "`make bitstream`"
    engine = report.clock_mhz * 1e6 / report.cycles_per_inference
    assert report.sample_seconds is not None
    return [
        ("array P x W x T",
         f"{report.lanes} x {report.width} x {report.timesteps} = {report.sop_per_cycle} SOP per clock",
         "by construction", "`python -m gateware.build --board icebreaker --dry-run`"),
        ("logic cells, block RAM, SPRAM, DSP",
         (f"{report.lc:,} of {report.lc_total:,}, {report.ebr} of {report.ebr_total}, "
          f"{report.spram} of {report.spram_total}, {report.dsp} of {report.dsp_total}"), "place and route", built),
        ("clock; Fmax",
         (f"{report.clock_mhz:g} MHz; median of {len(fmax)} seeds {statistics.median(fmax):.1f} MHz, "
          f"{min(fmax):.1f} to {max(fmax):.1f}"), "static timing analysis of the routed design",
         f"`python -m gateware.build --board icebreaker --seeds {len(fmax)}`"),
        ("clocks per image", f"{report.cycles_per_inference:,}",
         "exact: cycle model; equal in every simulated image",
         ("`python -m sim models/mnist-conv.safetensors --images models/samples/mnist-images.idx.gz --engine both "
          "--spikes`")),
        ("latency, last pixel to class", f"{report.latency_ms:.3f} ms",
         "computed: clocks / clock, and the two CRC bytes on the line", built),
        ("peak; effective", f"{report.peak_gsops:.2f}; {report.effective_gsops:.2f} GSOP/s",
         "computed from clocks and clock", built),
        ("utilisation: first layer; layers after it; all",
         f"{use.layers[0]:.1%}; {use.after_first:.1%}; {use.total:.1%}", "computed from clocks", built),
        ("images per second", f"{report.images_per_second_link:.0f}",
         f"computed: the link at {report.baud / 1e6:g} Mbaud is the limit; the engine alone, {engine:,.0f}", built),
        ("simulation of one digit",
         f"{report.sample_seconds / report.sample_images:.2f} s",
         "measured: Verilator, a loaded 2-core machine, compilation apart", built),
        ("accuracy", f"{report.accuracy:.2%} of {report.accuracy_images:,}",
         f"measured: exported integers on the reference, `{report.accuracy_file}`",
         "`python -m export models/mnist-conv.checkpoint.safetensors -o FILE --test-images FILE --test-labels FILE`"),
        ("accuracy on the shipped samples", f"{report.sample_accuracy:.2%} of {report.sample_images}",
         "simulated: RTL of this build", built),
        ("exact in every channel", report.certificate, "certificate, for every input",
         "`python -m export models/mnist-conv.checkpoint.safetensors -o FILE`"),
        ("power, energy", "not measured", "no board", ""),
    ]


def refreshed(text: str, report: Report, console: str, seeds: Report) -> str:
    """Return the README's text with the figures of two builds.

    Raises
    ------
    :exc:`InputError`
        If the builds are not what the README speaks of, or the text has not one pair of report marks.
    """
    if report.network_sha256 != seeds.network_sha256 or report.lc != seeds.lc:
        raise InputError("REPORT and SEEDS must be of the same network and design")
    for what, one in (("REPORT", report), ("SEEDS", seeds)):
        if (one.board, one.network) != ("icebreaker", "mnist-conv"):
            raise InputError(f"{what} must be of mnist-conv on icebreaker, not of {one.network} on {one.board}")
        if not one.sample_images or one.lc is None or one.accuracy is None:
            raise InputError(f"{what} must be of a build with its simulation")
        if one.revision.endswith("-dirty"):
            raise InputError(f"{what} must be of a clean checkout, not of revision {one.revision}")
    # Before it, make says what it installs.
    begin = re.search(r"^synthesise ", console, re.MULTILINE)
    if begin is None:
        raise InputError("CONSOLE must be what make bitstream prints, and has no line of the synthesis")
    table = "\n".join("| " + " | ".join(row) + " |" for row in _rows(report, seeds))
    block = (f"```console\n$ make bitstream\n{console[begin.start():].strip()}\n```\n\n"
             f"From the reports of builds at revision `{report.revision}`:\n\n"
             "| iCEBreaker, shipped MNIST network | value | how we know | command |\n|---|---|---|---|\n" + table)
    text, count = BLOCK.subn(lambda match: match[1] + block + match[2], text)
    if count != 1:
        raise InputError(f"{README}: must have one pair of report marks, not {count}")
    return text


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme",
                                     description="Refresh the numbers of README.md from two builds.")
    parser.add_argument("report", metavar="REPORT", type=path_argument,
                        help="read the build of CONSOLE from REPORT (report.json)")
    parser.add_argument("console", metavar="CONSOLE", type=path_argument,
                        help="read what make bitstream printed from CONSOLE")
    parser.add_argument("seeds", metavar="SEEDS", type=path_argument,
                        help="read a build with --seeds from SEEDS (report.json)")
    return parser


def _refresh(arguments: argparse.Namespace) -> None:
    report, seeds = (Report.from_json(read_file(path, limit=_MAX_BYTES), name=str(path))
                     for path in (arguments.report, arguments.seeds))
    try:
        console = read_file(arguments.console, limit=_MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{arguments.console}: CONSOLE must be text in UTF-8, as make bitstream prints it: byte "
                         f"{error.start} is not") from None
    text = refreshed(README.read_text(encoding="utf-8"), report, console, seeds)
    write_atomically(README, text.encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run(create_parser(), _refresh, argv)

