"""Whether a network fits a board: every limit that it exceeds, what each layer takes, and what would help."""

import dataclasses

from arch.network import Shape
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.mapper.advice import Change
from gateware.mapper.limits import Finding
from gateware.mapper.plan import PlacedStage, Plan

__all__ = ["DoesNotFitError", "Fit", "LayerFit", "format_fit"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerFit:
    """What one layer, with the pool behind it, takes of a circuit."""

    #: Index of the layer with the weights, and its kind.
    index: int
    kind: str
    #: Side of the OR-pool behind it; 1 without.
    pool: int
    #: Shapes of the source map and of the result.
    source: Shape
    target: Shape
    #: Rows of the weight memory.
    weight_rows: int
    #: Words of the spike memory for the result; 0 for a readout.
    spike_words: int
    #: Clocks of one inference: exact if the network fits, else an estimate.
    clocks: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fit:
    """Answer to whether a network fits a board."""

    #: Name of the board for people.
    board: str
    #: Geometry that was chosen, or that lacks least: P and W.
    lanes: int
    width: int
    #: One entry per layer with weights.
    layers: tuple[LayerFit, ...]
    #: Rows of the weight memory; words of the spike memory; words of it that each of two images takes.
    weight_rows: int
    spike_words: int
    image_words: int
    #: The circuit, whose widths are chosen only if the network fits, and the places of its operands there.
    config: EngineConfig
    stages: tuple[PlacedStage, ...]
    #: Every limit that is exceeded with this geometry; none if the network fits.
    findings: tuple[Finding, ...]
    #: A change that was tried and makes the network fit, or what is known if none was found; empty if it fits.
    remedy: str
    #: The change of the network that the remedy says; None if it fits, if another geometry helps, or if none was found.
    change: Change | None = None
    #: Another geometry with which the network fits, if one was asked for with which it does not.
    geometry: tuple[int, int] | None = None
    #: The network laid out; None if it does not fit.
    plan: Plan | None

    @property
    def message(self) -> str:
        """The first limit and the remedy, in one line."""
        return f"{self.findings[0]}: {self.remedy}"


class DoesNotFitError(ConfigError):
    """A network does not fit a board; ``fit`` has the whole answer."""

    def __init__(self, fit: Fit):
        super().__init__(fit.message)
        self.fit = fit


def format_fit(fit: Fit) -> str:
    """Lay out what every layer takes as a table, with all limits that are exceeded below it."""
    heads = ("layer", "kind", "input", "output", "weight rows", "spike words", "clocks")
    rows  = [heads]
    for layer in fit.layers:
        kind = layer.kind + (f", or-pool {layer.pool}" if layer.pool > 1 else "")
        rows.append((str(layer.index), kind, _size(layer.source), _size(layer.target), f"{layer.weight_rows:,}",
                     f"{layer.spike_words:,}", f"{layer.clocks:,}"))
    total = sum(layer.weight_rows for layer in fit.layers)
    rows.append(("", "all layers", "", "", f"{total:,}", "", f"{sum(layer.clocks for layer in fit.layers):,}"))
    rows.append(("", f"{fit.board}, array {fit.lanes} x {fit.width}", "", "", f"{fit.weight_rows:,}",
                 f"{fit.spike_words:,}", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines  = []
    for row in rows:
        cells = [cell.ljust(size) if column == 1 else cell.rjust(size)
                 for column, (cell, size) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.append(f"each of two images takes {fit.image_words:,} spike words more")
    lines += [f"does not fit: {finding}" for finding in fit.findings]
    if fit.remedy:
        lines.append(f"remedy: {fit.remedy}")
    return "\n".join(lines)


def _size(shape: Shape) -> str:
    return " x ".join(map(str, shape))
