"""Where the network of a circuit comes from.

A :class:`gateware.system.System` is a circuit, which an :class:`gateware.engine.configuration.EngineConfig` describes,
and a network, which a source of this file brings: the contents of the memories, the info block of the host link, and
the sizes of an image and of a result. The same circuit runs every network that fits it, so only the source changes.
"""

import dataclasses
from typing import Protocol

from arch.link import INFO_BYTES, Info
from gateware.engine.contents import MemoryContents

__all__ = ["Baked", "Loaded", "Marked", "NetworkSource"]


class NetworkSource(Protocol):
    """What a system asks the source of its network. A source that knows nothing yet answers None."""

    @property
    def contents(self) -> MemoryContents | None:
        """Contents of the memories after configuration. None: undefined, until something writes them."""

    @property
    def info_block(self) -> bytes:
        """Answer to an INFO request after configuration, :data:`arch.link.INFO_BYTES` bytes."""

    @property
    def image_bytes(self) -> int | None:
        """Bytes of an image. None: the window writer reads them from its table after reset."""

    @property
    def result_words(self) -> int | None:
        """Words of a result. None: the window writer reads the number of classes from its table after reset."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Baked:
    """A network that is part of the bitstream.

    The sizes are constants of the circuit, which saves the registers that would hold them.
    """

    #: Laid out for the circuit.
    contents: MemoryContents
    #: The network on the circuit, as the host is told.
    info: Info

    @property
    def info_block(self) -> bytes:
        """The info block, encoded."""
        return self.info.to_bytes()

    @property
    def image_bytes(self) -> int:
        """Bytes of an image of the network."""
        return self.info.image_bytes

    @property
    def result_words(self) -> int:
        """Words of a result of the network."""
        return self.info.result_words


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A network that is written into the memories before reset ends, as simulations do.

    The circuit then depends on its configuration alone: one compiled simulation runs many networks.
    """

    @property
    def contents(self) -> None:
        """Undefined until the memories are written."""
        return None

    @property
    def info_block(self) -> bytes:
        """Zeros, until the memory of the info block is written."""
        return bytes(INFO_BYTES)

    @property
    def image_bytes(self) -> None:
        """Part of what is written."""
        return None

    @property
    def result_words(self) -> None:
        """Part of what is written."""
        return None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Marked:
    """A network that the bitstream gets after place and route, where marks tell which bit is which.

    The sizes are constants of the circuit, as those of :class:`Baked`: a network that is put in has the same.
    """

    #: Marks in the place of a network's contents, and of its info block.
    contents: MemoryContents
    info_block: bytes
    #: Sizes of an image and of a result of every network that is put in.
    image_bytes: int
    result_words: int
