"""What a network in training is composed of: input, timesteps and a chain of layers, as JSON.

Recipes state it, checkpoints store it, and ``train.network.build`` makes a network of it. It is a mapping::

    {"input": {"encoding": "pixels", "channels": 1, "height": 28, "width": 28, "zero_point": 0, "scale": 0.00390625},
     "timesteps": 4,
     "layers": [
       {"kind": "convolution", "name": "conv1", "channels": 16, "kernel": 7, "stride": 2, "padding": 3,
        "reset": "subtract", "leak_shift": null, "epsilon": 1e-05},
       {"kind": "or-pool", "size": 2},
       {"kind": "fully-connected", "name": "fc1", "neurons": 64,
        "reset": "subtract", "leak_shift": null, "epsilon": 1e-05},
       {"kind": "readout", "name": "readout", "classes": 10}]}

Further keys are optional. A convolution may have ``pool``, the side of windows (1 to 7), and a convolution or
fully-connected layer ``shortcut``, the name of an earlier layer with neurons, or of an or-pool, whose spikes are added
to its input map: values 0 to 2. An or-pool may have a ``name`` for that. The map that is added must have the shape of
the input map, and must not be that map itself.

A convolution may have a ``projection`` instead of a shortcut: its filters see the map of an earlier layer beside their
own, through 1 x 1 weights. ``{"source": "conv1", "stride": 2, "weights": "trained"}`` is a projection shortcut with
weights of its own; with ``"identity"`` each channel sees the same channel of the map. The map must give currents of as
many rows and columns as the convolution's, before its pool.

A layer with weights may have ``input_pool``: it sees the mean of windows of its input map (average pooling). The side
of the windows must divide those of the map. The export repeats the weights in place of the pooling: a convolution of
kernel 3, stride 1 and padding 1 behind windows of 2 becomes one of kernel 6, stride 2 and padding 2. So
``input_pool`` times kernel and times stride is at most 7; without a kernel it may be as large as the map.

``epsilon`` is BatchNorm's; null says that the layer has no BatchNorm.
"""

import math
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from arch import network, strict_json
from arch.strict_json import short
from support.errors import InputError

__all__ = ["CheckpointError", "check_keys", "check_positive", "input_of", "is_name", "layer_shapes", "mean_size",
           "projection_shapes", "projection_sources", "shortcut_sources", "weighted_layers"]

_INPUT_KEYS = ("encoding", "channels", "height", "width", "zero_point", "scale")
_NEURON_KEYS = ("reset", "leak_shift", "epsilon")
_LAYER_KEYS = {
    "convolution": ("name", "channels", "kernel", "stride", "padding", *_NEURON_KEYS),
    "or-pool": ("size",),
    "fully-connected": ("name", "neurons", *_NEURON_KEYS),
    "readout": ("name", "classes"),
}
#: Keys that a layer may have; without them it is a link of a plain chain.
_OPTIONAL_KEYS = {"convolution": ("pool", "shortcut", "projection", "input_pool"), "or-pool": ("name",),
                  "fully-connected": ("shortcut", "input_pool"), "readout": ("input_pool",)}
_PROJECTION_KEYS = ("source", "stride", "weights")


def input_of(architecture: Mapping[str, Any]) -> network.Input:
    """Return the input of the integer network: its scale goes into the constants of the first layer."""
    source = {key: value for key, value in architecture["input"].items() if key != "scale"}
    return network.Input(**(source | {"encoding": network.Encoding(source["encoding"])}))


class CheckpointError(InputError):
    """An architecture or a checkpoint is malformed, incomplete or of another version. The message is one line."""


def _integer(where: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise CheckpointError(f"{where} must be an integer from {low} to {high}, not {short(value)}")
    return value


def is_name(value: Any) -> bool:
    """Whether ``value`` can be the name of a layer: a word of letters, digits, ``-`` and ``_``, a letter first."""
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", value) is not None


def check_positive(where: str, value: Any) -> None:
    """Check that ``value`` is a number above zero that a float can hold; raises :exc:`CheckpointError`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # An integer may have hundreds of digits: it is compared as it is, and not made a float.
    if not number or not 0 < value <= sys.float_info.max:
        raise CheckpointError(f"{where} must be a positive number, not {short(value)}")


def check_keys(where: str, value: Any, keys: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    """Check that ``value`` is a mapping with ``keys``, and none beside but ``optional``.

    Raises
    ------
    :exc:`CheckpointError`
        If it is not.
    """
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{where} must be an object, not {type(value).__name__}")
    if not set(keys) <= set(value) <= {*keys, *optional}:
        may = f" and may have {', '.join(optional)}" if optional else ""
        raise CheckpointError(f"{where} must have the keys {', '.join(keys)}{may}, not {strict_json.names(value)}")


def layer_shapes(architecture: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], network.Shape, network.Shape]]:
    """Iterate over the layers with the shapes (channels, height, width) of their input and output maps.

    Checks the whole architecture on the way; raises :exc:`CheckpointError`.
    """
    check_keys("architecture", architecture, ("input", "timesteps", "layers"))
    source = architecture["input"]
    check_keys("input", source, _INPUT_KEYS)
    if source["encoding"] not in ("pixels", "events"):
        raise CheckpointError(f"input encoding must be pixels or events, not {short(source['encoding'])}")
    channels = _integer("input channels", source["channels"], 1, 64)
    height = _integer("input height", source["height"], 1, network.MAX_SIDE)
    width = _integer("input width", source["width"], 1, network.MAX_SIDE)
    allowed = (0, 128) if source["encoding"] == "pixels" else (0,)
    if type(source["zero_point"]) is not int or source["zero_point"] not in allowed:
        raise CheckpointError(f"input zero point must be {' or '.join(map(str, allowed))} for {source['encoding']}, "
                              f"not {short(source['zero_point'])}")
    check_positive("input scale", source["scale"])
    if source["encoding"] == "events" and source["scale"] != 1:
        raise CheckpointError(f"input scale must be 1 for events, not {short(source['scale'])}")
    _integer("timesteps", architecture["timesteps"], 1, network.MAX_TIMESTEPS)
    layers = architecture["layers"]
    if not isinstance(layers, list | tuple) or not layers:
        raise CheckpointError("layers must be a list that ends in a readout")
    names: set[str] = set()
    sources: dict[str, network.Shape] = {}
    previous: str | None = None
    shape: network.Shape = (channels, height, width)
    for index, layer in enumerate(layers):
        where = f"layer {index}"
        kind = layer.get("kind") if isinstance(layer, Mapping) else None
        if not isinstance(kind, str) or kind not in _LAYER_KEYS:
            raise CheckpointError(f"{where} must be of kind {', '.join(_LAYER_KEYS)}, not {short(kind)}")
        check_keys(where, layer, ("kind", *_LAYER_KEYS[kind]), _OPTIONAL_KEYS.get(kind, ()))
        if (kind == "readout") != (index == len(layers) - 1):
            raise CheckpointError(f"{where} must {'not ' if kind == 'readout' else ''}be a readout: "
                                  f"a network has one, at its end")
        if index == 0 and kind == "or-pool":
            raise CheckpointError("layer 0 must have weights, not be an or-pool")
        if "name" in layer:
            name = layer["name"]
            if not is_name(name) or name in names:
                raise CheckpointError(f"{where} name must be a word of letters, digits, - and _ that no other layer "
                                      f"has, not {short(name)}")
            names.add(name)
        if "reset" in _LAYER_KEYS[kind]:
            if layer["reset"] not in ("subtract", "zero"):
                raise CheckpointError(f"{where} reset must be subtract or zero, not {short(layer['reset'])}")
            if layer["leak_shift"] is not None:
                _integer(f"{where} leak shift", layer["leak_shift"], 1, network.MAX_LEAK_SHIFT)
            if layer["epsilon"] is not None:
                check_positive(f"{where} epsilon", layer["epsilon"])
        if "shortcut" in layer:
            _check_source(where, layer["shortcut"], index, sources, previous, shape)
        if "input_pool" in layer:
            _check_input_pool(where, layer, shape)
        if "projection" in layer:
            _check_projection(where, layer, index, sources, shape)
        output = _output_shape(where, layer, shape)
        yield layer, shape, output
        previous = layer.get("name")
        if previous is not None:
            sources[previous] = output
        shape = output


def _check_source(where: str, source: Any, index: int, sources: Mapping[str, network.Shape], previous: str | None,
                  shape: network.Shape) -> None:
    """Check the shortcut of layer ``index``, which sees a map of ``shape``, behind the named layers ``sources``."""
    if index == 0:
        raise CheckpointError(f"{where} shortcut must add to spikes, not be {short(source)}: this layer sees the input")
    if not isinstance(source, str) or source not in sources:
        raise CheckpointError(f"{where} shortcut must be the name of an earlier layer ({strict_json.names(sources)}), "
                              f"not {short(source)}")
    if source == previous:
        raise CheckpointError(f"{where} shortcut must be a layer before the previous one, not {source!r}: that map is "
                              f"the input")
    if sources[source] != shape:
        raise CheckpointError(f"{where} shortcut must have a map of {shape} like the input, not that of {source}, "
                              f"{sources[source]}")


def _check_input_pool(where: str, layer: Mapping[str, Any], shape: network.Shape) -> None:
    """Check the windows of which ``layer`` sees the mean, in a map of ``shape``."""
    size = _integer(f"{where} input_pool", layer["input_pool"], 1, network.MAX_SIDE)
    _, height, width = shape
    if height % size or width % size:
        raise CheckpointError(f"{where} input_pool must divide both sides of the map of {height} x {width}, not be "
                              f"{size}")
    if "projection" in layer and size > 1:
        raise CheckpointError(f"{where} input_pool must be 1 beside a projection, not {size}: both maps have one scale")
    if layer["kind"] != "convolution":
        return
    for key, most in (("kernel", network.MAX_KERNEL), ("stride", network.MAX_STRIDE)):
        factor = _integer(f"{where} {key}", layer[key], 1, most)
        if factor * size > most:
            raise CheckpointError(f"{where} input_pool times {key} must be at most {most}, not {factor * size}: the "
                                  f"export makes one convolution of both")


def _check_projection(where: str, layer: Mapping[str, Any], index: int, sources: Mapping[str, network.Shape],
                      shape: network.Shape) -> None:
    """Check the projection of layer ``index``, which sees a map of ``shape``, behind the named layers ``sources``."""
    projection = layer["projection"]
    check_keys(f"{where} projection", projection, _PROJECTION_KEYS)
    source = projection["source"]
    if "shortcut" in layer:
        raise CheckpointError(f"{where} must have a shortcut or a projection, not both: its filters see at most two "
                              f"maps")
    if index == 0:
        raise CheckpointError(f"{where} projection must read spikes, not be of {short(source)}: this layer sees the "
                              f"input")
    if not isinstance(source, str) or source not in sources:
        raise CheckpointError(f"{where} projection source must be the name of an earlier layer "
                              f"({strict_json.names(sources)}), not {short(source)}")
    stride = _integer(f"{where} projection stride", projection["stride"], 1, network.MAX_STRIDE)
    if projection["weights"] not in ("trained", "identity"):
        raise CheckpointError(f"{where} projection weights must be trained or identity, not "
                              f"{short(projection['weights'])}")
    channels, height, width = sources[source]
    out, *sides = _current_shape(where, layer, shape)
    projected = [(height - 1) // stride + 1, (width - 1) // stride + 1]
    if projected != sides:
        raise CheckpointError(f"{where} projection must have currents of {sides[0]} x {sides[1]} like the kernel, not "
                              f"those of {source} with stride {stride}, {projected[0]} x {projected[1]}")
    if projection["weights"] == "identity" and channels != out:
        raise CheckpointError(f"{where} projection must have trained weights or {out} channels like the layer, not the "
                              f"{channels} of {source}")


def _current_shape(where: str, layer: Mapping[str, Any], shape: network.Shape) -> network.Shape:
    """Shape of the currents of a convolution before its pool."""
    size = layer.get("input_pool", 1)
    height, width = shape[1] // size, shape[2] // size
    out = _integer(f"{where} channels", layer["channels"], 1, network.MAX_CHANNELS)
    kernel = _integer(f"{where} kernel", layer["kernel"], 1, network.MAX_KERNEL)
    stride = _integer(f"{where} stride", layer["stride"], 1, network.MAX_STRIDE)
    padding = _integer(f"{where} padding", layer["padding"], 0, kernel - 1)
    if min(height, width) + 2 * padding < kernel:
        raise CheckpointError(f"{where} kernel must fit in the padded map of {height + 2 * padding} x "
                              f"{width + 2 * padding}, not be {kernel}")
    return out, (height + 2 * padding - kernel) // stride + 1, (width + 2 * padding - kernel) // stride + 1


def _output_shape(where: str, layer: Mapping[str, Any], shape: network.Shape) -> network.Shape:
    channels, height, width = shape
    if layer["kind"] == "convolution":
        out, rows, columns = _current_shape(where, layer, shape)
        pool = _integer(f"{where} pool", layer.get("pool", 1), 1, network.MAX_POOL)
        if min(rows, columns) < pool:
            raise CheckpointError(f"{where} pool must fit in the currents of {rows} x {columns}, not be {pool}")
        return out, rows // pool, columns // pool
    if layer["kind"] == "or-pool":
        size = _integer(f"{where} size", layer["size"], 2, network.MAX_POOL)
        if min(height, width) < size:
            raise CheckpointError(f"{where} size must fit in the map of {height} x {width}, not be {size}")
        return channels, height // size, width // size
    if layer["kind"] == "fully-connected":
        return _integer(f"{where} neurons", layer["neurons"], 1, network.MAX_CHANNELS), 1, 1
    return _integer(f"{where} classes", layer["classes"], 2, network.MAX_CLASSES), 1, 1


def shortcut_sources(architecture: Mapping[str, Any]) -> dict[int, int]:
    """Index of the layer whose spikes are added to the input map, by the index of the layer that sees the sum."""
    layers = architecture["layers"]
    indices = {layer["name"]: index for index, layer in enumerate(layers) if "name" in layer}
    return {index: indices[layer["shortcut"]] for index, layer in enumerate(layers) if "shortcut" in layer}


def projection_sources(architecture: Mapping[str, Any]) -> dict[int, int]:
    """Index of the layer whose spikes a projection sees, by the index of the layer that has the projection."""
    layers = architecture["layers"]
    indices = {layer["name"]: index for index, layer in enumerate(layers) if "name" in layer}
    return {index: indices[layer["projection"]["source"]] for index, layer in enumerate(layers)
            if "projection" in layer}


def projection_shapes(architecture: Mapping[str, Any]) -> dict[str, tuple[int, int, int, int]]:
    """Shape of the weights of each projection, ``(out, channels, 1, 1)``, by the name of its layer; identities too.

    Checks the whole architecture; raises :exc:`CheckpointError`.
    """
    channels = {layer.get("name"): output[0] for layer, _, output in layer_shapes(architecture)}
    return {layer["name"]: (layer["channels"], channels[layer["projection"]["source"]], 1, 1)
            for layer in architecture["layers"] if "projection" in layer}


def mean_size(layer: Mapping[str, Any]) -> int:
    """Number of integers of which the neurons see the mean: places of an input window times positions of a pool's."""
    size: int = layer.get("input_pool", 1) * layer.get("pool", 1)
    return size**2


def weighted_layers(architecture: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, Any], tuple[int, ...]]]:
    """Layers with weights by name, in order, each with the shape of its weight tensor."""
    found: dict[str, tuple[Mapping[str, Any], tuple[int, ...]]] = {}
    for layer, shape, output in layer_shapes(architecture):
        if layer["kind"] == "convolution":
            found[layer["name"]] = layer, (output[0], shape[0], layer["kernel"], layer["kernel"])
        elif layer["kind"] != "or-pool":
            found[layer["name"]] = layer, (output[0], math.prod(shape) // layer.get("input_pool", 1)**2)
    return found
