"""Ranges of the numbers in a report, which anybody may have written: within them, rates and times can be computed."""

from typing import Any

from arch.strict_json import short

__all__ = ["check_ranges"]

#: Clocks in MHz, and numbers that others are divided by, wherever in a report they are.
_CLOCK = 0.001, 10_000
_COUNT = 1, 10**15
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("clock_mhz", "fmax_mhz", "fmax_median_mhz"), _CLOCK),
    **dict.fromkeys(("lc_total", "lanes", "width", "timesteps", "sop_per_cycle", "baud", "cycles_per_inference",
                     "cycles"), _COUNT)}
#: Of all other numbers: nothing that a report tells is negative.
_OTHERS = 0, 10**15


def check_ranges(value: Any, where: str = "", *, key: str = "") -> None:
    """Check every number in a report.

    Parameters
    ----------
    value
        The report, or a part of it, as JSON's types.
    where, key
        The part, for messages, and the last key that leads to it.

    Raises
    ------
    :exc:`ValueError`
        If a number is outside of its range; with its key and the range.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            check_ranges(item, f"{where} {name}".lstrip(), key=name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            check_ranges(item, f"{where} {number}", key=key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high = _RANGES.get(key, _OTHERS)
        if not low <= value <= high:
            raise ValueError(f"{where} must be {low:g} to {high:g}, not {short(value)}")
