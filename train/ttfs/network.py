"""A network for conversion-aware training, and the exact forward that its integer twin reproduces value for value.

:func:`build_cat_network` makes it from the architecture of a checkpoint or recipe. :meth:`CatNetwork.forward` is for
training, in float32. :func:`exact_forward` is the trained network's definition: in float64 and on the dyadic values of
:class:`arch.ttfs.network.TimeCode`, where every sum is exact, so that ``export.ttfs`` can prove its integers equal to
it.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from arch.architecture import CheckpointError, layer_shapes
from arch.ttfs.network import TimeCode, membrane_range
from train.quantisers import Float, Quantiser, Ternary
from train.trainable import TrainableNetwork
from train.ttfs.neurons import LogQuantiser, TtfsActivation

__all__ = ["WEIGHTS", "CatLayer", "CatNetwork", "accuracy", "build_cat_network", "exact_forward", "mismatches",
           "predict"]

#: Weights of a network: float32, 5-bit logarithmic (Lew et al.), or ternary (no multiplication by any weight).
WEIGHTS = ("float", "log5", "ternary")
#: Images that are computed at once.
BATCH = 100


class CatLayer(nn.Module):
    """Convolution, fully connected layer or readout: quantised weights, BatchNorm, activation.

    Parameters
    ----------
    shape : tuple of int
        Shape of the weights, ``[out, in, kernel, kernel]`` or ``[out, in]``.
    quantiser : Quantiser
        What the weights become.
    activation : TtfsActivation or None
        None for the readout, which has no BatchNorm either, and one scale for the layer.
    stride, padding : int
        Of a convolution, as of :class:`torch.nn.Conv2d`.
    epsilon : float
        BatchNorm's.
    """

    def __init__(self, shape: tuple[int, ...], quantiser: Quantiser, activation: TtfsActivation | None, *,
                 stride: int = 1, padding: int = 0, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_normal_(self.weight)
        self.quantiser = quantiser
        self.stride = stride
        self.padding = padding
        self.norm = None if activation is None else nn.BatchNorm2d(shape[0], eps=epsilon)
        self.activation = activation

    def sums(self, maps: Tensor, weight: Tensor) -> Tensor:
        """Return the linear part ``[B, out, H', W']`` of maps ``[B, in, H, W]``; a flat layer's has one pixel."""
        if weight.dim() == 4:
            return functional.conv2d(maps, weight, stride=self.stride, padding=self.padding)
        return functional.linear(maps.flatten(1), weight)[..., None, None]

    def forward(self, maps: Tensor) -> Tensor:
        """Activations ``[B, out, H', W']`` of the map ``[B, in, H, W]``."""
        codes, scale = self.quantiser(self.weight, per_channel=self.norm is not None)
        sums = self.sums(maps, codes * scale.reshape(-1, *[1] * (codes.dim() - 1)))
        if self.norm is None or self.activation is None:
            return sums
        return self.activation(self.norm(sums))

    @torch.no_grad()
    def integer_codes(self) -> tuple[Tensor, Tensor]:
        """Return the codes that are stored, int8 in the shape of the weights, and their scale, ``[out]`` or ``[]``.

        Raises :exc:`ValueError` for float weights.
        """
        per_channel = self.norm is not None
        if isinstance(self.quantiser, LogQuantiser):
            return self.quantiser.integer_codes(self.weight, per_channel=per_channel)
        if not self.quantiser.discrete:
            raise ValueError("weights must be log5 or ternary to have codes, not float")
        codes, scale = self.quantiser.codes_and_scale(self.weight, per_channel=per_channel)
        return codes.to(torch.int8), scale

    @torch.no_grad()
    def gain_and_offset(self, theta0: float) -> tuple[Tensor, Tensor]:
        """Return what the exact forward multiplies sums of values of codes with and adds to them, float64 ``[out]``.

        Sums are of ``2^(-t/tau)`` and ``2^(-q/p)``: the weights' scale and ``theta0`` are in the gain.
        """
        assert self.norm is not None
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        _, scale = self.integer_codes()
        slope = self.norm.weight.double() / (self.norm.running_var.double() + self.norm.eps).sqrt()
        return theta0 * scale.double() * slope, self.norm.bias.double() - slope * self.norm.running_mean.double()


class CatNetwork(TrainableNetwork):
    """A chain of :class:`CatLayer` and :class:`torch.nn.MaxPool2d`; see :func:`build_cat_network`."""

    def __init__(self, architecture: Mapping[str, Any], chain: list[nn.Module], encoder: TtfsActivation, *,
                 code: TimeCode | None) -> None:
        super().__init__()
        self._architecture = architecture
        self.scale = float(architecture["input"]["scale"])
        self.encoder = encoder
        self.chain = nn.ModuleList(chain)
        #: What times and codes stand for; None for float weights.
        self.code = code

    @property
    def architecture(self) -> Mapping[str, Any]:
        """What the network was built of."""
        return self._architecture

    @property
    def theta0(self) -> float:
        """Value of a spike at time 0."""
        return self.encoder.theta0

    def set_activation(self, mode: str) -> None:
        """Choose the activations, one of :data:`train.ttfs.neurons.MODES`; the image is always ``ttfs``."""
        for layer in self.chain:
            if isinstance(layer, CatLayer) and layer.activation is not None:
                layer.activation.set_mode(mode)

    #: Its spikes are times, so it has no checkpoint of the rate code; ``export.ttfs`` takes it as it is.
    exportable = False

    @staticmethod
    def firing_rate(maps: Tensor) -> float:
        """Share of neurons that spike: at whatever time."""
        return float((maps > 0).float().mean())

    @property
    def form(self) -> str:
        """Mode of the activations: accuracies in different modes are not compared."""
        return next((layer.activation.mode for layer in self.chain
                     if isinstance(layer, CatLayer) and layer.activation is not None), "ttfs")

    def use_form(self, form: str) -> None:
        """As :meth:`set_activation`."""
        self.set_activation(form)

    def synapses(self) -> Iterator[CatLayer]:
        """Iterate over the layers with weights, in order."""
        for layer in self.chain:
            if isinstance(layer, CatLayer):
                yield layer

    def clamp(self) -> None:
        """Nothing to keep in bounds: thresholds are not learned."""

    def use_compiled(self, compiled: bool) -> None:
        """Choose whether activations are compiled (needs g++ on a CPU)."""
        for module in self.modules():
            if isinstance(module, TtfsActivation):
                module.compiled = compiled

    def forward(self, images: Tensor, maps: list[Tensor] | None = None, *, by_step: bool = False,
                attached: list[Tensor] | None = None) -> Tensor:
        """Return logits, float32 ``[B, classes]``, or ``[1, B, classes]`` with ``by_step``.

        Parameters
        ----------
        images : pixels 0 to 255, uint8 or float ``[B, C, H, W]``
        maps : list, optional
            The values of the input and of all layers before the readout, ``[B, C, H, W]``, are appended to it.
        by_step : bool
            Return them as the scores of one timestep.
        attached : list, optional
            Like ``maps``, with their gradients.
        """
        x = self.encoder(images.float() * self.scale)
        for layer in self.chain:
            if maps is not None:
                maps.append(x.detach())
            if attached is not None:
                attached.append(x)
            x = layer(x)
        scores = x.flatten(1)
        return scores[None] if by_step else scores


def build_cat_network(architecture: Mapping[str, Any], *, T: int, tau: int, theta0: float = 1.0,
                      weights: str = "log5", p: int = 2, fraction: int = 16) -> CatNetwork:
    """Return an untrained network with time-to-first-spike coding.

    Parameters
    ----------
    architecture
        As of :mod:`arch.checkpoint`: convolutions, fully connected layers, OR-pools (here max-pools), a readout. Its
        ``timesteps``, and ``reset`` of its layers, are of the rate code, and mean nothing where neurons spike once.
    T, tau, theta0, fraction
        As of :func:`train.ttfs.neurons.thresholds`. The same ``theta0`` serves all layers: BatchNorm scales.
    weights : str
        One of :data:`WEIGHTS`; all layers have the same. ``float`` can be trained, but not converted.
    p : int
        Exponents of a logarithmic weight in which it halves.

    Raises
    ------
    :exc:`CheckpointError`
        If the architecture is malformed, or has events, leak, shortcuts, pools of currents, or a zero point: there is
        no negative spike.
    :exc:`ValueError`
        If another parameter is wrong.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be {', '.join(WEIGHTS)}, not {weights!r}")
    code: TimeCode | None = None
    if weights != "float":
        widths = {"p": p, "bits": 5} if weights == "log5" else {"p": 1, "bits": 2}
        code = TimeCode(timesteps=T, tau=tau, fraction=fraction, **widths)

    def quantiser() -> Quantiser:
        if weights == "log5":
            return LogQuantiser(5, p)
        return Ternary() if weights == "ternary" else Float()

    def activation() -> TtfsActivation:
        return TtfsActivation(T, tau, theta0, fraction=fraction)

    chain: list[nn.Module] = []
    for layer, shape, output in layer_shapes(architecture):
        kind = layer["kind"]
        if kind == "or-pool":
            chain.append(nn.MaxPool2d(layer["size"]))
        elif kind == "readout":
            chain.append(CatLayer((output[0], math.prod(shape)), quantiser(), None))
        elif kind not in ("convolution", "fully-connected") or {"pool", "shortcut"} & set(layer) or layer["leak_shift"]:
            raise CheckpointError(f"layer {layer['name']} must be a convolution or fully connected without leak, pool "
                                  f"and shortcut for time-to-first-spike coding")
        elif layer["epsilon"] is None:
            raise CheckpointError(f"layer {layer['name']} must have BatchNorm, an epsilon that is not null, for "
                                  f"time-to-first-spike coding")
        elif kind == "convolution":
            chain.append(CatLayer((output[0], shape[0], layer["kernel"], layer["kernel"]), quantiser(), activation(),
                                  stride=layer["stride"], padding=layer["padding"], epsilon=layer["epsilon"]))
        else:
            chain.append(CatLayer((output[0], math.prod(shape)), quantiser(), activation(), epsilon=layer["epsilon"]))
    source = architecture["input"]
    if source["encoding"] != "pixels" or source["zero_point"]:
        raise CheckpointError("input must be pixels with zero point 0 for time-to-first-spike coding")
    return CatNetwork(architecture, chain, activation(), code=code)


def _planes(maps: Tensor, code: TimeCode) -> Tensor:
    """Split times ``[B, C, H, W]`` into powers of two, float64 ``[B, C tau, H, W]``: one channel per ``t mod tau``."""
    times = np.arange(code.timesteps + 1)
    chosen = ((times % code.tau)[:, None] == np.arange(code.tau)) & (times < code.timesteps)[:, None]
    table = torch.from_numpy(np.ldexp(chosen.astype(np.float64), -(times // code.tau)[:, None]))
    return table[maps.long()].movedim(-1, 2).flatten(1, 2)


def _plane_weights(codes: Tensor, code: TimeCode) -> Tensor:
    """Values of ``codes`` ``[out, in, ...]`` for spikes at times 0 to tau - 1, float64 ``[out, in tau, ...]``.

    ``t = tau h + b`` halves h times what b gives, exactly: the products of a network of one octave are all there is.
    """
    octave = TimeCode(timesteps=code.tau, tau=code.tau, p=code.p, bits=code.bits, fraction=code.fraction)
    table = torch.from_numpy(octave.products()[:, :-1]).double() * 2.0**-octave.unit_bits
    values = table[codes.abs().long()] * codes.sign()[..., None]
    return values.movedim(-1, 2).flatten(1, 2)


def _exact_sums(layer: CatLayer, code: TimeCode, maps: Tensor) -> Tensor:
    codes, _ = layer.integer_codes()
    # Refuses sums that float64 may not hold exactly.
    membrane_range(code, codes.numpy())
    if codes.dim() == 2:
        codes = codes.unflatten(1, tuple(maps.shape[1:])).flatten(2)
        weight = _plane_weights(codes, code).flatten(1)
    else:
        weight = _plane_weights(codes, code)
    return layer.sums(_planes(maps, code), weight)


@torch.no_grad()
def exact_forward(network: CatNetwork, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the scores and every spike time of the trained network, in float64.

    Convolutions have sums of dyadic rationals, exact below 2^53 units and so in any order; a neuron spikes at the first
    ``t`` with ``gain * sum + offset >= theta(t)``.

    Parameters
    ----------
    network : CatNetwork
        On the CPU. BatchNorm's running statistics count, whatever its mode is.
    images : uint8 ``[N, C, H, W]``

    Returns
    -------
    scores : float64 ``[N, classes]``
        Sums of the readout, without its scale and ``theta0``; exact. The class is the lowest index of the largest.
    times : list of uint8 ``[N, C, H, W]``
        Of the input and of each layer before the readout, pools included; T for no spike.

    Raises
    ------
    :exc:`ValueError`
        If the images are of another type or shape, weights are float, or a sum may reach 2^53 units.
    """
    code, source = network.code, network.architecture["input"]
    if code is None:
        raise ValueError("weights must be log5 or ternary to be exact, not float")
    shape = tuple(source[side] for side in ("channels", "height", "width"))
    if images.dtype != torch.uint8 or images.shape[1:] != shape:
        raise ValueError(f"images must be uint8 of shape (N, {', '.join(map(str, shape))}), "
                         f"not {str(images.dtype).removeprefix('torch.')} of {tuple(images.shape)}")
    maps = network.encoder.encode(images.double() * network.scale).to(torch.uint8)
    times = [maps]
    for layer in network.chain:
        if not isinstance(layer, CatLayer):
            assert isinstance(layer, nn.MaxPool2d)
            # The largest value is the earliest time.
            maps = (code.timesteps - layer(code.timesteps - maps.float())).to(torch.uint8)
        else:
            sums = _exact_sums(layer, code, maps)
            if layer.activation is None:
                break
            gain, offset = (value[:, None, None] for value in layer.gain_and_offset(network.theta0))
            # Two roundings, never a fused one: export relies on them.
            maps = layer.activation.encode(sums * gain + offset).to(torch.uint8)
        times.append(maps)
    return sums.flatten(1), times


@torch.no_grad()
def predict(network: CatNetwork, images: Tensor) -> Tensor:
    """Return the classes, int64 ``[N]``, of images as of :func:`exact_forward`."""
    # argmax of torch does not promise the lowest index on a tie; that of numpy does.
    return torch.cat([torch.from_numpy(exact_forward(network, batch)[0].numpy().argmax(1))
                      for batch in images.split(BATCH)])


def accuracy(network: CatNetwork, images: Tensor, labels: Tensor) -> float:
    """Return the share of right classes of the exact forward; labels int64 ``[N]``."""
    return int((predict(network, images) == labels).sum()) / len(labels)


@torch.no_grad()
def mismatches(network: CatNetwork, images: Tensor) -> tuple[int, int]:
    """Count the places where float32's value of the spike is not that of the exact forward, and all places compared.

    All layers are in evaluation mode and mode ``ttfs`` for it, and come back to what they were.
    """
    modes = [(module, module.mode) for module in network.modules() if isinstance(module, TtfsActivation)]
    training = network.training
    network.eval().set_activation("ttfs")
    wrong = compared = 0
    try:
        for batch in images.split(BATCH):
            maps: list[Tensor] = []
            network(batch, maps)
            for ours, times in zip(maps, exact_forward(network, batch)[1], strict=True):
                wrong += int((ours != network.encoder.decode(times.long())).sum())
                compared += ours.numel()
    finally:
        network.train(training)
        for module, mode in modes:
            module.set_mode(mode)
    return wrong, compared

