"""Activations of a network with ReLU neurons: how large those of each layer become on some images.

A spike in each timestep should stand for about the largest activation of a layer: for a high percentile, which a few
activations may exceed, or for the value that gives the least error. :mod:`train.methods.balancing` makes thresholds of
these values.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from train import layers, neurons
from train.methods.method import MethodError, check_number
from train.network import SpikingNetwork

__all__ = ["activation_percentiles", "ann_accuracy", "least_error_maxima", "passing_on"]

#: Bins of a histogram of activations, and shares of the largest one that are tried as maximum.
_BINS = 16384
_SHARES = [share / 100 for share in range(1, 101)]
#: Images whose activations of all layers are held at once.
_BATCH = 100


@contextlib.contextmanager
def passing_on(network: SpikingNetwork, mode: neurons.Mode) -> Iterator[torch.device]:
    """Let the neurons of ``network`` pass on what ``mode`` says while the ``with`` block lasts; gives the device.

    The network is in evaluation mode meanwhile, and no gradients are kept.
    """
    modes = [(module, module.mode) for module in network.modules() if isinstance(module, neurons.PIF | layers.OrPool)]
    training = network.training
    network.eval()
    network.use_mode(mode)
    try:
        with torch.no_grad():
            yield next(network.parameters()).device
    finally:
        network.train(training)
        for module, mode in modes:
            module.mode = mode


def ann_accuracy(network: SpikingNetwork, images: Tensor, labels: Tensor) -> float:
    """Share of right classes of the network with ReLU neurons, in evaluation mode.

    Images are uint8 ``[N, C, H, W]``, or events ``[N, T, C, H, W]``; labels int64 ``[N]``.
    """
    right = 0
    with passing_on(network, neurons.Mode.RELU) as device:
        for batch, classes in zip(images.split(_BATCH), labels.split(_BATCH), strict=True):
            right += int((network(batch.to(device)).argmax(1).cpu() == classes).sum())
    return right / len(labels)


class _Highest:
    """The largest values of a stream, enough of them for percentiles from ``lowest`` on."""

    def __init__(self, total: int, lowest: float) -> None:
        self.total = total
        self.kept = torch.empty(0)
        self._count = total - math.floor((total - 1) * lowest / 100)

    def add(self, values: Tensor) -> None:
        values = values.float().cpu().reshape(-1)
        if len(self.kept) == self._count:
            # Most values of later parts are below all that are kept, and selecting is cheaper than sorting.
            values = values[values > self.kept[-1]]
        kept = torch.cat([self.kept, values])
        self.kept = kept.topk(min(self._count, len(kept))).values

    def percentile(self, percentile: float) -> float:
        """Interpolate linearly between the two values next to the rank ``(total - 1) percentile / 100``."""
        rank = (self.total - 1) * percentile / 100
        below = math.floor(rank)
        low, high = (float(self.kept[self.total - 1 - index]) for index in (below, min(below + 1, self.total - 1)))
        return low + (high - low) * (rank - below)


def _activations(network: SpikingNetwork, images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Give name and activations ``[1, B, ..., C]`` of every layer with neurons, batch after batch, as an ANN."""
    with passing_on(network, neurons.Mode.RELU) as device:
        for batch in images.split(_BATCH):
            maps: list[Tensor] = []
            network(batch.to(device), maps)
            for layer, values in zip(network.architecture["layers"][:-1], maps, strict=True):
                if layer["kind"] != "or-pool":
                    yield layer["name"], values


def activation_percentiles(network: SpikingNetwork, images: Tensor,
                           percentiles: Sequence[float]) -> dict[str, list[float]]:
    """Return percentiles of the activations of every layer with neurons, by its name.

    The activations are those of the network with ReLU neurons, in evaluation mode: all neurons, positions and images of
    a layer together, zeros too, as :func:`numpy.percentile` with linear interpolation.

    Parameters
    ----------
    network : SpikingNetwork
    images : uint8 ``[N, C, H, W]``, or events ``[N, T, C, H, W]``
        Calibration images, of the training set, without distortions.
    percentiles : sequence of numbers from 0 to 100, at least one

    Raises
    ------
    :exc:`MethodError`
        If there are no images or percentiles, or a percentile is out of range.
    """
    if not len(images) or not percentiles:
        raise MethodError(f"calibration must have images and percentiles, not {len(images)} and {len(percentiles)}")
    for percentile in percentiles:
        check_number("percentile", percentile, 0, 100)
    streams: dict[str, _Highest] = {}
    for name, values in _activations(network, images):
        if name not in streams:
            streams[name] = _Highest(values.numel() // values.shape[1] * len(images), min(percentiles))
        streams[name].add(values)
    return {name: [stream.percentile(value) for value in percentiles] for name, stream in streams.items()}


def least_error_maxima(network: SpikingNetwork, images: Tensor, *, timesteps: int,
                       initial: float) -> dict[str, float]:
    """Return the activation ``lambda`` of every layer with neurons that a spike in each timestep should stand for.

    It is the one for which the values that spike counts can stand for, ``n lambda / T`` with ``n = floor(a T / lambda +
    initial)`` from 0 to T, are closest to the activations ``a`` in the mean square: a small one cuts off large
    activations, a large one makes coarse steps (as the thresholds of SNN calibration, arXiv 2106.06984). Tried are
    hundredths of the largest activation, on a histogram of :data:`_BINS` bins.

    Parameters
    ----------
    network, images
        As of :func:`activation_percentiles`.
    timesteps : int
        T of the spiking network.
    initial : float
        As of :func:`train.methods.balancing.balance`.

    Raises
    ------
    :exc:`MethodError`
        If there are no images.
    """
    highest = {name: values[0] for name, values in activation_percentiles(network, images, [100]).items()}
    counts = {name: torch.zeros(_BINS, dtype=torch.float64) for name in highest}
    for name, values in _activations(network, images):
        seen = values[values > 0].float().cpu()
        counts[name] += torch.histc(seen, _BINS, 0, highest[name])
    centres = (torch.arange(_BINS, dtype=torch.float64) + 0.5) / _BINS
    found = {}
    for name, count in counts.items():
        errors = []
        for share in _SHARES:
            spikes = (centres * (timesteps / share) + initial).floor().clamp(max=timesteps)
            errors.append(float((count * (spikes * (share / timesteps) - centres).square()).sum()))
        found[name] = highest[name] * _SHARES[errors.index(min(errors))]
    return found
