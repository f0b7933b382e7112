"""Run a network on images: on the reference, on the simulated circuit at any stage of its making, or on several.

Engines that run together are compared.
"""

import argparse
import contextlib
import dataclasses
import functools
import importlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from arch import network_file
from arch.images import images_digest, load_images, load_labels
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
from sim.verilator import Trace
from support import command_line, provenance
from support.command_line import EXIT_INPUT, EXIT_OK, path_argument, print_line
from support.errors import InputError, ToolchainError, printable
from support.progress import Progress

if TYPE_CHECKING:
    from sim.waves.recording import Recording

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
    parser.add_argument("--image", metavar="N", type=int,
                        help="use only image N, counted from 0 (default: all; with --vcd or --fst, 0)")
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
    waveform = parser.add_mutually_exclusive_group()
    waveform.add_argument("--vcd", metavar="FILE", type=path_argument,
                          help="write what all signals of the RTL do while it computes one image to FILE, as text, and "
                               "views for GTKWave and Surfer beside it (with --engine rtl or both)")
    waveform.add_argument("--fst", metavar="FILE", type=path_argument,
                          help="the same, compressed to a tenth or less")
    parser.add_argument("--from", dest="first_clock", metavar="CLOCK", type=int,
                        help="begin the waveform CLOCK clocks after the first bit of the frame that carries the image "
                             "(default: 0)")
    parser.add_argument("--to", dest="end_clock", metavar="CLOCK", type=int,
                        help="end the waveform before CLOCK (default: with the last bit of the result)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that make no sense, or have no effect; raises :exc:`InputError`."""
    for name in ("first", "lanes", "width"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} must be 1 or more, not {value}")
    if arguments.image is not None and arguments.image < 0:
        raise InputError(f"--image must be 0 or more, not {arguments.image}")
    if arguments.image is not None and arguments.first is not None:
        raise InputError("--first must be left out with --image, which chooses one image")
    _check_waveform(arguments)
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


def _check_waveform(arguments: argparse.Namespace) -> None:
    """Refuse options of a waveform that make no sense; raises :exc:`InputError`."""
    if arguments.vcd is None and arguments.fst is None:
        for option, value in (("--from", arguments.first_clock), ("--to", arguments.end_clock)):
            if value is not None:
                raise InputError(f"{option} must be left out without a waveform: give --vcd or --fst")
        return
    option = "--vcd" if arguments.fst is None else "--fst"
    if _SIMULATED[arguments.engine] != ("rtl",):
        raise InputError(f"{option} must be left out with --engine {arguments.engine}, which has no signals with the "
                         f"names of the sources: give --engine rtl or both")
    if arguments.first is not None:
        raise InputError(f"--first must be left out with {option}, which is of one image: choose it with --image")


def _module(name: str, needed_by: str) -> Any:
    """Import a module that needs more than the reference does, which runs without Amaranth and Verilator."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EngineUnavailableError(f"engine {needed_by} cannot run here: {error}") from None


def _create_recording(arguments: argparse.Namespace) -> "Recording | None":
    """Return the waveform that is asked for; raises :exc:`InputError` if it cannot be written."""
    if arguments.vcd is None and arguments.fst is None:
        return None
    path, trace = (arguments.vcd, Trace.VCD) if arguments.fst is None else (arguments.fst, Trace.FST)
    recording: Recording = _module("sim.waves.recording", "rtl").Recording(
        path=path, trace=trace, first=arguments.first_clock or 0, end=arguments.end_clock)
    recording.check(file for file in (arguments.network, arguments.images, arguments.labels, arguments.flash)
                    if file is not None)
    return recording


def _load_images(network: Network, arguments: argparse.Namespace,
                 chosen: int | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Read images and labels: all, the first, or the one that is ``chosen``."""
    first = arguments.first if chosen is None else chosen + 1
    with Progress("reading images") as shown:
        images = load_images(arguments.images, network, first=first, asked_by="--first" if chosen is None else None,
                             progress=lambda done, total: shown.update(f"{done >> 20} of {total >> 20} MiB"))
    labels = None
    if chosen is not None and chosen >= len(images):
        raise InputError(f"{printable(arguments.images)}: --image must be at most {len(images) - 1}, because images "
                         f"are counted from 0 and there are {len(images)}, not {chosen}")
    if arguments.labels is not None:
        labels = load_labels(arguments.labels, classes=network.classes, first=first, count=len(images))
    return (images, labels) if chosen is None else (images[chosen:], None if labels is None else labels[chosen:])


def _create_engines(network: Network, arguments: argparse.Namespace, stack: contextlib.ExitStack,
                    *, trace: Trace | None, first_image: int) -> tuple[list[Engine], Circuit | None]:
    """Return the engines in the order in which they run, and the circuit of the RTL; ``stack`` closes them.

    ``first_image`` is the number of the first image in its file.
    """
    engines: list[Engine] = []
    circuit = None
    if arguments.engine != "rtl":
        engines.append(ReferenceEngine(network))
    for name in _SIMULATED[arguments.engine]:
        choice = _module("sim.choice", name)
        board = DEFAULT_BOARD if arguments.board is None else arguments.board
        # The engine shows the progress of its compilation itself.
        if name == "rtl":
            engine, circuit = choice.choose_engine(network, board=board, weights=arguments.weights,
                                                   lanes=arguments.lanes, width=arguments.width, image=arguments.flash,
                                                   trace=trace)
        else:
            engine, circuit = choice.choose_build(network, rung=name, board=board, weights=arguments.weights,
                                                  folder=arguments.build, file=arguments.network,
                                                  image=arguments.flash)
        engine.next_image = first_image
        engines.append(stack.enter_context(engine))
    return engines, circuit


def _run(engine: Engine, images: npt.NDArray[Any], spikes: bool) -> tuple[EngineResult, float]:
    """Run one engine, and say how far it is."""
    with Progress(f"engine {engine.name}") as shown:
        return timed(engine, images, spikes=spikes,
                     progress=lambda done, total: shown.update(f"{done} of {total} images"))


def _compared(network: Network, images: npt.NDArray[Any], engines: Sequence[Engine],
              results: Sequence[EngineResult], *, first: int) -> Comparison:
    """Compare every engine with the first one, and the clocks of a chip with those of the cycle model.

    ``first`` is the number of the first image in its file.
    """
    difference: Difference | ClockDifference | None = None
    clocks_of = []
    for engine, result in zip(engines[1:], results[1:], strict=True):
        difference = difference or first_difference(network, images, results[0], result, engines[0], engine)
        predicted = getattr(engine, "predicted_cycles", None)
        if predicted is not None:
            clocks_of.append(engine.name)
            difference = difference or clock_difference(result, predicted)
    if difference is not None:
        difference = dataclasses.replace(difference, image=difference.image + first)
    spikes = results[1].spikes
    return Comparison(
        unseen=results[1].unseen, difference=difference, clocks_of=clocks_of,
        # An array forms no map before its OR-pool.
        spikes_compared=spikes is not None and (not spikes or any(maps is not None for maps in spikes)))


def simulate(arguments: argparse.Namespace) -> Report:
    """Run the engines and return the report; raises what :func:`support.command_line.run` turns into a line."""
    _check(arguments)
    network = network_file.load(arguments.network)
    recording = _create_recording(arguments)
    chosen: int | None = arguments.image
    if recording is not None and chosen is None:
        chosen = 0
    images, labels = _load_images(network, arguments, chosen)
    results: list[EngineResult] = []
    speeds: dict[str, float] = {}
    comparison = waveform = None
    with contextlib.ExitStack() as stack:
        engines, circuit = _create_engines(network, arguments, stack, first_image=chosen or 0,
                                           trace=recording.trace if recording is not None else None)
        for engine in engines:
            compute = functools.partial(_run, engine, images, arguments.spikes)
            if recording is not None and engine.name == "rtl":
                waveform, (result, speed) = recording.write(engine, compute)
            else:
                result, speed = compute()
            results.append(result)
            speeds[engine.name] = speed
        if len(engines) > 1:
            comparison = _compared(network, images, engines, results, first=chosen or 0)
    return Report(network=arguments.network, network_sha256=network_file.digest(network),
                  images_sha256=images_digest(images), images_per_second=speeds, result=results[-1], labels=labels,
                  comparison=comparison, circuit=circuit, chosen=chosen, waveform=waveform,
                  revision=provenance.revision(), tool_versions=provenance.tool_versions("numpy"))


def _work(arguments: argparse.Namespace) -> int:
    report = simulate(arguments)
    print_line(json.dumps(report.to_json()) if arguments.json else report.to_text())
    return EXIT_OK if report.agree else EXIT_INPUT


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; engines that differ are exit code 1, as bad input is."""
    return command_line.run(create_parser(), _work, argv)
