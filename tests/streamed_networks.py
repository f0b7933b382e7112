"""Circuits and random networks of mixed layers for the streamed engine."""

import dataclasses
import math

import numpy as np

from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Input,
    Layer,
    Network,
    Neurons,
    OrPool,
    Projection,
    Readout,
    Reset,
)
from boards import board_named
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.mapper.streamed.choice import lay_out, streamed_config
from reference.generate import random_network, random_neurons
from reference.network import Reference, pif

__all__ = ["CIRCUITS", "OVERLAY", "at_rates", "deep_network", "draw", "firing_rates", "six_convolutions", "vgg"]

#: The circuit of the iCEBreaker.
OVERLAY = streamed_config(board_named("icebreaker"))

#: Streamed circuits by name: small ones, and the geometry of the iCEBreaker.
CIRCUITS = {
    "P2-W4-T4": EngineConfig(
        streamed=True, lanes=2, width=4, timesteps=4, accumulator_width=5, membrane_width=21, fraction=3,
        weight_rows=64, channel_groups=8, layers=4, spike_words=4096, max_run=63, max_side=31, max_row_words=127,
        classes=16, blocks=4, max_groups=32, leak=True),
    "P4-W4-T8": EngineConfig(
        streamed=True, lanes=4, width=4, timesteps=8, accumulator_width=6, membrane_width=21, fraction=3,
        weight_rows=256, channel_groups=8, layers=4, spike_words=4096, max_run=31, max_side=31, max_row_words=127,
        classes=16, blocks=2, max_groups=16, leak=True),
    "P8-W8-T4-short": EngineConfig(
        streamed=True, lanes=8, width=8, timesteps=4, accumulator_width=7, membrane_width=21, fraction=3,
        weight_rows=16, channel_groups=4, layers=4, spike_words=4096, max_run=63, max_side=31, max_row_words=127,
        classes=16, blocks=2, max_groups=16, leak=True),
    "P8-W16-T4": EngineConfig(
        streamed=True, accumulator_width=8, membrane_width=21, fraction=3, weight_rows=256, channel_groups=32,
        layers=8, spike_words=16384, max_run=255, max_side=63, max_row_words=255, classes=128, blocks=8,
        max_groups=512, leak=True),
}


def draw(config, seed, **options):
    """Draw networks of all kinds of layers until one fits ``config``; return its plan and the generator, to go on."""
    rng = np.random.default_rng(seed)
    while True:
        encoding = list(Encoding)[int(rng.integers(2))]
        # A byte of an image has room for eight timesteps of events.
        most = config.timesteps * config.blocks
        steps = int(rng.integers(1, (most if encoding is Encoding.PIXELS else min(8, most)) + 1))
        network = random_network(rng, timesteps=steps,
                                 encoding=encoding, shortcuts=bool(rng.random() < 0.5), pools=True,
                                 projections=bool(rng.random() < 0.7), layers=int(rng.integers(1, 6)), **options)
        try:
            return lay_out(network, config), rng
        except ConfigError:
            continue


def _weights(rng, *shape):
    """Make ternary weights, half of them zero."""
    return rng.choice(np.array([-1, 0, 0, 1], np.int8), shape)


def _neurons(rng, channels, synapses):
    neurons = random_neurons(rng, channels, synapses**0.5, reset=Reset.SUBTRACT)
    return dataclasses.replace(neurons, leak_shift=None)


def _finished(rng, layers, shape, *, dense=()):
    """Add dense layers and a readout of ten classes to the layers for an image of 3 x 32 x 32 pixels."""
    for outputs in dense:
        layers.append(FullyConnected(weights=_weights(rng, outputs, math.prod(shape)),
                                     neurons=_neurons(rng, outputs, math.prod(shape))))
        shape = layers[-1].output_shape(shape)
    layers.append(Readout(weights=_weights(rng, 10, math.prod(shape))))
    return Network(input=Input(encoding=Encoding.PIXELS, channels=3, height=32, width=32, zero_point=128),
                   layers=tuple(layers), timesteps=4)


def _convolution(rng, shape, channels, **options):
    return Convolution(weights=_weights(rng, channels, shape[0], 3, 3), padding=1,
                       neurons=_neurons(rng, channels, 9 * shape[0]), **options)


def six_convolutions(rng):
    """Make a network like TinBiNN: three stages of two convolutions and a pool, and two dense layers."""
    layers: list[Layer] = []
    shape = (3, 32, 32)
    for channels in (48, 96, 128):
        for layer in (_convolution(rng, shape, channels), _convolution(rng, (channels, *shape[1:]), channels),
                      OrPool(size=2)):
            layers.append(layer)
            shape = layer.output_shape(shape)
    return _finished(rng, layers, shape, dense=(256, 256))


def vgg(rng):
    """Make a VGG-16 of 14.7 million weights: thirteen convolutions, a pool behind each stage of them, and a readout."""
    layers: list[Layer] = []
    shape = (3, 32, 32)
    for channels, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers.append(_convolution(rng, shape, channels))
            shape = layers[-1].output_shape(shape)
        layers.append(OrPool(size=2))
        shape = layers[-1].output_shape(shape)
    return _finished(rng, layers, shape)


def deep_network(rng):
    """Make a ResNet-18 of 11.2 million weights, with projections."""
    shape = (3, 32, 32)
    layers: list[Layer] = [_convolution(rng, shape, 64)]
    shape = layers[-1].output_shape(shape)
    for channels in (64, 64, 128, 128, 256, 256, 512, 512):
        source, before = len(layers) - 1, shape
        stride = 1 if channels == before[0] else 2
        layers.append(_convolution(rng, shape, channels, stride=stride))
        shape = layers[-1].output_shape(shape)
        projection = (Projection.identity(source=source, channels=channels) if stride == 1 else
                      Projection(source=source, weights=_weights(rng, channels, before[0], 1, 1), stride=2))
        layers.append(_convolution(rng, shape, channels, projection=projection))
        shape = layers[-1].output_shape(shape)
    return _finished(rng, layers, shape)


def firing_rates(network, images):
    """Share of the neurons of each layer that fire, in all timesteps and images; of or-pools, of their spikes."""
    return [float(spikes.mean()) for spikes in Reference(network).run(images, spikes=True).spikes]


def at_rates(network, images):
    """Set thresholds with which 5 to 20 % of the neurons of each layer fire in a timestep, for these images.

    Layer by layer: the threshold of a channel is a quantile of its charges, or of those of all channels where the maps
    are small; the quantile is the same for all channels. Fewer neurons fire in front of an or-pool, so that its spikes
    are not too many.
    """
    layers = list(network.layers)
    for index, layer in enumerate(layers):
        if isinstance(layer, OrPool | Readout):
            continue
        aim = 0.058 if isinstance(layers[index + 1], OrPool) else 0.1
        channels = layer.neurons.channels
        zeros = np.zeros(channels, np.int64)
        layers[index] = dataclasses.replace(layer, neurons=Neurons(threshold=zeros + 1, bias=zeros, initial=zeros))
        shape = list(network.shapes())[index][2]
        end = Readout(weights=np.zeros((2, math.prod(shape)), np.int8))
        before = dataclasses.replace(network, layers=(*layers[:index + 1], end))
        currents = Reference(before).run(images, internals=True).internals[index].currents
        charges = np.moveaxis(currents.cumsum(axis=1).max(axis=1), 1, 0).reshape(channels, -1)
        found = []
        for share in np.linspace(0.05, 0.6, 111):
            quantile  = np.quantile(charges, 1 - share, axis=1 if charges.shape[1] >= 64 else None)
            threshold = np.broadcast_to(np.maximum(1, np.floor(quantile)).astype(np.int64), channels)
            neurons = Neurons(threshold=threshold, bias=zeros, initial=zeros)
            found.append((abs(float(pif(neurons, currents)[0].mean()) - aim), neurons))
        layers[index] = dataclasses.replace(layer, neurons=min(found, key=lambda entry: entry[0])[1])
    return dataclasses.replace(network, layers=tuple(layers))
