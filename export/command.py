"""``python -m export``: turn a checkpoint into an integer network, and networks into flash or into a placed design."""

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import network_file
from arch.checkpoint import MAX_BYTES, Checkpoint
from arch.flash.image import save_image
from arch.foreign import EMPTY, Kind, kind_of
from arch.images import load_images, load_labels
from arch.network import MAX_FRACTION, Network
from boards import BOARDS, board_named
from export import steps
from export.exported import integer_network, report_of, with_verification
from export.fit_cost import changed_spikes
from export.flash.circuit import chosen_clock_hz
from export.flash.models import FlashImage, Source, check_count, make_image
from export.flash.report import format_image
from export.flash.room import room_of
from export.into.swap import SwapResult, format_swap, swap
from export.memories import MAX_WORD_BITS, memory_images
from export.report import format_graph, format_table
from export.sources.chain import SourceError
from export.sources.nir import file as nir_file
from export.sources.nir.exporting import FORMAT, graph_of
from export.sources.nir.importing import import_nir
from export.sources.options import add_options, facts_of, given_options
from export.sources.rational import Trained
from export.steps import ExportError
from reference.generate import random_images
from support import provenance
from support.command_line import print_line, run
from support.errors import printable
from support.files import check_output, check_output_folder, read_file, write_all, write_atomically

__all__ = ["create_parser", "export", "flash", "into", "main", "nir"]

#: What options mean that are not given: they are None until then, so that one without effect can be refused.
_CALIBRATION_IMAGES, _MEMORY_WIDTH, _MAX_FRACTION, _OUTPUT = 200, 32, 8, "network.safetensors"
_BOARD = "icebreaker"

#: Options that are about the export of a checkpoint, by their names in the arguments.
_OF_CHECKPOINTS = ("output", "name", "max_fraction", "fit", "calibration", "calibration_images", "test_images",
                   "test_labels", "memories", "memory_width")

logger = logging.getLogger("export")


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m export",
                                     description="Turn a checkpoint, or the NIR graph of another package, into an "
                                                 "integer network, certified and verified. "
                                                 "With --flash, turn it, or networks that were exported before, into "
                                                 "an image of models for the flash of a board. With --into, put an "
                                                 "exported network into the bitstream of a build, in place of the one "
                                                 "that is there. With --nir, write an exported network as a NIR graph.")
    parser.add_argument("inputs", metavar="CHECKPOINT", nargs="+",
                        help="read the trained network from CHECKPOINT, or from a NIR graph; with --flash also "
                             "exported networks, up to 16; with --into or --nir an exported network")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help=f"write the integer network to FILE (default: {_OUTPUT}); with --into, write the "
                             f"bitstream and its report to the folder FILE (default: build/BOARD/NETWORK)")
    parser.add_argument("--name", metavar="NAME", help="store NAME in the network (default: FILE's stem)")
    parser.add_argument("--max-fraction", metavar="F", type=int,
                        help=f"try up to F fractional bits of the membrane (default: {_MAX_FRACTION})")
    parser.add_argument("--fit", metavar="BOARD",
                        help=f"move the constants of channels that have no exact ones in the membranes of BOARD's "
                             f"streamed circuit to the nearest that fit, and say what that costs: "
                             f"{', '.join(sorted(BOARDS))}")
    parser.add_argument("--calibration", metavar="FILE",
                        help="verify and measure firing rates on the images in FILE "
                             "(default: verify on noise, on 32 images, or fewer if the network is large)")
    parser.add_argument("--calibration-images", metavar="N", type=int,
                        help=f"use the first N images of the calibration file (default: {_CALIBRATION_IMAGES})")
    parser.add_argument("--test-images", metavar="FILE", help="measure the accuracy on the images in FILE and store it")
    parser.add_argument("--test-labels", metavar="FILE", help="read the labels of the test images from FILE")
    parser.add_argument("--memories", metavar="DIR", help="write weights and constants as .hex, .mem and .bin to DIR")
    parser.add_argument("--memory-width", metavar="BITS", type=int,
                        help=f"write words of BITS bits of weights to .hex and .mem, a multiple of 8 up to "
                             f"{MAX_WORD_BITS} (default: {_MEMORY_WIDTH})")
    parser.add_argument("--flash", metavar="IMAGE",
                        help="write the image of models for the flash of the board, behind its bitstream, to IMAGE")
    parser.add_argument("--board", metavar="BOARD",
                        help=f"make the image for BOARD: {', '.join(sorted(BOARDS))} (default: that of --fit, or "
                             f"{_BOARD})")
    parser.add_argument("--clock", metavar="MHZ", type=float,
                        help="tell hosts that the circuit runs at MHZ (default: that of the board's overlay)")
    parser.add_argument("--into", metavar="BUILD",
                        help="put the network into the placed design in the folder BUILD, which python -m "
                             "gateware.build has made of another network: a bitstream without place and route")
    parser.add_argument("--nir", metavar="GRAPH",
                        help="write the network, which was exported before, to GRAPH for other simulators")
    add_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="do everything but write no file")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="name no steps on the way")
    return parser


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that are out of range, or have no effect without another."""
    if arguments.max_fraction is not None and not 0 <= arguments.max_fraction <= MAX_FRACTION:
        raise ExportError(f"--max-fraction must be 0 to {MAX_FRACTION}, not {arguments.max_fraction}")
    if arguments.calibration_images is not None:
        if arguments.calibration is None:
            raise ExportError("--calibration-images must be given with --calibration: it has no effect alone")
        if arguments.calibration_images < 1:
            raise ExportError(f"--calibration-images must be 1 or more, not {arguments.calibration_images}")
    width = arguments.memory_width
    if width is not None:
        if arguments.memories is None:
            raise ExportError("--memory-width must be given with --memories: it has no effect alone")
        if not 8 <= width <= MAX_WORD_BITS or width % 8:
            raise ExportError(f"--memory-width must be a multiple of 8 from 8 to {MAX_WORD_BITS}, not {width}")
    if (arguments.test_images is None) != (arguments.test_labels is None):
        raise ExportError("--test-images and --test-labels must be given together")
    if arguments.fit is not None and arguments.board not in (None, arguments.fit):
        raise ExportError(f"--board must be the board of --fit, {arguments.fit}, not {arguments.board}: fit to the "
                          f"board that runs the network")
    if arguments.flash is None:
        for option in ("board", "clock"):
            if getattr(arguments, option) is not None:
                raise ExportError(f"--{option} must be given with --flash: it has no effect alone")
        if len(arguments.inputs) > 1:
            raise ExportError(f"CHECKPOINT must be one file, not {len(arguments.inputs)}: export one at a time, or "
                              f"give exported networks with --flash")


def _image_of(arguments: argparse.Namespace, sources: Sequence[Source]) -> FlashImage:
    """Make the image that ``--flash`` asks for."""
    board = board_named(arguments.board or arguments.fit or _BOARD)
    return make_image(sources, board, clock_hz=chosen_clock_hz(board, arguments.clock))


def flash(arguments: argparse.Namespace) -> FlashImage:
    """Make an image of networks that were exported before, and write it unless it is a dry run.

    Raises
    ------
    :exc:`support.errors.InputError`
        If an option, a network or the output cannot be used, or a network or the image does not fit.
    :exc:`OSError`
        If a file cannot be read or written.
    """
    for option in _OF_CHECKPOINTS:
        if getattr(arguments, option) is not None:
            raise ExportError(f"--{option.replace('_', '-')} must be given with a checkpoint: exported networks stay "
                              f"as they are")
    _check_source(arguments, None)
    check_count(len(arguments.inputs))
    check_output(arguments.flash, inputs=arguments.inputs)
    sources = []
    for file in arguments.inputs:
        logger.info("load: %s", printable(file))
        sources.append(Source(file=file, network=network_file.load(file)))
    image = _image_of(arguments, sources)
    if not arguments.dry_run:
        save_image(arguments.flash, image.content)
    return image


def into(arguments: argparse.Namespace) -> SwapResult:
    """Put a network that was exported before into the placed design of a build; write it unless it is a dry run.

    Raises
    ------
    :exc:`support.errors.InputError`
        If an option, the network or a folder cannot be used, or the network does not fit the build.
    :exc:`support.errors.ToolchainError`
        If a tool is missing or fails.
    :exc:`OSError`
        If a file cannot be read or written.
    """
    for option, what in (("into", "folder of a build"), ("output", "folder of the result")):
        # As a path, it would be the current folder.
        if getattr(arguments, option) == "":
            raise ExportError(f"--{option} must be the {what}, not ''")
    for option in _OF_CHECKPOINTS:
        if option != "output" and getattr(arguments, option) is not None:
            raise ExportError(f"--{option.replace('_', '-')} must be given with a checkpoint: --into puts in a network "
                              f"as it is")
    for option in ("flash", "board", "clock"):
        if getattr(arguments, option) is not None:
            raise ExportError(f"--{option} has no effect with --into, which keeps board and clock of the build: leave "
                              f"one of the two out")
    if len(arguments.inputs) > 1:
        raise ExportError(f"--into must have one network, not {len(arguments.inputs)}: give each a folder of its own "
                          f"with -o")
    (file,) = arguments.inputs
    _check_exported(arguments, file, option="--into")
    return swap(file, pathlib.Path(arguments.into),
                None if arguments.output is None else pathlib.Path(arguments.output), write=not arguments.dry_run)


def nir(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write a network that was exported before as a NIR graph, unless it is a dry run; return the report.

    Raises
    ------
    :exc:`support.errors.InputError`
        If an option, the network or the output cannot be used, or the network has no exact place in a graph.
    :exc:`support.errors.ToolchainError`
        If h5py is missing.
    :exc:`OSError`
        If a file cannot be read or written.
    """
    for option in _OF_CHECKPOINTS:
        if getattr(arguments, option) is not None:
            raise ExportError(f"--{option.replace('_', '-')} must be given with a checkpoint: --nir writes a network "
                              f"as it is")
    for option in ("flash", "into", "board", "clock"):
        if getattr(arguments, option) is not None:
            raise ExportError(f"--{option} has no effect with --nir: leave one of the two out")
    if len(arguments.inputs) > 1:
        raise ExportError(f"--nir must have one network, not {len(arguments.inputs)}: write one graph at a time")
    (path,) = arguments.inputs
    check_output(arguments.nir, inputs=arguments.inputs)
    _check_exported(arguments, path, option="--nir")
    network = network_file.load(path)
    try:
        graph = graph_of(network)
    except SourceError as error:
        raise ExportError(f"{printable(path)}: {error}") from None
    content = nir_file.dumps(graph, FORMAT)
    if not arguments.dry_run:
        write_atomically(arguments.nir, content)
    return {"network_sha256": network_file.digest(network), "nodes": len(graph.nodes), "bytes": len(content),
            "written": None if arguments.dry_run else arguments.nir}


#: Kinds of files that are exported, by what they are called.
_TRAINED = {Kind.CHECKPOINT: "checkpoint", Kind.HDF5: "NIR graph"}


def _kind(path: str) -> Kind | None:
    content = read_file(path, limit=MAX_BYTES)
    if not content:
        # Before it is asked which options a file of its kind has.
        raise ExportError(f"{printable(path)}: {EMPTY}")
    return kind_of(content)


def _check_source(arguments: argparse.Namespace, kind: Kind | None) -> None:
    """Refuse options about NIR graphs for another file, which is of ``kind``."""
    given = given_options(arguments)
    if given and kind is not Kind.HDF5:
        raise ExportError(f"{given[0]} must be given with a NIR graph: {printable(arguments.inputs[0])} says itself "
                          f"what it computes")


def _check_exported(arguments: argparse.Namespace, path: str, *, option: str) -> None:
    """Refuse a network that was not exported, which ``option`` cannot use, and options about NIR graphs."""
    kind = _kind(path)
    _check_source(arguments, kind)
    if kind in _TRAINED:
        raise ExportError(f"{printable(path)}: must be an exported network for {option}, not a {_TRAINED[kind]}: "
                          f"export it first, with python -m export {printable(path)} -o NETWORK")


def _load(arguments: argparse.Namespace) -> Trained:
    """Read the network that is exported."""
    (path,) = arguments.inputs
    kind = _kind(path)
    _check_source(arguments, kind)
    return import_nir(path, facts_of(arguments)) if kind is Kind.HDF5 else Checkpoint.load(path)


def _output(arguments: argparse.Namespace) -> str:
    output: str = _OUTPUT if arguments.output is None else arguments.output
    return output


def _network_name(arguments: argparse.Namespace) -> str:
    name: str = pathlib.Path(_output(arguments)).stem if arguments.name is None else arguments.name
    if not name or printable(name) != name:
        raise ExportError(f"--name must be one line of printable text, not {name[:40]!r}"
                          + (": give one, as that of the output is none" if arguments.name is None else ""))
    return name


def _inputs(arguments: argparse.Namespace) -> list[str]:
    files = (*arguments.inputs, arguments.calibration, arguments.test_images, arguments.test_labels)
    return [file for file in files if file is not None]


def _check_outputs(arguments: argparse.Namespace) -> None:
    check_output(_output(arguments), inputs=_inputs(arguments))
    if arguments.flash is not None:
        check_output(arguments.flash, inputs=_inputs(arguments))
    if arguments.memories is not None:
        check_output_folder(arguments.memories)


def export(arguments: argparse.Namespace, command: str) -> tuple[dict[str, Any], FlashImage | None]:
    """Run all steps and return the report, and the image of the network if one is asked for.

    Raises
    ------
    :exc:`support.errors.InputError`
        If an option, an input or an output cannot be used, or the checkpoint cannot be exported.
    :exc:`OSError`
        If a file cannot be read or written.
    """
    _check_options(arguments)
    _check_outputs(arguments)
    name = _network_name(arguments)
    logger.info("load: %s", printable(arguments.inputs[0]))
    checkpoint = _load(arguments)
    room = None if arguments.fit is None else room_of(board_named(arguments.fit))
    max_fraction = _MAX_FRACTION if arguments.max_fraction is None else arguments.max_fraction
    if room is not None:
        max_fraction = min(max_fraction, room.fraction)
    network, rows, trained = integer_network(checkpoint, max_fraction, room, {
        "name": name,
        "export": {"command": command, "revision": provenance.revision(),
                   "tool_versions": provenance.tool_versions("numpy"), "max_fraction": max_fraction},
        "training": dict(checkpoint.provenance),
    })
    if arguments.test_images is not None:
        network = _with_accuracy(network, trained, arguments, command)
    if arguments.calibration is None:
        images, sample = random_images(network, np.random.default_rng(0), steps.noise_images(network)), "noise"
    else:
        count = arguments.calibration_images or _CALIBRATION_IMAGES
        asked_by = None if arguments.calibration_images is None else "--calibration-images"
        images, sample = load_images(arguments.calibration, network, first=count,
                                     asked_by=asked_by), arguments.calibration
        if trained is not None:
            network = _with_spikes(network, trained, images)
    content = steps.pack(network)
    logger.info("pack: %d bytes, sha256 %s", len(content), network_file.digest(network))

    verification = steps.verify(checkpoint, content, images)
    logger.info("verify: %d of %d spikes differ from the real-valued layers on %d images of %s",
                sum(verification.mismatches), sum(verification.compared), len(images), printable(sample))
    rows = with_verification(rows, verification, measured=arguments.calibration is not None)
    steps.check_verification(rows, verification)
    image = None if arguments.flash is None else _image_of(arguments, [
        Source(file=_output(arguments), network=network)])
    report = report_of(network, rows, size=len(content), max_fraction=max_fraction, protected=checkpoint.protected,
                       verified_images=len(images), verified_on=sample,
                       written=_write(network, content, arguments, image))
    return report, image


def _with_fit(network: Network, **measured: Any) -> Network:
    """Add to the metadata of a network what the fit of its channels costs."""
    return dataclasses.replace(network, metadata={
        **network.metadata, "fit": {**network.metadata["fit"], **measured}})


def _with_spikes(network: Network, trained: Network, images: npt.NDArray[Any]) -> Network:
    changed, compared = changed_spikes(network, trained, images)
    logger.info("fit: %d of %d spikes differ on %d images", changed, compared, len(images))
    return _with_fit(network, spikes_changed=changed, spikes_compared=compared, calibration_images=len(images))


def _with_accuracy(network: Network, trained: Network | None, arguments: argparse.Namespace, command: str) -> Network:
    images = load_images(arguments.test_images, network)
    labels = load_labels(arguments.test_labels, classes=network.classes, count=len(images))
    share = steps.accuracy(network, images, labels)
    logger.info("verify: accuracy %.2f %% of %d images, in integers", 100 * share, len(images))
    if trained is not None:
        network = _with_fit(network, trained_accuracy=steps.accuracy(trained, images, labels))
    return dataclasses.replace(network, metadata={
        **network.metadata, "accuracy": share, "accuracy_images": len(images), "accuracy_command": command})


def _write(network: Network, content: bytes, arguments: argparse.Namespace, image: FlashImage | None) -> list[str]:
    """Write the network, its memories and its image, all or none; return the names of the first two kinds.

    Nothing is written in a dry run.
    """
    output   = _output(arguments)
    contents: dict[str | os.PathLike[str], bytes] = {output: content}
    if arguments.memories is not None:
        width = arguments.memory_width or _MEMORY_WIDTH
        for name, memory in memory_images(network, word_bytes=width // 8).items():
            path = str(pathlib.Path(arguments.memories, name))
            if pathlib.Path(path).resolve() == pathlib.Path(output).resolve():
                raise ExportError(f"{output}: output must not be one of the files of --memories: give "
                                  f"another name")
            if pathlib.Path(arguments.memories).exists():
                check_output(path, inputs=_inputs(arguments))
            contents[path] = memory
    files = [os.fspath(path) for path in contents]
    if image is not None:
        if pathlib.Path(arguments.flash).resolve() in [pathlib.Path(path).resolve() for path in contents]:
            raise ExportError(f"{arguments.flash}: image of --flash must not be another output: give another name")
        contents[arguments.flash] = image.content
    if arguments.dry_run:
        return []
    made = _make_folder(pathlib.Path(arguments.memories)) if arguments.memories is not None else []
    try:
        write_all(contents)
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    if network_file.digest(network_file.load(output)) != network_file.digest(network):
        raise ExportError(f"{output}: must read back as it was written")
    return files


def _make_folder(folder: pathlib.Path) -> list[pathlib.Path]:
    """Make ``folder`` with its parents, and return those that were made, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: 0 done, 1 bad input, 2 usage, 3 a tool is missing or fails, 130 interrupted."""
    def work(arguments: argparse.Namespace) -> None:
        level = logging.WARNING if arguments.quiet else logging.INFO
        logging.basicConfig(level=level, format="%(message)s", force=True)
        if arguments.nir is not None:
            written_graph = nir(arguments)
            print_line(json.dumps(written_graph) if arguments.json else format_graph(written_graph))
            return
        if arguments.into is not None:
            result = into(arguments)
            print_line(result.report.to_json().decode().rstrip() if arguments.json else format_swap(result))
            return
        report: dict[str, Any] = {}
        if arguments.flash is not None and not (len(arguments.inputs) == 1 and _kind(arguments.inputs[0]) in _TRAINED):
            _check_options(arguments)
            image: FlashImage | None = flash(arguments)
        else:
            report, image = export(arguments, provenance.command_line("export", argv))
        written = None if arguments.dry_run else arguments.flash
        if arguments.json:
            added = {} if image is None else {"flash": image.as_json() | {"written": written}}
            print_line(json.dumps(report | added))
            return
        texts = [format_table(report)] if report else []
        if image is not None:
            texts.append(format_image(image, written=written))
        print_line("\n\n".join(texts))

    return run(create_parser(), work, argv)
