"""The nodes of a chain as layers: weights, what is pooled before and behind them, and neurons."""

import dataclasses
import math

from arch.network import Shape
from export.sources.chain import Chain, Convolution, Flatten, Linear, Node, OrPool, Pool, SourceError, SpikingNeurons

__all__ = ["Stage", "stages_of"]


@dataclasses.dataclass(kw_only=True)
class Stage:
    """A layer with weights in the making: what was pooled before it, itself, and what comes behind it."""

    #: Its weights.
    node: Convolution | Linear
    #: Pooling of what the weights see.
    before: Pool | None
    #: Pooling of the currents.
    between: Pool | None = None
    #: None at the end, where the currents are the scores.
    neurons: SpikingNeurons | None = None
    #: Pools of the spikes.
    ors: list[OrPool] = dataclasses.field(default_factory=list)


class _Grouping:
    """Groups the nodes of a chain into layers, one node after the other."""

    def __init__(self, chain: Chain):
        self.stages: list[Stage] = []
        #: A pool that the next weights see.
        self.waiting: Pool | None = None
        self._shape, self._flat = chain.shape, chain.flat
        for node in chain.nodes:
            self._add(node)

    @property
    def _open(self) -> Stage | None:
        """The last layer, if it has no neurons yet."""
        return self.stages[-1] if self.stages and self.stages[-1].neurons is None else None

    def _add(self, node: Node) -> None:
        if isinstance(node, SpikingNeurons):
            self._add_neurons(node)
        elif isinstance(node, Pool):
            self._add_pool(node)
        elif isinstance(node, OrPool):
            self._add_or(node)
        elif isinstance(node, Flatten):
            self._flat = True
        else:
            self._add_weights(node)

    def _add_neurons(self, node: SpikingNeurons) -> None:
        stage = self._open
        if stage is None or self.waiting is not None:
            raise SourceError(f"node {node.name}: neurons must come behind weights: give them a convolution or a fully "
                              f"connected layer of their own")
        stage.neurons = node

    def _add_pool(self, node: Pool) -> None:
        if self._flat:
            raise SourceError(f"node {node.name}: pooling must come before the map is flattened: move it")
        self._shape = _pooled(node, self._shape)
        stage = self._open
        other = self.waiting if stage is None else stage.between
        if other is not None:
            raise SourceError(f"node {node.name}: there must be one pooling between two layers: make one of it and "
                              f"node {other.name}")
        if stage is None:
            self.waiting = node
        else:
            stage.between = node

    def _add_or(self, node: OrPool) -> None:
        if not self.stages or self._open is not None or self.waiting is not None or self._flat:
            raise SourceError(f"node {node.name}: an OR must be of a map of spikes: put it behind neurons, before the "
                              f"map is flattened")
        self.stages[-1].ors.append(node)
        channels, height, width = self._shape
        self._shape = channels, height // node.size, width // node.size

    def _add_weights(self, node: Convolution | Linear) -> None:
        stage = self._open
        if stage is not None:
            raise SourceError(f"node {node.name}: weights must come behind neurons, not behind the weights of node "
                              f"{stage.node.name}: put neurons between them, or multiply the two")
        self.stages.append(Stage(node=node, before=self.waiting))
        self._shape, self.waiting = _weighted(node, self._shape, self._flat), None
        self._flat = isinstance(node, Linear)


def _pooled(node: Pool, shape: Shape) -> Shape:
    channels, height, width = shape
    if height % node.size or width % node.size:
        raise SourceError(f"node {node.name}: windows of {node.size} must divide both sides of the map of {height} x "
                          f"{width}: give the layer before it another padding")
    return channels, height // node.size, width // node.size


def _weighted(node: Convolution | Linear, shape: Shape, flat: bool) -> Shape:
    """Shape of the currents of ``node``, which sees a map of ``shape``."""
    channels, height, width = shape
    if isinstance(node, Linear):
        if not flat and height * width > 1:
            raise SourceError(f"node {node.name}: a fully connected layer must see a flat map, not {channels} x "
                              f"{height} x {width}: put a Flatten before it")
        if node.weight.shape[1] != math.prod(shape):
            raise SourceError(f"node {node.name}: weights must have {math.prod(shape)} inputs like the map before, not "
                              f"{node.weight.shape[1]}")
        return len(node.weight), 1, 1
    if flat:
        raise SourceError(f"node {node.name}: a convolution must see a map, not one that is flat: give the input of "
                          f"the network channels, height and width")
    out, into, kernel, _ = node.weight.shape
    if into != channels:
        raise SourceError(f"node {node.name}: weights must have {channels} input channels like the map before, not "
                          f"{into}")
    sides = [(side + 2 * node.padding - kernel) // node.stride + 1 for side in (height, width)]
    if min(sides) < 1:
        raise SourceError(f"node {node.name}: kernel of {kernel} must fit in the padded map of {height} x {width}")
    return out, sides[0], sides[1]


def stages_of(chain: Chain, currents: bool | None) -> list[Stage]:
    """Group ``chain`` into layers, the last of them without neurons where its currents are the scores.

    Parameters
    ----------
    chain : Chain
    currents : bool, optional
        Whether neurons at the end are dropped; or, with False, must be there. None takes what the network ends in.

    Raises
    ------
    :exc:`SourceError`
        If nodes are in an order that has no place, or their shapes do not fit.
    """
    grouping = _Grouping(chain)
    stages = grouping.stages
    if not stages:
        raise SourceError("a network must have a node with weights: this one has none")
    if grouping.waiting is not None:
        raise SourceError(f"node {grouping.waiting.name}: pooling must come before weights or neurons, not at the end: "
                          f"leave it out, and count spikes of all outputs")
    last = stages[-1]
    if currents is False and last.neurons is None:
        raise SourceError(f"node {last.node.name}: neurons must follow whose spikes are counted: ask for no "
                          f"readout of spikes, and its currents are the scores")
    return [*stages[:-1], dataclasses.replace(last, neurons=None) if currents else last]
