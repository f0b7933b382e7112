"""A spiking network composed of layers, and its way to a checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from arch.architecture import layer_shapes, projection_shapes, projection_sources, shortcut_sources
from arch.checkpoint import Checkpoint, CheckpointError
from arch.network import Encoding, Input, Reset
from support.errors import InputError
from train import layers, neurons, quantisers
from train.description import Layer, check_forward, describe, named_layers, projection_of, shortcut_of
from train.synapses import ProjectedConv2d, TernaryConv2d, TernaryLinear
from train.trainable import TrainableNetwork

__all__ = ["Layer", "SpikingNetwork", "build", "from_checkpoint"]

#: Word of a form: or-pools take the largest rate.
_LARGEST = "largest"


class SpikingNetwork(TrainableNetwork):
    """Ternary spiking network: a chain of layers that ends in a readout; a layer may see the spikes of an earlier one.

    Parameters
    ----------
    source : Input
        What an inference gets: pixels (uint8, constant over time) or binary event frames.
    chain : sequence of modules of :mod:`train.layers`
        Convolution, FullyConnected, OrPool; exactly the last one is a Readout. Their shapes must fit.
    timesteps : int
        T. Layers that were built without one get it; the others must have the same.
    scale : float
        A pixel ``p`` is seen as ``scale * (p - zero_point)``; 1 for events.

    Raises
    ------
    ValueError
        The chain is malformed, its shapes do not fit together, or a layer has other timesteps.
    """

    def __init__(self, source: Input, chain: Sequence[Layer], *, timesteps: int = 4,
                 scale: float = 1 / 256) -> None:
        super().__init__()
        self.source = source
        self.timesteps = timesteps
        self.scale = 1.0 if source.encoding is Encoding.EVENTS else scale
        for layer in chain:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers must be of train.layers, not {type(layer).__name__}")
            if isinstance(layer, layers.Convolution | layers.FullyConnected) and layer.neurons.follows_network:
                layer.neurons.timesteps = timesteps
        self.chain = nn.ModuleList(chain)
        self._looked = False
        # Raises if the layers do not fit together.
        _ = self.architecture

    def _layers(self) -> Iterator[Layer]:
        for layer in self.chain:
            assert isinstance(layer, Layer)
            yield layer

    @property
    def architecture(self) -> Mapping[str, Any]:
        """What the network is now, as :mod:`arch.architecture` states it; raises :exc:`CheckpointError`."""
        return describe(self.source, list(self._layers()), timesteps=self.timesteps, scale=self.scale)

    def _check_images(self, images: Tensor) -> None:
        """Check that ``images`` are what the exported network gets.

        An accelerator waits for every look at its values: there, they are looked at once.
        """
        events = self.source.encoding is Encoding.EVENTS
        shape = (self.timesteps, *self.source.shape) if events else self.source.shape
        if images.shape[1:] != shape:
            raise InputError(f"images must be of shape (N, {', '.join(map(str, shape))}), not {tuple(images.shape)}")
        if images.dtype is torch.bool and not events:
            raise InputError("pixels must be whole numbers from 0 to 255, as the exported network gets them, not bool: "
                             "multiply them by 255")
        # A byte is a pixel, and a bit is an event.
        whole = images.dtype is (torch.bool if events else torch.uint8)
        if whole or not images.numel() or (self._looked and images.device.type != "cpu"):
            return
        self._looked = True
        wrong = _not_whole(images, 1 if events else 255)
        if wrong is None:
            return
        if events:
            raise InputError(f"events must be 0 and 1, as the exported network gets them, not {wrong:.12g}")
        raise InputError(f"pixels must be whole numbers from 0 to 255, as the exported network gets them, not "
                         f"{wrong:.12g}: multiply images of 0 to 1 by 255, and put other scales into "
                         f"SpikingNetwork(scale=...)")

    def forward(self, images: Tensor, spikes: list[Tensor] | None = None, *, by_step: bool = False,
                attached: list[Tensor] | None = None) -> Tensor:
        """Return scores, float32 ``[B, classes]``, or ``[T, B, classes]`` with ``by_step``.

        Parameters
        ----------
        images : ``[B, C, H, W]`` pixels, or events ``[B, T, C, H, W]``
            Whole numbers 0 to 255, or 0 and 1, of any dtype: what the exported network gets.
        spikes : list, optional
            The spike maps ``[T, B, H, W, C]`` of all layers before the readout are appended to it.
        by_step : bool
            Return the scores of each timestep; their mean is what is returned otherwise.
        attached : list, optional
            Like ``spikes``, with their gradients.

        Raises
        ------
        InputError
            ``images`` have another shape or other values.
        """
        self._check_images(images)
        if self.source.encoding is Encoding.EVENTS:
            maps = images.float().movedim(1, 0).movedim(2, -1)
        else:
            maps = ((images.float() - self.source.zero_point) * self.scale).movedim(1, -1)[None]
        maps = maps.contiguous()
        added: dict[int, Tensor] = {}
        sources = {shortcut_of(layer) for layer in self._layers()} | {
            projection.source for projection in map(projection_of, self._layers()) if projection}
        for index, layer in enumerate(self._layers()):
            if isinstance(layer, layers.Readout):
                return layer.by_step(maps) if by_step else layer(maps)
            shortcut = shortcut_of(layer)
            if shortcut is not None:
                maps = maps + added[shortcut]
            projection = projection_of(layer)
            maps = layer(maps) if projection is None else layer(maps, added[projection.source])
            if index in sources:
                added[index] = maps
            if spikes is not None:
                spikes.append(maps.detach())
            if attached is not None:
                attached.append(maps)
        raise AssertionError("a chain ends in a readout")

    def clamp(self) -> None:
        """Keep the thresholds positive; call after each step of the optimiser."""
        for module in self.modules():
            if isinstance(module, neurons.PIF):
                module.clamp()

    def use_compiled(self, compiled: bool) -> None:
        """Choose whether the neurons' loops are compiled (see :func:`train.neurons.pif`)."""
        for module in self.modules():
            if isinstance(module, neurons.PIF | layers.OrPool):
                module.compiled = compiled

    def use_mode(self, mode: neurons.Mode) -> None:
        """Choose what all neurons pass on: spikes, rates or real numbers."""
        for module in self.modules():
            if isinstance(module, neurons.PIF | layers.OrPool):
                module.mode = mode

    def use_initial(self, initial: float) -> None:
        """Choose all membranes before the first timestep, in units of the threshold, 0 to 1."""
        for module in self.modules():
            if isinstance(module, neurons.PIF):
                module.initial = initial

    def use_independent_rates(self, independent: bool) -> None:
        """Choose how or-pools see rates (:attr:`train.layers.OrPool.independent`)."""
        for module in self.modules():
            if isinstance(module, layers.OrPool):
                module.independent = independent

    @property
    def norm_over_mean(self) -> bool:
        """Whether BatchNorm takes its statistics from currents' mean over time instead of from all timesteps."""
        return any(module.norm_over_mean for module in self.modules() if isinstance(module, neurons.PIF))

    def use_norm_over_mean(self, over_mean: bool) -> None:
        """Choose :attr:`norm_over_mean`."""
        for module in self.modules():
            if isinstance(module, neurons.PIF):
                module.norm_over_mean = over_mean

    def use_surrogate(self, shape: str) -> None:
        """Choose the surrogate of all neurons, of :data:`train.neurons.SURROGATES`."""
        for module in self.modules():
            if isinstance(module, neurons.PIF):
                module.surrogate = shape

    def synapses(self) -> Iterator[TernaryConv2d | TernaryLinear]:
        """Iterate over the weighted parts of all layers, in order."""
        for module in self.modules():
            if isinstance(module, TernaryConv2d | TernaryLinear):
                yield module

    @property
    def exportable(self) -> bool:
        """Whether :meth:`checkpoint` describes what :meth:`forward` computes: spikes, and codes of few values."""
        modes = (module.mode for module in self.modules() if isinstance(module, neurons.PIF))
        return (all(mode is neurons.Mode.SPIKES for mode in modes)
                and all(part.quantiser.discrete for part in self.synapses()))

    @staticmethod
    def firing_rate(maps: Tensor) -> float:
        """Share of timesteps with a spike in ``maps``; of real numbers, their mean."""
        return float(maps.float().mean())

    @property
    def form(self) -> str:
        """What the network passes on and with which weights: accuracies of different forms are not compared."""
        modes = {module.mode.value for module in self.modules() if isinstance(module, neurons.PIF)}
        words = ["+".join(sorted(modes) or [neurons.Mode.SPIKES.value])]
        if any(module.mode is neurons.Mode.RATES and not module.independent for module in self.modules()
               if isinstance(module, layers.OrPool)):
            words.append(_LARGEST)
        if not all(part.quantiser.discrete for part in self.synapses()):
            words.append("float")
        return " ".join(words)

    def use_form(self, form: str) -> None:
        """Let neurons and pools pass on what they did in the form ``form`` (:attr:`form`)."""
        mode, *others = form.split()
        self.use_mode(neurons.Mode(mode))
        self.use_independent_rates(_LARGEST not in others)

    @torch.no_grad()
    def checkpoint(self, provenance: Mapping[str, Any] | None = None) -> Checkpoint:
        """Return what :meth:`forward` computes now, in evaluation mode, as data with its codes frozen.

        Raises
        ------
        CheckpointError
            The weights are not codes, or the format has no place for what some module computes
            (:func:`train.description.check_forward`).
        """
        if not all(part.quantiser.discrete for part in self.synapses()):
            raise CheckpointError("weights must be ternary or binary for a checkpoint, not float")
        if type(self).forward is not SpikingNetwork.forward or "forward" in vars(self) or self._forward_hooks or (
                self._forward_pre_hooks):
            raise CheckpointError("network must have the forward of SpikingNetwork and no forward hooks: a checkpoint "
                                  "has no place for what others compute")
        chain = list(self._layers())
        check_forward(self, chain)
        architecture = self.architecture
        tensors: dict[str, npt.NDArray[Any]] = {}
        for name, layer in named_layers(chain):
            if isinstance(layer, layers.OrPool):
                continue
            tensors |= _weight_tensors(name, layer.synapses)
            if not isinstance(layer, layers.Readout):
                tensors |= _neuron_tensors(name, layer)
        return Checkpoint(architecture=architecture, tensors=tensors, provenance=provenance or {})


def _not_whole(images: Tensor, largest: int) -> float | None:
    """Return a value of ``images`` that is no whole number from 0 to ``largest``; None if there is none."""
    low, high = (float(value) for value in images.aminmax())
    if not (low >= 0 and high <= largest):
        return high if low >= 0 else low
    if not images.is_floating_point():
        return None
    wrong = images != images.round()
    return float(images[wrong][0]) if bool(wrong.any()) else None


def _weight_tensors(name: str, synapses: TernaryConv2d | TernaryLinear) -> dict[str, npt.NDArray[Any]]:
    """Return latent weights, codes and scales of a layer."""
    weight = synapses.weight.detach().cpu()
    per_channel = not isinstance(synapses, TernaryLinear) or synapses.per_channel
    codes, scale = synapses.quantiser.codes_and_scale(weight, per_channel=per_channel)
    frozen = codes.detach().cpu().to(torch.int8)
    beside: dict[str, npt.NDArray[Any]] = {}
    if not torch.equal(frozen.to(codes.dtype), codes.detach().cpu()):
        raise CheckpointError(f"{name} codes must be -1, 0 and +1, as those of the quantisers of train.quantisers")
    scale = scale.detach().cpu()
    if name != "readout":
        # One scale for all channels of a layer is the same scale for each.
        scale = scale.expand(len(weight))
    if isinstance(synapses, ProjectedConv2d):
        weight, projection = synapses.split(weight)
        frozen, codes_beside = synapses.split(frozen)
        beside = {f"{name}.projection_weight": projection[..., None, None].numpy(),
                  f"{name}.projection_ternary": codes_beside[..., None, None].numpy()}
    return {f"{name}.weight": weight.numpy(), f"{name}.ternary": frozen.numpy(), f"{name}.alpha": scale.numpy(),
            **beside}


def _neuron_tensors(name: str, layer: layers.Convolution | layers.FullyConnected) -> dict[str, npt.NDArray[Any]]:
    """Return BatchNorm's tensors, as far as the layer has them, and those of the neurons."""
    norm, pif = layer.norm, layer.neurons
    if pif.theta.dim() and pif.initial:
        raise CheckpointError(f"{name} must have one threshold for the layer when its membranes start above 0")
    parts: dict[str, Tensor | None] = {"theta": pif.theta}
    if norm is not None:
        parts |= {"gamma": norm.weight, "beta": norm.bias, "mean": norm.running_mean, "variance": norm.running_var}
    tensors = {f"{name}.{part}": value.detach().cpu().numpy() for part, value in parts.items() if value is not None}
    first = pif.theta.detach().cpu().reshape(-1)[0]
    tensors[f"{name}.initial"] = np.asarray((first * pif.initial).numpy(), dtype=np.float32)
    return tensors


def _projection(described: Mapping[str, Any], source: int, channels: int) -> layers.Identity | layers.Projection:
    """Return the further input that ``described`` states, of the map of layer ``source``, which has ``channels``."""
    if described["weights"] == "identity":
        return layers.Identity(source=source, stride=described["stride"])
    return layers.Projection(source=source, stride=described["stride"], channels=channels)


def build(architecture: Mapping[str, Any]) -> SpikingNetwork:
    """Return an untrained network of the architecture of a checkpoint or a recipe; raises :exc:`CheckpointError`."""
    chain: list[Layer] = []
    projections = projection_shapes(architecture)
    shortcuts, sources = shortcut_sources(architecture), projection_sources(architecture)
    timesteps = architecture["timesteps"]
    for index, (layer, shape, output) in enumerate(layer_shapes(architecture)):
        if layer["kind"] == "or-pool":
            chain.append(layers.OrPool(layer["size"]))
            continue
        size = layer.get("input_pool", 1)
        inputs = shape[0] * (shape[1] // size) * (shape[2] // size)
        if layer["kind"] == "readout":
            chain.append(layers.Readout(inputs, layer["classes"], input_pool=size))
        else:
            behaviour = {"timesteps": timesteps, "reset": Reset(layer["reset"]), "leak_shift": layer["leak_shift"],
                         **({"norm": False} if layer["epsilon"] is None else {"epsilon": float(layer["epsilon"])}),
                         "shortcut": shortcuts.get(index), "input_pool": size}
            if layer["kind"] == "convolution":
                projection = None
                if index in sources:
                    projection = _projection(layer["projection"], sources[index], projections[layer["name"]][1])
                chain.append(layers.Convolution(shape[0], output[0], layer["kernel"], stride=layer["stride"],
                                                padding=layer["padding"], pool=layer.get("pool", 1),
                                                projection=projection, **behaviour))
            else:
                chain.append(layers.FullyConnected(inputs, output[0], **behaviour))
    source = architecture["input"]
    described = Input(encoding=Encoding(source["encoding"]), channels=source["channels"], height=source["height"],
                      width=source["width"], zero_point=source["zero_point"])
    return SpikingNetwork(described, chain, timesteps=timesteps, scale=float(source["scale"]))


@torch.no_grad()
def from_checkpoint(checkpoint: Checkpoint, *, frozen: bool = False) -> SpikingNetwork:
    """Return the trained network of a checkpoint, to go on training or to compare with; raises :exc:`CheckpointError`.

    Training adapts what a network of :mod:`train.layers` has: thresholds of a layer, no bias of a convolution.
    ``frozen``: the weights are the checkpoint's codes and scales, whatever the latent weights are.
    """
    network = build(checkpoint.architecture)
    for layer, described in zip(network._layers(), checkpoint.architecture["layers"], strict=True):
        if isinstance(layer, layers.OrPool):
            continue
        name = described["name"]

        def get(part: str, name: str = name) -> Tensor:
            return torch.from_numpy(np.array(checkpoint.tensors[f"{name}.{part}"]))

        synapses = layer.synapses
        weight, codes = get("weight"), get("ternary").float()
        if isinstance(synapses, ProjectedConv2d):
            weight = synapses.join(weight, get("projection_weight"))
            codes = synapses.join(codes, get("projection_ternary").float())
        synapses.weight.copy_(weight)
        if frozen:
            synapses.quantiser = quantisers.Fixed(codes, get("alpha"))
        if isinstance(layer, layers.Readout):
            continue
        if f"{name}.bias" in checkpoint.tensors or get("theta").dim():
            raise CheckpointError(f"{name} must have no bias and one threshold to be trained")
        pif = layer.neurons
        pif.theta.copy_(get("theta"))
        if layer.norm is not None:
            _fill_norm(layer.norm, name, checkpoint)
        pif.initial = float(get("initial") / get("theta"))
    return network


def _fill_norm(norm: nn.BatchNorm1d, name: str, checkpoint: Checkpoint) -> None:
    """Give BatchNorm the tensors of a checkpoint, and take from it what the checkpoint does not have."""
    for attribute, part in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "mean"),
                            ("running_var", "variance")):
        value = checkpoint.tensors.get(f"{name}.{part}")
        if value is None:
            setattr(norm, attribute, None)
        else:
            getattr(norm, attribute).copy_(torch.from_numpy(np.array(value)))
