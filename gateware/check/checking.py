"""Checks a network against both circuits of a board: the limits that it exceeds, by how much, and what helps."""

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from arch import network_file
from arch.network import Network
from boards import BOARDS, Board, BoardError, board_named
from gateware.check.answer import (
    Bears,
    Check,
    CheckedLayer,
    CheckFinding,
    CircuitCheck,
    DeployPlan,
    Remedy,
    Resource,
)
from gateware.check.rounding import rounded
from gateware.check.shapes import Shapes
from gateware.engine.configuration import EngineConfig
from gateware.flash.reader import FlashMode
from gateware.mapper.advice import ImageSize, joined
from gateware.mapper.bound import bound_of
from gateware.mapper.choice import check_fit
from gateware.mapper.fit import Fit
from gateware.mapper.limits import Finding
from gateware.mapper.memories import count_block_rams
from gateware.mapper.plan import stage_operations
from gateware.mapper.streamed.advice import find_changes
from gateware.mapper.streamed.allocation import most_alive
from gateware.mapper.streamed.choice import Inspection, inspect_for_board, stream_bytes, stream_room, streamed_config
from gateware.mapper.streamed.cycles import PassCycles, count_cycles, least_cycles
from gateware.mapper.streamed.fit import layer_fits
from gateware.reports.prebuilt import overlay_clock_hz, prebuilt_overlay
from gateware.streamed_top import flash_mode

__all__ = ["BAKED", "FLASH", "check", "check_baked", "check_flash"]

#: Names of the circuits, as ``--weights`` of the build has them.
BAKED, FLASH = "baked", "flash"


def check(network: Network | Shapes | str | os.PathLike[str], board: Board | str, *, lanes: int | None = None,
          width: int | None = None, clock_hz: float | None = None, remedies: bool = True,
          fit: Fit | None = None) -> Check:
    """Check a network against the circuits of a board: with its weights in the bitstream, and in the flash.

    Parameters
    ----------
    network : :class:`Network`, :class:`Shapes` or path
        A network, the shapes of one that is to be trained, or the file of an exported one.
    board : :class:`boards.Board` or :class:`str`
        A board, or its name on the command line.
    lanes, width : :class:`int`, optional
        Ask the baked circuit for this geometry, as of :func:`gateware.mapper.choice.check_fit`.
    clock_hz : :class:`float`, optional
        Clock of both circuits, in Hz; by default that of the board, and that of its overlay.
    remedies : :class:`bool`
        Look for changes with which a circuit that does not bear the network would, which takes some seconds.
    fit : :class:`gateware.mapper.fit.Fit`, optional
        What :func:`gateware.mapper.choice.check_fit` has said of a network and the board, with its geometry and its
        remedies: it is not asked again.

    Returns
    -------
    :class:`Check`
        ``plan, valid, findings``. A remedy is in it only if the check with it has passed.

    Raises
    ------
    :exc:`support.errors.InputError`
        If the file is no network, the board has no such name or clock, or no circuit has this geometry.
    """
    board = board_named(board) if isinstance(board, str) else board
    if clock_hz is not None:
        board.check_clock(clock_hz)
    baked_hz = board.default_clock_hz if clock_hz is None else clock_hz
    flash_hz = overlay_clock_hz(board) if clock_hz is None else clock_hz
    name = None
    if isinstance(network, str | os.PathLike):
        path, network = network, network_file.load(network)
        name = network_file.name_of(network, path)
    if isinstance(network, Shapes):
        dense, sparse, sizes = network.densest, network.sparsest, network.sizes
        circuits = [
            _of_shapes(check_baked(dense, board, baked_hz, lanes, width, remedies=False),
                       check_baked(sparse, board, baked_hz, lanes, width, remedies=remedies, sizes=sizes)),
            _of_shapes(check_flash(dense, board, flash_hz, remedies=False),
                       check_flash(sparse, board, flash_hz, remedies=remedies, sizes=sizes))]
        name, digest = network.name, None
    else:
        circuits = [check_baked(network, board, baked_hz, lanes, width, remedies=remedies, fit=fit),
                    check_flash(network, board, flash_hz, remedies=remedies)]
        name, digest = name or str(network.metadata.get("name") or "network"), network_file.digest(network)
    plan = DeployPlan(network=name, network_sha256=digest, board=board.name,
                      circuits={circuit.name: circuit for circuit in circuits})
    return Check(plan=plan, valid=any(circuit.bears is Bears.YES for circuit in circuits),
                 findings=tuple(finding for circuit in circuits for finding in circuit.findings))


def _finding(circuit: str, finding: Finding) -> CheckFinding:
    layer = re.match(r"layer (\d+) ", finding.where)
    return CheckFinding(circuit=circuit, layer=None if layer is None else int(layer[1]), where=finding.where,
                        problem=finding.problem, value=finding.value, limit=finding.limit)


def _of_shapes(densest: CircuitCheck, sparsest: CircuitCheck) -> CircuitCheck:
    """Join the answers for the network without zeros and for that with the fewest weights."""
    # Two findings are of the same limit if they say the same up to the number.
    certain = {_limit_of(finding) for finding in sparsest.findings}
    findings = tuple(dataclasses.replace(finding, depends_on_weights=_limit_of(finding) not in certain)
                     for finding in densest.findings)
    bears = Bears.YES if not findings else Bears.NO if sparsest.findings else Bears.OPEN
    # Clocks are those of either network; those of one that does not fit are an estimate.
    shown = sparsest if bears is Bears.OPEN else densest
    return dataclasses.replace(shown, bears=bears, findings=findings, remedies=sparsest.remedies, plan=None)


def _limit_of(finding: CheckFinding) -> tuple[str, str]:
    return finding.where, re.sub(r"\d+", "", finding.problem)


def check_baked(network: Network, board: Board, clock_hz: float, lanes: int | None, width: int | None, *,
                remedies: bool, fit: Fit | None = None, sizes: Sequence[ImageSize] | None = None) -> CircuitCheck:
    """Check the circuit with the weights in its block RAM.

    Parameters
    ----------
    network, board, lanes, width, remedies, fit
        As of :func:`check`; None is the largest geometry that bears the network.
    clock_hz : :class:`float`
        Its clock, in Hz.
    sizes : sequence of :class:`gateware.mapper.advice.ImageSize`, optional
        All smaller images that a remedy may ask for, the largest first; by default any.

    Returns
    -------
    :class:`CircuitCheck`
        With every limit that is exceeded.

    Raises
    ------
    :exc:`gateware.engine.configuration.ConfigError`
        If no circuit has this geometry.
    """
    if fit is None:
        fit = check_fit(network, board, lanes=lanes, width=width, remedies=remedies, sizes=sizes)
    config, there = fit.config, board.fpga.resources
    layers = tuple(_baked_layers(network, fit))
    resources = [
        Resource(name="weight rows", used=sum(layer.weight_rows for layer in layers), available=config.weight_rows,
                 evidence="exact"),
        Resource(name="window words", used=fit.image_words, available=config.spike_words // 2, evidence="exact")]
    if fit.plan is not None:
        resources += [
            Resource(name="spike words", used=fit.plan.spike_words, available=config.spike_words, evidence="exact"),
            Resource(name="logic cells", used=board.fpga.logic_cells(config), available=there.logic_cells,
                     evidence="estimated"),
            Resource(name="block RAMs", used=count_block_rams(config, board.fpga), available=there.block_rams,
                     evidence="estimated")]
    return CircuitCheck(
        name=BAKED, bears=Bears.YES if fit.plan is not None else Bears.NO, lanes=config.lanes, width=config.width,
        timesteps=config.timesteps, clock_mhz=clock_hz / 1e6, layers=layers, resources=tuple(resources),
        clocks=sum(layer.clocks for layer in layers), clocks_are_exact=fit.plan is not None,
        findings=tuple(_finding(BAKED, finding) for finding in fit.findings), plan=fit.plan,
        remedies=tuple(_baked_remedies(network, board, fit)))


def _baked_layers(network: Network, fit: Fit) -> Iterator[CheckedLayer]:
    for number, (stage, layer) in enumerate(zip(fit.stages, fit.layers, strict=True)):
        operations = stage_operations(stage, network.timesteps)
        words = stage.computed[1] * stage.computed[2] * stage.placement.groups * stage.placement.sum_words
        yield CheckedLayer(
            index=layer.index, kind=layer.kind, weight_rows=layer.weight_rows, spike_words=layer.spike_words,
            words=words, clocks=layer.clocks, operations=operations,
            bound=bound_of(clocks=layer.clocks, words=words, pixels=fit.config.pixels and number == 0),
            utilisation=operations / (layer.clocks * fit.config.sop_per_cycle))


def _baked_remedies(network: Network, board: Board, fit: Fit) -> Iterator[Remedy]:
    if fit.geometry is not None:
        yield Remedy(circuit=BAKED, text=fit.remedy, networks=(network,), board=board.name, geometry=fit.geometry)
    elif fit.change is not None:
        yield Remedy(circuit=BAKED, text=fit.change.text, networks=fit.change.networks, board=board.name)


def check_flash(network: Network, board: Board, clock_hz: float, *, double: bool = False,
                remedies: bool, sizes: Sequence[ImageSize] | None = None) -> CircuitCheck:
    """Check the circuit that reads weights from the flash: the overlay, whose array is that of the board.

    Parameters
    ----------
    network, board, remedies
        As of :func:`check`.
    sizes
        As of :func:`check_baked`.
    clock_hz : :class:`float`
        Its clock, in Hz.
    double : :class:`bool`
        Read the flash at both edges of its clock.

    Returns
    -------
    :class:`CircuitCheck`
        With every limit that is exceeded; a board whose FPGA cannot read its flash so is one of them.
    """
    config = streamed_config(board)
    obstacles: tuple[Finding, ...] = ()
    mode: Any = FlashMode.QUAD
    try:
        mode = flash_mode(board, double=double)
    except BoardError as error:
        obstacles = (Finding(where=board.title, problem=str(error).rpartition(": ")[0]),)
    inspection = inspect_for_board(network, board)
    findings = (*obstacles, *inspection.findings)
    exact    = not findings
    counted: Sequence[PassCycles] = (
        count_cycles(config, inspection.passes, mode=mode, clock_hz=clock_hz).passes if exact else
        least_cycles(config, inspection.passes, mode=mode))
    layers = tuple(_flash_layers(network, config, inspection, counted))
    return CircuitCheck(
        name=FLASH, bears=Bears.YES if exact else Bears.NO, lanes=config.lanes, width=config.width,
        timesteps=config.timesteps, clock_mhz=clock_hz / 1e6, layers=layers,
        resources=tuple(_flash_resources(board, config, inspection)), clocks=sum(layer.clocks for layer in layers),
        clocks_are_exact=exact, findings=tuple(_finding(FLASH, finding) for finding in findings),
        remedies=tuple(_flash_remedies(network, board, findings, sizes)) if remedies and findings else (),
        plan=inspection.plan(network, config) if exact else None)


def _flash_layers(network: Network, config: EngineConfig, inspection: Inspection,
                  counted: Sequence[PassCycles]) -> Iterator[CheckedLayer]:
    pixels = {item.layer for item in inspection.passes if item.pixels}
    for layer in layer_fits(network, config, inspection.passes, counted):
        cycles = layer.cycles
        yield CheckedLayer(
            index=layer.index, kind=layer.kind, weight_rows=layer.weight_rows, spike_words=layer.spike_words,
            words=cycles.words, clocks=cycles.clocks, operations=layer.operations, utilisation=layer.utilisation,
            bound=bound_of(clocks=cycles.clocks, words=cycles.words, stalls=cycles.flash_stalls,
                           pixels=layer.index in pixels))


def _flash_resources(board: Board, config: EngineConfig, inspection: Inspection) -> Iterator[Resource]:
    if inspection.whole:
        words = most_alive(inspection.passes)[1] if inspection.allocation is None else inspection.allocation.words
        yield Resource(name="spike words", used=words, available=config.spike_words, evidence="exact")
        yield Resource(name="flash bytes", used=stream_bytes(config, inspection.passes), available=stream_room(board),
                       evidence="exact")
    report = prebuilt_overlay(board)
    if report is not None and report.lc is not None and report.ebr is not None:
        yield Resource(name="logic cells", used=report.lc, available=report.lc_total, evidence="routed")
        yield Resource(name="block RAMs", used=report.ebr, available=report.ebr_total, evidence="routed")


def _flash_remedies(network: Network, board: Board, findings: Sequence[Finding],
                    sizes: Sequence[ImageSize] | None) -> Iterator[Remedy]:
    """Find what helps; each is yielded only after the check of it has passed."""
    texts = []
    if any(finding.remedy for finding in findings):
        # The export moves constants that need more bits than there are. What it makes of them, this check cannot know;
        # that constants near them are borne, it can.
        network = rounded(network, streamed_config(board))
        texts.append(next(finding.remedy for finding in findings if finding.remedy).replace("BOARD", board.name))
        if _runs(network, board):
            yield Remedy(circuit=FLASH, text=joined(texts), networks=(network,), board=board.name)
            return
    for other in BOARDS.values():
        if other.name != board.name and _runs(network, other):
            yield Remedy(circuit=FLASH, text=joined([*texts, f"use --board {other.name}"]), networks=(network,),
                         board=other.name)
    if board.flash_wiring is None:
        return
    remaining = [finding for finding in findings if not finding.remedy]
    for change in find_changes(network, streamed_config(board), remaining, lambda candidate: _runs(candidate, board),
                               sizes=sizes):
        found = change.after(texts) if texts else change
        yield Remedy(circuit=FLASH, text=found.text, networks=found.networks, board=board.name)


def _runs(network: Network, board: Board) -> bool:
    return board.flash_wiring is not None and not inspect_for_board(network, board).findings
