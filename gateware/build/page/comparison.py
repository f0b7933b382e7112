"""Two builds side by side: which numbers differ, and which of them are better."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from gateware.build.page.figures import draw_seeds
from gateware.build.page.levels import Level
from gateware.build.page.parts import Better, Figure, Measure, Section, measures
from gateware.build.page.sections.floorplan import colours_of, floorplan_figure
from gateware.build.page.subject import Subject
from support.counting import counted

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
    #: The seeds of both.
    seeds: Figure | None
    #: Both chips from above, and the colour of each block on them; empty if one of them is not known.
    chips: Sequence[Figure]
    colours: Mapping[str, str]

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Colours with the names of the blocks that have them: the small ones have one together."""
        names: dict[str, list[str]] = {}
        for block, colour in self.colours.items():
            names.setdefault(colour, []).append(block)
        return [(colour, ", ".join(blocks)) for colour, blocks in names.items()]

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


def _spread(fmax: Sequence[float]) -> str:
    """Say how far the seeds of a build are apart."""
    if len(fmax) == 1:
        return f"1 seed, {fmax[0]:.2f} MHz"
    return f"{counted(len(fmax), 'seed')}, {min(fmax):.2f} to {max(fmax):.2f} MHz"


def _seeds(before: Subject, after: Subject) -> Figure | None:
    """Draw the seeds of both, if one of them has several."""
    reports = [before.seeds, after.seeds]
    if max(len(report.fmax_mhz) for report in reports) < 2 or not all(report.fmax_mhz for report in reports):
        return None
    return Figure(
        name="seeds", title="Fmax of each seed", level=Level.ROUTED,
        description="; ".join(f"{name}: {_spread(report.fmax_mhz)}"
                              for name, report in zip("AB", reports, strict=True)),
        svg=draw_seeds([(name, report.fmax_mhz) for name, report in zip("AB", reports, strict=True)],
                       [report.clock_mhz for report in reports]))


def _colours(before: Subject, after: Subject) -> dict[str, str]:
    """Give each block its colour on both chips, the largest first; empty if one of them is not known."""
    if before.floorplan is None or after.floorplan is None:
        return {}
    pairs = itertools.zip_longest(before.floorplan.blocks, after.floorplan.blocks)
    return colours_of(block for pair in pairs for block in pair if block is not None)


def _chips(before: Subject, after: Subject, colours: Mapping[str, str]) -> list[Figure]:
    """Draw both chips, if there are colours for both."""
    return [floorplan_figure(subject.floorplan, colours, name=f"floorplan-{name.lower()}",
                             title=f"The chip of {name} from above")
            for name, subject in (("A", before), ("B", after)) if colours and subject.floorplan is not None]


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
    colours = _colours(before, after)
    return Comparison(parts=parts, texts=_texts(before, after), seeds=_seeds(before, after),
                      chips=_chips(before, after, colours), colours=colours)
