"""Writes the flash of a board: the bitstream at its beginning, the image of models behind it.

What is written was checked before: that the image is for the circuit and has room, and that a bitstream is the one that
the report beside it is of. ``python -m gateware.build --program`` and ``python -m firmware.host swap`` write with this.
"""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Callable

from arch import strict_json
from arch.flash.circuit import Circuit
from arch.flash.errors import ImageError
from arch.flash.header import BLOCK_BYTES
from arch.flash.image import MAX_IMAGE_BYTES, parse_image
from arch.json_object import make
from arch.link import Info
from boards.board import Board, BoardError
from support.command_line import print_line
from support.errors import InputError, printable
from support.files import read_file, write_atomically
from support.tools import ToolError, find_tool, run_tool

__all__ = ["BITSTREAM", "REPORT", "LoadedBitstream", "LoadedImage", "Programming", "ProgrammingError",
           "load_bitstream", "load_flash_image"]

#: Names of a bitstream and of its report, in the folder of a build.
BITSTREAM, REPORT = "sterna.bin", "report.json"
#: Largest report and bitstream that are read.
_REPORT_BYTES, _BITSTREAM_BYTES = 1 << 24, 1 << 24


class ProgrammingError(BoardError):
    """What is to be written does not fit the flash, the circuit or each other."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedBitstream:
    """A bitstream that may be written: its content, and what its report says of it."""

    content: bytes
    #: Name of the board.
    board: str
    #: Rate of the host link, in baud.
    baud: int
    #: Name of the network and the SHA-256 of its file; None for the overlay, which has none.
    network: str | None
    network_sha256: str | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Report:
    """What is read of the report of a build (docs/formats.md)."""

    board: str
    baud: int
    bitstream_sha256: str
    network: str | None = None
    network_sha256: str | None = None

    def __post_init__(self) -> None:
        if self.network_sha256 is not None and self.network is None:
            raise ValueError("a network must have a name")
        for digest in (self.bitstream_sha256, self.network_sha256):
            if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError("a SHA-256 must be 64 hexadecimal digits")


def load_bitstream(path: pathlib.Path) -> LoadedBitstream:
    """Read a bitstream and the report beside it, which must be of this bitstream.

    Raises
    ------
    :exc:`ProgrammingError`
        If one of the two is missing, or they do not belong together.
    :exc:`support.errors.InputError`, :exc:`OSError`
        If a file cannot be read.
    """
    beside = path.with_name(REPORT)
    try:
        bitstream = read_file(path, limit=_BITSTREAM_BYTES)
        report = make(_Report, strict_json.parse(read_file(beside, limit=_REPORT_BYTES)))
    except (FileNotFoundError, ValueError):
        raise ProgrammingError(f"{printable(str(path.parent))}: must have the {path.name} and the {REPORT} of a build: "
                               "build first") from None
    found = hashlib.sha256(bitstream).hexdigest()
    if found != report.bitstream_sha256:
        raise ProgrammingError(f"{printable(str(path))}: sha256 must be that of its {REPORT}, "
                               f"{report.bitstream_sha256}, not {found}: build again")
    return LoadedBitstream(content=bitstream, board=report.board, baud=report.baud, network=report.network,
                           network_sha256=report.network_sha256)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedImage:
    """An image of models that may be written: its file, for people, and its content, which was checked."""

    file: str
    content: bytes
    #: Info blocks of its models, with which the board answers when they are selected.
    models: tuple[Info, ...]


def load_flash_image(path: pathlib.Path, board: Board, *, circuit: Circuit | None = None,
                     clock_hz: float | None = None) -> LoadedImage:
    """Read an image of models and check all of it, before anything is written.

    Parameters
    ----------
    path : :class:`pathlib.Path`
    board : :class:`boards.Board`
        Whose flash it is for.
    circuit : :class:`arch.flash.circuit.Circuit`, optional
        The circuit of the bitstream; None where it is not known.
    clock_hz : :class:`float`, optional
        Its clock, in Hz, which the image tells hosts; None where it is not known.

    Raises
    ------
    :exc:`ProgrammingError`
        If the image is damaged, for another circuit, clock or place, or too large for the flash.
    :exc:`support.errors.InputError`, :exc:`OSError`
        If the file cannot be read.
    """
    file = printable(str(path))
    content = read_file(path, limit=MAX_IMAGE_BYTES)
    room = board.flash_bytes - board.models_at
    if len(content) > room:
        raise ProgrammingError(f"{file}: image must be at most {room} bytes, to end within the "
                               f"{board.flash_bytes >> 20} MiB of flash of the {board.title}, not {len(content)}: "
                               f"make it of fewer networks")
    try:
        stored = parse_image(content, base=board.models_at, circuit=circuit)
    except ImageError as error:
        raise ProgrammingError(f"{file}: {error}") from None
    for model in stored:
        said_khz = model.header.info.clock_khz
        if clock_hz is not None and said_khz != round(clock_hz / 1e3):
            clock_mhz = f"{clock_hz / 1e6:.12g}"
            raise ProgrammingError(
                f"{file}: model {model.number} {printable(model.header.name)!r}: clock must be {clock_mhz} MHz, "
                f"that of the bitstream, not {said_khz / 1e3:.12g} MHz: make the image with --clock {clock_mhz}")
    return LoadedImage(file=file, content=content, models=tuple(model.header.info for model in stored))


class Programming:
    """Writes to the flash of a board.

    Parameters
    ----------
    board : :class:`boards.Board`
    programmer : :class:`str`, optional
        Name of the program that writes (default: the first of the board's).
    image : :class:`LoadedImage`, optional
        Image of models that is to be written.

    Raises
    ------
    :exc:`boards.BoardError`
        If the programmer is not for this board.
    :exc:`support.tools.ToolMissingError`
        If it is not installed.
    """

    def __init__(self, board: Board, *, programmer: str | None = None, image: LoadedImage | None = None):
        self._board = board
        self._image = image
        self._programmer = board.programmer(programmer)
        find_tool(self._programmer.tool)

    def check_room(self, bitstream: bytes) -> None:
        """Raise :exc:`ProgrammingError` if the image would be written over the bitstream.

        Programmers erase whole blocks, so the blocks of the one must not be blocks of the other.
        """
        board = self._board
        end = -(-len(bitstream) // BLOCK_BYTES) * BLOCK_BYTES
        if self._image is not None and end > board.models_at:
            raise ProgrammingError(
                f"bitstream must end before {board.models_at:#x}, where the image of the {board.title} begins, not "
                f"take the flash to {end:#x}, in blocks of {BLOCK_BYTES >> 10} KiB: change models_at of the board")

    def write(self, work: pathlib.Path, *, bitstream: bytes | None,
              say: Callable[[str], object] = print_line) -> None:
        """Write the bitstream, if there is one, then the image, if there is one.

        Parameters
        ----------
        work : :class:`pathlib.Path`
            Folder in which the programmer runs, for what it reads, and for its log.
        bitstream : :class:`bytes`, optional
        say : callable
            Told of what was written, a line each.

        Raises
        ------
        :exc:`ProgrammingError`
            As of :meth:`check_room`; then nothing is written.
        :exc:`support.tools.ToolError`
            If the programmer fails, or the flash does not hold what it wrote.
        :exc:`KeyboardInterrupt`
            On Ctrl-C, with a text that says what that leaves.
        """
        board, image = self._board, self._image
        if bitstream is not None:
            self.check_room(bitstream)
            self._write_or_say(work, BITSTREAM, bitstream, offset=0)
            say(f"programmed the {board.title}")
        if image is not None:
            self._write_or_say(work, "image.bin", image.content, offset=board.models_at)
            models = ", ".join(f"{number} {printable(info.name)}" for number, info in enumerate(image.models))
            say(f"programmed {image.file} at {board.models_at:#x} of the {board.title}: "
                f"model{'s'[:len(image.models) > 1]} {models}")

    def _write_or_say(self, work: pathlib.Path, name: str, content: bytes, *, offset: int) -> None:
        """Write; say on Ctrl-C what that leaves."""
        try:
            self._write(work, name, content, offset=offset)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted while {self._programmer.tool.name} was at work: the flash of the "
                                    f"{self._board.title} may be half written, so run the command again") from None

    def _write(self, work: pathlib.Path, name: str, content: bytes, *, offset: int) -> None:
        programmer, log = self._programmer, work / "programmer.log"
        # What was checked is what is written, whatever happens to the file that it came from.
        file = work / name
        write_atomically(file, content)
        run_tool(programmer.tool, programmer.command(str(file.resolve()), offset=offset), cwd=work, log=log)
        back = work / "read_back.bin"
        # What an earlier command left is not what this one reads.
        back.unlink(missing_ok=True)
        reading = programmer.read_command(str(back.resolve()), size=len(content), offset=offset)
        if reading is not None:
            run_tool(programmer.tool, reading, cwd=work, log=log)
            self._compare(content, back, offset=offset)
            back.unlink()

    def _compare(self, written: bytes, back: pathlib.Path, *, offset: int) -> None:
        """Raise :exc:`support.tools.ToolError` if what was read back from the flash is not what was written."""
        tool, remedy = self._programmer.tool.name, "check the cable and the supply, and write again"
        try:
            found = read_file(back, limit=len(written))
        except (FileNotFoundError, InputError):
            found = b""
        if len(found) != len(written):
            raise ToolError(f"{tool} failed: flash of the {self._board.title} could not be read back: {remedy}")
        if found != written:
            place = next(place for place, (byte, right) in enumerate(zip(found, written, strict=True)) if byte != right)
            raise ToolError(
                f"{tool} failed: byte {offset + place:#x} of the flash of the {self._board.title} must be "
                f"{written[place]:#04x}, which was written, not {found[place]:#04x}: {remedy}")
