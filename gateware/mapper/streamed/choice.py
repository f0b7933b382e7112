"""Lays a network out for a streamed circuit: the one place that decides what fits."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from arch.flash.header import BLOCK_BYTES, SEAL_BYTES
from arch.flash.image import DIRECTORY_BYTES
from arch.network import Encoding, Network
from boards.board import Board
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.flash.reader import FlashMode
from gateware.mapper.advice import joined
from gateware.mapper.limits import Finding, above
from gateware.mapper.streamed.advice import nearest_changes
from gateware.mapper.streamed.allocation import Allocation, allocate, most_alive
from gateware.mapper.streamed.cycles import MAX_CYCLES, exceeding_cycles, section_bytes
from gateware.mapper.streamed.limits import network_findings, pass_findings
from gateware.mapper.streamed.lowering import LoweringError, lower
from gateware.mapper.streamed.passes import Pass
from gateware.mapper.streamed.plan import StreamedPlan

__all__ = ["Inspection", "StreamedFitError", "inspect_for_board", "lay_out", "lay_out_for_board", "stream_bytes",
           "stream_room", "streamed_config"]


class StreamedFitError(ConfigError):
    """A network does not fit a streamed circuit.

    ``findings`` has every limit that it exceeds, ``remedy`` the nearest changes that were tried and make it fit; empty
    if none was looked for.
    """

    def __init__(self, findings: Sequence[Finding], *, remedy: str = ""):
        super().__init__(f"{findings[0]}: {remedy}" if remedy else str(findings[0]))
        self.findings = tuple(findings)
        self.remedy = remedy


def lay_out(network: Network, config: EngineConfig, *, mode: Any = FlashMode.QUAD) -> StreamedPlan:
    """Lay a network out.

    Parameters
    ----------
    network : :class:`Network`
    config : :class:`EngineConfig`
    mode : :class:`gateware.flash.reader.FlashMode`
        How fast the flash of the board is.

    Raises
    ------
    :exc:`StreamedFitError`
        If it does not fit.
    """
    inspection = _inspect(network, config, mode=mode)
    if inspection.findings:
        raise StreamedFitError(inspection.findings)
    return inspection.plan(network, config)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inspection:
    """Every limit of a streamed circuit that a network exceeds, and how far it can be laid out."""

    findings: tuple[Finding, ...]
    #: The passes; those of some layers are missing unless they are ``whole``.
    passes: tuple[Pass, ...]
    whole: bool
    #: Places of the maps; None if they have none.
    allocation: Allocation | None

    def plan(self, network: Network, config: EngineConfig) -> StreamedPlan:
        """Return the plan of a network that fits."""
        assert not self.findings
        assert self.allocation is not None
        return StreamedPlan(network=network, config=config, passes=self.passes, allocation=self.allocation)


def _inspect(network: Network, config: EngineConfig, *, mode: Any) -> Inspection:
    """Find every limit that a network exceeds; its passes and their maps, as far as they can be laid out."""
    findings = list(network_findings(network, config))
    # A circuit without pixels has no slices into which pixels could be cut.
    if not config.pixels and network.input.encoding is Encoding.PIXELS:
        return Inspection(findings=tuple(findings), passes=(), whole=False, allocation=None)
    try:
        passes = lower(network, config)
    except LoweringError as error:
        return Inspection(findings=(*findings, *error.findings, *pass_findings(error.passes, config)),
                          passes=error.passes, whole=False, allocation=None)
    findings  += pass_findings(passes, config)
    allocation = allocate(passes, config.spike_words)
    if allocation is None:
        findings += _shortage(passes, config)
    elif all(finding.remedy for finding in findings):
        # What a remedy is known for changes no clocks.
        clocks = exceeding_cycles(config, passes, mode=mode)
        if clocks is not None:
            findings += above("network", "clocks of an inference", clocks, MAX_CYCLES)
    return Inspection(findings=tuple(findings), passes=passes, whole=True, allocation=allocation)


def _shortage(passes: Sequence[Pass], config: EngineConfig) -> Iterator[Finding]:
    """Say which pass has the most words of maps in use."""
    number, words = most_alive(passes)
    limit = config.spike_words
    problem = (f"words of the maps in use must be at most {limit}, not {words}" if words > limit else
               f"the {words} words of the maps in use must lie in the {limit} words of the spike memory, "
               "and no order of the maps was found in which they do")
    yield Finding(where=passes[number].name, problem=problem, value=words, limit=limit)


def lay_out_for_board(network: Network, board: Board, *, others: Iterable[Board] = ()) -> StreamedPlan:
    """Lay a network out for the streamed circuit of a board, whose flash must have room for the stream.

    Parameters
    ----------
    network : :class:`Network`
    board : :class:`boards.Board`
    others : iterable of :class:`boards.Board`
        Boards that are tried as well if it does not fit.

    Raises
    ------
    :exc:`StreamedFitError`
        If it does not fit. The error says what would: each change was made, and the result laid out, except where the
        constants of neurons are all that does not fit. These are moved in the export.
    """
    inspection = inspect_for_board(network, board)
    if inspection.findings:
        raise StreamedFitError(inspection.findings, remedy=_remedy(network, board, inspection.findings, others))
    return inspection.plan(network, streamed_config(board))


def _remedy(network: Network, board: Board, findings: Sequence[Finding], others: Iterable[Board]) -> str:
    """Say what helps: what findings say of themselves, and for the others what was tried."""
    if all(finding.remedy for finding in findings):
        return joined(list(dict.fromkeys(finding.remedy for finding in findings)))

    def fits(candidate: Network, on: Board) -> bool:
        return all(finding.remedy for finding in inspect_for_board(candidate, on).findings)

    # The overlay runs where the FPGA can read the flash.
    titles = [other.title for other in others
              if other.name != board.name and other.flash_wiring is not None and fits(network, other)]
    if titles:
        return f"use the {' or the '.join(titles)}"
    return nearest_changes(network, streamed_config(board), findings, lambda candidate: fits(candidate, board))


def inspect_for_board(network: Network, board: Board) -> Inspection:
    """Find every limit that a network exceeds on a board, the room in its flash included."""
    config = streamed_config(board)
    inspection = _inspect(network, config, mode=FlashMode.QUAD)
    if inspection.whole:
        more = above("network", f"bytes of its stream in the flash of the {board.title}",
                     stream_bytes(config, inspection.passes), stream_room(board))
        inspection = dataclasses.replace(inspection, findings=(*inspection.findings, *more))
    return inspection


def stream_bytes(config: EngineConfig, passes: Sequence[Pass]) -> int:
    """Bytes of the stream of a network in the flash."""
    return sum(section_bytes(config, item) for item in passes)


def stream_room(board: Board) -> int:
    """Bytes that the flash of a board has for the stream of a network that is alone in it."""
    # The image begins with its directory; a seal, at a multiple of its own, is before the stream.
    return board.flash_bytes - (board.models_at + DIRECTORY_BYTES + -DIRECTORY_BYTES % BLOCK_BYTES + SEAL_BYTES)


def streamed_config(board: Board, *, pixels: bool = True) -> EngineConfig:
    """Return the streamed circuit of a board: the one that runs every model for it.

    Its widths are chosen for networks of millions of weights on images of up to 63 x 63: partial sums of 16 bits hold
    65,535 synapses, and membranes of 20 bits with 4 fractional ones hold what VGG-16 and ResNet-18 need.
    """
    lanes, width = board.geometries[0]
    return EngineConfig(
        streamed=True, lanes=lanes, width=width, timesteps=board.timesteps, pixels=pixels, accumulator_width=8,
        partial_width=16, membrane_width=20, fraction=4, hard_reset=True, leak=False, weight_rows=board.weight_rows,
        channel_groups=32, spike_words=board.spike_words, layers=8, max_run=255, max_side=63, max_row_words=255,
        classes=128, blocks=8, max_groups=512)
