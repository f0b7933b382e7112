"""What ``python -m sim`` reports: as JSON for programs, as text for people."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.engines import Difference, EngineResult

__all__ = ["Comparison", "Report"]

#: Images listed one by one in the text.
_LISTED = 10


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What comparing two engines found."""

    #: Whether every layer's spikes were compared too, not only scores and classes.
    spikes_compared: bool
    #: The first difference, None if there is none.
    difference: Difference | None
    #: Whether the spikes were asked for: an engine whose maps overwrite each other shows none.
    spikes_asked: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Report:
    """A network's answers to some images."""

    #: File of the network, as the user named it.
    network: str
    #: Content hash of the network.
    network_sha256: str
    #: Images per second of each engine, by its name, in the order in which they ran.
    images_per_second: Mapping[str, float]
    #: What the last engine computed.
    result: EngineResult
    #: Labels, ``int64[images]``; None if none were given.
    labels: npt.NDArray[np.int64] | None
    #: What comparing the engines found; None if one ran alone.
    comparison: Comparison | None
    #: Commit of this checkout, and versions of what was used.
    revision: str
    tool_versions: Mapping[str, str]

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.result.classes)

    @property
    def agree(self) -> bool:
        """Whether no difference was found; true of an engine that ran alone."""
        return self.comparison is None or self.comparison.difference is None

    @property
    def correct(self) -> int | None:
        """Number of images whose class is their label; None without labels."""
        return None if self.labels is None else int(np.count_nonzero(self.labels == self.result.classes))

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON's types; keys of what is not known are left out."""
        result = self.result
        fields: dict[str, Any] = {
            "network": self.network,
            "network_sha256": self.network_sha256,
            "images": self.images,
            "engines": list(self.images_per_second),
            "classes": result.classes.tolist(),
            "scores": result.scores.tolist(),
            "images_per_second": {name: round(speed, 3) for name, speed in self.images_per_second.items()},
            "revision": self.revision,
            "tool_versions": dict(self.tool_versions),
        }
        if self.labels is not None and self.correct is not None:
            fields |= {"labels": self.labels.tolist(), "correct": self.correct,
                       "accuracy": self.correct / self.images}
        if result.cycles is not None:
            fields["cycles"] = result.cycles.tolist()
        if result.stall_cycles is not None:
            fields["stall_cycles"] = result.stall_cycles.tolist()
        if result.flash_stall_cycles is not None:
            fields["flash_stall_cycles"] = result.flash_stall_cycles.tolist()
        if self.comparison is not None:
            difference = self.comparison.difference
            fields |= {"agree": self.agree, "spikes_compared": self.comparison.spikes_compared,
                       "difference": None if difference is None else
                       dataclasses.asdict(difference) | {"text": str(difference)}}
        return fields

    def to_text(self) -> str:
        """Return the report as lines."""
        lines = [f"{self.network} (sha256 {self.network_sha256[:16]}), {self.images} images, " +
                 " and ".join(self.images_per_second), *self._table()]
        if self.correct is not None:
            lines.append(f"accuracy: {100 * self.correct / self.images:.2f} % ({self.correct} of {self.images})")
        if self.result.cycles is not None:
            stalls = self.result.stall_cycles
            waiting = "" if stalls is None else f", of them waiting for pixels {_span(stalls.tolist())}"
            if self.result.flash_stall_cycles is not None and self.result.flash_stall_cycles.any():
                waiting += f", for the flash {_span(self.result.flash_stall_cycles.tolist())}"
            lines.append(f"cycles per image: {_span(self.result.cycles.tolist())}{waiting}")
        lines.append("images per second: " + ", ".join(f"{name} {speed:,.1f}"
                                                       for name, speed in self.images_per_second.items()))
        if self.comparison is not None:
            what = ("scores, classes and every layer's spikes" if self.comparison.spikes_compared else
                    "scores and classes")
            unseen = self.comparison.spikes_asked and not self.comparison.spikes_compared
            note = "; spikes were not compared, because maps share memory in this circuit" if unseen else ""
            lines.append((f"agreement: {what} of {self.images} images are equal" if self.agree else
                          f"DIFFERENCE: {self.comparison.difference}") + note)
        versions = ", ".join(f"{name} {version}" for name, version in self.tool_versions.items())
        return "\n".join([*lines, f"made by: revision {self.revision}, {versions}"])

    def _table(self) -> Iterable[str]:
        """Class, label, clocks and scores of the first images."""
        columns = {"image": range(self.images), "class": self.result.classes, "label": self.labels,
                   "cycles": self.result.cycles}
        shown = {name: values for name, values in columns.items() if values is not None}
        yield "  ".join(f"{name:>6}" for name in (*shown, "scores"))
        for index in range(min(self.images, _LISTED)):
            scores = " ".join(map(str, self.result.scores[index].tolist()))
            yield "  ".join(f"{values[index]:>6}" for values in shown.values()) + "  " + scores
        if self.images > _LISTED:
            yield f"{'...':>6}  ({self.images - _LISTED} more; --json lists all)"


def _span(values: list[int]) -> str:
    return f"{min(values):,}" if min(values) == max(values) else f"{min(values):,} to {max(values):,}"
