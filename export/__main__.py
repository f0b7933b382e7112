"""``python -m export``: turn a checkpoint into an integer network, certified and verified."""

import argparse
import dataclasses
import json
import logging
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from arch import network_file
from arch.checkpoint import Checkpoint, CheckpointError
from arch.images import ImageError, load_images, load_labels
from arch.network import MAX_FRACTION, Network, NetworkError, OrPool
from export import steps
from export.certificate import RealValueError
from export.folding import fold
from export.memories import write_memories
from export.steps import ExportError, LayerReport, Verification
from sim.generate import random_images
from support import provenance
from support.files import write_atomically

__all__ = ["create_parser", "export", "format_table", "main"]

#: Membranes of shipped networks are at most this wide, in bits.
_WIDE = 24

logger = logging.getLogger("export")


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="read the trained network from CHECKPOINT")
    parser.add_argument("-o", "--output", metavar="FILE", default="network.safetensors",
                        help="write the integer network to FILE (default: network.safetensors)")
    parser.add_argument("--name", metavar="NAME", help="store NAME in the network (default: FILE's stem)")
    parser.add_argument("--max-fraction", metavar="F", type=int, default=8,
                        help="try up to F fractional bits of the membrane (default: 8)")
    parser.add_argument("--calibration", metavar="FILE",
                        help="verify and measure firing rates on the images in FILE (default: verify on noise)")
    parser.add_argument("--calibration-images", metavar="N", type=int, default=200,
                        help="use the first N images of the calibration file (default: 200)")
    parser.add_argument("--test-images", metavar="FILE", help="measure the accuracy on the images in FILE and store it")
    parser.add_argument("--test-labels", metavar="FILE", help="read the labels of the test images from FILE")
    parser.add_argument("--memories", metavar="DIR", help="write weights and constants as .hex, .mem and .bin to DIR")
    parser.add_argument("--memory-width", metavar="BITS", type=int, default=32,
                        help="write words of BITS bits of weights to .hex and .mem, a multiple of 8 (default: 32)")
    parser.add_argument("--dry-run", action="store_true", help="do everything but write no file")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="name no steps on the way")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    if not 0 <= arguments.max_fraction <= MAX_FRACTION:
        raise ExportError(f"--max-fraction must be 0 to {MAX_FRACTION}, not {arguments.max_fraction}")
    if arguments.calibration_images < 1:
        raise ExportError(f"--calibration-images must be 1 or more, not {arguments.calibration_images}")
    if arguments.memory_width < 8 or arguments.memory_width % 8:
        raise ExportError(f"--memory-width must be a positive multiple of 8, not {arguments.memory_width}")
    if (arguments.test_images is None) != (arguments.test_labels is None):
        raise ExportError("--test-images and --test-labels must be given together")
    if pathlib.Path(arguments.output).is_dir():
        raise ExportError(f"{arguments.output or '-o'}: output must be a file, not a folder")
    directory = pathlib.Path(arguments.output).resolve().parent
    if not directory.is_dir():
        raise ExportError(f"{arguments.output}: folder {directory} must exist")


def export(arguments: argparse.Namespace, command: str) -> dict[str, Any]:
    """Run all steps and return the report; raises what :func:`main` maps to exit codes."""
    _check(arguments)
    logger.info("load: %s", arguments.checkpoint)
    checkpoint = Checkpoint.load(arguments.checkpoint)

    shares = steps.ternarise(checkpoint)
    logger.info("ternarise: %d layers of frozen codes", len(shares))
    folded = fold(checkpoint)
    logger.info("fold: %d channels negated, %d without inputs", sum(layer.negated for layer in folded),
                sum(layer.zeroed for layer in folded))
    certified = steps.certify(checkpoint, folded, max_fraction=arguments.max_fraction)
    for layer in certified:
        if layer.exact is not None:
            logger.info("certify: %s %s", layer.name, "exact" if layer.exact else
                        f"NOT exact in {len(layer.inexact)} channels: {_few(layer.inexact)}")

    metadata: dict[str, Any] = {
        "name": arguments.name or pathlib.Path(arguments.output).stem,
        "export": {"command": command, "revision": provenance.revision(),
                   "tool_versions": provenance.tool_versions("numpy"), "max_fraction": arguments.max_fraction},
        "training": dict(checkpoint.provenance),
    }
    network = steps.assemble(checkpoint, certified, metadata)
    rows = steps.size(network, certified)
    logger.info("size: %d weights, widest membrane %d bits", network.weight_count,
                max((row.membrane_bits or 0 for row in rows), default=0))
    if arguments.test_images is not None:
        network = _with_accuracy(network, arguments, command)
    content = steps.pack(network)
    logger.info("pack: %d bytes, sha256 %s", len(content), network_file.digest(network))

    if arguments.calibration is None:
        images, sample = random_images(network, np.random.default_rng(0), 32), "noise"
    else:
        images = load_images(arguments.calibration, network, first=arguments.calibration_images)
        sample = arguments.calibration
    verification = steps.verify(checkpoint, content, images)
    logger.info("verify: %d of %d spikes differ from the real-valued layers on %d images of %s",
                sum(verification.mismatches), sum(verification.compared), len(images), sample)
    rows = _with_verification(rows, verification, measured=arguments.calibration is not None)
    for row in rows:
        if row.exact and row.mismatches:
            raise ExportError(f"layer {row.name} must equal the real-valued one, which it is certified to, but "
                              f"{row.mismatches} of {row.compared} spikes differ: float64 rounds at a threshold")

    written: list[str] = []
    if not arguments.dry_run:
        write_atomically(arguments.output, content)
        if network_file.digest(network_file.load(arguments.output)) != network_file.digest(network):
            raise ExportError(f"{arguments.output}: must read back as it was written")
        written.append(arguments.output)
        if arguments.memories is not None:
            names = write_memories(network, arguments.memories, word_bytes=arguments.memory_width // 8)
            written += [str(pathlib.Path(arguments.memories, name)) for name in names]
    return {
        "network_sha256": network_file.digest(network), "bytes": len(content), "written": written,
        "metadata": dict(network.metadata), "layers": [dataclasses.asdict(row) for row in rows],
        "verified_images": len(images), "verified_on": sample,
    }


def _few(channels: Sequence[int]) -> str:
    return ", ".join(map(str, channels[:8])) + (", ..." if len(channels) > 8 else "")


def _with_accuracy(network: Network, arguments: argparse.Namespace, command: str) -> Network:
    images = load_images(arguments.test_images, network)
    labels = load_labels(arguments.test_labels, classes=network.classes)
    if len(labels) != len(images):
        raise ImageError(f"{arguments.test_labels}: labels must be {len(images)} like the images, not {len(labels)}")
    share = steps.accuracy(network, images, labels)
    logger.info("verify: accuracy %.2f %% of %d images, in integers", 100 * share, len(images))
    return dataclasses.replace(network, metadata={
        **network.metadata, "accuracy": share, "accuracy_images": len(images), "accuracy_command": command})


def _with_verification(rows: list[LayerReport], verification: Verification, *, measured: bool) -> list[LayerReport]:
    """Add to each row what ``verification`` found; firing rates only if they were ``measured`` on real images."""
    found = []
    for index, row in enumerate(rows):
        if index < len(verification.spikes):
            firing = verification.spikes[index] / verification.places[index]
            row = dataclasses.replace(
                row, firing=firing if measured else None,
                mismatches=None if row.kind == OrPool.kind else verification.mismatches[index],
                compared=None if row.kind == OrPool.kind else verification.compared[index])
        found.append(row)
    return found


def format_table(report: dict[str, Any]) -> str:
    """Lay out the report as text."""
    head = ("layer", "map", "weights", "zeros", "firing", "F", "current", "membrane", "exact", "differ", "bytes",
            "vs float32")
    lines = [head]

    def cell(value: Any, form: str = "{}") -> str:
        return "-" if value is None else form.format(value)

    for row in report["layers"]:
        exact = cell(row["exact"]) if row["exact"] is not False else f"no ({len(row['inexact'])})"
        lines.append((
            row["name"], " x ".join(map(str, row["shape"])), cell(row["weights"], "{:,}"),
            cell(row["sparsity"], "{:.1%}"), cell(row["firing"], "{:.1%}"), cell(row["fraction"]),
            cell(row["current_bits"], "{} bits"), cell(row["membrane_bits"], "{} bits"),
            "yes" if exact == "True" else exact, cell(row["mismatches"]), cell(row["bytes"], "{:,}"),
            cell(row["compression"], "{:.1f} x")))
    spans = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join([line[0].ljust(spans[0]), *(entry.rjust(span) for entry, span in
                                                  zip(line[1:], spans[1:], strict=True))]) for line in lines]
    metadata = report["metadata"]
    text.append("")
    text.append(f"exact: {'yes, every spike of every layer, for every input' if metadata['exact'] else 'NO'}")
    if "accuracy" in metadata:
        text.append(f"accuracy: {100 * metadata['accuracy']:.2f} % of {metadata['accuracy_images']} images")
    wide = [row["name"] for row in report["layers"] if (row["membrane_bits"] or 0) > _WIDE]
    if wide:
        text.append(f"WIDE: membranes of more than {_WIDE} bits in {', '.join(wide)}")
    text.append(f"sha256: {report['network_sha256']}")
    memories = f" and {len(report['written']) - 1} memory images" if len(report["written"]) > 1 else ""
    text.append(f"written: {', '.join(report['written'][:1]) or 'nothing (dry run)'}{memories}")
    versions = ", ".join(f"{name} {version}" for name, version in metadata["export"]["tool_versions"].items())
    text.append(f"made by: revision {metadata['export']['revision']}, {versions}")
    return "\n".join(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: 0 done, 1 bad input, 2 usage."""
    arguments = create_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING if arguments.quiet else logging.INFO, format="%(message)s", force=True)
    try:
        report = export(arguments, provenance.command_line("export", argv))
    except (CheckpointError, NetworkError, ImageError, ExportError, RealValueError) as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"ERROR: {error.filename}: {error.strerror}\n" if error.filename else f"ERROR: {error}\n")
        return 1
    sys.stdout.write((json.dumps(report) if arguments.json else format_table(report)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
