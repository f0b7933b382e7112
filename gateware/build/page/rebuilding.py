"""The command that makes a build again, by its report."""

import shlex

from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport

__all__ = ["build_command"]


def build_command(report: Report | OverlayReport, network: str, *, seeds: int | None = None) -> str:
    """Return the command that places a build again; that of a network that was put in has its network placed.

    Parameters
    ----------
    report : :class:`gateware.reports.network.Report` or :class:`gateware.reports.overlay.OverlayReport`
        Of the build.
    network : :class:`str`
        The file of its network; an overlay has none, and it is not read.
    seeds : :class:`int`, optional
        How many seeds to try; by default as many as the build has tried.
    """
    words = ["python", "-m", "gateware.build", "--board", report.board]
    if isinstance(report, OverlayReport):
        words += ["--weights", "flash", "--flash-rate", "double" if report.flash_mode == "double" else "single"]
    else:
        words += ["--network", network, "--lanes", str(report.lanes), "--width", str(report.width)]
        words += [word for also in report.also for word in ("--also", also.file)]
    words += ["--clock", f"{report.clock_mhz:.15g}", "--baud", str(report.baud)]
    seeds = report.seeds_tried if seeds is None else seeds
    if seeds > 1:
        words += ["--seeds", str(seeds)]
    for verified in report.verified:
        words += ["--verify", verified.rung]
    if report.verified:
        words += ["--verify-images", str(report.verified[0].images)]
    return shlex.join(words)
