"""Scales, BatchNorm and biases folded into integer weights and exact rational neuron parameters."""

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.architecture import layer_shapes, mean_size
from arch.network import Shape
from arch.projection import joined_filters
from export.certificate import RealNeuron
from export.sources.rational import RationalNetwork, Trained

__all__ = ["FoldedLayer", "fold", "real_neurons", "score_sign", "trained_codes"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FoldedLayer:
    """A layer whose neurons see the plain sum of ternary weights, over a whole window if currents are pooled.

    An average pooling of the input is gone: the weights are repeated over its windows.
    """

    #: Index in the network.
    index: int
    #: Its entry in the checkpoint's architecture.
    layer: Mapping[str, Any]
    #: Weights, int8: negated where g < 0, zero where g = 0. None for an OR-pool.
    weights: npt.NDArray[np.int8] | None
    #: Exact parameters per channel. None for an OR-pool or a readout.
    neurons: list[RealNeuron] | None
    #: Weights of its projection, int8, with the same signs. None without one.
    projection: npt.NDArray[np.int8] | None = None
    #: Number of weights that were trained: before they were repeated, and without those of an identity.
    trained: int = 0
    #: Number of channels whose weights were negated.
    negated: int = 0
    #: Number of channels whose weights became zero because g = 0.
    zeroed: int = 0


#: What stands for a tensor that a layer does not have.
_ABSENT = {"gamma": 1.0, "beta": 0.0, "bias": 0.0, "mean": 0.0, "variance": 0.0}


def _rationals(array: npt.NDArray[Any], channels: int) -> list[Fraction]:
    return [Fraction(float(value)) for value in np.broadcast_to(array, channels)]


def real_neurons(checkpoint: Trained, layer: Mapping[str, Any], *, first: bool) -> list[RealNeuron]:
    """Return the neurons of a layer exactly as the checkpoint holds them; ``first``: the input's scale counts."""
    if isinstance(checkpoint, RationalNetwork):
        return list(checkpoint.neurons[layer["name"]])
    tensors, name = checkpoint.tensors, layer["name"]
    channels = len(tensors[f"{name}.ternary"])
    columns = {part: _rationals(tensors.get(f"{name}.{part}", np.array(_ABSENT.get(part, 0.0))), channels)
               for part in ("alpha", "gamma", "beta", "bias", "mean", "variance", "theta", "initial")}
    scale = Fraction(float(checkpoint.architecture["input"]["scale"])) if first else Fraction(1)
    # The integer neurons see the sum of a window, of currents or of the input, the real-valued ones its mean.
    scale /= mean_size(layer)
    # Without BatchNorm nothing is divided: the root is that of 1, which is rational.
    epsilon = Fraction(1) if layer["epsilon"] is None else Fraction(float(layer["epsilon"]))
    return [RealNeuron(scale=scale * alpha, gamma=gamma, beta=beta, centre=bias - mean,
                       variance_epsilon=variance + epsilon, theta=theta, initial=initial)
            for alpha, gamma, beta, bias, mean, variance, theta, initial in zip(*columns.values(), strict=True)]


def trained_codes(checkpoint: Trained, name: str) -> npt.NDArray[np.int8]:
    """Return the codes of all trained weights of the layer ``name``, ``int8[out, weights]``."""
    if isinstance(checkpoint, RationalNetwork):
        return joined_filters(checkpoint.codes[name], None)
    return joined_filters(checkpoint.tensors[f"{name}.ternary"], checkpoint.tensors.get(f"{name}.projection_ternary"))


def _repeated(codes: npt.NDArray[np.int8], size: int, shape: Shape) -> npt.NDArray[np.int8]:
    """Repeat the weights over windows of ``size x size`` places of the input map, whose shape is ``shape``."""
    if size == 1:
        return codes
    if codes.ndim == 4:
        return codes.repeat(size, axis=2).repeat(size, axis=3)
    channels, height, width = shape
    maps = codes.reshape(-1, channels, height // size, width // size)
    return maps.repeat(size, axis=2).repeat(size, axis=3).reshape(len(codes), -1)


def _own_codes(checkpoint: Trained, name: str) -> npt.NDArray[np.int8]:
    """Return the codes of the layer ``name`` without those of a projection."""
    codes = checkpoint.codes[name] if isinstance(checkpoint, RationalNetwork) else checkpoint.tensors[f"{name}.ternary"]
    return codes


def score_sign(checkpoint: Trained, name: str) -> int:
    """Return the sign of the scale of the readout ``name``: 1, or 0 if every score would be 0."""
    return 1 if isinstance(checkpoint, RationalNetwork) else int(checkpoint.tensors[f"{name}.alpha"] > 0)


def fold(checkpoint: Trained) -> list[FoldedLayer]:
    """Fold every layer of ``checkpoint``, in order."""
    folded = []
    for index, (layer, shape, _) in enumerate(layer_shapes(checkpoint.architecture)):
        if layer["kind"] == "or-pool":
            folded.append(FoldedLayer(index=index, layer=layer, weights=None, neurons=None))
            continue
        codes = _own_codes(checkpoint, layer["name"])
        if layer["kind"] == "readout":
            neurons = None
            signs = np.array([score_sign(checkpoint, layer["name"])], dtype=np.int8)
        else:
            neurons = real_neurons(checkpoint, layer, first=index == 0)
            signs = np.array([neuron.sign for neuron in neurons], dtype=np.int8)
        repeated = _repeated(codes, layer.get("input_pool", 1), shape)
        weights = repeated * signs.reshape(-1, *[1] * (codes.ndim - 1))
        projection = checkpoint.projection(index)
        folded.append(FoldedLayer(
            index=index, layer=layer, weights=weights, neurons=neurons,
            projection=None if projection is None else projection * signs[:, None, None, None],
            trained=trained_codes(checkpoint, layer["name"]).size,
            negated=int(np.count_nonzero(signs < 0)), zeroed=int(np.count_nonzero(signs == 0))))
    return folded
