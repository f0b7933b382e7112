"""Spike maps, as they lie in the spike memory of the circuit."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from arch.network import Shape
from gateware.engine.configuration import EngineConfig
from gateware.mapper.plan import Plan

__all__ = ["read_map", "unpack_map"]


def unpack_map(config: EngineConfig, rows: Sequence[int], shape: Shape, *, timesteps: int,
               planes: int = 1) -> npt.NDArray[np.bool_]:
    """Unpack the map that is all of the spike memory's ``rows``.

    Parameters
    ----------
    config : the circuit
    rows : words of the map, plane by plane
    shape : channels, height, width
    timesteps : T of the network
    planes : blocks of the circuit's timesteps, one after another

    Returns
    -------
    maps : ``bool[T, channels, height, width]``
    """
    channels, height, width = shape
    words = -(-channels // config.width)
    size  = -(-config.width * config.timesteps // 8)
    packed = np.frombuffer(b"".join(int(row).to_bytes(size, "little") for row in rows), np.uint8)
    bits = np.unpackbits(packed.reshape(len(rows), size), axis=1, bitorder="little")
    bits = bits[:, :config.width * config.timesteps].reshape(
        planes, height, width, words * config.width, config.timesteps)
    ordered = bits[:, :, :, :channels].transpose(0, 4, 3, 1, 2).reshape(-1, channels, height, width)
    return ordered[:timesteps].astype(bool)


def read_map(plan: Plan, number: int, rows: Sequence[int], first: int = 0) -> npt.NDArray[np.bool_]:
    """Unpack the result of stage ``number`` from the spike memory's ``rows``, which begin with row ``first``.

    Returns ``bool[T, channels, height, width]`` for the network's T.
    """
    stage = plan.stages[number]
    place = stage.placement.target - first
    return unpack_map(plan.config, rows[place:place + stage.map_words(plan.config)], stage.target,
                      timesteps=plan.network.timesteps)
