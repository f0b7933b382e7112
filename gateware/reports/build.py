"""What is known of every bitstream: the board, the circuit, and what the tools found out."""

import dataclasses
import json
from typing import Any, ClassVar, Self

from arch import json_object, strict_json
from gateware.reports.ranges import check_ranges
from support.errors import InputError

__all__ = ["BuildReport", "ReportError", "StepReport", "VerifiedReport"]


class ReportError(InputError):
    """A file is not a report of this version."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """One step of the build."""

    name: str
    #: Seconds that it took when it was done.
    seconds: float
    #: Whether its result is that of an earlier run with the same inputs.
    kept: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedReport:
    """Samples that were run on what the tools have made: scores, classes and clocks were as they must be in each."""

    #: "netlist" or "bitstream".
    rung: str
    images: int
    #: Seconds of simulation, compilation apart.
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What reports of all bitstreams have; the fields are keys of ``report.json``. None is what was not done."""

    #: The command that writes such a report, for messages.
    command: ClassVar[str] = "python -m gateware.build"

    board: str
    revision: str
    tool_versions: dict[str, str]
    #: Logic cells of the device, and its block RAMs, single-port RAMs and multipliers.
    lc_total: int
    ebr_total: int
    spram_total: int
    dsp_total: int
    clock_mhz: float
    #: Rate of the host link.
    baud: int
    #: The circuit: P, W and T, and widths in bits.
    lanes: int
    width: int
    timesteps: int
    accumulator_width: int
    membrane_width: int
    fraction: int
    sop_per_cycle: int
    peak_gsops: float
    #: Fmax of each seed that was placed, their median, and the seeds.
    fmax_mhz: list[float] = dataclasses.field(default_factory=list)
    fmax_median_mhz: float | None = None
    seeds: list[int] = dataclasses.field(default_factory=list)
    #: Seeds that ran out of time, and seeds without a legal placement.
    seeds_out_of_time: list[int] = dataclasses.field(default_factory=list)
    seeds_unplaced: list[int] = dataclasses.field(default_factory=list)
    #: Cells of the bitstream's seed: logic cells, block RAMs, single-port RAMs, multipliers; and that seed.
    lc: int | None = None
    ebr: int | None = None
    spram: int | None = None
    dsp: int | None = None
    seed: int | None = None
    #: SHA-256 of the bitstream, and of the netlist of its circuit (``netlist.zip``).
    bitstream_sha256: str | None = None
    netlist_sha256: str | None = None
    #: Samples simulated on the RTL of this build: data set, accuracy, number, and seconds without compilation.
    sample_dataset: str | None = None
    sample_accuracy: float | None = None
    sample_images: int = 0
    sample_seconds: float | None = None
    #: What was simulated after synthesis, and after place and route.
    verified: list[VerifiedReport] = dataclasses.field(default_factory=list)
    #: The steps of the build, and seconds of the run that wrote the report.
    steps: list[StepReport] = dataclasses.field(default_factory=list)
    build_seconds: float | None = None

    @property
    def seeds_tried(self) -> int:
        """Number of seeds that were tried, whatever came of them."""
        return len(self.seeds) + len(self.seeds_out_of_time) + len(self.seeds_unplaced)

    @property
    def bitstream_fmax_mhz(self) -> float | None:
        """Fmax of the bitstream's seed; None without a bitstream."""
        return next((fmax for seed, fmax in zip(self.seeds, self.fmax_mhz, strict=False) if seed == self.seed), None)

    def to_json(self) -> bytes:
        """Return the content of ``report.json``."""
        return (json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode()

    @classmethod
    def check_values(cls, values: dict[str, Any]) -> None:
        """Check what the types of the fields do not say of the object of a file; raises :exc:`ValueError`."""

    @classmethod
    def from_json(cls, content: bytes, *, name: str = "report") -> Self:
        """Read what :meth:`to_json` made.

        Parameters
        ----------
        content
            The file's content.
        name
            The file, for messages.

        Raises
        ------
        :exc:`ReportError`
            If it is no report, lacks a key that has no default, or has a value of another type or out of range.
        """
        try:
            values = strict_json.parse(content)
            if isinstance(values, dict):
                cls.check_values(values)
            made = json_object.make(cls, values)
            check_ranges(dataclasses.asdict(made))
            return made
        except ValueError as error:
            raise ReportError(f"{name}: must be a report.json of {cls.command}: {error}") from None
