"""Describes a network on its circuit for the host."""

from arch import network_file
from arch.link import Info, InputEncoding
from arch.network import Encoding
from gateware.mapper.plan import Plan
from gateware.mapper.streamed.plan import StreamedPlan

__all__ = ["info_of"]


def info_of(plan: Plan | StreamedPlan, *, clock_hz: float, digest: str | None = None) -> Info:
    """Make the info block of a plan.

    Parameters
    ----------
    plan : :class:`gateware.mapper.plan.Plan` or :class:`gateware.mapper.streamed.plan.StreamedPlan`
    clock_hz : :class:`float`
        Clock of the circuit, in Hz; the host is told it in kHz.
    digest : :class:`str`, optional
        :func:`arch.network_file.digest` of the network, if it is known.
    """
    network, config = plan.network, plan.config
    if network.input.encoding is Encoding.EVENTS:
        encoding = InputEncoding.EVENTS
    else:
        encoding = InputEncoding.OFFSET if network.input.zero_point else InputEncoding.UNSIGNED
    return Info(
        lanes=config.lanes, width=config.width, circuit_timesteps=config.timesteps, timesteps=network.timesteps,
        encoding=encoding, channels=network.input.channels, image_height=network.input.height,
        image_width=network.input.width, classes=network.classes, clock_khz=round(clock_hz / 1000),
        digest=bytes.fromhex(digest or network_file.digest(network))[:8])
