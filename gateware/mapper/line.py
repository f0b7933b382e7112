"""Whether the engine keeps up with the line: a pixel that finds the FIFO full is lost, and its image an overrun."""

import math

from arch.link import BYTE_BITS
from gateware.engine.accelerator import PIXEL_FIFO_DEPTH
from gateware.engine.window_writer import WindowWriter
from gateware.mapper.plan import Plan

__all__ = ["keeps_up", "loading_cycles"]


def _image_bytes(plan: Plan) -> int:
    return math.prod(plan.network.input.shape)


def loading_cycles(plan: Plan, divisor: int) -> int:
    """Clocks from the first pixel on a line of ``divisor`` clocks per bit until the image is in the spike memory."""
    return _image_bytes(plan) * max(BYTE_BITS * divisor, WindowWriter.value_cycles_of(plan.stages[0].turns))


def keeps_up(plan: Plan, divisor: int, *, alone: bool = False) -> bool:
    """Whether no image overruns on a line of ``divisor`` clocks per bit.

    Either a pixel is written before the next one comes, or those that come meanwhile have room in the FIFO.

    Parameters
    ----------
    plan
        The network on its circuit.
    divisor
        Clocks per bit of the line.
    alone
        Whether images come one at a time, each after the result of the one before. Otherwise the engine computes while
        pixels arrive: they get their clocks when the FIFO is half full, only what is left of it is room, and each
        write of the engine's own takes a clock from them.
    """
    comes = BYTE_BITS * divisor
    takes = WindowWriter.value_cycles_of(plan.stages[0].turns)
    room  = PIXEL_FIFO_DEPTH
    if not alone:
        takes += -(-takes // plan.config.cooldown_cycles)
        room //= 2
    # While the image comes, all of its pixels but comes / takes of them are left waiting.
    return _image_bytes(plan) * (takes - comes) <= room * takes
