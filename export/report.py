"""The report of an export: a table of the layers, and what is proven, measured and written."""

from typing import Any

from arch.limits import MAX_FRACTION
from export.fit_cost import format_fit
from support.counting import counted
from support.errors import printable

__all__ = ["format_graph", "format_table"]

#: Membranes of shipped networks are at most this wide, in bits.
_WIDE = 24

_HEAD = ("layer", "map", "weights", "zeros", "firing", "F", "current", "membrane", "exact", "differ", "bytes",
         "vs float32")


def _cell(value: Any, form: str = "{}") -> str:
    return "-" if value is None else form.format(value)


def _exact(row: dict[str, Any]) -> str:
    if row["leaky"]:
        return "leaky"
    return _cell({None: None, True: "yes", False: f"no ({len(row['inexact'])})"}[row["exact"]])


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["name"], " x ".join(map(str, row["shape"])), _cell(row["weights"], "{:,}"),
            _cell(row["sparsity"], "{:.1%}"), _cell(row["firing"], "{:.1%}"), _cell(row["fraction"]),
            _cell(row["current_bits"], "{} bits"), _cell(row["membrane_bits"], "{} bits"), _exact(row),
            _cell(row["mismatches"]), _cell(row["bytes"], "{:,}"), _cell(row["compression"], "{:.1f} x"))


def _written(files: list[str], unwritten: str) -> str:
    if not files:
        return unwritten
    memories = f" and {len(files) - 1} memory images" if len(files) > 1 else ""
    return f"{printable(files[0])}{memories}"


def _source(training: dict[str, Any]) -> list[str]:
    """Lay out by what rule a network of another package was read; nothing for a checkpoint."""
    if "rule" not in training:
        return []
    lines = [f"read by the rule {training['rule']}", f"scores: {training['scores']}"]
    own = training.get("own_forward")
    if own is not None:
        lines.append(f"own forward, in {own['floats']}: {own['differ']:,} of {own['spikes']:,} spikes differ on "
                     f"{counted(own['images'], 'image')}")
    return lines


def format_graph(report: dict[str, Any]) -> str:
    """Lay out the report of :func:`export.command.nir` as text."""
    written = "nothing (dry run)" if report["written"] is None else printable(report["written"])
    return (f"graph: {report['nodes']} nodes, {report['bytes']:,} bytes, exact with its side-car\n"
            f"sha256 of the network: {report['network_sha256']}\nwritten: {written}")


def format_table(report: dict[str, Any], *, unwritten: str = "nothing (dry run)") -> str:
    """Lay out the report of :func:`export.command.export` as text; ``unwritten`` stands for no file."""
    lines = [_HEAD, *map(_line, report["layers"])]
    spans = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    text = ["  ".join([line[0].ljust(spans[0]), *(entry.rjust(span) for entry, span in
                                                  zip(line[1:], spans[1:], strict=True))]) for line in lines]
    metadata = report["metadata"]
    text += ["", *_source(metadata.get("training", {})), f"exact: {report['certificate']}", *format_fit(metadata)]
    inexact = any(row["exact"] is False for row in report["layers"])
    if inexact and "fit" not in metadata and report["max_fraction"] < MAX_FRACTION:
        text.append(f"a larger --max-fraction, {report['max_fraction'] + 1} to {MAX_FRACTION}, may certify more "
                    f"channels")
    if "accuracy" in metadata:
        text.append(f"accuracy: {100 * metadata['accuracy']:.2f} % of {counted(metadata['accuracy_images'], 'image')}")
    wide = [row["name"] for row in report["layers"] if (row["membrane_bits"] or 0) > _WIDE]
    if wide:
        text.append(f"WIDE: membranes of more than {_WIDE} bits in {', '.join(wide)}")
    if not report["checkpoint_protected"]:
        text.append("WARNING: the checkpoint is of version 1 and not protected against damage: save it again, as "
                    "docs/formats.md says")
    text += [f"sha256: {report['network_sha256']}", f"written: {_written(report['written'], unwritten)}"]
    versions = ", ".join(f"{name} {version}" for name, version in metadata["export"]["tool_versions"].items())
    text.append(f"made by: revision {metadata['export']['revision']}, {versions}")
    return "\n".join(text)
