"""From ``tau``, ``r`` and the timestep of a NIR node to the leak and the gain of a timestep.

NIR states ``tau dv/dt = v_leak - v + r I`` for a LIF node and ``dv/dt = r I`` for an IF node; the step of a package is
that of Euler's method, or its own (:class:`export.sources.rules.Constants`).

The writer of a file has rounded ``tau`` and ``r`` to floats: 2 dt is stored as the float beside it. A product of them
that lies within :data:`ULPS` units in the last place of a power of two is that power; any other is taken exactly.
"""

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.network import MAX_LEAK_SHIFT
from export.sources.chain import SourceError, shown
from export.sources.rules import Constants, Rule

__all__ = ["ULPS", "integrator_gain", "leak_and_gain"]

#: Roundings that ``tau`` and ``r`` may have between them, in units in the last place.
ULPS = 4


def _snapped(product: Fraction, dtype: np.dtype[Any]) -> Fraction:
    """Return the power of two, 1 or below, that ``product`` is but for roundings of ``dtype``; else itself."""
    if not 0 < product < 2:
        return product
    shift = round(-np.log2(float(product))) if float(product) > 0 else 0
    power = Fraction(1, 2**min(max(shift, 0), MAX_LEAK_SHIFT))
    tolerance = ULPS * Fraction(float(np.finfo(dtype).eps))
    return power if abs(product / power - 1) <= tolerance else product


def _float_type(*arrays: npt.NDArray[Any]) -> np.dtype[Any]:
    """Return the coarsest type of float among ``arrays``; integers are exact."""
    kinds = [array.dtype for array in arrays if array.dtype.kind == "f"]
    return max(kinds, key=lambda kind: np.finfo(kind).eps, default=np.dtype(np.float64))


def integrator_gain(name: str, r: npt.NDArray[Any], rule: Rule) -> tuple[Fraction, ...]:
    """Gain of an IF node per value of ``r``, which is finite; raises :exc:`SourceError` if the rule has none."""
    if rule.constants is Constants.SNNTORCH:
        raise SourceError(f"node {name}: it must be LIF, as snnTorch writes no IF node: give the --package that wrote "
                          f"the file, or none, and --compare, --reset, --spikes and --dt")
    values = [Fraction(float(value)) for value in r]
    if rule.constants is not Constants.EULER:
        return tuple(values)
    if rule.dt is None:
        raise SourceError(f"node {name}: an IF node needs the length of a timestep, as its currents count r dt: give "
                          f"--dt, or --package with the package that wrote the file")
    return tuple(_snapped(value * rule.dt, _float_type(r)) for value in values)


def leak_and_gain(name: str, tau: npt.NDArray[Any], r: npt.NDArray[Any],
                  rule: Rule) -> tuple[Fraction, tuple[Fraction, ...]]:
    """Share of the membrane that is lost in a timestep, and gain of a LIF node per pair of ``tau`` and ``r``.

    Raises
    ------
    :exc:`SourceError`
        If the leak is more than the whole membrane, or not the same for all.
    """
    if np.isposinf(tau).all() and np.isposinf(r).all() and rule.constants is Constants.SNNTORCH:
        return Fraction(0), (Fraction(1),)
    for key, array in (("tau", tau), ("r", r)):
        if not np.isfinite(array).all():
            more = ": --package snntorch says what it means if snnTorch wrote it" if np.isposinf(tau).all() else ""
            raise SourceError(f"node {name}: {key} must be finite, not {array[~np.isfinite(array)][0]}{more}")
    if (tau <= 0).any():
        raise SourceError(f"node {name}: tau must be positive, not {tau.min()}")
    if rule.constants is Constants.SINABS:
        raise SourceError(f"node {name}: a LIF node of Sinabs keeps exp(-1 / tau) of its membrane, which is never 1 - "
                          f"2^-k: use IAF, without leak")
    if rule.dt is None:
        raise SourceError(f"node {name}: a LIF node needs the length of a timestep, as it loses dt / tau of its "
                          f"membrane: give --dt, or --package with the package that wrote the file")
    dtype = _float_type(tau, r)
    step = rule.dt**2 if rule.constants is Constants.NORSE else rule.dt
    lost = [_snapped(step / Fraction(float(value)), dtype) for value in tau]
    if max(lost) > 1:
        raise SourceError(f"node {name}: the share of the membrane lost in a timestep must be at most 1, not "
                          f"{shown(max(lost))}: give the --dt that the file was made with")
    if len(set(lost)) > 1:
        raise SourceError(f"node {name}: all neurons must have one leak, not {len(set(lost))}: train with one tau a "
                          f"layer")
    gains = tuple(_snapped(share * Fraction(float(value)), dtype) for share, value in
                  zip(lost * (len(r) if len(lost) == 1 else 1), r if len(r) > 1 else np.repeat(r, len(lost)),
                      strict=True))
    return lost[0], gains
