"""Reports of overlays that ship: what is known of the bitstream for a board without building it.

``overlays/BOARD.json`` is the ``report.json`` of ``python -m gateware.build --board BOARD --weights flash --seeds 8``,
as the build wrote it (docs/overlay.md says how it is renewed). A report counts only while it is of the circuit that
models are made for; a test that takes minutes builds once more what it is of.
"""

import pathlib

from boards import Board, BoardError
from gateware.engine.signature import circuit_of
from gateware.mapper.streamed.choice import streamed_config
from gateware.reports.overlay import OverlayReport
from support.files import read_file

__all__ = ["FOLDER", "check_overlay_clock", "overlay_clock_hz", "prebuilt_overlay"]

#: Where the reports are.
FOLDER = pathlib.Path(__file__).resolve().parent / "overlays"

#: Largest report that is read.
_REPORT_BYTES = 1 << 24


def prebuilt_overlay(board: Board) -> OverlayReport | None:
    """Return the report that ships of the overlay of a board; None if there is none, or it is of another circuit."""
    path = FOLDER / f"{board.name}.json"
    if not path.exists():
        return None
    report = OverlayReport.from_json(read_file(path, limit=_REPORT_BYTES), name=str(path))
    return report if report.signature == circuit_of(streamed_config(board)) else None


def overlay_clock_hz(board: Board) -> float:
    """Return the clock of the overlay of a board if none is asked for, in Hz.

    It is the clock of the bitstream that the shipped report is of, and without a report that of the board.
    """
    report = prebuilt_overlay(board)
    return board.default_clock_hz if report is None else report.clock_mhz * 1e6


def check_overlay_clock(board: Board, clock_hz: float) -> None:
    """Check that the overlay of a board runs at a clock, as far as the shipped report tells.

    Raises
    ------
    :exc:`boards.BoardError`
        If no seed reaches it.
    """
    report = prebuilt_overlay(board)
    if report is None or clock_hz <= max(report.fmax_mhz) * 1e6:
        return
    best = max(report.fmax_mhz)
    lower_hz = board.clock_below(best * 1e6)
    remedy = "build the overlay anew" if lower_hz is None else f"use --clock {lower_hz / 1e6:.12g}"
    raise BoardError(f"clock must be at most {best:.2f} MHz, the best of {len(report.fmax_mhz)} seeds of the overlay "
                     f"on the {board.title}, not {clock_hz / 1e6:.12g} MHz: {remedy}")
