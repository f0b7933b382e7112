"""What a build has, and what toggles in it, for the model: its report and the waveform of an image."""

import pathlib

from boards import BOARDS
from gateware.build.energy.activity import Activity, read_activity
from gateware.build.energy.model import Resources
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from sim.weights import Weights
from support.errors import InputError, printable

__all__ = ["activity_of", "known_device", "resources_of"]

#: How the names of the FPGAs begin whose currents are known.
_DEVICES = "iCE40UP"


def known_device(report: Report | OverlayReport) -> bool:
    """Whether the currents of the board's FPGA are known."""
    board = BOARDS.get(report.board)
    return board is not None and board.fpga.device.startswith(_DEVICES)


def resources_of(report: Report | OverlayReport, *, name: str) -> Resources:
    """Return what a build has.

    Parameters
    ----------
    report : :class:`Report` or :class:`OverlayReport`
    name : :class:`str`
        What the report is called in messages.

    Raises
    ------
    :exc:`InputError`
        If currents of its FPGA are not known, or its cells were not counted.
    """
    if not known_device(report):
        raise InputError(f"{name}: board must have an iCE40 UltraPlus, the only FPGA whose currents are known, not "
                         f"that of the {report.board}: build for the icebreaker")
    counts = {"lc": report.lc, "ebr": report.ebr, "spram": report.spram, "dsp": report.dsp}
    found = {key: count for key, count in counts.items() if count is not None}
    if len(found) < len(counts):
        raise InputError(f"{name}: build must have been placed and routed, so that its cells are counted: run python "
                         f"-m gateware.build without --dry-run")
    return Resources(clock_hz=report.clock_mhz * 1e6, **found)


def activity_of(report: Report | OverlayReport, waveform: pathlib.Path) -> Activity:
    """Count what toggles in a waveform, which must be one of the circuit and the network that were built.

    A circuit with weights from flash is known by its flash reader. A waveform does not say which network it is of, but
    how many clocks the inference takes: the signal ``busy`` is high for all of them but the first. The time of an
    overlay depends on its network, so there is nothing to compare.

    Raises
    ------
    :exc:`InputError`
        If the file is no waveform of a whole image, is of the other kind of circuit, or its inference takes another
        time than that of the build.
    :exc:`OSError`
        If it cannot be read.
    """
    activity = read_activity(waveform)
    overlay = isinstance(report, OverlayReport)
    if activity.streamed != overlay:
        kinds = {False: "a circuit with baked weights", True: "a circuit with weights from flash"}
        raise InputError(f"{printable(str(waveform))}: activity must be of {kinds[overlay]}, as the build is, not of "
                         f"{kinds[not overlay]}: record it with python -m sim --vcd and --weights "
                         f"{Weights.FLASH if overlay else Weights.BAKED}")
    if isinstance(report, Report) and activity.inference_clocks + 1 != report.cycles_per_inference:
        raise InputError(f"{printable(str(waveform))}: activity must be of the network of the build, whose inference "
                         f"takes {report.cycles_per_inference} clocks, not {activity.inference_clocks + 1}: record it "
                         f"with python -m sim --vcd and that network")
    return activity
