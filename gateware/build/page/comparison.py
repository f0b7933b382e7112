"""Two builds side by side: which numbers differ, and which of them are better."""

import dataclasses
from collections.abc import Sequence

from gateware.build.page.figures import draw_seeds
from gateware.build.page.levels import Level
from gateware.build.page.parts import Better, Figure, Measure, Section, measures
from gateware.build.page.subject import Subject

__all__ = ["Change", "Comparison", "compare"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A number of two builds; None where a build does not have it."""

    name: str
    before: Measure | None
    after: Measure | None

    @property
    def differs(self) -> bool:
        """Whether the two are not the same."""
        return self.before is None or self.after is None or self.before.number.value != self.after.number.value

    @property
    def difference(self) -> str:
        """How far the second is from the first, as a percentage; points of one where they are percentages."""
        if self.before is None or self.after is None:
            return ""
        before, after = self.before.number, self.after.number
        if before.unit == "%":
            return f"{100 * (after.value - before.value):+.2f} points"
        return f"{after.value / before.value - 1:+.1%}" if before.value else f"{after.value - before.value:+g}"

    @property
    def verdict(self) -> str:
        """Whether the second is better, worse, or only another; empty where they are the same."""
        if not self.differs:
            return ""
        if self.before is None or self.after is None:
            return "only in one"
        if self.before.better is Better.NEITHER:
            return "differs"
        more = self.after.number.value > self.before.number.value
        return "better" if more is (self.before.better is Better.MORE) else "worse"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The numbers of a section."""

    name: str
    title: str
    changes: Sequence[Change]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two builds side by side."""

    parts: Sequence[Part]
    #: Texts that differ: name, and that of each.
    texts: Sequence[tuple[str, str, str]]
    figure: Figure | None

    def count(self, verdict: str) -> int:
        """Return how many numbers are better, worse or different."""
        return sum(change.verdict == verdict for part in self.parts for change in part.changes)

    @property
    def equal(self) -> int:
        """Numbers that are the same in both."""
        return sum(not change.differs for part in self.parts for change in part.changes)


def _changes(before: Sequence[Measure], after: Sequence[Measure]) -> list[Change]:
    """Pair measures by their names, in the order of the first build and then of the second."""
    of_before, of_after = ({measure.name: measure for measure in each} for each in (before, after))
    return [Change(name=name, before=of_before.get(name), after=of_after.get(name))
            for name in dict.fromkeys([*of_before, *of_after])]


def _texts(before: Subject, after: Subject) -> list[tuple[str, str, str]]:
    """Say what was built, and by what."""
    def texts(subject: Subject) -> dict[str, str]:
        report = subject.report
        return {"network or overlay": subject.name, "board": subject.board_title, "revision": report.revision,
                "certificate": getattr(report, "certificate", "none"), "bitstream": str(report.bitstream_sha256)[:16],
                **dict(sorted(report.tool_versions.items()))}
    of_before, of_after = texts(before), texts(after)
    return [(name, of_before.get(name, "none"), of_after.get(name, "none"))
            for name in dict.fromkeys([*of_before, *of_after]) if of_before.get(name) != of_after.get(name)]


def _figure(before: Subject, after: Subject) -> Figure | None:
    """Draw the seeds of both, if one of them has several."""
    reports = [before.seeds, after.seeds]
    if max(len(report.fmax_mhz) for report in reports) < 2 or not all(report.fmax_mhz for report in reports):
        return None
    return Figure(
        name="seeds", title="Fmax of each seed", level=Level.ROUTED,
        description="; ".join(f"{name}: {len(report.fmax_mhz)} seeds, {min(report.fmax_mhz):.2f} to "
                              f"{max(report.fmax_mhz):.2f} MHz" for name, report in zip("AB", reports, strict=True)),
        svg=draw_seeds([(name, report.fmax_mhz) for name, report in zip("AB", reports, strict=True)],
                       [report.clock_mhz for report in reports]))


def _numbers(section: Section | None) -> list[Measure]:
    return [] if section is None else list(measures(section))


def compare(before: Subject, after: Subject, sections: Sequence[Sequence[Section]]) -> Comparison:
    """Compare two builds by the sections of both, that of ``before`` first."""
    of_before, of_after = ({section.name: section for section in each} for each in sections)
    parts = []
    for name in dict.fromkeys([*of_before, *of_after]):
        changes = _changes(_numbers(of_before.get(name)), _numbers(of_after.get(name)))
        if changes:
            parts.append(Part(name=name, title=(of_before.get(name) or of_after[name]).title, changes=changes))
    return Comparison(parts=parts, texts=_texts(before, after), figure=_figure(before, after))
