"""A network with spike times for conversion-aware training, in PyTorch, and its way to a checkpoint.

:func:`build_ttfs_network` makes it from the architecture of a recipe. :meth:`TtfsNetwork.forward` is for training, in
float32. What the trained network is *defined* to compute is :mod:`train.ttfs.exact`.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from arch.architecture import CheckpointError, layer_shapes
from arch.network import NetworkError
from arch.ttfs import checkpoint, trained_layers
from arch.ttfs.checkpoint import Checkpoint
from arch.ttfs.code import TimeCode
from arch.ttfs.network import EarliestPool
from train.description import check_module
from train.quantisers import Float, Quantiser, Ternary
from train.trainable import TrainableNetwork
from train.ttfs.neurons import LogQuantiser, TtfsActivation

__all__ = ["WEIGHTS", "TtfsLayer", "TtfsNetwork", "build_ttfs_network"]

#: Weights of a network: float32, 5-bit logarithmic (Lew et al.), or ternary (no multiplication by any weight).
WEIGHTS = ("float", "log5", "ternary")
#: Keys of layers that networks of rates alone can have.
_MORE = {"pool", "input_pool", "shortcut", "projection"}


class TtfsLayer(nn.Module):
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

    def described(self, name: str) -> trained_layers.Layer:
        """Return the layer as data, under ``name``; raises :exc:`arch.network.NetworkError`."""
        codes, scale = self.integer_codes()
        numbers: dict[str, Any] = {"name": name, "weights": codes.cpu().numpy(),
                                   "scale": scale.reshape(-1).cpu().numpy()}
        if self.norm is None:
            return trained_layers.Readout(**numbers)
        parts = zip(("gamma", "beta", "mean", "variance"),
                    (self.norm.weight, self.norm.bias, self.norm.running_mean, self.norm.running_var), strict=True)
        norm = trained_layers.BatchNorm(epsilon=self.norm.eps, **{
            part: value.detach().cpu().numpy() for part, value in parts if value is not None})
        if codes.dim() == 2:
            return trained_layers.FullyConnected(**numbers, norm=norm)
        return trained_layers.Convolution(**numbers, norm=norm, stride=self.stride, padding=self.padding)

    @torch.no_grad()
    def gain_and_offset(self, theta0: float) -> tuple[Tensor, Tensor]:
        """Return what the exact forward multiplies sums of values of codes with and adds to them, float64 ``[out]``.

        Sums are of ``2^(-t/tau)`` and ``2^(-q/p)``: the weights' scale and ``theta0`` are in the gain.
        """
        layer = self.described("layer")
        assert isinstance(layer, trained_layers.Convolution | trained_layers.FullyConnected)
        gain, offset = layer.gain_and_offset(theta0)
        return torch.from_numpy(gain), torch.from_numpy(offset)


class TtfsNetwork(TrainableNetwork):
    """A chain of :class:`TtfsLayer` and :class:`torch.nn.MaxPool2d`; see :func:`build_ttfs_network`."""

    def __init__(self, architecture: Mapping[str, Any], chain: list[nn.Module], encoder: TtfsActivation, *,
                 code: TimeCode | None) -> None:
        super().__init__()
        self._architecture = architecture
        self.scale = float(architecture["input"]["scale"])
        self.encoder = encoder
        self.timesteps = encoder.T
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
            if isinstance(layer, TtfsLayer) and layer.activation is not None:
                layer.activation.set_mode(mode)

    #: Its spikes are times, so it has no checkpoint of the rate code; that of :meth:`checkpoint` is another.
    exportable = False

    @torch.no_grad()
    def checkpoint(self, provenance: Mapping[str, Any] | None = None) -> Checkpoint:
        """Return what :meth:`forward` computes now, in evaluation mode, as data for ``python -m export.ttfs``.

        Raises
        ------
        :exc:`CheckpointError`
            If the weights are float, a parameter is not finite, or a module computes what the format has no place for:
            activations of another mode or code, replaced or hooked modules.
        """
        if self.code is None:
            raise CheckpointError("weights must be log5 or ternary for a checkpoint, not float")
        check_module("network", self, (TtfsNetwork,))
        self._check_activation("encoder", self.encoder)
        layers: list[trained_layers.Layer] = []
        for module, described in zip(self.chain, self.architecture["layers"], strict=True):
            name = described.get("name", described["kind"])
            try:
                if isinstance(module, TtfsLayer):
                    self._check_layer(name, module)
                    layers.append(module.described(name))
                else:
                    layers.append(_described_pool(name, module))
            except NetworkError as error:
                raise CheckpointError(f"layer {name}: {error}") from None
        source = {key: self.architecture["input"][key] for key in ("channels", "height", "width")}
        try:
            seen = checkpoint.Input(**source, scale=self.scale)
        except NetworkError as error:
            raise CheckpointError(str(error)) from None
        return Checkpoint(input=seen, code=self.code, theta0=self.theta0, layers=tuple(layers),
                          provenance=provenance or {})

    def _check_activation(self, name: str, activation: nn.Module) -> None:
        """Check that an activation is that of the network's code; raises :exc:`CheckpointError`."""
        check_module(name, activation, (TtfsActivation,))
        assert isinstance(activation, TtfsActivation)
        if activation.mode != "ttfs":
            raise CheckpointError(f"{name} must pass on the values of spike times, not {activation.mode}: call "
                                  f"network.set_activation('ttfs')")
        assert self.code is not None
        for what, value, wanted in (("T", activation.T, self.code.timesteps), ("tau", activation.tau, self.code.tau),
                                    ("fraction", activation.fraction, self.code.fraction),
                                    ("theta0", activation.theta0, self.theta0)):
            if value != wanted:
                raise CheckpointError(f"{name} {what} must be {wanted} like the network's, not {value!r}")

    def _check_layer(self, name: str, layer: TtfsLayer) -> None:
        """Check that a checkpoint has a place for all that a layer computes; raises :exc:`CheckpointError`."""
        check_module(name, layer, (TtfsLayer,))
        assert self.code is not None
        quantiser, code = layer.quantiser, self.code
        if isinstance(quantiser, LogQuantiser) and (quantiser.bits, quantiser.p) != (code.bits, code.p):
            raise CheckpointError(f"{name} weights must have {code.bits} bits and p = {code.p} like the network's, not "
                                  f"{quantiser.bits} and {quantiser.p}")
        if (layer.norm is None) != (layer.activation is None):
            raise CheckpointError(f"{name} must have both BatchNorm and an activation, or neither as a readout")
        if layer.norm is None or layer.activation is None:
            return
        check_module(f"{name}.norm", layer.norm, (nn.BatchNorm2d,))
        if layer.norm.running_mean is None or layer.norm.weight is None:
            raise CheckpointError(f"{name}.norm must have gain, offset and running statistics: set affine and "
                                  f"track_running_stats when it is built")
        self._check_activation(f"{name}.activation", layer.activation)

    @staticmethod
    def firing_rate(maps: Tensor) -> float:
        """Share of neurons that spike: at whatever time."""
        return float((maps > 0).float().mean())

    @property
    def form(self) -> str:
        """Mode of the activations: accuracies in different modes are not compared."""
        return next((layer.activation.mode for layer in self.chain
                     if isinstance(layer, TtfsLayer) and layer.activation is not None), "ttfs")

    def use_form(self, form: str) -> None:
        """As :meth:`set_activation`."""
        self.set_activation(form)

    def synapses(self) -> Iterator[TtfsLayer]:
        """Iterate over the layers with weights, in order."""
        for layer in self.chain:
            if isinstance(layer, TtfsLayer):
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


def _described_pool(name: str, pool: nn.Module) -> EarliestPool:
    """Return a pool as data; raises :exc:`CheckpointError` if its windows are not those of an earliest-pool."""
    check_module(name, pool, (nn.MaxPool2d,))
    assert isinstance(pool, nn.MaxPool2d)
    if (pool.stride, pool.padding, pool.dilation, pool.ceil_mode) != (pool.kernel_size, 0, 1, False):
        raise CheckpointError(f"{name} must have windows side by side, without padding, dilation and ceil_mode, "
                              f"not {pool.extra_repr()}")
    return EarliestPool(size=pool.kernel_size)  # type: ignore[arg-type]


def build_ttfs_network(architecture: Mapping[str, Any], *, T: int, tau: int, theta0: float = 1.0,
                      weights: str = "log5", p: int = 2, fraction: int = 16) -> TtfsNetwork:
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
        If the architecture is malformed, or has events, leak, shortcuts, projections, pools of currents or of the
        input, or a zero point: there is no negative spike.
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
            if "input_pool" in layer:
                raise CheckpointError(f"layer {layer['name']} must be a readout without input_pool for "
                                      f"time-to-first-spike coding")
            chain.append(TtfsLayer((output[0], math.prod(shape)), quantiser(), None))
        elif layer["epsilon"] is None:
            raise CheckpointError(f"layer {layer['name']} must have BatchNorm, and so an epsilon, for "
                                  f"time-to-first-spike coding, not null")
        elif kind not in ("convolution", "fully-connected") or _MORE & set(layer) or layer["leak_shift"]:
            raise CheckpointError(f"layer {layer['name']} must be a convolution or fully connected without leak, pool, "
                                  f"input_pool, shortcut and projection for time-to-first-spike coding")
        elif kind == "convolution":
            chain.append(TtfsLayer((output[0], shape[0], layer["kernel"], layer["kernel"]), quantiser(), activation(),
                                  stride=layer["stride"], padding=layer["padding"], epsilon=layer["epsilon"]))
        else:
            chain.append(TtfsLayer((output[0], math.prod(shape)), quantiser(), activation(), epsilon=layer["epsilon"]))
    source = architecture["input"]
    if source["encoding"] != "pixels" or source["zero_point"]:
        raise CheckpointError("input must be pixels with zero point 0 for time-to-first-spike coding")
    return TtfsNetwork(architecture, chain, activation(), code=code)
