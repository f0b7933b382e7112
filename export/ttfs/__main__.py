"""``python -m export.ttfs``: from a finished conversion-aware training to the integer network with spike times."""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from arch.network import NetworkError
from arch.ttfs import network_file
from export.certificate import RealValueError
from export.ttfs.conversion import convert, verify
from support import provenance
from train.folder import TrainingError, load_trained
from train.ttfs.network import CatNetwork

__all__ = ["create_parser", "main"]


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m export.ttfs",
        description="Convert a finished conversion-aware training to the integer network with spike times.")
    parser.add_argument("run", metavar="RUN", type=pathlib.Path, help="folder that python -m train filled")
    parser.add_argument("-o", "--output", metavar="FILE", type=pathlib.Path, required=True,
                        help="write the network to FILE")
    parser.add_argument("--verify-images", metavar="N", type=int, default=32,
                        help="compare every spike time on N images of noise (default: 32)")
    return parser


def _export(arguments: argparse.Namespace, command: str) -> str:
    if arguments.verify_images < 1:
        raise ValueError(f"--verify-images must be 1 or more, not {arguments.verify_images}")
    if arguments.output.is_dir():
        raise ValueError(f"{arguments.output}: output must be a file, not a folder")
    if not arguments.output.resolve().parent.is_dir():
        raise ValueError(f"{arguments.output}: folder {arguments.output.resolve().parent} must exist")
    network = load_trained(arguments.run)
    if not isinstance(network, CatNetwork):
        raise ValueError(f"{arguments.run}: holds a training without spike times: give its checkpoint to "
                         f"python -m export")
    converted = convert(network, {"name": arguments.output.stem, "command": command,
                                  "revision": provenance.revision()})
    source = converted.input
    noise = np.random.default_rng(0).integers(
        0, 256, (arguments.verify_images, source.channels, source.height, source.width), dtype=np.uint8)
    found = verify(network, converted, noise)
    if any(found.mismatches) or found.scores:
        raise ValueError(f"{sum(found.mismatches)} spike times and {found.scores} scores differ from the trained "
                         f"network's, which must not be: please report it")
    network_file.save(converted, arguments.output)
    code = converted.code
    exact = "yes, all thresholds are those of exact arithmetic" if converted.metadata["exact"] else (
        "equal to the trained network, but not all thresholds are those of exact arithmetic")
    return (f"code: T = {code.timesteps}, tau = {code.tau}, {code.bits}-bit weights, {code.fraction} fractional bits\n"
            f"verified: {sum(found.places)} places and all scores of {len(noise)} images of noise are equal\n"
            f"exact: {exact}\nsha256: {network_file.digest(converted)}\nwritten: {arguments.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: 0 done, 1 bad input, 2 usage."""
    arguments = create_parser().parse_args(argv)
    try:
        text = _export(arguments, provenance.command_line("export.ttfs", argv))
    except (TrainingError, NetworkError, RealValueError, ValueError, OSError) as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
