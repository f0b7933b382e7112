"""The report of a network on a circuit before any tool has run."""

import math
import pathlib
import shlex
from typing import Any

from arch import network_file
from arch.certificate import certificate_of
from arch.link import BYTE_BITS, CRC_BYTES, HEADER_BYTES
from boards import Board
from gateware.mapper.bound import bound_of
from gateware.mapper.cycles import count_cycles
from gateware.mapper.line import loading_cycles
from gateware.mapper.memories import count_block_rams
from gateware.mapper.plan import Plan, synaptic_operations
from gateware.reports.network import ArrayUtilisation, LayerReport, Report
from gateware.system import System
from support.provenance import revision, tool_versions

__all__ = ["planned_network"]


def _test_file(command: Any) -> str | None:
    """Name of the test images in the command of an export."""
    if not isinstance(command, str):
        return None
    try:
        words = shlex.split(command)
        return pathlib.PurePath(words[words.index("--test-images") + 1]).name
    except (ValueError, IndexError):
        return None


def planned_network(plan: Plan, *, name: str, board: Board, clock_hz: float, baud: int) -> Report:
    """Report what is known without a toolchain.

    Parameters
    ----------
    plan : :class:`gateware.mapper.plan.Plan`
    name : :class:`str`
        Of the network, for people.
    board, clock_hz, baud
        How it is to run; the clock is in Hz.
    """
    cycles, network = count_cycles(plan), plan.network
    config, there = plan.config, board.fpga.resources
    divisor = board.divisor(clock_hz, baud)
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
            cycles=cycles.stages[number], word_cycles=cycles.words[number], synaptic_operations=operations[number],
            utilisation=round(operations[number] / (cycles.stages[number] * config.sop_per_cycle), 4),
            bound=bound_of(clocks=cycles.stages[number], words=cycles.words[number],
                           pixels=config.pixels and number == 0).value)
        for number, stage in enumerate(plan.stages)]
    after_first = sum(operations[1:]) / (max(1, sum(cycles.stages[1:])) * config.sop_per_cycle)
    metadata = network.metadata
    return Report(
        network=name, board=board.name, network_sha256=network_file.digest(network), revision=revision(),
        tool_versions=tool_versions(*board.fpga.packages),
        lc_total=there.logic_cells, ebr_total=there.block_rams, spram_total=there.single_port_rams,
        dsp_total=there.multipliers,
        clock_mhz=clock_hz / 1e6, baud=baud,
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
        lc_estimate=board.fpga.logic_cells(config),
        ebr_estimate=count_block_rams(config, board.fpga))
