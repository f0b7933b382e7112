"""The side-car: what NIR does not say, as JSON in the metadata of the graph, under :data:`KEY`.

A file with it is read without options. Other packages may drop metadata, and nothing of a graph depends on them; so a
side-car only states what the options of ``python -m export`` state. ``docs/formats.md`` describes every key.
"""

import dataclasses
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from arch import strict_json
from arch.limits import MAX_TIMESTEPS
from arch.network import Encoding, Reset
from export.sources.chain import SourceError, exact
from export.sources.rules import PRESETS, Comparison
from support.errors import first_line

__all__ = ["KEY", "VERSION", "Facts", "dumps", "fraction", "parse", "shape"]

#: Key of the graph's metadata.
KEY = "sterna"
#: Version that is written; another is refused.
VERSION = 1

_SPIKES = {"one": False, "several": True}
_READOUTS = {"spikes": False, "currents": True}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What may be stated about a file, by options or by a side-car; None where nothing is."""

    package: str | None = None
    comparison: Comparison | None = None
    reset: Reset | None = None
    several: bool | None = None
    dt: Fraction | None = None
    timesteps: int | None = None
    encoding: Encoding | None = None
    scale: Fraction | None = None
    zero_point: int | None = None
    shape: tuple[int, int, int] | None = None
    currents: bool | None = None
    #: Membranes before the first timestep, of the channels of a node of neurons by its name; zero for others. Only a
    #: side-car states them.
    initial: Mapping[str, tuple[Fraction, ...]] | None = None

    def over(self, other: "Facts") -> "Facts":
        """Return what is stated here, and what only ``other`` states."""
        return Facts(**{field.name: getattr(other, field.name) if getattr(self, field.name) is None
                        else getattr(self, field.name) for field in dataclasses.fields(self)})

    def as_json(self) -> dict[str, Any]:
        """Return the side-car, without what is not stated."""
        values: dict[str, Any] = {
            "from": self.package, "compare": self.comparison and self.comparison.value,
            "reset": self.reset and self.reset.value,
            "spikes": None if self.several is None else "several" if self.several else "one",
            "dt": None if self.dt is None else str(self.dt), "timesteps": self.timesteps,
            "encoding": self.encoding and self.encoding.value, "scale": None if self.scale is None else str(self.scale),
            "zero_point": self.zero_point, "input": None if self.shape is None else list(self.shape),
            "readout": None if self.currents is None else "currents" if self.currents else "spikes",
            "initial": self.initial and {name: list(map(str, values)) for name, values in self.initial.items()}}
        return {"version": VERSION} | {key: value for key, value in values.items() if value is not None}


def fraction(where: str, text: str) -> Fraction:
    """Return a positive number such as ``1e-4``, ``0.5`` or ``1/255``, exactly; raises :exc:`SourceError`."""
    try:
        value = exact(text)
        if not 0 < value or not 1e-30 < float(value) < 1e30:
            raise ValueError
    except (ValueError, OverflowError):
        raise SourceError(f"{where} must be a positive number such as 1e-4, 0.5 or 1/255, not "
                          f"{strict_json.short(text)}") from None
    return value


def shape(where: str, text: str) -> tuple[int, int, int]:
    """Return ``CHANNELSxHEIGHTxWIDTH``; a single number is the width of one row. Raises :exc:`SourceError`."""
    parts = text.split("x")
    if len(parts) not in (1, 3) or not all(part.isascii() and part.isdigit() and 0 < int(part) <= 65536
                                           for part in parts if len(part) < 6) or any(len(part) > 5 for part in parts):
        raise SourceError(f"{where} must be CHANNELSxHEIGHTxWIDTH such as 1x28x28, or one number, not "
                          f"{strict_json.short(text)}")
    sizes = [int(part) for part in parts]
    return (1, 1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1], sizes[2])


def _choice(key: str, value: Any, choices: Mapping[str, Any]) -> Any:
    if not isinstance(value, str) or value not in choices:
        raise SourceError(f"{key} must be {' or '.join(choices)}, not {strict_json.short(value)}")
    return choices[value]


def _number(key: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise SourceError(f"{key} must be an integer from {low} to {high}, not {strict_json.short(value)}")
    return value


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SourceError(f"{key} must be a text, not {strict_json.short(value)}")
    return value


def _membranes(value: Any) -> Mapping[str, tuple[Fraction, ...]]:
    """Numbers by the name of a node, each exact; they may be 0 and below."""
    try:
        found = {}
        for name, texts in value.items():
            if not texts or any("e" in text.lower() for text in texts):
                raise ValueError
            found[name] = tuple(map(exact, texts))
    except (AttributeError, TypeError, ValueError):
        raise SourceError("initial must be lists of numbers as text, such as \"-3/8\", by the names of nodes") from None
    return found


_KEYS: Mapping[str, Any] = {
    "from": lambda value: {"package": _choice("from", value, {name: name for name in PRESETS})},
    "compare": lambda value: {"comparison": _choice("compare", value, {kind.value: kind for kind in Comparison})},
    "reset": lambda value: {"reset": _choice("reset", value, {kind.value: kind for kind in Reset})},
    "spikes": lambda value: {"several": _choice("spikes", value, _SPIKES)},
    "dt": lambda value: {"dt": fraction("dt", _text("dt", value))},
    "timesteps": lambda value: {"timesteps": _number("timesteps", value, 1, MAX_TIMESTEPS)},
    "encoding": lambda value: {"encoding": _choice("encoding", value, {kind.value: kind for kind in Encoding})},
    "scale": lambda value: {"scale": fraction("scale", _text("scale", value))},
    "zero_point": lambda value: {"zero_point": _number("zero_point", value, 0, 128)},
    "input": lambda value: {"shape": shape("input", "x".join(map(str, value)) if isinstance(value, list) else "")},
    "readout": lambda value: {"currents": _choice("readout", value, _READOUTS)},
    "initial": lambda value: {"initial": _membranes(value)},
}


def parse(metadata: Mapping[str, str]) -> Facts:
    """Return what the side-car in ``metadata`` states; nothing without one.

    Raises
    ------
    :exc:`SourceError`
        If it is malformed or of another version.
    """
    if KEY not in metadata:
        return Facts()
    where = f"metadata {KEY}"
    try:
        values = strict_json.parse(metadata[KEY])
    except ValueError as error:
        raise SourceError(f"{where} must be JSON: {first_line(error)}") from None
    if not isinstance(values, dict) or values.get("version") != VERSION:
        version = values.get("version") if isinstance(values, dict) else None
        raise SourceError(f"{where} must be an object of version {VERSION}, not {strict_json.short(version)}: take the "
                          f"Sterna that wrote it")
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key == "version":
            continue
        if key not in _KEYS:
            raise SourceError(f"{where} must have the keys {', '.join(_KEYS)}, not {strict_json.name(key)}")
        try:
            found |= _KEYS[key](value)
        except SourceError as error:
            raise SourceError(f"{where}: {error}") from None
    return Facts(**found)


def dumps(facts: Facts) -> str:
    """Return the text of the side-car of ``facts``."""
    return json.dumps(facts.as_json(), sort_keys=True)
