"""Ranges of accumulators and membranes of a network with spike times, from its weights: no input can leave them."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from arch.network import NetworkError
from arch.ttfs.code import TimeCode
from arch.ttfs.network import EarliestPool, Network, Readout
from arch.widths import ChannelRange, Range

__all__ = ["MAX_MEMBRANE", "LayerWidths", "layer_widths", "membrane_range"]

#: Membranes are below this in magnitude, and float64 holds every partial sum of them exactly.
MAX_MEMBRANE = 2**53


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LayerWidths:
    """Ranges that no input can leave, of a layer with weights; each end is reached by some spike times."""

    #: Every accumulator A[r], and every partial sum of it.
    accumulator: Range
    #: Membranes V, and every partial sum of their terms; of a readout, the scores.
    membrane: Range
    #: Thresholds; None for a readout.
    threshold: Range | None


def _sums(weights: npt.NDArray[np.int8], magnitudes: npt.NDArray[np.int64]) -> ChannelRange:
    """Range of each channel's sum where a weight of code ``+-k`` adds 0 to ``magnitudes[k]``, or subtracts it.

    Python's integers sum: a file may hold more weights than fit in int64.
    """
    lows, highs = [], []
    for row in weights.reshape(len(weights), -1):
        counts = np.bincount(row.astype(np.int64) + len(magnitudes) - 1, minlength=2 * len(magnitudes) - 1)
        lows.append(-sum(int(count) * int(size) for count, size in
                         zip(counts[len(magnitudes) - 2::-1], magnitudes[1:], strict=True)))
        highs.append(sum(int(count) * int(size) for count, size in
                         zip(counts[len(magnitudes):], magnitudes[1:], strict=True)))
    if max(-min(lows), max(highs)) >= MAX_MEMBRANE:
        raise NetworkError(f"membrane must stay below 2^53, and may reach {max(-min(lows), max(highs))}: "
                           f"use a smaller fraction")
    return ChannelRange(np.array(lows, dtype=np.int64), np.array(highs, dtype=np.int64))


def membrane_range(code: TimeCode, weights: npt.NDArray[np.int8]) -> ChannelRange:
    """Range of the membrane of each output channel (the first axis of ``weights``), in units of ``2^-unit_bits``.

    Both ends are reached, by spikes at time 0 of all weights of one sign. Raises :exc:`NetworkError` if a membrane may
    reach :data:`MAX_MEMBRANE`.
    """
    return _sums(weights, code.products()[:, 0])


def layer_widths(network: Network) -> Iterator[LayerWidths | None]:
    """Iterate over the layers' widths, in order; None for a pool.

    Raises
    ------
    :exc:`NetworkError`
        If a membrane may reach :data:`MAX_MEMBRANE`.
    """
    code = network.code
    exponents = code.exponent(np.arange(code.timesteps)[None], np.arange(code.levels)[:, None])
    terms = np.int64(1) << (code.shift - exponents // code.residues)
    for index, layer in enumerate(network.layers):
        if isinstance(layer, EarliestPool):
            yield None
            continue
        try:
            membrane = membrane_range(code, layer.weights).total
        except NetworkError as error:
            raise NetworkError(f"layer {index} ({layer.kind}): {error}") from None
        accumulators = []
        for residue in range(code.residues):
            magnitudes = np.where(exponents % code.residues == residue, terms, 0).max(axis=1)
            accumulators.append(_sums(layer.weights, np.concatenate([[0], magnitudes])).total)
        yield LayerWidths(
            accumulator=Range(min(entry.low for entry in accumulators), max(entry.high for entry in accumulators)),
            membrane=membrane,
            threshold=None if isinstance(layer, Readout) else Range(int(layer.threshold.min()),
                                                                    int(layer.threshold.max())))
