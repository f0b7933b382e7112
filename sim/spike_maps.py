"""Spike maps, as they lie in the spike memory of the circuit."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gateware.mapper.plan import Plan

__all__ = ["read_map"]


def read_map(plan: Plan, number: int, rows: Sequence[int], first: int = 0) -> npt.NDArray[np.bool_]:
    """Unpack the result of stage ``number`` from the spike memory's ``rows``, which begin with row ``first``.

    Returns ``bool[T, channels, height, width]`` for the network's T.
    """
    config, stage = plan.config, plan.stages[number]
    channels, height, width = stage.target
    words = -(-channels // config.width)
    place = stage.placement.target - first
    chosen = rows[place:place + height * width * words]
    size = -(-config.width * config.timesteps // 8)
    packed = np.frombuffer(b"".join(int(row).to_bytes(size, "little") for row in chosen), np.uint8)
    bits = np.unpackbits(packed.reshape(len(chosen), size), axis=1, bitorder="little")
    bits = bits[:, :config.width * config.timesteps].reshape(height, width, words * config.width, config.timesteps)
    return bits[:, :, :channels, :plan.network.timesteps].transpose(3, 2, 0, 1).astype(bool)
