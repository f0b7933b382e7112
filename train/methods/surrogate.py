"""Another stand-in for the derivative of the spike."""

import dataclasses
from typing import ClassVar

from train.methods.context import TrainingContext
from train.methods.method import Method, check_choice
from train.neurons import SURROGATES

__all__ = ["Surrogate"]


@dataclasses.dataclass(kw_only=True, eq=False)
class Surrogate(Method):
    """Give all neurons the surrogate ``shape``.

    Parameters
    ----------
    shape : str
        Of :data:`train.neurons.SURROGATES`; formulas and sources are in :func:`train.neurons.surrogate`.

    Raises
    ------
    MethodError
        The option is wrong.
    """

    kind: ClassVar[str] = "surrogate"
    needs_spiking_network: ClassVar[bool] = True
    decides: ClassVar[frozenset[str]] = frozenset({"the spike's derivative"})

    shape: str

    def __post_init__(self) -> None:
        check_choice("shape of surrogate", self.shape, SURROGATES)

    def begin(self, training: TrainingContext) -> None:
        """Choose the surrogate."""
        training.network.use_surrogate(self.shape)
