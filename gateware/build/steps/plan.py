"""The plan: the network on a circuit of the board, with exact clocks and estimated size. Runs no tool."""

import dataclasses

from gateware.build.request import Request
from gateware.mapper.choice import check_fit
from gateware.mapper.cycles import Cycles, count_cycles
from gateware.mapper.fit import Fit
from gateware.mapper.memories import count_block_rams
from gateware.mapper.plan import Plan

__all__ = ["Planned", "fewer_lanes", "find_fit", "make_plan"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Planned:
    """A network that fits, by all that is known before synthesis."""

    plan: Plan
    #: Exact clocks of an inference.
    cycles: Cycles
    #: Estimates.
    logic_cells: int
    block_rams: int


def find_fit(request: Request) -> Fit:
    """Say whether the network fits the board, and what is in its way.

    Raises
    ------
    :exc:`gateware.engine.configuration.ConfigError`
        If no circuit has the geometry that was asked for.
    """
    return check_fit(request.network, request.board, lanes=request.lanes, width=request.width)


def fewer_lanes(request: Request, lanes: int) -> int | None:
    """Most lanes below ``lanes`` with which the network fits the board; None without."""
    for fewer, width in request.board.geometries:
        if fewer < lanes and check_fit(request.network, request.board, lanes=fewer, width=width).plan is not None:
            return fewer
    return None


def make_plan(request: Request, plan: Plan) -> Planned:
    """Count the clocks of a plan, and estimate its size on the board."""
    fpga = request.board.fpga
    return Planned(plan=plan, cycles=count_cycles(plan), block_rams=count_block_rams(plan.config, fpga),
                   logic_cells=fpga.logic_cells(plan.config))
