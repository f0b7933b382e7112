import re

import pytest

from arch import strict_json


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "NaN", "[-Infinity]", "{", b"\xff", "[" * 100_000, "9" * 5000,
                                  '{"a": {"b": 1, "b": 1}}'])
def test_what_is_not_strict_is_refused(text):
    with pytest.raises(ValueError, match=r"^.+$"):
        strict_json.parse(text)


@pytest.mark.parametrize(("text", "line"), [
    ("[" + "9" * 1001 + "]", "an integer must have at most 1000 digits, not 1001"),
    ("-" + "9" * 5000, "an integer must have at most 1000 digits, not 5000"),
    ("1e400", "a number must be within +-1.8e308, not '1e400'"),
    ('{"a": -1.5E999}', "a number must be within +-1.8e308, not '-1.5E999'"),
])
def test_numbers_that_are_too_large_are_named(text, line):
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        strict_json.parse(text)
    assert strict_json.parse("9" * 1000) == 10**1000 - 1
    assert strict_json.parse("-1.7e308") == -1.7e308


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")],
                         ids=["lists", "objects", "both"])
def test_what_is_read_can_be_quoted_and_written_again(begin, end):
    """A value just below the interpreter's limit of calls would be parsed, and fail in whoever reads it next."""
    most = 64 // sum(map(begin.count, "[{"))
    value = strict_json.parse(begin * most + "0" + end * most)
    assert strict_json.parse(strict_json.canonical(value)) == value
    for depth in (most + 1, 400, 485, 900, 970):
        with pytest.raises(ValueError, match=r"^it is nested too deeply$"):
            strict_json.parse(begin * depth + "0" + end * depth)
    with pytest.raises(ValueError, match=r"^it is nested too deeply$"):
        strict_json.canonical((value,))


def test_many_brackets_side_by_side_are_not_deep():
    assert strict_json.parse("[" + ",".join(["[]"] * 1000) + "]") == [[]] * 1000


def test_values_are_parsed_and_written_in_one_form():
    value = strict_json.parse('{"b": [1.5, null, true],\n "a": "é"}'.encode())
    assert value == {"a": "é", "b": [1.5, None, True]}
    assert strict_json.canonical(value) == '{"a":"\\u00e9","b":[1.5,null,true]}'
    with pytest.raises(ValueError, match=r"^Out of range float values are not JSON compliant"):
        strict_json.canonical(float("nan"))


def test_quotations_are_short_and_printable():
    assert strict_json.short(7) == "7"
    assert strict_json.short("x" * 100) == "'" + "x" * 36 + "..."
    assert strict_json.short("\x1b[2J") == r"'\x1b[2J'"
    assert strict_json.name("conv1.alpha") == "conv1.alpha"
    assert strict_json.name("a\nb") == r"'a\nb'"
    assert strict_json.name("x" * 61) == strict_json.short("x" * 61)
    assert strict_json.name(5) == "5"
    assert strict_json.names(["a", 1]) == "a, 1"
    assert strict_json.names("abc", most=2) == "a, b and 1 more"
    assert strict_json.names(map(str, range(1013))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 1,001 more"
