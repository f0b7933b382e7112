"""Weighted parts of layers: latent weights, the quantiser that makes codes of them, and the sums of those codes.

Maps are channels last, ``[T, B, H, W, C]``. Convolutions and linear layers compute in the dtype of their input with
codes -1, 0, +1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from train import quantisers

__all__ = ["ProjectedConv2d", "TernaryConv2d", "TernaryLinear"]


class TernaryConv2d(nn.Module):
    """Ternary convolution without bias, ``[N, H, W, in]`` -> float32 ``[N, H', W', out]``.

    ``scale * conv2d(x, codes)`` with the codes and the scale per output channel of its
    :mod:`quantiser <train.quantisers>`, by default TWN's.
    The latent weights are ``[out, in, kernel, kernel]``, as PyTorch's.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, *, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding
        self.quantiser: quantisers.Quantiser = quantisers.Ternary()
        self.weight = nn.Parameter(torch.empty(channels, in_channels, kernel, kernel))
        nn.init.kaiming_normal_(self.weight)

    @property
    def in_channels(self) -> int:
        """Channels of the input map."""
        return self.weight.shape[1]

    @property
    def kernel(self) -> int:
        """Side of the kernel, in pixels."""
        return self.weight.shape[2]

    def forward(self, x: Tensor) -> Tensor:
        """Current of the input ``x``."""
        sums, scale = self.sums_and_scale(x[None])
        return sums[0].float() * scale

    def sums_and_scale(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``conv2d(maps, codes)``, ``[T, B, H', W', out]`` of ``[T, B, H, W, in]``, and the scale ``[out]``."""
        with torch.autocast(maps.device.type, enabled=False):
            codes, scale = self.quantiser(self.weight)
            return self._convolved(maps, codes), scale

    def _convolved(self, maps: Tensor, codes: Tensor) -> Tensor:
        codes = codes.to(maps.dtype, memory_format=torch.channels_last)
        sums = functional.conv2d(maps.flatten(0, 1).movedim(-1, 1), codes, stride=self.stride, padding=self.padding)
        return sums.movedim(1, -1).unflatten(0, maps.shape[:2])


class ProjectedConv2d(TernaryConv2d):
    """Ternary convolution whose filters see a second map through 1 x 1 weights.

    Codes and scale are those of the whole filter. The latent weights are ``[out, in kernel kernel + channels]``: behind
    those of the kernel, flattened, the ones of the second map.

    Parameters
    ----------
    in_channels, channels, kernel, stride, padding
        As of :class:`TernaryConv2d`.
    beside : int
        Channels of the second map.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, *, beside: int, stride: int = 1,
                 padding: int = 0) -> None:
        super().__init__(in_channels, channels, kernel, stride=stride, padding=padding)
        self._sizes = in_channels, kernel
        self.weight = nn.Parameter(torch.empty(channels, in_channels * kernel**2 + beside))
        nn.init.kaiming_normal_(self.weight)

    @property
    def in_channels(self) -> int:
        """Channels of the first map."""
        return self._sizes[0]

    @property
    def kernel(self) -> int:
        """Side of the kernel, in pixels."""
        return self._sizes[1]

    @property
    def beside(self) -> int:
        """Channels of the second map."""
        return self.weight.shape[1] - self.in_channels * self.kernel**2

    def split(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parts of ``filters``, ``[out, ...]`` as the weights: ``[out, in, kernel, kernel]``, ``[out, C]``.

        They are those of the kernel and those of the second map.
        """
        kernel, beside = filters.split([filters.shape[1] - self.beside, self.beside], dim=1)
        return kernel.unflatten(1, (self.in_channels, self.kernel, self.kernel)), beside

    def join(self, kernel: Tensor, beside: Tensor) -> Tensor:
        """Return filters of their parts: the inverse of :meth:`split`."""
        return torch.cat([kernel.flatten(1), beside.flatten(1)], dim=1)

    def sums_and_scale(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Refuse: there are two maps; raises :exc:`TypeError`."""
        raise TypeError("a projected convolution must be given two maps: call sums_of_both")

    def sums_of_both(self, maps: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of codes over both maps, ``[T, B, H', W', out]``, and the scale ``[out]``.

        Parameters
        ----------
        maps : ``[T, B, H, W, in]``
        beside : ``[T, B, H', W', C]``
        """
        with torch.autocast(maps.device.type, enabled=False):
            codes, scale = self.quantiser(self.weight)
            kernel, projection = self.split(codes)
            return self._convolved(maps, kernel) + functional.linear(beside, projection.to(beside.dtype)), scale


class TernaryLinear(nn.Module):
    """Ternary linear layer without bias, ``[N, in]`` -> float32 ``[N, out]``; one scale per output or for the layer."""

    def __init__(self, inputs: int, outputs: int, *, per_channel: bool = True) -> None:
        super().__init__()
        self.per_channel = per_channel
        self.quantiser: quantisers.Quantiser = quantisers.Ternary()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Current of the input ``x``."""
        sums, scale = self.sums_and_scale(x[None])
        return sums[0].float() * scale

    def sums_and_scale(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``linear(maps, codes)``, ``[T, B, out]`` of ``[T, B, in]``, and the scale, ``[out]`` or ``[]``."""
        with torch.autocast(maps.device.type, enabled=False):
            codes, scale = self.quantiser(self.weight, per_channel=self.per_channel)
            return functional.linear(maps, codes.to(maps.dtype)), scale
