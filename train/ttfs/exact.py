"""The exact forward of a trained network with spike times: what its integer network reproduces value for value.

It is the definition of the trained network: in float64 and on the dyadic values of :class:`arch.ttfs.code.TimeCode`,
where every sum is exact. ``export.ttfs`` computes the same from the checkpoint, without PyTorch, and proves its
integers equal to it.
"""

import numpy as np
import torch
from torch import Tensor, nn

from arch.ttfs.code import TimeCode
from arch.ttfs.widths import membrane_range
from train.ttfs.network import TtfsLayer, TtfsNetwork
from train.ttfs.neurons import TtfsActivation

__all__ = ["accuracy", "forward", "mismatches", "predict"]

#: Images that are computed at once.
BATCH = 100


def _planes(maps: Tensor, code: TimeCode) -> Tensor:
    """Split times ``[B, C, H, W]`` into powers of two, float64 ``[B, C tau, H, W]``: one channel per ``t mod tau``."""
    times = np.arange(code.timesteps + 1)
    chosen = ((times % code.tau)[:, None] == np.arange(code.tau)) & (times < code.timesteps)[:, None]
    table = torch.from_numpy(np.ldexp(chosen.astype(np.float64), -(times // code.tau)[:, None]))
    return table[maps.long()].movedim(-1, 2).flatten(1, 2)


def _plane_weights(codes: Tensor, code: TimeCode) -> Tensor:
    """Values of ``codes`` ``[out, in, ...]`` for spikes at times 0 to tau - 1, float64 ``[out, in tau, ...]``.

    ``t = tau h + b`` halves h times what b gives, exactly: the products of a network of one octave are all there is.
    """
    octave = TimeCode(timesteps=code.tau, tau=code.tau, p=code.p, bits=code.bits, fraction=code.fraction)
    table = torch.from_numpy(octave.products()[:, :-1]).double() * 2.0**-octave.unit_bits
    values = table[codes.abs().long()] * codes.sign()[..., None]
    return values.movedim(-1, 2).flatten(1, 2)


def _exact_sums(layer: TtfsLayer, code: TimeCode, maps: Tensor) -> Tensor:
    codes, _ = layer.integer_codes()
    # Refuses sums that float64 may not hold exactly.
    membrane_range(code, codes.numpy())
    if codes.dim() == 2:
        codes = codes.unflatten(1, tuple(maps.shape[1:])).flatten(2)
        weight = _plane_weights(codes, code).flatten(1)
    else:
        weight = _plane_weights(codes, code)
    return layer.sums(_planes(maps, code), weight)


@torch.no_grad()
def forward(network: TtfsNetwork, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the scores and every spike time of the trained network, in float64.

    Convolutions have sums of dyadic rationals, exact below 2^53 units and so in any order; a neuron spikes at the first
    ``t`` with ``gain * sum + offset >= theta(t)``.

    Parameters
    ----------
    network : TtfsNetwork
        On the CPU. BatchNorm's running statistics count, whatever its mode is.
    images : uint8 ``[N, C, H, W]``

    Returns
    -------
    scores : float64 ``[N, classes]``
        Sums of the readout, without its scale and ``theta0``; exact. The class is the lowest index of the largest.
    times : list of uint8 ``[N, C, H, W]``
        Of the input and of each layer before the readout, pools included; T for no spike.

    Raises
    ------
    :exc:`ValueError`
        If the images are of another type or shape, weights are float, or a sum may reach 2^53 units.
    """
    code, source = network.code, network.architecture["input"]
    if code is None:
        raise ValueError("weights must be log5 or ternary to be exact, not float")
    shape = tuple(source[side] for side in ("channels", "height", "width"))
    if images.dtype != torch.uint8 or images.shape[1:] != shape:
        raise ValueError(f"images must be uint8 of shape (N, {', '.join(map(str, shape))}), "
                         f"not {str(images.dtype).removeprefix('torch.')} of {tuple(images.shape)}")
    maps = network.encoder.encode(images.double() * network.scale).to(torch.uint8)
    times = [maps]
    for layer in network.chain:
        if not isinstance(layer, TtfsLayer):
            assert isinstance(layer, nn.MaxPool2d)
            # The largest value is the earliest time.
            maps = (code.timesteps - layer(code.timesteps - maps.float())).to(torch.uint8)
        else:
            sums = _exact_sums(layer, code, maps)
            if layer.activation is None:
                break
            gain, offset = (value[:, None, None] for value in layer.gain_and_offset(network.theta0))
            # Two roundings, never a fused one: export relies on them.
            maps = layer.activation.encode(sums * gain + offset).to(torch.uint8)
        times.append(maps)
    return sums.flatten(1), times


@torch.no_grad()
def predict(network: TtfsNetwork, images: Tensor) -> Tensor:
    """Return the classes, int64 ``[N]``, of images as of :func:`forward`."""
    # argmax of torch does not promise the lowest index on a tie; that of numpy does.
    return torch.cat([torch.from_numpy(forward(network, batch)[0].numpy().argmax(1))
                      for batch in images.split(BATCH)])


def accuracy(network: TtfsNetwork, images: Tensor, labels: Tensor) -> float:
    """Return the share of right classes of the exact forward; labels int64 ``[N]``."""
    return int((predict(network, images) == labels).sum()) / len(labels)


@torch.no_grad()
def mismatches(network: TtfsNetwork, images: Tensor) -> tuple[int, int]:
    """Count the places where float32's value of the spike is not that of the exact forward, and all places compared.

    All layers are in evaluation mode and mode ``ttfs`` for it, and come back to what they were.
    """
    modes = [(module, module.mode) for module in network.modules() if isinstance(module, TtfsActivation)]
    training = network.training
    network.eval().set_activation("ttfs")
    wrong = compared = 0
    try:
        for batch in images.split(BATCH):
            maps: list[Tensor] = []
            network(batch, maps)
            for ours, times in zip(maps, forward(network, batch)[1], strict=True):
                wrong += int((ours != network.encoder.decode(times.long())).sum())
                compared += ours.numel()
    finally:
        network.train(training)
        for module, mode in modes:
            module.set_mode(mode)
    return wrong, compared

