"""Time-to-first-spike coding: what the time of a spike and the code of a weight stand for.

The coding is that of Lew et al., arXiv 2208.04494. The text of that paper was out of reach, so the equations are a
reconstruction from its abstract and from T2FSNN (arXiv 2003.11741), with base 2 in place of base e.

A spike at time ``t``, 0 to T - 1, stands for ``2^(-t/tau)``; no spike, written ``t = T``, stands for 0. A weight code
``+-(q + 1)`` stands for ``+-2^(-q/p)``, and 0 for 0. A product is a sum of exponents ``e = t D/tau + q D/p`` with
``D = lcm(tau, p)``, and its value is *defined* by a table of D integers::

    K[r] = floor(2^(F - r/D) + 1/2)                     r = 0 to D - 1, F fractional bits
    2^(-e/D)  is  K[e mod D] 2^-(F + e div D)           for spikes (q = 0), weights (t = 0) and products alike

so that every value is a dyadic rational: an integer over a power of two.
"""

import dataclasses
import functools
import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.limits import NetworkError, check_integer

__all__ = ["MAX_BITS", "MAX_FRACTION", "MAX_RESIDUES", "MAX_TIMESTEPS", "TimeCode"]

#: Largest window T, so that a time and "none" fit in a byte.
MAX_TIMESTEPS = 255
#: Most fractional bits F; all values are exact in float32 too.
MAX_FRACTION = 23
#: Widest weight code, in bits.
MAX_BITS = 8
#: Most steps D of an octave.
MAX_RESIDUES = 64


@functools.cache
def _powers(residues: int, fraction: int) -> tuple[int, ...]:
    """``floor(2^(fraction - r / residues) + 1/2)`` for each r, in integers only."""
    found = []
    for residue in range(residues):
        # k is the root if (2k - 1)^D <= 2^(D + F D - r) < (2k + 1)^D: no tie, the root is irrational or whole.
        power = 1 << residues * (fraction + 1) - residue
        low, high = 0, 1 << fraction + 1
        while low < high:
            middle = (low + high) // 2
            if (2 * middle + 1) ** residues > power:
                high = middle
            else:
                low = middle + 1
        found.append(low)
    return tuple(found)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TimeCode:
    """What times and weight codes stand for."""

    #: Window T, 1 to :data:`MAX_TIMESTEPS`, in timesteps; T itself is the time of no spike.
    timesteps: int
    #: Timesteps in which a value halves, 1 to :data:`MAX_RESIDUES`.
    tau: int
    #: Weight codes in which a weight halves, 1 to :data:`MAX_RESIDUES`.
    p: int = 2
    #: Width of a weight code, sign included, 2 to :data:`MAX_BITS`; 2 bits are ternary weights.
    bits: int = 5
    #: Fractional bits F of the table, 1 to :data:`MAX_FRACTION`.
    fraction: int = 16

    def __post_init__(self) -> None:
        check_integer("timesteps", self.timesteps, 1, MAX_TIMESTEPS)
        check_integer("tau", self.tau, 1, MAX_RESIDUES)
        check_integer("p", self.p, 1, MAX_RESIDUES)
        check_integer("bits", self.bits, 2, MAX_BITS)
        check_integer("fraction", self.fraction, 1, MAX_FRACTION)
        if self.residues > MAX_RESIDUES:
            raise NetworkError(f"tau and p must have a common multiple up to {MAX_RESIDUES}, not {self.residues}")
        table = (*self.powers, self.powers[0] // 2)
        if any(one <= other for one, other in itertools.pairwise(table)):
            raise NetworkError(f"fraction must be large enough to tell {self.residues} steps of an octave apart, "
                               f"not {self.fraction}")
        if self.unit_bits >= 53:
            raise NetworkError(f"products must have at most 52 fractional bits, not {self.unit_bits}: "
                               f"use fewer timesteps, a larger tau or a smaller fraction")

    @property
    def levels(self) -> int:
        """Number of magnitudes of a weight, ``2^(bits - 1) - 1``: one exponent code is zero's."""
        return 2 ** (self.bits - 1) - 1

    @property
    def residues(self) -> int:
        """Steps D of an octave: the number of accumulators of a neuron."""
        return math.lcm(self.tau, self.p)

    @property
    def powers(self) -> tuple[int, ...]:
        """The table K, D integers from ``2^F`` downwards."""
        return _powers(self.residues, self.fraction)

    @property
    def shift(self) -> int:
        """Octaves S that the products span: the largest ``e div D``."""
        return int(self.exponent(self.timesteps - 1, self.levels - 1)) // self.residues

    @property
    def unit_bits(self) -> int:
        """A membrane counts in units of ``2^-unit_bits``."""
        return self.fraction + self.shift

    def exponent(self, time: Any, level: Any) -> Any:
        """``e`` of a spike at ``time`` through a weight of level ``q``, in Dths of an octave; numbers or arrays."""
        return time * (self.residues // self.tau) + level * (self.residues // self.p)

    def products(self) -> npt.NDArray[np.int64]:
        """Value of each spike through each weight, in the membrane's units, ``int64[levels + 1, T + 1]``.

        The first index is the magnitude of the weight code, the second the time; both 0 and "none" give zero.
        """
        exponents = self.exponent(np.arange(self.timesteps)[None], np.arange(self.levels)[:, None])
        table = np.array(self.powers, dtype=np.int64)
        products = np.zeros((self.levels + 1, self.timesteps + 1), dtype=np.int64)
        products[1:, :-1] = table[exponents % self.residues] << (self.shift - exponents // self.residues)
        return products

    def values(self) -> npt.NDArray[np.float64]:
        """Value of a spike at each time, ``float64[T + 1]``, exact; that of no spike is 0."""
        return self.products()[1].astype(np.float64) * 2.0**-self.unit_bits
