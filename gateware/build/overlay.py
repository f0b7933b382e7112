"""The build of the overlay, one bitstream for any network: ``--weights flash``; and images of models for it."""

import argparse
import pathlib
from collections.abc import Mapping

from arch import network_file
from arch.flash.circuit import Circuit
from boards import BOARDS, Board
from boards.programming import LoadedImage, Programming, load_flash_image
from gateware.build.flow import build_in_folder, check_build_tools, make_bitstream, say, verify
from gateware.build.request import OverlayRequest
from gateware.build.steps import report as reports
from gateware.build.steps.place import Remedies
from gateware.build.steps.simulate import Samples
from gateware.build.steps.simulate_overlay import SimulateOverlay, overlay_samples
from gateware.build.steps.step import Keeper
from gateware.build.steps.verify import check_rungs, rungs_of
from gateware.build.text import format_overlay
from gateware.engine.signature import circuit_of
from gateware.mapper.streamed.choice import streamed_config
from gateware.reports.archive import pack
from gateware.reports.folder import (
    BITSTREAM,
    NETLIST,
    OVERLAY,
    REPORT,
    BuildFolder,
    check_folder,
    overlay_folder,
)
from gateware.reports.overlay import OverlayReport
from gateware.reports.prebuilt import overlay_clock_hz, prebuilt_overlay
from gateware.streamed_top import StreamedTop, flash_mode
from sim.chip.builds import overlay_chip
from sim.chip.engine import Rung
from sim.rtl import check_tools
from support.command_line import print_line
from support.files import read_file

__all__ = ["build_overlay", "program_image"]

#: Largest report that is read.
_REPORT_BYTES = 1 << 24


def _request(arguments: argparse.Namespace, seed_seconds: float) -> OverlayRequest:
    board = BOARDS[arguments.board]
    mode = flash_mode(board, double=arguments.flash_rate == "double")
    clock_hz = overlay_clock_hz(board) if arguments.clock is None else arguments.clock * 1e6
    board.check_clock(clock_hz)
    baud = board.default_bauds(clock_hz)[0] if arguments.baud is None else arguments.baud
    return OverlayRequest(
        name=OVERLAY, board=board, clock_hz=clock_hz, baud=baud, baud_is_given=arguments.baud is not None,
        seeds=arguments.seeds, seed_seconds=seed_seconds, config=streamed_config(board), mode=mode)


def _remedies() -> Remedies:
    """The circuit is that of every model for the board, so no option makes it smaller."""
    return Remedies(smaller=(), otherwise="another --board")


def _run_steps(request: OverlayRequest, keeper: Keeper, report: OverlayReport,
               with_samples: bool, rungs: Mapping[Rung, Samples]) -> tuple[OverlayReport, dict[str, bytes]]:
    """Run the steps; returns the report and the other files of the result."""
    board, config = request.board, request.config
    fpga = board.fpga
    design = fpga.design_files(board.platform(), StreamedTop(
        board=board, clock_hz=request.clock_hz, baud=request.baud, double=request.double))
    done = make_bitstream(
        request, design, keeper, remedies=_remedies,
        what=f"overlay for {board.title}: P = {config.lanes}, W = {config.width}, T = {config.timesteps}")
    report = reports.with_placements(report, done.placements)
    netlist = pack(done.netlist)
    report = reports.with_overlay_bitstream(report, done.bitstream, netlist, fpga.design_digest(design))
    if with_samples:
        network, samples = overlay_samples()
        simulation, record = keeper.run(SimulateOverlay(request, network, samples))
        say("simulate", f"{simulation.samples.images} samples of {samples.dataset} on the RTL of this build, with a "
                        f"model of {simulation.network} from its flash", record)
        report = reports.with_overlay_simulation(report, samples, simulation)
    network, _ = overlay_samples()
    report = verify(report, done, keeper, rungs, depends={"network": network_file.digest(network)},
                    engine=lambda bitstream: overlay_chip(
                        network, board=board, mode=request.mode, clock_hz=request.clock_hz, netlist=done.netlist,
                        bitstream=bitstream, divisor=board.divisor(request.clock_hz, request.baud)))
    return report, {BITSTREAM: done.bitstream, NETLIST: netlist}


def build_overlay(arguments: argparse.Namespace, *, seed_seconds: float) -> None:
    """Build, simulate and report what the command line asks for; raises what becomes the error line.

    Parameters
    ----------
    arguments : :class:`argparse.Namespace`
    seed_seconds : :class:`float`
        Longest place and route of one seed.
    """
    request = _request(arguments, seed_seconds)
    board, path = request.board, arguments.output or overlay_folder(request.board)
    report = reports.planned_overlay(request)
    if arguments.dry_run:
        print_line(format_overlay(report, shipped=prebuilt_overlay(board)))
        return
    check_folder(path)
    programming = None
    if arguments.program:
        image = None if arguments.image is None else load_flash_image(
            arguments.image, board, circuit=circuit_of(request.config), clock_hz=request.clock_hz)
        programming = Programming(board, programmer=arguments.programmer, image=image)
    check_build_tools(request)
    rungs = rungs_of(arguments, overlay_samples()[1])
    if not arguments.no_simulation or rungs:
        check_tools()
    check_rungs(board, rungs)

    build_in_folder(
        path, arguments,
        run_steps=lambda keeper: _run_steps(request, keeper, report, not arguments.no_simulation, rungs),
        format_report=format_overlay, programming=programming)


def _built(path: pathlib.Path) -> OverlayReport | None:
    """Read the report of the bitstream that was built in a folder; None if none was."""
    try:
        content = read_file(path / REPORT, limit=_REPORT_BYTES)
    except FileNotFoundError:
        return None
    return OverlayReport.from_json(content, name=str(path / REPORT))


def _image_for(path: pathlib.Path, image: pathlib.Path, board: Board) -> LoadedImage:
    """Check an image against the bitstream that was built in a folder, or else against that of this release."""
    report = _built(path)
    circuit: Circuit = circuit_of(streamed_config(board)) if report is None else report.signature
    return load_flash_image(image, board, circuit=circuit,
                            clock_hz=None if report is None else report.clock_mhz * 1e6)


def program_image(arguments: argparse.Namespace) -> None:
    """Write an image of models to a board that has the overlay already; nothing is built.

    Raises what becomes the error line, before anything is written.
    """
    board = BOARDS[arguments.board]
    board.overlay_wiring()
    path = arguments.output or overlay_folder(board)
    check_folder(path)
    programming = Programming(board, programmer=arguments.programmer,
                              image=_image_for(path, arguments.image, board))
    with BuildFolder.opened(path) as folder:
        programming.write(folder.work, bitstream=None)
