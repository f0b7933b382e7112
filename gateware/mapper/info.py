"""Describes a network on its circuit for the host."""

from arch import network_file
from arch.link import Info, InputEncoding, cut_name
from arch.network import Encoding
from gateware.mapper.plan import Plan
from gateware.mapper.streamed.plan import StreamedPlan
from support.errors import printable

__all__ = ["info_of"]


def info_of(plan: Plan | StreamedPlan, *, clock_hz: float, digest: str | None = None,
            name: str | None = None) -> Info:
    """Make the info block of a plan.

    Parameters
    ----------
    plan : :class:`gateware.mapper.plan.Plan` or :class:`gateware.mapper.streamed.plan.StreamedPlan`
    clock_hz : :class:`float`
        Clock of the circuit, in Hz; the host is told it in kHz.
    digest : :class:`str`, optional
        :func:`arch.network_file.digest` of the network, if it is known.
    name : :class:`str`, optional
        What the host is told, cut to the bytes that the info block has for it; by default the name in the metadata of
        the network, on one printable line, and none without.

    Raises
    ------
    :exc:`arch.link.LinkError`
        If the name is not printable.
    """
    network, config = plan.network, plan.config
    if name is None:
        known = network.metadata.get("name")
        name = printable(known) if isinstance(known, str) else ""
    if network.input.encoding is Encoding.EVENTS:
        encoding = InputEncoding.EVENTS
    else:
        encoding = InputEncoding.OFFSET if network.input.zero_point else InputEncoding.UNSIGNED
    return Info(
        lanes=config.lanes, width=config.width, circuit_timesteps=config.timesteps, timesteps=network.timesteps,
        encoding=encoding, channels=network.input.channels, image_height=network.input.height,
        image_width=network.input.width, classes=network.classes, clock_khz=round(clock_hz / 1000),
        digest=bytes.fromhex(digest or network_file.digest(network))[:8], name=cut_name(name))
