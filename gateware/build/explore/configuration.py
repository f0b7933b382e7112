"""What is tried: one network on one circuit at one clock, and the grid of all of them."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence

from boards import BOARDS
from gateware.reports.prebuilt import overlay_clock_hz
from sim.report import Weights

__all__ = ["Axes", "Configuration", "grid"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """One network on one circuit; the fields are the keys of a record's ``configuration``."""

    #: Name of the network, and the SHA-256 of its file before its timesteps were changed.
    network: str
    network_sha256: str
    #: Timesteps that the network is computed with.
    timesteps: int
    #: Board, as ``--board`` takes it; source of the weights, as ``--weights`` does.
    board: str
    weights: str
    #: P and W of the array; None in the overlay, whose array is that of the board.
    lanes: int | None = None
    width: int | None = None
    #: How the flash is read, ``single`` or ``double``; None without weights in the flash.
    flash_rate: str | None = None
    clock_mhz: float

    def key(self, sources: str, *, accuracy: float | None = None) -> str:
        """Return what a result is found by.

        Parameters
        ----------
        sources : :class:`str`
            Digest of the sources that compute the result.
        accuracy : :class:`float` or None
            What the network's file says of its accuracy, if the result repeats it.

        Returns
        -------
        key : :class:`str`
            Digest of these and of the configuration, 16 hexadecimal digits.
        """
        content = json.dumps({"sources": sources, "accuracy": accuracy, **dataclasses.asdict(self)}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """The values of every axis; an empty one stands for what a build takes by default."""

    boards: Sequence[str]
    weights: Sequence[str]
    lanes: Sequence[int] = ()
    widths: Sequence[int] = ()
    flash_rates: Sequence[str] = ("single",)
    clocks_mhz: Sequence[float] = ()
    timesteps: Sequence[int] = ()


def grid(axes: Axes, *, network: str, network_sha256: str, timesteps: int) -> Iterator[Configuration]:
    """Iterate over all configurations of a network; ``timesteps`` are its own."""
    for name, weights, steps in itertools.product(axes.boards, axes.weights, axes.timesteps or (timesteps,)):
        board = BOARDS[name]
        flash = weights == Weights.FLASH
        default_hz = overlay_clock_hz(board) if flash else board.default_clock_hz
        for clock_mhz, (lanes, width, rate) in itertools.product(
                axes.clocks_mhz or (default_hz / 1e6,), _circuits(axes, board.geometries, flash=flash)):
            yield Configuration(network=network, network_sha256=network_sha256, timesteps=steps, board=name,
                                weights=weights, lanes=lanes, width=width, flash_rate=rate, clock_mhz=clock_mhz)


def _circuits(axes: Axes, geometries: Sequence[tuple[int, int]], *,
              flash: bool) -> list[tuple[int | None, int | None, str | None]]:
    """Array and rate of the flash: the overlay has the array of its board, and baked weights need no flash."""
    if flash:
        return [(None, None, rate) for rate in axes.flash_rates]
    if not axes.lanes and not axes.widths:
        return [(lanes, width, None) for lanes, width in geometries]
    lanes  = axes.lanes or sorted({lanes for lanes, _ in geometries})
    widths = axes.widths or sorted({width for _, width in geometries})
    return [(first, second, None) for first, second in itertools.product(lanes, widths)]
