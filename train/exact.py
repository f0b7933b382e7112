"""The exact evaluation forward: what the integer reference and the RTL reproduce spike for spike.

It runs on a checkpoint, not on a module: frozen codes -1, 0, +1, convolved in float32, where every sum below 2^24 is an
exact integer, as are those over the windows of a pool, and those of a projection beside them; layers whose sums may be
larger are convolved in float64. Then
``u += g a + d`` and ``u >= theta`` in float64, without autocast. The accuracies that a training reports of a network
that is exported come from here. Leaky neurons are defined by their integers instead, and may differ from these in
single spikes.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from arch.architecture import mean_size, projection_sources, shortcut_sources, weighted_layers
from arch.checkpoint import Checkpoint
from train.network import SpikingNetwork

__all__ = ["accuracy", "batch_size", "forward", "mismatches", "predict", "recalibrate"]

#: Images that are computed at once, times timesteps: maps of all timesteps are held in memory.
_SLOTS = 2000
#: Sums of float32 are exact below this.
_EXACT = 2**24


def batch_size(timesteps: int) -> int:
    """Return how many images to compute at once, so that a layer's maps of all timesteps stay below some 0.5 GiB."""
    return max(1, _SLOTS // timesteps)


def _parameters(checkpoint: Checkpoint, name: str) -> Callable[[str], Tensor]:
    return lambda part: torch.from_numpy(np.array(checkpoint.tensors[f"{name}.{part}"]))


def _sums(checkpoint: Checkpoint, index: int, maps: Tensor, largest: int, beside: Tensor | None) -> Tensor:
    """Integer currents ``a``, ``[T or 1, B, C, H, W]`` in floats that hold them, of maps like it up to ``largest``.

    ``beside``: the spikes that a projection sees.
    """
    layer, projection = checkpoint.architecture["layers"][index], checkpoint.projection(index)
    codes = _parameters(checkpoint, layer["name"])("ternary")
    beside_codes = torch.zeros(len(codes), 0, 1, 1) if projection is None else torch.from_numpy(projection.copy())
    synapses = codes.flatten(1).ne(0).sum(1) + beside_codes.flatten(1).ne(0).sum(1)
    reach = int(synapses.max()) * largest * mean_size(layer)
    codes = codes.to(torch.float32 if reach < _EXACT else torch.float64)
    folded = _window_sums(maps.flatten(0, 1).to(codes.dtype), layer.get("input_pool", 1))
    if layer["kind"] == "convolution":
        sums = functional.conv2d(folded, codes, stride=layer["stride"], padding=layer["padding"]).round_()
        if beside is not None:
            seen = beside.flatten(0, 1).to(codes.dtype)
            sums += functional.conv2d(seen, beside_codes.to(codes.dtype), stride=layer["projection"]["stride"]).round_()
        sums = _window_sums(sums, layer.get("pool", 1))
    else:
        sums = functional.linear(folded.flatten(1), codes)[..., None, None].round_()
    return sums.unflatten(0, maps.shape[:2])


def _window_sums(maps: Tensor, size: int) -> Tensor:
    """Sum ``[N, C, H, W]`` over windows of ``size x size``."""
    return functional.avg_pool2d(maps, size, divisor_override=1) if size > 1 else maps


def _fire(checkpoint: Checkpoint, index: int, sums: Tensor) -> Tensor:
    """Spikes of layer ``index``, float32 ``[T, B, C, H, W]``, of the currents ``sums``."""
    layer = checkpoint.architecture["layers"][index]
    gain, offset = (torch.from_numpy(values)[:, None, None] for values in checkpoint.gain_and_offset(index))
    get = _parameters(checkpoint, layer["name"])
    theta = get("theta").double()
    theta = theta[:, None, None] if theta.dim() else theta
    timesteps = checkpoint.architecture["timesteps"]
    keep = 1.0 if layer["leak_shift"] is None else 1 - 2.0**-layer["leak_shift"]
    constant = len(sums) == 1
    membrane = get("initial").double().expand(sums.shape[1:]).clone()
    spikes = torch.empty(timesteps, *sums.shape[1:])
    current = torch.empty_like(membrane)
    for t in range(timesteps):
        if t == 0 or not constant:
            torch.mul(sums[0 if constant else t].double(), gain, out=current)
            if mean_size(layer) > 1:
                # After the product: where that is exact, the mean is only rounded once.
                current.div_(mean_size(layer))
            current.add_(offset)
        if keep != 1:
            membrane.mul_(keep)
        membrane.add_(current)
        fired = membrane >= theta
        spikes[t] = fired
        if layer["reset"] == "zero":
            membrane.masked_fill_(fired, 0)
        else:
            membrane.sub_(fired * theta)
    return spikes


def _encode(checkpoint: Checkpoint, images: Tensor) -> Tensor:
    source = checkpoint.architecture["input"]
    shape = tuple(source[side] for side in ("channels", "height", "width"))
    if source["encoding"] == "events":
        shape = checkpoint.architecture["timesteps"], *shape
    if images.dtype != torch.uint8 or images.shape[1:] != shape:
        raise ValueError(f"images must be uint8 of shape (N, {', '.join(map(str, shape))}), "
                         f"not {str(images.dtype).removeprefix('torch.')} of {tuple(images.shape)}")
    if source["encoding"] == "events":
        return images.float().movedim(1, 0)
    return images.float()[None] - source["zero_point"]


@torch.no_grad()
def forward(checkpoint: Checkpoint, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the scores and the spikes of every layer before the readout.

    Parameters
    ----------
    checkpoint : Checkpoint
        The trained network.
    images : uint8 ``[N, C, H, W]`` pixels, or events ``[N, T, C, H, W]``

    Returns
    -------
    scores : int64 ``[N, classes]``
        Sums of the readout's currents over time; the class is the lowest index of the largest.
    spikes : list of uint8 ``[T, N, C, H, W]``
        One per layer of the architecture, pools included.
    """
    *_, scores, spikes = _run(checkpoint, images, keep=True)
    return scores, spikes


def _run(checkpoint: Checkpoint, images: Tensor, *, keep: bool,
         until: str | None = None) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the last layer's currents, its sum over time, and the spikes; stop at the currents of layer ``until``."""
    with torch.autocast("cpu", enabled=False):
        maps = _encode(checkpoint, images)
        sources, projected = shortcut_sources(checkpoint.architecture), projection_sources(checkpoint.architecture)
        kept = {*sources.values(), *projected.values()}
        added: dict[int, Tensor] = {}
        spikes = []
        for index, layer in enumerate(checkpoint.architecture["layers"]):
            if index in sources:
                maps = maps + added[sources[index]]
            if layer["kind"] == "or-pool":
                maps = functional.max_pool2d(maps.flatten(0, 1), layer["size"]).unflatten(0, maps.shape[:2])
            else:
                largest = 255 if index == 0 and checkpoint.architecture["input"]["encoding"] == "pixels" else 1
                sums = _sums(checkpoint, index, maps, largest + (index in sources),
                             added[projected[index]] if index in projected else None)
                if layer["kind"] == "readout" or layer["name"] == until:
                    break
                maps = _fire(checkpoint, index, sums)
            if index in kept:
                added[index] = maps
            if keep:
                spikes.append(maps.to(torch.uint8))
        repeats = checkpoint.architecture["timesteps"] if len(sums) == 1 else 1
        return sums, (sums.double().sum(0) * repeats).flatten(1).long(), spikes


def _batches(checkpoint: Checkpoint, images: Tensor) -> Iterator[Tensor]:
    yield from images.split(batch_size(checkpoint.architecture["timesteps"]))


@torch.no_grad()
def predict(checkpoint: Checkpoint, images: Tensor) -> Tensor:
    """Return the classes, int64 ``[N]``, of images as of :func:`forward`."""
    # argmax of torch does not promise the lowest index on a tie; that of numpy does.
    scores = [_run(checkpoint, batch, keep=False)[1].numpy().argmax(1) for batch in _batches(checkpoint, images)]
    return torch.from_numpy(np.concatenate(scores))


def accuracy(checkpoint: Checkpoint, images: Tensor, labels: Tensor) -> float:
    """Return the share of right classes among images as of :func:`forward`, labels int64 ``[N]``."""
    return int((predict(checkpoint, images) == labels).sum()) / len(labels)


@torch.no_grad()
def mismatches(network: SpikingNetwork, images: Tensor, checkpoint: Checkpoint | None = None) -> tuple[int, int]:
    """Count the spikes in which the network's own forward differs from the exact one, and all that were compared.

    The network's forward is PyTorch's plain float32 one, in evaluation mode and without autocast: beside a few spikes
    at the threshold, which float32 rounds to the other side, it must be what is exported. The places compared are those
    of all layers, neurons and timesteps.

    Parameters
    ----------
    network : SpikingNetwork
        On any device; it is left as it was.
    images : Tensor
        As of :func:`forward`.
    checkpoint : Checkpoint, optional
        What the exact forward runs on; by default the network's own.
    """
    checkpoint = network.checkpoint() if checkpoint is None else checkpoint
    device = next(network.parameters()).device
    training = {module: module.training for module in network.modules()}
    wrong = compared = 0
    network.eval()
    try:
        with torch.autocast(device.type, enabled=False):
            for batch in _batches(checkpoint, images):
                maps: list[Tensor] = []
                network(batch.to(device), maps)
                for ours, theirs in zip(forward(checkpoint, batch)[1], maps, strict=True):
                    wrong += int((ours != theirs.movedim(-1, 2).cpu()).sum())
                    compared += ours.numel()
    finally:
        for module, mode in training.items():
            module.training = mode
    return wrong, compared


@torch.no_grad()
def recalibrate(checkpoint: Checkpoint, images: Tensor, *, over_mean: bool = False) -> Checkpoint:
    """Return the checkpoint with BatchNorm's statistics measured in the exact forward on ``images``, layer by layer.

    Layers without BatchNorm stay as they are.

    ``over_mean``: the statistics are those of currents' mean over time, not of all timesteps.
    """
    tensors = dict(checkpoint.tensors)
    layers = {name: layer for name, (layer, _) in weighted_layers(checkpoint.architecture).items()}
    names = list(layers)[:-1]
    for name in names:
        if layers[name]["epsilon"] is None:
            continue
        current = dataclasses.replace(checkpoint, tensors=tensors)
        total = count = squares = torch.zeros((), dtype=torch.float64)
        for batch in _batches(checkpoint, images):
            sums = _run(current, batch, keep=False, until=name)[0].double()
            if over_mean:
                sums = sums.mean(0, keepdim=True)
            total = total + sums.sum((0, 1, 3, 4))
            squares = squares + sums.square().sum((0, 1, 3, 4))
            count = count + math.prod(sums.shape) / sums.shape[2]
        get = _parameters(current, name)
        scale = get("alpha").double() * (float(checkpoint.architecture["input"]["scale"]) if name == names[0] else 1.0)
        scale = scale / mean_size(layers[name])
        bias = get("bias").double() if f"{name}.bias" in tensors else 0.0
        mean = total / count
        tensors[f"{name}.mean"] = (scale * mean + bias).float().numpy()
        tensors[f"{name}.variance"] = (scale.square() * (squares / count - mean.square())).clamp(min=0).float().numpy()
    return dataclasses.replace(checkpoint, tensors=tensors)
