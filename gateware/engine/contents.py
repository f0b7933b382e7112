"""What the memories of the accelerator hold: one network, laid out for one circuit."""

import dataclasses
from collections.abc import Sequence

__all__ = ["MemoryContents"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryContents:
    """Contents of the accelerator's memories: one network, for one circuit.

    The circuit is described by :class:`gateware.engine.configuration.EngineConfig`.
    """

    #: Weight rows per lane, in the form of :func:`gateware.engine.dot_product.weights_layout`.
    weights: Sequence[Sequence[int]]
    #: One entry per neuron, in the form of :func:`gateware.engine.pif.constants_layout`.
    constants: Sequence[int]
    #: Layer program (:mod:`gateware.engine.program`).
    program: Sequence[int]
    #: Table of the window writer.
    pixels: Sequence[int]
