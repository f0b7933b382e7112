"""How fast the circuit is."""

from gateware.build.page.levels import Level
from gateware.build.page.parts import Better, Fact, Facts, Section, count, decimal, share
from gateware.build.page.subject import Subject
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport

__all__ = ["section"]


def _clocks(report: Report) -> Fact:
    """Clocks of an inference, by the strongest evidence that there is."""
    rungs = {verified.rung: verified.images for verified in report.verified}
    for level, images in ((Level.BITSTREAM, rungs.get("bitstream", 0)), (Level.NETLIST, rungs.get("netlist", 0)),
                          (Level.RTL, report.sample_images)):
        if images:
            return Fact(name="clocks of an inference", value=count(report.cycles_per_inference), level=level,
                        note=f"the same in each of {images} simulated images, and as the cycle model predicts",
                        better=Better.LESS)
    return Fact(name="clocks of an inference", value=count(report.cycles_per_inference), level=Level.COMPUTED,
                note="by the cycle model, which is exact; not simulated in this build", better=Better.LESS)


def _of_network(report: Report) -> Section:
    return Section(
        name="speed", title="Speed", lead=(
            "The time of an inference depends on the shape of the network alone, never on the image."), parts=[
            Facts(items=[
                _clocks(report),
                Fact(name="clock", value=decimal(report.clock_mhz, 2, "MHz"), level=Level.SET),
                Fact(name="latency", value=decimal(report.latency_ms, 4, "ms"), level=Level.COMPUTED,
                     note="from the last pixel on the line to the class", better=Better.LESS),
                Fact(name="images per second", value=decimal(report.images_per_second_link, 1, "1/s"),
                     level=Level.COMPUTED, note=f"through the host link at {report.baud:,} baud", better=Better.MORE),
                Fact(name="images per second, engine alone",
                     value=decimal(1e6 * report.clock_mhz / report.cycles_per_inference, 1, "1/s"),
                     level=Level.COMPUTED, note="if the link were no limit", better=Better.MORE),
                Fact(name="peak", value=decimal(report.peak_gsops, 3, "GSOP/s"), level=Level.COMPUTED,
                     note=f"{report.sop_per_cycle} synaptic operations in a clock", better=Better.MORE),
                Fact(name="effective", value=decimal(report.effective_gsops, 3, "GSOP/s"), level=Level.COMPUTED,
                     note="a synaptic operation is a synapse in a timestep, whether a spike arrives or not",
                     better=Better.MORE),
                Fact(name="utilisation of the array", value=share(report.array_utilisation.total),
                     level=Level.COMPUTED, note=f"{report.array_utilisation.after_first:.1%} in the layers after the "
                                                f"first", better=Better.MORE),
            ])])


def _of_overlay(report: OverlayReport) -> Section:
    items = [
        Fact(name="clock", value=decimal(report.clock_mhz, 2, "MHz"), level=Level.SET),
        Fact(name="peak", value=decimal(report.peak_gsops, 3, "GSOP/s"), level=Level.COMPUTED,
             note=f"{report.sop_per_cycle} synaptic operations in a clock", better=Better.MORE)]
    if report.sample_cycles is not None and report.sample_images:
        items += [
            Fact(name="clocks of an inference", value=count(report.sample_cycles), level=Level.RTL,
                 note=f"of {report.sample_network}, the same in each of {report.sample_images} simulated images",
                 better=Better.LESS),
            Fact(name="inference", value=decimal(report.sample_cycles / report.clock_mhz / 1e3, 4, "ms"),
                 level=Level.COMPUTED, note=f"of {report.sample_network}: clocks by clock", better=Better.LESS)]
    return Section(name="speed", title="Speed", lead=(
        "The overlay runs any network whose weights are in the flash of the board; how fast depends on the network."),
        parts=[Facts(items=items)])


def section(subject: Subject) -> Section:
    """Say how fast it is."""
    report = subject.report
    return _of_network(report) if isinstance(report, Report) else _of_overlay(report)
