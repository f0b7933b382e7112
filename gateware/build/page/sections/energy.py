"""What the FPGA takes from its supply, as the model estimates it."""

import shlex

from gateware.build.energy.model import Estimate, Interval
from gateware.build.energy.resources import known_device
from gateware.build.page.levels import Level
from gateware.build.page.naming import block_name
from gateware.build.page.parts import (
    Better,
    Column,
    Fact,
    Facts,
    Missing,
    Number,
    Section,
    Table,
    share,
)
from gateware.build.page.subject import Subject
from gateware.reports.network import Report

__all__ = ["section"]


def _number(value: float, unit: str) -> Number:
    """Show three digits: the model knows no more."""
    return Number(value=value, text=f"{value:,.3g}", unit=unit)


def _fact(name: str, interval: Interval, scale: float, unit: str, note: str = "") -> Fact:
    bounds = f"believed to be between {scale * interval.low:.3g} and {scale * interval.high:.3g} {unit}"
    return Fact(name=name, value=_number(scale * interval.value, unit), level=Level.ESTIMATED,
                note=f"{bounds}; {note}" if note else bounds, better=Better.LESS)


def _parts(estimate: Estimate) -> Table:
    return Table(
        caption="Energy of an inference, by what takes it",
        columns=[Column(title="part", hint="a block of the circuit takes what its bits take that toggle"),
                 Column(title="energy", level=Level.ESTIMATED, better=Better.LESS),
                 Column(title="at least", level=Level.ESTIMATED), Column(title="at most", level=Level.ESTIMATED),
                 Column(title="share", level=Level.ESTIMATED)],
        rows=[[block_name(name), *(_number(1e6 * value, "µJ") for value in (part.value, part.low, part.high)),
               share(part.value / estimate.inference.value, bar=True)] for name, part in estimate.parts.items()])


def section(subject: Subject) -> Section | None:
    """Say what an inference takes; nothing of a build without cells, or of an FPGA whose currents are not known."""
    report, found = subject.report, subject.energy
    if report.lc is None or not known_device(report):
        return None
    name, title = "energy", "Energy"
    lead = ("Estimated from what toggles in a simulated image and from published measurements of other designs, for "
            "the supplies of the FPGA's core and PLL alone: pins, flash and the rest of the board come on top.")
    if found is None:
        network = shlex.quote(subject.network_word) if isinstance(report, Report) else "NETWORK.safetensors"
        weights = "" if isinstance(report, Report) else " --weights flash"
        return Section(name=name, title=title, lead=lead, parts=[Missing(
            what="Nothing was estimated.",
            command=f"python -m sim {network} --images IMAGES --engine rtl{weights} --vcd image.vcd; "
                    f"python -m gateware.build.page BUILD --waveform image.vcd")])
    facts = [_fact("energy of an inference", found.inference, 1e6, "µJ"),
             _fact("energy of an image in and a result out", found.transfer, 1e6, "µJ"),
             _fact("power while it computes", found.computing, 1e3, "mW"),
             _fact("power of a clock that runs and does nothing", found.idle, 1e3, "mW")]
    if isinstance(report, Report):
        rate = report.images_per_second_link
        facts.append(_fact("average power", found.average(rate), 1e3, "mW", f"at {rate:,.0f} images per second, the "
                                                                            f"most of the host link"))
    return Section(name=name, title=title, lead=lead, parts=[Facts(items=facts), _parts(found)])
