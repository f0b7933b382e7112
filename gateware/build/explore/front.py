"""The Pareto front: results than which no other is better in one respect and as good in all others."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from gateware.build.explore.result import Result

__all__ = ["dominates", "front_of", "least"]

_Named = TypeVar("_Named")
_Entry = TypeVar("_Entry")


def _costs(result: Result) -> tuple[float, ...]:
    """What is to be small: time, cells, and wrong answers. What is not known is taken for the worst."""
    worst = float("inf")
    return (worst if result.inference_ms is None else result.inference_ms,
            worst if result.logic_cells is None else result.logic_cells,
            worst if result.accuracy is None else -result.accuracy)


def _dominates(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    return ours != theirs and all(mine <= other for mine, other in zip(ours, theirs, strict=True))


def dominates(first: Result, second: Result) -> bool:
    """Whether ``first`` is better than ``second`` in time, cells or accuracy, and worse in none of them."""
    return _dominates(_costs(first), _costs(second))


def least(entries: Sequence[_Entry], costs: Callable[[_Entry], tuple[float, ...]]) -> list[_Entry]:
    """Return the entries that no other one dominates, by what is to be small of each; in the order of these costs."""
    known = [(costs(entry), entry) for entry in entries]
    best  = [(ours, entry) for ours, entry in known if not any(_dominates(theirs, ours) for theirs, _ in known)]
    return [entry for _, entry in sorted(best, key=lambda pair: pair[0])]


def front_of(results: Sequence[tuple[_Named, Result]]) -> list[tuple[_Named, Result]]:
    """Return the results that fit and that no other one dominates, the fastest first.

    A result that missed its clock in place and route does not run at its time, and is left out.
    """
    usable = [(name, result) for name, result in results if result.fits and result.closes is not False]
    return least(usable, lambda entry: _costs(entry[1]))
