"""What a build is asked for."""

import dataclasses
import math

from arch.network import Network
from boards import Board
from support.errors import InputError

__all__ = ["DEFAULT_SEEDS", "BuildError", "Request"]

#: Seeds of place and route that a build tries, in this order, until one closes timing.
DEFAULT_SEEDS = 8


#: Most seeds that one build tries: half a minute each.
MAX_SEEDS = 10_000


class BuildError(InputError):
    """The design does not fit, or does not reach its clock; the message says what to change."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Request:
    """A network, a board, and how the one is to run on the other.

    Raises
    ------
    :exc:`BuildError`, :exc:`boards.BoardError`
        If a number is out of range, or the board cannot run like this.
    """

    network: Network
    #: Name for people and folders.
    name: str
    board: Board
    #: Clock in Hz, and rate of the host link in baud.
    clock_hz: float
    baud: int
    #: Whether the rate was asked for, so that another clock must divide by it as well.
    baud_is_given: bool = False
    #: Geometry of the array; None lets the mapper choose.
    lanes: int | None = None
    width: int | None = None
    #: Seeds to place and route all of; None stops at the first that closes.
    seeds: int | None = None
    #: Longest place and route of one seed.
    seed_seconds: float

    def __post_init__(self) -> None:
        for what, value in (("lanes", self.lanes), ("width", self.width), ("seeds", self.seeds)):
            if value is not None and value < 1:
                raise BuildError(f"{what} must be at least 1, not {value}")
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
