"""Accuracy against timesteps: what the network knows after each step, and when it may stop.

A soft-reset network does not look ahead: its first ``t`` timesteps are the same whatever ``T`` is. So one run of T
timesteps, with the readout's currents summed up step by step, tells the accuracy at every ``t``, and what an early
exit would have answered. Exits save whole blocks of timesteps on an array that computes several side by side.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.network import Network
from reference.network import Integers, Reference, classify

__all__ = ["EarlyExit", "accuracy_over_time", "calibrate_margins", "cumulated_scores", "exit_early"]


def cumulated_scores(network: Network, images: npt.NDArray[Any]) -> Integers:
    """Return the scores after each timestep, ``int64[images, T, classes]``; the last ones are those of the reference.

    Images are as of :func:`reference.network.check_images`; raises :exc:`arch.network.NetworkError` like it.
    """
    steps = Reference(network).run(images, step_scores=True).step_scores
    assert steps is not None
    return steps.cumsum(axis=1)


def _check_labels(scores: Integers, labels: npt.NDArray[np.int64]) -> None:
    if labels.shape != scores.shape[:1] or not len(labels):
        raise ValueError(f"labels must be of shape ({len(scores)},) like the images, at least one, not {labels.shape}")


def accuracy_over_time(network: Network, images: npt.NDArray[Any], labels: npt.NDArray[np.int64],
                       timesteps: int | None = None) -> list[float]:
    """Return the accuracy after 1, 2, ... ``timesteps`` timesteps, from one run of the reference.

    Parameters
    ----------
    network : Network
    images, labels
        As of :func:`reference.network.check_images`; ``int64[images]``.
    timesteps : int, optional
        1 to the network's, which is the default.

    Raises
    ------
    ValueError
        If there are more timesteps than the network has, or not as many labels as images.
    """
    timesteps = network.timesteps if timesteps is None else timesteps
    if not 1 <= timesteps <= network.timesteps:
        raise ValueError(f"timesteps must be 1 to {network.timesteps}, not {timesteps}")
    scores = cumulated_scores(network, images)[:, :timesteps]
    _check_labels(scores, labels)
    return [float(share) for share in (classify(scores) == labels[:, None]).mean(axis=0)]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EarlyExit:
    """What a network that stops as soon as it is sure answers."""

    #: Class of each image, ``int64[images]``.
    classes: Integers
    #: Timesteps that were computed for it, 1 to T, ``int64[images]``.
    timesteps: Integers

    @property
    def mean_timesteps(self) -> float:
        """Timesteps per image."""
        return float(self.timesteps.mean())

    def accuracy(self, labels: npt.NDArray[np.int64]) -> float:
        """Share of images classified as labelled, ``int64[images]``."""
        return float((self.classes == labels).mean())


def _leads(scores: Integers) -> Integers:
    """Largest score minus the second largest, ``int64[images, T]``."""
    ranked = np.partition(scores, (-2, -1), axis=-1)
    return ranked[..., -1] - ranked[..., -2]


def exit_early(scores: Integers, margins: Integers) -> EarlyExit:
    """Stop each image after the first timestep in which the best class leads by the margin.

    Parameters
    ----------
    scores : ``int64[images, T, classes]``
        As of :func:`cumulated_scores`.
    margins : ``int64[T]``
        Lead that is enough after each timestep: two integers compared, no softmax. The last timestep ends in any case.

    Raises
    ------
    ValueError
        If there are not as many margins as timesteps.
    """
    if margins.shape != scores.shape[1:2]:
        raise ValueError(f"margins must be of shape ({scores.shape[1]},) like the timesteps, not {margins.shape}")
    sure = _leads(scores) >= margins
    sure[:, -1] = True
    last = sure.argmax(axis=1)  # of booleans: the first that is true
    return EarlyExit(classes=classify(scores[np.arange(len(scores)), last]), timesteps=last.astype(np.int64) + 1)


def calibrate_margins(scores: Integers, labels: npt.NDArray[np.int64], *, tolerance: float) -> Integers:
    """Choose margins on validation images, so that early exits lose at most ``tolerance`` of the accuracy there.

    An image is lost at a timestep if its class is right in the end but not yet. All timesteps are treated alike: each
    gets the smallest margin that no more than ``n`` lost images reach, with the largest ``n`` up to which the accuracy
    of the exits stays within the tolerance. With ``n = 0`` no lost image ever exits, so nothing is lost.

    Parameters
    ----------
    scores : ``int64[images, T, classes]``
        As of :func:`cumulated_scores`.
    labels : ``int64[images]``
    tolerance : float
        0 to 1: 0.001 is a tenth of a percent point.

    Returns
    -------
    ``int64[T]``, not negative, the last one 0

    Raises
    ------
    ValueError
        If the tolerance is out of range or there are not as many labels as images.
    """
    _check_labels(scores, labels)
    if not 0 <= tolerance <= 1:
        raise ValueError(f"tolerance must be 0 to 1, not {tolerance!r}")
    right = classify(scores) == labels[:, None]
    full = np.count_nonzero(right[:, -1])
    lost = right[:, -1:] & ~right
    leads = _leads(scores)
    ranked = [np.sort(leads[column, t])[::-1] for t, column in enumerate(lost.T)]
    chosen = np.zeros(scores.shape[1], dtype=np.int64)
    for spared in itertools.count():
        margins = np.array([of[spared] + 1 if len(of) > spared else 0 for of in ranked], dtype=np.int64)
        exits = exit_early(scores, margins)
        if (full - np.count_nonzero(exits.classes == labels)) / len(labels) > tolerance:
            assert spared, "lost images cannot exit"
            return chosen
        chosen = margins
        if not margins.any():
            return chosen
    raise AssertionError("some margins are all 0")
