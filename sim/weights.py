"""Where a simulated circuit has its weights."""

import enum

__all__ = ["Weights"]


class Weights(enum.StrEnum):
    """Where a circuit has its weights."""

    #: In its memories, from the beginning: a bitstream of one network.
    BAKED = "baked"
    #: In flash, out of which they are streamed: the bitstream of all networks.
    FLASH = "flash"
