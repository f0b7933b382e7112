"""Run a network on images: on the reference, on the simulated circuit at any stage of its making, or on several.

Engines that run together are compared.
"""

import argparse
import contextlib
import importlib
import json
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from arch import network_file
from arch.images import load_images, load_labels
from arch.network import Network
from reference.engines import (
    ClockDifference,
    Difference,
    Engine,
    EngineResult,
    ReferenceEngine,
    clock_difference,
    first_difference,
    timed,
)
from sim.report import Circuit, Comparison, Report, Weights
from support import command_line, provenance
from support.command_line import EXIT_INPUT, EXIT_OK, path_argument, print_line
from support.errors import InputError, ToolchainError
from support.progress import Progress

__all__ = ["DEFAULT_BOARD", "EngineUnavailableError", "create_parser", "main", "simulate"]

#: Board whose circuit the RTL is, if none is given.
DEFAULT_BOARD = "icebreaker"

#: What runs for each choice, beside the reference, with which it is compared: the circuit before synthesis, and the
#: rungs of :class:`sim.chip.engine.Rung`, which are those of a build.
_SIMULATED = {"reference": (), "rtl": ("rtl",), "both": ("rtl",), "netlist": ("netlist",),
              "bitstream": ("bitstream",), "all": ("rtl", "netlist", "bitstream")}
#: The choices for which a build is looked at.
_OF_BUILD = tuple(engine for engine, simulated in _SIMULATED.items() if {*simulated} & {"netlist", "bitstream"})


class EngineUnavailableError(ToolchainError):
    """An engine cannot run here: a package is missing."""


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("network", metavar="NETWORK", help="read the network from NETWORK (safetensors)")
    parser.add_argument("--images", metavar="FILE", required=True,
                        help="read images from FILE (idx, idx.gz, npy, npz, PNG)")
    parser.add_argument("--labels", metavar="FILE", help="read labels from FILE and report the accuracy")
    parser.add_argument("--first", metavar="N", type=int, help="use only the first N images (default: all)")
    parser.add_argument("--engine", choices=[*_SIMULATED], default="reference",
                        help="compute on the reference, the RTL, or both and compare; or compare the reference with "
                             "the netlist of a build, with its bitstream turned back into a circuit, or with all of "
                             "them (default: reference)")
    parser.add_argument("--build", metavar="DIR", type=path_argument,
                        help="look at the build in the folder DIR (default: that of python -m gateware.build --network "
                             "NETWORK)")
    parser.add_argument("--spikes", action="store_true",
                        help="compare every layer's spikes too, not only scores and classes (with --engine both)")
    parser.add_argument("--weights", type=Weights, choices=[*Weights], metavar="WHERE",
                        help="simulate the circuit with weights baked into its memories, or the one that streams them "
                             "from flash: baked or flash (default: the first that the network fits)")
    parser.add_argument("--flash", metavar="IMAGE",
                        help="simulate with the image of models IMAGE in the flash, one of them NETWORK's (default: "
                             "an image of NETWORK alone)")
    parser.add_argument("--board", metavar="BOARD", help=f"simulate the RTL for BOARD (default: {DEFAULT_BOARD})")
    parser.add_argument("--lanes", metavar="P", type=int,
                        help="simulate P output channels, with baked weights (default: the mapper's)")
    parser.add_argument("--width", metavar="W", type=int,
                        help="simulate W synapses, with baked weights (default: the mapper's)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that make no sense, or have no effect; raises :exc:`InputError`."""
    for name in ("first", "lanes", "width"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} must be 1 or more, not {value}")
    if arguments.spikes and arguments.engine != "both":
        what = "has no names for them" if arguments.engine in _OF_BUILD else "compares nothing"
        raise InputError(f"--spikes must be left out with --engine {arguments.engine}, which {what}: give "
                         f"--engine both")
    for name in ("weights", "flash", "board", "lanes", "width"):
        if getattr(arguments, name) is not None and arguments.engine == "reference":
            raise InputError(f"--{name} must be left out with --engine reference, which has no circuit: give --engine "
                             f"rtl or both")
    if arguments.flash is not None and arguments.weights is Weights.BAKED:
        raise InputError("--flash must be left out with --weights baked, whose circuit reads no flash: give --weights "
                         "flash")
    if arguments.build is not None and arguments.engine not in _OF_BUILD:
        raise InputError(f"--build must be left out with --engine {arguments.engine}, which is of no build: give "
                         f"--engine {', '.join(_OF_BUILD[:-1])} or {_OF_BUILD[-1]}")
    for name in ("lanes", "width"):
        if getattr(arguments, name) is not None and arguments.engine in _OF_BUILD:
            raise InputError(f"--{name} must be left out with --engine {arguments.engine}, which has the geometry of "
                             f"its build")
        if getattr(arguments, name) is not None and (arguments.weights is Weights.FLASH or arguments.flash is not None):
            raise InputError(f"--{name} must be left out with weights from flash, whose circuit has one geometry: give "
                             f"--weights baked")


def _create_engines(network: Network, arguments: argparse.Namespace,
                    stack: contextlib.ExitStack) -> tuple[list[Engine], Circuit | None]:
    """Return the engines in the order in which they run, and the circuit of the RTL; ``stack`` closes them."""
    engines: list[Engine] = []
    circuit = None
    if arguments.engine != "rtl":
        engines.append(ReferenceEngine(network))
    for name in _SIMULATED[arguments.engine]:
        # The reference runs where Amaranth and Verilator are not installed.
        try:
            choice = importlib.import_module("sim.choice")
        except ImportError as error:
            raise EngineUnavailableError(f"engine {name} cannot run here: {error}") from None
        board = DEFAULT_BOARD if arguments.board is None else arguments.board
        # The engine shows the progress of its compilation itself.
        if name == "rtl":
            engine, circuit = choice.choose_engine(network, board=board, weights=arguments.weights,
                                                   lanes=arguments.lanes, width=arguments.width, image=arguments.flash)
        else:
            engine, circuit = choice.choose_build(network, rung=name, board=board, weights=arguments.weights,
                                                  folder=arguments.build, file=arguments.network,
                                                  image=arguments.flash)
        engines.append(stack.enter_context(engine))
    return engines, circuit


def _run(engine: Engine, images: npt.NDArray[Any], spikes: bool) -> tuple[EngineResult, float]:
    """Run one engine, and say how far it is."""
    with Progress(f"engine {engine.name}") as shown:
        return timed(engine, images, spikes=spikes,
                     progress=lambda done, total: shown.update(f"{done} of {total} images"))


def _compared(network: Network, images: npt.NDArray[Any], engines: Sequence[Engine],
              results: Sequence[EngineResult]) -> Comparison:
    """Compare every engine with the first one, and the clocks of a chip with those of the cycle model."""
    difference: Difference | ClockDifference | None = None
    clocks_of = []
    for engine, result in zip(engines[1:], results[1:], strict=True):
        difference = difference or first_difference(network, images, results[0], result, engines[0], engine)
        predicted = getattr(engine, "predicted_cycles", None)
        if predicted is not None:
            clocks_of.append(engine.name)
            difference = difference or clock_difference(result, predicted)
    spikes = results[1].spikes
    return Comparison(
        unseen=results[1].unseen, difference=difference, clocks_of=clocks_of,
        # An array forms no map before its OR-pool.
        spikes_compared=spikes is not None and (not spikes or any(maps is not None for maps in spikes)))


def simulate(arguments: argparse.Namespace) -> Report:
    """Run the engines and return the report; raises what :func:`support.command_line.run` turns into a line."""
    _check(arguments)
    network = network_file.load(arguments.network)
    with Progress("reading images") as shown:
        images = load_images(arguments.images, network, first=arguments.first, asked_by="--first",
                             progress=lambda done, total: shown.update(f"{done >> 20} of {total >> 20} MiB"))
    labels = None
    if arguments.labels is not None:
        labels = load_labels(arguments.labels, classes=network.classes, first=arguments.first, count=len(images))
    results: list[EngineResult] = []
    speeds: dict[str, float] = {}
    comparison = None
    with contextlib.ExitStack() as stack:
        engines, circuit = _create_engines(network, arguments, stack)
        for engine in engines:
            result, speeds[engine.name] = _run(engine, images, arguments.spikes)
            results.append(result)
        if len(engines) > 1:
            comparison = _compared(network, images, engines, results)
    return Report(network=arguments.network, network_sha256=network_file.digest(network), images_per_second=speeds,
                  result=results[-1], labels=labels, comparison=comparison, circuit=circuit,
                  revision=provenance.revision(),
                  tool_versions=provenance.tool_versions("numpy"))


def _work(arguments: argparse.Namespace) -> int:
    report = simulate(arguments)
    print_line(json.dumps(report.to_json()) if arguments.json else report.to_text())
    return EXIT_OK if report.agree else EXIT_INPUT


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; engines that differ are exit code 1, as bad input is."""
    return command_line.run(create_parser(), _work, argv)
