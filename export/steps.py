"""The named steps from a checkpoint to a network file: load, ternarise, fold, certify, size, pack, verify."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import network_file, widths
from arch.checkpoint import Checkpoint, shortcut_sources
from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Layer,
    Network,
    OrPool,
    Readout,
    Reset,
)
from export.certificate import certify as certify_layer
from export.certificate import round_leaky
from export.evaluation import layer_spikes
from export.folding import FoldedLayer, fold_input
from sim.reference import Reference
from support.errors import InputError

__all__ = ["CertifiedLayer", "ExportError", "LayerReport", "Verification", "accuracy", "assemble", "certify",
           "pack", "size", "ternarise", "verify"]

#: Images that are verified at once.
_BATCH = 100


class ExportError(InputError):
    """A checkpoint cannot be exported. The message is one line."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CertifiedLayer:
    """An integer layer and what is proven about it."""

    #: The layer.
    layer: Layer
    #: Its name in the checkpoint; its kind for an OR-pool without one.
    name: str
    #: Whether all spikes equal the real-valued layer's for every input; None where there is nothing to prove (OR-pool,
    #: readout) or where the integers are the definition (leak).
    exact: bool | None = None
    #: Channels in which they may differ.
    inexact: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerReport:
    """One row of the table."""

    name: str
    kind: str
    #: Output map: channels, height, width.
    shape: tuple[int, int, int]
    #: Number of weights, and share of zeros among them; None for an OR-pool.
    weights: int | None = None
    sparsity: float | None = None
    #: Share of neurons and timesteps with a spike on the calibration sample; None without one.
    firing: float | None = None
    fraction: int | None = None
    current_bits: int | None = None
    membrane_bits: int | None = None
    exact: bool | None = None
    inexact: tuple[int, ...] = ()
    #: Bytes in the network file: packed weights and 64-bit constants.
    bytes: int | None = None
    #: Bytes of weights, gain, offset and threshold in float32, divided by :attr:`bytes`.
    compression: float | None = None
    #: Spikes that differ from the real-valued layer on the same inputs, of how many.
    mismatches: int | None = None
    compared: int | None = None


def ternarise(checkpoint: Checkpoint) -> dict[str, float]:
    """Take the frozen codes, and return each layer's share of zeros; raises :exc:`ExportError` if all are zero."""
    shares = {}
    for name, codes in ((key.removesuffix(".ternary"), value) for key, value in checkpoint.tensors.items()
                        if key.endswith(".ternary")):
        shares[name] = float(np.mean(codes == 0))
        if shares[name] == 1:
            raise ExportError(f"layer {name} must have a weight that is not zero")
    return shares


def certify(checkpoint: Checkpoint, folded: list[FoldedLayer], *, max_fraction: int) -> list[CertifiedLayer]:
    """Find integer constants for all layers; exact ones wherever they exist with F up to ``max_fraction``."""
    sources = shortcut_sources(checkpoint.architecture)
    constant = checkpoint.architecture["input"]["encoding"] == "pixels"
    timesteps = checkpoint.architecture["timesteps"]
    certified = []
    for entry in folded:
        layer = entry.layer
        if entry.weights is None:
            certified.append(CertifiedLayer(layer=OrPool(size=layer["size"]), name=layer.get("name", layer["kind"])))
            continue
        if entry.neurons is None:
            certified.append(CertifiedLayer(layer=Readout(weights=entry.weights), name=layer["name"]))
            continue
        shortcut = sources.get(entry.index)
        inputs = (widths.spike_range(summed=shortcut is not None) if entry.index
                  else widths.input_range(fold_input(checkpoint)))
        currents = widths.channel_currents(entry.weights, inputs, pool=layer.get("pool", 1))
        exact: bool | None = None
        inexact: list[int] = []
        if layer["leak_shift"] is None:
            neurons, inexact = certify_layer(
                entry.neurons, currents.low, currents.high, timesteps=timesteps, reset=Reset(layer["reset"]),
                constant=constant, max_fraction=max_fraction)
            exact = not inexact
        else:
            neurons = round_leaky(entry.neurons, fraction=max_fraction, reset=Reset(layer["reset"]),
                                  leak_shift=layer["leak_shift"])
        built: Layer
        if layer["kind"] == "convolution":
            built = Convolution(weights=entry.weights, neurons=neurons, stride=layer["stride"],
                                padding=layer["padding"], pool=layer.get("pool", 1), shortcut=shortcut)
        else:
            built = FullyConnected(weights=entry.weights, neurons=neurons, shortcut=shortcut)
        certified.append(CertifiedLayer(layer=built, name=layer["name"], exact=exact, inexact=tuple(inexact)))
        constant = False
    return certified


def assemble(checkpoint: Checkpoint, certified: list[CertifiedLayer], metadata: Mapping[str, Any]) -> Network:
    """Put the integer network together; ``metadata`` and the certificate go into its metadata."""
    layers = [{"layer": index, "name": entry.name, "exact": entry.exact, "inexact_channels": list(entry.inexact),
               "fraction": entry.layer.neurons.fraction}
              for index, entry in enumerate(certified) if isinstance(entry.layer, Convolution | FullyConnected)]
    exact = all(layer["exact"] is True for layer in layers)
    return Network(input=fold_input(checkpoint), layers=tuple(entry.layer for entry in certified),
                   timesteps=checkpoint.architecture["timesteps"],
                   metadata={**metadata, "exact": exact, "certificate": {"layers": layers}})


def size(network: Network, certified: list[CertifiedLayer]) -> list[LayerReport]:
    """Derive widths and sizes of all layers from the actual weights."""
    rows = []
    for entry, (layer, _, shape), of in zip(certified, network.shapes(), widths.layer_widths(network), strict=True):
        if isinstance(layer, OrPool) or of is None:
            rows.append(LayerReport(name=entry.name, kind=layer.kind, shape=shape))
            continue
        neurons = None if isinstance(layer, Readout) else layer.neurons
        packed = -(-layer.weights.size // 4) + (0 if neurons is None else 3 * 8 * neurons.channels)
        floats = 4 * (layer.weights.size + (0 if neurons is None else 3 * neurons.channels))
        rows.append(LayerReport(
            name=entry.name, kind=layer.kind, shape=shape, weights=layer.weights.size,
            sparsity=float(np.mean(layer.weights == 0)), fraction=None if neurons is None else neurons.fraction,
            current_bits=of.score.bits if of.score else of.current.bits,
            membrane_bits=of.membrane.bits if of.membrane else None,
            exact=entry.exact, inexact=entry.inexact, bytes=packed, compression=floats / packed))
    return rows


def pack(network: Network) -> bytes:
    """Return the content of the network file."""
    return network_file.dumps(network)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What the packed network did on a sample."""

    #: Per layer: spikes, spikes that differ from the real-valued layer on the same inputs, and of how many; zeros for
    #: an OR-pool or a readout.
    spikes: tuple[int, ...]
    mismatches: tuple[int, ...]
    compared: tuple[int, ...]
    #: Neurons times timesteps times images, per layer.
    places: tuple[int, ...]


def verify(checkpoint: Checkpoint, content: bytes, images: npt.NDArray[Any]) -> Verification:
    """Decode the packed network, and compare each layer with the real-valued one on the spikes of ``images``.

    Each layer of the real-valued network sees the reference's spikes of the layers before it, so a mismatch is counted
    in the layer where it arises; without any, all layers are equal from end to end.
    """
    network = network_file.loads(content)
    reference = Reference(network)
    pixels = network.input.encoding is Encoding.PIXELS
    sources = shortcut_sources(checkpoint.architecture)
    count = len(network.layers) - 1
    spikes, mismatches, compared, places = ([0] * count for _ in range(4))
    for start in range(0, len(images), _BATCH):
        batch = images[start:start + _BATCH]
        kept = reference.run(batch, spikes=True).spikes
        assert kept is not None
        maps: npt.NDArray[Any] = batch[:, None].astype(np.int64) - network.input.zero_point if pixels else batch
        for index, (layer, result) in enumerate(zip(network.layers, kept, strict=False)):
            if index in sources:
                maps = maps.astype(np.int64) + kept[sources[index]]
            spikes[index] += int(np.count_nonzero(result))
            places[index] += result.size
            if not isinstance(layer, OrPool):
                mismatches[index] += int(np.count_nonzero(layer_spikes(checkpoint, index, maps) != result))
                compared[index] += result.size
            maps = result
    return Verification(spikes=tuple(spikes), mismatches=tuple(mismatches), compared=tuple(compared),
                        places=tuple(places))


def accuracy(network: Network, images: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float:
    """Return the share of images that the integer reference classifies as labelled."""
    return float(np.mean(Reference(network).run(images).classes == labels))
