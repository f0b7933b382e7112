"""Drawings: colours of the page, no fixed size, nothing outside, and only one module that imports matplotlib."""

import pathlib
import re

import numpy as np
import pytest

from gateware.build.page import figures

PAGE = pathlib.Path(figures.__file__).parent


@pytest.fixture(scope="module")
def drawings():
    return {
        "seeds": figures.draw_seeds([("", [50.0, 51.0, 51.0])], [48.0]),
        "two": figures.draw_seeds([("<A>", [50.0, 51.0]), ("$B_$", [49.0])], [48.0, 50.0], name="two"),
        "rates": figures.draw_rates([("layer <0>", [0.1, 0.2])]),
        "membranes": figures.draw_membranes([("a", [0.5, 0.25, 0.25])], np.array([-1.0, 0.0, 1.0, 2.0])),
        "thresholds": figures.draw_thresholds([("a", [1.0, 10.0]), ("b", [3.0])]),
        "floorplan": figures.draw_floorplan((3, 2, 8), {"x": [(1, 0, 7), (1, 1, 0), (2, 0, 0)]}, {"x": [(0, 0)]},
                                            {"x": figures.block_colour(0)})}


def test_colours_are_those_of_the_page(drawings):
    for name, text in drawings.items():
        assert re.search(r"var\(--\w+\)", text), name
        assert not re.search(r"#01020\d|#000000|#ffffff|#[0-9a-f]{3}\b", text), name


def test_a_drawing_has_the_width_of_the_page_and_nothing_outside(drawings):
    for name, text in drawings.items():
        assert re.match(r"<svg [^>]*viewBox=", text), name
        assert not re.search(r"<svg[^>]* (width|height)=|font-family|<metadata|<!--", text), name
        assert not re.search(r'href="(?!#)', text), name


def test_names_are_texts_and_no_formulas(drawings):
    assert "layer &lt;0&gt;" in drawings["rates"]
    assert "$B_$" in drawings["two"]


def test_identifiers_of_drawings_differ(drawings):
    names = [name for text in drawings.values() for name in re.findall(r' id="([^"]+)"', text)]
    assert len(names) == len(set(names)) > 0


def test_cells_above_one_another_are_one_line_as_wide_as_a_cell(drawings):
    assert 'transform="translate(3.5)"' in drawings["floorplan"]
    assert 'stroke-width="7" d="M8 7v2M16 0v1"' in drawings["floorplan"]


@pytest.mark.parametrize(("package", "modules"), [("matplotlib", {"figures.py"}), ("jinja2", {"rendering.py"})])
def test_one_module_imports_what_is_heavy(package, modules):
    found = {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*.py")
             if re.search(rf"^\s*(import|from) {package}\b", path.read_text(), re.MULTILINE)}
    assert found == modules
