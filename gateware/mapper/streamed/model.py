"""Makes a model for the flash of a plan: a section for each pass, and what the header says."""

import numpy as np

from arch import network_file
from arch.flash.image import Model
from arch.flash.stream import Section
from gateware.engine.signature import circuit_of
from gateware.mapper.info import info_of
from gateware.mapper.streamed.contents import pass_constants, pass_program
from gateware.mapper.streamed.plan import StreamedPlan

__all__ = ["model_of"]


def model_of(plan: StreamedPlan, *, name: str, clock_hz: float) -> Model:
    """Make the model of a plan.

    Parameters
    ----------
    plan : :class:`StreamedPlan`
    name : :class:`str`
        What a host is told; cut to the bytes that the info block has for it.
    clock_hz : :class:`float`
        Clock of the circuit, in Hz.

    Raises
    ------
    :exc:`arch.link.LinkError`
        If the name is not printable.
    """
    sections = []
    for item in plan.passes:
        constants = np.array(pass_constants(plan, item), dtype=np.uint64).reshape(item.groups, plan.config.lanes)
        sections.append(Section(program=tuple(pass_program(plan, item)), constants=constants, weights=item.weights))
    digest = network_file.digest(plan.network)
    return Model(
        circuit=circuit_of(plan.config), info=info_of(plan, clock_hz=clock_hz, digest=digest, name=name),
        digest=bytes.fromhex(digest), buffers=plan.allocation.buffers, sections=sections)
