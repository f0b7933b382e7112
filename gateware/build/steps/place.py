"""Place and route: one step per seed, and what is advised when none closes the clock."""

import dataclasses
import pathlib
import shutil
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from boards.families.family import Refusal, Resources
from boards.families.running import run_invocation
from gateware.build.request import BuildError, Target
from gateware.build.steps.step import Step
from gateware.build.steps.synthesise import Netlist
from support.errors import printable
from support.progress import Progress
from support.provenance import tool_versions
from support.tools import ToolError, ToolTimeoutError

__all__ = ["NoPlacementError", "Place", "Placement", "Placements", "Remedies", "SeedTimeoutError", "TooLargeError",
           "no_seed_closes", "too_large"]


class TooLargeError(BuildError):
    """The device has too few cells of a kind for the design, whatever the seed."""


class NoPlacementError(BuildError):
    """The placer found no legal place for every cell with this seed."""


class SeedTimeoutError(BuildError):
    """Place and route took longer than a seed is given."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """One seed, placed and routed."""

    seed: int
    #: The clock that the slowest path allows.
    fmax_mhz: float
    #: Whether that is the clock that was asked for, or more.
    closes: bool
    #: Cells in use.
    used: Resources


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Placements:
    """What came of the seeds."""

    #: The first that closes its clock, of which the bitstream is made.
    chosen: Placement
    placements: list[Placement]
    #: Seeds that ran out of time, and seeds without a legal placement.
    out_of_time: list[int]
    unplaced: list[int]


class Place(Step[Placement]):
    """Place and route a netlist with one seed.

    Parameters
    ----------
    target : :class:`Target`
    netlist : :class:`Netlist`
    netlist_folder : :class:`pathlib.Path`
        Where it is.
    seed : :class:`int`
    """

    kind = "place"

    def __init__(self, target: Target, netlist: Netlist, netlist_folder: pathlib.Path, *, seed: int):
        self.name = f"place-seed{seed}"
        self._fpga = target.board.fpga
        self._clock_hz = target.clock_hz
        self._limit_seconds = target.seed_seconds
        self._netlist = netlist
        self._from = netlist_folder
        self._seed = seed
        self._invocation = self._fpga.place(seed=seed, clock_hz=target.clock_hz)

    def key(self) -> Mapping[str, Any]:
        # The limit is no part of it: a seed that ended has the same result with any.
        return {"files": self._netlist.files, "tool": self._invocation.tool.name,
                "arguments": self._invocation.arguments, "versions": tool_versions(*self._fpga.packages)}

    def run(self, folder: pathlib.Path) -> Placement:
        """Place and route.

        Raises
        ------
        :exc:`TooLargeError`, :exc:`NoPlacementError`, :exc:`SeedTimeoutError`
            If there is no layout.
        :exc:`support.tools.ToolError`
            If the tool fails for another reason.
        """
        for name in self._invocation.inputs:
            shutil.copyfile(self._from / name, folder / name)
        failure = None
        with Progress(f"place+route  seed {self._seed}") as progress:
            try:
                run_invocation(self._invocation, folder, limit_seconds=self._limit_seconds,
                               on_line=lambda line: progress.update(text) if (
                                   text := self._fpga.progress(line)) else None)
            except ToolTimeoutError:
                raise SeedTimeoutError(f"seed {self._seed} did not end within {self._limit_seconds:g} s") from None
            except ToolError as error:
                # A design that misses its clock is placed and reported all the same; it only must not be packed.
                failure = error
        placed = self._fpga.read_placed(lambda name: (folder / name).read_bytes())
        if placed is None:
            self._explain(folder, failure)
            raise failure or ToolError(f"{self._invocation.tool.name} failed: it wrote no report (see {folder})")
        closes = placed.fmax_hz >= self._clock_hz
        if closes and failure is not None:
            raise failure
        return Placement(seed=self._seed, fmax_mhz=round(placed.fmax_hz / 1e6, 2), used=placed.used, closes=closes)

    def _explain(self, folder: pathlib.Path, failure: ToolError | None) -> None:
        """Raise what the logs say, if they say that it is a question of size."""
        logs = [folder / f"{self._invocation.tool.name}.log"]
        if self._invocation.log is not None:
            logs.append(folder / self._invocation.log)
        text = "\n".join(log.read_text(encoding="utf-8", errors="replace") for log in logs if log.exists())
        refusal = self._fpga.refusal(text)
        if refusal is Refusal.TOO_LARGE:
            said = next(line for line in text.splitlines() if self._fpga.refusal(line) is Refusal.TOO_LARGE)
            raise TooLargeError(printable(said.removeprefix("ERROR: ")).rstrip("."))
        if refusal is Refusal.NO_PLACEMENT:
            raise NoPlacementError(f"seed {self._seed} finds no legal placement") from failure

    def outputs(self, result: Placement) -> Collection[str]:
        # What misses its clock is not packed.
        return self._fpga.pack().inputs if result.closes else ()

    def load(self, content: dict[str, Any]) -> Placement:
        return Placement(**{**content, "used": Resources(**content["used"])})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Remedies:
    """What can help against a design that is too large or too slow, beside another clock and other seeds."""

    #: Options that make the design smaller.
    smaller: tuple[str, ...]
    #: What to do if there is no such option, as a sentence goes on after "use".
    otherwise: str


def _lower_clock(target: Target, best_mhz: float) -> str | None:
    """The option that asks for the fastest clock which the best seed reaches."""
    baud = target.baud if target.baud_is_given else None
    lower_hz = target.board.clock_below(min(best_mhz * 1e6, target.clock_hz - 1), baud=baud)
    return None if lower_hz is None else f"--clock {lower_hz / 1e6:g}"


def no_seed_closes(target: Target, placements: Sequence[Placement], out_of_time: Sequence[int],
                   unplaced: Sequence[int], logs: pathlib.Path, remedies: Remedies) -> BuildError:
    """Say that no seed closes the clock, and what to do that can help.

    Parameters
    ----------
    target : :class:`Target`
    placements : sequence of :class:`Placement`
        Seeds that were placed.
    out_of_time, unplaced : sequence of :class:`int`
        Seeds that took too long, and seeds without a legal placement.
    logs : :class:`pathlib.Path`
        Where the steps work.
    remedies : :class:`Remedies`
    """
    options = []
    facts = []
    if placements:
        best = max(placement.fmax_mhz for placement in placements)
        facts.append(f"the best reaches {best:.2f} MHz")
        options.append(_lower_clock(target, best))
    if out_of_time:
        facts.append(f"{_seeds(out_of_time)} did not end within {target.seed_seconds:g} s")
        options.append("--seed-seconds with more")
    if unplaced:
        facts.append(f"{_seeds(unplaced)} found no legal placement")
    useful = [option for option in (*options, *remedies.smaller) if option is not None]
    if not useful and target.seeds is not None:
        useful.append("--seeds with more")
    remedy = f"use {' or '.join(useful)}" if useful else f"use {remedies.otherwise}"
    return BuildError(f"no seed closes {target.clock_hz / 1e6:g} MHz: {', '.join(facts)}: {remedy} (see {logs})")


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def too_large(target: Target, error: TooLargeError, logs: pathlib.Path, remedies: Remedies) -> BuildError:
    """Say that the design does not fit, and what does."""
    remedy = f"use {' or '.join(remedies.smaller) or remedies.otherwise}"
    return BuildError(f"the design does not fit the {target.board.fpga.device}: {error}: {remedy} (see {logs})")
