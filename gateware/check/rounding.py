"""Networks with constants of fewer bits, as a circuit has them: whether one that the export makes smaller can run."""

import dataclasses

import numpy as np
import numpy.typing as npt

from arch.network import Convolution, FullyConnected, Layer, Network, Neurons
from gateware.engine.configuration import EngineConfig

__all__ = ["rounded"]


def rounded(network: Network, config: EngineConfig) -> Network:
    """Round the constants of all neurons to the fractional bits of a circuit, and clip them to what membranes hold.

    A quarter of the range of a membrane each is left to the first membrane, to the biases of all timesteps and to the
    threshold.
    """
    return dataclasses.replace(network, layers=tuple(
        _rounded(layer, config, network.timesteps) if isinstance(layer, Convolution | FullyConnected) else layer
        for layer in network.layers))


def _rounded(layer: Convolution | FullyConnected, config: EngineConfig, timesteps: int) -> Layer:
    neurons = layer.neurons
    shift   = max(0, neurons.fraction - config.fraction)
    fraction = neurons.fraction - shift
    quarter = 1 << max(0, config.membrane_width - 3 - (config.fraction - fraction))

    def fewer(values: npt.NDArray[np.int64], low: int, high: int) -> npt.NDArray[np.int64]:
        # As everywhere in the contract, half of the last place is rounded up.
        return np.clip((values + (1 << shift >> 1)) >> shift, low, high)

    bias = quarter // timesteps
    return dataclasses.replace(layer, neurons=Neurons(
        threshold=fewer(neurons.threshold, 1, quarter), bias=fewer(neurons.bias, -bias, bias),
        initial=fewer(neurons.initial, -quarter, quarter), fraction=fraction, reset=neurons.reset,
        leak_shift=neurons.leak_shift))
