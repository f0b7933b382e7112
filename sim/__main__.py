"""``python -m sim``: run a network on images, on the reference, on the RTL, or on both and compare."""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import network_file
from arch.images import ImageError, load_images, load_labels
from arch.network import Network, NetworkError
from sim.engines import Difference, Engine, EngineResult, ReferenceEngine, first_difference, timed
from support import provenance

__all__ = ["create_parser", "main", "simulate"]

#: Images listed one by one in the text report.
_LISTED = 10


class EngineUnavailableError(RuntimeError):
    """An engine cannot run here: a tool is missing."""


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("network", metavar="NETWORK", help="read the network from NETWORK (safetensors)")
    parser.add_argument("--images", metavar="FILE", required=True,
                        help="read images from FILE (idx, idx.gz, npy, npz, PNG)")
    parser.add_argument("--labels", metavar="FILE", help="read labels from FILE and report the accuracy")
    parser.add_argument("--first", metavar="N", type=int, help="use only the first N images (default: all)")
    parser.add_argument("--engine", choices=("reference", "rtl", "both"), default="reference",
                        help="compute on the reference, the RTL, or both and compare (default: reference)")
    parser.add_argument("--spikes", action="store_true",
                        help="compare every layer's spikes too, not only scores and classes (with --engine both)")
    parser.add_argument("--board", metavar="NAME", default="icebreaker",
                        help="simulate the RTL for board NAME (default: icebreaker)")
    parser.add_argument("--lanes", metavar="P", type=int, help="simulate P output channels (default: the mapper's)")
    parser.add_argument("--width", metavar="W", type=int, help="simulate W synapses (default: the mapper's)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _create_engines(network: Network, arguments: argparse.Namespace) -> list[Engine]:
    engines: list[Engine] = []
    if arguments.engine != "rtl":
        engines.append(ReferenceEngine(network))
    if arguments.engine != "reference":
        try:
            rtl = importlib.import_module("sim.rtl")
        except ImportError as error:
            raise EngineUnavailableError(f"engine rtl cannot run here: {error}") from None
        engines.append(rtl.RtlEngine(network, board=arguments.board, lanes=arguments.lanes, width=arguments.width))
    return engines


def simulate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the engines and return the report; raises what :func:`main` maps to exit codes."""
    if arguments.first is not None and arguments.first < 1:
        raise ImageError(f"--first must be 1 or more, not {arguments.first}")
    network = network_file.load(arguments.network)
    images = load_images(arguments.images, network, first=arguments.first)
    labels = None
    if arguments.labels is not None:
        labels = load_labels(arguments.labels, classes=network.classes, first=arguments.first)
        if len(labels) != len(images):
            raise ImageError(f"{arguments.labels}: labels must be {len(images)} like the images, not {len(labels)}")
    engines = _create_engines(network, arguments)
    compare_spikes = arguments.spikes and len(engines) > 1
    results: list[EngineResult] = []
    speeds: dict[str, float] = {}
    for engine in engines:
        result, speed = timed(engine, images, spikes=compare_spikes)
        results.append(result)
        speeds[engine.name] = speed
    difference = None
    if len(engines) > 1:
        difference = first_difference(network, images, results[0], results[1], engines[0], engines[1])
    return _report(arguments, network, labels, results, speeds, difference)


def _report(arguments: argparse.Namespace, network: Network, labels: npt.NDArray[np.int64] | None,
            results: list[EngineResult], speeds: dict[str, float], difference: Difference | None) -> dict[str, Any]:
    result = results[-1]
    report: dict[str, Any] = {
        "network": arguments.network,
        "network_sha256": network_file.digest(network),
        "images": len(result.classes),
        "engines": list(speeds),
        "classes": result.classes.tolist(),
        "scores": result.scores.tolist(),
        "images_per_second": {name: round(speed, 3) for name, speed in speeds.items()},
        "revision": provenance.revision(),
        "tool_versions": provenance.tool_versions("numpy"),
    }
    if labels is not None:
        correct = int(np.count_nonzero(labels == result.classes))
        report |= {"labels": labels.tolist(), "correct": correct, "accuracy": correct / len(labels)}
    if result.cycles is not None:
        report["cycles"] = result.cycles.tolist()
    if result.stall_cycles is not None:
        report["stall_cycles"] = result.stall_cycles.tolist()
    if len(results) > 1:
        report["agree"] = difference is None
        report["spikes_compared"] = arguments.spikes and results[1].spikes is not None
        report["difference"] = None if difference is None else {
            "image": difference.image, "layer": difference.layer, "kind": difference.kind,
            "place": difference.place, "score": difference.score,
            "expected": difference.expected, "actual": difference.actual, "text": str(difference)}
    return report


def _span(values: list[int]) -> str:
    return f"{min(values):,}" if min(values) == max(values) else f"{min(values):,} to {max(values):,}"


def format_report(report: dict[str, Any]) -> str:
    """Lay out the report as text."""
    lines = [f"{report['network']} (sha256 {report['network_sha256'][:16]}), {report['images']} images, " +
             " and ".join(report["engines"])]
    columns = ["image", "class", *(["label"] if "labels" in report else []),
               *(["cycles"] if "cycles" in report else []), "scores"]
    lines.append("  ".join(f"{column:>6}" for column in columns))
    for index in range(min(report["images"], _LISTED)):
        row = [index, report["classes"][index], *([report["labels"][index]] if "labels" in report else []),
               *([report["cycles"][index]] if "cycles" in report else [])]
        scores = " ".join(map(str, report["scores"][index]))
        lines.append("  ".join(f"{value:>6}" for value in row) + "  " + scores)
    if report["images"] > _LISTED:
        lines.append(f"{'...':>6}  ({report['images'] - _LISTED} more; --json lists all)")
    if "accuracy" in report:
        lines.append(f"accuracy: {100 * report['accuracy']:.2f} % ({report['correct']} of {report['images']})")
    if "cycles" in report:
        stalls = f", of them waiting for pixels {_span(report['stall_cycles'])}" if "stall_cycles" in report else ""
        lines.append(f"cycles per image: {_span(report['cycles'])}{stalls}")
    lines.append("images per second: " + ", ".join(f"{name} {speed:,.1f}"
                                                   for name, speed in report["images_per_second"].items()))
    if "agree" in report:
        what = "scores, classes and every layer's spikes" if report["spikes_compared"] else "scores and classes"
        lines.append(f"agreement: {what} of {report['images']} images are equal" if report["agree"] else
                     f"DIFFERENCE: {report['difference']['text']}")
    versions = ", ".join(f"{name} {version}" for name, version in report["tool_versions"].items())
    lines.append(f"made by: revision {report['revision']}, {versions}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: 0 done, 1 bad input or engines that differ, 2 usage, 3 toolchain."""
    arguments = create_parser().parse_args(argv)
    try:
        report = simulate(arguments)
    except (NetworkError, ImageError) as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    except EngineUnavailableError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 3
    except OSError as error:
        sys.stderr.write(f"ERROR: {error.filename}: {error.strerror}\n" if error.filename else f"ERROR: {error}\n")
        return 1
    sys.stdout.write((json.dumps(report) if arguments.json else format_report(report)) + "\n")
    return 0 if report.get("agree", True) else 1


if __name__ == "__main__":
    sys.exit(main())
