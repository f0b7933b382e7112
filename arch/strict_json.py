"""JSON that anybody may have written: parsed strictly, written in one form, and quoted in errors without harm."""

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

__all__ = ["canonical", "name", "names", "parse", "short"]

#: Names of a list that one message shows.
_MOST = 12


def canonical(value: Any) -> str:
    """Text of the JSON ``value`` in canonical form: sorted keys, no spaces, ASCII.

    Raises
    ------
    :exc:`TypeError`, :exc:`ValueError`, :exc:`RecursionError`
        If ``value`` is not JSON, or holds a number that is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def parse(text: bytes | str) -> Any:
    """Return the value of the JSON ``text``, in UTF-8 if it is bytes.

    Raises
    ------
    :exc:`ValueError`
        If it is no JSON, has a key twice, NaN or Infinity, an integer of thousands of digits, or too deep nesting.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def short(value: Any) -> str:
    """Text of ``value`` for an error message, at most 40 characters, control characters escaped."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def name(value: Any) -> str:
    """Text of a name for an error message: as it is if it is plain, else quoted and cut as by :func:`short`."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", value)
    return value if plain else short(value)


def names(values: Iterable[Any]) -> str:
    """Names for an error message, separated by commas: the first 12 of them, and how many more there are."""
    found = list(values)
    shown = ", ".join(map(name, found[:_MOST]))
    return shown if len(found) <= _MOST else f"{shown} and {len(found) - _MOST:,} more"
