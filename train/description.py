"""What a network in training is, as data, and whether a checkpoint can hold all that its forward computes.

Scripts set values on modules after they are built: BatchNorm's epsilon, a stride, a reset. So a network is described
when the description is asked for, and what the format of :mod:`arch.checkpoint` has no place for is refused by name.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from arch.architecture import CheckpointError, layer_shapes, projection_shapes, weighted_layers
from arch.network import Input, Reset
from train import distributed, layers, neurons
from train.synapses import ProjectedConv2d, TernaryConv2d, TernaryLinear

__all__ = ["Layer", "check_forward", "check_module", "describe", "named_layers", "projection_of", "shortcut_of",
           "training_only"]

#: What a network is composed of.
Layer = layers.Convolution | layers.FullyConnected | layers.OrPool | layers.Readout

#: Names of layers, which the user does not give: type -> prefix.
_PREFIXES = {layers.Convolution: "conv", layers.FullyConnected: "fc", layers.OrPool: "pool"}

_NORMS = (nn.BatchNorm1d, distributed.GlobalNorm)
#: Parts of the layers, with the types whose forward is known.
_PARTS: dict[type[nn.Module], dict[str, tuple[type[nn.Module], ...]]] = {
    layers.Convolution: {"synapses": (TernaryConv2d, ProjectedConv2d), "norm": _NORMS, "neurons": (neurons.PIF,)},
    layers.FullyConnected: {"synapses": (TernaryLinear,), "norm": _NORMS, "neurons": (neurons.PIF,)},
    layers.Readout: {"synapses": (TernaryLinear,)},
    layers.OrPool: {},
}

_Hook = TypeVar("_Hook", bound=Callable[..., Any])


def training_only(hook: _Hook) -> _Hook:
    """Mark a forward hook that changes nothing in evaluation mode: a network that has it can be exported."""
    hook.training_only = True  # type: ignore[attr-defined]
    return hook


def shortcut_of(layer: Layer) -> int | None:
    """Index of the layer whose spikes are added to the input map of ``layer``; None adds nothing."""
    return layer.shortcut if isinstance(layer, layers.Convolution | layers.FullyConnected) else None


def projection_of(layer: Layer) -> layers.Identity | layers.Projection | None:
    """Return the further input of ``layer``; None if it has none."""
    return layer.projection if isinstance(layer, layers.Convolution) else None


def named_layers(chain: Sequence[Layer]) -> Iterator[tuple[str, Layer]]:
    """Iterate over the layers with their names: conv1, conv2, pool1, fc1, readout."""
    counts: dict[str, int] = {}
    for layer in chain:
        if isinstance(layer, layers.Readout):
            yield "readout", layer
            continue
        prefix = next(prefix for kind, prefix in _PREFIXES.items() if isinstance(layer, kind))
        counts[prefix] = counts.get(prefix, 0) + 1
        yield f"{prefix}{counts[prefix]}", layer


def _behaviour(name: str, layer: layers.Convolution | layers.FullyConnected, timesteps: int) -> dict[str, Any]:
    """What normalisation and neurons of a layer do."""
    pif, norm = layer.neurons, layer.norm
    if pif.timesteps != timesteps:
        raise CheckpointError(f"{name} timesteps must be {timesteps} like the network's, not {pif.timesteps}: give "
                              f"them to the network alone")
    if not isinstance(pif.reset, Reset):
        raise CheckpointError(f"{name} reset must be a Reset, not {pif.reset!r}")
    if norm is not None and not isinstance(norm, nn.BatchNorm1d):
        raise CheckpointError(f"{name} norm must be a BatchNorm1d or None, not {type(norm).__name__}")
    return {"reset": pif.reset.value, "leak_shift": pif.leak_shift, "epsilon": None if norm is None else norm.eps}


def describe(source: Input, chain: Sequence[Layer], *, timesteps: int, scale: float) -> dict[str, Any]:
    """Return the architecture (:mod:`arch.architecture`) of the layers as they are now.

    Raises
    ------
    :exc:`CheckpointError`
        If a value is none that a network can have, or the layers do not fit together.
    """
    described: list[dict[str, Any]] = []
    sources = {shortcut_of(layer) for layer in chain} | {
        projection.source for projection in map(projection_of, chain) if projection}
    for index, (name, layer) in enumerate(named_layers(chain)):
        if isinstance(layer, layers.OrPool):
            described.append({"kind": "or-pool", "size": layer.size, **({"name": name} if index in sources else {})})
            continue
        weight = layer.synapses.weight
        if isinstance(layer, layers.Readout):
            described.append({"kind": "readout", "name": name, "classes": len(weight), **_input_pool(layer)})
            continue
        behaviour = _behaviour(name, layer, timesteps) | _input_pool(layer)
        if layer.shortcut is not None:
            if type(layer.shortcut) is not int or layer.shortcut not in range(index):
                raise CheckpointError(f"{name} shortcut must be the index of an earlier layer, not {layer.shortcut!r}")
            behaviour["shortcut"] = described[layer.shortcut]["name"]
        if isinstance(layer, layers.FullyConnected):
            described.append({"kind": "fully-connected", "name": name, "neurons": len(weight), **behaviour})
            continue
        if layer.pool != 1:
            behaviour["pool"] = layer.pool
        if layer.projection is not None:
            behaviour["projection"] = _projection(name, layer.projection, described)
        described.append({"kind": "convolution", "name": name, "channels": len(weight),
                          "kernel": layer.synapses.kernel,
                          "stride": layer.synapses.stride, "padding": layer.synapses.padding, **behaviour})
    architecture = {
        "input": {"encoding": source.encoding.value, "channels": source.channels, "height": source.height,
                  "width": source.width, "zero_point": source.zero_point, "scale": scale},
        "timesteps": timesteps, "layers": described}
    _check_inputs(architecture, chain)
    return architecture


def _input_pool(layer: layers.Convolution | layers.FullyConnected | layers.Readout) -> dict[str, Any]:
    return {} if layer.input_pool == 1 else {"input_pool": layer.input_pool}


def _projection(name: str, projection: layers.Identity | layers.Projection,
                described: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a layer behind those that are ``described`` sees beside its input."""
    if type(projection.source) is not int or projection.source not in range(len(described)):
        raise CheckpointError(f"{name} projection must be of the index of an earlier layer, not {projection.source!r}")
    return {"source": described[projection.source]["name"], "stride": projection.stride,
            "weights": "trained" if isinstance(projection, layers.Projection) else "identity"}


def _check_inputs(architecture: dict[str, Any], chain: Sequence[Layer]) -> None:
    """Check the architecture, and that the weights of every layer fit the map that it sees."""
    weights = {name: shape for name, (_, shape) in weighted_layers(architecture).items()}
    projections = projection_shapes(architecture)
    for layer, (described, shape, _) in zip(chain, layer_shapes(architecture), strict=True):
        if isinstance(layer, layers.OrPool):
            continue
        name, synapses = described["name"], layer.synapses
        inputs = synapses.in_channels if isinstance(synapses, TernaryConv2d) else synapses.weight.shape[1]
        if inputs != weights[name][1]:
            raise CheckpointError(f"{name} must have {weights[name][1]} inputs for a map of {shape}, not {inputs}")
        trained = isinstance(projection_of(layer), layers.Projection)
        if trained != isinstance(synapses, ProjectedConv2d):
            raise CheckpointError(f"{name} synapses must be a ProjectedConv2d exactly if the projection has weights: "
                                  f"build the layer with its projection")
        if isinstance(synapses, ProjectedConv2d) and synapses.beside != projections[name][1]:
            raise CheckpointError(f"{name} projection must have the {projections[name][1]} channels of its source, not "
                                  f"{synapses.beside}")


def check_module(name: str, module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    """Check that ``module``, called ``name``, computes what one of ``kinds`` does, and that no hook changes it.

    Raises :exc:`CheckpointError`.
    """
    if type(module) not in kinds:
        raise CheckpointError(f"{name} must be {kinds[0].__name__}, not {type(module).__name__}: a checkpoint has no "
                              f"place for what that computes")
    if "forward" in vars(module):
        raise CheckpointError(f"{name} must have the forward of {kinds[0].__name__}, not one that was set on it: a "
                              f"checkpoint has no place for what that computes")
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    if not all(getattr(hook, "training_only", False) for hook in hooks):
        raise CheckpointError(f"{name} must have no forward hooks (weight_norm and prune leave some): remove them, or "
                              f"mark with train.description.training_only those that change nothing in evaluation mode")


def check_forward(network: nn.Module, chain: Sequence[Layer]) -> None:
    """Check that a checkpoint has a place for all that the forward of ``network`` computes in evaluation mode.

    Raises
    ------
    :exc:`CheckpointError`
        Naming the module or tensor that it has none for: replaced or hooked modules, what is passed on instead of
        spikes, statistics that are not kept, tensors of other types than float32.
    """
    for key, value in network.state_dict().items():
        if value.is_floating_point() and value.dtype is not torch.float32:
            raise CheckpointError(f"{key} must be float32, not {str(value.dtype).removeprefix('torch.')}: call "
                                  f"network.float()")
    for name, layer in named_layers(chain):
        check_module(name, layer, tuple(kind for kind in _PARTS if isinstance(layer, kind)))
        for part, kinds in _PARTS[type(layer)].items():
            module = getattr(layer, part)
            if module is not None:
                check_module(f"{name}.{part}", module, kinds)
        if isinstance(layer, layers.Readout):
            if layer.synapses.per_channel:
                raise CheckpointError("readout must have one scale for all classes, not one per class: set "
                                      "synapses.per_channel to False")
            continue
        mode = layer.mode if isinstance(layer, layers.OrPool) else layer.neurons.mode
        if mode is not neurons.Mode.SPIKES:
            raise CheckpointError(f"{name} must pass on spikes, not {mode.value}: call "
                                  f"network.use_mode(Mode.SPIKES)")
        if not isinstance(layer, layers.OrPool) and layer.norm is not None and layer.norm.running_mean is None:
            raise CheckpointError(f"{name} norm must keep running statistics, not those of each batch: set "
                                  f"track_running_stats when it is built")
