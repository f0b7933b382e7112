"""A further input of a convolution's filters: identity and projection shortcuts of residual networks."""

import dataclasses

import numpy as np

from arch.limits import (
    MAX_CHANNELS,
    MAX_STRIDE,
    NetworkError,
    Shape,
    Weights,
    check_integer,
    check_kernel,
    check_ternary,
    convolved_shape,
    freeze,
)
from arch.strict_json import short

__all__ = ["Projection", "joined_filters"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Projection:
    """Spikes of an earlier layer that a filter sees through 1 x 1 weights, beside the layer's own input map.

    The currents of both maps are one sum, and meet one pool and one neuron. An identity shortcut is a projection whose
    weights are the unit matrix (:meth:`identity`).
    """

    #: Index of the earlier layer whose spikes are the input, from 0. The previous layer is allowed.
    source: int
    #: Ternary weights, ``int8[out, channels, 1, 1]``.
    weights: Weights
    #: Step between the positions that are seen, 1 to :data:`arch.limits.MAX_STRIDE`, in pixels.
    stride: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.source, int) or isinstance(self.source, bool) or self.source < 0:
            raise NetworkError(f"projection source must be the index of an earlier layer, not {short(self.source)}")
        object.__setattr__(self, "weights", freeze("projection weights", self.weights, np.int8, 4))
        rows, columns = self.weights.shape[2:]
        if (rows, columns) != (1, 1):
            raise NetworkError(f"projection weights must be 1 x 1, not {rows} x {columns}")
        check_kernel(self.weights)
        check_ternary("projection weights", self.weights)
        check_integer("projection stride", self.stride, 1, MAX_STRIDE)

    @classmethod
    def identity(cls, source: int, channels: int, *, stride: int = 1) -> "Projection":
        """Return the identity shortcut: each of the ``channels`` sees the same channel of layer ``source``."""
        check_integer("channels of an identity", channels, 1, MAX_CHANNELS)
        return cls(source=source, weights=np.eye(channels, dtype=np.int8)[..., None, None], stride=stride)

    @property
    def diagonal(self) -> bool:
        """Whether each channel sees at most the same channel of the source.

        That is an identity shortcut, also after the export has moved signs of BatchNorm's gains into the weights.
        """
        matrix = self.weights[:, :, 0, 0]
        return matrix.shape[0] == matrix.shape[1] and not matrix[~np.eye(len(matrix), dtype=bool)].any()

    @property
    def weight_count(self) -> int:
        """Number of weights; none if it is :attr:`diagonal`, because an identity is given and not trained."""
        return 0 if self.diagonal else self.weights.size

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the currents of a source map of ``shape``; raises :exc:`NetworkError`."""
        return convolved_shape(self.weights, shape, self.stride, 0)


def joined_filters(weights: Weights, projected: Weights | None) -> Weights:
    """All weights of each filter, ``int8[out, synapses]``: behind ``weights``, ``[out, ...]``, those of its projection.

    What depends on a filter's weights alone, whichever map they meet, is derived from these: ranges and widths.
    """
    flat = weights.reshape(len(weights), -1)
    return flat if projected is None else np.concatenate([flat, projected.reshape(len(projected), -1)], axis=1)
