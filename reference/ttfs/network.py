"""The bit-exact reference of networks with time-to-first-spike coding.

Spikes are times: 0 to T - 1, or T for none. The D accumulators of every neuron are matrix products in float64, exact
because every partial sum is an integer below 2^53 (:func:`arch.ttfs.widths.layer_widths` refuses a network where a
membrane may not be, and accumulators are smaller); everything after them is integer arithmetic.
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.images import check_array
from arch.network import NetworkError
from arch.ttfs.code import TimeCode
from arch.ttfs.network import Convolution, EarliestPool, FullyConnected, Layer, Network, Readout
from arch.ttfs.widths import layer_widths
from reference.network import classify

__all__ = ["Internals", "Reference", "Result", "first_spike"]

#: Images computed together.
_BATCH = 32

Times = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Internals:
    """What one layer of neurons computed on the way to its spikes."""

    #: Accumulators A, ``int64[images, D, channels, height, width]``.
    accumulators: Integers
    #: Membranes V, ``int64[images, channels, height, width]``.
    membranes: Integers


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Result:
    """What the network computed for some images."""

    #: Membranes of the readout in units of ``2^-unit_bits``, ``int64[images, classes]``.
    scores: Integers
    #: Index of the largest score, the lowest one on a tie, ``int64[images]``.
    classes: Integers
    #: Spike times of the input and of each layer but the readout, ``uint8[images, channels, height, width]``; None if
    #: not asked for.
    times: tuple[Times, ...] | None = None
    #: Internals of each layer but the readout, None for a pool; None if not asked for.
    internals: tuple[Internals | None, ...] | None = None


def first_spike(values: npt.NDArray[Any], threshold: Integers) -> Times:
    """Return the first time at which ``values`` reach a threshold that never rises; T if they never do.

    Parameters
    ----------
    values : integers ``[..., channels]``
    threshold : ``int64[channels, T]``

    Returns
    -------
    times : the shape of ``values``
    """
    times = np.zeros(values.shape, dtype=np.uint8)
    for column in threshold.T:
        times += values < column
    return times


class Reference:
    """Computes a network for batches of images, exactly.

    Parameters
    ----------
    network : the network

    Raises
    ------
    :exc:`NetworkError`
        If a membrane may reach :data:`arch.ttfs.widths.MAX_MEMBRANE`.
    """

    def __init__(self, network: Network):
        self.network = network
        for _ in layer_widths(network):
            pass
        self._stages = [None if isinstance(layer, EarliestPool) else _Stage(layer, network.code)
                        for layer in network.layers]

    def run(self, images: npt.NDArray[np.uint8], *, times: bool = False, internals: bool = False) -> Result:
        """Compute scores and classes of ``images``.

        Parameters
        ----------
        images : ``uint8[images, channels, height, width]``
        times : bool
            Return every spike time too.
        internals : bool
            Return every layer's accumulators and membranes too: 8 (D + 1) bytes per neuron and image.

        Raises
        ------
        :exc:`NetworkError`
            If type or shape of the images is not that of the network's input.
        """
        shape = self.network.input.shape
        check_array(images)
        if images.dtype != np.uint8:
            raise NetworkError(f"images must be uint8, not {images.dtype}")
        if images.shape[1:] != shape:
            raise NetworkError(f"images must have shape (n, {', '.join(map(str, shape))}), not {images.shape}")
        batches = [self._batch(images[start:start + _BATCH], times, internals)
                   for start in range(0, max(len(images), 1), _BATCH)]
        scores = np.concatenate([batch.scores for batch in batches])
        return Result(
            scores=scores, classes=classify(scores),
            times=tuple(np.concatenate(maps) for maps in zip(*(batch.times or () for batch in batches), strict=True))
            if times else None,
            internals=_join(batches) if internals else None)

    def _batch(self, images: npt.NDArray[np.uint8], keep_times: bool, keep_internals: bool) -> Result:
        # Maps are [images, height, width, channels] in here.
        threshold = self.network.input.threshold
        maps = first_spike(images.transpose(0, 2, 3, 1).astype(np.int64),
                           np.broadcast_to(threshold, (images.shape[1], len(threshold))))
        kept, internals = [_outward(maps)] if keep_times else [], []
        for layer, stage in zip(self.network.layers, self._stages, strict=True):
            details = None
            if stage is None:
                assert isinstance(layer, EarliestPool)
                maps = _earliest(maps, layer.size)
            else:
                accumulators = stage.accumulators(maps)
                membranes = stage.membranes(accumulators)
                if isinstance(layer, Readout):
                    break
                assert isinstance(layer, Convolution | FullyConnected)
                maps = first_spike(membranes, layer.threshold)
                if keep_internals:
                    details = Internals(accumulators=np.ascontiguousarray(accumulators.transpose(1, 0, 4, 2, 3)),
                                        membranes=_outward(membranes))
            if keep_times:
                kept.append(_outward(maps))
            if keep_internals:
                internals.append(details)
        scores = membranes.reshape(len(images), self.network.classes)
        return Result(scores=scores, classes=classify(scores), times=tuple(kept), internals=tuple(internals))


def _outward(maps: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn ``[images, height, width, channels]`` into ``[images, channels, height, width]``."""
    return np.ascontiguousarray(maps.transpose(0, 3, 1, 2))


def _join(batches: list[Result]) -> tuple[Internals | None, ...]:
    joined: list[Internals | None] = []
    for layers in zip(*(batch.internals or () for batch in batches), strict=True):
        parts = [layer for layer in layers if layer is not None]
        joined.append(Internals(accumulators=np.concatenate([part.accumulators for part in parts]),
                                membranes=np.concatenate([part.membranes for part in parts])) if parts else None)
    return tuple(joined)


def _earliest(maps: Times, size: int) -> Times:
    height, width = maps.shape[1] // size, maps.shape[2] // size
    windows = maps[:, :height * size, :width * size].reshape(len(maps), height, size, width, size, maps.shape[3])
    return windows.min(axis=(2, 4))


class _Stage:
    """A layer with its weights as matrices of powers of two, one for each ``q mod p``.

    A spike at ``t = tau h + b`` through a weight with ``q = p j + c`` has ``e div D = h + j`` plus a carry, and
    ``e mod D``, that depend on b and c only: so the inputs with ``t mod tau = b``, as powers of two, times the matrix
    of c, are a part of one accumulator, up to a shift.
    """

    def __init__(self, layer: Convolution | FullyConnected | Readout, code: TimeCode):
        self._layer: Layer = layer
        self._code = code
        weights = layer.weights.astype(np.int64)
        if weights.ndim == 4:
            weights = weights.transpose(0, 2, 3, 1)
        weights = weights.reshape(len(weights), -1).T
        self._inputs, self._outputs = weights.shape
        levels = np.abs(weights) - 1
        self._matrices = {}
        for part in range(min(code.p, code.levels)):
            largest = (code.levels - 1 - part) // code.p
            chosen = (levels >= 0) & (levels % code.p == part)
            powers = np.int64(1) << (largest - np.where(chosen, levels, 0) // code.p).clip(0)
            self._matrices[part] = largest, (np.sign(weights) * chosen * powers).astype(np.float64)

    def accumulators(self, maps: Times) -> Integers:
        """Sum the inputs' powers of two: ``int64[D, images, height, width, channels]``."""
        code, layer = self._code, self._layer
        if isinstance(layer, Convolution):
            pad = layer.padding
            padded = np.pad(maps, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=code.timesteps)
            windows = np.lib.stride_tricks.sliding_window_view(padded, (layer.kernel, layer.kernel), axis=(1, 2))
            windows = windows[:, ::layer.stride, ::layer.stride].transpose(0, 1, 2, 4, 5, 3)
            shape: tuple[int, ...] = windows.shape[:3]
            rows = windows.reshape(-1, self._inputs)
        else:
            # Weights see the map flattened as channel, row, column.
            shape = len(maps), 1, 1
            rows = maps.transpose(0, 3, 1, 2).reshape(-1, self._inputs)
        sums = np.zeros((code.residues, len(rows), self._outputs), dtype=np.int64)
        times = np.arange(code.timesteps + 1)
        for offset in range(min(code.tau, code.timesteps)):
            latest = (code.timesteps - 1 - offset) // code.tau
            spiking = (times % code.tau == offset) & (times < code.timesteps)
            powers = np.where(spiking, np.ldexp(1.0, latest - times // code.tau), 0)
            plane = powers[rows]
            for part, (largest, matrix) in self._matrices.items():
                carry, residue = divmod(code.exponent(offset, part), code.residues)
                # Not negative: the last spike of the plane through the smallest weight of the part has e div D <= S.
                shift = code.shift - latest - largest - carry
                sums[residue] += (plane @ matrix).astype(np.int64) << shift
        return sums.reshape(code.residues, *shape, self._outputs)

    def membranes(self, accumulators: Integers) -> Integers:
        """Weigh the accumulators with the table: ``int64[images, height, width, channels]``."""
        table = np.array(self._code.powers, dtype=np.int64)
        return np.tensordot(table, accumulators, axes=1)
