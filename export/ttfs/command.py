"""``python -m export.ttfs``: from the checkpoint of a conversion-aware training to the integer network."""

import argparse
import pathlib
from collections.abc import Sequence

import numpy as np

from arch.ttfs import checkpoint as checkpoints
from arch.ttfs import network_file
from arch.ttfs.checkpoint import Checkpoint
from export.ttfs.conversion import convert, verify
from support import provenance
from support.command_line import path_argument, print_line, run
from support.errors import InputError
from support.files import check_output

__all__ = ["create_parser", "export", "main"]

#: Most images of noise on which a network is compared: their spike times are held in memory 100 at a time.
MAX_IMAGES = 1_000_000


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m export.ttfs",
        description="Convert the checkpoint of a conversion-aware training to the integer network with spike times.")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=path_argument,
                        help="read the trained network from CHECKPOINT, NAME.safetensors of python -m train")
    parser.add_argument("-o", "--output", metavar="FILE", type=path_argument, required=True,
                        help="write the integer network to FILE")
    parser.add_argument("--verify-images", metavar="N", type=int, default=32,
                        help="compare every spike time on N images of noise (default: 32)")
    return parser


def _load(path: pathlib.Path) -> Checkpoint:
    """Read the checkpoint; a folder of a training gets the line that says which file of it is meant."""
    if path.is_dir():
        if (path / "result.json").exists() and not list(path.glob("*.safetensors")):
            raise InputError(f"{path}: training has no checkpoint of a network with spike times: if it was trained "
                             f"with an earlier version, remove {path / 'result.json'} and repeat the command of the "
                             f"training, which writes one without training again")
        raise InputError(f"{path}: checkpoint must be a file, not a folder: give the NAME.safetensors in it")
    return checkpoints.load(path)


def export(arguments: argparse.Namespace, command: str) -> str:
    """Convert, compare and write; return what is printed.

    Raises :exc:`support.errors.InputError`, :exc:`OSError`.
    """
    if not 1 <= arguments.verify_images <= MAX_IMAGES:
        raise InputError(f"--verify-images must be 1 to {MAX_IMAGES}, not {arguments.verify_images}")
    check_output(arguments.output, inputs=[arguments.checkpoint])
    trained = _load(arguments.checkpoint)
    converted = convert(trained, {
        "name": arguments.output.stem, "command": command, "revision": provenance.revision(),
        "checkpoint_sha256": checkpoints.digest(trained), "training": dict(trained.provenance)})
    noise = np.random.default_rng(0).integers(0, 256, (arguments.verify_images, *trained.input.shape), dtype=np.uint8)
    found = verify(trained, converted, noise)
    if any(found.mismatches) or found.scores:
        raise InputError(f"{sum(found.mismatches)} spike times and {found.scores} scores differ from the trained "
                         f"network's, which must not be: please report it")
    network_file.save(converted, arguments.output)
    code = converted.code
    exact = "yes, all thresholds are those of exact arithmetic" if converted.metadata["exact"] else (
        "equal to the trained network, but not all thresholds are those of exact arithmetic")
    return (f"code: T = {code.timesteps}, tau = {code.tau}, {code.bits}-bit weights, {code.fraction} fractional bits\n"
            f"verified: {sum(found.places)} places and all scores of {len(noise)} images of noise are equal\n"
            f"exact: {exact}\nsha256: {network_file.digest(converted)}\nwritten: {arguments.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, as :func:`support.command_line.run`."""
    command = provenance.command_line("export.ttfs", argv)
    return run(create_parser(), lambda arguments: print_line(export(arguments, command)), argv)
