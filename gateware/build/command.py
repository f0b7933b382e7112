"""Build a bitstream: ``python -m gateware.build --board icebreaker``."""

import argparse
import hashlib
import logging
import pathlib
import time
from collections.abc import Sequence

from arch import network_file
from boards import BOARDS
from gateware.build.folder import BITSTREAM, REPORT, BuildFolder, check_folder, default_folder
from gateware.build.report import Report
from gateware.build.request import DEFAULT_SEEDS, BuildError, Request
from gateware.build.steps import report as reports
from gateware.build.steps.pack import Pack
from gateware.build.steps.place import (
    NoPlacementError,
    Place,
    Placement,
    SeedTimeoutError,
    TooLargeError,
    no_seed_closes,
    too_large,
)
from gateware.build.steps.plan import Planned, find_fit, make_plan, with_line
from gateware.build.steps.simulate import Samples, Simulate, samples_of
from gateware.build.steps.step import Keeper, Record
from gateware.build.steps.synthesise import Netlist, Synthesise
from gateware.build.text import format_report
from gateware.mapper.fit import DoesNotFitError, format_fit
from gateware.top import Top
from models import DEFAULT_NETWORK
from sim.rtl import check_tools
from support.command_line import path_argument, print_line, run
from support.errors import printable
from support.tools import find_tool, run_tool

__all__ = ["STEPS", "build", "create_parser", "main"]

#: Kinds of steps that --from takes, in their order.
STEPS = ("synthesise", "place", "pack", "simulate")

#: Longest place and route of one seed, in seconds. A seed takes about half a minute, but in a full device the placer
#: may not find its way.
SEED_SECONDS = 300.0

#: Options that mean nothing to a dry run, by the name of the argument.
_NOT_DRY = {"seeds": "--seeds", "seed_seconds": "--seed-seconds", "no_simulation": "--no-simulation",
            "program": "--program", "output": "--output", "first_step": "--from"}


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gateware.build", description="Build the bitstream that runs a network on a board.")
    parser.add_argument("--board", metavar="BOARD", choices=sorted(BOARDS), required=True,
                        help="build for BOARD (one of: %(choices)s)")
    parser.add_argument("--network", metavar="FILE", type=path_argument, default=DEFAULT_NETWORK,
                        help="build in the network of FILE, as python -m export writes it (default: the shipped MNIST "
                             "network)")
    parser.add_argument("--clock", metavar="MHZ", type=float,
                        help="run at MHZ (default: that of the board)")
    parser.add_argument("--baud", metavar="N", type=int,
                        help="run the host link at N baud (default: the fastest with eight clocks a bit "
                             "at which no pixel is lost)")
    parser.add_argument("--seeds", metavar="N", type=int,
                        help=f"place and route with seeds 1 to N and report each (default: stop at the first of "
                             f"{DEFAULT_SEEDS} that closes)")
    parser.add_argument("--seed-seconds", metavar="S", type=float,
                        help=f"give each seed S seconds (default: {SEED_SECONDS:g})")
    parser.add_argument("--lanes", metavar="P", type=int,
                        help="compute P output channels at a time (default: the most)")
    parser.add_argument("--width", metavar="W", type=int, help="read W synapses a clock (default: the most)")
    parser.add_argument("--dry-run", action="store_true",
                        help="print fit and exact cycles, but do not run the toolchain")
    parser.add_argument("--no-simulation", action="store_true",
                        help="do not run the shipped samples on the RTL of this build")
    parser.add_argument("--from", metavar="STEP", dest="first_step", choices=STEPS,
                        help="do STEP and what follows again, whatever is kept of an earlier run (one of: %(choices)s)")
    parser.add_argument("--program", action="store_true",
                        help="write the bitstream to the board's flash after the build")
    parser.add_argument("-o", "--output", metavar="DIR", type=path_argument,
                        help="write to DIR (default: build/BOARD/NETWORK)")
    return parser


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if arguments.dry_run:
        for name, option in _NOT_DRY.items():
            if getattr(arguments, name) not in (None, False):
                raise BuildError(f"{option} has no effect with --dry-run: leave one of the two out")
    if arguments.no_simulation and arguments.first_step == "simulate":
        raise BuildError("--from simulate has no effect with --no-simulation: leave one of the two out")


def _request(arguments: argparse.Namespace) -> Request:
    board = BOARDS[arguments.board]
    clock_hz = board.default_clock_hz if arguments.clock is None else arguments.clock * 1e6
    board.check_clock(clock_hz)
    baud = board.default_bauds(clock_hz)[0] if arguments.baud is None else arguments.baud
    network = network_file.load(arguments.network)
    name = network.metadata.get("name")
    return Request(
        network=network, name=printable(name) if isinstance(name, str) and name else arguments.network.stem,
        board=board, clock_hz=clock_hz, baud=baud, baud_is_given=arguments.baud is not None,
        lanes=arguments.lanes, width=arguments.width, seeds=arguments.seeds,
        seed_seconds=SEED_SECONDS if arguments.seed_seconds is None else arguments.seed_seconds)


def _say(step: str, text: str, record: Record | None = None) -> None:
    print_line(f"{step:<12} {text}{' (kept from an earlier run)' if record is not None and record.kept else ''}")


def _place(request: Request, made: Planned, keeper: Keeper, netlist: Netlist, at: pathlib.Path, report: Report
           ) -> tuple[Report, pathlib.Path]:
    """Place and route seed after seed; returns the report with them, and the folder of the first that closes."""
    placements: list[Placement] = []
    out_of_time: list[int] = []
    unplaced: list[int] = []
    chosen, routed = None, at
    lanes = made.plan.config.lanes
    for seed in request.seeds_to_try:
        step = Place(request, netlist, at, seed=seed)
        try:
            placement, record = keeper.run(step)
        except SeedTimeoutError:
            out_of_time.append(seed)
            _say("place+route", f"seed {seed}: did not end within {request.seed_seconds:g} s")
            continue
        except NoPlacementError:
            unplaced.append(seed)
            _say("place+route", f"seed {seed}: no legal placement")
            continue
        except TooLargeError as error:
            raise too_large(request, lanes, error, keeper.folder(step)) from None
        placements.append(placement)
        _say("place+route", f"seed {seed}: {placement.fmax_mhz:.2f} MHz, {placement.used.logic_cells} LC"
                            f"{'' if placement.closes else f', misses {request.clock_hz / 1e6:g} MHz'}", record)
        if placement.closes and chosen is None:
            chosen, routed = placement, keeper.folder(step)
            if request.seeds is None:
                break
    if chosen is None:
        raise no_seed_closes(request, lanes, placements, out_of_time, unplaced, at.parent)
    return reports.with_placements(report, chosen=chosen, placements=placements, out_of_time=out_of_time,
                                   unplaced=unplaced), routed


def _run_steps(request: Request, made: Planned, keeper: Keeper, report: Report,
               samples: Samples | None) -> tuple[Report, bytes]:
    """Run the steps; returns the report and the bitstream."""
    board, config = request.board, made.plan.config
    design = board.fpga.design_files(
        board.platform(), Top(made.plan, board=board, clock_hz=request.clock_hz, baud=request.baud))
    synthesise = Synthesise(request, design)
    netlist, record = keeper.run(synthesise)
    _say("synthesise", f"{request.name} for {board.title}: P = {config.lanes}, W = {config.width}, "
                       f"T = {config.timesteps}", record)
    report, routed = _place(request, made, keeper, netlist, keeper.folder(synthesise), report)
    pack = Pack(board, routed)
    packed, _ = keeper.run(pack)
    bitstream = (keeper.folder(pack) / packed.file).read_bytes()
    report = reports.with_bitstream(report, hashlib.sha256(bitstream).hexdigest())
    if samples is not None:
        simulation, record = keeper.run(Simulate(made.plan, samples, expected_cycles=made.cycles.total))
        _say("simulate", f"{simulation.images} samples of {samples.dataset} on the RTL of this build", record)
        report = reports.with_simulation(report, samples, simulation)
    return report, bitstream


def _check_tools(request: Request, *, program: bool) -> None:
    """Check that every tool is installed before one of them works for minutes."""
    fpga = request.board.fpga
    invocations = fpga.synthesise(), fpga.place(seed=1, clock_hz=request.clock_hz), fpga.pack()
    for tool in (*([request.board.programmer.tool] if program else []), *(step.tool for step in invocations)):
        find_tool(tool)


def _program(request: Request, folder: BuildFolder) -> None:
    """Write the bitstream to the board's flash."""
    programmer = request.board.programmer
    run_tool(programmer.tool, [*programmer.arguments, str((folder.path / BITSTREAM).resolve())], cwd=folder.path,
             log=folder.work / "programmer.log")
    print_line(f"programmed the {request.board.title}")


def build(arguments: argparse.Namespace) -> None:
    """Build, simulate and report what the command line asks for; raises what becomes the error line."""
    _check_options(arguments)
    request = _request(arguments)
    path = arguments.output or default_folder(request.board, request.name)
    if not arguments.dry_run:
        check_folder(path)
        _check_tools(request, program=arguments.program)
    fit = find_fit(request)
    if fit.plan is None:
        print_line(format_fit(fit))
        raise DoesNotFitError(fit)
    request = with_line(request, fit.plan)
    made = make_plan(request, fit.plan)
    report = reports.planned(request, made)
    if arguments.dry_run:
        print_line(f"{format_report(report)}\n\n{format_fit(fit)}")
        return

    samples = None if arguments.no_simulation else samples_of(request.network)
    if samples is not None:
        check_tools()
    begun = time.monotonic()
    first = STEPS.index(arguments.first_step) if arguments.first_step is not None else len(STEPS)
    with BuildFolder.opened(path) as folder:
        keeper = Keeper(folder.work, repeat=STEPS[first:])
        try:
            report, bitstream = _run_steps(request, made, keeper, report, samples)
        finally:
            keeper.prune()
        report = reports.finished(report, keeper.records, time.monotonic() - begun)
        folder.publish({BITSTREAM: bitstream, REPORT: report.to_json()})
        print_line("")
        print_line(format_report(report))
        print_line(f"\nwrote {path / BITSTREAM} and {path / REPORT} in {report.build_seconds:g} s")
        if arguments.program:
            _program(request, folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    return run(create_parser(), build, argv,
               interrupted="interrupted: the same command goes on from the steps that are finished")
