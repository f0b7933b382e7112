"""What the circuit takes of the chip, against what the chip has."""

from gateware.build.page.levels import Level
from gateware.build.page.parts import Better, Column, Number, Part, Section, Table, count, share
from gateware.build.page.subject import Subject
from gateware.reports.network import Report

__all__ = ["section"]


def _cells(subject: Subject) -> Table:
    """Compare what is taken with what there is."""
    report = subject.report
    routed = report.lc is not None
    used = ([("logic cells", report.lc, report.lc_total), ("block RAMs", report.ebr, report.ebr_total),
             ("single-port RAMs", report.spram, report.spram_total), ("multipliers", report.dsp, report.dsp_total)]
            if routed or not isinstance(report, Report) else
            [("logic cells", report.lc_estimate, report.lc_total), ("block RAMs", report.ebr_estimate,
                                                                    report.ebr_total)])
    level = Level.ROUTED if routed else Level.ESTIMATED
    return Table(
        caption="Cells of the chip", columns=[
            Column(title="cell"), Column(title="used", level=level, better=Better.LESS),
            Column(title="of", level=Level.SET, hint="what the chip has"),
            Column(title="share", level=level, better=Better.LESS)],
        rows=[[name, None if taken is None else count(taken), count(there),
               None if taken is None or not there else share(taken / there, bar=True)]
              for name, taken, there in used])


def _memories(report: Report) -> Table | None:
    """Compare the words of the memories of the network with what the circuit has."""
    if not report.layers:
        return None
    rows: list[list[Number | str | None]] = [[f"layer {layer.index}", count(layer.weight_rows)]
                                             for layer in report.layers]
    return Table(caption="Rows of the weight memory", columns=[
        Column(title="layer"), Column(title="rows", level=Level.COMPUTED, better=Better.LESS)],
        rows=[*rows, ["all", count(report.weight_rows)]])


def section(subject: Subject) -> Section:
    """Say what is taken."""
    parts: list[Part] = [_cells(subject)]
    if isinstance(subject.report, Report) and (memories := _memories(subject.report)) is not None:
        parts.append(memories)
    return Section(name="resources", title="Resources", parts=parts, lead=(
        "What the circuit takes, against what the chip has."))
