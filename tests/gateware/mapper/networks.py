"""Networks for tests of the mapper, and a circuit small enough for every limit to be met."""

import numpy as np

from arch.network import Convolution, Encoding, Input, Network, Neurons, Readout
from gateware.engine.configuration import EngineConfig

CONFIG = EngineConfig(lanes=2, width=4, accumulator_width=15, membrane_width=20, fraction=2, weight_rows=64,
                      channel_groups=8, spike_words=256, layers=3, max_run=16, max_side=16, max_row_words=64, classes=4)


def make_neurons(channels, **options):
    ones = np.ones(channels, np.int64)
    return Neurons(**({"threshold": 5 * ones, "bias": ones, "initial": -ones} | options))


def conv(out, into, kernel=3, *, stride=1, padding=1, **neurons):
    weights = (np.arange(out * into * kernel * kernel) % 3 - 1).astype(np.int8).reshape(out, into, kernel, kernel)
    return Convolution(weights=weights, neurons=make_neurons(out, **neurons), stride=stride, padding=padding)


def network(*layers, shape=(1, 4, 4), classes=2, timesteps=4, encoding=Encoding.PIXELS):
    size = shape
    for layer in layers:
        size = layer.output_shape(size)
    inputs = int(np.prod(size))
    readout = Readout(weights=(np.arange(classes * inputs) % 3 - 1).astype(np.int8).reshape(classes, inputs))
    return Network(input=Input(encoding=encoding, channels=shape[0], height=shape[1], width=shape[2]),
                   layers=(*layers, readout), timesteps=timesteps)
