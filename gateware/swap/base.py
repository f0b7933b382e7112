"""The base of a build: the placed design with marks in its memories, and which circuit it is, as one file.

``base.zip`` has ``circuit.json`` and the files that the bitstream is packed of, under their names.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

from arch import strict_json
from arch.json_object import make
from arch.strict_json import short
from boards import BOARDS, Board
from gateware.engine.configuration import EngineConfig
from gateware.reports.archive import MAX_BYTES, pack, unpack
from gateware.reports.folder import BASE
from support.errors import InputError
from support.files import read_file

__all__ = ["Base", "BaseError", "load_base"]

_CIRCUIT = "circuit.json"


class BaseError(InputError):
    """A folder or a file is no base of this version, or a network does not fit it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Circuit:
    """The object of ``circuit.json``; the fields are those of :class:`Base`."""

    #: Name of the board.
    board: str
    clock_hz: float
    baud: int
    image_bytes: int
    classes: int
    #: Fields of :class:`gateware.engine.configuration.EngineConfig`.
    parameters: EngineConfig

    def check(self, board: Board) -> None:
        """Check what the types do not say; raises :exc:`ValueError`."""
        for name in ("image_bytes", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {short(getattr(self, name))}")
        board.check_clock(self.clock_hz)
        board.divisor(self.clock_hz, self.baud)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Base:
    """A placed design that runs every network of its circuit with images of its size and as many classes."""

    board: Board
    #: Clock in Hz, and rate of the host link in baud.
    clock_hz: float
    baud: int
    #: The circuit.
    config: EngineConfig
    #: Bytes of an image, and classes of a result.
    image_bytes: int
    classes: int
    #: Inputs of :meth:`boards.families.family.Family.pack`, by name.
    routed: Mapping[str, bytes]

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        circuit = {"board": self.board.name, "clock_hz": self.clock_hz, "baud": self.baud,
                   "image_bytes": self.image_bytes, "classes": self.classes,
                   "parameters": dataclasses.asdict(self.config)}
        return pack({_CIRCUIT: json.dumps(circuit, indent=2).encode(), **dict(sorted(self.routed.items()))})

    @classmethod
    def from_bytes(cls, content: bytes, *, name: str) -> "Base":
        """Read what :meth:`to_bytes` made; ``name`` is the file, for messages.

        Raises
        ------
        :exc:`BaseError`
            If it is no base of this version.
        """
        try:
            circuit = make(_Circuit, strict_json.parse(unpack(content, [_CIRCUIT])[_CIRCUIT]), exact=True)
            if circuit.board not in BOARDS:
                raise ValueError(f"board must be one of {', '.join(sorted(BOARDS))}, not {short(circuit.board)}")
            board = BOARDS[circuit.board]
            routed = unpack(content, board.fpga.pack().inputs)
            circuit.check(board)
        except ValueError as error:
            raise BaseError(f"{name}: must be a {BASE} of this version of python -m gateware.build: "
                            f"{error}: build the folder again") from None
        return cls(board=board, clock_hz=circuit.clock_hz, baud=circuit.baud, config=circuit.parameters,
                   image_bytes=circuit.image_bytes, classes=circuit.classes, routed=routed)


def load_base(folder: pathlib.Path) -> tuple[Base, bytes]:
    """Read the base in the folder of a build; returns it, and the content of its file.

    Raises
    ------
    :exc:`BaseError`
        If there is none, or it is none of this version.
    :exc:`support.errors.InputError`, :exc:`OSError`
        If it cannot be read.
    """
    path = folder / BASE
    if not path.exists():
        raise BaseError(f"{folder}: must be a folder in which python -m gateware.build has built a network, with a "
                        f"{BASE}, which is missing: build it, or build it again")
    content = read_file(path, limit=MAX_BYTES)
    return Base.from_bytes(content, name=str(path)), content
