"""The report of a bitstream of one network: what it adds to :mod:`gateware.reports.build`."""

import dataclasses
from typing import Any

from arch.certificate import State
from arch.strict_json import short
from gateware.reports.build import BuildReport

__all__ = ["Also", "ArrayUtilisation", "LayerReport", "Report", "Swap"]


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
    #: Of the clocks, those in which the array takes a word of spikes; None in reports of earlier versions.
    word_cycles: int | None = None
    #: What most of the clocks are spent on, as :class:`gateware.mapper.bound.Bound` names it; None as well.
    bound: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ArrayUtilisation:
    """Synaptic operations by what the array can do in the clocks that they take."""

    layers: list[float]
    #: Of the layers after the first, and of all.
    after_first: float
    total: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Also:
    """A network that the circuit was made to take, too, when it is put in afterwards (``--also``)."""

    #: Its file, as the command names it; its name; and the SHA-256 of the file.
    file: str
    network: str
    network_sha256: str
    #: Clocks of an inference on this circuit.
    cycles_per_inference: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """Into which build a network was put."""

    #: Folder of the build, as the command names it.
    into: str
    #: What the bitstream there held: the network, and the SHA-256 of its file and of the bitstream.
    network: str
    network_sha256: str
    bitstream_sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report(BuildReport):
    """All that is known of a build; the fields are the keys of ``report.json``. None is what was not done."""

    network: str
    network_sha256: str
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
    #: What the circuit takes beside the network that was built in.
    also: list[Also] = dataclasses.field(default_factory=list)
    #: SHA-256 of the placed design before a network was put in.
    base_sha256: str | None = None
    #: The build that the network was put into; None if the bitstream is that of a build.
    swap: Swap | None = None

    @property
    def certificate(self) -> str:
        """Whether the network is exact in every channel, in words."""
        return {State.EXACT: "yes", State.INEXACT: "no", State.NOT_CERTIFIED: "not certified (leaky)",
                State.UNKNOWN: "unknown"}[State(self.certified)]

    @classmethod
    def check_values(cls, values: dict[str, Any]) -> None:
        """As of :meth:`BuildReport.check_values`: a certificate says one of a few things."""
        choices = [state.value for state in State]
        if "certified" in values and values["certified"] not in choices:
            raise ValueError(f"certified must be {' or '.join(choices)}, not {short(values['certified'])}")
