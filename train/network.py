"""A spiking network composed of layers, and its way to a checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from arch.architecture import layer_shapes, shortcut_sources
from arch.checkpoint import Checkpoint, CheckpointError
from arch.network import Encoding, Input, Reset
from train import layers, neurons
from train.trainable import TrainableNetwork

__all__ = ["Layer", "SpikingNetwork", "build", "from_checkpoint"]

#: What a network is composed of.
Layer = layers.Convolution | layers.FullyConnected | layers.OrPool | layers.Readout

#: Names of the layers of an architecture that the user did not name: kind -> prefix.
_PREFIXES = {layers.Convolution: "conv", layers.FullyConnected: "fc"}
#: Word of a form: or-pools take the largest rate.
_LARGEST = "largest"


def _shortcut(layer: Layer) -> int | None:
    """Index of the layer whose spikes are added to the input map of ``layer``; None adds nothing."""
    return layer.shortcut if isinstance(layer, layers.Convolution | layers.FullyConnected) else None


class SpikingNetwork(TrainableNetwork):
    """Ternary spiking network: a chain of layers that ends in a readout; a layer may add the spikes of an earlier one.

    Parameters
    ----------
    source : Input
        What an inference gets: pixels (uint8, constant over time) or binary event frames.
    chain : sequence of modules of :mod:`train.layers`
        Convolution, FullyConnected, OrPool; exactly the last one is a Readout. Their shapes must fit.
    timesteps : int
        T; all neurons must have the same.
    scale : float
        A pixel ``p`` is seen as ``scale * (p - zero_point)``; 1 for events.

    Raises
    ------
    ValueError
        The chain is malformed or its shapes do not fit together.
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
            if isinstance(layer, layers.Convolution | layers.FullyConnected) and layer.neurons.timesteps != timesteps:
                raise ValueError(f"neurons must have {timesteps} timesteps like the network, "
                                 f"not {layer.neurons.timesteps}")
        self.chain = nn.ModuleList(chain)
        self._sources = {_shortcut(layer) for layer in chain} - {None}
        self.architecture = self._describe()
        for layer, (described, shape, _) in zip(chain, layer_shapes(self.architecture), strict=True):
            if isinstance(layer, layers.OrPool):
                continue
            inputs = layer.synapses.weight.shape[1]
            fan_in = shape[0] if isinstance(layer, layers.Convolution) else shape[0] * shape[1] * shape[2]
            if inputs != fan_in:
                raise ValueError(f"{described['name']} must have {fan_in} inputs for a map of {shape}, not {inputs}")

    def _layers(self) -> Iterator[Layer]:
        for layer in self.chain:
            assert isinstance(layer, Layer)
            yield layer

    def _describe(self) -> dict[str, Any]:
        described: list[dict[str, Any]] = []
        counts: dict[str, int] = {}
        for index, layer in enumerate(self._layers()):
            if isinstance(layer, layers.OrPool):
                counts["pool"] = counts.get("pool", 0) + 1
                named = {"name": f"pool{counts['pool']}"} if index in self._sources else {}
                described.append({"kind": "or-pool", "size": layer.size, **named})
                continue
            if isinstance(layer, layers.Readout):
                described.append({"kind": "readout", "name": "readout", "classes": len(layer.synapses.weight)})
                continue
            prefix = _PREFIXES[type(layer)]
            counts[prefix] = counts.get(prefix, 0) + 1
            name = f"{prefix}{counts[prefix]}"
            behaviour = {"reset": layer.neurons.reset.value, "leak_shift": layer.neurons.leak_shift,
                         "epsilon": layer.norm.eps}
            if layer.shortcut is not None:
                if layer.shortcut not in range(index):
                    raise ValueError(f"{name} shortcut must be the index of an earlier layer, not {layer.shortcut!r}")
                behaviour["shortcut"] = described[layer.shortcut]["name"]
            if isinstance(layer, layers.Convolution) and layer.pool > 1:
                behaviour["pool"] = layer.pool
            weight = layer.synapses.weight
            if isinstance(layer, layers.Convolution):
                described.append({"kind": "convolution", "name": name, "channels": len(weight),
                                  "kernel": weight.shape[2], "stride": layer.synapses.stride,
                                  "padding": layer.synapses.padding, **behaviour})
            else:
                described.append({"kind": "fully-connected", "name": name, "neurons": len(weight), **behaviour})
        return {"input": {"encoding": self.source.encoding.value, "channels": self.source.channels,
                          "height": self.source.height, "width": self.source.width,
                          "zero_point": self.source.zero_point, "scale": self.scale},
                "timesteps": self.timesteps, "layers": described}

    def forward(self, images: Tensor, spikes: list[Tensor] | None = None, *, by_step: bool = False,
                attached: list[Tensor] | None = None) -> Tensor:
        """Return scores, float32 ``[B, classes]``, or ``[T, B, classes]`` with ``by_step``.

        Parameters
        ----------
        images : ``[B, C, H, W]`` pixels 0 to 255 (uint8 or float), or events 0 and 1 ``[B, T, C, H, W]``
        spikes : list, optional
            The spike maps ``[T, B, H, W, C]`` of all layers before the readout are appended to it.
        by_step : bool
            Return the scores of each timestep; their mean is what is returned otherwise.
        attached : list, optional
            Like ``spikes``, with their gradients.
        """
        if self.source.encoding is Encoding.EVENTS:
            maps = images.float().movedim(1, 0).movedim(2, -1)
        else:
            maps = ((images.float() - self.source.zero_point) * self.scale).movedim(1, -1)[None]
        maps = maps.contiguous()
        added: dict[int, Tensor] = {}
        for index, layer in enumerate(self._layers()):
            if isinstance(layer, layers.Readout):
                return layer.by_step(maps) if by_step else layer(maps)
            shortcut = _shortcut(layer)
            if shortcut is not None:
                maps = maps + added[shortcut]
            maps = layer(maps)
            if index in self._sources:
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

    def synapses(self) -> Iterator[layers.TernaryConv2d | layers.TernaryLinear]:
        """Iterate over the weighted parts of all layers, in order."""
        for module in self.modules():
            if isinstance(module, layers.TernaryConv2d | layers.TernaryLinear):
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
        """Return the network as data, with its codes frozen; raises :exc:`CheckpointError` if they are not codes."""
        if not all(part.quantiser.discrete for part in self.synapses()):
            raise CheckpointError("weights must be ternary or binary for a checkpoint, not float")
        tensors: dict[str, npt.NDArray[Any]] = {}
        for layer, described in zip(self._layers(), self.architecture["layers"], strict=True):
            if isinstance(layer, layers.OrPool):
                continue
            name = described["name"]
            weight = layer.synapses.weight.detach().cpu()
            codes, scale = layer.synapses.quantiser.codes_and_scale(
                weight, per_channel=not isinstance(layer, layers.Readout))
            tensors[f"{name}.weight"] = weight.numpy()
            tensors[f"{name}.ternary"] = codes.to(torch.int8).numpy()
            tensors[f"{name}.alpha"] = scale.numpy()
            if isinstance(layer, layers.Readout):
                continue
            norm, pif = layer.norm, layer.neurons
            if pif.theta.dim() and pif.initial:
                raise CheckpointError(f"{name} must have one threshold for the layer when its membranes start above 0")
            for part, value in (("gamma", norm.weight), ("beta", norm.bias), ("mean", norm.running_mean),
                                ("variance", norm.running_var), ("theta", pif.theta)):
                assert value is not None
                tensors[f"{name}.{part}"] = value.detach().cpu().numpy()
            first = pif.theta.detach().cpu().reshape(-1)[0]
            tensors[f"{name}.initial"] = np.asarray((first * pif.initial).numpy(), dtype=np.float32)
        return Checkpoint(architecture=self.architecture, tensors=tensors, provenance=provenance or {})


def build(architecture: Mapping[str, Any]) -> SpikingNetwork:
    """Return an untrained network of the architecture of a checkpoint or a recipe; raises :exc:`CheckpointError`."""
    chain: list[Layer] = []
    timesteps = architecture["timesteps"]
    for index, (layer, shape, output) in enumerate(layer_shapes(architecture)):
        if layer["kind"] == "or-pool":
            chain.append(layers.OrPool(layer["size"]))
        elif layer["kind"] == "readout":
            chain.append(layers.Readout(shape[0] * shape[1] * shape[2], layer["classes"]))
        else:
            behaviour = {"timesteps": timesteps, "reset": Reset(layer["reset"]), "leak_shift": layer["leak_shift"],
                         "epsilon": layer["epsilon"], "shortcut": shortcut_sources(architecture).get(index)}
            if layer["kind"] == "convolution":
                chain.append(layers.Convolution(shape[0], output[0], layer["kernel"], stride=layer["stride"],
                                                padding=layer["padding"], pool=layer.get("pool", 1), **behaviour))
            else:
                chain.append(layers.FullyConnected(shape[0] * shape[1] * shape[2], output[0], **behaviour))
    source = architecture["input"]
    described = Input(encoding=Encoding(source["encoding"]), channels=source["channels"], height=source["height"],
                      width=source["width"], zero_point=source["zero_point"])
    return SpikingNetwork(described, chain, timesteps=timesteps, scale=source["scale"])


@torch.no_grad()
def from_checkpoint(checkpoint: Checkpoint) -> SpikingNetwork:
    """Return the trained network of a checkpoint, to go on training or to compare with; raises :exc:`CheckpointError`.

    Training adapts what a network of :mod:`train.layers` has: thresholds of a layer, no bias before BatchNorm.
    """
    network = build(checkpoint.architecture)
    for layer, described in zip(network._layers(), checkpoint.architecture["layers"], strict=True):
        if isinstance(layer, layers.OrPool):
            continue
        name = described["name"]

        def get(part: str, name: str = name) -> Tensor:
            return torch.from_numpy(np.array(checkpoint.tensors[f"{name}.{part}"]))

        layer.synapses.weight.copy_(get("weight"))
        if isinstance(layer, layers.Readout):
            continue
        if f"{name}.bias" in checkpoint.tensors or get("theta").dim():
            raise CheckpointError(f"{name} must have no bias and one threshold to be trained")
        norm, pif = layer.norm, layer.neurons
        assert norm.running_mean is not None
        assert norm.running_var is not None
        for target, part in ((norm.weight, "gamma"), (norm.bias, "beta"), (norm.running_mean, "mean"),
                             (norm.running_var, "variance"), (pif.theta, "theta")):
            target.copy_(get(part))
        pif.initial = float(get("initial") / get("theta"))
    return network
