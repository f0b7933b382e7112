"""Packing of the entries of memories, by the layouts with which the circuit reads them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Shape
from amaranth.lib import data

__all__ = ["pack", "pack_columns", "pack_entries", "pack_modular"]


def pack(layout: data.StructLayout, values: Mapping[str, Any]) -> int:
    """Pack an entry whose numbers fit: the limits of the circuit were checked before."""
    _check_fit(layout, values)
    return int(layout.const(values).as_value().value)


def _check_fit(layout: data.StructLayout, values: Mapping[str, Any]) -> None:
    """Amaranth truncates what does not fit a field."""
    assert values.keys() == set(dict(layout)), (list(values), layout)
    for name, value in values.items():
        if isinstance(value, Mapping):
            _check_fit(layout[name].shape, value)
            continue
        shape = Shape.cast(layout[name].shape)
        low, high = (-(1 << shape.width - 1), 1 << shape.width - 1) if shape.signed else (0, 1 << shape.width)
        assert low <= int(getattr(value, "value", value)) < high, (name, value, shape)


def pack_modular(layout: data.StructLayout, values: Mapping[str, int]) -> int:
    """Pack numbers that are meant modulo their width: pointers, their differences, biases."""
    return pack(layout, {name: value % (1 << layout[name].width) for name, value in values.items()})


def pack_columns(layout: data.StructLayout, columns: Mapping[str, npt.NDArray[np.int64]]) -> list[int]:
    """Pack many entries at once, as :func:`pack_modular` does one: a column of numbers for each field."""
    assert columns.keys() == set(dict(layout)), (list(columns), layout)
    shifted = [[value << layout[name].offset for value in (column & (1 << layout[name].width) - 1).tolist()]
               for name, column in columns.items()]
    return [sum(fields) for fields in zip(*shifted, strict=True)]


def pack_entries(count: int, layouts: Mapping[int, data.StructLayout], steps: Mapping[int, Mapping[str, int]],
                 parameters: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """Pack a program of ``count`` entries: steps of pointers, which wrap, and parameters, which must fit."""
    entries = [0] * count
    for entry, pointers in steps.items():
        entries[entry] = pack_modular(layouts[entry], pointers)
    for entry, values in parameters.items():
        entries[entry] = pack(layouts[entry], values)
    return entries
