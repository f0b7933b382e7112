"""From the layers of PyTorch, and those of SpikingJelly that wrap them, to nodes of a chain."""

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np

from arch.limits import MAX_KERNEL, MAX_POOL, MAX_STRIDE
from export.sources.chain import Convolution, Flatten, Linear, Node, Norm, OrPool, Pool, SourceError, rationals
from export.sources.live.recording import Leaf, array_of
from export.sources.live.tracing import Place, Windows, pool_of
from support.errors import printable

__all__ = ["check_evaluation", "checked_or", "layer_nodes"]

_TRAINED_ONLY = ("Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout")
_NORMS = ("BatchNorm1d", "BatchNorm2d")
_HAVE_A_PLACE = ("Conv2d, Linear, BatchNorm1d, BatchNorm2d, AvgPool2d, AdaptiveAvgPool2d, MaxPool2d, Flatten, Dropout, "
                 "Identity or VotingLayer")


def check_evaluation(leaves: list[Leaf]) -> None:
    """Refuse layers that compute something else in training mode; a run would change what they have learned."""
    for leaf in leaves:
        if leaf.kind[1] in (*_TRAINED_ONLY, *_NORMS) and leaf.module.training:
            raise SourceError(f"node {printable(leaf.name)}: {leaf.kind[1]} must be in evaluation mode, not in "
                              f"training mode: call eval() of the module first")


def _finite(name: str, key: str, tensor: Any) -> Any:
    values = array_of(tensor)
    if not np.isfinite(values).all():
        raise SourceError(f"node {name}: {key} must be finite, not {values[~np.isfinite(values)].flat[0]}")
    return values


def _one(name: str, key: str, value: Any) -> int:
    values = (value,) if isinstance(value, int) else tuple(value)
    if len(set(values)) != 1:
        raise SourceError(f"node {name}: {key} must be the same for rows and columns, not {values}: use one")
    return int(values[0])


def _convolution(name: str, module: Any) -> Convolution:
    weight = _finite(name, "weight", module.weight)
    rows, columns = weight.shape[2:]
    if rows != columns or rows > MAX_KERNEL:
        raise SourceError(f"node {name}: kernel must be square, at most {MAX_KERNEL} x {MAX_KERNEL}, not {rows} x "
                          f"{columns}: train with a smaller one")
    for key in ("groups", "dilation"):
        value = _one(name, key, getattr(module, key))
        if value != 1:
            raise SourceError(f"node {name}: {key} must be 1, not {value}: train with a plain convolution")
    stride = _one(name, "stride", module.stride)
    if stride > MAX_STRIDE:
        raise SourceError(f"node {name}: stride must be 1 to {MAX_STRIDE}, not {stride}")
    if module.padding_mode != "zeros":
        raise SourceError(f"node {name}: padding_mode must be zeros, not {module.padding_mode}: train with zeros")
    padding = module.padding
    if isinstance(padding, str):
        if padding == "same" and rows % 2 == 0:
            raise SourceError(f"node {name}: padding must be the same on all sides, not 'same' with a kernel of "
                              f"{rows}: give a number")
        padding = 0 if padding == "valid" else rows // 2
    border = _one(name, "padding", padding)
    if border >= rows:
        raise SourceError(f"node {name}: padding must be 0 to {rows - 1} with a kernel of {rows}, not {border}")
    return Convolution(name=name, weight=weight, bias=_bias(name, module, len(weight)), stride=stride, padding=border)


def _bias(name: str, module: Any, channels: int) -> Any:
    return np.zeros(channels) if module.bias is None else _finite(name, "bias", module.bias)


def _norm(name: str, module: Any) -> Norm:
    if module.running_mean is None:
        raise SourceError(f"node {name}: BatchNorm must have statistics of its own: train with track_running_stats")
    ones = np.ones(module.num_features)
    epsilon = Fraction(float(module.eps))
    variances = [value + epsilon for value in rationals(_finite(name, "running_var", module.running_var))]
    if min(variances) <= 0:
        raise SourceError(f"node {name}: running_var plus eps must be positive, not {float(min(variances)):g}")
    return Norm(gamma=tuple(rationals(ones if module.weight is None else _finite(name, "weight", module.weight))),
                beta=tuple(rationals(0 * ones if module.bias is None else _finite(name, "bias", module.bias))),
                mean=tuple(rationals(_finite(name, "running_mean", module.running_mean))),
                variance_epsilon=tuple(variances))


def _with_norm(nodes: list[Node], name: str, norm: Norm) -> list[Node]:
    """Put BatchNorm behind the last weights; means of windows may be taken before it or behind it alike."""
    *before, last = nodes or [Flatten(name=name)]
    behind: list[Node] = []
    while isinstance(last, Pool) and last.mean and before:
        behind.insert(0, last)
        *before, last = before
    if not isinstance(last, Convolution | Linear) or last.norm is not None or len(norm.gamma) != len(last.weight):
        raise SourceError(f"node {name}: BatchNorm must come right behind the weights of a layer, once: put it between "
                          f"them and the neurons")
    return [*before, dataclasses.replace(last, norm=norm), *behind]


def _adaptive(name: str, module: Any, place: Place) -> Pool:
    wanted = module.output_size
    sizes = (wanted, wanted) if isinstance(wanted, int) or wanted is None else tuple(wanted)
    sides = place.seen.shape[-2:]
    windows = {side // (size or side) for side, size in zip(sides, sizes, strict=True)}
    if len(windows) != 1 or any(side % (size or side) for side, size in zip(sides, sizes, strict=True)):
        raise SourceError(f"node {name}: output_size must divide the map of {sides[0]} x {sides[1]} into square "
                          f"windows, not be {wanted}: use AvgPool2d")
    return Pool(name=name, size=windows.pop(), mean=True)


def _voting(name: str, module: Any, place: Place) -> Linear:
    """Mean of groups of neurons: a fully connected layer."""
    inputs, size = place.seen.shape[-1], int(module.voting_size)
    if inputs % size:
        raise SourceError(f"node {name}: voting_size must divide the {inputs} neurons before it, not be {size}: use "
                          f"classes x voting_size neurons")
    weight = np.kron(np.eye(inputs // size), np.full((1, size), 1 / size))
    return Linear(name=name, weight=weight, bias=np.zeros(len(weight)))


def checked_or(node: Pool | OrPool) -> Pool | OrPool:
    """Return ``node`` if it is a pooling that a network can have; raises :exc:`SourceError`."""
    if isinstance(node, OrPool) and not 2 <= node.size <= MAX_POOL:
        raise SourceError(f"node {node.name}: windows of an OR must be 2 to {MAX_POOL} pixels a side, not {node.size}")
    return node


def layer_nodes(nodes: list[Node], place: Place) -> list[Node]:
    """Return ``nodes`` with those of the layer in ``place`` behind them.

    Raises
    ------
    :exc:`SourceError`
        If the layer has no place in a network; the line names it and a remedy.
    """
    package, kind = place.leaf.kind
    name, module = printable(place.leaf.name), place.leaf.module
    sides = (place.seen.shape[-2], place.seen.shape[-1])
    if package not in ("torch", "spikingjelly"):
        kind = f"{package}.{kind}"
    if kind == "Conv2d":
        return [*nodes, _convolution(name, module)]
    if kind == "Linear":
        weight = _finite(name, "weight", module.weight)
        return [*nodes, Linear(name=name, weight=weight, bias=_bias(name, module, len(weight)))]
    if kind in _NORMS:
        return _with_norm(nodes, name, _norm(name, module))
    if kind in ("AvgPool2d", "MaxPool2d"):
        mean = kind == "AvgPool2d"
        return [*nodes, checked_or(pool_of(name, Windows(
            mean=mean, kernel=module.kernel_size, stride=module.stride or module.kernel_size, padding=module.padding,
            dilation=1 if mean else module.dilation, ceil_mode=module.ceil_mode,
            divisor=module.divisor_override if mean else None), sides))]
    if kind == "AdaptiveAvgPool2d":
        return [*nodes, _adaptive(name, module, place)]
    if kind == "Flatten":
        return [*nodes, Flatten(name=name)]
    if kind in (*_TRAINED_ONLY, "Identity"):
        return nodes
    if (package, kind) == ("spikingjelly", "VotingLayer"):
        return [*nodes, _voting(name, module, place)]
    raise SourceError(f"node {name}: its type must be {_HAVE_A_PLACE}, or neurons of the package that have a "
                      f"place, not {printable(kind)}: replace it")
