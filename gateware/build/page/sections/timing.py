"""How fast the layout may run, for each seed that was tried."""

import statistics

from gateware.build.page.figures import draw_seeds
from gateware.build.page.levels import Level
from gateware.build.page.parts import Better, Fact, Facts, Figure, Missing, Part, Section, count, decimal, share
from gateware.build.page.rebuilding import build_command
from gateware.build.page.subject import Subject
from gateware.reports.build import BuildReport

__all__ = ["section"]


def _distribution(report: BuildReport) -> list[Fact]:
    """Say how the seeds are distributed."""
    fmax = report.fmax_mhz
    closing = sum(each >= report.clock_mhz for each in fmax)
    others = [f"{len(seeds)} {what}" for seeds, what in (
        (report.seeds_out_of_time, "out of time"), (report.seeds_unplaced, "without a legal placement")) if seeds]
    return [
        Fact(name="seeds tried", value=count(report.seeds_tried), level=Level.SET, note=", ".join(others)),
        Fact(name="seeds that reach the clock", value=count(closing), level=Level.ROUTED, better=Better.MORE),
        Fact(name="median Fmax", value=decimal(statistics.median(fmax), 2, "MHz"), level=Level.ROUTED,
             better=Better.MORE),
        Fact(name="slowest seed", value=decimal(min(fmax), 2, "MHz"), level=Level.ROUTED, better=Better.MORE),
        Fact(name="fastest seed", value=decimal(max(fmax), 2, "MHz"), level=Level.ROUTED, better=Better.MORE)]


def section(subject: Subject) -> Section:
    """Say what the static timing analysis found."""
    report, seeds = subject.report, subject.seeds
    facts = [Fact(name="clock", value=decimal(report.clock_mhz, 2, "MHz"), level=Level.SET)]
    if (fmax := report.bitstream_fmax_mhz) is not None:
        facts += [Fact(name="Fmax of the bitstream", value=decimal(fmax, 2, "MHz"), level=Level.ROUTED,
                       note=f"seed {report.seed}", better=Better.MORE),
                  Fact(name="margin", value=share(fmax / report.clock_mhz - 1), level=Level.ROUTED,
                       better=Better.MORE)]
    if len(seeds.fmax_mhz) > 1:
        facts += _distribution(seeds)
    parts: list[Part] = [Facts(items=facts)]
    if len(seeds.fmax_mhz) > 1:
        low, high = min(seeds.fmax_mhz), max(seeds.fmax_mhz)
        parts.append(Figure(
            name="seeds", title="Fmax of each seed", level=Level.ROUTED,
            description=f"One dot for each of {len(seeds.fmax_mhz)} seeds, from {low:.2f} to {high:.2f} MHz; the clock "
                        f"is {seeds.clock_mhz:g} MHz.",
            svg=draw_seeds([("", seeds.fmax_mhz)], [seeds.clock_mhz])))
    else:
        parts.append(Missing(
            what="How much Fmax depends on the seed is not known: fewer than two were placed.",
            command=build_command(report, subject.network_word, seeds=50)))
    return Section(name="timing", title="Timing", parts=parts, lead=(
        "Place and route begins with random numbers; how fast its result may run depends on their seed. Fmax is the "
        "clock that the slowest path of the layout allows, by static timing analysis."))
