"""What the certificate of the export proves."""

from arch.certificate import certificate_of
from arch.network import Convolution, FullyConnected, Network, Reset
from arch.widths import layer_widths
from gateware.build.page.levels import Level
from gateware.build.page.naming import layer_name
from gateware.build.page.parts import Column, Fact, Facts, Missing, Number, Part, Section, Table, Text, count
from gateware.build.page.subject import Subject
from gateware.reports.network import Report

__all__ = ["section"]


def _constants(network: Network) -> Table:
    """List what the integers of each layer are."""
    rows: list[list[Number | str | None]] = []
    for index, (layer, widths) in enumerate(zip(network.layers, layer_widths(network), strict=True)):
        if isinstance(layer, Convolution | FullyConnected):
            neurons = layer.neurons
            assert widths is not None
            assert widths.membrane is not None
            rows.append([layer_name(index, layer.kind), count(neurons.channels), count(neurons.fraction),
                         count(widths.current.bits), count(widths.membrane.bits),
                         "subtracts the threshold" if neurons.reset is Reset.SUBTRACT else "sets to zero",
                         "none" if neurons.leak_shift is None else f"V / {2**neurons.leak_shift}"])
    return Table(
        caption="Integers of the neurons",
        columns=[Column(title="layer"), Column(title="channels", level=Level.SET),
                 Column(title="fractional bits", level=Level.SET, hint="bits of the membrane behind the point"),
                 Column(title="bits of a current", level=Level.COMPUTED, hint="enough for every input"),
                 Column(title="bits of a membrane", level=Level.COMPUTED, hint="enough for every input"),
                 Column(title="reset"), Column(title="leak")],
        rows=rows)


def section(subject: Subject) -> Section | None:
    """Say what is proven; nothing of the overlay, which has no network of its own."""
    report, network = subject.report, subject.network
    if not isinstance(report, Report):
        return None
    parts: list[Part] = [Facts(items=[Fact(name="exact in every channel", value=report.certificate)])]
    if network is None:
        parts.append(Missing(what="The file of the network is not at hand, so its channels are not listed.",
                             command="python -m gateware.build.page BUILD --network FILE"))
    else:
        certificate = certificate_of(network)
        channels = sum(layer.neurons.channels for layer in network.layers
                       if isinstance(layer, Convolution | FullyConnected))
        inexact = sum(len(each) for each in certificate.inexact.values())
        if certificate.inexact or report.exact:
            parts = [Facts(items=[
                Fact(name="exact in every channel", value=report.certificate),
                Fact(name="certified channels", value=count(channels - inexact), level=Level.PROVEN,
                     note=f"of {channels} channels with neurons")])]
        parts += [Text(text=f"The certificate says: {certificate}."), _constants(network)]
    return Section(name="certificate", title="Certificate", parts=parts, lead=(
        "PyTorch computes in floating point, the circuit in integers. The export compares, in exact arithmetic, the "
        "sums at which each neuron spikes; where they are the same integers, no input can tell the two apart."))
