"""A network of another package as a chain of nodes, with its numbers as they are: what every reader of one makes.

A reader (:mod:`export.sources.nir.graph`) states a network in these terms, whatever it was stored as;
:mod:`export.sources.translation` makes of it what the export certifies. Weights may be any real numbers here.
"""

import dataclasses
import re
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.network import MAX_LEAK_SHIFT, Reset, Shape
from support.errors import InputError

__all__ = [
    "Chain",
    "Convolution",
    "Flatten",
    "Linear",
    "Node",
    "Norm",
    "OrPool",
    "Pool",
    "SourceError",
    "SpikingNeurons",
    "exact",
    "per_channel",
    "rationals",
    "shift_of",
    "shown",
]


class SourceError(InputError):
    """A network of another package cannot be taken. The message is one line that names the node and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Norm:
    """BatchNorm of currents, with fixed statistics: ``gamma (I - mean) / sqrt(variance_epsilon) + beta``.

    All numbers are per channel.
    """

    gamma: tuple[Fraction, ...]
    beta: tuple[Fraction, ...]
    mean: tuple[Fraction, ...]
    #: Variance plus epsilon; positive.
    variance_epsilon: tuple[Fraction, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Convolution:
    """A convolution, zero padded on all sides."""

    #: The node's name in its package.
    name: str
    #: ``float[out, in, kernel, kernel]``.
    weight: npt.NDArray[Any]
    #: ``float[out]``, zeros without one.
    bias: npt.NDArray[Any]
    stride: int
    padding: int
    #: What its currents, with the bias, go through before any pooling; None without one.
    norm: Norm | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Linear:
    """A fully connected layer; it sees a flat map."""

    name: str
    #: ``float[out, in]``.
    weight: npt.NDArray[Any]
    #: ``float[out]``, zeros without one.
    bias: npt.NDArray[Any]
    #: What its currents, with the bias, go through; None without one.
    norm: Norm | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """Mean or sum of windows that do not overlap."""

    name: str
    #: Side of a window, in pixels.
    size: int
    #: Whether it is the mean; else the sum.
    mean: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Flatten:
    """The whole map in a row: channel, row, column."""

    name: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SpikingNeurons:
    """Integrate-and-fire neurons: in each timestep ``u = (1 - leak) u + gain I``, compared with ``theta``."""

    name: str
    #: Threshold per channel, or one for all; positive.
    theta: tuple[Fraction, ...]
    #: Factor of the input current per channel, or one for all.
    gain: tuple[Fraction, ...]
    #: Share of the membrane that is lost in a timestep, 0 (without leak) to 1.
    leak: Fraction = Fraction(0)
    #: Membrane before the first timestep per channel, or one for all.
    initial: tuple[Fraction, ...] = (Fraction(0),)
    #: What a spike does to the membrane; None where all neurons of the network do the same, which
    #: :class:`export.sources.rules.Rule` says.
    reset: Reset | None = None
    #: Whether all of this holds only as long as no current is larger than the threshold.
    small_currents: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OrPool:
    """The OR of windows of spikes that do not overlap; places that fill no window are dropped."""

    name: str
    #: Side of a window, in pixels.
    size: int


Node = Convolution | Linear | Pool | Flatten | SpikingNeurons | OrPool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """A network without branches."""

    #: Channels, height and width of the input; a flat input of N numbers has shape ``(1, 1, N)``.
    shape: Shape
    #: Whether the first node sees the input in a row.
    flat: bool
    nodes: tuple[Node, ...]


def per_channel(values: tuple[Fraction, ...], channels: int) -> tuple[Fraction, ...]:
    """Repeat a single value for all ``channels``."""
    return values * channels if len(values) == 1 else values


def rationals(values: npt.NDArray[Any]) -> list[Fraction]:
    """Return the exact values of a flat array of floats."""
    return [Fraction(float(value)) for value in np.ravel(values)]


def exact(text: str) -> Fraction:
    """Return the exact value of ``text``, such as ``1e-4``, ``0.5`` or ``1/255``; raises :exc:`ValueError`."""
    # An exponent of more digits is a number, too, and of so many digits that nobody would see the end of it.
    if len(text) > 40 or re.search(r"e[+-]?\d{4}", text.replace("_", ""), re.IGNORECASE):
        raise ValueError(text)
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise ValueError(text) from None


def shown(value: Fraction) -> str:
    """Return ``value`` for a message, rounded; a quotient of floats may be larger than any of them."""
    try:
        return f"{float(value):.6g}"
    except OverflowError:
        return f"{'-' if value < 0 else ''}1e{len(str(abs(int(value)))) - 1} or more"


def shift_of(share: Fraction) -> int | None:
    """Return k of a leak of ``share = 2^-k``, 1 to :data:`arch.network.MAX_LEAK_SHIFT`; None of any other share."""
    shift = share.denominator.bit_length() - 1
    return shift if share == Fraction(1, 2**shift) and 1 <= shift <= MAX_LEAK_SHIFT else None
