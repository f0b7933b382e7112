"""Results: the payload of the reply RESULT."""

import dataclasses
import struct
from typing import Self

from arch.link.frame import LinkError

__all__ = ["RESULT_HEADER_WORDS", "Result"]

#: Words of a result before the scores: class, cycles, stall cycles, cycles that waited for the flash.
RESULT_HEADER_WORDS = 4


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """Payload of a RESULT."""

    #: Index of the highest score, the lowest on a tie.
    label: int
    #: Clocks from the last pixel to the class.
    cycles: int
    #: Clocks in which the engine stood still because a pixel was written.
    stalls: int
    #: Clocks in which the engine waited for the flash; 0 where the weights are in the bitstream.
    flash_stalls: int
    #: One signed score per class.
    scores: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """Encode the payload."""
        words = (self.label, self.cycles, self.stalls, self.flash_stalls, *self.scores)
        return b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in words)

    @classmethod
    def from_bytes(cls, data: bytes, classes: int) -> Self:
        """Decode the payload.

        Raises
        ------
        :exc:`LinkError`
            If it has not the size or not a class of a network with ``classes`` classes.
        """
        size = 4 * (RESULT_HEADER_WORDS + classes)
        if len(data) != size:
            raise LinkError(f"result must have {size} bytes, not {len(data)}")
        label, cycles, stalls, flash_stalls, *scores = struct.unpack(f"<{RESULT_HEADER_WORDS}I{classes}i", data)
        if label >= classes:
            raise LinkError(f"class must be less than {classes}, not {label}")
        return cls(label=label, cycles=cycles, stalls=stalls, flash_stalls=flash_stalls, scores=tuple(scores))
