"""The results as a table: the Pareto front, and what does not fit."""

import collections
from collections.abc import Sequence

from gateware.build.explore.configuration import Configuration
from gateware.build.explore.front import front_of
from gateware.build.explore.result import Result
from support.errors import printable

__all__ = ["Named", "format_results", "label"]

#: A configuration, and what came of it.
Named = tuple[Configuration, Result]


def label(configuration: Configuration) -> str:
    """Name a configuration in a few words."""
    circuit = (f"flash, {configuration.flash_rate}" if configuration.lanes is None else
               f"{configuration.lanes} x {configuration.width}")
    return f"{printable(configuration.network)}, {circuit}, T = {configuration.timesteps}"


def format_results(results: Sequence[Named]) -> str:
    """Lay out the front of time, logic cells and accuracy, and say how many configurations do not fit, and why."""
    front   = front_of(results)
    fitting = sum(result.fits for _, result in results)
    counts  = (f"{len(results)} configuration{'s'[:len(results) != 1]}, {fitting} fit, on the front of time, logic "
               f"cells and accuracy {len(front)}:")
    lines   = [counts, *_table(front)]
    reasons = collections.Counter(result.reason for _, result in results if result.reason is not None)
    lines += [f"{count} configuration{'s'[:count > 1]}: {printable(reason)}" for reason, count in reasons.most_common()]
    return "\n".join(lines)


def _table(front: Sequence[Named]) -> list[str]:
    rows = [("network", "board", "weights", "P x W", "flash", "T", "MHz", "clocks", "ms", "logic cells", "Fmax",
             "accuracy")]
    for configuration, result in front:
        cells = "" if result.logic_cells is None else f"{result.logic_cells:,} {result.cells_evidence}"
        fmax  = "" if result.fmax_mhz is None else f"{max(result.fmax_mhz):.2f}"
        known = "" if result.accuracy is None else f"{result.accuracy:.2%} {result.accuracy_evidence}"
        array = "" if configuration.lanes is None else f"{configuration.lanes} x {configuration.width}"
        rows.append((printable(configuration.network), configuration.board, configuration.weights, array,
                     configuration.flash_rate or "", str(configuration.timesteps), f"{configuration.clock_mhz:g}",
                     f"{result.clocks:,}", f"{result.inference_ms:.4g}", cells, fmax, known))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows]
