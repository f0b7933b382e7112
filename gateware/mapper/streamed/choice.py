"""Lays a network out for a streamed circuit: the one place that decides what fits."""

from arch.network import Network
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.mapper.streamed.allocation import allocate
from gateware.mapper.streamed.lowering import SumsError, lower
from gateware.mapper.streamed.plan import StreamedPlan

__all__ = ["lay_out"]


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
    try:
        passes = lower(network, config)
    except SumsError as error:
        raise ConfigError(str(error)) from None
    allocation = allocate(passes, config.spike_words, keep=keep)
    if allocation is None:
        raise ConfigError(f"network: maps must be at most {config.spike_words} words together")
    return StreamedPlan(network=network, config=config, passes=passes, allocation=allocation)
