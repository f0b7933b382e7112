"""``verify``: compare what a board computes with the reference, bit for bit."""

import argparse
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import network_file
from arch.images import load_images
from arch.network import Network
from firmware.host.accelerator import Accelerator
from firmware.host.errors import DeviceError
from reference.engines import ReferenceEngine, first_difference
from reference.generate import random_images
from support.command_line import path_argument, print_line
from support.counting import counted
from support.progress import Progress

__all__ = ["add"]

#: Images that are compared if no number is given.
_IMAGES = 100
#: Most of them.
_MAX_IMAGES = 1_000_000
#: Seed of the noise.
_SEED = 0


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", port: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser("verify", parents=[port],
                                 help="compare the scores of the board with those of the reference")
    parser.add_argument("network", metavar="NETWORK", type=path_argument, help="compute with the network file NETWORK")
    parser.add_argument("--images", metavar="FILE", help="compare the images of FILE (default: black, white and noise)")
    parser.add_argument("--first", metavar="N", type=int, default=None,
                        help=f"compare the first N images (default: {_IMAGES}, or all of FILE)")
    parser.set_defaults(work=_work)


def _images(arguments: argparse.Namespace, network: Network) -> npt.NDArray[Any]:
    if arguments.first is not None and not 1 <= arguments.first <= _MAX_IMAGES:
        raise DeviceError(f"--first must be 1 to {_MAX_IMAGES}, not {arguments.first}")
    if arguments.images is not None:
        return load_images(arguments.images, network, first=arguments.first, asked_by="--first")
    return random_images(network, np.random.default_rng(_SEED), arguments.first or _IMAGES)


def _work(arguments: argparse.Namespace, chip: Accelerator) -> None:
    """Compare; raises :exc:`firmware.host.errors.DeviceError` with the first difference."""
    network = network_file.load(arguments.network)
    digest = network_file.digest(network)
    if not digest.startswith(chip.info.digest.hex()):
        raise DeviceError(f"board must run the network with the sha256 {digest[:16]}, not {chip.info.digest.hex()}: "
                          "name the file of its network, or select another model")
    images = _images(arguments, network)
    with Progress("verify") as shown:
        actual = chip.classify(
            images, progress=lambda done, total: shown.update(f"{done} of {counted(total, 'image')}"))
    reference = ReferenceEngine(network)
    expected = reference.classify(images)
    difference = first_difference(network, images, expected, actual, reference, chip)
    if difference is not None:
        raise DeviceError(f"board must compute what the reference does: {difference}")
    assert actual.cycles is not None
    if arguments.json:
        print_line(json.dumps({"images": len(images), "equal": True, "cycles": sorted(set(actual.cycles.tolist())),
                               "repeated": chip.repeated}))
        return
    print_line(f"equal: scores and classes of {counted(len(images), 'image')}, {int(actual.cycles.min())} to "
               f"{int(actual.cycles.max())} cycles, {chip.repeated} requests repeated")
