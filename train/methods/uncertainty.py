"""Uncertainty as a regulariser: entropy, spread over time, firing rates, and confidence against accuracy.

The fourth source paper (Ternary quantization of SNNs, doi 10.1007/s11704-025-51519-1) optimises uncertainty by one more
term in the loss; its formula could not be reached. These are the candidates of ``docs/algorithms.md``, section 4.2, one
of them from the literature on calibration. All but the rates look at ``p``, the mean over time of the softmax of each
timestep's scores.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from train.methods.context import TrainingContext
from train.methods.method import Batch, Method, MethodError, check_choice, check_number

__all__ = ["TERMS", "Uncertainty", "confidence_gap", "predictive_entropy", "rate_distance", "spread_over_time"]

#: Terms that :class:`Uncertainty` can weigh.
TERMS = ("entropy", "variance", "rate", "calibration")


def predictive_entropy(scores: Tensor) -> Tensor:
    """Return the mean over images of ``-sum_c p log p``, in nats: a scalar from 0 to ``log classes``.

    Scores ``[T, B, classes]``, floating.
    """
    # The logarithm of p as a sum of exponentials: p itself may underflow, and 0 log 0 has no gradient.
    logarithm = scores.log_softmax(-1).logsumexp(0) - math.log(len(scores))
    return -(logarithm.exp() * logarithm).sum(-1).mean()


def spread_over_time(scores: Tensor) -> Tensor:
    """Return the variance over time of each timestep's softmax, summed over classes: mean over images, from 0 below 1.

    Scores ``[T, B, classes]``, floating; the variance is ``mean_t (p_t - p)^2``, 0 for one timestep.
    """
    return scores.softmax(-1).var(0, correction=0).sum(-1).mean()


def rate_distance(spikes: Sequence[Tensor]) -> Tensor:
    """Return ``(rate - 1/2)^2``, the mean over the given maps of spikes or rates (any shapes, at least one map)."""
    # The mean of many spikes of bfloat16 needs more bits than bfloat16 has.
    rates = [maps.mean(dtype=torch.promote_types(maps.dtype, torch.float32)) for maps in spikes]
    return (torch.stack(rates) - 0.5).square().mean()


def confidence_gap(scores: Tensor, labels: Tensor) -> Tensor:
    """Return ``|mean confidence - accuracy|`` of a batch, a scalar from 0 to 1.

    The confidence is the largest ``p`` of an image, and its class counts for the accuracy. Scores ``[T, B, classes]``,
    floating; labels int64 ``[B]``. The auxiliary loss DCA (arXiv 2009.04057); the accuracy has no gradient.
    """
    confidence, classes = scores.softmax(-1).mean(0).max(-1)
    return (confidence.mean() - (classes == labels).to(confidence.dtype).mean()).abs()


@dataclasses.dataclass(kw_only=True, eq=False)
class Uncertainty(Method):
    """Add ``weight`` times a term to the loss.

    ``entropy``
        :func:`predictive_entropy`. A positive weight makes predictions surer, a negative one less sure (the confidence
        penalty of arXiv 1701.06548). The calibration error falls with a negative weight where the network is surer
        than right, and with a positive one where it is less sure than right: measure which, with
        :mod:`train.metrics`, on validation images. The mean over time flattens, so that a network may be less sure
        than right by ``p`` and surer than right by the softmax of its mean scores.
    ``variance``
        :func:`spread_over_time`. A positive weight makes timesteps agree: ``p`` comes close to the softmax of one
        timestep, mutual information falls.
    ``rate``
        :func:`rate_distance` of all layers of neurons but the first, as Q-SNN's (arXiv 2406.13672), whose readout is
        left out too. It keeps layers from silence; it is no measure of calibration.
    ``calibration``
        :func:`confidence_gap`, always with a positive weight. It compares on the training images: once they are
        all right, it pulls the confidence to 1, and the calibration error of an overfitted network rises.

    Parameters
    ----------
    weight : float
        -1000 to 1000; from 0 for ``rate`` and ``calibration``.
    of : str
        The term.

    Raises
    ------
    MethodError
        An option is wrong; in :meth:`begin`: no layer of neurons comes after the first, or they pass on other values
        than spikes and rates.
    """

    kind: ClassVar[str] = "uncertainty"
    needs_spikes: ClassVar[bool] = True

    weight: float
    of: str = "entropy"

    def __post_init__(self) -> None:
        check_choice("term of uncertainty", self.of, TERMS)
        check_number(f"weight of uncertainty ({self.of})", self.weight,
                     -1000 if self.of in ("entropy", "variance") else 0, 1000)

    def begin(self, training: TrainingContext) -> None:
        """Find the layers whose rates count."""
        described = training.network.architecture["layers"]
        # Pooled maps repeat the spikes of the layer before.
        self._counted = [index for index, layer in enumerate(described[:-1]) if "reset" in layer][1:]
        if self.of != "rate":
            return
        if not self._counted:
            raise MethodError("uncertainty (rate) must have a layer of neurons after the first, not only one")
        for method in training.recipe.methods:
            if method["kind"] in ("conversion", "conversion-aware"):
                raise MethodError(f"uncertainty (rate) must have neurons that pass on spikes or rates, not those of "
                                  f"{method['kind']}: leave one of the two out of the recipe")

    def add_loss(self, batch: Batch) -> Tensor:
        """Return the weighted term."""
        scores = batch.scores
        if self.of == "entropy":
            term = predictive_entropy(scores)
        elif self.of == "variance":
            term = spread_over_time(scores)
        elif self.of == "rate":
            term = rate_distance([batch.spikes[index] for index in self._counted])
        else:
            term = confidence_gap(scores, batch.labels)
        return self.weight * term
