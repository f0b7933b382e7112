"""Lays a network out for a streamed circuit: the one place that decides what fits."""

from arch.network import Network
from boards.board import Board
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.mapper.streamed.allocation import allocate
from gateware.mapper.streamed.limits import network_findings, pass_findings
from gateware.mapper.streamed.lowering import SumsError, lower
from gateware.mapper.streamed.plan import StreamedPlan

__all__ = ["lay_out", "streamed_config"]


def lay_out(network: Network, config: EngineConfig, *, keep: bool = False) -> StreamedPlan:
    """Lay a network out.

    Parameters
    ----------
    network : :class:`Network`
    config : :class:`EngineConfig`
    keep : bool
        Give every map a place of its own, so that all can be read after an inference: for simulations.

    Raises
    ------
    :exc:`ConfigError`
        If it does not fit.
    """
    for finding in network_findings(network, config):
        raise ConfigError(str(finding))
    try:
        passes = lower(network, config)
    except SumsError as error:
        raise ConfigError(str(error)) from None
    for finding in pass_findings(passes, config):
        raise ConfigError(str(finding))
    allocation = allocate(passes, config.spike_words, keep=keep)
    if allocation is None:
        raise ConfigError(f"network: maps must be at most {config.spike_words} words together")
    return StreamedPlan(network=network, config=config, passes=passes, allocation=allocation)


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
