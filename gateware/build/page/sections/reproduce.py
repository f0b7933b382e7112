"""The commands that make the build, and the rest of this page, again."""

import shlex

from gateware.build.page.parts import Commands, Section
from gateware.build.page.rebuilding import build_command
from gateware.build.page.subject import Subject
from gateware.reports.network import Report

__all__ = ["section"]


def _made_by(subject: Subject) -> str:
    """Return the command that made the bitstream."""
    report = subject.report
    if isinstance(report, Report) and report.swap is not None:
        return shlex.join(["python", "-m", "export", subject.network_word, "--into", report.swap.into])
    return build_command(report, subject.network_word)


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
