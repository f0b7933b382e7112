"""The report: what the steps have found out, by the names of :class:`gateware.build.report.Report`."""

import dataclasses
import math
import pathlib
import shlex
import statistics
from collections.abc import Sequence
from typing import Any

from arch import network_file
from arch.certificate import certificate_of
from arch.link import BYTE_BITS, CRC_BYTES, HEADER_BYTES
from gateware.build.report import ArrayUtilisation, LayerReport, Report, StepReport
from gateware.build.request import Request
from gateware.build.steps.place import Placement
from gateware.build.steps.plan import Planned
from gateware.build.steps.simulate import Samples, Simulation
from gateware.build.steps.step import Record
from gateware.mapper.line import loading_cycles
from gateware.mapper.plan import synaptic_operations
from gateware.system import System
from support.provenance import revision, tool_versions

__all__ = ["finished", "planned", "with_bitstream", "with_placements", "with_simulation"]



def _test_file(command: Any) -> str | None:
    """Name of the test images in the command of an export."""
    if not isinstance(command, str):
        return None
    try:
        words = shlex.split(command)
        return pathlib.PurePath(words[words.index("--test-images") + 1]).name
    except (ValueError, IndexError):
        return None


def planned(request: Request, made: Planned) -> Report:
    """Report what is known without a toolchain."""
    plan, cycles, network, board = made.plan, made.cycles, request.network, request.board
    config, there, clock_hz = plan.config, board.fpga.resources, request.clock_hz
    divisor = board.divisor(clock_hz, request.baud)
    operations = [synaptic_operations(plan, number) for number in range(len(plan.stages))]
    image, loading = math.prod(network.input.shape) * BYTE_BITS * divisor, loading_cycles(plan, divisor)
    line = image + (HEADER_BYTES + CRC_BYTES) * BYTE_BITS * divisor
    # The image is complete behind its CRC, or when its last pixel is in memory.
    complete = max(CRC_BYTES * BYTE_BITS * divisor + System.start_cycles_of(divisor), loading - image)
    latency = complete + cycles.total
    layers = [
        LayerReport(
            index=stage.index, kind=stage.layer.kind, pool=stage.pool, input=list(stage.source),
            output=list(stage.target), weights=int(stage.layer.weights.size), weight_rows=stage.placement.weight_rows,
            cycles=cycles.stages[number], synaptic_operations=operations[number],
            utilisation=round(operations[number] / (cycles.stages[number] * config.sop_per_cycle), 4))
        for number, stage in enumerate(plan.stages)]
    after_first = sum(operations[1:]) / (max(1, sum(cycles.stages[1:])) * config.sop_per_cycle)
    metadata = network.metadata
    return Report(
        network=request.name, board=board.name, network_sha256=network_file.digest(network), revision=revision(),
        tool_versions=tool_versions(*board.fpga.packages),
        lc_total=there.logic_cells, ebr_total=there.block_rams, spram_total=there.single_port_rams,
        dsp_total=there.multipliers,
        clock_mhz=clock_hz / 1e6, baud=request.baud,
        lanes=config.lanes, width=config.width, timesteps=config.timesteps,
        accumulator_width=config.accumulator_width, membrane_width=config.membrane_width, fraction=config.fraction,
        sop_per_cycle=config.sop_per_cycle, peak_gsops=round(config.sop_per_cycle * clock_hz / 1e9, 3),
        effective_gsops=round(sum(operations) / cycles.total * clock_hz / 1e9, 3),
        cycles_per_inference=cycles.total, latency_ms=round(latency / clock_hz * 1e3, 4),
        images_per_second_link=round(clock_hz / max(line, loading, cycles.total), 1),
        array_utilisation=ArrayUtilisation(
            layers=[layer.utilisation for layer in layers], after_first=round(after_first, 4),
            total=round(sum(operations) / (cycles.total * config.sop_per_cycle), 4)),
        weight_rows=plan.weight_rows, spike_words=plan.spike_words, layers=layers,
        exact=metadata.get("exact"), certified=certificate_of(network).state.value,
        accuracy=metadata.get("accuracy"), accuracy_images=metadata.get("accuracy_images"),
        accuracy_file=_test_file(metadata.get("accuracy_command")), accuracy_command=metadata.get("accuracy_command"),
        lc_estimate=made.logic_cells, ebr_estimate=made.block_rams)


def with_placements(report: Report, *, chosen: Placement, placements: Sequence[Placement],
                    out_of_time: Sequence[int], unplaced: Sequence[int]) -> Report:
    """Add what place and route found; ``chosen`` is the seed of the bitstream."""
    fmax = [placement.fmax_mhz for placement in placements]
    return dataclasses.replace(
        report, fmax_mhz=fmax, fmax_median_mhz=statistics.median(fmax),
        seeds=[placement.seed for placement in placements], seeds_out_of_time=list(out_of_time),
        seeds_unplaced=list(unplaced), lc=chosen.used.logic_cells, ebr=chosen.used.block_rams,
        spram=chosen.used.single_port_rams, dsp=chosen.used.multipliers, seed=chosen.seed)


def with_bitstream(report: Report, sha256: str) -> Report:
    """Add which bitstream the report is of."""
    return dataclasses.replace(report, bitstream_sha256=sha256)


def with_simulation(report: Report, samples: Samples, simulation: Simulation) -> Report:
    """Add what the simulation of the samples found."""
    return dataclasses.replace(
        report, sample_dataset=samples.dataset, sample_images=simulation.images,
        sample_accuracy=round(simulation.correct / simulation.images, 4), sample_seconds=simulation.seconds)


def finished(report: Report, records: Sequence[Record], seconds: float) -> Report:
    """Add how the steps came to their results, and how long the run took."""
    return dataclasses.replace(report, steps=[StepReport(name=record.name, seconds=record.seconds, kept=record.kept)
                                              for record in records], build_seconds=round(seconds, 1))
