"""Loops of a training step on :func:`torch.compile`."""

import functools
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["LIMIT", "compiled"]

#: Kernels of one function, one for each combination of shapes, dtypes and constants. At torch's own limit of 8 deep
#: networks, and long processes, would fall back to slow loops that round differently.
LIMIT = 256


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` of tensors and constants, compiled for each combination of shapes that it meets.

    On a CPU this needs g++. The first call with new shapes takes seconds.
    """
    # The overloads for type checkers lack the limit.
    return torch.compile(function, dynamic=False, recompile_limit=LIMIT)  # type: ignore[call-overload,no-any-return]
