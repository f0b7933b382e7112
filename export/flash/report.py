"""The report of an image of models: two tables of the layers of each, and what all takes of the flash."""

from collections.abc import Sequence

from export.flash.circuit import format_overlay
from export.flash.models import FlashImage, ModelReport, ModelTime
from support.errors import printable

__all__ = ["format_image"]

_SIZES = ("layer", "kind", "passes", "rows", "spike words", "weights", "bytes", "bits per weight")
_CLOCKS = ("layer", "kind", "clocks", "array clocks", "flash clocks", "flash stalls", "bound by", "utilisation")


def _columns(lines: Sequence[tuple[str, ...]]) -> list[str]:
    """Align the cells of lines: the kinds of layers to the left, all others to the right."""
    spans = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(span) if column == 1 else cell.rjust(span)
                      for column, (cell, span) in enumerate(zip(line, spans, strict=True))).rstrip() for line in lines]


def _sizes(model: ModelReport) -> list[str]:
    lines = [_SIZES]
    for row in model.layers:
        bits = f"{8 * row.bytes / row.weights:.2f}" if row.weights else "-"
        lines.append((str(row.index), row.kind, str(row.passes), f"{row.rows:,}", f"{row.words:,}" if row.words else
                      "-", f"{row.weights:,}" if row.weights else "-", f"{row.bytes:,}", bits))
    lines.append(("", "all layers", str(sum(row.passes for row in model.layers)),
                  f"{sum(row.rows for row in model.layers):,}", "", f"{model.weights:,}", f"{model.bytes:,}",
                  f"{model.bits_per_weight:.2f}"))
    return _columns(lines)


def _clocks(model: ModelReport) -> list[str]:
    lines = [_CLOCKS]
    for row in model.layers:
        lines.append((str(row.index), row.kind, f"{row.clocks:,}", f"{row.array_clocks:,}", f"{row.flash_clocks:,}",
                      f"{row.flash_stalls:,}", row.bound, f"{row.utilisation:.1%}" if row.operations else "-"))
    lines.append(("", "all layers", f"{model.time.clocks:,}", f"{sum(row.array_clocks for row in model.layers):,}",
                  f"{sum(row.flash_clocks for row in model.layers):,}", f"{model.time.flash_stalls:,}", "",
                  f"{model.time.utilisation:.1%}"))
    return _columns(lines)


def _time(time: ModelTime, clock_hz: float) -> list[str]:
    speed = (f"the clock of {clock_hz / 1e6:g} MHz divides to no rate of the host link" if time.baud is None else
             f"{time.images_per_second:,.1f} with the host link at {time.baud // 1_000_000} Mbaud")
    return [f"inference: {time.clocks:,} clocks, {time.milliseconds:.3f} ms at {clock_hz / 1e6:g} MHz",
            f"images per second: {speed}"]


def _model(model: ModelReport, clock_hz: float) -> list[str]:
    lines = [f"model {model.number}: {printable(model.name)}, from {printable(model.file)}", *_sizes(model), "",
             *_clocks(model), "", *_time(model.time, clock_hz)]
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
    lines = [line for model in image.models for line in _model(model, image.clock_hz)]
    board, end = image.board, image.board.models_at + len(image.content)
    place = f"{board.models_at:#x} to {end:#x} in the {board.flash_bytes >> 20} MiB of flash of the {board.title}"
    lines += [
        f"image: {len(image.content):,} bytes at {place}, {board.flash_bytes - end:,} bytes free",
        f"overlay: {format_overlay(board)}",
        f"circuit: streamed, {board.title}, {image.clock_hz / 1e6:g} MHz",
        f"written: {'nothing (dry run)' if written is None else printable(written)}"]
    return "\n".join(lines)
