"""From a design to its bitstream, by the steps that are the same for every design: synthesise, place, pack."""

import argparse
import contextlib
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from boards.families.family import Invocation
from boards.programming import Programming
from gateware.build.request import Target
from gateware.build.steps import report as reports
from gateware.build.steps.pack import Pack
from gateware.build.steps.place import (
    NoPlacementError,
    Place,
    Placement,
    Placements,
    Remedies,
    SeedTimeoutError,
    TooLargeError,
    no_seed_closes,
    too_large,
)
from gateware.build.steps.report import SomeReport
from gateware.build.steps.simulate import Samples
from gateware.build.steps.step import Keeper, Record
from gateware.build.steps.synthesise import Netlist, Synthesise
from gateware.build.steps.verify import Verify
from gateware.build.written_page import write_page
from gateware.reports.folder import BITSTREAM, REPORT, BuildFolder
from gateware.swap.filling import Filling
from sim.chip.engine import ChipEngine, Rung
from support.command_line import print_line
from support.errors import InputError, ToolchainError
from support.tools import find_tool

__all__ = ["STEPS", "Made", "build_in_folder", "check_build_tools", "make_bitstream", "say", "verify"]

#: Kinds of steps that --from takes, in their order.
STEPS = ("synthesise", "place", "pack", "simulate")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A bitstream, and what it is made of."""

    bitstream: bytes
    placements: Placements
    #: The netlist, and the routed design before it was filled: the inputs of placing, and of packing, by name.
    netlist: Mapping[str, bytes]
    routed: Mapping[str, bytes]


def say(step: str, text: str, record: Record | None = None) -> None:
    """Print what a step found out."""
    print_line(f"{step:<12} {text}{' (kept from an earlier run)' if record is not None and record.kept else ''}")


def check_build_tools(target: Target) -> None:
    """Check that every tool is installed before one of them works for minutes."""
    fpga = target.board.fpga
    for step in (fpga.synthesise(), fpga.place(seed=1, clock_hz=target.clock_hz), fpga.pack()):
        find_tool(step.tool)


def _place(target: Target, keeper: Keeper, netlist: Netlist, at: pathlib.Path,
           remedies: Callable[[], Remedies]) -> tuple[Placements, pathlib.Path]:
    """Place and route seed after seed; returns what came of them, and the folder of the first that closes."""
    placements: list[Placement] = []
    out_of_time: list[int] = []
    unplaced: list[int] = []
    chosen, routed = None, at
    for seed in target.seeds_to_try:
        step = Place(target, netlist, at, seed=seed)
        try:
            placement, record = keeper.run(step)
        except SeedTimeoutError:
            out_of_time.append(seed)
            say("place+route", f"seed {seed}: did not end within {target.seed_seconds:g} s")
            continue
        except NoPlacementError:
            unplaced.append(seed)
            say("place+route", f"seed {seed}: no legal placement")
            continue
        except TooLargeError as error:
            raise too_large(target, error, keeper.folder(step), remedies()) from None
        placements.append(placement)
        say("place+route", f"seed {seed}: {placement.fmax_mhz:.2f} MHz, {placement.used.logic_cells} LC"
                           f"{'' if placement.closes else f', misses {target.clock_hz / 1e6:g} MHz'}", record)
        if placement.closes and chosen is None:
            chosen, routed = placement, keeper.folder(step)
            if target.seeds is None:
                break
    if chosen is None:
        raise no_seed_closes(target, placements, out_of_time, unplaced, at.parent, remedies())
    return Placements(chosen=chosen, placements=placements, out_of_time=out_of_time, unplaced=unplaced), routed


def make_bitstream(target: Target, design: Mapping[str, bytes], keeper: Keeper, *, what: str,
                   remedies: Callable[[], Remedies], filling: Filling | None = None) -> Made:
    """Run the steps.

    Parameters
    ----------
    target : :class:`Target`
    design : mapping
        Files of the design, as the family has elaborated it, by name.
    keeper : :class:`Keeper`
    what : :class:`str`
        The design, for who waits.
    remedies : callable
        Says what makes the design smaller; asked only if it is too large or too slow.
    filling : :class:`gateware.swap.filling.Filling`, optional
        The network that takes the place of the marks in the memories of the design.

    Raises
    ------
    :exc:`gateware.build.request.BuildError`
        If the design does not fit, or no seed closes its clock.
    :exc:`boards.BoardError`
        If the contents of the memories cannot be replaced.
    :exc:`support.errors.ToolchainError`
        If a tool fails.
    """
    synthesise = Synthesise(target, design)
    netlist, record = keeper.run(synthesise)
    say("synthesise", what, record)
    placements, routed = _place(target, keeper, netlist, keeper.folder(synthesise), remedies)
    pack = Pack(target.board, routed, filling=filling)
    packed, _ = keeper.run(pack)
    return Made(bitstream=(keeper.folder(pack) / packed.file).read_bytes(), placements=placements,
                netlist=_files(routed, target.board.fpga.place(seed=1, clock_hz=target.clock_hz)),
                routed=_files(routed, target.board.fpga.pack()))


def _files(folder: pathlib.Path, invocation: Invocation) -> Mapping[str, bytes]:
    """Return the inputs of a tool that are in a folder."""
    return {name: (folder / name).read_bytes() for name in invocation.inputs}


def verify(report: SomeReport, made: Made, keeper: Keeper, rungs: Mapping[Rung, Samples], *,
           engine: Callable[[bytes | None], ChipEngine], depends: Mapping[str, Any]) -> SomeReport:
    """Simulate what the tools have made, and compare it with the reference.

    Parameters
    ----------
    report
        Of the bitstream.
    made : :class:`Made`
    keeper : :class:`Keeper`
    rungs : mapping
        The samples of each rung.
    engine : callable
        Starts the simulation of a bitstream, or of the netlist if it is given None.
    depends : mapping
        What the simulation depends on beside bitstream and netlist, as JSON.

    Returns
    -------
    The report with what was found.

    Raises
    ------
    :exc:`gateware.build.request.BuildError`
        If there is a difference.
    :exc:`support.errors.ToolchainError`
        If a tool of the simulation is missing or fails.
    """
    for rung, samples in rungs.items():
        after_place = rung is Rung.BITSTREAM
        step = Verify(rung, samples, engine=functools.partial(engine, made.bitstream if after_place else None),
                      depends={"netlist": report.netlist_sha256,
                               "bitstream": report.bitstream_sha256 if after_place else None, **depends})
        simulation, record = keeper.run(step)
        say("verify", f"{simulation.images} samples of {samples.dataset} on the {rung} of this build", record)
        report = reports.with_verification(report, rung.value, simulation)
    return report


def build_in_folder(path: pathlib.Path, arguments: argparse.Namespace, *,
                    run_steps: Callable[[Keeper], tuple[SomeReport, Mapping[str, bytes]]],
                    format_report: Callable[[SomeReport], str], programming: Programming | None) -> None:
    """Run the steps of a build in its folder, publish the files of its result together, and program the board.

    The page is made last: if it cannot be written, the result is there all the same, and on the board. It is made too
    if programming fails, and the error of programming is the one that is raised, whatever becomes of the page.

    Parameters
    ----------
    path : :class:`pathlib.Path`
        The folder of the build.
    arguments : :class:`argparse.Namespace`
        Of the command; ``first_step`` is the first one to repeat.
    run_steps : callable
        Runs the steps with a :class:`Keeper`; returns the report and the other files of the result, by name.
    format_report : callable
        Makes the text of the report.
    programming : :class:`Programming`, optional
        Writes to the board.
    """
    begun = time.monotonic()
    first = STEPS.index(arguments.first_step) if arguments.first_step is not None else len(STEPS)
    with BuildFolder.opened(path) as folder:
        keeper = Keeper(folder.work, repeat=STEPS[first:])
        try:
            report, files = run_steps(keeper)
        finally:
            keeper.prune()
        report = reports.finished(report, keeper.records, time.monotonic() - begun)
        folder.publish({**files, REPORT: report.to_json()})
        print_line("")
        print_line(format_report(report))
        print_line(f"\nwrote {path / BITSTREAM} and {path / REPORT} in {report.build_seconds:g} s")
        page = functools.partial(write_page, path, report, network=arguments.network)
        if programming is not None:
            _program(programming, folder.work, files[BITSTREAM], page)
        print_line(page())


def _program(programming: Programming, folder: pathlib.Path, bitstream: bytes, page: Callable[[], str]) -> None:
    """Program the board; where that fails, write the page before its error is raised, if the page can be written."""
    try:
        programming.write(folder, bitstream=bitstream)
    except (InputError, ToolchainError, OSError):
        with contextlib.suppress(InputError, OSError):
            print_line(page())
        raise
