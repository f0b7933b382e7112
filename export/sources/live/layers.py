"""From the layers of PyTorch, and those of SpikingJelly that wrap them, to nodes of a chain."""

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from export.sources.chain import Convolution, Flatten, Linear, Node, Norm, Pool, SourceError, rationals
from export.sources.live.recording import Leaf, array_of
from export.sources.live.tracing import Place, Windows, pool_of
from export.sources.nodes import channel_bias, convolution, finite
from support.errors import printable

__all__ = ["check_evaluation", "layer_nodes"]

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


def _bias(module: Any) -> npt.NDArray[Any] | None:
    return None if module.bias is None else array_of(module.bias)


def _convolution(name: str, module: Any) -> Convolution:
    if module.padding_mode != "zeros":
        raise SourceError(f"node {name}: padding_mode must be zeros, not {module.padding_mode}: train with zeros")
    return convolution(name, array_of(module.weight), _bias(module), stride=module.stride, padding=module.padding,
                       groups=module.groups, dilation=module.dilation)


def _numbers(name: str, module: Any, key: str) -> list[Fraction]:
    """Return the exact numbers of a parameter or a buffer."""
    return rationals(finite(name, key, array_of(getattr(module, key))))


def _norm(name: str, module: Any) -> Norm:
    """Return what BatchNorm computes in evaluation mode."""
    if module.running_mean is None:
        raise SourceError(f"node {name}: BatchNorm must have statistics of its own: train with track_running_stats")
    epsilon = Fraction(float(module.eps))
    variances = [value + epsilon for value in _numbers(name, module, "running_var")]
    if min(variances) <= 0:
        raise SourceError(f"node {name}: running_var plus eps must be positive, not {float(min(variances)):g}")
    channels = len(variances)
    gamma = [Fraction(1)] * channels if module.weight is None else _numbers(name, module, "weight")
    beta = [Fraction(0)] * channels if module.bias is None else _numbers(name, module, "bias")
    return Norm(gamma=tuple(gamma), beta=tuple(beta), mean=tuple(_numbers(name, module, "running_mean")),
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
    """Return the mean of the windows into which an output size divides the map that is seen."""
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
        weight = finite(name, "weight", array_of(module.weight))
        return [*nodes, Linear(name=name, weight=weight, bias=channel_bias(name, _bias(module), len(weight)))]
    if kind in _NORMS:
        return _with_norm(nodes, name, _norm(name, module))
    if kind in ("AvgPool2d", "MaxPool2d"):
        mean = kind == "AvgPool2d"
        return [*nodes, pool_of(name, Windows(
            mean=mean, kernel=module.kernel_size, stride=module.stride or module.kernel_size, padding=module.padding,
            dilation=1 if mean else module.dilation, ceil_mode=module.ceil_mode,
            divisor=module.divisor_override if mean else None), sides)]
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
