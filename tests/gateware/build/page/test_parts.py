"""Parts of a section: no number without its level of evidence."""

import pytest

from gateware.build.page.levels import Level
from gateware.build.page.parts import (
    Better,
    Column,
    Fact,
    Facts,
    Section,
    Table,
    Text,
    count,
    decimal,
    measures,
    share,
)


def test_numbers_are_shown_with_separators_and_units():
    assert [str(number) for number in (count(12345), count(3, "bits"), decimal(1234.567, 2, "MHz"), share(0.0625))] == [
        "12,345", "3 bits", "1,234.57 MHz", "6.2 %"]
    assert share(1.5, bar=True).bar == 1.0


@pytest.mark.parametrize(("value", "level"), [(count(1), None), ("text", Level.ROUTED)])
def test_a_fact_has_a_level_if_and_only_if_it_is_a_number(value, level):
    with pytest.raises(ValueError, match=r"^x: a number must have a level of evidence, and a text must have none$"):
        Fact(name="x", value=value, level=level)


def test_a_column_of_numbers_without_a_level_is_refused():
    with pytest.raises(ValueError, match=r"^cells: the column n has numbers and must have a level$"):
        Table(caption="cells", columns=[Column(title="what"), Column(title="n")], rows=[["a", count(1)]])


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"^cells: a row must have 1 cells, not 2$"):
        Table(caption="cells", columns=[Column(title="what")], rows=[["a", "b"]])


def test_measures_are_the_numbers_of_facts_and_tables():
    columns = [Column(title="what"), Column(title="n", level=Level.ROUTED, better=Better.LESS)]
    section = Section(name="s", title="S", lead="", parts=[
        Facts(items=[Fact(name="a", value=count(1), level=Level.SET), Fact(name="b", value="text")]),
        Text(text="words"), Table(caption="t", columns=columns, rows=[["x", count(2)], ["y", None]]),
        Table(caption="u", columns=columns, rows=[["z", count(3)]], measured=False)])
    assert [(each.section, each.name, each.number.value, each.level, each.better) for each in measures(section)] == [
        ("s", "a", 1, Level.SET, Better.NEITHER), ("s", "x: n", 2, Level.ROUTED, Better.LESS)]
