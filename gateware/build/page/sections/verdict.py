"""The verdict: what a reader wants to know first."""

from collections.abc import Iterator

from arch.certificate import State
from gateware.build.page.levels import Level
from gateware.build.page.parts import Fact, Headline, Part, Question, Section, Verdict, count, decimal, share
from gateware.build.page.subject import Subject
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from support.counting import counted

__all__ = ["section"]

#: What a certificate says, as an answer and its reason.
_CERTIFICATES = {
    State.EXACT: (True, "Every spike of every layer is proven to be that of the trained network, for every input."),
    State.INEXACT: (False, "In some channels a spike may differ from the trained network's for some input."),
    State.NOT_CERTIFIED: (None, "Leaky neurons are defined by their integer rule, so there is nothing to certify."),
    State.UNKNOWN: (None, "The file of the network has no certificate."),
}


def _fits(report: Report | OverlayReport) -> Question:
    question = "Does it fit the chip?"
    if report.lc is None:
        return Question(question=question, answer=None, reason="It was not placed and routed.")
    return Question(question=question, answer=True, level=Level.ROUTED, reason=(
        f"It takes {report.lc:,} of {report.lc_total:,} logic cells and {report.ebr} of {report.ebr_total} block RAMs, "
        f"placed and routed."))


def _closes(report: Report | OverlayReport) -> Question:
    question = f"Does it run at {report.clock_mhz:g} MHz?"
    fmax = report.bitstream_fmax_mhz
    if fmax is None:
        return Question(question=question, answer=None, reason="No timing of its layout is known.")
    return Question(question=question, answer=fmax >= report.clock_mhz, level=Level.ROUTED, reason=(
        f"Static timing analysis of the layout allows {fmax:.2f} MHz, {fmax / report.clock_mhz - 1:+.1%} against the "
        f"clock."))


def _simulated(report: Report | OverlayReport) -> Iterator[Question]:
    """Whether the circuit, at each stage of its making, computes what the reference computes."""
    images = {"rtl": report.sample_images} | {done.rung: done.images for done in report.verified}
    for rung, level, question in (("rtl", Level.RTL, "Does the RTL compute the network?"),
                           ("netlist", Level.NETLIST, "Does the netlist after synthesis?"),
                           ("bitstream", Level.BITSTREAM, "Does the finished bitstream?")):
        if images.get(rung):
            yield Question(question=question, answer=True, level=level, reason=(
                f"Scores and classes of {counted(images[rung], 'image')} are those of the reference, bit for bit, and "
                f"the clocks those of the cycle model."))
        else:
            yield Question(question=question, answer=None, reason="It was not simulated.")


def _headline(report: Report | OverlayReport) -> list[Fact]:
    """Return the numbers that the build is known by."""
    items = []
    if isinstance(report, Report):
        if report.accuracy is not None:
            items.append(Fact(name="accuracy on the test set", value=share(report.accuracy, 2), level=Level.COMPUTED))
        items += [
            Fact(name="last pixel to class", value=decimal(report.latency_ms, 3, "ms"), level=Level.COMPUTED),
            Fact(name="images through the link", value=decimal(report.images_per_second_link, 0, "per s"),
                 level=Level.COMPUTED)]
    if report.lc is not None:
        items.append(Fact(name="of the logic cells", value=share(report.lc / report.lc_total), level=Level.ROUTED))
    if report.fmax_median_mhz is not None:
        items.append(Fact(name="median Fmax" if len(report.fmax_mhz) > 1 else "Fmax",
                          value=decimal(report.fmax_median_mhz, 1, "MHz"), level=Level.ROUTED))
    if isinstance(report, OverlayReport):
        items.append(Fact(name="synaptic operations in a clock", value=count(report.sop_per_cycle), level=Level.SET))
    return items


def section(subject: Subject) -> Section:
    """Answer the questions of a reader, each with its reason."""
    report = subject.report
    questions = [_fits(report), _closes(report), *_simulated(report)]
    if isinstance(report, Report):
        answer, reason = _CERTIFICATES[State(report.certified)]
        questions.append(Question(question="Is the network the trained one, exactly?", answer=answer, reason=reason,
                                  level=Level.PROVEN if answer else None))
    questions.append(Question(question="Was it measured on a board?", answer=None,
                              reason="No measurement on a board is part of this page."))
    unknown = sum(each.answer is None for each in questions)
    if any(each.answer is False for each in questions):
        lead = "Something is not as it should be; the answer with a cross says what."
    elif any(each.answer is None for each in questions[:3]):
        lead = "The build was not checked as far as it can be; the answers without a mark say what is open."
    else:
        lead = (f"It fits, it meets its clock, and every image simulated on its circuit was computed exactly. "
                f"{unknown} of {len(questions)} questions {'is' if unknown == 1 else 'are'} open.")
    parts: list[Part] = [Verdict(questions=questions)]
    if headline := _headline(report):
        parts.insert(0, Headline(items=headline))
    return Section(name="verdict", title="Verdict", lead=lead, parts=parts)
