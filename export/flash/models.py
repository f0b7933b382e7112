"""Makes the image of models of exported networks, and says what each takes of the flash."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from arch import network_file
from arch.certificate import certificate_of
from arch.flash.image import MODELS, Model, build_image
from arch.flash.stream import Section
from arch.link import cut_name
from arch.network import Network, OrPool, Readout, projection_of
from arch.network_file import digest
from boards import BOARDS
from boards.board import Board, BoardError
from export.flash.circuit import overlay_json
from export.steps import ExportError
from gateware.mapper.streamed.choice import StreamedFitError, lay_out_for_board
from gateware.mapper.streamed.fit import StreamedFit, fit_of
from gateware.mapper.streamed.model import model_of
from gateware.mapper.streamed.plan import StreamedPlan
from support.errors import printable

__all__ = ["FlashImage", "LayerRow", "ModelReport", "ModelTime", "Source", "check_count", "make_image"]

logger = logging.getLogger("export")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """A network that becomes a model, and the file that it is from."""

    file: str
    network: Network

    @property
    def full_name(self) -> str:
        """Name in the network's metadata; without one, the stem of the file."""
        return network_file.name_of(self.network, self.file)

    @property
    def name(self) -> str:
        """Name of the model: cut to the bytes that a header has for it."""
        return cut_name(self.full_name)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerRow:
    """What one layer, with the or-pools behind it, takes."""

    #: Index of the layer, and its kind.
    index: int
    kind: str
    #: Runs of the sequencer's loops: more than one if the layer is cut into tiles, which each have all weights.
    passes: int
    #: Rows of weights, and words of the spike memory of its result; 0 for a readout.
    rows: int
    words: int
    #: Ternary weights, and numbers of the neurons; both 0 for an or-pool.
    weights: int
    constants: int
    #: Bytes in the flash: program, constants, weights and CRC.
    bytes: int
    #: Clocks of an inference; those in which the array takes a word, those that the flash takes to send the bytes, and
    #: those in which the engine waits for them.
    clocks: int
    array_clocks: int
    flash_clocks: int
    flash_stalls: int
    #: ``flash`` if the engine waits for the flash, and the flash takes longer than it; else ``compute``.
    bound: str
    #: Synapses x timesteps, padding excluded, and their share of what the array can do in the clocks.
    operations: int
    utilisation: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelTime:
    """How long an inference takes, and how many there are in a second."""

    #: Clocks from the start of the engine to the class, and those of them in which it waits for the flash.
    clocks: int
    flash_stalls: int
    milliseconds: float
    #: Operations of all layers by what the array can do in the clocks.
    utilisation: float
    #: Rate of the host link in baud, the fastest that builds take at this clock, and the images that come and are
    #: computed in a second at this rate; None if the clock divides to none.
    baud: int | None
    images_per_second: float | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelReport:
    """What a model takes of the flash and of the circuit."""

    #: Number in the directory, name, and the network's name if that is longer than a header has room for; else None.
    number: int
    name: str
    cut_from: str | None
    #: The file, the SHA-256 of the network, and what is proven about it.
    file: str
    network_sha256: str
    certificate: str
    layers: tuple[LayerRow, ...]
    #: Image buffers: with two the next image arrives while one is computed. Highest word of the spike memory in use.
    buffers: int
    spike_words: int
    #: How long an inference takes.
    time: ModelTime
    #: Bytes of the stream, and what the same numbers take as float32.
    bytes: int
    float_bytes: int

    @property
    def weights(self) -> int:
        """Ternary weights of all layers."""
        return sum(row.weights for row in self.layers)

    @property
    def bits_per_weight(self) -> float:
        """Bits of the stream for each weight, with programs, constants and CRCs counted."""
        return 8 * self.bytes / self.weights

    @property
    def compression(self) -> float:
        """How many times smaller the stream is than weights and constants in float32."""
        return self.float_bytes / self.bytes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FlashImage:
    """An image of models, and what it is made of."""

    board: Board
    clock_hz: float
    content: bytes
    models: tuple[ModelReport, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything but the content."""
        models = [dataclasses.asdict(model) | {
            "weights": model.weights, "bits_per_weight": model.bits_per_weight, "compression": model.compression}
            for model in self.models]
        return {"board": self.board.name, "clock_hz": self.clock_hz, "bytes": len(self.content),
                "address": self.board.models_at, "flash_bytes": self.board.flash_bytes,
                "overlay": overlay_json(self.board), "models": models}


def check_count(count: int) -> None:
    """Raise :exc:`ExportError` unless an image has room for so many models."""
    if count > MODELS:
        raise ExportError(f"--flash must be given 1 to {MODELS} networks, not {count}: make an image of fewer")


def make_image(sources: Sequence[Source], board: Board, *, clock_hz: float) -> FlashImage:
    """Make the image of 1 to 16 networks for the streamed circuit of a board.

    Raises
    ------
    :exc:`ExportError`
        If a network does not fit, and each limit that it exceeds was logged; or a name cannot be used.
    :exc:`arch.flash.errors.ImageError`
        If the image does not fit the flash.
    """
    check_count(len(sources))
    _check_names(sources)
    models, plans = [], []
    for source in sources:
        try:
            plan = lay_out_for_board(source.network, board, others=BOARDS.values())
        except StreamedFitError as error:
            raise _refusal(source, board, error) from None
        plans.append((plan, fit_of(plan, clock_hz=clock_hz)))
        models.append(model_of(plan, name=source.name, clock_hz=clock_hz))
    content = build_image(models, base=board.models_at, flash_bytes=board.flash_bytes)
    reports = tuple(_report(number, source, *plan, model, board, clock_hz)
                    for number, (source, plan, model) in enumerate(zip(sources, plans, models, strict=True)))
    logger.info("flash: %d bytes for %d model%s of the %s", len(content), len(models), "s"[:len(models) != 1],
                board.title)
    return FlashImage(board=board, clock_hz=clock_hz, content=content, models=reports)


def _check_names(sources: Sequence[Source]) -> None:
    """Refuse names that a header cannot have, and those by which a host could not tell models apart."""
    earlier: dict[str, Source] = {}
    for source in sources:
        name, file = source.name, printable(source.file)
        if printable(source.full_name) != source.full_name or not name.isprintable():
            raise ExportError(f"{file}: name of a model must be one line of printable text, not "
                              f"{source.full_name[:40]!r}: export the checkpoint again with another --name")
        other = earlier.setdefault(name, source)
        if other is source:
            continue
        if other.full_name == source.full_name and digest(other.network) == digest(source.network):
            raise ExportError(f"{file}: network must be given once, and {printable(other.file)} is the same one: leave "
                              f"one of the two out")
        raise ExportError(f"{file}: name of a model must be its own in the image, not {name!r}, which is that of "
                          f"{printable(other.file)} too: export one of the checkpoints again with another --name")


def _refusal(source: Source, board: Board, error: StreamedFitError) -> ExportError:
    """Log all limits if there are several, and make the error."""
    lines = list(dict.fromkeys(map(str, error.findings)))
    where = f"{printable(source.file)}: network must fit the streamed circuit of the {board.title}"
    if len(lines) == 1:
        return ExportError(f"{where}: {lines[0]}: {error.remedy}")
    for line in dict.fromkeys(f"{finding}: {finding.remedy}" if finding.remedy else str(finding)
                              for finding in error.findings):
        logger.error("%s: does not fit: %s", printable(source.file), line)
    return ExportError(f"{where}, not exceed the {len(lines)} limits above: {error.remedy}")


def _report(number: int, source: Source, plan: StreamedPlan, fit: StreamedFit, model: Model, board: Board,
            clock_hz: float) -> ModelReport:
    rows = _layer_rows(plan, fit, model.sections)
    return ModelReport(
        number=number, name=model.name, cut_from=None if source.full_name == model.name else source.full_name,
        file=source.file, network_sha256=model.digest.hex(), certificate=str(certificate_of(plan.network)),
        layers=rows, buffers=plan.allocation.buffers, spike_words=plan.allocation.words,
        time=_time(fit, board, clock_hz), bytes=sum(row.bytes for row in rows),
        float_bytes=sum(4 * (row.weights + row.constants) for row in rows))


def _time(fit: StreamedFit, board: Board, clock_hz: float) -> ModelTime:
    """Say how long an inference takes, alone and with the link."""
    try:
        baud: int | None = board.default_bauds(clock_hz)[0]
    except BoardError:
        # A build takes no such clock; the image is right for it all the same.
        baud = None
    speed = None if baud is None else clock_hz / fit.image_clocks(board.divisor(clock_hz, baud))
    cycles = fit.cycles
    return ModelTime(clocks=cycles.clocks, flash_stalls=cycles.flash_stalls,
                     milliseconds=cycles.clocks / clock_hz * 1e3, utilisation=fit.utilisation, baud=baud,
                     images_per_second=speed)


def _layer_rows(plan: StreamedPlan, fit: StreamedFit, sections: Sequence[Section]) -> tuple[LayerRow, ...]:
    """Join what the mapper says of each layer with the numbers and bytes that the flash has of it."""
    rows = []
    for found in fit.layers:
        layer = plan.network.layers[found.index]
        weights = 0 if isinstance(layer, OrPool) else layer.weights.size
        projection = projection_of(layer)
        if projection is not None:
            weights += projection.weight_count
        rows.append(LayerRow(
            index=found.index, kind=found.kind, passes=found.passes, rows=found.weight_rows, words=found.spike_words,
            weights=weights, constants=0 if isinstance(layer, OrPool | Readout) else 3 * layer.neurons.channels,
            bytes=sum(section.byte_count() for item, section in zip(plan.passes, sections, strict=True)
                      if item.layer == found.index),
            clocks=found.cycles.clocks, array_clocks=found.cycles.words, flash_clocks=found.cycles.flash_clocks,
            flash_stalls=found.cycles.flash_stalls, bound="flash" if found.cycles.bound_by_flash else "compute",
            operations=found.operations, utilisation=found.utilisation))
    return tuple(rows)
