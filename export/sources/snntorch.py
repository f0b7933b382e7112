"""The bridge from snnTorch: a module of it that is in memory becomes a certified network.

What ``snntorch.Leaky`` computes was read from version 1.0.0: in a timestep ``u = beta u + I - reset``, and it spikes at
``u > threshold``. The reset is that of the spike before (``reset_delay=True``), which subtracts the threshold after the
leak, or makes the membrane zero before it. With ``reset_delay=False`` it comes at once, and a membrane that is still
above the threshold is reset again in the next timestep.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy.typing as npt

from arch.network import Encoding, Reset, Shape
from export.exported import Exported
from export.sources.chain import SourceError, SpikingNeurons
from export.sources.live.importing import Stated, export_module
from export.sources.live.neurons import ANY_LEAK, channel_values, check_spikes, layer_leak
from export.sources.live.package import Package
from export.sources.live.tracing import Place
from export.sources.rules import Comparison
from support.errors import printable

__all__ = ["from_snntorch"]

#: Surrogates of ``snntorch.surrogate`` that draw random numbers in the forward pass.
_RANDOM = ("SSO", "LSO")
_RESETS = {0: ("_base_sub", Reset.SUBTRACT), 1: ("_base_zero", Reset.ZERO), 2: ("_base_int", None)}


def _reset(module: Any) -> None:
    """Give a layer its first membranes, if it keeps some."""
    if hasattr(module, "reset_mem"):
        module.reset_mem()


def _reset_of(name: str, module: Any) -> Reset:
    """Return what a spike does: the class keeps it in two places, which an assignment lets differ."""
    function, reset = _RESETS[int(module.reset_mechanism_val)]
    used = module.state_function
    if getattr(used, "__name__", None) != function or getattr(used, "__self__", None) is not module:
        raise SourceError(f"node {name}: reset_mechanism must be the one that it was made with, as its state_function "
                          f"still is: make it anew with the other one")
    if reset is None:
        raise SourceError(f"node {name}: reset_mechanism must be subtract or zero, not none: end in weights, of which "
                          f"the currents are summed, or give it a reset")
    return reset


def _check_function(name: str, module: Any, place: Place) -> None:
    """Refuse a surrogate whose forward is not the comparison of the package; raises :exc:`SourceError`."""
    function = module.spike_grad
    kind = getattr(function, "__qualname__", "").partition(".")[0]
    if not str(getattr(function, "__module__", "")).startswith("snntorch.") or kind in _RANDOM:
        raise SourceError(f"node {name}: spike_grad must be of snntorch.surrogate, without random numbers, not "
                          f"{printable(kind or type(function).__name__)}: give it snntorch.surrogate.atan(), whose "
                          f"spikes are those of a comparison")
    check_spikes(name, function, place.calls[0].inputs[0], (0, 0, 0, 1, 1))


def _check_plain(name: str, module: Any) -> None:
    """Refuse what changes membranes or spikes besides leak and reset; raises :exc:`SourceError`."""
    for key in ("state_quant", "inhibition"):
        if getattr(module, key):
            raise SourceError(f"node {name}: {key} must be False: train without it")
    if channel_values(name, "graded_spikes_factor", module.graded_spikes_factor, (1,)) != (1,):
        raise SourceError(f"node {name}: graded_spikes_factor must be 1: multiply the weights behind it instead")


def _first_membrane(name: str, place: Place) -> tuple[Fraction, ...]:
    """Membrane that the forward gives to the first timestep; each later one must go on with that before."""
    for before, call in zip(place.calls, place.calls[1:], strict=False):
        if len(call.inputs) > 1 and call.inputs[1] is not before.outputs[1]:
            raise SourceError(f"node {name}: its membrane must go on from timestep to timestep, not begin anew: let "
                              f"the forward run all timesteps, or give forward=, a function that does")
    first = place.calls[0]
    shape = place.seen.shape[2:]
    # The class takes zeros where the shape is another: that of init_leaky, or of a number.
    if first.second is None or first.second.shape != first.seen.shape:
        return (Fraction(0),)
    images = first.second.reshape(-1, *shape)
    if (images != images[:1]).any():
        raise SourceError(f"node {name}: its first membrane must be the same for all images")
    return channel_values(name, "its first membrane", first.inputs[1][:1].reshape(shape), shape)


def _neurons(name: str, place: Place) -> SpikingNeurons:
    """Return the node of a layer of ``Leaky``; raises :exc:`SourceError` if it has no exact place."""
    module, shape = place.leaf.module, place.seen.shape[2:]
    _check_plain(name, module)
    _check_function(name, module, place)
    reset = _reset_of(name, module)
    theta = channel_values(name, "threshold", module.threshold, shape)
    if min(theta) <= 0:
        raise SourceError(f"node {name}: threshold must be positive, not {float(min(theta)):g}")
    # The class limits it in the same way.
    lost = [1 - min(max(value, Fraction(0)), Fraction(1)) for value in channel_values(name, "beta", module.beta, shape)]
    leak = layer_leak(name, lost, f"train with beta of 0.5, 0.75 or 0.875, or with 1{ANY_LEAK}")
    if leak and reset is Reset.SUBTRACT:
        raise SourceError(f"node {name}: neurons with leak must be reset to zero, as a subtraction "
                          + ("comes a timestep late, after the leak" if module.reset_delay else
                             "of the threshold, above which they spike, has no exact place with a leak")
                          + f": train with reset_mechanism=\"zero\", or with beta=1{ANY_LEAK}")
    initial = _first_membrane(name, place)
    count = max(len(theta), len(initial))
    thetas, starts = (values * (count if len(values) == 1 else 1) for values in (theta, initial))
    if not module.reset_delay and any(start > limit for start, limit in zip(starts, thetas, strict=True)):
        raise SourceError(f"node {name}: its first membrane must not be above the threshold")
    # A membrane that begins above its threshold is reset before it has spiked.
    starts = tuple(start if start <= limit else start - limit if reset is Reset.SUBTRACT else Fraction(0)
                   for start, limit in zip(starts, thetas, strict=True))
    return SpikingNeurons(name=name, theta=theta, gain=(Fraction(1),), leak=leak, initial=starts, reset=reset,
                          small_currents=reset is Reset.SUBTRACT and not module.reset_delay)


_PACKAGE = Package(name="snntorch", title="snnTorch", comparison=Comparison.ABOVE, neurons=("Leaky",), read=_neurons,
                   reset=_reset, all_at_once=lambda module: False)


def from_snntorch(module: Any, example: Any, *, timesteps: int, encoding: str | Encoding,
                  scale: str | float | Fraction | None = None, zero_point: int = 0, shape: Shape | None = None,
                  readout: str | None = None, forward: Callable[[Any], Any] | None = None,
                  images: npt.NDArray[Any] | None = None, name: str = "network", max_fraction: int = 8) -> Exported:
    """Export a module with neurons of ``snntorch.Leaky``, and compare every spike with its own forward.

    The module stays as it is. It is run on images of noise, or on ``images``; its layers must form a chain.

    Parameters
    ----------
    module : the module, in evaluation mode
    example : a tensor like those that the module is called with, ``[N, C, H, W]`` or ``[N, inputs]``, or with the
        timesteps before, ``[T, N, ...]``; only shape, type and device count
    timesteps : T of an inference. A module whose forward is one timestep is called T times
    encoding : ``pixels``, one image in all timesteps, or ``events``, a binary frame in each
    scale : what a pixel p of 0 to 255 is multiplied with before the module sees it, as ``"1/255"``; not for events
    zero_point : pixel that means zero, 0 or 128: the module sees ``scale (p - zero_point)``
    shape : channels, height and width of images where the module sees them in a row
    readout : ``spikes``, those of the last neurons, counted, or ``currents`` of the last weights, for which neurons at
        the end are dropped; None takes what the module ends in, and what it returns must have the classes in that order
    forward : what is called with the input in the place of ``module``, and runs all timesteps
    images : ``uint8[images, C, H, W]`` or ``bool[images, T, C, H, W]`` on which spikes are compared; None takes noise
    name : what the network is called
    max_fraction : largest number of fractional bits of the membrane

    Returns
    -------
    the network with its certificate and report; :meth:`export.exported.Exported.save` writes it

    Raises
    ------
    :exc:`support.errors.InputError`
        If the module has no exact place in a network, something must be stated, or its forward computes something else
        than its layers say; one line that names the layer and a remedy.
    """
    stated = Stated(timesteps=timesteps, encoding=encoding, scale=scale, zero_point=zero_point, shape=shape,
                    readout=readout)
    return export_module(_PACKAGE, module, example, stated, forward=forward, images=images, name=name,
                         max_fraction=max_fraction)
