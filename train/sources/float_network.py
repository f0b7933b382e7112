"""A float network of another package as that package computes it: the teacher of the ternary network made of it.

Weights, leaks and thresholds are those of the graph, and the neurons obey the package's own rule (comparison, reset,
several spikes in a timestep). So its accuracy is what the package measures, or the graph was read by a wrong rule.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from arch.network import Encoding, Reset
from export.sources.chain import Convolution, Pool, SpikingNeurons
from export.sources.nir.importing import Source
from export.sources.rules import Comparison, Rule
from export.sources.stages import Stage, stages_of

__all__ = ["FloatLayer", "FloatNetwork", "likeliest_factor"]

#: Images that are computed at once, times timesteps.
_SLOTS = 1000
#: Share of a label that is spread over all classes where the scale of scores is sought.
_SMOOTHING = 0.01


def _column(values: Sequence[Fraction]) -> Tensor:
    """Numbers per channel, or one for all, as ``[channels or 1, 1, 1]``."""
    return torch.tensor([float(value) for value in values])[:, None, None]


class FloatLayer(nn.Module):
    """Weights of the graph, pools beside them, and neurons behind them, except where currents are the scores.

    Parameters
    ----------
    stage : Stage
        The layer's nodes.
    rule : Rule
        What its neurons obey.
    timesteps : int
        T.
    """

    weight: Tensor
    bias: Tensor
    theta: Tensor
    gain: Tensor
    initial: Tensor

    def __init__(self, stage: Stage, rule: Rule, timesteps: int) -> None:
        super().__init__()
        self.stage = stage
        self.rule = rule
        self.timesteps = timesteps
        self.register_buffer("weight", torch.from_numpy(np.array(stage.node.weight, dtype=np.float32)))
        self.register_buffer("bias", torch.from_numpy(np.array(stage.node.bias, dtype=np.float32)))
        neurons = stage.neurons or SpikingNeurons(name="", theta=(), gain=())
        for name in ("theta", "gain", "initial"):
            self.register_buffer(name, _column(getattr(neurons, name)))

    def current(self, maps: Tensor) -> Tensor:
        """Return what the neurons see in a timestep, ``[T or 1, B, C', H', W']`` of maps ``[T or 1, B, C, H, W]``."""
        node, count = self.stage.node, maps.shape[:2]
        seen = _pooled(maps.flatten(0, 1), self.stage.before)
        if isinstance(node, Convolution):
            found = functional.conv2d(seen, self.weight, self.bias, stride=node.stride, padding=node.padding)
        else:
            found = functional.linear(seen.flatten(1), self.weight, self.bias)[:, :, None, None]
        found = _pooled(found, self.stage.between).unflatten(0, count)
        return found * self.gain if self.gain.numel() else found

    def spikes(self, current: Tensor) -> Tensor:
        """Return the spikes ``[T, B, C, H, W]`` of currents ``[T or 1, B, C, H, W]``; of several, their number."""
        assert self.stage.neurons is not None
        keep = 1 - float(self.stage.neurons.leak)
        soft = self.rule.reset is Reset.SUBTRACT
        membrane = self.initial.expand(current.shape[1:])
        fired = torch.zeros_like(current[0])
        found = []
        for step in range(self.timesteps):
            # A late subtraction comes behind the leak, which the spike has not spared.
            membrane = keep * membrane + current[step if len(current) > 1 else 0]
            if self.rule.late and soft:
                membrane = membrane - fired * self.theta
            fired = self._fired(membrane)
            found.append(fired)
            if not soft:
                membrane = membrane.masked_fill(fired > 0, 0)
            elif not self.rule.late:
                membrane = membrane - fired * self.theta
        maps = torch.stack(found)
        for pool in self.stage.ors:
            maps = functional.max_pool2d(maps.flatten(0, 1), pool.size).unflatten(0, maps.shape[:2])
        return maps

    def _fired(self, membrane: Tensor) -> Tensor:
        above = self.rule.comparison is Comparison.ABOVE
        if self.rule.several:
            times = membrane / self.theta
            return (times.ceil() - 1 if above else times.floor()).clamp(min=0)
        return (membrane > self.theta if above else membrane >= self.theta).to(membrane.dtype)


def _pooled(maps: Tensor, pool: Pool | None) -> Tensor:
    """Mean or sum of the windows of ``[N, C, H, W]``."""
    if pool is None or pool.size == 1:
        return maps
    return functional.avg_pool2d(maps, pool.size, divisor_override=None if pool.mean else 1)


class FloatNetwork(nn.Module):
    """The network of ``source`` in float32; it is not trained.

    Raises :exc:`export.sources.chain.SourceError` for nodes in an order that has no place.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.frame = source.frame
        self.layers = nn.ModuleList(FloatLayer(stage, source.rule, source.frame.timesteps)
                                    for stage in stages_of(source.chain, source.frame.currents))

    @torch.no_grad()
    def forward(self, images: Tensor, currents: list[Tensor] | None = None) -> Tensor:
        """Return the scores of each timestep, ``[T or 1, B, classes]``: spikes of the last neurons, or last currents.

        Parameters
        ----------
        images : ``[B, C, H, W]`` pixels 0 to 255, or events 0 and 1 ``[B, T, C, H, W]``
        currents : list, optional
            The currents of all layers, as of :meth:`FloatLayer.current`, are appended to it.
        """
        # Spikes are computed as the package does: in float32.
        with torch.autocast(images.device.type, enabled=False):
            if self.frame.encoding is Encoding.EVENTS:
                maps = images.float().movedim(1, 0)
            else:
                maps = ((images.float() - self.frame.zero_point) * float(self.frame.scale))[None]
            for layer in self.layers:
                assert isinstance(layer, FloatLayer)
                maps = layer.current(maps)
                if currents is not None:
                    currents.append(maps)
                if layer.stage.neurons is not None:
                    maps = layer.spikes(maps)
            return maps.flatten(2)

    def scores(self, images: Tensor) -> Tensor:
        """Return the scores of any number of images, averaged over time, on the CPU: ``[N, classes]``."""
        device = next(self.buffers()).device
        size = max(1, _SLOTS // self.frame.timesteps)
        return torch.cat([self(part.to(device)).mean(0).cpu() for part in images.split(size)])

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Return the share of right classes; of equal scores, the first counts."""
        return float((self.scores(images).argmax(1) == labels).float().mean())


def likeliest_factor(scores: Tensor, labels: Tensor) -> float:
    """Return the factor with which the softmax of ``scores`` ``[N, classes]`` makes ``labels`` ``[N]`` likeliest.

    Scores of other packages have any scale: counts of spikes, or currents. With the factor they are logits, so that a
    temperature of a distillation means the same for all (temperature scaling, Guo et al., arXiv 1706.04599). A network
    that has all labels right would want any larger factor; labels that are smoothed a little bound it.
    """
    spread = float(scores.std())
    if not spread > 0:
        return 1.0
    factors = 2.0 ** torch.linspace(-4, 10, 57) / spread
    losses = torch.stack([functional.cross_entropy(scores * factor, labels, label_smoothing=_SMOOTHING)
                          for factor in factors])
    return float(factors[losses.argmin()])
