"""The answer of a check, and its JSON, whose keys docs/formats.md lists."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

from arch.network import Network
from gateware.mapper.bound import Bound
from gateware.mapper.plan import Plan
from gateware.mapper.streamed.plan import StreamedPlan

__all__ = ["SCHEMA", "Bears", "Check", "CheckFinding", "CheckedLayer", "CircuitCheck", "DeployPlan", "Remedy",
           "Resource"]

#: Name and version of the JSON; a key is never renamed within a version.
SCHEMA = "sterna-check-1"


class Bears(enum.Enum):
    """Whether a circuit runs a network."""

    YES = "yes"
    NO = "no"
    #: The shapes fit; whether sums and membranes do is known after training.
    OPEN = "depends on the weights"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CheckFinding:
    """A limit that is exceeded."""

    #: Circuit that has the limit: ``baked`` or ``flash``, as ``--weights`` names them.
    circuit: str
    #: Index of the layer; None where it is the whole network, its input, the array or the board.
    layer: int | None
    #: Layer or part, for people; and what is wrong with it, as the rest of the sentence.
    where: str
    problem: str
    #: What the network asks for, and what there is; None where it is no number.
    value: int | None
    limit: int | None
    #: Whether trained weights decide if the limit is exceeded; false if it is in any case.
    depends_on_weights: bool = False

    def __str__(self) -> str:
        return f"{self.circuit}: {self.where}: {self.problem}"

    @property
    def over(self) -> int | None:
        """By how much the limit is exceeded."""
        return None if self.value is None or self.limit is None else self.value - self.limit

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return {**dataclasses.asdict(self), "over": self.over}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Remedy:
    """A change with which the same circuit bears the network: it was made, and checked."""

    circuit: str
    #: What to do.
    text: str
    #: What was checked: the changed network, several if its classes are split over models, the board and the geometry.
    networks: tuple[Network, ...]
    board: str
    geometry: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CheckedLayer:
    """What a layer, with the or-pools behind it, takes of a circuit."""

    #: Index in the network's layers, and kind.
    index: int
    kind: str
    #: Rows of the weight memory, or of the stream of weights; words of the spike memory for the result, none for a
    #: readout.
    weight_rows: int
    spike_words: int
    #: Words of spikes, or of pixels, that the array takes in an inference, and all clocks of it.
    words: int
    clocks: int
    #: What most of the clocks are spent on.
    bound: Bound
    #: Synapses x timesteps without padding, and their share of what the array can do in the clocks.
    operations: int
    utilisation: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """What a network takes of something that there is a limited number of."""

    name: str
    used: int
    available: int
    #: How ``used`` is known: ``exact``, ``estimated`` or ``routed`` (of the report that ships of an overlay).
    evidence: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CircuitCheck:
    """A network on one of the circuits of a board."""

    #: ``baked`` or ``flash``, as ``--weights`` names them.
    name: str
    bears: Bears
    #: The array, and the clock.
    lanes: int
    width: int
    timesteps: int
    clock_mhz: float
    layers: tuple[CheckedLayer, ...]
    resources: tuple[Resource, ...]
    #: Clocks of an inference, and whether they are exact: if the network does not fit, they are an estimate.
    clocks: int
    clocks_are_exact: bool
    findings: tuple[CheckFinding, ...]
    remedies: tuple[Remedy, ...]
    #: The network laid out; None if the circuit does not bear it, or has no weights yet.
    plan: Plan | StreamedPlan | None

    @property
    def utilisation(self) -> float:
        """Synapses x timesteps of all layers, padding excluded, by what the array can do in the clocks."""
        operations = sum(layer.operations for layer in self.layers)
        return operations / (self.clocks * self.lanes * self.width * self.timesteps)

    @property
    def inference_ms(self) -> float:
        """Time of an inference, from the start of the engine to the class, in milliseconds."""
        return self.clocks / (self.clock_mhz * 1e3)

    def to_json(self) -> dict[str, Any]:
        """Return the circuit as JSON."""
        return {
            "bears": self.bears.value, "lanes": self.lanes, "width": self.width, "timesteps": self.timesteps,
            "clock_mhz": self.clock_mhz, "clocks": self.clocks, "clocks_are_exact": self.clocks_are_exact,
            "inference_ms": round(self.inference_ms, 4),
            "layers": [{**dataclasses.asdict(layer), "bound": layer.bound.value,
                        "utilisation": round(layer.utilisation, 4)} for layer in self.layers],
            "resources": [dataclasses.asdict(resource) for resource in self.resources],
            "findings": [finding.to_json() for finding in self.findings],
            "remedies": [remedy.text for remedy in self.remedies],
        }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DeployPlan:
    """A network on a board, with each of the circuits."""

    #: Name of the network for people; SHA-256 of its file, None if it has no weights yet.
    network: str
    network_sha256: str | None
    #: Name of the board on the command line.
    board: str
    #: By name: ``baked`` and ``flash``.
    circuits: Mapping[str, CircuitCheck]

    @property
    def bearing(self) -> tuple[str, ...]:
        """Names of the circuits that bear the network, or may bear it, depending on its weights."""
        return tuple(name for name, circuit in self.circuits.items() if circuit.bears is not Bears.NO)


class Check(NamedTuple):
    """What :func:`gateware.check.checking.check` returns: ``plan, valid, findings = check(network, board)``."""

    plan: DeployPlan
    #: Whether a circuit bears the network, whatever its weights.
    valid: bool
    #: Every limit of every circuit that is exceeded: some if only one of the circuits bears the network.
    findings: tuple[CheckFinding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON."""
        plan = self.plan
        return {
            "schema": SCHEMA, "network": plan.network, "network_sha256": plan.network_sha256, "board": plan.board,
            "valid": self.valid, "bearing": list(plan.bearing),
            "circuits": {name: circuit.to_json() for name, circuit in plan.circuits.items()},
        }
