"""What varies in a recipe: places in its JSON, each with a range or with choices."""

import copy
import dataclasses
import math
import re
from typing import Any

from arch import strict_json
from support.errors import InputError

__all__ = ["Axis", "SpaceError", "changed"]


class SpaceError(InputError):
    """What is to vary is no place of the recipe, or nothing that can vary."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """A value of a recipe that varies."""

    #: Where it is: keys and indices, joined by dots, as ``architecture.layers.0.channels``.
    place: str
    #: Values to choose from; empty with a range.
    choices: tuple[int | float | str | bool, ...] = ()
    #: Ends of a range of floats, and whether it is searched by its logarithm.
    low: float = 0.0
    high: float = 0.0
    logarithmic: bool = False

    @classmethod
    def parse(cls, text: str) -> "Axis":
        """Read ``PLACE=VALUE,VALUE,...``, ``PLACE=LOW:HIGH`` or ``PLACE=LOW:HIGH:log``; raises :exc:`SpaceError`."""
        place, equals, values = text.partition("=")
        if not place or not equals or not values:
            raise SpaceError(f"--vary must be PLACE=VALUE,VALUE,... or PLACE=LOW:HIGH or PLACE=LOW:HIGH:log, not "
                             f"{text!r}")
        if ":" not in values:
            choices = tuple(dict.fromkeys(_value(value) for value in values.split(",")))
            if len(choices) < 2:
                raise SpaceError(f"--vary {place} must have at least two values, not {values!r}")
            return cls(place=place, choices=choices)
        parts = re.fullmatch(r"([^:]+):([^:]+)(:log)?", values)
        try:
            low, high = (float(part) for part in parts.groups()[:2]) if parts else (math.nan, math.nan)
        except ValueError:
            low = high = math.nan
        logarithmic = parts is not None and parts[3] is not None
        if not (math.isfinite(low) and math.isfinite(high) and low < high) or (logarithmic and low <= 0):
            raise SpaceError(f"--vary {place} must be LOW:HIGH with numbers LOW below HIGH, and LOW above 0 with :log, "
                             f"not {values!r}")
        return cls(place=place, low=low, high=high, logarithmic=logarithmic)

    def check(self, recipe: Any) -> None:
        """Check that the place is in the JSON ``recipe``, and takes fractions if the values are some.

        Raises
        ------
        :exc:`SpaceError`
            If it is not, or if an integer is there, which as a rule counts something.
        """
        there = recipe
        for part in self.place.split("."):
            there = _step(there, part, self.place)
        floats = not self.choices or any(isinstance(choice, float) for choice in self.choices)
        if type(there) is int and floats:
            raise SpaceError(f"--vary {self.place} must be integers to choose from, as 8,16, because the recipe has "
                             f"the integer {there} there: write {there}.0 in the recipe if it may be a fraction")

    def has(self, value: Any) -> bool:
        """Whether a value is one that this axis can have."""
        if self.choices:
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        return type(value) in (int, float) and self.low <= value <= self.high


def _value(text: str) -> int | float | str | bool:
    """Read a value as JSON; what is none is a string."""
    try:
        value = strict_json.parse(text.encode())
    except ValueError:
        return text
    return value if isinstance(value, int | float | bool) else text


def changed(recipe: Any, values: dict[str, Any]) -> Any:
    """Return a copy of the JSON of a recipe with other values at their places.

    Raises
    ------
    :exc:`SpaceError`
        If a place is not in the recipe.
    """
    made = copy.deepcopy(recipe)
    for place, value in values.items():
        *path, last = place.split(".")
        parent = made
        for part in path:
            parent = _step(parent, part, place)
        _step(parent, last, place)
        if isinstance(parent, list):
            parent[int(last)] = value
        else:
            parent[last] = value
    return made


def _step(parent: Any, part: str, place: str) -> Any:
    if isinstance(parent, dict) and part in parent:
        return parent[part]
    if isinstance(parent, list) and part.isdecimal() and int(part) < len(parent):
        return parent[int(part)]
    hint = ": put the architecture itself in the place of its name" if isinstance(parent, str) else ""
    raise SpaceError(f"--vary {place} must be a place of the recipe, and {part!r} is none{hint}")
