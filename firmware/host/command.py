"""Classify images on a board: ``python -m firmware.host classify --port PORT FILE``."""

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence

from arch.images import image_bytes, load_images
from arch.link import BAUD_RATES, TIMEOUT_BITS, Info, Result
from firmware.host import latency
from firmware.host.errors import DeviceError
from firmware.host.link import Link
from firmware.host.transports import SerialTransport, Transport, open_port
from support import command_line
from support.command_line import print_line, print_note
from support.errors import printable
from support.progress import Progress

__all__ = ["DEFAULT_BAUD", "MAX_TIMEOUT_SECONDS", "create_parser", "main"]

#: Rate of the line of the shipped bitstreams.
DEFAULT_BAUD = 3_000_000
#: Limits of ``--timeout``.
_MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS = 0.001, 3600.0
#: Shortest silence that separates sessions, in seconds: a USB bridge keeps bytes for up to 16 ms.
_SILENCE_SECONDS = 0.1


def create_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m firmware.host",
                                     description="Talk to an accelerator over its host link.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    port = argparse.ArgumentParser(add_help=False)
    port.add_argument("--port", metavar="PORT", required=True,
                      help="talk to serial device PORT, or run a simulated board: sim:PROGRAM")
    port.add_argument("--baud", metavar="N", type=int,
                      help=f"set the line to N baud, {_listed(BAUD_RATES)} (default: {DEFAULT_BAUD})")
    port.add_argument("--timeout", metavar="S", type=float, default=1.0,
                      help="give up an answer after S seconds (default: %(default)s)")
    port.add_argument("--json", action="store_true", help="print JSON, an object per line")
    commands.add_parser("info", parents=[port], help="print what the board is and runs")
    select = commands.add_parser("select", parents=[port], help="choose a model of the board's flash")
    select.add_argument("model", metavar="N", type=int, help="choose model N of the directory, from 0")
    classify = commands.add_parser("classify", parents=[port], help="classify images")
    classify.add_argument("images", metavar="FILE", nargs="+",
                          help="read an image, or several, from FILE (idx, idx.gz, npy, npz, PNG)")
    return parser


def _listed(numbers: Sequence[int]) -> str:
    *most, last = numbers
    return f"{', '.join(map(str, most))} or {last}"


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that make no sense; raises :exc:`DeviceError`."""
    if arguments.baud is not None and arguments.baud not in BAUD_RATES:
        raise DeviceError(f"--baud must be {_listed(BAUD_RATES)}, not {arguments.baud}")
    if arguments.baud is not None and arguments.port.startswith("sim:"):
        raise DeviceError(f"--baud must be left out for a simulated board, not {arguments.baud}: it has no line")
    # Written so that nan is refused too.
    if not _MIN_TIMEOUT_SECONDS <= arguments.timeout <= MAX_TIMEOUT_SECONDS:
        raise DeviceError(f"--timeout must be {_MIN_TIMEOUT_SECONDS:g} to {MAX_TIMEOUT_SECONDS:g} seconds, "
                          f"not {arguments.timeout:g}")


def _print_info(info: Info, as_json: bool) -> None:
    fields = dataclasses.asdict(info) | {"encoding": info.encoding.name.lower(), "digest": info.digest.hex()}
    if as_json:
        print_line(json.dumps(fields))
        return
    for name, value in fields.items():
        print_line(f"{name:<18}{value}")


def _print_result(path: str, index: int | None, result: Result, info: Info, as_json: bool) -> None:
    """Print a result; ``index`` is that of the image in its file, None if the file has one."""
    if as_json:
        print_line(json.dumps({"image": path, "index": index or 0} | dataclasses.asdict(result)))
        return
    name = printable(path) + ("" if index is None else f"[{index}]")
    print_line(f"{name}: class {result.label}, {result.cycles} cycles ({result.cycles / info.clock_khz:.3f} ms), "
               f"{result.stalls} stalls, {result.flash_stalls} flash stalls, "
               f"scores {' '.join(map(str, result.scores))}")


def _say_latency(transport: Transport, info: Info, arguments: argparse.Namespace) -> None:
    """Say what the latency timer costs, where it could not be set and costs something."""
    if not isinstance(transport, SerialTransport) or transport.latency_ms is None:
        return
    baud = arguments.baud or DEFAULT_BAUD
    now, best = (latency.images_per_second(info.image_bytes, info.classes, baud=baud, latency_ms=milliseconds)
                 for milliseconds in (transport.latency_ms, latency.BEST_MS))
    if math.floor(now) < math.floor(best):
        timer = latency.timer_of(arguments.port)
        print_note(f"the port's latency timer of {transport.latency_ms} ms allows {now:.0f} images per second, 1 ms "
                   f"allows {best:.0f}: echo 1 | sudo tee {timer}")


def work(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for; raises what :func:`support.command_line.run` turns into a line."""
    _check(arguments)
    baud = arguments.baud or DEFAULT_BAUD
    transport = open_port(arguments.port, baud)
    try:
        link = Link(transport, timeout=arguments.timeout, silence=max(_SILENCE_SECONDS, 1.5 * TIMEOUT_BITS / baud))
        info = link.select(arguments.model) if arguments.command == "select" else link.info()
        if arguments.command != "classify":
            _print_info(info, arguments.json)
            return
        with Progress("reading images") as shown:
            batches = [load_images(path, info, progress=lambda done, total: shown.update(
                f"{done >> 20} of {total >> 20} MiB")) for path in arguments.images]
        names = [(path, None if len(batch) == 1 else index)
                 for path, batch in zip(arguments.images, batches, strict=True) for index in range(len(batch))]
        if len(names) > latency.WINDOW:
            _say_latency(transport, info, arguments)
        results = link.classify_all(image_bytes(info, image) for batch in batches for image in batch)
        for (path, index), result in zip(names, results, strict=True):
            _print_result(path, index, result, info, arguments.json)
    finally:
        transport.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return command_line.run(create_parser(), work, argv)
