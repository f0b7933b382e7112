"""Weights of full precision: teachers, and the start of methods that quantise a trained network."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from train.methods.method import Method
from train.quantisers import Float

if TYPE_CHECKING:
    from train.training import Training

__all__ = ["FloatWeights"]


@dataclasses.dataclass(kw_only=True, eq=False)
class FloatWeights(Method):
    """Use the latent weights of all layers as they are. The network has no codes and cannot be exported."""

    kind: ClassVar[str] = "float-weights"

    def begin(self, training: "Training") -> None:
        """Exchange the quantisers."""
        for part in training.network.synapses():
            part.quantiser = Float()
