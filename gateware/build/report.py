"""The report of a build: the one definition of the keys of ``report.json``, for who writes and who reads them."""

import dataclasses
import json
from typing import Any, Self

from arch.certificate import State
from support.errors import InputError

__all__ = ["ArrayUtilisation", "LayerReport", "Report", "ReportError", "StepReport"]


class ReportError(InputError):
    """A file is not a report of this version."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerReport:
    """A layer with weights and the OR-pool behind it."""

    #: Index in the network's layers, kind, and side of the pool behind it (1 without).
    index: int
    kind: str
    pool: int
    #: Shapes of the maps: channels, rows, columns.
    input: list[int]
    output: list[int]
    weights: int
    weight_rows: int
    #: Clocks, and synaptic operations without padding.
    cycles: int
    synaptic_operations: int
    #: Operations by clocks and what the array can do in one.
    utilisation: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ArrayUtilisation:
    """Synaptic operations by what the array can do in the clocks that they take."""

    layers: list[float]
    #: Of the layers after the first, and of all.
    after_first: float
    total: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """One step of the build."""

    name: str
    #: Seconds that it took when it was done.
    seconds: float
    #: Whether its result is that of an earlier run with the same inputs.
    kept: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that is known of a build; the fields are the keys of ``report.json``. None is what was not done."""

    network: str
    board: str
    network_sha256: str
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
    effective_gsops: float
    cycles_per_inference: int
    #: From the last pixel on the line to the class.
    latency_ms: float
    images_per_second_link: float
    array_utilisation: ArrayUtilisation
    weight_rows: int
    spike_words: int
    layers: list[LayerReport]
    #: What the export wrote: whether every channel is certified; None if the file does not say.
    exact: bool | None
    #: What the network's certificate says: a value of :class:`arch.certificate.State`.
    certified: str
    #: Of the exported integers on a test set, as the network's file says; the file of the images, and the command.
    accuracy: float | None
    accuracy_images: int | None
    accuracy_file: str | None
    accuracy_command: str | None
    #: Estimates before synthesis: logic cells and block RAMs.
    lc_estimate: int
    ebr_estimate: int
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
    #: SHA-256 of the bitstream.
    bitstream_sha256: str | None = None
    #: Samples simulated on the RTL of this build: data set, accuracy, number, and seconds without compilation.
    sample_dataset: str | None = None
    sample_accuracy: float | None = None
    sample_images: int = 0
    sample_seconds: float | None = None
    #: The steps of the build, and seconds of the run that wrote the report.
    steps: list[StepReport] = dataclasses.field(default_factory=list)
    build_seconds: float | None = None

    @property
    def certificate(self) -> str:
        """Whether the network is exact in every channel, in words."""
        return {State.EXACT: "yes", State.INEXACT: "no", State.NOT_CERTIFIED: "not certified (leaky)",
                State.UNKNOWN: "unknown"}[State(self.certified)]

    def to_json(self) -> bytes:
        """Return the content of ``report.json``."""
        return (json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode()

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
            If it is no report, or lacks a key that has no default.
        """
        try:
            values: dict[str, Any] = json.loads(content)
            known = {field.name for field in dataclasses.fields(cls)}
            values = {key: value for key, value in values.items() if key in known}
            values["array_utilisation"] = ArrayUtilisation(**values["array_utilisation"])
            values["layers"] = [LayerReport(**layer) for layer in values["layers"]]
            State(values["certified"])
            values["steps"] = [StepReport(**step) for step in values.get("steps", ())]
            return cls(**values)
        except KeyError as error:
            raise ReportError(f"{name}: must be a report.json of python -m gateware.build: it has no {error}") from None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ReportError(f"{name}: must be a report.json of python -m gateware.build: {error}") from None
