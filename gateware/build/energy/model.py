"""The model: currents that others have measured on the iCE40 UltraPlus, times what a build has and what it does.

Every coefficient has an interval. docs/energy.md says where each comes from.
"""

import dataclasses
from collections.abc import Mapping
from typing import Self

from gateware.build.energy.activity import Activity

__all__ = ["COEFFICIENTS", "Coefficients", "Estimate", "Interval", "Resources", "estimate"]


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """An estimate: the value, and the bounds between which it is believed to be."""

    low: float
    value: float
    high: float

    def __add__(self, other: Self) -> "Interval":
        return Interval(self.low + other.low, self.value + other.value, self.high + other.high)

    def __mul__(self, factor: float) -> "Interval":
        return Interval(self.low * factor, self.value * factor, self.high * factor)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Coefficients:
    """What an FPGA takes, from the supplies of core and PLL; pins are not in it."""

    #: Power of a configured device without a clock, and of its PLL, in W.
    static: Interval
    pll: Interval
    #: Energy of each clock, in J: of the clock network, of a flip-flop, of a block RAM, of a single-port RAM, and of a
    #: multiplier.
    clock: Interval
    flip_flop: Interval
    ebr: Interval
    spram: Interval
    dsp: Interval
    #: Energy of a toggle of one bit, in J: cell, wires and what follows without being seen.
    toggle: Interval
    #: Flip-flops per logic cell.
    flip_flops: Interval


#: The iCE40 UltraPlus at 1.22 V and room temperature.
COEFFICIENTS = Coefficients(
    static=Interval(88e-6, 104e-6, 165e-6),
    pll=Interval(126e-6, 600e-6, 750e-6),
    clock=Interval(48e-12, 52e-12, 56e-12),
    flip_flop=Interval(10e-15, 14.4e-15, 30e-15),
    ebr=Interval(2e-12, 5e-12, 8.4e-12),
    spram=Interval(5e-12, 15e-12, 40e-12),
    dsp=Interval(1e-12, 10e-12, 24e-12),
    toggle=Interval(0.2e-12, 0.37e-12, 0.7e-12),
    flip_flops=Interval(0.5, 0.8, 1.0),
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a build has, and its clock in Hz."""

    clock_hz: float
    lc: int
    ebr: int
    spram: int
    dsp: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Estimated energy of one inference and power, from the supplies of core and PLL."""

    #: Energy of an inference, in J: in all, and by what takes it.
    inference: Interval
    parts: Mapping[str, Interval]
    #: Energy in J of what comes with an image but is no part of the inference: its way in, and that of the result.
    transfer: Interval
    #: Power in W while nothing is computed and no image comes, with the clock running, and during an inference.
    idle: Interval
    computing: Interval

    def average(self, images_per_second: float) -> Interval:
        """Return the average power in W at a rate of images."""
        return self.idle + (self._active_inference + self.transfer) * images_per_second

    @property
    def _active_inference(self) -> Interval:
        """Energy of an inference beyond what the same time takes without one."""
        return Interval(*(sum(getattr(part, bound) for name, part in self.parts.items() if name not in _ALWAYS)
                          for bound in ("low", "value", "high")))


#: Parts that are there with and without an inference.
_ALWAYS = ("static and PLL", "clock network", "flip-flops' clocks", "block RAM", "single-port RAM", "multipliers")


def _product(first: Interval, second: Interval) -> Interval:
    return Interval(first.low * second.low, first.value * second.value, first.high * second.high)


def estimate(resources: Resources, activity: Activity, coefficients: Coefficients = COEFFICIENTS) -> Estimate:
    """Estimate the energy of a build; the bounds of the parts are added, as if all were off to the same side."""
    clocks, hz = activity.inference_clocks, resources.clock_hz
    flip_flops = _product(coefficients.flip_flops * resources.lc, coefficients.flip_flop)
    always = dict(zip(_ALWAYS, (
        (coefficients.static + coefficients.pll) * (1 / hz), coefficients.clock, flip_flops,
        coefficients.ebr * resources.ebr, coefficients.spram * resources.spram, coefficients.dsp * resources.dsp),
        strict=True))
    parts = {name: part * clocks for name, part in always.items()}
    parts |= {block: coefficients.toggle * count
              for block, count in sorted(activity.inference_toggles.items(), key=lambda item: -item[1])}
    none = Interval(0, 0, 0)
    inference = sum(parts.values(), none)
    return Estimate(inference=inference, parts=parts, idle=sum(always.values(), none) * hz,
                    transfer=coefficients.toggle * sum(activity.other_toggles.values()),
                    computing=inference * (hz / clocks))
