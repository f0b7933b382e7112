"""Two builds side by side: what is better, what is worse, and what is known of one alone."""

import re

import pytest

from boards.families.ice40_placement import read_placement
from gateware.build.page import comparison
from gateware.build.page.comparison import Change, compare
from gateware.build.page.floorplan import floorplan_of
from gateware.build.page.levels import Level
from gateware.build.page.parts import Better, Measure, count, decimal, share
from gateware.build.page.rendering import render_comparison
from gateware.build.page.sections import sections_of, timing
from gateware.build.page.subject import Subject
from tests.gateware.build.page.conftest import layout_of, overlay_report, report_of
from tests.gateware.build.page.test_page import HOSTILE, LARGEST, Page, data_of


def measure(number, better=Better.NEITHER):
    return Measure(section="s", name="x", number=number, level=Level.ROUTED, better=better)


@pytest.mark.parametrize(("before", "after", "better", "verdict", "difference"), [
    (count(100), count(90), Better.LESS, "better", "-10.0%"), (count(100), count(110), Better.LESS, "worse", "+10.0%"),
    (count(100), count(110), Better.MORE, "better", "+10.0%"), (count(0), count(3), Better.MORE, "better", "+3"),
    (decimal(2, 1), decimal(1, 1), Better.NEITHER, "differs", "-50.0%"),
    (share(0.5), share(0.4), Better.MORE, "worse", "-10.00 points"),
    (count(7), count(7), Better.MORE, "", "+0.0%")])
def test_a_change_is_better_or_worse(before, after, better, verdict, difference):
    change = Change(name="x", before=measure(before, better), after=measure(after, better))
    assert (change.verdict, change.difference) == (verdict, difference)


def test_a_number_of_one_build_alone_is_said():
    change = Change(name="x", before=None, after=measure(count(3)))
    assert (change.differs, change.verdict, change.difference) == (True, "only in one", "")


def test_builds_are_compared_by_the_names_of_their_numbers():
    before, after = Subject(report=report_of()), Subject(report=report_of(lc=4000, fmax_mhz=[49.0, 47.0], ebr=30))
    found = compare(before, after, [sections_of(before), sections_of(after)])
    changes = {(part.name, change.name): change.verdict for part in found.parts for change in part.changes}
    assert changes["resources", "logic cells: used"] == "better"
    assert changes["resources", "block RAMs: used"] == "worse"
    assert changes["timing", "Fmax of the bitstream"] == "worse"
    assert changes["speed", "latency"] == ""
    assert found.count("better") > 0
    assert found.equal > 10
    assert found.texts == []
    assert found.seeds.description == "A: 2 seeds, 47.50 to 50.00 MHz; B: 2 seeds, 47.00 to 49.00 MHz"
    assert (found.chips, found.colours) == ([], {})


def test_a_clock_is_a_choice_and_neither_better_nor_worse_in_any_section():
    before, after = Subject(report=report_of()), Subject(report=report_of(clock_mhz=24.0))
    found = compare(before, after, [sections_of(before), sections_of(after)])
    told = {part.name: change.verdict for part in found.parts for change in part.changes if change.name == "clock"}
    assert told == {"speed": "differs", "timing": "differs"}


def test_the_verdict_counts_in_sentences_and_has_its_link(monkeypatch):
    subject = Subject(report=report_of())
    one = "1 is better in B, 1 is worse, 1 is another that is neither, and 1 is the same. 1 is known of one build only."
    two = ("2 are better in B, 2 are worse, 2 are others that are neither, and 2 are the same. 2 are known of one "
           "build only.")
    for numbers, told in ((1, one), (2, two)):
        monkeypatch.setattr(comparison.Comparison, "count", lambda *_, numbers=numbers: numbers)
        monkeypatch.setattr(comparison.Comparison, "equal", numbers)
        text = render_comparison(subject, subject)
        assert f'<p class="lead">Of the numbers that both builds have, {told}</p>' in text
    assert '<li><a href="#verdict">Verdict</a></li>' in text


def test_the_same_build_twice_has_no_difference():
    subject = Subject(report=report_of())
    found = compare(subject, subject, [sections_of(subject)] * 2)
    assert not any(change.differs for part in found.parts for change in part.changes)
    text = render_comparison(subject, subject)
    assert "numbers are the same." in text
    assert "Numbers that differ" not in text


def test_each_figure_is_drawn_once(monkeypatch):
    drawn = []
    for module in (timing, comparison):
        monkeypatch.setattr(module, "draw_seeds", lambda *given, **_: drawn.append(given) or "<svg></svg>")
    render_comparison(Subject(report=report_of()), Subject(report=report_of(lc=7)))
    # That of each build, and the one of both.
    assert len(drawn) == 3


def test_both_chips_are_drawn_with_the_same_colours():
    one, other = (floorplan_of(read_placement(layout)) for layout in (
        layout_of(), layout_of(("system.reader.timer[1]", "system.reader.timer[2]", "clk"), memories=())))
    found = compare(Subject(report=report_of(), floorplan=one), Subject(report=report_of(), floorplan=other), [[], []])
    assert [figure.name for figure in found.chips] == ["floorplan-a", "floorplan-b"]
    assert found.chips[0].svg != found.chips[1].svg
    assert set(found.colours) == {*one.blocks, *other.blocks}
    # The largest blocks of both come first.
    assert list(found.colours)[:3] == [one.blocks[0], "flash reader", one.blocks[1]]
    for chip, plan in zip(found.chips, (one, other), strict=True):
        assert set(re.findall(r'(?:stroke|fill)="(#\w+)"', chip.svg)) == {found.colours[each] for each in plan.blocks}
    assert sum(len(blocks.split(", ")) for _, blocks in found.legend) == len(found.colours)
    text = render_comparison(Subject(report=report_of(), floorplan=one), Subject(report=report_of(), floorplan=other))
    page = Page(text)
    assert page.faults == []
    assert {"figure-floorplan-a", "figure-floorplan-b"} <= set(page.ids)


def test_one_chip_alone_is_not_drawn():
    plan = floorplan_of(read_placement(layout_of()))
    found = compare(Subject(report=report_of(), floorplan=plan), Subject(report=report_of()), [[], []])
    assert (found.chips, found.legend) == ([], [])


@pytest.mark.parametrize("other", [overlay_report(), report_of(network=HOSTILE, revision=HOSTILE, lc=7)])
def test_the_page_is_well_formed_and_needs_nothing_else(other):
    text = render_comparison(Subject(report=report_of()), Subject(report=other))
    page = Page(text)
    assert page.faults == []
    assert len(page.ids) == len(set(page.ids))
    assert None not in page.numbers
    assert [link for link in page.links if not link.startswith("#")] == []
    assert "<script>" not in text
    assert len(text.encode()) < LARGEST
    assert len(data_of(text)["builds"]) == 2
