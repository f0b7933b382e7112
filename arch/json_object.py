"""Dataclasses made of JSON objects that anybody may have written: every value must have the type of its field.

Reports and bases of builds are read with it. Types are those that JSON can hold: ``str``, ``bool``, ``int``, ``float``
(an integer serves, NaN and Infinity do not), ``None``, ``list[...]``, ``dict[str, ...]``, ``Any``, unions of them, and
dataclasses of such fields.
"""

import dataclasses
import math
import types
import typing
from typing import Any, TypeVar

from arch.strict_json import name, short

__all__ = ["check_value", "make"]

_Made = TypeVar("_Made")

#: What a message calls a type.
_WORDS = {str: "a string", bool: "true or false", int: "an integer", float: "a finite number", type(None): "null",
          list: "a list", dict: "an object"}


def make(kind: type[_Made], value: Any, where: str = "it", *, exact: bool = False) -> _Made:
    """Return the dataclass ``kind`` of the JSON object ``value``.

    Parameters
    ----------
    kind
        A dataclass.
    value
        What was parsed.
    where
        What ``value`` is, for messages.
    exact
        Whether there must be a key for every field, and no other. If not, fields with a default may be left out, and
        keys without a field are ignored.

    Raises
    ------
    :exc:`ValueError`
        If ``value`` is no object, lacks a key or has one too many, or has a value of another type; one line.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, not {short(value)}")
    wanted = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in value:
            within = field.name if where == "it" else f"{where} {field.name}"
            values[field.name] = check_value(wanted[field.name], value[field.name], within, exact=exact)
        elif exact or (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING):
            raise ValueError(f"{where} has no {field.name!r}")
    if exact and len(values) < len(value):
        raise ValueError(f"{where} must not have {name(next(key for key in value if key not in values))}")
    return kind(**values)


def _words(kind: Any) -> str:
    if isinstance(kind, types.UnionType):
        return " or ".join(_words(choice) for choice in typing.get_args(kind))
    return _WORDS.get(typing.get_origin(kind) or kind, "an object")


def _fits(kind: Any, value: Any) -> bool:
    """Whether ``value`` is of the type ``kind``, which holds no others."""
    if kind is float:
        # An integer may be too large for a float.
        return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 1 << 1000)
    return kind is Any or type(value) is kind


def check_value(kind: Any, value: Any, where: str, *, exact: bool = False) -> Any:
    """Return the JSON ``value`` as the type ``kind``: as it is, but for the objects of dataclasses.

    Raises :exc:`ValueError` as :func:`make` does.
    """
    if isinstance(kind, types.UnionType):
        if value is None and type(None) in typing.get_args(kind):
            return None
        for choice in typing.get_args(kind):
            if dataclasses.is_dataclass(choice) or typing.get_origin(choice) is not None:
                return check_value(choice, value, where, exact=exact)
            if _fits(choice, value):
                return value
    elif dataclasses.is_dataclass(kind):
        return make(typing.cast("type[Any]", kind), value, where, exact=exact)
    elif typing.get_origin(kind) is list and type(value) is list:
        return [check_value(typing.get_args(kind)[0], item, f"{where} {number}", exact=exact)
                for number, item in enumerate(value)]
    elif typing.get_origin(kind) is dict and type(value) is dict:
        return {key: check_value(typing.get_args(kind)[1], item, f"{where} {name(key)}", exact=exact)
                for key, item in value.items()}
    elif typing.get_origin(kind) is None and _fits(kind, value):
        return value
    raise ValueError(f"{where} must be {_words(kind)}, not {short(value)}")
