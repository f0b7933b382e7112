"""The exactness certificate: integer constants for real-valued neurons, and the proof that no spike changes.

A neuron adds the integer current of each timestep, and a bias, to its membrane, and spikes when the membrane reaches
the threshold. The training knows threshold theta, bias d, initial membrane v0 and the gain g of the currents as real
numbers; the hardware stores integers Theta, B and V0 with F fractional bits, and 2^F in the place of g. Rounding could
change a spike, and one spike can change a class. This module searches the smallest F, and integers, for which no input
whatever makes a difference.

**Bounds.** Without leak, whether the neuron spikes at timestep t depends on two numbers only: how often it has spiked
before, n, and A, the sum of the integer currents so far. It spikes exactly if A has reached a bound. With the real
numbers of :class:`RealNeuron` the bounds are::

    soft reset   A[t] >= ceil(((n + 1) theta - (t + 1) d - v0) / |g|)       A is summed since the start; n is 0 to t
    hard reset   A[t] >= ceil((theta - k d - v0) / |g|)                     before the first spike, k = t + 1
                 A    >= ceil((theta - k d) / |g|)                          A is summed since that spike, k steps ago

A strict neuron, which spikes only above its threshold, must exceed the number of which the ceiling is taken. The
integer neuron compares with ``>=``, and has the same bounds with (Theta, B, V0) for (theta, d, v0) and 2^F for
``|g|``. A layer has finitely many of them, T (T + 1) / 2 per channel for soft reset. A bound outside the range that A
can reach says "always" or "never", and is clipped to that range. If all bounds of a channel are equal, then its spikes
are equal for every input: that comparison of integers is the whole proof.

**Exact arithmetic.** Every stored float is a rational number, so the bounds of the real neuron are computed with
integers. The only irrational number is ``s = sqrt(variance + epsilon)``, the divisor of BatchNorm. An integer square
root with 200 fractional bits encloses it between two rationals; both must give the same bound. Without BatchNorm ``s``
is 1.

**Constant currents.** The first layer of an image sees the same current in every timestep. There A is a multiple of the
number of steps, and two bounds are as good as equal if no such multiple lies between them (decision 0001).

**Search.** F grows from 0 until every channel of the layer has constants with equal bounds near the rounded ones,
``floor(x 2^F + 1/2)``. Once Theta and B are chosen, each bound confines V0 to an interval, so only pairs of Theta and B
are tried, and V0 is taken from the intersection of the intervals. With hard reset the bounds confine ``Theta - k B``: a
bias that is one larger goes with a threshold that is up to T larger, so thresholds are tried further away. For a given
Theta, pairs of bounds confine B to an interval as well, so whether integers exist at all can be decided exactly; the
tests do, and no smaller F than that of the search was found for any of their random channels.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from arch.network import MAX_CONSTANT, Neurons, Reset
from support.errors import InputError

__all__ = ["BITS", "Bound", "RealNeuron", "RealValueError", "certify", "integer_bounds", "real_bounds", "root_ends",
           "round_leaky", "solve"]

#: Fractional bits of the enclosure of the square root.
BITS = 200
#: How far from the rounded Theta and B the search goes; with hard reset as far as T for Theta, if that is further.
_RADIUS = 3
#: Largest Theta that is tried for a channel whose spikes do not depend on its inputs.
_MAX_FIXED = 256


class RealValueError(InputError):
    """Real numbers have no integers in their place.

    A bound cannot be decided, because the two ends of the square root's enclosure give different integers; or a
    constant of a leaky neuron, which is defined by its integers, is larger than a network can hold.
    """


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RealNeuron:
    """Parameters of one channel, exactly as they are stored: every float is a rational number.

    In each timestep with the current ``a`` the membrane becomes ``u + g a + d``, with ``g = scale gamma / s``,
    ``d = beta + gamma (bias - mean) / s`` and ``s = sqrt(variance_epsilon)``.
    """

    #: Scale of the currents, not negative: the weights' scale alpha, times the input's scale in the first layer, over
    #: the size of the windows where currents or the input are pooled (:func:`arch.architecture.mean_size`).
    scale: Fraction
    #: BatchNorm's scale.
    gamma: Fraction
    #: BatchNorm's shift.
    beta: Fraction
    #: Bias of the convolution minus BatchNorm's mean.
    centre: Fraction
    #: BatchNorm's variance plus epsilon; positive.
    variance_epsilon: Fraction
    #: Threshold; positive.
    theta: Fraction
    #: Membrane before the first timestep.
    initial: Fraction
    #: Whether it spikes only above the threshold, as neurons of some other packages do; else at the threshold too.
    strict: bool = False

    @property
    def sign(self) -> int:
        """Sign of g: -1 if the weights are negated, 0 if the inputs do not matter."""
        product = self.scale * self.gamma
        return (product > 0) - (product < 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """One condition ``A >= limit`` for a spike: how often the constants count in it, and what A can be there."""

    #: How often the threshold counts: the spikes so far plus one for soft reset, once for hard reset.
    thetas: int
    #: How often the bias counts: the timesteps since the start, or since a hard reset.
    steps: int
    #: How often the initial membrane counts: once, or not at all after a hard reset.
    initials: int
    #: Smallest and largest A that any input reaches.
    low: int
    high: int
    #: A is a multiple of this: of the number of steps for a constant current, else of 1.
    multiple: int

    def clip(self, numerator: int, denominator: int, *, strict: bool = False) -> int:
        """Return the smallest A, in units of :attr:`multiple`, that is at least ``numerator / denominator``.

        If ``strict``, that is more than it. It is clipped to one more than the largest unit that is reached ("never"),
        and to the smallest ("always").
        """
        unit = denominator * self.multiple
        units = numerator // unit + 1 if strict else -(-numerator // unit)
        return min(max(units, self.low // self.multiple), self.high // self.multiple + 1)


def _places(reset: Reset, timesteps: int, low: int, high: int, constant: bool) -> list[Bound]:
    """Return all conditions of a neuron with currents from ``low`` to ``high``."""
    if reset is Reset.SUBTRACT:
        counts = [(n + 1, t + 1, 1) for t in range(timesteps) for n in range(t + 1)]
    else:
        counts = [(1, k, 1) for k in range(1, timesteps + 1)] + [(1, k, 0) for k in range(1, timesteps)]
    return [Bound(thetas, steps, initials, steps * low, steps * high, steps if constant else 1)
            for thetas, steps, initials in counts]


def _root(value: Fraction) -> tuple[int, int, int]:
    """Enclose the square root of ``value`` between ``low / denominator`` and ``high / denominator``.

    Returns ``(low, high, denominator)``; both ends are equal if the root is rational.
    """
    product = value.numerator * value.denominator
    exact = math.isqrt(product)
    if exact * exact == product:
        return exact, exact, value.denominator
    low = math.isqrt(product << 2 * BITS)
    return low, low + 1, value.denominator << BITS


def root_ends(neuron: RealNeuron) -> tuple[Fraction, Fraction]:
    """Return two numbers between which ``s`` of a neuron lies, equal if it is rational."""
    low, high, unit = _root(neuron.variance_epsilon)
    return Fraction(low, unit), Fraction(high, unit)


def _common(*values: Fraction) -> tuple[list[int], int]:
    """Return the numerators of ``values`` over their common denominator, and that denominator."""
    denominator = math.lcm(*(value.denominator for value in values))
    return [value.numerator * (denominator // value.denominator) for value in values], denominator


class _Exact:
    """A channel whose gain is not 0, in integers, at both ends of the square root's enclosure."""

    def __init__(self, neuron: RealNeuron):
        (theta, beta, initial, centre, gamma, scale), unit = _common(
            neuron.theta, neuron.beta, neuron.initial, neuron.centre, neuron.gamma, neuron.scale)
        sign = 1 if gamma > 0 else -1
        *ends, root_unit = _root(neuron.variance_epsilon)
        # Each constant over |g| is a fraction of one denominator, as x / |g| = x s / (scale |gamma|). In d, the part
        # that BatchNorm divided by s loses its s again.
        self.denominator = scale * abs(gamma) * root_unit
        self.strict = neuron.strict
        self.ends = [(theta * unit * s, beta * unit * s + sign * centre * abs(gamma) * root_unit, initial * unit * s)
                     for s in ends]

    def limit(self, bound: Bound) -> int:
        limits = {bound.clip(bound.thetas * theta - bound.steps * d - bound.initials * initial, self.denominator,
                             strict=self.strict)
                  for theta, d, initial in self.ends}
        if len(limits) > 1:
            raise RealValueError(f"bound must be decided by {BITS} bits of the square root, not be {sorted(limits)}")
        return limits.pop()

    def rounded(self, fraction: int) -> tuple[int, int, int]:
        """Return Theta, B and V0 rounded to ``fraction`` bits, ``floor(x 2^F + 1/2)``; F may be negative."""
        up, down = max(fraction, 0), max(-fraction, 0)
        half = self.denominator << down
        numbers = (((value << up + 1) + half) // (2 * half) for value in self.ends[0])
        theta, bias, initial = numbers
        return theta, bias, initial

    def above(self, fraction: int) -> int:
        """Return the first integer above Theta, with ``fraction`` bits, to :data:`BITS` bits of the square root."""
        return (self.ends[-1][0] << fraction) // self.denominator + 1


def _fixed_limit(neuron: RealNeuron, bound: Bound) -> int:
    """Return the bound of a channel that sees no input: 0 if it spikes there, else 1."""
    *ends, unit = _root(neuron.variance_epsilon)
    decided = set()
    for root in ends:
        # It spikes if thetas theta - steps (beta + gamma centre / s) - v0 <= 0, here multiplied by s.
        left = (bound.thetas * neuron.theta - bound.steps * neuron.beta - bound.initials * neuron.initial) * root
        right = bound.steps * neuron.gamma * neuron.centre * unit
        decided.add(left < right if neuron.strict else left <= right)
    if len(decided) > 1:
        raise RealValueError(f"spike must be decided by {BITS} bits of the square root")
    return 0 if decided.pop() else 1


def real_bounds(neuron: RealNeuron, *, low: int, high: int, timesteps: int, reset: Reset,
                constant: bool = False) -> list[tuple[Bound, int]]:
    """Return all bounds of a channel with currents from ``low`` to ``high``, computed exactly.

    ``low`` and ``high`` belong to the weights after the sign of g has moved into them; both are 0 where g is 0.
    ``constant``: the current is the same in all timesteps.

    Raises
    ------
    :exc:`RealValueError`
        If a bound depends on more than :data:`BITS` bits of the square root.
    """
    places = _places(reset, timesteps, low, high, constant)
    if not neuron.sign or low == high == 0:
        return [(place, _fixed_limit(neuron, place)) for place in places]
    exact = _Exact(neuron)
    return [(place, exact.limit(place)) for place in places]


def integer_bounds(places: list[Bound], *, threshold: int, bias: int, initial: int, fraction: int) -> list[int]:
    """Return the bounds of an integer neuron at the same places."""
    return [place.clip(place.thetas * threshold - place.steps * bias - place.initials * initial, 1 << fraction)
            for place in places]


def solve(bounds: list[tuple[Bound, int]], start: tuple[int, int, int], fraction: int) -> tuple[int, int, int] | None:
    """Return (Theta, B, V0) nearest to ``start`` with exactly these bounds; None if there are none near it."""
    theta, bias, initial = start
    if theta > 0 and _is_proven(bounds, start, fraction):
        return start
    forgets = not all(place.initials for place, _ in bounds)
    radius = max(_RADIUS, max(place.steps for place, _ in bounds)) if forgets else _RADIUS
    if max(map(abs, start)) > MAX_CONSTANT - radius:
        return None
    around, beside = _grid(radius)
    thetas, biases = theta + around, bias + beside
    thetas_of, steps, initials, units, limits, never, always = np.array(
        [(place.thetas, place.steps, place.initials, place.multiple << fraction, limit,
          limit > place.high // place.multiple, limit <= place.low // place.multiple) for place, limit in bounds],
        dtype=np.int64).T[..., np.newaxis]
    # The integer bound is ceil((need - V0) / unit), or without V0 where that does not count.
    need = thetas_of * thetas - steps * biases
    # A at the limit must be enough, unless the limit says "never"; one unit less must not, unless it says "always".
    at_least = np.where(never, -MAX_CONSTANT, need - limits * units)
    at_most = np.where(always, MAX_CONSTANT, need - (limits - 1) * units - 1)
    counts = initials > 0
    lowest = np.where(counts, at_least, -MAX_CONSTANT).max(axis=0)
    highest = np.where(counts, at_most, MAX_CONSTANT).min(axis=0)
    possible = (thetas > 0) & (lowest <= highest) & (counts | (at_least <= 0) & (at_most >= 0)).all(axis=0)
    if not possible.any():
        return None
    nearest = np.clip(initial, lowest, highest)
    distance = np.abs(around) + np.abs(beside) + np.abs(nearest - initial)
    best = int(np.argmin(np.where(possible, distance, np.iinfo(np.int64).max)))
    return int(thetas[best]), int(biases[best]), int(nearest[best])


@functools.cache
def _grid(radius: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Differences of Theta and of B that are tried: ``radius`` and :data:`_RADIUS` in both directions."""
    around, beside = np.meshgrid(np.arange(-radius, radius + 1), np.arange(-_RADIUS, _RADIUS + 1), indexing="ij")
    return around.reshape(-1), beside.reshape(-1)


def _simple(bounds: list[tuple[Bound, int]], fraction: int) -> tuple[int, int, int] | None:
    """Return small constants for a channel that never spikes, or always; None for any other."""
    if all(limit == place.high // place.multiple + 1 for place, limit in bounds):
        return (max(place.high for place, _ in bounds) << fraction) + 1, 0, 0
    if all(limit == place.low // place.multiple for place, limit in bounds):
        lowest = min(place.low for place, _ in bounds) << fraction
        # A hard reset forgets V0: the bias alone must carry the neuron over its threshold.
        return (1, 1, -lowest) if all(place.initials for place, _ in bounds) else (1, 1 - lowest, 0)
    return None


def _solve_small(number: _Exact, bounds: list[tuple[Bound, int]], fraction: int) -> tuple[int, int, int] | None:
    """Return constants near the rounded ones, or smaller ones with the same bounds; None if there are none.

    Where the gain is nearly 0 the inputs hardly matter, and the rounded constants are larger than all currents: they
    would make the membrane very wide.
    """
    start = number.rounded(fraction)
    size = max(map(abs, start)).bit_length()
    if size > (max(place.high - place.low for place, _ in bounds) << fraction).bit_length():
        for shrink in range(size - 1, 0, -1):
            found = solve(bounds, number.rounded(fraction - shrink), fraction)
            if found is not None:
                return found
    return solve(bounds, start, fraction)


def _solve_fixed(neuron: RealNeuron, bounds: list[tuple[Bound, int]]) -> tuple[int, int, int] | None:
    """Return constants for a channel that sees no input; None if there are none.

    Its spikes are a fixed pattern, so that its constants may be scaled as one likes.
    """
    drift = _drift(neuron)
    for theta in range(1, _MAX_FIXED + 1):
        scale = theta / neuron.theta
        found = solve(bounds, (theta, math.floor(drift * scale + Fraction(1, 2)),
                               math.floor(neuron.initial * scale + Fraction(1, 2))), 0)
        if found is not None:
            return found
    return None


def _is_proven(bounds: list[tuple[Bound, int]], constants: tuple[int, int, int], fraction: int) -> bool:
    """Whether (Theta, B, V0) can be stored and has exactly these bounds: the proof, however they were found."""
    threshold, bias, initial = constants
    places = [place for place, _ in bounds]
    return max(map(abs, constants)) <= MAX_CONSTANT and [limit for _, limit in bounds] == integer_bounds(
        places, threshold=threshold, bias=bias, initial=initial, fraction=fraction)


def certify(neurons: list[RealNeuron], lows: npt.NDArray[np.int64], highs: npt.NDArray[np.int64], *, timesteps: int,
            reset: Reset, constant: bool, max_fraction: int) -> tuple[Neurons, list[int]]:
    """Find the integer neurons of a layer, and the channels in which they are not exact.

    Parameters
    ----------
    neurons : the real parameters of the channels
    lows, highs : ``int64[channels]``; range of the currents of the weights after the signs have moved into them
    timesteps : T
    reset : soft or hard
    constant : the current is the same in all timesteps
    max_fraction : largest F that is tried

    Returns
    -------
    neurons : with the smallest F for which all channels are exact; else the F with the fewest inexact channels, the
        largest of them, and rounded constants in those channels
    inexact : indices of the channels that are not exact, ascending

    Raises
    ------
    :exc:`RealValueError`
        If a bound of a channel depends on more than :data:`BITS` bits of the square root; the line names the channel.
    """
    bounds = []
    for channel, (neuron, low, high) in enumerate(zip(neurons, lows, highs, strict=True)):
        try:
            bounds.append(real_bounds(neuron, low=int(low), high=int(high), timesteps=timesteps, reset=reset,
                                      constant=constant))
        except RealValueError as error:
            raise RealValueError(f"channel {channel}: {error}: change the variance or the threshold of the channel "
                                 f"slightly") from None
    free = [not neuron.sign or low == high == 0 for neuron, low, high in zip(neurons, lows, highs, strict=True)]
    fixed = [_solve_fixed(neuron, of) if is_free else None
             for neuron, of, is_free in zip(neurons, bounds, free, strict=True)]
    exact = [None if is_free else _Exact(neuron) for neuron, is_free in zip(neurons, free, strict=True)]

    def constants_of(channel: int, fraction: int) -> tuple[int, int, int] | None:
        """Exact constants of a channel; None if none were found."""
        of, number = bounds[channel], exact[channel]
        found = _simple(of, fraction) or (_solve_small(number, of, fraction) if number else fixed[channel])
        return None if found is None or not _is_proven(of, found, fraction) else found

    fraction, solved = _smallest_exact(constants_of, len(neurons), max_fraction)
    inexact = [channel for channel, found in enumerate(solved) if found is None]
    constants = [found or (_storable(number.rounded(fraction)) if number else (1, 0, 0))
                 for found, number in zip(solved, exact, strict=True)]
    thresholds, biases, initials = np.array(constants, dtype=np.int64).T
    return Neurons(threshold=thresholds, bias=biases, initial=initials, fraction=fraction, reset=reset), inexact


def _smallest_exact(constants_of: Callable[[int, int], tuple[int, int, int] | None], channels: int,
                    max_fraction: int) -> tuple[int, list[tuple[int, int, int] | None]]:
    """Return the smallest F for which all channels have exact constants, and them.

    If there is none, the F with the fewest channels without, the largest of them. ``constants_of`` is told the channel
    and F.
    """
    order = list(range(channels))
    for fraction in range(max_fraction + 1):
        found = {}
        for channel in order:
            found[channel] = constants_of(channel, fraction)
            if found[channel] is None:
                # Most likely this channel has none for the next F either: it comes first there.
                order.remove(channel)
                order.insert(0, channel)
                break
        else:
            return fraction, [found[channel] for channel in range(channels)]
    best: tuple[int, list[tuple[int, int, int] | None]] | None = None
    for fraction in range(max_fraction + 1):
        solved = [constants_of(channel, fraction) for channel in range(channels)]
        if best is None or solved.count(None) <= best[1].count(None):
            best = fraction, solved
    assert best is not None
    return best


def round_leaky(neurons: list[RealNeuron], *, fraction: int, reset: Reset, leak_shift: int) -> Neurons:
    """Round the constants of leaky neurons, which are defined by the integers and have no certificate.

    A channel with g = 0 has no scale of its own; its threshold becomes :data:`_MAX_FIXED` units. Raises
    :exc:`RealValueError` if a constant is larger than a network can hold; the line names the channel.

    A strict neuron with hard reset gets the first integer above its threshold, which only a comparison sees. With soft
    reset there is none: the threshold is subtracted, too, and the leak forgets a smaller first membrane.
    """
    constants: list[tuple[int, int, int]] = []
    for channel, neuron in enumerate(neurons):
        if neuron.sign:
            number = _Exact(neuron)
            found, above = number.rounded(fraction), number.above(fraction)
        else:
            scale = (_MAX_FIXED << fraction) / neuron.theta
            values = (neuron.theta * scale, _drift(neuron) * scale, neuron.initial * scale)
            theta, bias, initial = (math.floor(value + Fraction(1, 2)) for value in values)
            found, above = (theta, bias, initial), math.floor(neuron.theta * scale) + 1
        if neuron.strict:
            assert reset is Reset.ZERO, "a source refuses strict neurons with leak and soft reset"
            found = above, *found[1:]
        if found != _storable(found):
            other = "larger" if max(map(abs, found)) <= MAX_CONSTANT else "smaller"
            raise RealValueError(f"channel {channel}: threshold, bias and initial membrane must be within +-2^47 units "
                                 f"of the gain at F = {fraction}, and the threshold at least 1, not {found}: give a "
                                 f"{other} --max-fraction, or the channel a gain of another size")
        constants.append(found)
    thresholds, biases, initials = np.array(constants, dtype=np.int64).T
    return Neurons(threshold=thresholds, bias=biases, initial=initials, fraction=fraction, reset=reset,
                   leak_shift=leak_shift)


def _drift(neuron: RealNeuron) -> Fraction:
    """Return d of a channel, to :data:`BITS` bits of the square root."""
    *_, root, unit = _root(neuron.variance_epsilon)
    return neuron.beta + neuron.gamma * neuron.centre * Fraction(unit, root)


def _storable(constants: tuple[int, int, int]) -> tuple[int, int, int]:
    """Limit rounded constants to what a network can hold; such a channel is not exact anyway."""
    theta, bias, initial = (min(max(value, -MAX_CONSTANT), MAX_CONSTANT) for value in constants)
    return max(theta, 1), bias, initial
