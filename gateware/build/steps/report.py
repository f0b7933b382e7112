"""The report: what the steps have found out, by the names of :class:`gateware.reports.build.BuildReport`.

:func:`planned` begins that of a network and :func:`planned_overlay` that of the overlay; the other functions add to
either.
"""

import dataclasses
import hashlib
import statistics
from collections.abc import Sequence
from typing import TypeVar

from arch import network_file
from gateware.build.request import OverlayRequest, Request
from gateware.build.steps.place import Placements
from gateware.build.steps.plan import Planned, plans_of_also
from gateware.build.steps.simulate import Samples, Simulation
from gateware.build.steps.simulate_overlay import OverlaySimulation
from gateware.build.steps.step import Record
from gateware.engine.signature import circuit_of
from gateware.flash.phy import FlashPins
from gateware.mapper.cycles import count_cycles
from gateware.reports.build import BuildReport, StepReport, VerifiedReport
from gateware.reports.network import Also, Report
from gateware.reports.overlay import OverlayReport
from gateware.reports.planned import planned_network
from support.errors import printable
from support.provenance import revision, tool_versions

__all__ = ["finished", "planned", "planned_overlay", "with_bitstream", "with_overlay_bitstream",
           "with_overlay_simulation", "with_placements", "with_simulation", "with_verification"]

#: Either kind of report.
SomeReport = TypeVar("SomeReport", bound=BuildReport)


def planned(request: Request, made: Planned) -> Report:
    """Report what is known without a toolchain."""
    report = planned_network(made.plan, name=request.name, board=request.board, clock_hz=request.clock_hz,
                             baud=request.baud)
    return dataclasses.replace(report, also=[
        Also(file=file, network=printable(network_file.name_of(plan.network, file)),
             network_sha256=network_file.digest(plan.network), cycles_per_inference=count_cycles(plan).total)
        for file, plan in plans_of_also(request, made.plan).items()])


def planned_overlay(request: OverlayRequest) -> OverlayReport:
    """Report what is known of an overlay without a toolchain."""
    board, config, clock_hz = request.board, request.config, request.clock_hz
    there, wiring = board.fpga.resources, board.overlay_wiring(double=request.double)
    return OverlayReport(
        board=board.name, device=board.fpga.device, revision=revision(),
        tool_versions=tool_versions(*board.fpga.packages),
        lc_total=there.logic_cells, ebr_total=there.block_rams, spram_total=there.single_port_rams,
        dsp_total=there.multipliers, clock_mhz=clock_hz / 1e6, baud=request.baud,
        lanes=config.lanes, width=config.width, timesteps=config.timesteps,
        accumulator_width=config.accumulator_width, membrane_width=config.membrane_width, fraction=config.fraction,
        sop_per_cycle=config.sop_per_cycle, peak_gsops=round(config.sop_per_cycle * clock_hz / 1e9, 3),
        spike_words=config.spike_words, circuit=circuit_of(config).to_bytes().hex(),
        parameters=dataclasses.asdict(config), flash_mode=request.mode.name.lower(), flash_late=wiring.late,
        flash_latency=FlashPins.latency, flash_bytes=board.flash_bytes, models_at=board.models_at)


def with_placements(report: SomeReport, found: Placements) -> SomeReport:
    """Add what place and route found."""
    fmax, used = [placement.fmax_mhz for placement in found.placements], found.chosen.used
    return dataclasses.replace(
        report, fmax_mhz=fmax, fmax_median_mhz=statistics.median(fmax),
        seeds=[placement.seed for placement in found.placements], seeds_out_of_time=list(found.out_of_time),
        seeds_unplaced=list(found.unplaced), lc=used.logic_cells, ebr=used.block_rams, spram=used.single_port_rams,
        dsp=used.multipliers, seed=found.chosen.seed)


def with_bitstream(report: SomeReport, bitstream: bytes, netlist: bytes) -> SomeReport:
    """Add which bitstream and which netlist the report is of."""
    return dataclasses.replace(report, bitstream_sha256=hashlib.sha256(bitstream).hexdigest(),
                               netlist_sha256=hashlib.sha256(netlist).hexdigest())


def with_overlay_bitstream(report: OverlayReport, bitstream: bytes, netlist: bytes,
                           design_sha256: str) -> OverlayReport:
    """Add which bitstream the report is of, and what it was made of."""
    return dataclasses.replace(with_bitstream(report, bitstream, netlist), bitstream_bytes=len(bitstream),
                               design_sha256=design_sha256)


def with_simulation(report: SomeReport, samples: Samples, simulation: Simulation) -> SomeReport:
    """Add what the simulation of the samples found."""
    return dataclasses.replace(
        report, sample_dataset=samples.dataset, sample_images=simulation.images,
        sample_accuracy=round(simulation.correct / simulation.images, 4), sample_seconds=simulation.seconds)


def with_verification(report: SomeReport, rung: str, simulation: Simulation) -> SomeReport:
    """Add what the simulation of a netlist or a bitstream found."""
    return dataclasses.replace(report, verified=[*report.verified, VerifiedReport(
        rung=rung, images=simulation.images, seconds=simulation.seconds)])


def with_overlay_simulation(report: OverlayReport, samples: Samples, simulation: OverlaySimulation) -> OverlayReport:
    """Add what the simulation of the samples found, and with which model."""
    return dataclasses.replace(
        with_simulation(report, samples, simulation.samples), sample_network=simulation.network,
        sample_network_sha256=simulation.network_sha256, sample_cycles=simulation.cycles)


def finished(report: SomeReport, records: Sequence[Record], seconds: float) -> SomeReport:
    """Add how the steps came to their results, and how long the run took."""
    return dataclasses.replace(report, steps=[StepReport(name=record.name, seconds=record.seconds, kept=record.kept)
                                              for record in records], build_seconds=round(seconds, 1))
