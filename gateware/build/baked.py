"""The build of one network into a bitstream: ``--weights baked``."""

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Mapping

from arch import network_file
from boards import BOARDS
from boards.programming import Programming
from gateware.build.flow import build_in_folder, check_build_tools, make_bitstream, say, verify
from gateware.build.request import Request
from gateware.build.steps import report as reports
from gateware.build.steps.place import Remedies
from gateware.build.steps.plan import Planned, fewer_lanes, find_fit, make_plan, with_line
from gateware.build.steps.simulate import Samples, Simulate, samples_of
from gateware.build.steps.step import Keeper
from gateware.build.steps.verify import check_rungs, rungs_of
from gateware.build.text import format_report
from gateware.check.checking import check
from gateware.mapper.fit import DoesNotFitError, format_fit
from gateware.reports.archive import pack
from gateware.reports.folder import BASE, BITSTREAM, NETLIST, check_folder, default_folder
from gateware.reports.network import Report
from gateware.swap.base import Base
from gateware.swap.filling import Filling
from gateware.swap.marks import marked
from gateware.top import Top
from models import DEFAULT_NETWORK
from sim.chip.builds import baked_chip
from sim.chip.engine import Rung
from sim.rtl import check_tools
from support.command_line import print_line
from support.errors import printable

__all__ = ["build_baked"]


def _request(arguments: argparse.Namespace, seed_seconds: float) -> Request:
    board = BOARDS[arguments.board]
    clock_hz = board.default_clock_hz if arguments.clock is None else arguments.clock * 1e6
    board.check_clock(clock_hz)
    baud = board.default_bauds(clock_hz)[0] if arguments.baud is None else arguments.baud
    file = DEFAULT_NETWORK if arguments.network is None else arguments.network
    network = network_file.load(file)
    also = {printable(str(other)): network_file.load(other) for other in arguments.also or ()}
    return Request(
        network=network, also=also, name=printable(network_file.name_of(network, file)),
        board=board, clock_hz=clock_hz, baud=baud, baud_is_given=arguments.baud is not None,
        lanes=arguments.lanes, width=arguments.width, seeds=arguments.seeds, seed_seconds=seed_seconds)


def _remedies(request: Request, lanes: int) -> Remedies:
    fewer = fewer_lanes(request, lanes)
    return Remedies(smaller=() if fewer is None else (f"--lanes {fewer}",), otherwise="a smaller network")


def _run_steps(request: Request, made: Planned, keeper: Keeper, report: Report, samples: Samples | None,
               rungs: Mapping[Rung, Samples]) -> tuple[Report, dict[str, bytes]]:
    """Run the steps; returns the report and the other files of the result."""
    board, config = request.board, made.plan.config
    # The network comes in when the bitstream is packed: the circuit is placed once for all that it runs.
    filling = Filling(plan=made.plan, clock_hz=request.clock_hz)
    source = marked(config, image_bytes=filling.info.image_bytes, result_words=filling.info.result_words)
    design = board.fpga.design_files(
        board.platform(), Top(config, source, board=board, clock_hz=request.clock_hz, baud=request.baud))
    done = make_bitstream(
        request, design, keeper, remedies=lambda: _remedies(request, config.lanes), filling=filling,
        what=f"{request.name} for {board.title}: P = {config.lanes}, W = {config.width}, T = {config.timesteps}")
    base = Base(board=board, clock_hz=request.clock_hz, baud=request.baud, config=config,
                image_bytes=filling.info.image_bytes, classes=request.network.classes, routed=done.routed).to_bytes()
    netlist = pack(done.netlist)
    report = reports.with_bitstream(reports.with_placements(report, done.placements), done.bitstream, netlist)
    report = dataclasses.replace(report, base_sha256=hashlib.sha256(base).hexdigest())
    if samples is not None:
        simulation, record = keeper.run(Simulate(made.plan, samples, expected_cycles=made.cycles.total))
        say("simulate", f"{simulation.images} samples of {samples.dataset} on the RTL of this build", record)
        report = reports.with_simulation(report, samples, simulation)
    report = verify(report, done, keeper, rungs, depends={"filling": filling.digest()},
                    engine=lambda bitstream: baked_chip(
                        filling, board=board, netlist=done.netlist, bitstream=bitstream,
                        divisor=board.divisor(request.clock_hz, request.baud)))
    return report, {BITSTREAM: done.bitstream, BASE: base, NETLIST: netlist}


def build_baked(arguments: argparse.Namespace, *, seed_seconds: float) -> None:
    """Build, simulate and report what the command line asks for; raises what becomes the error line.

    Parameters
    ----------
    arguments : :class:`argparse.Namespace`
    seed_seconds : :class:`float`
        Longest place and route of one seed.
    """
    request = _request(arguments, seed_seconds)
    path = arguments.output or default_folder(request.board, request.name)
    programming = None
    if not arguments.dry_run:
        check_folder(path)
        if arguments.program:
            programming = Programming(request.board, programmer=arguments.programmer)
        check_build_tools(request)
    fit = find_fit(request)
    if arguments.json:
        answer = check(request.network, request.board, fit=fit,
                       clock_hz=None if arguments.clock is None else request.clock_hz)
        print_line(json.dumps(answer.to_json(), indent=2))
    if fit.plan is None:
        if not arguments.json:
            print_line(format_fit(fit))
        raise DoesNotFitError(fit)
    request = with_line(request, fit.plan)
    made = make_plan(fit.plan)
    report = reports.planned(request, made)
    if arguments.json:
        return
    if arguments.dry_run:
        print_line(f"{format_report(report)}\n\n{format_fit(fit)}")
        return

    samples = None if arguments.no_simulation else samples_of(request.network)
    rungs = rungs_of(arguments, samples_of(request.network))
    if samples is not None or rungs:
        check_tools()
    check_rungs(request.board, rungs)
    build_in_folder(
        path, arguments, run_steps=lambda keeper: _run_steps(request, made, keeper, report, samples, rungs),
        format_report=format_report, programming=programming)
