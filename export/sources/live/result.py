"""Whether a module returns what its classes are decided by: what its last layer gives, summed over the timesteps.

The forward may sum, scale or normalise that as it likes, as long as it orders the classes in the same way. A forward
that returns membranes, changes the order of the classes or looks at one timestep has another class than the circuit.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from export.sources.chain import SourceError
from export.sources.live.tracing import Place
from support.errors import printable

__all__ = ["check_result"]

#: Rounding of a sum, in units of the last place of the largest.
_ROUNDINGS = 2.0**6


def check_result(last: Place, results: Sequence[Sequence[npt.NDArray[np.float64]]], images: int,
                 epsilon: float) -> None:
    """Check that one of the tensors that the forward returns has the classes in the order of the sums of ``last``.

    Parameters
    ----------
    last : the last layer
    results : tensors that every call of the forward has returned; none of them is an answer, too
    images : number of images in a call
    epsilon : of the floats in which the module computes

    Raises
    ------
    :exc:`SourceError`
        If there are tensors, and none of them has.
    """
    if last.given.ndim != 3 or not any(results):
        return
    sums = last.given.sum(axis=0)
    margin = _ROUNDINGS * epsilon * float(np.abs(last.given).sum(axis=0).max())
    counts = {len(call) for call in results}
    calls = zip(*results, strict=True) if len(counts) == 1 else ()
    if any(_ordered(sums, margin, found, epsilon) for call in calls for found in _scores(call, images)):
        return
    raise SourceError(f"node {printable(last.leaf.name)}: the forward must return what this layer gives, or its sum or "
                      f"mean over the timesteps, by which the classes are decided, not what orders them otherwise: let "
                      f"it return that, or give forward=, a function that does; or say readout=\"spikes\" or "
                      f"readout=\"currents\", and the sums decide whatever it returns")


def _scores(tensors: Sequence[npt.NDArray[np.float64]], images: int) -> list[npt.NDArray[np.float64]]:
    """Return what the same tensor of every call may be as scores, ``[images, classes]``, or classes, ``[images]``."""
    first = tensors[0]
    if any(tensor.shape != first.shape for tensor in tensors):
        return []
    total = np.sum(tensors, axis=0)
    if first.ndim == 3:
        return [total.sum(axis=axis) for axis in (0, 1) if first.shape[1 - axis] == images]
    # Classes of several calls are no numbers to add.
    fits = first.ndim in (1, 2) and len(first) == images and (first.ndim == 2 or len(tensors) == 1)
    return [total] if fits else []


def _ordered(sums: npt.NDArray[np.float64], margin: float, found: npt.NDArray[np.float64], epsilon: float) -> bool:
    """Whether ``found``, scores or classes, has the order of ``sums``, ``[images, classes]``, but for roundings."""
    behind = sums < sums.max(axis=1, keepdims=True) - margin
    if found.ndim == 1:
        classes = found.astype(int)
        return bool(np.array_equal(classes, found) and (classes >= 0).all() and (classes < sums.shape[1]).all()
                    and not behind[np.arange(len(classes)), classes].any())
    if found.shape != sums.shape or not np.isfinite(found).all():
        return False
    near = _ROUNDINGS * epsilon * float(np.abs(found).max())
    first = found >= found.max(axis=1, keepdims=True) - near
    ahead = sums == sums.max(axis=1, keepdims=True)
    return not ((first & behind) | (ahead & ~first)).any() and not any(
        ((sums[:, one] > sums[:, other] + margin) & (found[:, one] < found[:, other] - near)).any()
        for one, other in itertools.permutations(range(sums.shape[1]), 2))
