"""JSON that anybody may have written: parsed strictly, written in one form, and quoted in errors without harm."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

__all__ = ["canonical", "check_depth", "name", "names", "parse", "short"]

#: Names of a list that one message shows.
_MOST = 12
#: Most lists and objects within each other. What we write has fewer than ten; a limit far below the depth of calls at
#: which Python gives up lets whatever is read be compared, copied, quoted and written again.
_DEEPEST = 64
#: Most characters of an integer: no number of ours has a hundred, and Python converts at most 4,300.
_LONGEST_INTEGER = 1000


def canonical(value: Any) -> str:
    """Text of the JSON ``value`` in canonical form: sorted keys, no spaces, ASCII.

    Raises
    ------
    :exc:`TypeError`, :exc:`ValueError`, :exc:`RecursionError`
        If ``value`` is not JSON, or holds a number that is not finite, or would not be read again: :func:`check_depth`.
    """
    check_depth(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise ValueError(f"an integer must have at most {_LONGEST_INTEGER} digits, not {len(text.lstrip('-'))}")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number must be within +-1.8e308, not {short(text)}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def check_depth(value: Any) -> None:
    """Check that at most 64 lists and objects of ``value`` are within each other; raises :exc:`ValueError`."""
    level, depth = [value], 0
    while level := [outer for outer in level if isinstance(outer, Mapping | list | tuple)]:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        level = [item for outer in level for item in (outer.values() if isinstance(outer, Mapping) else outer)]


def parse(text: bytes | str) -> Any:
    """Return the value of the JSON ``text``, in UTF-8 if it is bytes.

    Raises
    ------
    :exc:`ValueError`
        If it is no JSON, has a key twice, NaN, Infinity or a number that only they could stand for, an integer of more
        than a thousand digits, or more than 64 lists and objects within each other.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        value = json.loads(decoded, object_pairs_hook=_unique, parse_constant=_refuse_constant,
                           parse_int=_integer, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    # Most texts have so few brackets that they cannot be too deep.
    if decoded.count("[") + decoded.count("{") > _DEEPEST:
        check_depth(value)
    return value


def short(value: Any) -> str:
    """Text of ``value`` for an error message, at most 40 characters, control characters escaped."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def name(value: Any) -> str:
    """Text of a name for an error message: as it is if it is plain, else quoted and cut as by :func:`short`."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", value)
    return value if plain else short(value)


def names(values: Iterable[Any], *, most: int = _MOST) -> str:
    """Names for an error message, separated by commas: the first 12, or ``most``, and how many more there are."""
    found = list(values)
    shown = ", ".join(map(name, found[:most]))
    return shown if len(found) <= most else f"{shown} and {len(found) - most:,} more"
