"""Rows of an older page of measurements, of trainings that are not at hand any more."""

import re
from collections.abc import Mapping, Sequence

from benchmarks.methods.measurement import BenchmarkError

__all__ = ["KeptRows", "KeptRowsError"]

#: A row of a table: its cells by the words at the head of their columns.
Row = Mapping[str, str]


class KeptRowsError(BenchmarkError):
    """A line of the older page is no row of its table. The message names the line, not the file."""


class KeptRows:
    """The tables of a page that :func:`benchmarks.methods.page.table` has made.

    Parameters
    ----------
    text : :class:`str`
        The page; an empty one has no tables.
    measured : sequence of :class:`str`
        Names of the recipes that are measured now: no row of them is kept.

    Raises
    ------
    :exc:`KeptRowsError`
        If a row has not as many cells as its table has columns.
    """

    def __init__(self, text: str, measured: Sequence[str]):
        self._measured = frozenset(measured)
        self._tables: dict[str, list[Row]] = {}
        heading, head = "", None
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("#"):
                heading = line.lstrip("#").strip()
            if not line.startswith("| "):
                if not line.startswith("|---"):
                    head = None
                continue
            cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
            if head is None:
                head = cells
                continue
            if len(cells) != len(head):
                raise KeptRowsError(f"line {number}: a row must have the {len(head)} cells of its table, not "
                                    f"{len(cells)}: mend the line, or give another file with --output")
            self._tables.setdefault(heading, []).append(dict(zip(head, cells, strict=True)))

    def of(self, heading: str) -> list[Row]:
        """Return the rows below a heading that are of none of the measured recipes.

        A comparison of two recipes is kept only if neither was measured anew: its difference would be of two times.
        """
        return [row for row in self._tables.get(heading, []) if not self._measured & set(_recipes(row))]


def _recipes(row: Row) -> list[str]:
    """Return the recipes that a row is about: what stands before the number of seeds, or before the seed."""
    return [re.sub(r", (\d+ seeds|seed \d+)$", "", cell) for column, cell in row.items()
            if column in ("recipe", "network", "against")]
