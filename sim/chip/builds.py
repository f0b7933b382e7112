"""Chips of builds: what is in the folder of a build, simulated with a network."""

import hashlib
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

from arch import network_file
from arch.flash.image import build_image
from arch.network import Network
from boards import Board, board_named
from boards.families.family import SimulatedNetlist
from boards.families.running import run_invocation
from gateware.engine.signature import circuit_of
from gateware.flash.reader import FlashMode
from gateware.mapper.cycles import count_cycles
from gateware.mapper.streamed.choice import lay_out, streamed_config
from gateware.mapper.streamed.cycles import count_cycles as count_streamed_cycles
from gateware.mapper.streamed.model import model_of
from gateware.reports.build import BuildReport
from gateware.reports.folder import BITSTREAM, REPORT
from gateware.reports.netlist import load_netlist
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from gateware.reports.reader import report_in
from gateware.swap.base import load_base
from gateware.swap.filling import Filling
from gateware.swap.matching import map_into
from sim.chip.engine import ChipEngine, Rung, pins_of
from sim.report import Circuit
from sim.streamed_rtl import BOOT_CLOCKS
from sim.weights import Weights
from support.errors import InputError, printable
from support.files import read_file
from support.progress import Progress

__all__ = ["baked_chip", "engine_of_build", "overlay_chip"]

#: Largest bitstream that is read, in bytes.
_BITSTREAM_BYTES = 1 << 24
#: Seconds from the start of a clock to the end of the reset, at least.
_RESET_SECONDS = 20e-6


def _turned_back(board: Board, bitstream: bytes, netlist: Mapping[str, bytes], *, flash: bool) -> SimulatedNetlist:
    """Turn a bitstream back into cells."""
    fpga, (name,) = board.fpga, board.fpga.unpack().inputs
    with Progress("bitstream", first_seconds=2) as shown, tempfile.TemporaryDirectory(prefix="sterna-") as work:
        shown.update("find what its bits make of the chip")
        folder = pathlib.Path(work)
        (folder / name).write_bytes(bitstream)
        run_invocation(fpga.unpack(), folder)
        unpacked = {file: (folder / file).read_bytes() for file in fpga.unpack().outputs}
        return fpga.simulated_bitstream(unpacked, netlist, pins_of(board, flash=flash))


def baked_chip(filling: Filling, *, board: Board, netlist: Mapping[str, bytes], divisor: int,
               bitstream: bytes | None = None, **options: Any) -> ChipEngine:
    """Return a chip with a baked circuit as an engine.

    Parameters
    ----------
    filling : :class:`gateware.swap.filling.Filling`
        The network, laid out for the circuit.
    board : :class:`boards.Board`
    netlist : mapping
        Inputs of place and route, by name.
    divisor : :class:`int`
        Clocks per bit of the host link.
    bitstream : :class:`bytes`, optional
        What is simulated, with the network in it; else the netlist is.
    options
        Further arguments of :class:`sim.chip.engine.ChipEngine`.

    Raises
    ------
    :exc:`boards.BoardError`
        If there is a cell that cannot be simulated.
    :exc:`support.errors.ToolchainError`
        If a tool of the simulation is missing or fails.
    """
    if bitstream is None:
        chip = filling.simulated_netlist(board.fpga, netlist, pins_of(board, flash=False))
    else:
        chip = _turned_back(board, bitstream, netlist, flash=False)
    return ChipEngine(
        filling.plan.network, chip, rung=Rung.NETLIST if bitstream is None else Rung.BITSTREAM, divisor=divisor,
        predicted_cycles=count_cycles(filling.plan).total,
        boot_clocks=round(filling.clock_hz * _RESET_SECONDS) + filling.config.spike_words, **options)


def overlay_chip(network: Network, *, board: Board, mode: Any, clock_hz: float, netlist: Mapping[str, bytes],
                 divisor: int, bitstream: bytes | None = None, image: bytes | None = None, model: int = 0,
                 **options: Any) -> ChipEngine:
    """Return a chip with the overlay as an engine, beside a flash with a model of the network.

    Parameters
    ----------
    network : :class:`arch.network.Network`
    mode : :class:`gateware.flash.reader.FlashMode`
    clock_hz : :class:`float`
    image : :class:`bytes`, optional
        Contents of the flash where the board has its models, instead of the model of the network alone.
    model : :class:`int`
        Number of the network's model in the image.
    board, netlist, divisor, bitstream, options
        As of :func:`baked_chip`, and so are the errors.

    Raises
    ------
    :exc:`gateware.engine.configuration.ConfigError`
        If the network does not fit.
    """
    plan = lay_out(network, streamed_config(board), mode=mode)
    cycles = count_streamed_cycles(plan.config, plan.passes, mode=mode, clock_hz=clock_hz)
    if image is None:
        image = build_image([model_of(plan, name="network", clock_hz=clock_hz)], base=board.models_at,
                            flash_bytes=board.flash_bytes)
    if bitstream is None:
        chip = board.fpga.simulated_netlist(netlist, pins_of(board, flash=True))
    else:
        chip = _turned_back(board, bitstream, netlist, flash=True)
    return ChipEngine(
        network, chip, rung=Rung.NETLIST if bitstream is None else Rung.BITSTREAM, divisor=divisor,
        predicted_cycles=cycles.total, flash=(board.models_at, image), model=model, fill_clocks=cycles.fill,
        boot_clocks=round(clock_hz * _RESET_SECONDS) + BOOT_CLOCKS, **options)


def engine_of_build(rung: Rung, network: Network, folder: pathlib.Path, *, file: str, image: bytes | None = None,
                    model: int = 0) -> tuple[ChipEngine, Circuit]:
    """Return what is in the folder of a build as an engine for a network, and which circuit it is.

    Parameters
    ----------
    rung : :class:`Rung`
    network : :class:`arch.network.Network`
        For the netlist of a build with weights in its bitstream, any that its circuit takes; for the bitstream, the one
        that is in it.
    folder : :class:`pathlib.Path`
    file : :class:`str`
        Where the network is, for messages.
    image, model
        As of :func:`overlay_chip`, for an overlay.

    Raises
    ------
    :exc:`support.errors.InputError`, :exc:`OSError`
        If the folder has no such build, or it does not run the network.
    :exc:`support.errors.ToolchainError`
        If a tool of the simulation is missing or fails.
    """
    report = report_in(folder, option="--build")
    if isinstance(report, OverlayReport):
        return _of_overlay(rung, network, folder, report, image, model)
    if image is not None:
        raise InputError(f"{printable(str(folder))}: must be the folder of an overlay with --flash, not that of a "
                         f"network: leave --flash out, or give another folder with --build")
    return _of_network(rung, network, folder, report, file)


def _bitstream(folder: pathlib.Path, report: BuildReport) -> bytes:
    """Read the bitstream of a folder, and check that it is that of the report."""
    path = folder / BITSTREAM
    content = read_file(path, limit=_BITSTREAM_BYTES)
    if (digest := hashlib.sha256(content).hexdigest()) != report.bitstream_sha256:
        raise InputError(f"{printable(str(path))}: must be the one of the {REPORT} beside it, whose sha256 is "
                         f"{report.bitstream_sha256}, not {digest}: build the folder again")
    return content


def _circuit(report: BuildReport, board: Board, weights: Weights) -> Circuit:
    return Circuit(weights=weights, chosen=False, board=board.name, board_title=board.title, lanes=report.lanes,
                   width=report.width, timesteps=report.timesteps, clock_hz=report.clock_mhz * 1e6)


def _of_network(rung: Rung, network: Network, folder: pathlib.Path, report: Report,
                file: str) -> tuple[ChipEngine, Circuit]:
    board = board_named(report.board)
    base, _ = load_base(folder)
    plan = map_into(network, base, folder=printable(str(folder)), file=printable(file))
    bitstream = None
    if rung is Rung.BITSTREAM:
        if (digest := network_file.digest(network)) != report.network_sha256:
            raise InputError(f"{printable(str(folder / BITSTREAM))}: must have the network {printable(file)} in it "
                             f"(sha256 {digest[:16]}), not {printable(report.network)} "
                             f"({report.network_sha256[:16]}): give another folder with --build, or put the network in "
                             f"with python -m export {printable(file)} --into {printable(str(folder))}")
        bitstream = _bitstream(folder, report)
    engine = baked_chip(Filling(plan=plan, clock_hz=base.clock_hz), board=board, bitstream=bitstream,
                        netlist=load_netlist(folder, board, sha256=report.netlist_sha256),
                        divisor=board.divisor(base.clock_hz, base.baud))
    return engine, _circuit(report, board, Weights.BAKED)


def _of_overlay(rung: Rung, network: Network, folder: pathlib.Path, report: OverlayReport, image: bytes | None,
                model: int) -> tuple[ChipEngine, Circuit]:
    board, clock_hz = board_named(report.board), report.clock_mhz * 1e6
    if circuit_of(streamed_config(board)) != report.signature:
        raise InputError(f"{printable(str(folder / REPORT))}: must be of the circuit of this release: build the "
                         f"overlay again")
    engine = overlay_chip(network, board=board, mode=getattr(FlashMode, report.flash_mode.upper()), clock_hz=clock_hz,
                          bitstream=_bitstream(folder, report) if rung is Rung.BITSTREAM else None,
                          image=image, model=model,
                          netlist=load_netlist(folder, board, sha256=report.netlist_sha256),
                          divisor=board.divisor(clock_hz, report.baud))
    return engine, _circuit(report, board, Weights.FLASH)
