"""Engines that compute a network, and the first place where two of them differ.

The reference is one engine; the RTL in a simulator (:mod:`sim.rtl`), and later a board, are others. All must agree bit
for bit.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from arch.link import Result
from arch.network import Network
from reference.network import Reference, Spikes

__all__ = ["ClockDifference", "Difference", "Engine", "EngineResult", "ReferenceEngine", "clock_difference",
           "first_difference", "result_of", "timed"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EngineResult:
    """What an engine computed for some images."""

    #: Scores, ``int64[images, classes]``.
    scores: npt.NDArray[np.int64]
    #: Winning classes, ``int64[images]``.
    classes: npt.NDArray[np.int64]
    #: Clock cycles per image, ``int64[images]``; None for an engine without a clock.
    cycles: npt.NDArray[np.int64] | None = None
    #: Of them, cycles that waited for pixels, ``int64[images]``; None for an engine without a clock.
    stall_cycles: npt.NDArray[np.int64] | None = None
    #: Of them, cycles that waited for the flash, ``int64[images]``; None for an engine without a clock.
    flash_stall_cycles: npt.NDArray[np.int64] | None = None
    #: Spikes of each layer but the readout, ``bool[images, T, channels, height, width]``; None where the engine was
    #: not asked for them or does not show them. A layer that it never forms (a map before its OR-pool) is None.
    spikes: tuple[Spikes | None, ...] | None = None
    #: Why spikes that were asked for are not there, as the end of a sentence; None if all are that exist.
    unseen: str | None = None


def result_of(results: Sequence[Result], classes: int, *, spikes: tuple[Spikes | None, ...] | None = None,
              unseen: str | None = None) -> EngineResult:
    """Join what a device answered to some images of a network with ``classes`` classes."""
    def column(name: str) -> npt.NDArray[np.int64]:
        return np.array([getattr(result, name) for result in results], np.int64)

    return EngineResult(
        scores=np.array([result.scores for result in results], np.int64).reshape(len(results), classes),
        classes=column("label"), cycles=column("cycles"), stall_cycles=column("stalls"),
        flash_stall_cycles=column("flash_stalls"), spikes=spikes, unseen=unseen)


class Engine(Protocol):
    """Computes one network."""

    #: Short name, for reports.
    name: str

    def classify(self, images: npt.NDArray[Any], *, spikes: bool = False) -> EngineResult:
        """Compute ``images``, as of :func:`reference.network.check_images`; with every layer's spikes if asked."""
        ...


class ReferenceEngine:
    """The reference as an engine.

    Parameters
    ----------
    network : the network
    """

    name = "reference"

    def __init__(self, network: Network):
        self._reference = Reference(network)

    def classify(self, images: npt.NDArray[Any], *, spikes: bool = False) -> EngineResult:
        """Compute ``images``; see :class:`Engine`."""
        result = self._reference.run(images, spikes=spikes)
        return EngineResult(scores=result.scores, classes=result.classes, spikes=result.spikes)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The first place where an engine differs from the reference."""

    #: Index of the image.
    image: int
    #: Index of the layer; that of the readout if all spikes agree or are not known.
    layer: int
    #: Kind of the layer.
    kind: str
    #: Timestep, channel, row and column of the spike; None in the readout.
    place: tuple[int, int, int, int] | None = None
    #: Index of the score, None in a layer of spikes or if only the classes differ.
    score: int | None = None
    #: What the reference computed.
    expected: int
    #: What the engine computed.
    actual: int

    def __str__(self) -> str:
        if self.place is not None:
            timestep, channel, row, column = self.place
            where = f"timestep {timestep}, channel {channel}, row {row}, column {column}"
        else:
            where = "class" if self.score is None else f"score {self.score}"
        return (f"image {self.image}, layer {self.layer} ({self.kind}), {where}: "
                f"{self.expected} expected, not {self.actual}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ClockDifference:
    """An image that took other clocks than the cycle model says."""

    #: Index of the image.
    image: int
    #: Clocks by the model; and those that it took, but for those in which it waited for pixels.
    expected: int
    actual: int

    def __str__(self) -> str:
        return f"image {self.image}: {self.expected} clocks expected, not {self.actual}"


def clock_difference(result: EngineResult, predicted: int) -> ClockDifference | None:
    """Return the first image that took other clocks than ``predicted``, beside those that waited for pixels."""
    assert result.cycles is not None
    assert result.stall_cycles is not None
    cycles = result.cycles - result.stall_cycles
    wrong = np.flatnonzero(cycles != predicted)
    if not len(wrong):
        return None
    return ClockDifference(image=int(wrong[0]), expected=predicted, actual=int(cycles[wrong[0]]))


def first_difference(network: Network, images: npt.NDArray[Any], expected: EngineResult, actual: EngineResult,
                     reference: Engine, engine: Engine) -> Difference | None:
    """Find the first difference between two engines' results for ``images``, or None.

    Where scores or classes differ and spikes were not asked for, the first such image is computed again with spikes, on
    both engines, to find the layer in which it begins.
    """
    wrong = (expected.scores != actual.scores).any(axis=1) | (expected.classes != actual.classes)
    if expected.spikes is not None and actual.spikes is not None:
        for left, right in zip(expected.spikes, actual.spikes, strict=True):
            if left is not None and right is not None:
                wrong = wrong | (left != right).reshape(len(images), -1).any(axis=1)
    if not wrong.any():
        return None
    image = int(np.argmax(wrong))
    if expected.spikes is not None and actual.spikes is not None:
        return _in_image(network, image, image, expected, actual)
    again = images[image:image + 1]
    difference = _in_image(network, image, 0, reference.classify(again, spikes=True),
                           engine.classify(again, spikes=True))
    # An engine that is right at the second try is at fault all the same.
    return difference or _in_image(network, image, image, expected, actual)


def _in_image(network: Network, image: int, row: int, expected: EngineResult,
              actual: EngineResult) -> Difference | None:
    """First difference in row ``row`` of two results; ``image`` is its name."""
    for layer, (left, right) in enumerate(zip(expected.spikes or (), actual.spikes or (), strict=False)):
        if left is None or right is None:
            continue
        places = np.argwhere(left[row] != right[row])
        if len(places):
            timestep, channel, y, x = (int(index) for index in places[0])
            place = timestep, channel, y, x
            return Difference(image=image, layer=layer, kind=network.layers[layer].kind, place=place,
                              expected=int(left[row][place]), actual=int(right[row][place]))
    last = len(network.layers) - 1
    scores = np.flatnonzero(expected.scores[row] != actual.scores[row])
    if len(scores):
        score = int(scores[0])
        return Difference(image=image, layer=last, kind=network.layers[last].kind, score=score,
                          expected=int(expected.scores[row, score]), actual=int(actual.scores[row, score]))
    if expected.classes[row] != actual.classes[row]:
        return Difference(image=image, layer=last, kind=network.layers[last].kind,
                          expected=int(expected.classes[row]), actual=int(actual.classes[row]))
    return None


#: A batch that takes less, in seconds, is followed by one of twice as many images.
_BATCH_SECONDS = 0.25


def timed(engine: Engine, images: npt.NDArray[Any], *, spikes: bool = False,
          progress: Callable[[int, int], object] = lambda done, total: None) -> tuple[EngineResult, float]:
    """Run ``engine`` in batches that take about a quarter of a second.

    Parameters
    ----------
    engine : the engine
    images : as of :meth:`Engine.classify`, from one
    spikes : whether every layer's spikes are asked for
    progress : told after each batch how many images of how many are done

    Returns
    -------
    result : that of all images
    speed : images per second
    """
    begun = time.perf_counter()
    parts: list[EngineResult] = []
    done, size = 0, 1
    while done < len(images):
        batch = images[done:done + size]
        batch_begun = time.perf_counter()
        parts.append(engine.classify(batch, spikes=spikes))
        if time.perf_counter() - batch_begun < _BATCH_SECONDS:
            size *= 2
        done += len(batch)
        progress(done, len(images))
    return _joined(parts), len(images) / max(time.perf_counter() - begun, 1e-9)


def _joined(parts: Sequence[EngineResult]) -> EngineResult:
    """Join the results of batches; what one batch does not know, the whole does not."""
    def of(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if any(value is None for value in values) else np.concatenate(values)

    layers = [part.spikes for part in parts if part.spikes is not None]
    spikes = None
    if len(layers) == len(parts):
        spikes = tuple(None if any(maps is None for maps in layer) else np.concatenate([*layer])
                       for layer in zip(*layers, strict=True))
    return EngineResult(scores=of("scores"), classes=of("classes"), cycles=of("cycles"),
                        stall_cycles=of("stall_cycles"), flash_stall_cycles=of("flash_stall_cycles"), spikes=spikes,
                        unseen=next((part.unseen for part in parts if part.unseen is not None), None))
