"""The named steps from a checkpoint to a network file: load, ternarise, fold, certify, size, pack, verify."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import network_file, widths
from arch.architecture import input_of, projection_sources, shortcut_sources, weighted_layers
from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Layer,
    Network,
    Neurons,
    OrPool,
    Projection,
    Readout,
    Reset,
    projection_of,
)
from arch.projection import joined_filters
from export.certificate import RealValueError, round_leaky
from export.certificate import certify as certify_layer
from export.evaluation import layer_spikes
from export.fitting import FitError, Room, fit_channels
from export.folding import FoldedLayer, real_neurons, score_sign, trained_codes
from export.sources.rational import Trained
from reference.network import Reference
from support.errors import InputError

__all__ = ["CertifiedLayer", "ExportError", "LayerReport", "Verification", "accuracy", "assemble", "certify",
           "check_verification", "noise_images", "pack", "size", "ternarise", "verify"]

#: Images that are verified at once.
_BATCH = 100
#: Synapses times timesteps of the images of noise that a network is verified on: two cores compute them in a second.
_NOISE_OPERATIONS = 5_000_000_000


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
    #: Number of trained weights; 0 for an OR-pool.
    trained: int = 0

    @property
    def channels(self) -> int:
        """Number of channels with neurons."""
        return self.layer.neurons.channels if isinstance(self.layer, Convolution | FullyConnected) else 0

    @property
    def leaky(self) -> bool:
        """Whether its neurons leak, so that their integers are the definition."""
        return isinstance(self.layer, Convolution | FullyConnected) and self.layer.neurons.leak_shift is not None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerReport:
    """One row of the table."""

    name: str
    kind: str
    #: Output map: channels, height, width.
    shape: tuple[int, int, int]
    #: Number of trained weights, and share of zeros among them and their copies; None for an OR-pool.
    weights: int | None = None
    sparsity: float | None = None
    #: Share of neurons and timesteps with a spike on the calibration sample; None without one.
    firing: float | None = None
    fraction: int | None = None
    current_bits: int | None = None
    membrane_bits: int | None = None
    exact: bool | None = None
    inexact: tuple[int, ...] = ()
    leaky: bool = False
    #: Bytes in the network file: packed weights and 64-bit constants.
    bytes: int | None = None
    #: Bytes of weights, gain, offset and threshold in float32, divided by :attr:`bytes`.
    compression: float | None = None
    #: Spikes that differ from the real-valued layer on the same inputs, of how many.
    mismatches: int | None = None
    compared: int | None = None


def ternarise(checkpoint: Trained) -> dict[str, float]:
    """Take the frozen codes, and return each layer's share of zeros; an identity has no codes of its own.

    Raises
    ------
    :exc:`ExportError`
        If no weight of a layer counts, because codes, scales or gains of BatchNorm are zero: such a layer hides every
        image from the layers behind it.
    """
    shares = {}
    indices = {layer.get("name"): index for index, layer in enumerate(checkpoint.architecture["layers"])}
    for name, (layer, _) in weighted_layers(checkpoint.architecture).items():
        codes = trained_codes(checkpoint, name)
        shares[name] = float(np.mean(codes == 0))
        sees = joined_filters(codes, checkpoint.projection(indices[name])).any(axis=1)
        if not sees.any():
            raise ExportError(f"layer {name} must have a weight that is not zero")
        if layer["kind"] == "readout":
            if not score_sign(checkpoint, name):
                raise ExportError(f"layer {name} must have a scale that is not zero: every score would be 0")
            continue
        gains = [neuron.sign for neuron in real_neurons(checkpoint, layer, first=indices[name] == 0)]
        if not (np.array(gains) * sees).any():
            raise ExportError(f"layer {name} must have a channel whose scale and gain are not zero: its spikes would "
                              f"not depend on the image")
    return shares


def certify(checkpoint: Trained, folded: list[FoldedLayer], *, max_fraction: int,
            room: Room | None = None) -> list[CertifiedLayer]:
    """Find integer constants for all layers; exact ones wherever they exist with F up to ``max_fraction``.

    With ``room``, F is at most that of the circuit, and a channel without exact constants that fit gets the nearest
    ones that do; raises :exc:`export.fitting.FitError` if there are none. Leaky neurons are not fitted.
    """
    if room is not None:
        max_fraction = min(max_fraction, room.fraction)
    constant = checkpoint.architecture["input"]["encoding"] == "pixels"
    timesteps = checkpoint.architecture["timesteps"]
    certified = []
    for entry in folded:
        layer = entry.layer
        if entry.weights is None:
            certified.append(CertifiedLayer(layer=OrPool(size=layer["size"]), name=layer.get("name", layer["kind"])))
            continue
        if entry.neurons is None:
            certified.append(CertifiedLayer(layer=Readout(weights=entry.weights), name=layer["name"],
                                            trained=entry.trained))
            continue
        inputs = (widths.spike_range(summed="shortcut" in layer) if entry.index
                  else widths.input_range(input_of(checkpoint.architecture)))
        currents = widths.channel_currents(joined_filters(entry.weights, entry.projection), inputs,
                                           pool=layer.get("pool", 1))
        exact: bool | None = None
        inexact: list[int] = []
        try:
            if layer["leak_shift"] is None:
                neurons, inexact = certify_layer(
                    entry.neurons, currents.low, currents.high, timesteps=timesteps, reset=Reset(layer["reset"]),
                    constant=constant, max_fraction=max_fraction)
                if room is not None:
                    neurons, inexact = fit_channels(entry.neurons, neurons, inexact, currents, timesteps=timesteps,
                                                    constant=constant, room=room)
                exact = not inexact
            else:
                neurons = round_leaky(entry.neurons, fraction=max_fraction, reset=Reset(layer["reset"]),
                                      leak_shift=layer["leak_shift"])
        except (RealValueError, FitError) as error:
            raise type(error)(f"layer {layer['name']}, {error}") from None
        certified.append(CertifiedLayer(layer=_built(checkpoint, entry, neurons), name=layer["name"], exact=exact,
                                        inexact=tuple(inexact), trained=entry.trained))
        constant = False
    return certified


def _built(checkpoint: Trained, entry: FoldedLayer, neurons: Neurons) -> Convolution | FullyConnected:
    """Return the integer layer of the folded one, an average pooling of its input in the kernel."""
    layer, architecture = entry.layer, checkpoint.architecture
    assert entry.weights is not None
    shortcut = shortcut_sources(architecture).get(entry.index)
    if layer["kind"] != "convolution":
        return FullyConnected(weights=entry.weights, neurons=neurons, shortcut=shortcut)
    size = layer.get("input_pool", 1)
    projection = None if entry.projection is None else Projection(
        source=projection_sources(architecture)[entry.index], weights=entry.projection,
        stride=layer["projection"]["stride"])
    return Convolution(weights=entry.weights, neurons=neurons, stride=layer["stride"] * size,
                       padding=layer["padding"] * size, pool=layer.get("pool", 1), shortcut=shortcut,
                       projection=projection)


def assemble(checkpoint: Trained, certified: list[CertifiedLayer], metadata: Mapping[str, Any]) -> Network:
    """Put the integer network together; ``metadata`` and the certificate go into its metadata."""
    layers = [{"layer": index, "name": entry.name, "exact": entry.exact, "inexact_channels": list(entry.inexact),
               "fraction": entry.layer.neurons.fraction}
              for index, entry in enumerate(certified) if isinstance(entry.layer, Convolution | FullyConnected)]
    # Leaky layers are not certified: the network is neither exact nor known to differ.
    states = {layer["exact"] for layer in layers}
    exact = False if False in states else None if None in states else True
    return Network(input=input_of(checkpoint.architecture), layers=tuple(entry.layer for entry in certified),
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
        projection = projection_of(layer)
        beside = None if projection is None else projection.weights
        packed = sum(-(-weights.size // 4) for weights in (layer.weights, beside) if weights is not None)
        packed += 0 if neurons is None else 3 * 8 * neurons.channels
        floats = 4 * (entry.trained + (0 if neurons is None else 3 * neurons.channels))
        own = joined_filters(layer.weights, None if projection is None or projection.diagonal else beside)
        rows.append(LayerReport(
            name=entry.name, kind=layer.kind, shape=shape, weights=entry.trained, sparsity=float(np.mean(own == 0)),
            fraction=None if neurons is None else neurons.fraction,
            current_bits=of.score.bits if of.score else of.current.bits,
            membrane_bits=of.membrane.bits if of.membrane else None,
            exact=entry.exact, inexact=entry.inexact, leaky=entry.leaky, bytes=packed, compression=floats / packed))
    return rows


def pack(network: Network) -> bytes:
    """Return the content of the network file."""
    return network_file.dumps(network)


def noise_images(network: Network) -> int:
    """Return on how many images of noise a network is verified: 4 to 32, the fewer the larger the network is.

    The certificate is the proof; the images are to show a fault of the export, and every one of them has all layers.
    """
    operations = sum(math.prod(result) * getattr(layer, "pool", 1) ** 2 * layer.weights[0].size * network.timesteps
                     for layer, _, result in network.shapes() if not isinstance(layer, OrPool))
    return min(max(_NOISE_OPERATIONS // operations, 4), 32)


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
    #: Channels in which a spike differs, per layer, ascending.
    channels: tuple[tuple[int, ...], ...]


def verify(checkpoint: Trained, content: bytes, images: npt.NDArray[Any]) -> Verification:
    """Decode the packed network, and compare each layer with the real-valued one on the spikes of ``images``.

    Each layer of the real-valued network sees the reference's spikes of the layers before it, so a mismatch is counted
    in the layer where it arises; without any, all layers are equal from end to end.
    """
    network = network_file.loads(content)
    reference = Reference(network)
    pixels = network.input.encoding is Encoding.PIXELS
    sources = shortcut_sources(checkpoint.architecture)
    projected = projection_sources(checkpoint.architecture)
    count = len(network.layers) - 1
    spikes, mismatches, compared, places = ([0] * count for _ in range(4))
    channels: list[set[int]] = [set() for _ in range(count)]
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
                beside = kept[projected[index]] if index in projected else None
                wrong = layer_spikes(checkpoint, index, maps, beside) != result
                mismatches[index] += int(np.count_nonzero(wrong))
                channels[index] |= set(np.flatnonzero(wrong.any(axis=(0, 1, 3, 4))).tolist())
                compared[index] += result.size
            maps = result
    return Verification(spikes=tuple(spikes), mismatches=tuple(mismatches), compared=tuple(compared),
                        places=tuple(places), channels=tuple(tuple(sorted(found)) for found in channels))


def check_verification(rows: Sequence[LayerReport], verification: Verification) -> None:
    """Check that no spike of a certified layer differs; raises :exc:`ExportError`.

    The certificate is computed with rationals and the real-valued layer in float64. They disagree where the parameters
    put a current so close to the threshold that float64 cannot tell the two apart.
    """
    for index, row in enumerate(rows[:-1]):
        if row.exact and verification.mismatches[index]:
            raise ExportError(
                f"layer {row.name}, channel {verification.channels[index][0]}: spikes must equal those of the "
                f"real-valued layer, which they are certified to, but {verification.mismatches[index]} of "
                f"{verification.compared[index]} differ: float64 rounds at a threshold. Give the layer no BatchNorm "
                f"(epsilon null) or a larger epsilon, or change the threshold of the channel slightly")


def accuracy(network: Network, images: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float:
    """Return the share of images that the integer reference classifies as labelled."""
    return float(np.mean(Reference(network).run(images).classes == labels))
