"""What a build is asked for."""

import dataclasses
import math
from collections.abc import Mapping

from arch.network import Network
from boards import Board
from gateware.engine.configuration import EngineConfig
from gateware.flash.reader import FlashMode
from support.errors import InputError

__all__ = ["DEFAULT_SEEDS", "BuildError", "OverlayRequest", "Request", "Target"]

#: Seeds of place and route that a build tries, in this order, until one closes timing.
DEFAULT_SEEDS = 8


#: Most seeds that one build tries: half a minute each.
MAX_SEEDS = 10_000


class BuildError(InputError):
    """The design does not fit, or does not reach its clock; the message says what to change."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Target:
    """A board, and how a bitstream is to run on it.

    Raises
    ------
    :exc:`BuildError`, :exc:`boards.BoardError`
        If a number is out of range, or the board cannot run like this.
    """

    #: Name for people and folders.
    name: str
    board: Board
    #: Clock in Hz, and rate of the host link in baud.
    clock_hz: float
    baud: int
    #: Whether the rate was asked for, so that another clock must divide by it as well.
    baud_is_given: bool = False
    #: Seeds to place and route all of; None stops at the first that closes.
    seeds: int | None = None
    #: Longest place and route of one seed.
    seed_seconds: float

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 1:
            raise BuildError(f"seeds must be at least 1, not {self.seeds}")
        if self.seeds is not None and self.seeds > MAX_SEEDS:
            raise BuildError(f"seeds must be at most {MAX_SEEDS}, not {self.seeds}")
        if not math.isfinite(self.seed_seconds) or self.seed_seconds <= 0:
            raise BuildError(f"seed seconds must be a positive number, not {self.seed_seconds:g}")
        self.board.check_clock(self.clock_hz)
        self.board.divisor(self.clock_hz, self.baud)

    @property
    def seeds_to_try(self) -> range:
        """Seeds in the order in which they are tried."""
        return range(1, (self.seeds or DEFAULT_SEEDS) + 1)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Request(Target):
    """A network that is to be part of a bitstream; raises as :class:`Target`."""

    network: Network
    #: Networks that the circuit is to run, too, when they are put in afterwards: files, as the command names them.
    also: Mapping[str, Network] = dataclasses.field(default_factory=dict)
    #: Geometry of the array; None lets the mapper choose.
    lanes: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        for what, value in (("lanes", self.lanes), ("width", self.width)):
            if value is not None and value < 1:
                raise BuildError(f"{what} must be at least 1, not {value}")
        # With slots, super() without arguments would look up a class that is replaced by this one.
        Target.__post_init__(self)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OverlayRequest(Target):
    """A bitstream that runs any network; raises as :class:`Target`."""

    #: The circuit, which is that of the board.
    config: EngineConfig
    #: How the flash is read.
    mode: FlashMode

    @property
    def double(self) -> bool:
        """Whether the flash is read at both edges of its clock."""
        return self.mode is FlashMode.DOUBLE
