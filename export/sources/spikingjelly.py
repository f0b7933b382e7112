"""The bridge from SpikingJelly: a module of it that is in memory becomes a certified network.

What its neurons compute was read from version 2.0.0: the membrane is charged, ``v += x`` or
``v += (x - (v - r)) / tau`` (without ``decay_input`` the current is not divided), spikes at ``v >= v_threshold``, and
is reset at once: to ``r = v_reset``, or, where that is None, by the threshold. Here membranes are counted from ``r``.
"""

import copy
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.network import MAX_LEAK_SHIFT, Encoding, Reset, Shape
from export.exported import Exported
from export.sources.chain import SourceError, SpikingNeurons
from export.sources.live.importing import Stated, export_module
from export.sources.live.neurons import ANY_LEAK, channel_values, check_spikes, layer_leak
from export.sources.live.package import Package
from export.sources.live.recording import array_of
from export.sources.live.tracing import Place
from export.sources.rules import Comparison
from support.errors import printable

__all__ = ["from_spikingjelly"]

#: Classes with a leak; those without integrate.
_LEAKY = ("LIFNode", "SimpleLIFNode", "ParametricLIFNode")
_SURROGATES = "spikingjelly.activation_based.surrogate"
#: Surrogates that draw random numbers in the forward pass, or give counts.
_OTHER = ("PoissonPass", "MultiLevelSpikeCount")
#: Roundings that a learnt ``w`` may have, for which ``1 / tau`` is the sigmoid, in units of float32's last place.
_ULPS = 4


def _reset(module: Any) -> None:
    """Give a layer its first membranes, if it keeps some."""
    memories = module.__dict__.get("_memories", {})
    for key in memories:
        memories[key] = copy.deepcopy(module._memories_rv[key])


def _check_function(name: str, module: Any, place: Place) -> None:
    """Refuse a surrogate whose forward is not the comparison of the package; raises :exc:`SourceError`."""
    function = module.surrogate_function
    kind = type(function)
    if kind.__module__ != _SURROGATES or kind.__qualname__ in _OTHER:
        raise SourceError(f"node {name}: surrogate_function must be of {_SURROGATES}, of one spike and without random "
                          f"numbers, not {printable(kind.__qualname__)}: give it surrogate.ATan(), whose spikes are "
                          f"those of a comparison")
    check_spikes(name, function, place.calls[0].inputs[0], (0, 0, 1, 1, 1))


def _lost(name: str, module: Any) -> Fraction:
    """Share of the membrane that is lost in a timestep, ``1 / tau``."""
    if module.__class__.__qualname__ != "ParametricLIFNode":
        tau = float(module.tau)
        if not math.isfinite(tau) or tau <= 1:
            raise SourceError(f"node {name}: tau must be finite and above 1, not {tau:.12g}")
        return 1 / Fraction(tau)
    share = 1 / (1 + math.exp(-float(array_of(module.w))))
    power = Fraction(1, 2**min(max(round(-math.log2(share)), 1), MAX_LEAK_SHIFT))
    return power if abs(share / power - 1) <= _ULPS * 2.0**-23 else Fraction(share)


def _computed(place: Place, value: Any) -> Any:
    """Return a number of Python as the float that PyTorch takes for it beside the membranes; a tensor as it is."""
    if not isinstance(value, int | float) or str(place.calls[0].inputs[0].dtype) == "torch.float64":
        return value
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _neurons(name: str, place: Place) -> SpikingNeurons:
    """Return the node of a layer of neurons; raises :exc:`SourceError` if it has no exact place."""
    module, shape = place.leaf.module, place.seen.shape[2:]
    _check_function(name, module, place)
    if getattr(module, "_neuron_precision", None) is not None:
        raise SourceError(f"node {name}: its precision must be that of its inputs: leave precision policies out")
    start = module._memories_rv["v"]
    if not isinstance(start, int | float):
        raise SourceError(f"node {name}: the reset value of v must be a number: give it one with set_reset_value")
    rest = Fraction(0)
    if module.v_reset is not None:
        (rest,) = channel_values(name, "v_reset", _computed(place, module.v_reset), (1,))
    (first,) = channel_values(name, "the reset value of v", _computed(place, start), (1,))
    threshold = _computed(place, module.v_threshold)
    theta = tuple(value - rest for value in channel_values(name, "v_threshold", threshold, shape))
    if min(theta) <= 0:
        raise SourceError(f"node {name}: v_threshold must be above v_reset, or above 0 without one, not "
                          f"{float(min(theta) + rest):g}")
    leak, gain = Fraction(0), Fraction(1)
    if place.leaf.kind[1] in _LEAKY:
        lost = _lost(name, module)
        leak = layer_leak(name, [lost], f"train with tau of 2, 4 or 8, or with IFNode{ANY_LEAK}")
        gain = lost if module.decay_input else Fraction(1)
    return SpikingNeurons(name=name, theta=theta, gain=(gain,), leak=leak, initial=(first - rest,),
                          reset=Reset.SUBTRACT if module.v_reset is None else Reset.ZERO)


_PACKAGE = Package(
    name="spikingjelly", title="SpikingJelly", comparison=Comparison.AT_LEAST,
    neurons=("IFNode", "SimpleIFNode", "HalfThresholdIFNode", *_LEAKY), read=_neurons, reset=_reset,
    all_at_once=lambda module: module.step_mode == "m")


def from_spikingjelly(module: Any, example: Any, *, timesteps: int, encoding: str | Encoding,
                      scale: str | float | Fraction | None = None, zero_point: int = 0, shape: Shape | None = None,
                      readout: str | None = None, forward: Callable[[Any], Any] | None = None,
                      images: npt.NDArray[Any] | None = None, name: str = "network",
                      max_fraction: int = 8) -> Exported:
    """Export a module with neurons of SpikingJelly, and compare every spike with its own forward.

    Its layers may be in single-step or in multi-step mode. The module stays as it is; the membranes begin at their
    reset values, as after ``functional.reset_net``. Parameters, result and errors are those of
    :func:`export.sources.snntorch.from_snntorch`.
    """
    stated = Stated(timesteps=timesteps, encoding=encoding, scale=scale, zero_point=zero_point, shape=shape,
                    readout=readout)
    return export_module(_PACKAGE, module, example, stated, forward=forward, images=images, name=name,
                         max_fraction=max_fraction)
