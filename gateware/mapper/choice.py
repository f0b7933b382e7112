"""Chooses a circuit for a network, and lays the network out: the one place that decides what fits."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from arch.network import Encoding, Network
from boards.board import Board
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.mapper.advice import Change, ImageSize, find_change, known_remedy
from gateware.mapper.contents import memory_contents
from gateware.mapper.cycles import count_cycles, estimate_cycles
from gateware.mapper.fit import DoesNotFitError, Fit, LayerFit
from gateware.mapper.limits import (
    Finding,
    board_findings,
    circuit_findings,
    memory_findings,
    needs,
    unsupported_layers,
    width_findings,
)
from gateware.mapper.placement import place
from gateware.mapper.plan import PlacedStage, Plan
from gateware.mapper.stages import stages_of

__all__ = ["check_fit", "choose_config", "first_limit", "fit_of_all", "joint_circuit", "limit_of_circuit",
           "map_network", "plan_for_board"]


def choose_config(network: Network, *, lanes: int, width: int, timesteps: int, spike_words: int,
                  weight_rows: int) -> EngineConfig:
    """Choose the smallest widths and depths with which a circuit of this geometry runs the network.

    Parameters
    ----------
    network : :class:`Network`
    lanes, width, timesteps : :class:`int`
        P, W and T of the array.
    spike_words, weight_rows : :class:`int`
        Depth of the memories, from the board.

    Raises
    ------
    :exc:`ConfigError`
        If no circuit of this geometry runs the network.
    """
    base = EngineConfig(lanes=lanes, width=width, timesteps=timesteps, spike_words=spike_words, weight_rows=weight_rows,
                        pixels=network.input.encoding is Encoding.PIXELS)
    for finding in _findings(network, base):
        raise ConfigError(_with_circuit(finding))
    return dataclasses.replace(base, **needs(network, base, place(base, stages_of(network))))


def map_network(network: Network, config: EngineConfig) -> Plan:
    """Lay a network out for a circuit that is there.

    Raises
    ------
    :exc:`ConfigError`
        If the network does not fit; the message names the layer, the limit, and the parameters of a circuit without it.
    """
    stages = place(config, stages_of(network))
    finding = next(_circuit_findings(network, config, stages), None)
    if finding is not None:
        raise ConfigError(_with_circuit(finding))
    return Plan(network=network, config=config, stages=stages, contents=memory_contents(network, config, stages))


def limit_of_circuit(network: Network, config: EngineConfig) -> Finding | None:
    """Return the first limit of a circuit that is there which the network exceeds; None if the network fits it."""
    return next(_circuit_findings(network, config, place(config, stages_of(network))), None)


def _circuit_findings(network: Network, config: EngineConfig, stages: Sequence[PlacedStage]) -> Iterator[Finding]:
    """Find what keeps a network, whose ``stages`` have their places, from a circuit that is there."""
    return itertools.chain(unsupported_layers(network), memory_findings(network, config, stages),
                           circuit_findings(network, config, stages))


def _with_circuit(finding: Finding) -> str:
    """Say what is wrong, and which circuit has not this limit."""
    parameters = ", ".join(f"{name} = {value}" for name, value in finding.circuit.items())
    remedy = f"use a circuit with {parameters}" if parameters else finding.remedy
    return f"{finding}: {remedy}" if remedy else str(finding)


def _findings(network: Network, base: EngineConfig, board: Board | None = None) -> Iterator[Finding]:
    """Find what keeps a network from every circuit of the geometry and memories of ``base``, quickest checks first.

    With ``board``, also what the smallest such circuit takes that the board has not.
    """
    yield from unsupported_layers(network)
    stages = place(base, stages_of(network))
    yield from memory_findings(network, base, stages)
    needed = needs(network, base, stages)
    if widths := list(width_findings(network, stages, needed)):
        yield from widths
    elif board is not None:
        yield from board_findings(dataclasses.replace(base, **needed), board)


def first_limit(network: Network, board: Board) -> Finding | None:
    """Return a limit that keeps the network from the largest array of a board; None if it fits one of the arrays.

    :func:`check_fit` finds all limits and what would help, which takes long for a large network.
    """
    limits = [next(_findings(network, _base_config(network, board, geometry), board), None)
              for geometry in board.geometries]
    return limits[0] if all(limits) else None


def _base_config(network: Network, board: Board, geometry: tuple[int, int]) -> EngineConfig:
    return EngineConfig(lanes=geometry[0], width=geometry[1], timesteps=board.timesteps, spike_words=board.spike_words,
                        weight_rows=board.weight_rows, pixels=network.input.encoding is Encoding.PIXELS)


def check_fit(network: Network, board: Board, *, lanes: int | None = None, width: int | None = None,
              remedies: bool = True, sizes: Sequence[ImageSize] | None = None) -> Fit:
    """Find the largest array of a board that runs the network; else every limit that is in its way.

    Parameters
    ----------
    network : :class:`Network`
    board : :class:`boards.Board`
    lanes, width : :class:`int`, optional
        Ask for this geometry instead; what is not given is that of the board's largest array.
    remedies : :class:`bool`
        Look for a remedy, which takes long for a large network.
    sizes : sequence of :class:`gateware.mapper.advice.ImageSize`, optional
        All smaller images that a remedy may ask for, the largest first; by default any.

    Returns
    -------
    :class:`Fit`
        With the plan, or without: then the findings are those of the geometry that lacks least, and the remedy is a
        change that was tried.

    Raises
    ------
    :exc:`ConfigError`
        If ``lanes`` and ``width`` are no geometry of any circuit.
    """
    asked = lanes is not None or width is not None
    geometries = _geometries(board, lanes, width)

    def fits(candidate: Network, geometry: tuple[int, int]) -> bool:
        return next(_findings(candidate, _base_config(candidate, board, geometry), board), None) is None

    chosen = next((geometry for geometry in geometries if fits(network, geometry)), None)
    if chosen is not None:
        plan = map_network(network, choose_config(
            network, lanes=chosen[0], width=chosen[1], timesteps=board.timesteps, spike_words=board.spike_words,
            weight_rows=board.weight_rows))
        return _fit(network, board, plan.config, plan.stages, plan=plan)
    tried = []
    for geometry in geometries:
        base = _base_config(network, board, geometry)
        findings = tuple(_findings(network, base, board))
        tried.append((max(finding.excess for finding in findings), base, findings))
    _, base, findings = min(tried, key=lambda entry: entry[0])
    stages = place(base, stages_of(network))
    if not remedies:
        return _fit(network, board, base, stages, findings=findings)
    other = next((geometry for geometry in board.geometries if asked and fits(network, geometry)), None)
    if other is not None:
        return _fit(network, board, base, stages, findings=findings, geometry=other,
                    remedy=f"use {other[0]} lanes and a width of {other[1]}, with which it fits")
    change = find_change(network, lambda candidate: any(fits(candidate, geometry) for geometry in geometries),
                         timesteps=board.timesteps, sizes=sizes)
    return _fit(network, board, base, stages, findings=findings, change=change,
                remedy=known_remedy(network, timesteps=board.timesteps) if change is None else change.text)


def joint_circuit(configs: Sequence[EngineConfig]) -> EngineConfig:
    """Return the smallest circuit that runs what each of some circuits of one geometry and kind of input runs.

    Raises
    ------
    :exc:`ConfigError`
        If its membranes would be wider than any circuit's.
    """
    fraction = max(config.fraction for config in configs)
    largest = {name: max(getattr(config, name) for config in configs) for name in dataclasses.asdict(configs[0])}
    # A membrane with fewer fractional bits is scaled up.
    membrane = max(config.membrane_width + fraction - config.fraction for config in configs)
    return EngineConfig(**largest | {"membrane_width": membrane})


def fit_of_all(networks: Sequence[Network], board: Board, *, lanes: int | None = None,
               width: int | None = None) -> Fit:
    """Find the largest array of a board in one circuit that runs each of several networks.

    Parameters
    ----------
    networks : sequence of :class:`Network`
        With one kind of input; the plan is that of the first.
    board : :class:`boards.Board`
    lanes, width : :class:`int`, optional
        As of :func:`check_fit`.

    Raises
    ------
    :exc:`ConfigError`
        If no geometry runs them all.
    """
    reason = ""
    for geometry in _geometries(board, lanes, width):
        bases = [_base_config(network, board, geometry) for network in networks]
        findings = [next(_findings(network, base, board), None) for network, base in zip(networks, bases, strict=True)]
        finding = next((one for one in findings if one is not None), None)
        if finding is None:
            config = joint_circuit([
                dataclasses.replace(base, **needs(network, base, place(base, stages_of(network))))
                for network, base in zip(networks, bases, strict=True)])
            finding = next(board_findings(config, board), None)
        if finding is None:
            plan = map_network(networks[0], config)
            return _fit(networks[0], board, config, plan.stages, plan=plan)
        reason = reason or str(finding)
    raise ConfigError(f"{board.title} must have an array that runs all of these networks: {reason}")


def _geometries(board: Board, lanes: int | None, width: int | None) -> Sequence[tuple[int, int]]:
    """Geometries to try, the largest first: the one asked for, or those of the board."""
    if lanes is None and width is None:
        return board.geometries
    largest = board.geometries[0]
    return ((largest[0] if lanes is None else lanes, largest[1] if width is None else width),)


def _fit(network: Network, board: Board, config: EngineConfig, stages: Sequence[PlacedStage], *,
         findings: tuple[Finding, ...] = (), remedy: str = "", change: Change | None = None,
         geometry: tuple[int, int] | None = None, plan: Plan | None = None) -> Fit:
    """Put an answer together."""
    clocks = count_cycles(plan).stages if plan is not None else estimate_cycles(config, stages)
    layers = tuple(
        LayerFit(index=stage.index, kind=stage.layer.kind, pool=stage.pool, source=stage.source, target=stage.target,
                 weight_rows=stage.placement.weight_rows, clocks=clocks[number],
                 spike_words=stage.map_words(config) if number < len(stages) - 1 else 0)
        for number, stage in enumerate(stages))
    return Fit(board=board.title, lanes=config.lanes, width=config.width, config=config, stages=tuple(stages),
               layers=layers, findings=findings,
               weight_rows=config.weight_rows, spike_words=config.spike_words,
               image_words=stages[0].window_words(config), remedy=remedy, change=change, geometry=geometry, plan=plan)


def plan_for_board(network: Network, board: Board, *, lanes: int | None = None, width: int | None = None) -> Plan:
    """Lay a network out for the largest array of a board that runs it; parameters as of :func:`check_fit`.

    Raises
    ------
    :exc:`DoesNotFitError`
        If no geometry runs the network, or not the one asked for.
    """
    fit = check_fit(network, board, lanes=lanes, width=width)
    if fit.plan is None:
        raise DoesNotFitError(fit)
    return fit.plan
