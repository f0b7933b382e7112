"""How Fmax is distributed over seeds, as text and as the page ``docs/timing-margins.md``."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport

__all__ = ["Margins", "page"]

_HEAD = """\
# Timing margins

Made by `python -m benchmarks.margins`; do not edit. Place and route begins with random numbers, and how fast its result
is depends on their *seed*. A build takes the first seed whose *Fmax*, the clock that the slowest path of the routed
design allows, is at least the clock of the build. This page says how many seeds reach it, and with what margin: all
seeds that were tried are counted.

Fmax is what nextpnr's static timing analysis says of the routed design, with the delays that Project IceStorm has of
the chip. No board was measured.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Margins:
    """Fmax of the seeds of a build."""

    report: Report | OverlayReport

    @property
    def title(self) -> str:
        """What was built, as a heading."""
        report = self.report
        if isinstance(report, OverlayReport):
            return f"Overlay on {report.board}, flash mode {report.flash_mode}"
        return f"{report.network} on {report.board}"

    @property
    def closing(self) -> int:
        """Number of seeds that reach the clock of the build."""
        return sum(fmax >= self.report.clock_mhz for fmax in self.report.fmax_mhz)

    def figures(self) -> list[tuple[str, str]]:
        """What is known of the distribution: name and value."""
        fmax = sorted(self.report.fmax_mhz)
        median = statistics.median(fmax)
        lower, _, upper = statistics.quantiles(fmax, n=4, method="inclusive")
        other = [f"{len(seeds)} {what}" for seeds, what in (
            (self.report.seeds_out_of_time, "out of time"), (self.report.seeds_unplaced, "without a legal placement"))
            if seeds]
        return [
            ("clock of the build", f"{self.report.clock_mhz:g} MHz"),
            ("seeds that reach it", ", ".join([f"{self.closing} of {self.report.seeds_tried}", *other])),
            ("Fmax: slowest, median, fastest", f"{fmax[0]:.2f}, {median:.2f}, {fmax[-1]:.2f} MHz"),
            ("Fmax: middle half of the seeds", f"{lower:.2f} to {upper:.2f} MHz"),
            ("margin of the median", f"{median / self.report.clock_mhz - 1:+.1%}"),
            ("margin of the slowest seed", f"{fmax[0] / self.report.clock_mhz - 1:+.1%}"),
            ("logic cells", f"{self.report.lc:,} of {self.report.lc_total:,}"),
        ]

    def histogram(self) -> list[tuple[int, int]]:
        """Whole megahertz, from the slowest seed's to the fastest's, and the number of seeds in each."""
        floors = [math.floor(fmax) for fmax in self.report.fmax_mhz]
        return [(mhz, floors.count(mhz)) for mhz in range(min(floors), max(floors) + 1)]

    def section(self, command: str) -> str:
        """Return the section of the page."""
        report = self.report
        lines = [f"## {self.title}", "",
                 f"```sh\n{command}\n```", "", f"Revision `{report.revision}`, with "
                 + ", ".join(f"{tool} {version}" for tool, version in sorted(report.tool_versions.items())) + ".", "",
                 "| figure | value |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in self.figures()]
        lines += ["", "Seeds by Fmax, in steps of 1 MHz:", "", "```text"]
        lines += [f"{mhz:3d} to {mhz + 1:3d} MHz {count:3d} {'#' * count}".rstrip() for mhz, count in self.histogram()]
        return "\n".join([*lines, "```", ""])


def page(sections: Sequence[tuple[Margins, str]], command: str) -> str:
    """Return the page of builds, each with the command that built it; ``command`` makes the page."""
    made = f"Made of the reports of the builds below by:\n\n```sh\n{command}\n```\n"
    return "\n".join([_HEAD, made, *(margins.section(build) for margins, build in sections)])
