"""Balancing: the thresholds of a spiking network, chosen from the activations of the ANN that it was trained as.

What :mod:`train.methods.conversion` does at the end of a training, and :mod:`train.methods.cbp` before one.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arch.checkpoint import Checkpoint
from train import layers, neurons
from train.methods.activations import activation_percentiles
from train.methods.method import MethodError
from train.network import SpikingNetwork

__all__ = ["balance", "balance_network", "check_convertible"]


def check_convertible(architecture: Mapping[str, Any]) -> None:
    """Raise :exc:`MethodError` if spikes of the architecture's neurons cannot stand for the activations of an ANN."""
    for layer in architecture["layers"]:
        if layer["kind"] in ("or-pool", "readout"):
            continue
        if layer["reset"] != "subtract" or layer["leak_shift"] is not None:
            raise MethodError(f"{layer['name']} must subtract its threshold and not leak to be converted: "
                              f"other neurons have no rate that is a ReLU")
        if "shortcut" in layer:
            raise MethodError(f"{layer['name']} must not add the spikes of {layer['shortcut']} to be converted: "
                              f"spikes of two layers stand for different activations")
        if "projection" in layer:
            raise MethodError(f"{layer['name']} must not see the spikes of {layer['projection']['source']} beside its "
                              f"input to be converted: spikes of two layers stand for different activations")


def _balancing(architecture: Mapping[str, Any], maxima: Mapping[str, float]) -> Iterator[tuple[str, float,
                                                                                              float | None]]:
    """Give the factors of each layer's weights and of its threshold, None of the readout's; raises MethodError."""
    check_convertible(architecture)
    incoming = 1.0
    for layer in architecture["layers"]:
        if layer["kind"] == "or-pool":
            continue
        name = layer["name"]
        if layer["kind"] == "readout":
            yield name, incoming, None
            continue
        if not maxima[name] > 0:
            raise MethodError(f"{name} must have activations above 0 at that percentile to be converted, "
                              f"not {maxima[name]:g}")
        yield name, incoming, maxima[name]
        incoming = maxima[name]


def balance(checkpoint: Checkpoint, maxima: Mapping[str, float], *, timesteps: int, initial: float) -> Checkpoint:
    """Balance the thresholds of a network that was trained with ReLU neurons.

    With ``lambda`` the layer's entry of ``maxima``: its threshold is multiplied by ``lambda``, and so is the scale of
    the weights of the next layer, whose inputs are spikes of height 1 where the ANN had activations up to about
    ``lambda``. BatchNorm sees what it saw in the ANN. (The paper's ``W lambda_in / lambda_out`` with thresholds of 1.)

    Parameters
    ----------
    checkpoint : Checkpoint
        The trained ANN, with few-valued weights.
    maxima : mapping
        Activation that gets a spike in each timestep, by name of the layer.
    timesteps : int
        T of the spiking network.
    initial : float
        Membrane before the first timestep, in units of the threshold: 0 as in the paper rounds rates down, 1/2 rounds
        to the nearest.

    Raises
    ------
    :exc:`MethodError`
        If neurons leak or reset to zero, a layer adds the spikes of two, or has no activation.
    """
    tensors = dict(checkpoint.tensors)
    for name, incoming, outgoing in _balancing(checkpoint.architecture, maxima):
        for part in ("weight", "alpha"):
            scaled = tensors[f"{name}.{part}"].astype(np.float64) * incoming
            tensors[f"{name}.{part}"] = np.asarray(scaled, dtype=np.float32)
        if outgoing is None:
            continue
        theta = np.asarray(tensors[f"{name}.theta"].astype(np.float64) * outgoing, dtype=np.float32)
        if theta.ndim and initial:
            raise MethodError(f"{name} must have one threshold for the layer when its membranes start above 0")
        tensors[f"{name}.theta"] = theta
        tensors[f"{name}.initial"] = np.asarray(theta.reshape(-1)[0] * initial, dtype=np.float32)
    return dataclasses.replace(checkpoint, architecture={**checkpoint.architecture, "timesteps": timesteps},
                               tensors=tensors)


@torch.no_grad()
def balance_network(network: SpikingNetwork, images: Tensor, percentile: float) -> None:
    """Turn a network that was trained with ReLU neurons into the spiking one, in place: :func:`balance`.

    Weights may be float: so a network made by conversion can be trained further. Membranes start where the network's
    neurons let them.

    Parameters
    ----------
    network : SpikingNetwork
        Trained with ReLU neurons. Passes on spikes afterwards.
    images : uint8 ``[N, C, H, W]``, or events ``[N, T, C, H, W]``
        Calibration images, of the training set.
    percentile : float
        0 to 100.

    Raises
    ------
    :exc:`MethodError`
        As of :func:`balance` and :func:`train.methods.activations.activation_percentiles`.
    """
    found = activation_percentiles(network, images, [percentile])
    factors = list(_balancing(network.architecture, {name: values[0] for name, values in found.items()}))
    weighted = (layer for layer in network.chain
                if isinstance(layer, layers.Convolution | layers.FullyConnected | layers.Readout))
    for (_, incoming, outgoing), layer in zip(factors, weighted, strict=True):
        layer.synapses.weight.mul_(incoming)
        if outgoing is not None and not isinstance(layer, layers.Readout):
            layer.neurons.theta.mul_(outgoing)
    network.use_mode(neurons.Mode.SPIKES)
