"""Explore what is possible: ``python -m gateware.build.explore --board icebreaker --network FILE``."""

import argparse
import dataclasses
import hashlib
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy.typing as npt

from arch import network_file
from arch.images import load_images, load_labels
from arch.limits import MAX_TIMESTEPS
from boards import BOARDS, Board
from gateware.build.explore.configuration import Axes, Configuration, grid
from gateware.build.explore.engines import completed
from gateware.build.explore.measure import Accuracy, Measurement
from gateware.build.explore.place import Placing
from gateware.build.explore.plot import check_picture, draw
from gateware.build.explore.records import Record, Records, sources_digest
from gateware.build.explore.result import Result
from gateware.build.explore.text import Named, format_results
from models import DEFAULT_NETWORK
from sim.report import Weights
from support.command_line import path_argument, print_line, run
from support.errors import InputError, printable
from support.files import check_output, check_output_folder, locked, read_file
from support.progress import Progress

__all__ = ["ExploreError", "create_parser", "explore", "main"]

#: Largest file of a network that is read.
_NETWORK_BYTES = 1 << 30
#: Most seeds of a configuration: half a minute each, or minutes.
_MAX_SEEDS = 10_000
#: Most processes.
_MAX_JOBS = 1024

_Value = TypeVar("_Value")


class ExploreError(InputError):
    """What is to be explored cannot be."""


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gateware.build.explore",
        description="Try networks, geometries, clocks and sources of weights, by dry runs or by place and route, and "
                    "print those than which no other is better in time, logic cells and accuracy.",
        epilog="An interrupted exploration goes on when the same command is given again.")
    parser.add_argument("--board", metavar="BOARD", choices=sorted(BOARDS), action="append", required=True,
                        help="try BOARD; may be given several times (one of: %(choices)s)")
    parser.add_argument("--network", metavar="FILE", type=path_argument, action="append",
                        help="try the network of FILE; may be given several times (default: the shipped MNIST network)")
    parser.add_argument("--weights", metavar="WHERE", choices=[where.value for where in Weights], action="append",
                        help="try weights from WHERE, baked or flash; may be given twice (default: both)")
    parser.add_argument("--lanes", metavar="P", type=int, nargs="+",
                        help="with baked weights, try P output channels at a time (default: those of the board)")
    parser.add_argument("--width", metavar="W", type=int, nargs="+",
                        help="with baked weights, try W synapses a clock (default: those of the board)")
    parser.add_argument("--flash-rate", metavar="RATE", choices=("single", "double"), nargs="+",
                        help="with weights from the flash, read it at one edge of its clock, single, or at both, "
                             "double (default: single)")
    parser.add_argument("--clock", metavar="MHZ", type=float, nargs="+",
                        help="try MHZ (default: the clock of the board, or of its overlay)")
    parser.add_argument("--timesteps", metavar="T", type=int, nargs="+",
                        help="compute networks of pixels with T timesteps (default: their own)")
    parser.add_argument("--images", metavar="FILE", type=path_argument,
                        help="let the reference compute the accuracy on the images of FILE (default: what the files of "
                             "the networks say, which is nothing with other timesteps)")
    parser.add_argument("--labels", metavar="FILE", type=path_argument,
                        help="the labels of the images")
    parser.add_argument("--place", action="store_true",
                        help="place and route what fits, which takes minutes for each configuration and seed")
    parser.add_argument("--seeds", metavar="N", type=int,
                        help="with --place, place and route with seeds 1 to N (default: 1)")
    parser.add_argument("--jobs", metavar="N", type=int,
                        help="work with N processes (default: one for each processor)")
    parser.add_argument("--scheduler", metavar="ADDRESS",
                        help="let the workers of the Dask scheduler at ADDRESS do the work, as tcp://host:8786")
    parser.add_argument("--plot", metavar="FILE", type=path_argument, help="draw the results into FILE, as SVG")
    parser.add_argument("-o", "--output", metavar="FILE", type=path_argument,
                        default=pathlib.Path("build/explore/results.jsonl"),
                        help="keep the results in FILE, one JSON object a line, and builds in the folder beside it "
                             "that ends in .builds (default: %(default)s)")
    return parser


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse numbers out of range, and options that would have no effect."""
    for option, most in (("seeds", _MAX_SEEDS), ("jobs", _MAX_JOBS)):
        value = getattr(arguments, option)
        if value is not None and not 1 <= value <= most:
            raise ExploreError(f"--{option} must be 1 to {most}, not {value}")
    for option in ("lanes", "width", "timesteps", "clock"):
        for value in getattr(arguments, option) or ():
            if not math.isfinite(value) or value <= 0:
                raise ExploreError(f"--{option} must be a positive number, not {value:g}")
    _check_axes(arguments)
    if arguments.seeds is not None and not arguments.place:
        raise ExploreError("--seeds must be given with --place: it has no effect without")
    if arguments.jobs is not None and arguments.scheduler is not None:
        raise ExploreError("--jobs has no effect with --scheduler, whose workers do the work: leave one of the two out")
    if (arguments.images is None) != (arguments.labels is None):
        raise ExploreError("--images and --labels must be given together: accuracy needs both")
    if set(arguments.weights or ()) == {Weights.BAKED.value} and arguments.flash_rate is not None:
        raise ExploreError("--flash-rate has no effect with --weights baked, which reads no flash: leave it out")
    if set(arguments.weights or ()) == {Weights.FLASH.value}:
        for option in ("lanes", "width"):
            if getattr(arguments, option) is not None:
                raise ExploreError(f"--{option} has no effect with --weights flash, whose array is that of the board: "
                                   f"leave it out")


def _check_axes(arguments: argparse.Namespace) -> None:
    """Refuse values that no configuration can have; what some cannot have is a result of these."""
    for option, least in (("lanes", 1), ("width", 2)):
        for value in getattr(arguments, option) or ():
            if value < least or value & (value - 1):
                raise ExploreError(f"--{option} must be powers of two of at least {least}, not {value}")
    for value in arguments.timesteps or ():
        if value > MAX_TIMESTEPS:
            raise ExploreError(f"--timesteps must be 1 to {MAX_TIMESTEPS}, not {value}")
    for value in arguments.clock or ():
        errors = [error for board in arguments.board if (error := _clock_error(BOARDS[board], value * 1e6)) is not None]
        if len(errors) == len(arguments.board):
            raise ExploreError(f"--clock: {errors[0]}")


def _clock_error(board: Board, clock_hz: float) -> InputError | None:
    """Return why a board has no such clock, or no rate of its link that divides it; None if it has."""
    try:
        board.check_clock(clock_hz)
        board.default_bauds(clock_hz)
    except InputError as error:
        return error
    return None


def _axes(arguments: argparse.Namespace) -> Axes:
    weights = arguments.weights or [where.value for where in Weights]
    return Axes(boards=_unique(arguments.board), weights=_unique(weights), lanes=_unique(arguments.lanes),
                widths=_unique(arguments.width), flash_rates=_unique(arguments.flash_rate) or ("single",),
                clocks_mhz=_unique(arguments.clock), timesteps=_unique(arguments.timesteps))


def _unique(values: Sequence[_Value] | None) -> list[_Value]:
    return list(dict.fromkeys(values or ()))


class _Exploration:
    """What a command explores: configurations, the files of their networks, and the results so far."""

    def __init__(self, arguments: argparse.Namespace, records: Records):
        self._arguments = arguments
        self._records = records
        self._jobs = arguments.jobs or os.cpu_count() or 1
        self._sources = sources_digest()
        self._contents: dict[str, bytes] = {}
        #: What the file of a network says of its accuracy, which its digest does not cover.
        self._accuracies: dict[str, float | None] = {}
        self._read_samples: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {}
        self.configurations = list(self._read())

    def _read(self) -> Iterator[Configuration]:
        axes = _axes(self._arguments)
        for file in _networks(self._arguments):
            network = network_file.load(file)
            digest = network_file.digest(network)
            if digest in self._contents:
                continue
            self._contents[digest] = read_file(file, limit=_NETWORK_BYTES)
            self._accuracies[digest] = network.metadata.get("accuracy")
            yield from grid(axes, network=printable(network_file.name_of(network, file)), network_sha256=digest,
                            timesteps=network.timesteps)

    def _done(self, kind: str, keys: Sequence[str]) -> list[Record | None]:
        return [self._records.find(kind, key) for key in keys]

    def plan(self) -> list[Named]:
        """Do the dry runs that were not done before."""
        keys  = [configuration.key(self._sources, accuracy=self._accuracies[configuration.network_sha256])
                 for configuration in self.configurations]
        found = self._done("dry-run", keys)
        open_ = [number for number, record in enumerate(found) if record is None]
        tasks = [Measurement(configuration=self.configurations[number],
                             content=self._contents[self.configurations[number].network_sha256]) for number in open_]
        results = {number: record.result for number, record in enumerate(found) if record is not None}
        with Progress("dry run") as progress:
            for done, (task, measured) in enumerate(self._completed(tasks), 1):
                number = open_[task]
                progress.update(f"{done} of {len(tasks)}")
                self._records.add(Record(key=keys[number], kind="dry-run", result=measured,
                                         configuration=self.configurations[number]))
                results[number] = measured
        return [(configuration, result) for number, configuration in enumerate(self.configurations)
                if (result := results[number]) is not None]

    def _completed(self, tasks: Sequence[Callable[[], _Value]]) -> Iterator[tuple[int, _Value]]:
        return completed(tasks, jobs=self._jobs, scheduler=self._arguments.scheduler)

    def with_accuracy(self, results: list[Named]) -> list[Named]:
        """Let the reference compute the accuracy of each network that fits somewhere, with each of its timesteps."""
        if self._arguments.images is None:
            return results
        wanted = dict.fromkeys((one.network_sha256, one.timesteps) for one, result in results if result.fits)
        tasks: dict[str, Accuracy] = {}
        keys: dict[tuple[str, int], str] = {}
        for digest, timesteps in wanted:
            images, labels = self._samples(digest)
            content = [self._sources.encode(), digest.encode(), str(timesteps).encode(), images.tobytes(),
                       labels.tobytes()]
            key = keys[digest, timesteps] = hashlib.sha256(b"\0".join(content)).hexdigest()[:16]
            if self._records.find("accuracy", key) is None:
                tasks[key] = Accuracy(content=self._contents[digest], timesteps=timesteps, images=images, labels=labels)
        names = list(tasks)
        with Progress("accuracy") as progress:
            for done, (number, accuracy) in enumerate(self._completed(list(tasks.values())), 1):
                progress.update(f"{done} of {len(names)} networks")
                self._records.add(Record(key=names[number], kind="accuracy", accuracy=accuracy), at_once=True)
        return [(one, self._judged(one, result, keys)) for one, result in results]

    def _samples(self, digest: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Read the images and their labels as the network takes them; once for all of its timesteps."""
        if digest not in self._read_samples:
            network = network_file.loads(self._contents[digest])
            images = load_images(self._arguments.images, network)
            labels = load_labels(self._arguments.labels, classes=network.classes, count=len(images))
            self._read_samples[digest] = images, labels
        return self._read_samples[digest]

    def _judged(self, configuration: Configuration, result: Result, keys: dict[tuple[str, int], str]) -> Result:
        if not result.fits:
            return result
        record = self._records.find("accuracy", keys[configuration.network_sha256, configuration.timesteps])
        assert record is not None
        return dataclasses.replace(result, accuracy=record.accuracy, accuracy_evidence="reference")

    def place(self, results: list[Named]) -> list[Named]:
        """Place and route what fits and was not placed before; the overlay of a board once for all networks."""
        seeds = self._arguments.seeds or 1
        work  = self._arguments.output.with_suffix(".builds")
        keys  = [f"{_build_of(configuration).key(self._sources)}-{seeds}" for configuration, _ in results]
        tasks: dict[str, Placing] = {}
        for key, (configuration, result) in zip(keys, results, strict=True):
            if result.fits and self._records.find("place", key) is None:
                tasks.setdefault(key, Placing(configuration=configuration, seeds=seeds, work=str(work), name=key,
                                              content=self._contents[configuration.network_sha256], planned=result))
        names = list(tasks)
        with Progress("place and route") as progress:
            for done, (number, placed) in enumerate(self._completed(list(tasks.values())), 1):
                progress.update(f"{done} of {len(names)}")
                self._records.add(Record(key=names[number], kind="place", result=placed,
                                         configuration=tasks[names[number]].configuration), at_once=True)
        return [(configuration, self._placed(key, result)) for key, (configuration, result)
                in zip(keys, results, strict=True)]

    def _placed(self, key: str, result: Result) -> Result:
        """Take what place and route has found, and leave what the dry run knows of the network."""
        record = self._records.find("place", key)
        if record is None or record.result is None or not result.fits:
            return result
        found = record.result
        return dataclasses.replace(result, reason=found.reason, logic_cells=found.logic_cells,
                                   block_rams=found.block_rams, cells_evidence=found.cells_evidence,
                                   fmax_mhz=found.fmax_mhz, closes=found.closes)


def _build_of(configuration: Configuration) -> Configuration:
    """What is built: the overlay is the same for every network."""
    if configuration.weights != Weights.FLASH:
        return configuration
    return dataclasses.replace(configuration, network="", network_sha256="", timesteps=0)


def _networks(arguments: argparse.Namespace) -> list[pathlib.Path]:
    return arguments.network or [DEFAULT_NETWORK]


def _inputs(arguments: argparse.Namespace) -> list[pathlib.Path]:
    """Files that are read, which no output may replace."""
    samples = [file for file in (arguments.images, arguments.labels) if file is not None]
    return [*_networks(arguments), *samples]


def explore(arguments: argparse.Namespace) -> None:
    """Explore what the command line asks for, and print the front; raises what becomes the error line."""
    _check_options(arguments)
    output: pathlib.Path = arguments.output
    check_output_folder(output.parent)
    output.parent.mkdir(parents=True, exist_ok=True)
    inputs = _inputs(arguments)
    check_output(output, inputs=inputs)
    # Before the lock, which would stay beside a file that is none of ours.
    Records(output)
    if arguments.plot is not None:
        if arguments.plot.resolve() == output.resolve():
            raise ExploreError(f"{arguments.plot}: --plot must be another file than that of the results")
        check_picture(arguments.plot, inputs=inputs)
    busy = f"{output}: another exploration is at work with this file: wait for its end, or give another file with -o"
    with locked(output.with_name(f".{output.name}.lock"), busy=busy), Records(output) as records:
        exploration = _Exploration(arguments, records)
        results = exploration.with_accuracy(exploration.plan())
        if arguments.place:
            results = exploration.place(results)
    if arguments.plot is not None:
        draw(results, arguments.plot)
    print_line(format_results(results))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run(create_parser(), explore, argv,
               interrupted="interrupted: the same command goes on from the results that are kept")
