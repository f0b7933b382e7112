"""``python -m benchmarks.host``: images per second of the host program on a model of the line, beside the line's own.

The line is a pseudo-terminal whose bytes take the time that they would take on a line of that rate
(:mod:`benchmarks.host.line`); the device is another process. What the host program costs is the time beyond that of the
images' bytes on the line.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arch.link import BAUD_RATES, BYTE_BITS, CRC_BYTES, HEADER_BYTES, Info, InputEncoding
from benchmarks.host.line import answer_to, model_line, take_priority
from firmware.host.accelerator import Accelerator
from firmware.host.ports import check_baud, open_port
from sim.board.server import PseudoTerminal
from support.command_line import print_line, run
from support.errors import InputError

__all__ = ["create_parser", "main"]

#: What the device says that it is: the shipped MNIST network on the iCEBreaker, and its clocks.
_INFO = Info(lanes=8, width=16, circuit_timesteps=4, timesteps=4, encoding=InputEncoding.UNSIGNED, channels=1,
             image_height=28, image_width=28, classes=10, clock_khz=48_000, digest=bytes(8))
_CYCLES = 10_961
_MAX_IMAGES = 10_000_000
#: Images of a block. What else a busy computer does takes time of some blocks; the median is that of the others.
_BLOCK = 20


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.host",
                                     description="Measure what the host program costs beyond the time of the line.")
    parser.add_argument("--baud", metavar="N", type=int, default=max(BAUD_RATES),
                        help="model a line of N baud (default: %(default)s)")
    parser.add_argument("--images", metavar="N", type=int, default=3000, help="send N images (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON, one object")
    parser.add_argument("--device", action="store_true", help="be the device, which the command starts by itself")
    return parser


def _measure(arguments: argparse.Namespace) -> None:
    check_baud(arguments.baud, "--baud")
    if not 1 <= arguments.images <= _MAX_IMAGES:
        raise InputError(f"--images must be 1 to {_MAX_IMAGES}, not {arguments.images}")
    if arguments.device:
        first = take_priority()
        with PseudoTerminal() as terminal:
            print_line(terminal.name)
            late = model_line(terminal, _INFO, baud=arguments.baud, cycles=_CYCLES, until=sys.stdin.fileno())
        print_line(json.dumps({"model_priority": first, "model_late_ms": 1000 * late.seconds / max(late.replies, 1)}))
        return
    images = np.random.default_rng(0).integers(0, 256, (arguments.images, *_INFO.input.shape), dtype=np.uint8)
    command = [sys.executable, "-m", "benchmarks.host", "--device", "--baud", str(arguments.baud)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as device:
        assert device.stdin is not None
        assert device.stdout is not None
        with Accelerator(open_port(device.stdout.readline().strip(), arguments.baud)) as chip:
            chip.classify(images[:2])
            times = [time.perf_counter()]
            result = chip.classify(images, progress=lambda done, total: times.append(time.perf_counter()))
            repeated = chip.repeated
        device.stdin.close()
        model = json.loads(device.stdout.readline())
    expected = [answer_to(image.tobytes(), _INFO, _CYCLES) for image in images]
    if repeated or result.scores.tolist() != [list(one.scores) for one in expected]:
        raise InputError("device must have answered every image once and rightly: this is a fault of the host program")
    line = (_INFO.image_bytes + HEADER_BYTES + CRC_BYTES) * BYTE_BITS / arguments.baud
    # Both ends of a block are results, so its images are all on the line between them.
    blocks = [(last - first) / _BLOCK for first, last in zip(times[1::_BLOCK], times[1 + _BLOCK::_BLOCK], strict=False)]
    seconds = (times[-1] - times[0]) / arguments.images
    report = {"baud": arguments.baud, "images": arguments.images, "images_per_second": 1 / seconds,
              "line_images_per_second": 1 / line, "overhead": seconds / line - 1,
              "overhead_of_blocks": statistics.median(blocks) / line - 1 if blocks else None} | model
    print_line(json.dumps(report) if arguments.json else _text(report))


def _text(report: Mapping[str, Any]) -> str:
    middle = report["overhead_of_blocks"]
    return "\n".join([
        (f"{report['images_per_second']:.1f} images per second of the {report['line_images_per_second']:.1f} that the "
         f"line allows at {report['baud']} baud: overhead {100 * report['overhead']:.2f} %"),
        f"overhead of the median block of {_BLOCK} images: "
        + ("none was measured" if middle is None else f"{100 * middle:.2f} %"),
        (f"the model of the line was late by {report['model_late_ms']:.3f} ms a result, on average, "
         f"{'with' if report['model_priority'] else 'without'} priority over other processes")])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, as :func:`support.command_line.run`."""
    return run(create_parser(), _measure, argv)
