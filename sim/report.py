"""What ``python -m sim`` reports: as JSON for programs, as text for people."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from reference.engines import ClockDifference, Difference, EngineResult
from sim.weights import Weights
from support.counting import counted

__all__ = ["Circuit", "Comparison", "Report", "Waveform", "Weights"]

#: Images listed one by one in the text.
_LISTED = 10


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Circuit:
    """The circuit that was simulated."""

    #: Where its weights are.
    weights: Weights
    #: Whether this was chosen by what the network fits, and not asked for.
    chosen: bool
    #: Board, as on the command line and for people.
    board: str
    board_title: str
    #: Geometry of the array.
    lanes: int
    width: int
    timesteps: int
    #: Clock at which times are told, in Hz.
    clock_hz: float

    def __str__(self) -> str:
        baked = self.weights is Weights.BAKED
        what  = "baked, weights in its memories" if baked else "streamed, weights from flash"
        why   = "the network fits it" if baked else "the network does not fit the baked one"
        return (f"{what}, {self.lanes} x {self.width} x {self.timesteps}, {self.board_title}" +
                (f" (chosen: {why})" if self.chosen else ""))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What comparing two engines found."""

    #: Whether every layer's spikes were compared too, not only scores and classes.
    spikes_compared: bool
    #: The first difference, None if there is none.
    difference: Difference | ClockDifference | None
    #: Why spikes that were asked for were not compared, as the end of a sentence; None if all were that exist.
    unseen: str | None = None
    #: Engines whose clocks were compared with those of the cycle model.
    clocks_of: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Waveform:
    """What the signals of the circuit did while it computed the image, in a file."""

    #: The waveform, and the views beside it.
    files: Sequence[str]
    #: Clocks that are in it, from the first bit of the frame that carries the image or so many clocks later.
    clocks: int
    first_clock: int
    #: Commands that open it.
    openers: Sequence[str]

    def __str__(self) -> str:
        since = f", from clock {self.first_clock:,} on" if self.first_clock else ""
        return f"{self.files[0]}, {self.clocks:,} clocks{since}; in its folder, {' or '.join(self.openers)} shows it"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Report:
    """A network's answers to some images."""

    #: File of the network, as the user named it.
    network: str
    #: Content hash of the network.
    network_sha256: str
    #: Content hash of the images (:func:`arch.images.images_digest`).
    images_sha256: str
    #: Images per second of each engine, by its name, in the order in which they ran.
    images_per_second: Mapping[str, float]
    #: What the last engine computed.
    result: EngineResult
    #: Labels, ``int64[images]``; None if none were given.
    labels: npt.NDArray[np.int64] | None
    #: What comparing the engines found; None if one ran alone.
    comparison: Comparison | None
    #: The circuit; None if none was simulated.
    circuit: Circuit | None
    #: Number of the one image that was chosen, in its file; None if it was not.
    chosen: int | None = None
    #: The waveform; None if none was asked for.
    waveform: Waveform | None = None
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
            "images_sha256": self.images_sha256,
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
        if self.chosen is not None:
            fields["image"] = self.chosen
        if self.waveform is not None:
            fields["waveform"] = dataclasses.asdict(self.waveform)
        if self.circuit is not None:
            fields["circuit"] = dataclasses.asdict(self.circuit)
        if result.cycles is not None:
            fields["cycles"] = result.cycles.tolist()
        if result.stall_cycles is not None:
            fields["stall_cycles"] = result.stall_cycles.tolist()
        if result.flash_stall_cycles is not None:
            fields["flash_stall_cycles"] = result.flash_stall_cycles.tolist()
        if self.comparison is not None:
            difference = self.comparison.difference
            fields |= {"agree": self.agree, "spikes_compared": self.comparison.spikes_compared,
                       "clocks_compared": list(self.comparison.clocks_of),
                       "difference": None if difference is None else
                       dataclasses.asdict(difference) | {"text": str(difference)}}
        return fields

    def to_text(self) -> str:
        """Return the report as lines."""
        lines = [f"{self.network} (sha256 {self.network_sha256[:16]}), {counted(self.images, 'image')}, " +
                 _listed([*self.images_per_second]), *self._table()]
        if self.correct is not None:
            lines.append(f"accuracy: {100 * self.correct / self.images:.2f} % ({self.correct} of {self.images})")
        if self.circuit is not None:
            lines.append(f"circuit: {self.circuit}")
        if self.result.cycles is not None:
            lines.append(self._cycles(self.result.cycles))
        if self.waveform is not None:
            lines.append(f"waveform: {self.waveform}")
        lines.append("images per second: " + ", ".join(f"{name} {speed:,.1f}"
                                                       for name, speed in self.images_per_second.items()))
        if self.comparison is not None:
            what = ("scores, classes and every layer's spikes" if self.comparison.spikes_compared else
                    "scores and classes")
            unseen = self.comparison.unseen
            note = "" if unseen is None else f"; spikes were not compared, because {unseen}"
            engines = [*self.images_per_second]
            on = f" on {_listed(engines)}" if len(engines) > 2 else ""
            clocks = self.comparison.clocks_of
            if clocks:
                on += f"; the clocks of the {_listed(clocks)} are those of the cycle model"
            lines.append((f"agreement: {what} of {counted(self.images, 'image')} are equal{on}" if self.agree else
                          f"DIFFERENCE: {self.comparison.difference}") + note)
        versions = ", ".join(f"{name} {version}" for name, version in self.tool_versions.items())
        return "\n".join([*lines, f"made by: revision {self.revision}, {versions}"])

    def _cycles(self, cycles: npt.NDArray[np.int64]) -> str:
        """Clocks of an image, what they waited for, and how long that takes."""
        stalls, flash = self.result.stall_cycles, self.result.flash_stall_cycles
        line = f"cycles per image: {_span(cycles.tolist())}"
        if stalls is not None:
            line += f", of them waiting for pixels {_span(stalls.tolist())}"
        # A circuit whose weights are in its memories never waits for a flash.
        if flash is not None and (flash.any() or (self.circuit is not None and self.circuit.weights is Weights.FLASH)):
            line += f", for the flash {_span(flash.tolist())}"
        if self.circuit is not None:
            low, high = (f"{1e3 * clocks / self.circuit.clock_hz:.4g}" for clocks in (cycles.min(), cycles.max()))
            line += f"; {low if low == high else f'{low} to {high}'} ms at {self.circuit.clock_hz / 1e6:g} MHz"
        return line

    def _table(self) -> Iterable[str]:
        """Class, label, clocks and scores of the first images."""
        first = self.chosen or 0
        columns = {"image": range(first, first + self.images), "class": self.result.classes, "label": self.labels,
                   "cycles": self.result.cycles}
        shown = {name: values for name, values in columns.items() if values is not None}
        yield "  ".join(f"{name:>6}" for name in (*shown, "scores"))
        for index in range(min(self.images, _LISTED)):
            scores = " ".join(map(str, self.result.scores[index].tolist()))
            yield "  ".join(f"{values[index]:>6}" for values in shown.values()) + "  " + scores
        if self.images > _LISTED:
            yield f"{'...':>6}  ({self.images - _LISTED} more; --json lists all)"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _span(values: list[int]) -> str:
    return f"{min(values):,}" if min(values) == max(values) else f"{min(values):,} to {max(values):,}"
