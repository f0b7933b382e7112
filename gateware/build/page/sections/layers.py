"""What each layer costs: clocks, and how well the array is used."""

from gateware.build.page.levels import Level
from gateware.build.page.naming import layer_name
from gateware.build.page.parts import Better, Column, Number, Section, Table, count, share
from gateware.build.page.subject import Subject
from gateware.reports.network import Report

__all__ = ["section"]


def _shape(shape: list[int]) -> str:
    return " x ".join(map(str, shape))


def section(subject: Subject) -> Section | None:
    """List the layers; nothing of the overlay, which has no network of its own."""
    report = subject.report
    if not isinstance(report, Report):
        return None
    rows: list[list[Number | str | None]] = []
    for layer in report.layers:
        rows.append([
            layer_name(layer.index, layer.kind) + (f", OR-pool {layer.pool}" if layer.pool > 1 else ""),
            _shape(layer.input), _shape(layer.output), count(layer.weights),
            count(layer.cycles, bar=layer.cycles / report.cycles_per_inference), count(layer.synaptic_operations),
            share(layer.utilisation, bar=True), layer.bound])
    rows.append(["all", "", "", count(sum(layer.weights for layer in report.layers)),
                 count(report.cycles_per_inference), count(sum(layer.synaptic_operations for layer in report.layers)),
                 share(report.array_utilisation.total, bar=True), ""])
    return Section(
        name="layers", title="Layers", lead=(
            "What each layer takes of an inference. Utilisation is the share of the array's additions that are "
            "synapses of the network; the rest is padding, and waiting. A layer is bound by spikes, or by pixels, if "
            "the array takes a word of them in most of its clocks, and by clocks if it waits in most of them."),
        parts=[Table(caption="Layers of the network, with the pool behind each", columns=[
            Column(title="layer"), Column(title="input"), Column(title="output"),
            Column(title="weights", level=Level.SET), Column(title="clocks", level=Level.COMPUTED, better=Better.LESS),
            Column(title="synaptic operations", level=Level.COMPUTED),
            Column(title="utilisation", level=Level.COMPUTED, better=Better.MORE), Column(title="bound by")],
            rows=rows)])
