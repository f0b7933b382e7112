"""Trained layers with spike times: weight codes, the scale of the codes, and batch normalisation, all in floats.

What they compute stands in :mod:`arch.ttfs.checkpoint`, whose checkpoints consist of them. The export makes layers of
:mod:`arch.ttfs.network` of them, which have integers only.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from arch import architecture
from arch.architecture import CheckpointError
from arch.limits import (
    MAX_STRIDE,
    NetworkError,
    Shape,
    check_classes,
    check_fan_in,
    check_integer,
    check_kernel,
    check_neurons,
    convolved_shape,
    freeze,
)
from arch.strict_json import short
from arch.ttfs.network import EarliestPool

__all__ = ["NORM_PARTS", "BatchNorm", "Convolution", "FullyConnected", "Layer", "Readout", "check_positive"]

#: Arrays of a batch normalisation, in the order of the checkpoint's file.
NORM_PARTS = ("gamma", "beta", "mean", "variance")

Weights = npt.NDArray[np.int8]
Reals = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def check_positive(where: str, value: Any) -> None:
    """Check that ``value`` is a positive number; raises :exc:`NetworkError`."""
    try:
        architecture.check_positive(where, value)
    except CheckpointError as error:
        # Layers are checked as those of integer networks are; a checkpoint makes all errors its own.
        raise NetworkError(str(error)) from None


def _check_name(name: Any) -> None:
    if not architecture.is_name(name):
        raise NetworkError(f"name must be a word of letters, digits, - and _, not {short(name)}")


def _reals(where: str, values: Any, count: int, *, negative: bool = True) -> Reals:
    """Check one float32 per channel, and return a read-only copy."""
    frozen: Reals = freeze(where, values, np.float32, 1)
    if len(frozen) != count:
        raise NetworkError(f"{where} must have {count} values, not {len(frozen)}")
    if not np.isfinite(frozen).all():
        raise NetworkError(f"{where} must be finite")
    if not negative and (frozen < 0).any():
        raise NetworkError(f"{where} must not be negative")
    return frozen


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BatchNorm:
    """Batch normalisation in evaluation mode, one value per channel."""

    #: Gain, ``float32[out]``.
    gamma: Reals
    #: Offset, ``float32[out]``.
    beta: Reals
    #: Mean, ``float32[out]``.
    mean: Reals
    #: Variance, ``float32[out]``, not negative.
    variance: Reals
    #: What is added to the variance, positive.
    epsilon: float

    def __post_init__(self) -> None:
        check_positive("epsilon", self.epsilon)
        count = len(freeze("gamma", self.gamma, np.float32, 1))
        for part in NORM_PARTS:
            object.__setattr__(self, part, _reals(part, getattr(self, part), count, negative=part != "variance"))

    def gain_and_offset(self, scale: Reals, theta0: float) -> tuple[Floats, Floats]:
        """Return ``g`` and ``d`` of each channel, ``float64[out]``, for codes of this ``scale``, ``float32[out]``.

        The operations are those of IEEE 754, which NumPy rounds correctly on every machine. PyTorch's square root of
        float64 does not: with MKL it misses the last bit of one value in eighty.
        """
        slope = self.gamma.astype(np.float64) / np.sqrt(self.variance.astype(np.float64) + self.epsilon)
        return (theta0 * scale.astype(np.float64) * slope,
                self.beta.astype(np.float64) - slope * self.mean.astype(np.float64))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Convolution:
    """Convolution (cross-correlation, as in PyTorch), batch normalisation, and neurons."""

    kind: ClassVar[str] = "convolution"

    #: Name, a word of letters, digits, ``-`` and ``_`` that no other layer has.
    name: str
    #: Weight codes, ``int8[out, in, kernel, kernel]``.
    weights: Weights
    #: Scale of the codes, ``float32[out]``, not negative.
    scale: Reals
    #: Batch normalisation of the scaled sums.
    norm: BatchNorm
    #: Step between receptive fields, 1 to :data:`arch.network.MAX_STRIDE`, in pixels.
    stride: int = 1
    #: Border without spikes on each side, 0 to ``kernel - 1``, in pixels.
    padding: int = 0

    def __post_init__(self) -> None:
        _check_name(self.name)
        object.__setattr__(self, "weights", freeze("weights", self.weights, np.int8, 4))
        check_kernel(self.weights)
        check_integer("stride", self.stride, 1, MAX_STRIDE)
        check_integer("padding", self.padding, 0, self.weights.shape[2] - 1)
        _freeze_channels(self)

    def gain_and_offset(self, theta0: float) -> tuple[Floats, Floats]:
        """As of :meth:`BatchNorm.gain_and_offset`, for the codes of this layer."""
        return self.norm.gain_and_offset(self.scale, theta0)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the map made from a map of ``shape``; raises :exc:`NetworkError`."""
        return convolved_shape(self.weights, shape, self.stride, self.padding)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FullyConnected:
    """Fully connected layer, batch normalisation, and neurons."""

    kind: ClassVar[str] = "fully-connected"

    #: Name, a word of letters, digits, ``-`` and ``_`` that no other layer has.
    name: str
    #: Weight codes, ``int8[neurons, inputs]``; inputs are the map flattened as channel, row, column.
    weights: Weights
    #: Scale of the codes, ``float32[neurons]``, not negative.
    scale: Reals
    #: Batch normalisation of the scaled sums.
    norm: BatchNorm

    def __post_init__(self) -> None:
        _check_name(self.name)
        object.__setattr__(self, "weights", freeze("weights", self.weights, np.int8, 2))
        check_neurons(self.weights)
        _freeze_channels(self)

    def gain_and_offset(self, theta0: float) -> tuple[Floats, Floats]:
        """As of :meth:`BatchNorm.gain_and_offset`, for the codes of this layer."""
        return self.norm.gain_and_offset(self.scale, theta0)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for a map of ``shape``; raises :exc:`NetworkError`."""
        check_fan_in(self.weights, shape)
        return len(self.weights), 1, 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Readout:
    """Fully connected layer without neurons: its sums are the scores."""

    kind: ClassVar[str] = "readout"

    #: Name, a word of letters, digits, ``-`` and ``_`` that no other layer has.
    name: str
    #: Weight codes, ``int8[classes, inputs]``; inputs are the map flattened as channel, row, column.
    weights: Weights
    #: Scale of the codes of all classes, ``float32[1]``, not negative.
    scale: Reals

    def __post_init__(self) -> None:
        _check_name(self.name)
        object.__setattr__(self, "weights", freeze("weights", self.weights, np.int8, 2))
        check_classes(self.weights)
        object.__setattr__(self, "scale", _reals("scale", self.scale, 1, negative=False))

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the scores for a map of ``shape``; raises :exc:`NetworkError`."""
        check_fan_in(self.weights, shape)
        return len(self.weights), 1, 1


def _freeze_channels(layer: Convolution | FullyConnected) -> None:
    """Check that scale and normalisation have a value for each channel of the weights."""
    object.__setattr__(layer, "scale", _reals("scale", layer.scale, len(layer.weights), negative=False))
    if len(layer.norm.gamma) != len(layer.weights):
        raise NetworkError(f"BatchNorm must have {len(layer.weights)} channels like the weights, "
                           f"not {len(layer.norm.gamma)}")


Layer = Convolution | FullyConnected | EarliestPool | Readout
