"""Training on several processes: one network, each process with its share of every batch.

Started by ``torchrun``, which sets the environment that :func:`connect` reads. Every process draws the same order and
the same distortions, and takes its part of the batch; gradients are averaged by ``DistributedDataParallel``, and
BatchNorm sees the whole batch (:class:`GlobalNorm`). So the result is that of a single process with the same recipe,
but for the order in which floats are added. Losses that are no mean over images (of a method) are means over shares.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

__all__ = ["GlobalNorm", "connect", "mean", "moments", "processes", "rank", "share", "use_global_norm"]


def rank() -> int:
    """Number of this process, from 0; 0 alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    """Count of processes that train together; 1 alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextlib.contextmanager
def connect(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` started, and give the device of this one; alone without ``torchrun``.

    Each process on a ``cuda`` device without a number gets the one of its local rank.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield device
        return
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def share(batch: Tensor) -> Tensor:
    """Return this process's part of a batch ``[B, ...]``: parts are consecutive, and equal as ``B`` is a multiple."""
    if processes() == 1:
        return batch
    return batch.chunk(processes())[rank()]


def mean(values: Tensor) -> Tensor:
    """Return the mean of ``values`` over all processes; no gradient."""
    if processes() > 1:
        values = values.detach().clone()
        dist.all_reduce(values)
        values /= processes()
    return values


def moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each column of ``[N, C]`` over the values of all processes; with gradients.

    All processes must have the same N, at least one.
    """
    if processes() == 1:
        return values.mean(0), values.var(0, correction=0)
    count = len(values) * processes()
    centre = all_reduce(values.sum(0)) / count
    return centre, all_reduce((values - centre).square().sum(0)) / count


class GlobalNorm(nn.BatchNorm1d):
    """BatchNorm of ``[N, C]`` with the statistics of all processes' values, on any device.

    ``torch.nn.SyncBatchNorm`` works on GPUs only. All processes must have the same N, at least one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``[N, C]``."""
        if not self.training or processes() == 1:
            return super().forward(input)
        count = input.shape[0] * processes()
        centre, variance = moments(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(centre, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        weight: Tensor | None = self.weight
        bias: Tensor | None = self.bias
        slope = (variance + self.eps).rsqrt()
        normal = (input - centre) * (slope if weight is None else weight * slope)
        return normal if bias is None else normal + bias


def use_global_norm(network: nn.Module) -> None:
    """Exchange every BatchNorm of ``network`` for a :class:`GlobalNorm` with its parameters and statistics."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm1d:
                norm: Any = GlobalNorm(child.num_features, eps=child.eps, momentum=child.momentum)
                # A norm may lack its scale or its shift.
                norm.weight, norm.bias = child.weight, child.bias
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm.to(next(child.buffers()).device))
