"""Random modules of snnTorch and SpikingJelly in which nothing is rounded, and membranes often meet their thresholds.

Weights are -a, 0 and a with a power of two for each output channel; biases, statistics of BatchNorm, thresholds and
first membranes are multiples of 1/8; the variance plus epsilon is a power of four, so that its root is one of two. In
some modules without leak BatchNorm has the usual epsilon and any statistics: there nothing meets a threshold, and
floats suffice to tell on which side of it a membrane is.
"""

import dataclasses

import numpy as np
import snntorch
import torch
import torch.nn.functional as F
from snntorch import surrogate
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based import surrogate as jelly_surrogate
from torch import nn

TIMESTEPS, BATCH = 4, 6
#: Distance of variance plus epsilon from it: BatchNorm adds it in floats without rounding.
EPSILON = 2.0**-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A module, and how it is exported."""

    module: nn.Module
    example: torch.Tensor
    encoding: str
    images: np.ndarray
    leaky: bool
    #: What it has, for a test that all kinds occur.
    kinds: frozenset


class _Maker:
    """Makes layers and notes what they are."""

    def __init__(self, seed, dtype, layers):
        self.rng = np.random.default_rng(seed)
        self.dtype, self.layers = dtype, layers
        self.kinds = set()
        #: Whether leaks may occur: BatchNorm of any numbers has no exact place with them.
        self.leaks = bool(self.rng.random() < 0.4)

    def chance(self, kind, share):
        """Whether something occurs, which is noted."""
        found = self.rng.random() < share
        if found:
            self.kinds.add(kind)
        return found

    def tensor(self, values):
        return torch.tensor(np.asarray(values), dtype=self.dtype)

    def eighths(self, low, high, shape):
        return self.tensor(self.rng.integers(low, high + 1, shape) / 8)

    def weights(self, part):
        shape = tuple(part.weight.shape)
        codes = self.rng.choice([-1, 0, 0, 1, 1], shape)
        codes.flat[0] = 1
        scale = 2.0 ** -self.rng.integers(0, 3, (shape[0],) + (1,) * (len(shape) - 1))
        part.weight.data = self.tensor(codes * scale)
        if part.bias is not None:
            part.bias.data = self.eighths(-2, 6, shape[0])
        return part

    def convolution(self, channels, out):
        kernel = int(self.rng.integers(1, 4))
        part = self.layers.Conv2d(channels, out, kernel, padding=int(self.rng.integers(0, kernel)),
                                  bias=bool(self.rng.integers(2)))
        return self.weights(part)

    def linear(self, inputs, out):
        return self.weights(self.layers.Linear(inputs, out, bias=bool(self.rng.integers(2))))

    def norm(self, kind, channels):
        usual = not self.leaks and self.chance("BatchNorm of any numbers", 0.25)
        part = kind(channels, eps=1e-5 if usual else EPSILON).to(self.dtype)
        if usual:
            part.weight.data = self.tensor(self.rng.uniform(-2, 2, channels))
            part.running_mean.data = self.tensor(self.rng.uniform(-1, 1, channels))
            part.running_var.data = self.tensor(self.rng.uniform(0.2, 3, channels))
        else:
            part.weight.data = self.tensor(self.rng.choice([-1, 0.5, 1, 2], channels))
            part.running_mean.data = self.eighths(-4, 4, channels)
            part.running_var.data = self.tensor(4.0 ** self.rng.integers(-1, 2, channels) - EPSILON)
        part.bias.data = self.eighths(-2, 6, channels)
        return part

    def thresholds(self, channels, ones):
        """One threshold, or one for each channel."""
        if self.chance("thresholds per channel", 0.4):
            return self.eighths(4, 16, (channels,) + (1,) * ones)
        return self.eighths(4, 16, ())

    def images(self, shape, encoding):
        """Pixels of few values, or frames."""
        if encoding == "pixels":
            return self.rng.choice(np.array([0, 64, 128, 192], dtype=np.uint8), (BATCH, *shape))
        return self.rng.random((BATCH, TIMESTEPS, *shape)) < 0.4


def _body(make, neurons, pools):
    """Layers of a random network, in order, and the shape of its images; ``neurons(channels, ones)`` makes neurons.

    ``pools`` are the classes of a mean and of a maximum.
    """
    rng, (mean, largest) = make.rng, pools
    channels, side = int(rng.integers(1, 4)), int(rng.integers(4, 10))
    shape, parts = (channels, side, side), []
    flat = make.chance("no convolution", 0.2)
    for _ in range(0 if flat else int(rng.integers(1, 3))):
        if side % 2 == 0 and make.chance("mean before weights", 0.2):
            parts.append(mean(2))
            side //= 2
        out = int(rng.integers(2, 6))
        convolution = make.convolution(channels, out)
        reached = side + 2 * convolution.padding[0] - convolution.kernel_size[0] + 1
        if reached < 2:
            continue
        parts.append(convolution)
        channels, side = out, reached
        if make.chance("BatchNorm2d", 0.5):
            parts.append(make.norm(make.layers.BatchNorm2d, channels))
        if side % 2 == 0 and make.chance("mean before neurons", 0.2):
            parts.append(mean(2))
            side //= 2
        parts.append(neurons(channels, 2))
        if side >= 4 and make.chance("maximum of spikes", 0.4):
            parts.append(largest(2))
            side //= 2
    if side % 2 == 0 and not flat and parts and make.chance("mean before linear", 0.2):
        parts.append(mean(2))
        side //= 2
    parts.append(make.layers.Flatten())
    inputs = channels * side * side
    if make.chance("hidden linear", 0.5):
        parts.append(make.linear(inputs, 12))
        if make.chance("BatchNorm1d", 0.4):
            parts.append(make.norm(make.layers.BatchNorm1d, 12))
        parts.append(neurons(12, 0))
        if make.chance("dropout", 0.5):
            parts.append(make.layers.Dropout(0.3))
        inputs = 12
    return parts, shape, inputs


class Loop(nn.Module):
    """The usual style of snnTorch: a loop over timesteps, with membranes that go from step to step."""

    def __init__(self, parts, starts, functional_pool, once):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.starts, self.functional_pool, self.once = starts, functional_pool, once

    def forward(self, x):
        membranes = [None if start is None else start.expand(x.shape[-4 if x.dim() > 2 else -2], *start.shape)
                     for start in self.starts]
        first, rest = self.parts[:self.once], self.parts[self.once:]
        still = x
        for part in first:
            still = part(still)
        found = []
        for timestep in range(TIMESTEPS):
            values, index = (still if x.dim() == 4 else x[timestep]), 0
            for part in rest:
                if isinstance(part, snntorch.Leaky):
                    if membranes[index] is None:
                        membranes[index] = part.reset_mem()
                    values, membranes[index] = part(values, membranes[index])
                    index += 1
                elif isinstance(part, nn.MaxPool2d) and self.functional_pool:
                    values = F.max_pool2d(values, 2)
                elif isinstance(part, nn.Flatten) and self.functional_pool:
                    values = values.view(values.shape[0], -1)
                else:
                    values = part(values)
            found.append(values)
        return torch.stack(found)


def snntorch_case(seed):
    """Return a module of snnTorch, in float32: its spikes are of that type, which no other one takes."""
    make = _Maker(seed, torch.float32, nn)
    hidden = make.chance("Sequential", 0.3)
    starts = []

    def neurons(channels, ones):
        zero = make.chance("reset to zero", 0.5)
        if not zero:
            make.kinds.add("reset by subtraction")
        leak = zero and make.leaks and make.chance("leak", 0.7)
        # At once, and by subtraction, is another rule where currents exceed the threshold.
        at_once = zero and make.chance("reset at once", 0.4)
        theta = make.thresholds(channels, ones)
        start = None
        if not hidden and make.chance("first membrane", 0.3):
            # At once, a first membrane above the threshold would be doubled: it is refused.
            start = make.eighths(-4, 4 if at_once else 20, (channels,) + (1,) * ones)
        starts.append(start)
        return snntorch.Leaky(
            beta=torch.tensor(float(make.rng.choice([0.5, 0.75])) if leak else 1.0), threshold=theta,
            learn_beta=bool(make.rng.integers(2)), learn_threshold=bool(make.rng.integers(2)), init_hidden=hidden,
            reset_mechanism="zero" if zero else "subtract", reset_delay=not at_once,
            spike_grad=surrogate.fast_sigmoid() if make.rng.integers(2) else None)

    parts, shape, inputs = _body(make, neurons, (nn.AvgPool2d, nn.MaxPool2d))
    parts.append(make.linear(inputs, 5))
    parts.append(neurons(5, 0))
    encoding = "events" if make.chance("events", 0.4) else "pixels"
    frames = encoding == "events" and not hidden
    images = make.images(shape, encoding)
    leaky = "leak" in make.kinds
    if hidden:
        return Case(module=nn.Sequential(*parts).eval(), example=torch.zeros(BATCH, *shape), encoding=encoding,
                    images=images, leaky=leaky, kinds=frozenset(make.kinds))
    # Maps on which first membranes are given have the sides of the neurons' map.
    starts = _on_maps(parts, starts, shape)
    still = isinstance(parts[0], nn.Conv2d) and encoding == "pixels"
    once = int(still and make.chance("weights outside the loop", 0.5))
    module = Loop(parts, starts, make.chance("functions", 0.5), once).eval()
    lead = (TIMESTEPS, BATCH) if frames else (BATCH,)
    return Case(module=module, example=torch.zeros(*lead, *shape), encoding=encoding, images=images, leaky=leaky,
                kinds=frozenset(make.kinds))


def _on_maps(parts, starts, shape):
    """Repeat first membranes over the maps of their neurons."""
    found, values, rest = [], torch.zeros(1, *shape), list(starts)
    with torch.no_grad():
        for part in parts:
            if isinstance(part, snntorch.Leaky):
                start = rest.pop(0)
                found.append(None if start is None else start.expand(values.shape[1:]).clone())
            else:
                values = part.eval()(values)
    return found


class Still(nn.Module):
    """The usual style of SpikingJelly for images: the first weights once, then all timesteps at once."""

    def __init__(self, first, rest):
        super().__init__()
        self.first, self.rest = first, rest

    def forward(self, x):
        x = self.first(x).unsqueeze(0).repeat(TIMESTEPS, 1, 1, 1, 1)
        return self.rest(x).mean(0)


def spikingjelly_case(seed):
    """Return a module of SpikingJelly, in float64."""
    make = _Maker(seed, torch.float64, layer)

    def neurons(channels, ones):
        reset = float(make.rng.choice([0, 0.25, -0.5])) if make.chance("reset to a number", 0.5) else None
        if reset is None:
            make.kinds.add("reset by subtraction")
        elif reset:
            make.kinds.add("reset to another number than 0")
        theta = 0.375 + float(make.rng.integers(0, 9)) / 8
        surrogates = jelly_surrogate.ATan() if make.rng.integers(2) else jelly_surrogate.Sigmoid()
        if make.leaks and make.chance("leak", 0.7):
            decay = make.chance("input that decays", 0.5)
            if make.chance("learnt leak", 0.3):
                return neuron.ParametricLIFNode(init_tau=2.0, decay_input=decay, v_threshold=theta, v_reset=reset,
                                                surrogate_function=surrogates)
            return neuron.LIFNode(tau=float(make.rng.choice([2, 4])), decay_input=decay, v_threshold=theta,
                                  v_reset=reset, surrogate_function=surrogates)
        if make.chance("first membrane", 0.2):
            return neuron.HalfThresholdIFNode(v_threshold=theta, surrogate_function=surrogates)
        if make.chance("thresholds per channel", 0.2):
            return neuron.SimpleIFNode(v_threshold=make.eighths(4, 12, (channels,) + (1,) * ones), v_reset=reset,
                                       surrogate_function=surrogates)
        return neuron.IFNode(v_threshold=theta, v_reset=reset, surrogate_function=surrogates)

    parts, shape, inputs = _body(make, neurons, (layer.AvgPool2d, layer.MaxPool2d))
    voting = make.chance("voting", 0.3)
    parts.append(make.linear(inputs, 12 if voting else 5))
    parts.append(neurons(5, 0) if not voting else neurons(12, 0))
    if voting:
        parts.append(layer.VotingLayer(3))
    encoding = "events" if make.chance("events", 0.4) else "pixels"
    images = make.images(shape, encoding)
    example = torch.zeros(BATCH, *shape, dtype=make.dtype)
    if make.chance("multi-step", 0.6):
        if encoding == "pixels" and isinstance(parts[0], layer.Conv2d) and make.chance("weights outside", 0.6):
            module = Still(nn.Sequential(parts[0]), nn.Sequential(*parts[1:]))
            functional.set_step_mode(module.rest, "m")
        elif make.chance("container", 0.4):
            place = next(index for index, part in enumerate(parts) if hasattr(part, "v_threshold"))
            module = nn.Sequential(layer.SeqToANNContainer(*parts[:place]), *parts[place:])
            functional.set_step_mode(module[1:], "m")
            example = example.expand(TIMESTEPS, *example.shape)
        else:
            module = nn.Sequential(*parts)
            functional.set_step_mode(module, "m")
            example = example.expand(TIMESTEPS, *example.shape)
    else:
        make.kinds.add("single-step")
        module = nn.Sequential(*parts)
        if make.chance("stepped container", 0.4):
            module = layer.MultiStepContainer(*parts)
            example = example.expand(TIMESTEPS, *example.shape)
    return Case(module=module.eval().to(make.dtype), example=example, encoding=encoding, images=images,
                leaky="leak" in make.kinds, kinds=frozenset(make.kinds))
