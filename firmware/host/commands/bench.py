"""``bench``: how many images per second, how long one takes, and where the time goes."""

import argparse
import json
import time

import numpy as np

from arch.images import load_images
from arch.link import BYTE_BITS, CRC_BYTES, HEADER_BYTES
from firmware.host.accelerator import Accelerator
from firmware.host.commands.classify import say_latency
from firmware.host.errors import DeviceError
from reference.generate import random_images
from support.command_line import print_line
from support.counting import counted
from support.progress import Progress

__all__ = ["add"]

_IMAGES, _MAX_IMAGES = 200, 1_000_000
#: Share of the images that are sent one by one, for the time of each.
_ALONE = 4
_PERCENTILES = (50, 90, 99)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", port: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser("bench", parents=[port],
                                 help="measure images per second, the time of one image, and where it goes")
    parser.add_argument("--images", metavar="FILE", help="send the images of FILE, again and again (default: noise)")
    parser.add_argument("--count", metavar="N", type=int, default=_IMAGES,
                        help="send N images one behind the other, then a quarter as many one by one "
                             "(default: %(default)s)")
    parser.set_defaults(work=_work)


def _work(arguments: argparse.Namespace, chip: Accelerator) -> None:
    if not 1 <= arguments.count <= _MAX_IMAGES:
        raise DeviceError(f"--count must be 1 to {_MAX_IMAGES}, not {arguments.count}")
    info = chip.info
    images = load_images(arguments.images, info) if arguments.images else random_images(
        info, np.random.default_rng(0), min(arguments.count, 64))
    batch = images[np.arange(arguments.count) % len(images)]
    say_latency(chip)
    with Progress("bench") as shown:
        # The first image of a session may be sent twice.
        chip.classify(batch[:1])
        begun = time.perf_counter()
        whole = chip.classify(batch, progress=lambda done, total: shown.update(f"{done} of {counted(total, 'image')}"))
        seconds = time.perf_counter() - begun
        alone = []
        for image in batch[:max(1, len(batch) // _ALONE)]:
            begun = time.perf_counter()
            chip.classify(image[None])
            alone.append(time.perf_counter() - begun)
    assert whole.cycles is not None
    engine = float(np.median(whole.cycles)) / (1000 * info.clock_khz)
    frame = HEADER_BYTES + CRC_BYTES
    line = None if chip.port.baud is None else (
        (info.image_bytes + 4 * info.result_words + 2 * frame) * BYTE_BITS / chip.port.baud)
    percentiles = {number: float(np.percentile(alone, number)) for number in _PERCENTILES}
    if arguments.json:
        print_line(json.dumps({
            "images": len(batch), "seconds": seconds, "images_per_second": len(batch) / seconds,
            "latency_seconds": {str(number): value for number, value in percentiles.items()},
            "line_seconds": line, "engine_seconds": engine, "repeated": chip.repeated}))
        return
    print_line(f"images per second  {len(batch) / seconds:.1f}, {counted(len(batch), 'image')}, one behind the other")
    for number, value in percentiles.items():
        print_line(f"one image, {number} %    {1000 * value:.3f} ms of {len(alone)}, one by one")
    middle = percentiles[50]
    print_line(f"of them the engine {1000 * engine:.3f} ms, by its clocks")
    if line is not None:
        print_line(f"and the line       {1000 * line:.3f} ms, by its rate; the rest is USB and the host, "
                   f"{1000 * (middle - engine - line):.3f} ms")
    if chip.repeated:
        print_line(f"repeated           {chip.repeated} requests: faults of the line, or no room in the device")
