"""What a package computes that its file does not say: comparison, reset, spikes in a timestep, length of a timestep.

A graph of NIR states differential equations. Which spikes come out depends on facts beside it, and they differ between
the packages (versions and sources: docs/nir.md). A :class:`Preset` has what is fixed in one package; what its networks
may choose stays None, and is asked for.
"""

import dataclasses
import enum
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from arch.network import Reset
from export.sources.chain import SourceError

__all__ = ["PRESETS", "Comparison", "Constants", "Preset", "Rule", "resolve"]


class Comparison(enum.Enum):
    """When a membrane spikes."""

    #: At the threshold and above, as here.
    AT_LEAST = "ge"
    #: Above the threshold only.
    ABOVE = "gt"


class Constants(enum.Enum):
    """How ``tau`` and ``r`` of a node become a timestep's factors."""

    #: One step of Euler's method on the equations of NIR: ``u += dt r I``, or ``u += dt / tau (r I - u)``.
    EULER = "euler"
    #: As Euler's method, and a LIF node with infinite ``tau`` and ``r`` is an integrator with a gain of 1.
    SNNTORCH = "snntorch"
    #: ``r`` of an IF node is the gain of a timestep; ``tau`` of a LIF node is dt / tau_mem_inv, so it loses dt² / tau.
    NORSE = "norse"
    #: ``r`` of an IF node is the gain of a timestep; a LIF node decays by exp(-1 / tau), which is no power of two.
    SINABS = "sinabs"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Everything that decides the spikes beside the graph."""

    #: When a membrane spikes.
    comparison: Comparison
    #: What a spike does to the membrane.
    reset: Reset
    #: Whether a membrane of several thresholds gives as many spikes in one timestep.
    several: bool = False
    #: Whether the reset comes in the next timestep, after the leak.
    late: bool = False
    #: Length of a timestep, in the unit of the file's ``tau``; None where no node needs it.
    dt: Fraction | None = None
    #: How constants of nodes are meant.
    constants: Constants = Constants.EULER
    #: Package whose rule it is; None if it was stated.
    package: str | None = None

    def __str__(self) -> str:
        """One line for a report, without a full stop."""
        sign = {Comparison.AT_LEAST: ">=", Comparison.ABOVE: ">"}[self.comparison]
        reset = {Reset.SUBTRACT: "minus the threshold", Reset.ZERO: "to zero"}[self.reset]
        step = "" if self.dt is None else f", timesteps of {float(self.dt):g} s"
        return (f"a membrane {sign} its threshold spikes{', several times if it is that large' if self.several else ''}"
                f", reset {reset}{step}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """What is fixed in a package; None is what a network of it may choose."""

    #: The package as it writes itself.
    title: str
    comparison: Comparison
    reset: Reset | None
    several: bool
    dt: Fraction | None
    constants: Constants
    late: bool = False


PRESETS: Mapping[str, Preset] = {
    "snntorch": Preset(title="snnTorch", comparison=Comparison.ABOVE, reset=None, several=False, late=True,
                       dt=Fraction("1e-4"), constants=Constants.SNNTORCH),
    # Its exporter refuses a soft reset, so every file of it has a hard one.
    "spikingjelly": Preset(title="SpikingJelly", comparison=Comparison.AT_LEAST, reset=Reset.ZERO, several=False,
                           dt=Fraction("1e-4"), constants=Constants.EULER),
    "norse": Preset(title="Norse", comparison=Comparison.ABOVE, reset=Reset.ZERO, several=False, dt=Fraction("1e-3"),
                    constants=Constants.NORSE),
    "sinabs": Preset(title="Sinabs", comparison=Comparison.AT_LEAST, reset=None, several=True, dt=None,
                     constants=Constants.SINABS),
    # Its exporter writes CubaLIF nodes only, which are refused by name.
    "rockpool": Preset(title="Rockpool", comparison=Comparison.AT_LEAST, reset=Reset.SUBTRACT, several=True,
                       dt=Fraction("1e-3"), constants=Constants.EULER),
}


def resolve(*, package: str | None, stated: Mapping[str, Any]) -> Rule:
    """Return the rule of ``package``, with what was ``stated`` in its place.

    Parameters
    ----------
    package : a key of :data:`PRESETS`; None for no package
    stated : ``comparison``, ``reset``, ``several`` and ``dt`` of :class:`Rule`; None where nothing was said

    Raises
    ------
    :exc:`SourceError`
        If something is neither stated nor fixed in the package; the line names all such options.
    """
    preset = None if package is None else PRESETS[package]

    def said(key: str) -> Any:
        return getattr(preset, key, None) if stated.get(key) is None else stated[key]

    comparison, reset, several = said("comparison"), said("reset"), said("several")
    missing = [text for value, text in ((comparison, "--compare ge or gt"), (reset, "--reset subtract or zero"),
                                        (several, "--spikes one or several")) if value is None]
    if missing:
        by = ("or the package that wrote it with --package" if preset is None else
              f"as networks of {preset.title} have either and the file does not say which")
        raise SourceError(f"spikes must be decided by more than NIR says: give {', '.join(missing)}, {by}")
    return Rule(comparison=comparison, reset=reset, several=several, dt=said("dt"),
                late=preset is not None and preset.late, package=package,
                constants=Constants.EULER if preset is None else preset.constants)
