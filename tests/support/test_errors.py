"""What one line may hold."""

import pytest

from support.errors import first_line, printable


@pytest.mark.parametrize(("text", "shown"), [
    ("plain", "plain"),
    ("two\nlines  and   spaces", "two lines and spaces"),
    ("red \x1b[31m and bell \x07", "red \\x1b[31m and bell \\x07"),
    ("right to left \u202e", "right to left \\u202e"),
    ("größe 数", "größe 数"),
    ("x" * 2003, "x" * 2000 + " ... (3 more characters)"),
])
def test_a_line_shows_nothing_that_moves_the_cursor(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(("error", "line"), [
    (ValueError("one\ntwo"), "one"), (ValueError(), "ValueError"), (ValueError(" \n"), "ValueError"),
    (KeyError("name"), "'name'"),
    (ValueError("x" * 200), "x" * 200),
    (ValueError("x" * 201), "x" * 200 + "..."),
])
def test_the_first_line_of_an_error_says_something(error, line):
    assert first_line(error) == line
