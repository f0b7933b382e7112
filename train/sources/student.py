"""The ternary network that a float network becomes: its architecture, and the values that its training begins with.

=======================  ============================================================================================
float network            ternary network
=======================  ============================================================================================
weights                  latent weights, each channel scaled as at random initialisation; ternary from the first step
bias, gain, threshold    BatchNorm: every channel's current gets the mean and the spread that it has in the float
                         network, in units of the threshold, which is 1
leak                     none; the current is scaled by what a leak leaves of a constant one,
                         ``(1 - keep^T) / (T leak)``
``>`` and late resets    ``>=``, and the reset in the same timestep; soft or hard as in the float network
mean or sum of windows   the OR of the spikes of the window, which the array runs; before the first weights, and of
                         windows above 3 before a fully connected layer, a mean
neurons at the end       none: the currents of the last weights, summed over time, are the scores
bias of the last layer   none
=======================  ============================================================================================

What differs from the float network is what the training has to make good.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from arch.network import Encoding
from export.sources.chain import Linear, SourceError
from export.sources.nir.importing import Source
from export.sources.rules import Rule
from export.sources.stages import Stage, stages_of
from train import layers
from train.network import SpikingNetwork
from train.sources.float_network import FloatLayer, FloatNetwork

__all__ = ["architecture_of", "begin_with"]

#: BatchNorm's.
_EPSILON = 1e-5
#: Largest windows before a fully connected layer of which the OR says enough.
_LARGEST_OR = 3


def architecture_of(source: Source, timesteps: int) -> Mapping[str, Any]:
    """Return the architecture, as in :mod:`arch.architecture`, of the ternary network with T = ``timesteps``.

    Raises
    ------
    :exc:`SourceError`
        If the nodes are in an order that has no place, or do not end in a fully connected layer.
    """
    stages = stages_of(source.chain, source.frame.currents)
    last = stages[-1].node
    if not isinstance(last, Linear):
        raise SourceError(f"node {last.name}: the last weights must be of a fully connected layer: end the network in "
                          f"one")
    described: list[dict[str, Any]] = []
    for index, stage in enumerate(stages):
        _add_layer(described, stage, source.rule, first=index == 0, last=index == len(stages) - 1)
    channels, height, width = source.chain.shape
    events = source.frame.encoding is Encoding.EVENTS
    return {"input": {"encoding": source.frame.encoding.value, "channels": channels, "height": height, "width": width,
                      "zero_point": 0 if events else source.frame.zero_point,
                      "scale": 1.0 if events else float(source.frame.scale)},
            "timesteps": timesteps, "layers": described}


def _add_layer(described: list[dict[str, Any]], stage: Stage, rule: Rule, *, first: bool, last: bool) -> None:
    """Add the layer of ``stage``, with the pools beside it."""
    node = stage.node
    more: dict[str, Any] = {}
    if stage.before is not None and stage.before.size > 1:
        if first or (isinstance(node, Linear) and stage.before.size > _LARGEST_OR):
            more["input_pool"] = stage.before.size
        else:
            _add_or(described, stage.before.size)
    if last:
        described.append({"kind": "readout", "name": "readout", "classes": len(node.weight), **more})
        return
    more |= {"reset": rule.reset.value, "leak_shift": None, "epsilon": _EPSILON}
    if isinstance(node, Linear):
        described.append({"kind": "fully-connected", "name": _name(described, "fc"), "neurons": len(node.weight),
                          **more})
    else:
        described.append({"kind": "convolution", "name": _name(described, "conv"), "channels": len(node.weight),
                          "kernel": node.weight.shape[2], "stride": node.stride, "padding": node.padding, **more})
    for size in [pool.size for pool in (stage.between, *stage.ors) if pool is not None and pool.size > 1]:
        _add_or(described, size)


def _add_or(described: list[dict[str, Any]], size: int) -> None:
    """Add an OR-pool; windows of windows are windows."""
    if described[-1]["kind"] == "or-pool":
        size *= described.pop()["size"]
    described.append({"kind": "or-pool", "size": size})


def _name(described: list[dict[str, Any]], prefix: str) -> str:
    """Name of the next layer, as :func:`train.description.named_layers` gives it."""
    return f"{prefix}{1 + sum(layer.get('name', '').startswith(prefix) for layer in described)}"


@torch.no_grad()
def begin_with(network: SpikingNetwork, teacher: FloatNetwork, images: Tensor) -> None:
    """Give ``network`` the values of the float network, as of this module's table.

    Parameters
    ----------
    network : SpikingNetwork
        Of :func:`architecture_of`, in whatever form it is trained.
    teacher : FloatNetwork
        On the same device.
    images : ``[N, C, H, W]`` uint8 pixels, or events ``[N, T, C, H, W]``
        On which mean and spread of the currents are measured.

    Raises
    ------
    :exc:`SourceError`
        If weights of the two have other shapes.
    """
    synapses = list(network.synapses())
    sources = [layer for layer in teacher.layers if isinstance(layer, FloatLayer)]
    ours, theirs = ([tuple(part.weight.shape) for part in group] for group in (synapses, sources))
    if ours != theirs:
        raise SourceError(f"weights must have the shapes of the recipe's layers, {ours}, not {theirs}: begin again "
                          f"with --from")
    for part, source in zip(synapses, sources, strict=True):
        part.weight.copy_(_latent(source.weight, per_channel=part is not synapses[-1]))
    currents: list[Tensor] = []
    teacher(images, currents)
    training = network.training
    network.eval()
    norms = [layer.norm for layer in network.chain if isinstance(layer, layers.Convolution | layers.FullyConnected)]
    for norm, source, current in zip(norms, sources, currents, strict=False):
        assert norm is not None
        _match(network, norm, images)
        mean, spread = _moments(current)
        scale = _left_by_leak(source, network.timesteps) / source.theta.flatten()
        norm.weight.copy_(spread * scale)
        norm.bias.copy_(mean * scale)
    network.train(training)


def _latent(weight: Tensor, *, per_channel: bool) -> Tensor:
    """Return ``weight`` with the spread of random initial weights, so that one learning rate does for all networks."""
    rows = weight.flatten(1) if per_channel else weight.reshape(1, -1)
    spread = rows.square().mean(1, keepdim=True).sqrt()
    wanted = math.sqrt(2 / weight[0].numel())
    # A channel without weights keeps none.
    return (rows * (wanted / spread.clamp(min=torch.finfo(spread.dtype).tiny))).reshape(weight.shape)


def _match(network: SpikingNetwork, norm: nn.BatchNorm1d, images: Tensor) -> None:
    """Measure the statistics of ``norm`` on ``images``; all others stay as they are."""
    momentum = norm.momentum
    norm.momentum = 1.0
    norm.train()
    network(images)
    norm.eval()
    norm.momentum = momentum


def _moments(current: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of ``[T or 1, B, C, H, W]``."""
    rows = current.movedim(2, 0).flatten(1)
    return rows.mean(1), rows.std(1, correction=0)


def _left_by_leak(layer: FloatLayer, timesteps: int) -> float:
    """Return the membrane that a constant current leaves after T timesteps, as a share of that without a leak."""
    neurons = layer.stage.neurons
    assert neurons is not None
    leak = float(neurons.leak)
    return (1 - (1 - leak)**timesteps) / (timesteps * leak) if leak else 1.0
