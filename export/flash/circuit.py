"""The bitstream that runs an image: its clock, and what the report that ships of it says.

No synthesis tool is asked; who has built another overlay than the one of the report has its own ``report.json``.
"""

from typing import Any

from boards.board import Board
from gateware.reports.prebuilt import check_overlay_clock, overlay_clock_hz, prebuilt_overlay

__all__ = ["chosen_clock_hz", "format_overlay", "overlay_json"]

#: Keys of the report that ``--json`` prints.
_KEYS = ("circuit", "revision", "clock_mhz", "lc", "lc_total", "ebr", "ebr_total", "spram", "dsp", "fmax_mhz",
         "fmax_median_mhz", "seeds", "bitstream_sha256")


def chosen_clock_hz(board: Board, clock_mhz: float | None) -> float:
    """Return the clock that hosts are told, in Hz: the one asked for, in MHz, or that of the overlay of the board.

    Raises
    ------
    :exc:`boards.BoardError`
        If the overlay does not run on the board, or not at this clock.
    """
    board.overlay_wiring()
    clock_hz = overlay_clock_hz(board) if clock_mhz is None else clock_mhz * 1e6
    board.check_clock(clock_hz)
    check_overlay_clock(board, clock_hz)
    return clock_hz


def format_overlay(board: Board) -> str:
    """Say in a line how large and fast the overlay of a board is."""
    report = prebuilt_overlay(board)
    if report is None:
        return f"no report of it ships: python -m gateware.build --board {board.name} --weights flash makes one"
    fmax = report.fmax_mhz
    seeds = f"median of {len(fmax)} seeds, {min(fmax):.2f} to {max(fmax):.2f}" if len(fmax) > 1 else "one seed"
    return (f"{report.lc:,} of {report.lc_total:,} logic cells, {report.ebr} of {report.ebr_total} block RAMs, Fmax "
            f"{report.fmax_median_mhz:.2f} MHz ({seeds}), built for {report.clock_mhz:g} MHz")


def overlay_json(board: Board) -> dict[str, Any] | None:
    """Return what ``--json`` prints of the report; None without one."""
    report = prebuilt_overlay(board)
    return None if report is None else {key: getattr(report, key) for key in _KEYS}
