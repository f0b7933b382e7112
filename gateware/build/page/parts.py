"""What a section is made of: facts, tables, figures, pictures and commands, each as data.

A part says what is to be seen and nothing about how: the templates lay it out, :func:`measures` hands its numbers to
programs, and :mod:`gateware.build.page.comparison` puts those of two builds side by side.
"""

import dataclasses
import enum
from collections.abc import Iterator, Sequence

from gateware.build.page.levels import Level

__all__ = ["Better", "Column", "Commands", "Fact", "Facts", "Figure", "Headline", "Measure", "Missing", "Number",
           "Part", "Picture", "Pictures", "Question", "Section", "Table", "Text", "Verdict", "count", "decimal",
           "measures", "share"]


class Better(enum.Enum):
    """Which of two values of a number is the better one."""

    LESS = "less"
    MORE = "more"
    #: Neither: the values differ, and that is all.
    NEITHER = "neither"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """A number, for programs and for people."""

    value: float
    #: The value as it is shown, without the unit.
    text: str
    unit: str = ""
    #: Length of a bar beside it, as a part of the longest, 0 to 1; None is no bar.
    bar: float | None = None

    def __str__(self) -> str:
        return f"{self.text} {self.unit}".rstrip()


def count(value: int, unit: str = "", *, bar: float | None = None) -> Number:
    """Show a count with separators of thousands."""
    return Number(value=value, text=f"{value:,}", unit=unit, bar=bar)


def decimal(value: float, digits: int, unit: str = "", *, bar: float | None = None) -> Number:
    """Show a number with so many digits behind the point."""
    return Number(value=value, text=f"{value:,.{digits}f}", unit=unit, bar=bar)


def share(value: float, digits: int = 1, *, bar: bool = False) -> Number:
    """Show a part of one as a percentage."""
    return Number(value=value, text=f"{100 * value:.{digits}f}", unit="%",
                  bar=min(1.0, max(0.0, value)) if bar else None)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """A fact: a number with its name, or several that are read together."""

    name: str
    #: The value; text, such as a hash, is no number and needs no level.
    value: Number | str
    #: How it is known; must be given for a number.
    level: Level | None = None
    #: What else there is to say, as a clause or sentence.
    note: str = ""
    better: Better = Better.NEITHER
    #: Whether the value is something to copy, such as a hash.
    code: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.value, Number) != (self.level is not None):
            raise ValueError(f"{self.name}: a number must have a level of evidence, and a text must have none")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Facts one below the other."""

    items: Sequence[Fact]
    title: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    #: How its numbers are known; None for a column of texts.
    level: Level | None = None
    #: What the column is, for who does not know the term.
    hint: str = ""
    better: Better = Better.NEITHER


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table whose first column names its rows.

    Raises :exc:`ValueError` if a number stands in a column without a level, or a row has another length than the head.
    """

    caption: str
    columns: Sequence[Column]
    #: Cells; None is one that has no value.
    rows: Sequence[Sequence[Number | str | None]]
    #: Colours of the rows' names, as in a figure; empty for none.
    swatches: Sequence[str] = ()
    #: Whether a darker cell is a larger number of its column or table.
    shaded: bool = False
    #: Whether the numbers of each row are one more measure for programs and comparisons.
    measured: bool = True

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.caption}: a row must have {len(self.columns)} cells, not {len(row)}")
            for cell, column in zip(row, self.columns, strict=True):
                if isinstance(cell, Number) and column.level is None:
                    raise ValueError(f"{self.caption}: the column {column.title} has numbers and must have a level")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A drawing."""

    #: Name in the page, unique.
    name: str
    title: str
    #: What is to be seen, for who cannot see it.
    description: str
    #: The drawing, as :mod:`gateware.build.page.figures` makes it.
    svg: str
    #: How what it shows is known.
    level: Level
    #: Part of the page's width: half or whole.
    wide: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A small picture, enlarged without smoothing."""

    #: PNG.
    content: bytes
    description: str
    caption: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Pictures side by side."""

    title: str
    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Commands:
    """Commands to copy, with what they do."""

    lines: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """What is not known, and the command that finds it out."""

    what: str
    command: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A line of the verdict: whether a question is answered with yes, with no, or not at all."""

    question: str
    #: True is yes, False no, None not known.
    answer: bool | None
    reason: str
    #: How the answer is known; None if it is not.
    level: Level | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the reader wants to know first."""

    questions: Sequence[Question]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """The few numbers that a build is known by; they stand in another section, too."""

    items: Sequence[Fact]


Part = Facts | Table | Figure | Pictures | Text | Commands | Missing | Verdict | Headline


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A section of the page."""

    #: Name in the page, unique: letters and hyphens.
    name: str
    title: str
    #: What the section says, in a sentence or two.
    lead: str
    parts: Sequence[Part]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A number of a section, for programs."""

    section: str
    #: Of a fact its name; of a cell of a table, the name of its row and that of its column.
    name: str
    number: Number
    level: Level
    better: Better


def measures(section: Section) -> Iterator[Measure]:
    """Yield the numbers of the facts and tables of a section, in their order."""
    for part in section.parts:
        if isinstance(part, Facts):
            for item in part.items:
                if isinstance(item.value, Number) and item.level is not None:
                    yield Measure(section=section.name, name=item.name, number=item.value, level=item.level,
                                  better=item.better)
        elif isinstance(part, Table) and part.measured:
            for row in part.rows:
                for cell, column in zip(row, part.columns, strict=True):
                    if isinstance(cell, Number) and column.level is not None:
                        yield Measure(section=section.name, name=f"{row[0]}: {column.title}", number=cell,
                                      level=column.level, better=column.better)
