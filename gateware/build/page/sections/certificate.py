"""What the certificate of the export proves."""

from arch.certificate import certificate_of
from arch.network import Convolution, FullyConnected, Network, Reset
from arch.widths import layer_widths
from gateware.build.page.export_report import ExportReport
from gateware.build.page.levels import Level
from gateware.build.page.naming import layer_name
from gateware.build.page.parts import (
    Better,
    Column,
    Fact,
    Facts,
    Missing,
    Number,
    Part,
    Section,
    Table,
    Text,
    count,
    decimal,
    share,
)
from gateware.build.page.subject import Subject
from gateware.reports.network import Report
from support.counting import counted

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


def _found(export: ExportReport) -> list[Part]:
    """List what the export found of each layer."""
    rows: list[list[Number | str | None]] = [[
        layer_name(index, layer.kind), None if layer.weights is None else count(layer.weights),
        None if layer.sparsity is None else share(layer.sparsity),
        None if layer.bytes is None else count(layer.bytes),
        None if layer.compression is None else decimal(layer.compression, 1),
        None if layer.compared is None else count(layer.compared),
        None if layer.mismatches is None else count(layer.mismatches)]
        for index, layer in enumerate(export.layers)]
    return [
        Facts(title="Spikes of the export's verification", items=[
            Fact(name="spikes compared", value=count(export.compared), level=Level.COMPUTED, better=Better.MORE,
                 note=f"with those of real arithmetic, on {counted(export.verified_images, 'image')} of "
                      f"{export.verified_on}"),
            Fact(name="spikes that differ", value=count(export.mismatches), level=Level.COMPUTED, better=Better.LESS)]),
        Table(caption="What the export found", columns=[
            Column(title="layer"), Column(title="weights", level=Level.SET),
            Column(title="zeros", level=Level.COMPUTED, hint="share of the weights that are zero"),
            Column(title="bytes", level=Level.COMPUTED, better=Better.LESS, hint="of packed weights and constants"),
            Column(title="times smaller", level=Level.COMPUTED, better=Better.MORE,
                   hint="than in 32-bit floating point"),
            Column(title="spikes compared", level=Level.COMPUTED),
            Column(title="that differ", level=Level.COMPUTED, better=Better.LESS)], rows=rows)]


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
    if subject.export is not None:
        parts += _found(subject.export)
    return Section(name="certificate", title="Certificate", parts=parts, lead=(
        "PyTorch computes in floating point, the circuit in integers. The export compares, in exact arithmetic, the "
        "sums at which each neuron spikes; where they are the same integers, no input can tell the two apart."))
