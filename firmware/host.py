"""Classify images on a board: ``python -m firmware.host classify --port PORT IMAGE``.

:class:`Link` speaks the protocol of :mod:`arch.link` over any transport: a serial port, a simulated board behind a
pipe, or a simulation in the same process.
"""

import argparse
import collections
import dataclasses
import json
import os
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import serial

from arch.link import (
    TIMEOUT_BITS,
    Command,
    ErrorCode,
    Frame,
    FrameReader,
    Info,
    LinkError,
    Reply,
    Result,
)
from firmware.images import ImageError, read_image
from support.errors import InputError

__all__ = ["DeviceError", "Link", "PipeTransport", "SerialTransport", "Transport", "create_parser", "main", "open_port"]

DEFAULT_BAUD = 3_000_000
EXIT_OK, EXIT_INPUT = 0, 1
#: Images that may be on their way: one computes while the next arrives.
_WINDOW = 2


class DeviceError(InputError):
    """The device does not answer, or not as it should."""


class Transport(Protocol):
    """A full-duplex line of bytes."""

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""

    def read(self, size: int, timeout: float) -> bytes:
        """Return at least one and up to ``size`` bytes, or none after ``timeout`` seconds without any."""

    def close(self) -> None:
        """Release the line."""


class SerialTransport:
    """A serial device."""

    def __init__(self, device: str, baud: int) -> None:
        self._port = serial.Serial(device, baud, timeout=0, write_timeout=10)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._port.write(data)

    def read(self, size: int, timeout: float) -> bytes:
        """Return what arrives within ``timeout`` seconds."""
        self._port.timeout = timeout
        data: bytes = self._port.read(1)
        return data + self._port.read(min(size - 1, self._port.in_waiting)) if data else b""

    def close(self) -> None:
        """Close the device."""
        self._port.close()


class PipeTransport:
    """A program whose stdin and stdout are the line: a simulated board."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def write(self, data: bytes) -> None:
        """Send bytes."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._stdin.write(view) :]
        except BrokenPipeError as error:
            raise self._ended() from error

    def read(self, size: int, timeout: float) -> bytes:
        """Return what arrives within ``timeout`` seconds."""
        readable, _, _ = select.select([self._stdout], [], [], timeout)
        if not readable:
            return b""
        data = os.read(self._stdout.fileno(), size)
        if not data:
            raise self._ended()
        return data

    def _ended(self) -> DeviceError:
        return DeviceError(f"simulated board ended with exit status {self._process.wait()}")

    def close(self) -> None:
        """End the program."""
        self._process.terminate()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()


def open_port(port: str, baud: int = DEFAULT_BAUD) -> Transport:
    """Open a serial device, or start a simulated board: ``sim:`` and the command line of a program."""
    if port.startswith("sim:"):
        command = shlex.split(port.removeprefix("sim:"))
        if not command:
            raise DeviceError("port sim: must name a program")
        return PipeTransport(command)
    return SerialTransport(port, baud)


@dataclasses.dataclass(kw_only=True, slots=True)
class _Request:
    """A request until its reply."""

    command: Command
    reply: Reply
    payload: bytes
    tag: int = 0
    attempts: int = 0
    answer: bytes | None = None


class Link:
    """Requests to a device, repeated when the line corrupts them.

    Parameters
    ----------
    transport : :class:`Transport`
        The line. The link closes it.
    timeout : :class:`float`
        Seconds without a byte until an answer is given up.
    silence : :class:`float`
        Seconds that the device needs to give up a broken frame: more than 65,536 bit times.
    retries : :class:`int`
        How often a request is repeated.
    """

    def __init__(self, transport: Transport, *, timeout: float = 1.0, silence: float = 0.1, retries: int = 3) -> None:
        self._transport = transport
        self._timeout = timeout
        self._silence = silence
        self._retries = retries
        self._reader = FrameReader()
        self._tag = 0
        self._info: Info | None = None
        #: Requests that had to be repeated so far.
        self.repeated = 0

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def info(self) -> Info:
        """Return the info block; asks the device once.

        Raises
        ------
        :exc:`DeviceError`
            If the device does not answer.
        :exc:`arch.link.LinkError`
            If it speaks another version of the protocol.
        """
        if self._info is None:
            request = _Request(command=Command.INFO, reply=Reply.INFO, payload=b"")
            (answer,) = self._exchange([request], window=1)
            self._info = Info.from_bytes(answer)
        return self._info

    def classify(self, image: bytes) -> Result:
        """Classify one image, given as the payload of a CLASSIFY."""
        (result,) = self.classify_all([image])
        return result

    def classify_all(self, images: Iterable[bytes]) -> Iterator[Result]:
        """Classify images one after the other; the next one is sent while the device computes.

        Raises
        ------
        :exc:`DeviceError`
            If the device does not answer, or refuses an image.
        :exc:`arch.link.LinkError`
            If an image has not the device's size, or an answer is malformed.
        """
        info = self.info()

        def requests() -> Iterator[_Request]:
            for image in images:
                if len(image) != info.image_bytes:
                    raise LinkError(
                        f"image must have {info.image_bytes} bytes ({info.image_height} x {info.image_width} x "
                        f"{info.channels}), not {len(image)}"
                    )
                yield _Request(command=Command.CLASSIFY, reply=Reply.RESULT, payload=image)

        for answer in self._exchange(requests(), window=_WINDOW):
            yield Result.from_bytes(answer, info.classes)

    def _exchange(self, requests: Iterable[_Request], window: int) -> Iterator[bytes]:
        waiting: collections.deque[_Request] = collections.deque()
        source = iter(requests)
        while True:
            while len(waiting) < window and (request := next(source, None)) is not None:
                self._send(request)
                waiting.append(request)
            if not waiting:
                return
            self._receive(waiting)
            while waiting and (answer := waiting[0].answer) is not None:
                yield answer
                waiting.popleft()

    def _send(self, request: _Request) -> None:
        if request.attempts > self._retries:
            raise DeviceError(f"no valid answer to {request.command.name} in {request.attempts} attempts")
        self.repeated += request.attempts > 0
        request.attempts += 1
        self._tag = (self._tag + 1) & 0xFF
        request.tag = self._tag
        self._transport.write(Frame(command=request.command, tag=request.tag, payload=request.payload).to_bytes())

    def _receive(self, waiting: Iterable[_Request]) -> None:
        """Take frames until one answers a request; repeat what was lost."""
        bad_frames = self._reader.bad_frames
        deadline = time.monotonic() + self._timeout
        while True:
            data = self._transport.read(4096, self._timeout)
            answered = False
            for frame in self._reader.feed(data):
                request = next((r for r in waiting if r.tag == frame.tag and r.answer is None), None)
                if frame.command == Reply.ERROR:
                    if self._refused(request, frame.payload):
                        return self._repeat(waiting)
                    answered = True
                elif request is not None and frame.command == request.reply:
                    request.answer = frame.payload
                    answered = True
            if answered:
                return None
            # A frame that is still coming counts as an answer; endless noise does not.
            if not data or self._reader.bad_frames > bad_frames or time.monotonic() > deadline + 10 * self._timeout:
                return self._repeat(waiting)

    def _refused(self, request: _Request | None, payload: bytes) -> bool:
        """Judge an ERROR; return whether everything on its way must be repeated."""
        code = payload[0] if len(payload) == 1 else 0
        if request is None:
            # The tag of a frame with a bad CRC may be wrong as well. Other codes answer what was given up before.
            return code == ErrorCode.BAD_CRC
        if code in (ErrorCode.BAD_CRC, ErrorCode.OVERRUN):
            self._send(request)
            return False
        if code == ErrorCode.BUSY:
            return True
        name = ErrorCode(code).name if code in tuple(ErrorCode) else f"error {code}"
        raise DeviceError(f"device refuses {request.command.name}: {name.replace('_', ' ').lower()}")

    def _repeat(self, waiting: Iterable[_Request]) -> None:
        """Wait until both ends have forgotten unfinished frames, then send again what has no answer."""
        limit = time.monotonic() + self._timeout + 10 * self._silence
        while self._transport.read(4096, self._silence):
            if time.monotonic() > limit:
                raise DeviceError("device does not stop sending")
        self._reader.reset()
        for request in waiting:
            if request.answer is None:
                self._send(request)


def create_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m firmware.host", description="Talk to an accelerator over its host link."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    port = argparse.ArgumentParser(add_help=False)
    port.add_argument(
        "--port",
        metavar="PORT",
        required=True,
        help="talk to serial device PORT, or run a simulated board: sim:PROGRAM",
    )
    port.add_argument(
        "--baud", metavar="N", type=int, default=DEFAULT_BAUD, help="set the line to N baud (default: %(default)s)"
    )
    port.add_argument(
        "--timeout",
        metavar="S",
        type=float,
        default=1.0,
        help="give up an answer after S seconds (default: %(default)s)",
    )
    port.add_argument("--json", action="store_true", help="print JSON")
    commands.add_parser("info", parents=[port], help="print what the board is and runs")
    classify = commands.add_parser("classify", parents=[port], help="classify images")
    classify.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="read images from IMAGE (.npy, .png)")
    return parser


def _print_info(info: Info, as_json: bool) -> None:
    fields = dataclasses.asdict(info) | {"encoding": info.encoding.name.lower(), "digest": info.digest.hex()}
    if as_json:
        print(json.dumps(fields))  # noqa: T201
    else:
        for name, value in fields.items():
            print(f"{name:<14}{value}")  # noqa: T201


def _print_result(path: Path, result: Result, info: Info, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"image": str(path)} | dataclasses.asdict(result)))  # noqa: T201
    else:
        scores = " ".join(str(score) for score in result.scores)
        print(  # noqa: T201
            f"{path}: class {result.label}, {result.cycles} cycles ({result.cycles / info.clock_khz:.3f} ms), "
            f"{result.stalls} stalls, scores {scores}"
        )


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if args.baud < 1 or args.timeout <= 0:
        raise DeviceError("--baud and --timeout must be positive")
    link = Link(open_port(args.port, args.baud), timeout=args.timeout, silence=max(0.1, 1.5 * TIMEOUT_BITS / args.baud))
    try:
        info = link.info()
        if args.command == "info":
            _print_info(info, args.json)
            return
        images = [read_image(path, info) for path in args.images]
        for path, result in zip(args.images, link.classify_all(images), strict=True):
            _print_result(path, result, info, args.json)
    finally:
        link.close()


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    args = create_parser().parse_args(argv)
    try:
        run(args)
    except (DeviceError, ImageError, LinkError, OSError, serial.SerialException, ValueError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"ERROR: {message}", file=sys.stderr)  # noqa: T201
        return EXIT_INPUT
    except KeyboardInterrupt:
        print("ERROR: interrupted", file=sys.stderr)  # noqa: T201
        return EXIT_INPUT
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
