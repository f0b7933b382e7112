"""A page of its sections: one file of HTML, which needs nothing else."""

import base64
import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import markupsafe

from gateware.build.page.comparison import compare
from gateware.build.page.levels import Level
from gateware.build.page.parts import Number, Section, Table, measures
from gateware.build.page.sections import sections_of
from gateware.build.page.subject import Subject
from support.provenance import revision, tool_versions

__all__ = ["SCHEMA", "is_page", "render", "render_comparison"]

#: Name and version of the data in the page, which ``docs/report.md`` describes.
SCHEMA = "sterna-report/1"

_TEMPLATES = pathlib.Path(__file__).with_name("templates")

#: What the head of every page says of who made it, and bytes of a file that are searched for it.
_MADE_BY = b'<meta name="generator" content="Sterna '
_HEAD_BYTES = 1024


def is_page(path: pathlib.Path) -> bool:
    """Whether a file is a page that :func:`render` or :func:`render_comparison` has made."""
    with path.open("rb") as file:
        return _MADE_BY in file.read(_HEAD_BYTES)


def _unit(table: Table, column: int) -> str:
    """Return the unit of a column, if all of its numbers have the same."""
    units = {row[column].unit for row in table.rows if isinstance(row[column], Number)}  # type: ignore[union-attr]
    return units.pop() if len(units) == 1 else ""


def _command(line: str) -> markupsafe.Markup:
    """Return a command in which a browser breaks no line inside the name of an option, which begins at a hyphen."""
    words = re.split(r"((?<!\S)--?[a-z][a-z-]*)", line)
    return markupsafe.Markup("").join(
        markupsafe.Markup("<span>{}</span>").format(word) if index % 2 else word
        for index, word in enumerate(words))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True)
    environment.globals["unit"] = _unit
    environment.globals["levels"] = list(Level)
    environment.tests["number"] = lambda value: isinstance(value, Number)
    environment.filters["kind"] = lambda part: type(part).__name__.lower()
    environment.filters["command"] = _command
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    # Drawings are made by this program, and what is written in them is escaped there.
    environment.filters["drawing"] = markupsafe.Markup
    return environment


def _json(data: Mapping[str, Any]) -> markupsafe.Markup:
    """Return data for an element of a page: no text in them can end it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return markupsafe.Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _measured(sections: Sequence[Section]) -> list[dict[str, Any]]:
    return [{"section": measure.section, "name": measure.name, "value": measure.number.value,
             "unit": measure.number.unit, "level": measure.level.word, "better": measure.better.value}
            for section in sections for measure in measures(section)]


def _build(subject: Subject, sections: Sequence[Section]) -> dict[str, Any]:
    """Return what programs want to know of a build."""
    answers = subject.answers
    return {
        "report": json.loads(subject.report.to_json()), "measures": _measured(sections),
        "activity": None if subject.activity is None else dataclasses.asdict(subject.activity),
        "answers": None if answers is None else {
            "source": answers.source, "level": answers.level.word, "classes": answers.classes.tolist(),
            "labels": answers.labels.tolist(), "first": answers.first}}


def _data(builds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"schema": SCHEMA, "revision": revision(), "tool_versions": tool_versions("jinja2", "matplotlib", "numpy"),
            "levels": {level.word: level.meaning for level in Level}, "builds": list(builds)}


def _finished(text: str) -> str:
    """Remove what a browser does not need: spaces at the beginnings of lines, and empty lines."""
    return "\n".join(line for line in map(str.strip, text.splitlines()) if line) + "\n"


def render(subject: Subject) -> str:
    """Return the page of a build."""
    sections = sections_of(subject)
    data = _data([_build(subject, sections)])
    return _finished(_environment().get_template("build.html.j2").render(
        subject=subject, report=subject.report, sections=sections, data=_json(data), made=data))


def render_comparison(before: Subject, after: Subject) -> str:
    """Return the page that compares two builds."""
    builds = before, after
    sections = [sections_of(each) for each in builds]
    data = _data([_build(each, shown) for each, shown in zip(builds, sections, strict=True)])
    return _finished(_environment().get_template("comparison.html.j2").render(
        before=before, after=after, comparison=compare(before, after, sections), data=_json(data), made=data))
