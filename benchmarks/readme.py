"""Rewrite what ``README.md`` takes from builds: the console block and the table between the two report marks.

Usage, from the checkout::

    make bitstream > build/bitstream.txt
    python -m gateware.build --board icebreaker --seeds 8 -o build/seeds
    python -m benchmarks.readme build/icebreaker/report.json build/bitstream.txt build/seeds/report.json

The first report is that of the console block, the last one gives Fmax over its seeds. Both must be of the same network
and of a clean checkout.
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

from support.files import write_atomically

__all__ = ["create_parser", "main"]

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"(<!-- report: all.*? -->\n\n).*?(\n\n<!-- report: end -->)", re.DOTALL)


def _rows(report: dict[str, Any], seeds: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    use, fmax = report["array_utilisation"], seeds["fmax_mhz"]
    built = "`make bitstream`"
    engine = report["clock_mhz"] * 1e6 / report["cycles_per_inference"]
    return [
        ("array P x W x T",
         f"{report['lanes']} x {report['width']} x {report['timesteps']} = {report['sop_per_cycle']} SOP per clock",
         "by construction", "`python -m gateware.build --board icebreaker --dry-run`"),
        ("logic cells, block RAM, SPRAM, DSP",
         (f"{report['lc']:,} of {report['lc_total']:,}, {report['ebr']} of 30, {report['spram']} of 4, "
         f"{report['dsp']} of 8"), "place and route", built),
        ("clock; Fmax",
         (f"{report['clock_mhz']:g} MHz; median of {len(fmax)} seeds {statistics.median(fmax):.1f} MHz, "
         f"{min(fmax):.1f} to {max(fmax):.1f}"), "static timing analysis of the routed design",
         f"`python -m gateware.build --board icebreaker --seeds {len(fmax)}`"),
        ("clocks per image", f"{report['cycles_per_inference']:,}",
         "exact: cycle model; equal in every simulated image",
         ("`python -m sim models/mnist-conv.safetensors --images models/samples/mnist-images.idx.gz --engine both "
         "--spikes`")),
        ("latency, last pixel to class", f"{report['latency_ms']:.3f} ms",
         "computed: clocks / clock, and the two CRC bytes on the line", built),
        ("peak; effective", f"{report['peak_gsops']:.2f}; {report['effective_gsops']:.2f} GSOP/s",
         "computed from clocks and clock", built),
        ("utilisation: first layer; layers after it; all",
         f"{use['layers'][0]:.1%}; {use['after_first']:.1%}; {use['total']:.1%}", "computed from clocks", built),
        ("images per second", f"{report['images_per_second_link']:.0f}",
         f"computed: the link at {report['baud'] / 1e6:g} Mbaud is the limit; the engine alone, {engine:,.0f}", built),
        ("simulation of one digit",
         f"{report['sample_seconds'] / report['sample_images']:.2f} s",
         "measured: Verilator, a loaded 2-core machine, compilation apart", built),
        ("accuracy", f"{report['accuracy']:.2%} of {report['accuracy_images']:,}",
         "measured: exported integers on the reference, whole test set",
         "`python -m export models/mnist-conv.checkpoint.safetensors -o FILE --test-images FILE --test-labels FILE`"),
        ("accuracy on the shipped samples", f"{report['sample_accuracy']:.2%} of {report['sample_images']}",
         "simulated: RTL of this build", built),
        ("exact in every channel", "yes" if report["exact"] else "no", "certificate, for every input",
         "`python -m export models/mnist-conv.checkpoint.safetensors -o FILE`"),
        ("power, energy", "not measured", "no board", ""),
    ]


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme",
                                     description="Refresh the numbers of README.md from two builds.")
    parser.add_argument("report", metavar="REPORT", type=Path, help="report.json of the build in CONSOLE")
    parser.add_argument("console", metavar="CONSOLE", type=Path, help="what make bitstream printed")
    parser.add_argument("seeds", metavar="SEEDS", type=Path, help="report.json of a build with --seeds")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = create_parser().parse_args(argv)
    try:
        report, seeds = json.loads(arguments.report.read_text()), json.loads(arguments.seeds.read_text())
        if report["network_sha256"] != seeds["network_sha256"] or report["lc"] != seeds["lc"]:
            raise ValueError("REPORT and SEEDS must be of the same network and design")
        table = "\n".join("| " + " | ".join(row) + " |" for row in _rows(report, seeds))
        block = (f"```console\n$ make bitstream\n{arguments.console.read_text().strip()}\n```\n\n"
                 f"From the reports of builds at revision `{report['revision']}`:\n\n"
                 "| iCEBreaker, shipped MNIST network | value | how we know | command |\n|---|---|---|---|\n" + table)
        text, count = BLOCK.subn(lambda match: match[1] + block + match[2], README.read_text(encoding="utf-8"))
        if count != 1:
            raise ValueError(f"{README} must have one pair of report marks")
    except (OSError, KeyError, ValueError) as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    write_atomically(README, text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
