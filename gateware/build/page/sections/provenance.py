"""Where the numbers come from: revision, tools, and hashes of what went in and came out."""

from gateware.build.page.levels import Level
from gateware.build.page.parts import Column, Fact, Facts, Number, Part, Section, Table, decimal
from gateware.build.page.subject import Subject
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from support.counting import counted

__all__ = ["section"]


def _steps(subject: Subject) -> Table | None:
    """List the steps; those of seeds are one row."""
    steps = subject.report.steps
    if not steps:
        return None
    seeds = [step for step in steps if step.name.startswith("place-seed")]
    rows: list[list[Number | str | None]] = []
    for step in steps:
        if len(seeds) > 1 and step in seeds:
            if step is seeds[0]:
                kept = sum(each.kept for each in seeds)
                rows.append([f"place and route, {counted(len(seeds), 'seed')}",
                             decimal(sum(each.seconds for each in seeds), 1, "s"),
                             f"{kept} of {len(seeds)} kept from earlier runs" if kept else "done in this build"])
            continue
        rows.append([step.name, decimal(step.seconds, 1, "s"),
                     "kept from an earlier run" if step.kept else "done in this build"])
    return Table(caption="Steps of the build", columns=[
        Column(title="step"), Column(title="time", level=Level.TIMED), Column(title="when")], rows=rows)


def section(subject: Subject) -> Section:
    """Say how it was made."""
    report = subject.report
    facts = [Fact(name="revision of Sterna", value=report.revision, code=True,
                  note="files were changed after this commit" if report.revision.endswith("-dirty") else "")]
    if subject.board is not None:
        facts.append(Fact(name="board and chip", value=f"{subject.board.title}, {subject.board.fpga.device}"))
    if isinstance(report, Report):
        facts.append(Fact(name="network, SHA-256", value=report.network_sha256, code=True))
        if report.swap is not None:
            facts.append(Fact(name="put into the build of", value=report.swap.network,
                              note=f"in {report.swap.into}: placed and routed with that network"))
    facts += [Fact(name=f"{what}, SHA-256", value=digest, code=True) for what, digest in (
        ("netlist", report.netlist_sha256), ("bitstream", report.bitstream_sha256),
        ("design", report.design_sha256 if isinstance(report, OverlayReport) else None)) if digest is not None]
    parts: list[Part] = [Facts(items=facts), Table(
        caption="Versions", measured=False, columns=[Column(title="tool"), Column(title="version")],
        rows=[[tool, version] for tool, version in sorted(report.tool_versions.items())])]
    steps = _steps(subject)
    if steps is not None:
        parts.append(steps)
    return Section(name="provenance", title="Provenance", parts=parts, lead="What this build was made of, and by what.")
