"""The commands that make the build, and the rest of this page, again."""

import shlex

from gateware.build.page.parts import Commands, Section
from gateware.build.page.subject import Subject
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport

__all__ = ["build_command", "section"]


def build_command(subject: Subject) -> str:
    """Return the command that places a build again; that of a network that was put in has its network placed."""
    report = subject.report
    words = ["python", "-m", "gateware.build", "--board", report.board]
    if isinstance(report, OverlayReport):
        words += ["--weights", "flash", "--flash-rate", "double" if report.flash_mode == "double" else "single"]
    else:
        words += ["--network", subject.network_word, "--lanes", str(report.lanes), "--width", str(report.width)]
        words += [word for also in report.also for word in ("--also", also.file)]
    words += ["--clock", f"{report.clock_mhz:.15g}", "--baud", str(report.baud)]
    tried = len(report.seeds) + len(report.seeds_out_of_time) + len(report.seeds_unplaced)
    if tried > 1:
        words += ["--seeds", str(tried)]
    for verified in report.verified:
        words += ["--verify", verified.rung]
    if report.verified:
        words += ["--verify-images", str(report.verified[0].images)]
    return shlex.join(words)


def _made_by(subject: Subject) -> str:
    """Return the command that made the bitstream."""
    report = subject.report
    if isinstance(report, Report) and report.swap is not None:
        return shlex.join(["python", "-m", "export", subject.network_word, "--into", report.swap.into])
    return build_command(subject)


def section(subject: Subject) -> Section:
    """List the commands."""
    report = subject.report
    lines = [(f"git checkout {report.revision.removesuffix('-dirty')}", "the same revision of Sterna"),
             (_made_by(subject), "the build, with its report")]
    if isinstance(report, Report):
        if report.accuracy_command:
            lines.append((report.accuracy_command, "the accuracy on the test set, as the network's file says"))
        simulate = ["python", "-m", "sim", subject.network_word, "--images", "IMAGES", "--labels", "LABELS", "--engine",
                    "all", "--build", "BUILD"]
        lines.append((shlex.join(simulate), "other images on the RTL, the netlist and the bitstream"))
    lines.append(("python -m gateware.build.page BUILD", "this page, from the folder of the build"))
    return Section(name="reproduce", title="Reproduce", parts=[Commands(lines=lines)], lead=(
        "In a checkout of Sterna, these commands make the numbers of this page again. A bitstream of the same revision "
        "and the same versions has the same hash."))
