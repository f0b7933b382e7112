"""The shape of the circuit."""

from gateware.build.page.levels import Level
from gateware.build.page.parts import Column, Fact, Facts, Part, Section, Table, count
from gateware.build.page.subject import Subject
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport

__all__ = ["section"]


def section(subject: Subject) -> Section:
    """Say what was built."""
    report = subject.report
    facts = [
        Fact(name="output channels at a time, P", value=count(report.lanes), level=Level.SET),
        Fact(name="synapses of each at a time, W", value=count(report.width), level=Level.SET),
        Fact(name="timesteps at a time, T", value=count(report.timesteps), level=Level.SET),
        Fact(name="synaptic operations in a clock", value=count(report.sop_per_cycle), level=Level.SET,
             note="P x W x T"),
        Fact(name="accumulator", value=count(report.accumulator_width, "bits"), level=Level.SET),
        Fact(name="membrane", value=count(report.membrane_width, "bits"), level=Level.SET,
             note=f"{report.fraction} of them behind the point"),
        Fact(name="spike memory", value=count(report.spike_words, "words"), level=Level.SET,
             note=f"of {report.width * report.timesteps} bits"),
        Fact(name="host link", value=count(report.baud, "baud"), level=Level.SET)]
    if isinstance(report, OverlayReport):
        facts += [Fact(name="flash", value=count(report.flash_bytes >> 20, "MiB"), level=Level.SET,
                       note=f"read in mode {report.flash_mode}; models from {report.models_at:#x} on"),
                  Fact(name="signature of the circuit", value=report.circuit, code=True)]
    parts: list[Part] = [Facts(items=facts)]
    if isinstance(report, Report) and report.also:
        parts.append(Table(
            caption="Networks that the circuit takes, too, when they are put in afterwards",
            columns=[Column(title="network"), Column(title="file"),
                     Column(title="clocks of an inference", level=Level.COMPUTED)],
            rows=[[also.network, also.file, count(also.cycles_per_inference)] for also in report.also]))
    return Section(name="circuit", title="Circuit", parts=parts, lead=(
        "In every clock the circuit adds W synapses for P output channels, in all T timesteps side by side."))
