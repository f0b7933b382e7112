"""What ``--program`` writes to the flash of a board: the bitstream at its beginning, the image of models behind it."""

import dataclasses
import pathlib

from arch.flash.circuit import Circuit
from arch.flash.errors import ImageError
from arch.flash.header import BLOCK_BYTES
from arch.flash.image import MAX_IMAGE_BYTES, parse_image
from boards import Board
from gateware.build.request import BuildError
from gateware.reports.folder import BITSTREAM, BuildFolder
from support.command_line import print_line
from support.errors import InputError, printable
from support.files import read_file, write_atomically
from support.tools import ToolError, find_tool, run_tool

__all__ = ["Programming", "ProgrammingError", "load_flash_image"]


class ProgrammingError(BuildError):
    """What is to be written does not fit the flash, the circuit or each other."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedImage:
    """An image of models that may be written: its file, for people, and its content, which was checked."""

    file: str
    content: bytes
    #: Names of its models.
    models: tuple[str, ...]


def load_flash_image(path: pathlib.Path, board: Board, *, circuit: Circuit, clock_hz: float | None) -> LoadedImage:
    """Read an image of models and check all of it, before anything is written.

    Parameters
    ----------
    path : :class:`pathlib.Path`
    board : :class:`boards.Board`
        Whose flash it is for.
    circuit : :class:`arch.flash.circuit.Circuit`
        The circuit of the bitstream.
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
            raise ProgrammingError(
                f"{file}: model {model.number} {printable(model.header.name)!r}: clock must be {clock_hz / 1e6:g} MHz, "
                f"that of the bitstream, not {said_khz / 1e3:g} MHz: make the image with --clock {clock_hz / 1e6:g}")
    return LoadedImage(file=file, content=content, models=tuple(model.header.name for model in stored))


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

    def write(self, folder: BuildFolder, *, bitstream: bytes | None) -> None:
        """Write the bitstream, if there is one, then the image, if there is one.

        Raises
        ------
        :exc:`ProgrammingError`
            As of :meth:`check_room`; then nothing is written.
        :exc:`support.tools.ToolError`
            If the programmer fails, or the flash does not hold what it wrote.
        """
        board, image = self._board, self._image
        if bitstream is not None:
            self.check_room(bitstream)
            self._write(folder, folder.path / BITSTREAM, offset=0)
            print_line(f"programmed the {board.title}")
        if image is not None:
            # What was checked is what is written, whatever happens to the file meanwhile.
            copy = folder.work / "image.bin"
            write_atomically(copy, image.content)
            self._write(folder, copy, offset=board.models_at)
            models = ", ".join(f"{number} {printable(name)}" for number, name in enumerate(image.models))
            print_line(f"programmed {image.file} at {board.models_at:#x} of the {board.title}: "
                       f"model{'s'[:len(image.models) > 1]} {models}")

    def _write(self, folder: BuildFolder, file: pathlib.Path, *, offset: int) -> None:
        programmer, log = self._programmer, folder.work / "programmer.log"
        run_tool(programmer.tool, programmer.command(str(file.resolve()), offset=offset), cwd=folder.path, log=log)
        written = file.read_bytes()
        back = folder.work / "read_back.bin"
        # What an earlier command left is not what this one reads.
        back.unlink(missing_ok=True)
        reading = programmer.read_command(str(back.resolve()), size=len(written), offset=offset)
        if reading is not None:
            run_tool(programmer.tool, reading, cwd=folder.path, log=log)
            self._compare(written, back, offset=offset)
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
