"""The answer of a check as tables, one for each circuit."""

from collections.abc import Iterator

from gateware.check.answer import Bears, Check, CheckFinding, CircuitCheck
from support.errors import printable

__all__ = ["format_check"]

#: What stands for a circuit, by its name.
_TITLES = {"baked": "weights in the bitstream (--weights baked)", "flash": "weights in the flash (--weights flash)"}

_SAID = {Bears.YES: "fits", Bears.NO: "does not fit", Bears.OPEN: "fits, if the trained weights allow it"}


def format_check(check: Check) -> str:
    """Lay out a check: what each layer takes of each circuit, what is exceeded, and what helps."""
    plan  = check.plan
    lines = [f"{printable(plan.network)} on {plan.board}"]
    for circuit in plan.circuits.values():
        lines += ["", *_circuit_lines(circuit)]
    return "\n".join(lines)


def _circuit_lines(circuit: CircuitCheck) -> Iterator[str]:
    yield (f"{_TITLES[circuit.name]}, array {circuit.lanes} x {circuit.width}, T = {circuit.timesteps}, "
           f"{circuit.clock_mhz:g} MHz: {_SAID[circuit.bears]}")
    yield from _table(circuit)
    known = "exact" if circuit.clocks_are_exact else "estimated, because the network does not fit"
    yield f"an inference: {circuit.clocks:,} clocks, {circuit.inference_ms:.4g} ms, {known}"
    for resource in circuit.resources:
        share = resource.used / resource.available
        yield f"{resource.name}: {resource.used:,} of {resource.available:,}, {share:.0%}, {resource.evidence}"
    for finding in circuit.findings:
        yield _finding_line(finding)
    for remedy in circuit.remedies:
        yield f"remedy, checked: {remedy.text}"


def _finding_line(finding: CheckFinding) -> str:
    what = "may not fit" if finding.depends_on_weights else "does not fit"
    over = "" if finding.over is None else f" ({finding.over:,} too many)"
    return f"{what}: {finding.where}: {finding.problem}{over}"


def _table(circuit: CircuitCheck) -> Iterator[str]:
    rows = [("layer", "kind", "weight rows", "spike words", "words", "clocks", "bound", "utilisation")]
    rows += [(str(layer.index), layer.kind, f"{layer.weight_rows:,}", f"{layer.spike_words:,}", f"{layer.words:,}",
              f"{layer.clocks:,}", layer.bound.value, f"{layer.utilisation:.1%}") for layer in circuit.layers]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(size) if column in (1, 6) else cell.rjust(size)
                 for column, (cell, size) in enumerate(zip(row, widths, strict=True))]
        yield "  ".join(cells).rstrip()
