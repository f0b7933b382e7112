"""The plan: the network on a circuit of the board, with exact clocks. Runs no tool."""

import contextlib
import dataclasses
import math

from arch.link import BAUD_RATES
from gateware.build.request import BuildError, Request
from gateware.engine.configuration import ConfigError
from gateware.mapper.choice import check_fit, fit_of_all, map_network, plan_for_board
from gateware.mapper.cycles import Cycles, count_cycles
from gateware.mapper.fit import Fit
from gateware.mapper.line import keeps_up
from gateware.mapper.plan import Plan
from gateware.swap.matching import difference_of_sizes

__all__ = ["Planned", "fewer_lanes", "find_fit", "make_plan", "plans_of_also", "with_line"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Planned:
    """A network that fits, by all that is known before synthesis."""

    plan: Plan
    #: Exact clocks of an inference.
    cycles: Cycles


def find_fit(request: Request) -> Fit:
    """Say whether the network fits the board, and what is in its way.

    Raises
    ------
    :exc:`gateware.engine.configuration.ConfigError`
        If no circuit has the geometry that was asked for.
    :exc:`BuildError`
        If the network fits and one that its circuit is to run, too, does not; or no circuit runs them all.
    """
    fit = check_fit(request.network, request.board, lanes=request.lanes, width=request.width)
    if fit.plan is None or not request.also:
        return fit
    sizes = request.network.input
    for file, network in request.also.items():
        try:
            plan_for_board(network, request.board, lanes=request.lanes, width=request.width)
        except ConfigError as error:
            raise BuildError(f"--also {file}: {error}") from None
        if network.input.encoding is not sizes.encoding:
            said: str | None = f"its input must be {sizes.encoding.value}, not {network.input.encoding.value}"
        else:
            said = difference_of_sizes(network, image_bytes=math.prod(sizes.shape), classes=request.network.classes)
        if said is not None:
            raise BuildError(f"--also {file}: {said}, as in the network that is built: build it without --also")
    try:
        return fit_of_all([request.network, *request.also.values()], request.board, lanes=request.lanes,
                          width=request.width)
    except ConfigError as error:
        raise BuildError(f"{request.name} and --also {', '.join(request.also)}: {error}: build them without "
                         "--also") from None


def fewer_lanes(request: Request, lanes: int) -> int | None:
    """Most lanes below ``lanes`` with which the same request can be built; None without.

    The width is the one that was asked for, or else the one that ``--lanes`` alone has.
    """
    networks = [request.network, *request.also.values()]
    for fewer, _ in request.board.geometries:
        if fewer < lanes:
            with contextlib.suppress(ConfigError, BuildError):
                plan = fit_of_all(networks, request.board, lanes=fewer, width=request.width).plan
                if plan is not None:
                    with_line(request, plan)
                    return fewer
    return None


def with_line(request: Request, plan: Plan) -> Request:
    """Return the request with a rate of the host link at which no pixel is lost: the one asked for, or the fastest.

    Raises
    ------
    :exc:`BuildError`
        If pixels are lost at the rate that was asked for, or at every rate.
    """
    board, clock_hz = request.board, request.clock_hz
    plans = {"": plan} | plans_of_also(request, plan)
    # The one that takes most clocks for a pixel.
    file = max(plans, key=lambda each: plans[each].stages[0].turns)
    plan = plans[file]
    bauds = board.default_bauds(clock_hz) if not request.baud_is_given else [request.baud]
    for baud in bauds:
        if keeps_up(plan, board.divisor(clock_hz, baud)):
            return dataclasses.replace(request, baud=baud)
    slower = [baud for baud in BAUD_RATES if baud < bauds[-1] and clock_hz % baud == 0
              and keeps_up(plan, board.divisor(clock_hz, baud))]
    remedy = f"use --baud {max(slower)}" if slower else "use a faster --clock, or a larger stride in the first layer"
    where = f"--also {file}: " if file else ""
    raise BuildError(f"{where}baud {bauds[-1]} brings pixels faster than the first layer takes them, with windows of "
                     f"{plan.stages[0].turns} x {plan.stages[0].turns} around each: {remedy}")


def plans_of_also(request: Request, plan: Plan) -> dict[str, Plan]:
    """Lay out the networks that a circuit is to run, too, for that of ``plan``; by their files."""
    return {file: map_network(network, plan.config) for file, network in request.also.items()}


def make_plan(plan: Plan) -> Planned:
    """Count the clocks of a plan."""
    return Planned(plan=plan, cycles=count_cycles(plan))
