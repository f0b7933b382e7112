"""What the readers of both packages share about neurons: parameters per channel, leaks, the function that spikes."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from arch.network import MAX_LEAK_SHIFT
from export.sources.chain import SourceError, rationals, shift_of
from export.sources.live.recording import array_of
from export.sources.nodes import finite, same_over_positions

__all__ = ["ANY_LEAK", "channel_values", "check_spikes", "layer_leak"]

#: What may be done with a leak that has no exact place, without changing the network.
ANY_LEAK = ", or write it as a NIR graph for python -m train --from, which takes any leak"


def channel_values(name: str, key: str, value: Any, shape: Sequence[int]) -> tuple[Fraction, ...]:
    """Return a parameter per channel, or one for all; a tensor is repeated over a map of ``shape`` as PyTorch does.

    Raises
    ------
    :exc:`SourceError`
        If it is not finite, or differs between positions of a channel.
    """
    values = finite(name, key, array_of(value) if hasattr(value, "detach") else np.array(float(value)))
    if values.size == 1:
        return (Fraction(float(values.flat[0])),)
    try:
        maps = np.broadcast_to(values, (1, *shape))[0].reshape(shape[0], -1)
    except ValueError:
        raise SourceError(f"node {name}: {key} must have the shape of a map of {tuple(shape)}, not {values.shape}: "
                          f"give one value a channel, of shape {(shape[0], *(1,) * (len(shape) - 1))}") from None
    return tuple(rationals(same_over_positions(name, key, maps)))


def layer_leak(name: str, lost: Sequence[Fraction], remedy: str) -> Fraction:
    """Return the share of the membrane that is lost in a timestep, 0 or 2^-k, of shares per channel.

    Raises
    ------
    :exc:`SourceError`
        If it is another share, or not the same in all channels; the line ends with the ``remedy``.
    """
    if len(set(lost)) > 1:
        raise SourceError(f"node {name}: all neurons must have one leak, not {len(set(lost))}: train with one for the "
                          f"layer")
    share = lost[0]
    if share and shift_of(share) is None:
        raise SourceError(f"node {name}: the share of the membrane lost in a timestep must be 0, or 2^-k with k from 1 "
                          f"to {MAX_LEAK_SHIFT}, not {float(share):.6g}: {remedy}")
    return share


def check_spikes(name: str, function: Callable[[Any], Any], like: Any, expected: Sequence[int]) -> None:
    """Check what ``function`` makes of membranes minus threshold of -1, -tiny, 0, tiny and 1, in the type of ``like``.

    Raises
    ------
    :exc:`SourceError`
        If those are not the ``expected`` spikes.
    """
    tiny = math.ldexp(1.0, -20)
    found = array_of(function(like.detach().new_tensor([-1.0, -tiny, 0.0, tiny, 1.0])))
    if found.tolist() != list(expected):
        raise SourceError(f"node {name}: its surrogate function must give {list(expected)} for -1, 0 minus a little, "
                          f"0, 0 plus a little, and 1, not {found.tolist()}: use one of the package's own")
