"""Lays a network out for a streamed circuit: the one place that decides what fits."""

from collections.abc import Iterator, Sequence
from typing import Any

from arch.network import Encoding, Network
from boards.board import Board
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.flash.reader import FlashMode
from gateware.mapper.limits import Finding, above
from gateware.mapper.streamed.allocation import allocate, most_alive
from gateware.mapper.streamed.cycles import MAX_CYCLES, exceeding_cycles
from gateware.mapper.streamed.limits import network_findings, pass_findings
from gateware.mapper.streamed.lowering import LoweringError, lower
from gateware.mapper.streamed.passes import Pass
from gateware.mapper.streamed.plan import StreamedPlan

__all__ = ["StreamedFitError", "lay_out", "streamed_config"]


class StreamedFitError(ConfigError):
    """A network does not fit a streamed circuit; ``findings`` has every limit that it exceeds."""

    def __init__(self, findings: Sequence[Finding]):
        super().__init__(str(findings[0]))
        self.findings = tuple(findings)


def lay_out(network: Network, config: EngineConfig, *, keep: bool = False,
            mode: Any = FlashMode.QUAD) -> StreamedPlan:
    """Lay a network out.

    Parameters
    ----------
    network : :class:`Network`
    config : :class:`EngineConfig`
    keep : bool
        Give every map a place of its own, so that all can be read after an inference: for simulations.
    mode : :class:`gateware.flash.reader.FlashMode`
        How fast the flash of the board is.

    Raises
    ------
    :exc:`StreamedFitError`
        If it does not fit.
    """
    findings = list(network_findings(network, config))
    passes: tuple[Pass, ...] = ()
    allocation = None
    # A circuit without pixels has no slices into which pixels could be cut.
    if config.pixels or network.input.encoding is Encoding.EVENTS:
        try:
            passes = lower(network, config)
        except LoweringError as error:
            findings += [*error.findings, *pass_findings(error.passes, config)]
        else:
            findings += pass_findings(passes, config)
            allocation = allocate(passes, config.spike_words, keep=keep)
            if allocation is None:
                findings += _shortage(passes, config, keep=keep)
    if not findings:
        clocks = exceeding_cycles(config, passes, mode=mode)
        if clocks is not None:
            findings += above("network", "clocks of an inference", clocks, MAX_CYCLES)
    if findings:
        raise StreamedFitError(findings)
    assert allocation is not None
    return StreamedPlan(network=network, config=config, passes=passes, allocation=allocation)


def _shortage(passes: Sequence[Pass], config: EngineConfig, *, keep: bool) -> Iterator[Finding]:
    """Say which pass has the most words of maps in use."""
    number, words = most_alive(passes, keep=keep)
    limit = config.spike_words
    problem = (f"words of the maps in use must be at most {limit}, not {words}" if words > limit else
               f"the {words} words of the maps in use must lie in the {limit} words of the spike memory, "
               "and no order of the maps was found in which they do")
    yield Finding(where=passes[number].name, problem=problem, value=words, limit=limit,
                  remedy="use fewer channels or smaller images")


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
