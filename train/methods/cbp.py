"""Constrained backpropagation: post-training of a float network towards two or three levels of weight.

Kim and Jeong, CBP (NeurIPS 2021, eq. 7 to 10), and Yoo and Jeong, CBP-QSNN (2023); ``docs/algorithms.md``, section 5.
The weights are drawn to their levels by a Lagrangian: each has a multiplier that grows while the weight is off its
level. Around the medians between two levels there is a window, at first wide, in which a weight is not yet constrained.
"""

import dataclasses
import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from train import neurons, quantisers
from train.methods.balancing import balance_network
from train.methods.context import TrainingContext
from train.methods.method import (
    Batch,
    Method,
    MethodError,
    check_calibration,
    check_choice,
    check_integer,
    check_number,
    check_trained,
)
from train.synapses import TernaryConv2d, TernaryLinear

__all__ = ["ConstrainedBackpropagation", "constraint", "next_granularity", "sawtooth"]

#: Granularity at which the learning rate is cut, and the factor.
CUT_GRANULARITY, CUT_FACTOR = 20, 0.1
#: Largest magnitude of a gradient, and of a weight.
LIMIT = 1.0


def sawtooth(weight: Tensor, scale: float, *, ternary: bool) -> Tensor:
    """Return ``Y(w)``: twice the distance of each weight from the nearest level.

    Between two levels that is their gap minus ``2 |w - median|``, outside them twice the excess. The
    gradient is +-2, away from the level, and 0 at it.

    Parameters
    ----------
    weight : any shape, float32
    scale, ternary
        The levels, as of :class:`train.quantisers.Levels`.

    Returns
    -------
    The shape and dtype of ``weight``, not negative
    """
    codes, _ = quantisers.Levels(scale, ternary=ternary).codes_and_scale(weight.detach(), per_channel=False)
    return 2 * (weight - scale * codes).abs()


def constraint(weight: Tensor, scale: float, *, ternary: bool, granularity: int) -> Tensor:
    """Return ``cs(w; g)``: the sawtooth, or 0 in the unconstrained window ``|w - median| < gap / (2 g)``.

    With ``g = 1`` the windows fill the gaps and only weights outside the levels are constrained; with growing ``g``
    they close.

    Parameters
    ----------
    weight, scale, ternary
        As of :func:`sawtooth`.
    granularity : int
        ``g``, from 1.

    Returns
    -------
    The shape and dtype of ``weight``
    """
    distance = sawtooth(weight, scale, ternary=ternary)
    gap = scale if ternary else 2 * scale
    # |w - median| = (gap - Y) / 2 between two levels.
    constrained = (weight.detach().abs() > scale) | (distance.detach() <= gap * (1 - 1 / granularity))
    return torch.where(constrained, distance, 0)


def next_granularity(granularity: int) -> int:
    """Return the granularity after ``granularity``: 1, 2, ... 10, 20, 30, ..."""
    return granularity + (1 if granularity < 10 else 10)


@dataclasses.dataclass(kw_only=True, eq=False)
class ConstrainedBackpropagation(Method):
    """Train the weights of a finished float training until they sit on the levels ``{-a, a}`` or ``{-a, 0, a}``.

    ``a`` is the mean magnitude of a pre-trained layer and stays. The forward pass sees the levels, and the gradient
    goes straight through; the loss is ``C(W) + sum_i lambda_i cs(w_i; g)``. Gradients of weights are clipped to +-1 and
    weights clamped to [-1, 1]. At the end of an epoch whose mean loss is not below that of the epoch before, or after
    ``patience`` epochs without one, ``g`` takes its next value, and the multipliers take one step of Adam upwards,
    against the constraint; at ``g = 20`` the learning rate is divided by ten. The first step upwards, at ``g = 1``,
    is made before the training. Epochs' metrics get ``constraint_failure``, the mean of ``Y(w)`` over all weights, and
    ``granularity``, the ``g`` of the epoch.

    Networks made by direct training are started from as they are, those made by conversion through ``percentile``.

    The papers leave the first and the last layer in float. Here all layers are constrained, and there is no option
    to leave any out: a network with float weights cannot be exported. The papers' optimiser is SGD with momentum 0.9
    (CBP-QSNN also AdamW); it is the recipe's choice.

    Raises
    ------
    :exc:`MethodError`
        If an option is wrong; in :meth:`begin`: the levels of a pre-trained layer lie outside of what weights can
        reach, or ``percentile`` does not suit the start.
    """

    kind: ClassVar[str] = "cbp"
    needs_spiking_network: ClassVar[bool] = True
    decides: ClassVar[frozenset[str]] = frozenset({"how weights are quantised", "the gains that BatchNorm begins with"})

    #: Recipe of the float training, whose folder lies beside this one's.
    start: str
    #: Of a start with ReLU neurons (``conversion`` with float weights): the percentile of its activations that becomes
    #: a layer's threshold, so that the spiking network made by conversion is trained further. None: as it is.
    percentile: float | None = None
    #: Training images on which the percentile is measured, from 1.
    calibration_images: int = 3500
    #: ``ternary`` or ``binary``.
    levels: str = "ternary"
    #: Learning rate of the multipliers' Adam: about what a step adds to the multiplier of a constrained weight
    #: (ImageNet: 1e-4; CBP-QSNN: a tenth of the weights' learning rate).
    multiplier_rate: float = 1e-3
    #: Epochs after which ``g`` and the multipliers are updated at the latest, from 1 (the papers: 20).
    patience: int = 20
    _training: TrainingContext = dataclasses.field(init=False, repr=False)
    _parts: list[TernaryConv2d | TernaryLinear] = dataclasses.field(init=False, repr=False)
    _scales: list[float] = dataclasses.field(init=False, repr=False)
    _multipliers: list[Tensor] = dataclasses.field(init=False, repr=False)
    _ascent: torch.optim.Adam = dataclasses.field(init=False, repr=False)
    _granularity: int = dataclasses.field(default=1, init=False, repr=False)
    _previous: float = dataclasses.field(default=math.inf, init=False, repr=False)
    _waited: int = dataclasses.field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_trained(f"{self.kind} start", self.start)
        check_choice(f"{self.kind} levels", self.levels, ("ternary", "binary"))
        check_number(f"{self.kind} multiplier_rate", self.multiplier_rate, 0)
        if self.percentile is not None:
            check_number(f"{self.kind} percentile", self.percentile, 0, 100)
        check_integer(f"{self.kind} calibration_images", self.calibration_images, 1)
        check_integer(f"{self.kind} patience", self.patience, 1)

    @property
    def _ternary(self) -> bool:
        return self.levels == "ternary"

    def keeps_quantisers(self, weights: str) -> bool:
        """No: the levels are those of the pre-trained layers."""
        return False

    def begin(self, training: TrainingContext) -> None:
        """Load the float weights, fix the levels, and raise the multipliers for the first time."""
        form = training.load_weights(self.start)
        if (neurons.Mode.RELU.value in form.split()) != (self.percentile is not None):
            raise MethodError(f"{training.folder_of(self.start)}: {self.kind} percentile must "
                              f"{'' if self.percentile is None else 'not '}be given to start from a network with "
                              f"{form.split()[0]}: it converts ReLU")
        if self.percentile is not None:
            check_calibration(self.kind, self.calibration_images, training)
            # The ANN's activations are those of its float weights, whatever the recipe's are.
            for part in training.network.synapses():
                part.quantiser = quantisers.Float()
            balance_network(training.network, training.train.images[:self.calibration_images], self.percentile)
        self._training = training
        self._parts = list(training.network.synapses())
        self._use_scales([float(part.weight.detach().abs().mean()) for part in self._parts])
        self._multipliers = [torch.zeros_like(part.weight, requires_grad=False) for part in self._parts]
        self._ascent = torch.optim.Adam(self._multipliers, lr=self.multiplier_rate, maximize=True)
        self._granularity, self._previous, self._waited = 1, math.inf, 0
        self._raise_multipliers()

    def _use_scales(self, scales: list[float]) -> None:
        for index, scale in enumerate(scales):
            if not 0 < scale <= LIMIT:
                raise MethodError(f"{self.kind} needs weighted layers of a mean magnitude above 0 and up to {LIMIT:g}, "
                                  f"not {scale:.12g} (layer {index} of {self.start})")
        self._scales = scales
        for part, scale in zip(self._parts, scales, strict=True):
            part.quantiser = quantisers.Levels(scale, ternary=self._ternary)

    def _constraint(self, index: int) -> Tensor:
        return constraint(self._parts[index].weight, self._scales[index], ternary=self._ternary,
                          granularity=self._granularity)

    @torch.no_grad()
    def _raise_multipliers(self) -> None:
        # The derivative of the Lagrangian with respect to a multiplier is the constraint.
        for index, multiplier in enumerate(self._multipliers):
            multiplier.grad = self._constraint(index)
        self._ascent.step()
        self._ascent.zero_grad(set_to_none=True)

    def add_loss(self, batch: Batch) -> Tensor:
        """Return ``sum_i lambda_i cs(w_i; g)`` over all weights."""
        return torch.stack([(multiplier * self._constraint(index)).sum()
                            for index, multiplier in enumerate(self._multipliers)]).sum()

    def before_step(self) -> None:
        """Clip the gradients of the weights by value."""
        torch.nn.utils.clip_grad_value_([part.weight for part in self._parts], LIMIT)

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamp the weights."""
        for part in self._parts:
            part.weight.clamp_(-LIMIT, LIMIT)

    @torch.no_grad()
    def failure(self) -> float:
        """Constraint failure score: the mean of ``Y(w)`` over all weights; 0 when all sit on their levels."""
        total = sum(float(sawtooth(part.weight, scale, ternary=self._ternary).sum(dtype=torch.float64))
                    for part, scale in zip(self._parts, self._scales, strict=True))
        return total / sum(part.weight.numel() for part in self._parts)

    def end_epoch(self, entry: dict[str, Any]) -> None:
        """Report the constraint's failure; update ``g`` and the multipliers if it is time."""
        entry["constraint_failure"], entry["granularity"] = self.failure(), self._granularity
        self._waited += 1
        if entry["loss"] < self._previous and self._waited < self.patience:
            self._previous = entry["loss"]
            return
        self._granularity = next_granularity(self._granularity)
        if self._granularity == CUT_GRANULARITY:
            self._training.scale_learning_rate(CUT_FACTOR)
        self._raise_multipliers()
        self._previous, self._waited = math.inf, 0

    def state(self) -> dict[str, Any]:
        """Multipliers, the state of their Adam, levels, and where the schedule is."""
        return {"granularity": self._granularity, "previous": self._previous, "waited": self._waited,
                "scales": self._scales, "multipliers": self._multipliers, "ascent": self._ascent.state_dict()}

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        """Take back :meth:`state`."""
        self._granularity, self._previous, self._waited = state["granularity"], state["previous"], state["waited"]
        self._use_scales(state["scales"])
        for multiplier, kept in zip(self._multipliers, state["multipliers"], strict=True):
            multiplier.copy_(kept)
        self._ascent.load_state_dict(state["ascent"])
