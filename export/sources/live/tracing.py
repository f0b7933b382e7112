"""From a recording to the one path that data take through a module: which layer sees what which layer gives.

What happens between two layers is read from the graph of gradients, and must keep every number: a change of shape, a
choice or a stack of timesteps, a repetition over timesteps, or a pooling, which becomes a node of its own. Anything
else is refused by name. That the numbers did arrive, each in its place, is checked on the recorded ones.

Layers may be called once for all timesteps, or once for each; what every timestep sees alike may be computed once.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from export.evaluation import windows_of
from export.sources.chain import OrPool, Pool, SourceError
from export.sources.live.recording import Call, Leaf, Recording, array_of
from export.sources.nodes import or_of, pool
from support.errors import printable

__all__ = ["Place", "Windows", "path_of", "pool_of"]

#: Operations between layers that keep the order of all numbers, by their names in the graph of gradients.
_KEPT = frozenset({"View", "UnsafeView", "ReshapeAlias", "Alias", "Unsqueeze", "Squeeze", "Clone", "ToCopy", "Expand",
                   "Repeat"})
_POOLS = {"AvgPool2D": True, "MaxPool2DWithIndices": False}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """The windows of a pooling, as PyTorch states them."""

    mean: bool
    kernel: Any
    stride: Any
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False
    divisor: int | None = None


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Place:
    """A layer in its place on the path, with the pooling between it and the layer before."""

    leaf: Leaf
    #: One for each timestep, or one for all.
    calls: list[Call]
    #: Pooling by functions that its input went through, in this order.
    pools: tuple[Pool | OrPool, ...]
    #: What it saw and gave, ``[T or 1, images, ...]``.
    seen: npt.NDArray[np.float64]
    given: npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Origin:
    """Where an input comes from: calls of one layer, in the order of timesteps, or the input of the module."""

    #: Empty for the input of the module.
    calls: tuple[Call, ...]
    pools: tuple[Windows, ...] = ()
    #: The timestep that was chosen, of one call for all timesteps; None without a choice.
    index: int | None = None
    #: Which output of the calls it is.
    output: int = 0


class _Graph:
    """The graph of gradients between the calls of a recording."""

    def __init__(self, recording: Recording):
        self._input = recording.input
        self._ends: dict[tuple[int, int], tuple[Call, int]] = {}
        self._kept: list[Any] = []

    def add(self, call: Call) -> None:
        """Know the outputs of ``call`` from here on: what was known of the same tensors before is overwritten."""
        for output, (node, number) in enumerate(call.ends):
            if node is not None:
                self._kept.append(node)
                self._ends[id(node), number] = call, output

    def origin(self, name: str, tensor: Any, end: tuple[Any, int]) -> _Origin:
        """Return where ``tensor`` comes from, which layer ``name`` sees."""
        node, number = end
        if node is None:
            if tensor is self._input:
                return _Origin(calls=())
            raise SourceError(f"node {name}: what it sees must come from the input through the layers before it, and "
                              f"with gradients: leave torch.no_grad, detach and comparisons out of the forward")
        return self._follow(name, node, number, ())

    def _follow(self, name: str, node: Any, number: int, indices: tuple[int, ...]) -> _Origin:
        """Go back from output ``number`` of ``node`` to a call or to the input; ``indices`` are yet to be chosen."""
        pools: list[Windows] = []
        while True:
            if (id(node), number) in self._ends:
                call, output = self._ends[id(node), number]
                return _Origin(calls=(call,), pools=tuple(reversed(pools)), output=output,
                               index=_single(name, indices))
            kind = re.sub(r"Backward\d*$", "", type(node).__name__)
            if kind == "AccumulateGrad":
                if node.variable is not self._input:
                    raise SourceError(f"node {name}: what it sees must come from the input, not from a parameter: "
                                      f"leave it out of the forward")
                return _Origin(calls=(), pools=tuple(reversed(pools)), index=_single(name, indices))
            if kind == "Stack" and node._saved_dim == 0:
                if not indices:
                    return _joined(name, [self._follow(name, before, output, ())
                                          for before, output in node.next_functions], pools)
                (node, number), indices = node.next_functions[indices[-1]], indices[:-1]
                continue
            if kind in ("Select", "Unbind") and node._saved_dim == 0:
                indices = (*indices, node._saved_index if kind == "Select" else number)
            elif kind in _POOLS:
                pools.append(_windows(node, mean=_POOLS[kind]))
            elif kind not in _KEPT:
                raise SourceError(f"node {name}: what it sees must be what the layer before it gives, not go "
                                  f"through {_plain(kind)}: write that as a layer that has a place here, or leave it "
                                  f"out of the forward")
            (node, number), = [of for of in node.next_functions if of[0] is not None]


def _plain(kind: str) -> str:
    """Return the name of an operation as users of PyTorch know it."""
    return printable(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower())


def _single(name: str, indices: tuple[int, ...]) -> int | None:
    """Return the timestep that was chosen, if one was; raises :exc:`SourceError` for several choices."""
    if len(indices) > 1:
        raise SourceError(f"node {name}: what it sees must be one timestep, not chosen by several numbers")
    return indices[0] if indices else None


def _joined(name: str, origins: list[_Origin], pools: list[Windows]) -> _Origin:
    """Join what was stacked over timesteps."""
    first = origins[0]
    if any((origin.pools, origin.output) != (first.pools, first.output) or len(origin.calls) != 1
           or origin.index is not None for origin in origins):
        raise SourceError(f"node {name}: what is stacked for it must be the outputs of one layer, over timesteps")
    return dataclasses.replace(first, calls=tuple(origin.calls[0] for origin in origins),
                               pools=(*first.pools, *reversed(pools)))


def _windows(node: Any, *, mean: bool) -> Windows:
    """Return the windows that the graph of gradients has kept of a pooling by a function."""
    kernel = node._saved_kernel_size
    return Windows(mean=mean, kernel=kernel, stride=node._saved_stride or kernel, padding=node._saved_padding,
                   dilation=1 if mean else node._saved_dilation, ceil_mode=node._saved_ceil_mode,
                   divisor=node._saved_divisor_override if mean else None)


def pool_of(name: str, windows: Windows, sides: tuple[int, int]) -> Pool | OrPool:
    """Return the node of a pooling of a map with ``sides``."""
    node = pool(name, size=windows.kernel, stride=windows.stride, padding=windows.padding, dilation=windows.dilation,
                mean=windows.mean)
    size = node.size
    if windows.ceil_mode and any(side % size for side in sides):
        raise SourceError(f"node {name}: windows must lie in the map, not stand out of it by ceil_mode: leave it out")
    if not windows.mean:
        return or_of(node)
    if windows.divisor not in (None, 1, size**2):
        raise SourceError(f"node {name}: divisor_override must be 1 or {size**2}, not {windows.divisor}: leave it out")
    return dataclasses.replace(node, mean=windows.divisor != 1 or size == 1)


def _pooled(maps: npt.NDArray[np.float64], node: Pool | OrPool) -> npt.NDArray[np.float64]:
    """Pool ``[..., H, W]``; rows and columns that fill no window are dropped."""
    windows = windows_of(maps, node.size)
    if isinstance(node, OrPool):
        return windows.max(axis=(-3, -1))
    return windows.mean(axis=(-3, -1)) if node.mean else windows.sum(axis=(-3, -1))


def _sample(name: str, shape: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of what a layer sees of one image in one timestep, given that of the layer before."""
    for sample in (before, (math.prod(before),)):
        if shape[-len(sample):] == sample:
            return sample
    raise SourceError(f"node {name}: what it sees must be the map before it, {' x '.join(map(str, before))}, or that "
                      f"in a row, not have shape {shape}: leave reshaping that mixes images or timesteps out of the "
                      f"forward")


def _steps(values: Sequence[npt.NDArray[np.float64]], images: int, sample: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return the numbers of one call for all timesteps, or of one for each, as ``[T or 1, images, *sample]``."""
    return np.concatenate([value.reshape(-1) for value in values]).reshape(-1, images, *sample)


def _sinks(calls: list[Call], origins: dict[int, _Origin]) -> list[Call]:
    """Return the calls whose outputs no layer sees: those of the last layer."""
    used = {id(call) for origin in origins.values() for call in origin.calls}
    last = [call for call in calls if id(call) not in used]
    names = list(dict.fromkeys(call.leaf.name for call in last))
    if len(names) > 1:
        raise SourceError(f"a network must end in one layer, not in {', '.join(map(printable, names))}: branches have "
                          f"no place, use a plain chain")
    return last


def path_of(recording: Recording, images: int, shape: tuple[int, ...]) -> list[Place]:
    """Return the layers of a recording in the order in which data go through them.

    Parameters
    ----------
    recording : of one call of the module
    images : number of images in the input
    shape : of one image in one timestep

    Raises
    ------
    :exc:`SourceError`
        If the module is no chain of layers; the line names a layer and a remedy.
    """
    # What gives the very tensor that it saw changes nothing, as Dropout does in evaluation mode.
    recorded = [call for call in recording.calls if not (
        call.outputs and call.outputs[0] is call.inputs[0] and call.ends[0] == call.origins[0])]
    if not recorded:
        raise SourceError("a network must have a layer: this module calls none")
    graph = _Graph(recording)
    origins: dict[int, _Origin] = {}
    for call in recorded:
        name = printable(call.leaf.name)
        origin = graph.origin(name, call.inputs[0], call.origins[0])
        if origin.output:
            raise SourceError(f"node {name}: it must see the spikes of node {printable(origin.calls[0].leaf.name)}, "
                              f"not another output of it")
        origins[id(call)] = origin
        _check_second(graph, name, call)
        graph.add(call)
    calls = _sinks(recorded, origins)
    found: list[tuple[list[Call], tuple[Windows, ...]]] = []
    while calls:
        name = printable(calls[0].leaf.name)
        if len({id(call.leaf) for call in calls}) > 1 or len({origins[id(call)].pools for call in calls}) > 1:
            raise SourceError(f"node {name}: every timestep must go through the same layers: use a plain chain")
        if len(found) > len(recorded):
            raise SourceError(f"node {name}: it must not follow itself: train without recurrence")
        found.append((calls, origins[id(calls[0])].pools))
        calls = _before(name, [origins[id(call)] for call in calls])
    stray = {id(call) for call in recorded} - {id(call) for calls, _ in found for call in calls}
    for call in recorded:
        if id(call) in stray:
            raise SourceError(f"node {printable(call.leaf.name)}: it must be called once, or once in each timestep, in "
                              f"one place: use a plain chain")
    return _checked(found[::-1], recording, images, shape)


def _check_second(graph: _Graph, name: str, call: Call) -> None:
    """Refuse a second input that is neither a constant nor the second output of the call before."""
    for tensor, end in zip(call.inputs[1:], call.origins[1:], strict=True):
        if end[0] is None:
            continue
        origin = graph.origin(name, tensor, end)
        if not origin.calls or origin.calls[0].leaf is not call.leaf or origin.output != 1 or origin.pools:
            raise SourceError(f"node {name}: its membrane must be the one that it gave in the timestep before, or a "
                              f"constant in the first one")


def _before(name: str, origins: list[_Origin]) -> list[Call]:
    """Return the calls of the layer before, one for each timestep or one for all; none before the first layer."""
    first = origins[0]
    if len(origins) == 1:
        return list(first.calls)
    if any(len(origin.calls) != len(first.calls) for origin in origins) or len(first.calls) > 1:
        raise SourceError(f"node {name}: every timestep must see one output of the layer before")
    indices = [origin.index for origin in origins]
    if indices not in ([None] * len(origins), list(range(len(origins)))):
        raise SourceError(f"node {name}: timesteps must be taken in their order, each once, not {indices}")
    if not first.calls:
        return []
    unique = list({id(origin.calls[0]): origin.calls[0] for origin in origins}.values())
    if len(unique) not in (1, len(origins)) or (len(unique) > 1 and indices[0] is not None):
        raise SourceError(f"node {name}: it must see the layer before it once in each timestep, or the same in all")
    return unique


def _checked(found: list[tuple[list[Call], tuple[Windows, ...]]], recording: Recording, images: int,
             shape: tuple[int, ...]) -> list[Place]:
    """Check that all numbers arrived in their places, and return the path."""
    places: list[Place] = []
    before = array_of(recording.input).reshape(-1, images, *shape)
    for calls, pools in found:
        leaf, name = calls[0].leaf, printable(calls[0].leaf.name)
        nodes = []
        for windows in pools:
            nodes.append(pool_of(f"{name}, pooling before it", windows, before.shape[-2:]))
            before = _pooled(before, nodes[-1])
        sample = _sample(name, calls[0].seen.shape, before.shape[2:])
        seen = _steps([call.seen for call in calls], images, sample)
        expected = before.reshape(-1, images, *sample)
        if len(expected) not in (1, len(seen)) or not np.array_equal(np.broadcast_to(expected, seen.shape), seen):
            raise SourceError(f"node {name}: it must see, image by image and timestep by timestep, what the layer "
                              f"before it gives: leave what changes numbers or their order out of the forward")
        dimensions = calls[0].given.ndim - (calls[0].seen.ndim - len(sample))
        given_sample = calls[0].given.shape[-dimensions:] if dimensions > 0 else ()
        given = _steps([call.given for call in calls], images, given_sample)
        if len(given) != len(seen):
            raise SourceError(f"node {name}: it must give as many timesteps as it sees")
        places.append(Place(leaf=leaf, calls=calls, pools=tuple(nodes), seen=seen, given=given))
        before = given
    return places
