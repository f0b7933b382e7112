"""The report of an image of models: a table of the layers of each, and what all takes of the flash."""

from export.flash.models import FlashImage, ModelReport
from support.errors import printable

__all__ = ["format_image"]

_HEAD = ("layer", "kind", "passes", "rows", "spike words", "weights", "bytes", "bits per weight")


def _table(model: ModelReport) -> list[str]:
    lines = [_HEAD]
    for row in model.layers:
        bits = f"{8 * row.bytes / row.weights:.2f}" if row.weights else "-"
        lines.append((str(row.index), row.kind, str(row.passes), f"{row.rows:,}", f"{row.words:,}" if row.words else
                      "-", f"{row.weights:,}" if row.weights else "-", f"{row.bytes:,}", bits))
    lines.append(("", "all layers", str(sum(row.passes for row in model.layers)),
                  f"{sum(row.rows for row in model.layers):,}", "", f"{model.weights:,}", f"{model.bytes:,}",
                  f"{model.bits_per_weight:.2f}"))
    spans = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return ["  ".join(cell.ljust(span) if column == 1 else cell.rjust(span)
                      for column, (cell, span) in enumerate(zip(line, spans, strict=True))).rstrip() for line in lines]


def _model(model: ModelReport) -> list[str]:
    lines = [f"model {model.number}: {printable(model.name)}, from {printable(model.file)}", *_table(model)]
    if model.cut_from is not None:
        lines.append(f"name: cut from {printable(model.cut_from)!r}, which is longer than the 32 bytes of a header")
    lines += [
        f"exact: {model.certificate}",
        f"vs float32: {model.compression:.1f} x smaller, programs, constants, fill and CRCs counted",
        f"spike memory: {model.spike_words:,} words, {model.buffers} image buffer{'s'[:model.buffers > 1]}"
        + ("" if model.buffers > 1 else ": the next image waits until one is computed"),
        f"sha256: {model.network_sha256}",
        ""]
    return lines


def format_image(image: FlashImage, *, written: str | None) -> str:
    """Lay out what an image is made of as text; ``written`` is the file, None in a dry run."""
    lines = [line for model in image.models for line in _model(model)]
    board, end = image.board, image.board.models_at + len(image.content)
    place = f"{board.models_at:#x} to {end:#x} in the {board.flash_bytes >> 20} MiB of flash of the {board.title}"
    lines += [
        f"image: {len(image.content):,} bytes at {place}, {board.flash_bytes - end:,} bytes free",
        f"circuit: streamed, {board.title}, {image.clock_hz / 1e6:g} MHz",
        f"written: {'nothing (dry run)' if written is None else printable(written)}"]
    return "\n".join(lines)
