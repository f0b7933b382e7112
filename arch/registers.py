"""The registers of an accelerator in a system on a chip: what its software and its gateware must agree on.

Words of 32 bits, little-endian, at byte offsets from the base of the accelerator. The first 64 bytes are the info block
of :class:`arch.link.Info`, which begins with ``STRN`` and names the network.
"""

import dataclasses
import enum

from arch.link import INFO_BYTES

__all__ = ["CONTROL_BITS", "REGISTERS", "REGISTER_MAP_VERSION", "SCORES_OFFSET", "STATUS_BITS", "Access", "Bit",
           "Register", "aperture_bytes", "registers_of"]

#: Version of the registers: the high half changes when software that knows an older one would misread them.
REGISTER_MAP_VERSION = 0x0001_0000

#: Byte offset of the score of class 0; those of the others follow, a word each.
SCORES_OFFSET = 0x100


class Access(enum.StrEnum):
    """What the bus may do with a register."""

    READ = "read"
    WRITE = "write"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Bit:
    """One bit of a register."""

    name: str
    number: int
    #: What it says, or does when it is written as 1, as a sentence of the tables without its full stop.
    meaning: str

    @property
    def mask(self) -> int:
        """Value of the register in which this bit alone is set."""
        return 1 << self.number


#: Bits of the register STATUS, from bit 0 on.
STATUS_BITS = (
    Bit(name="READY", number=0, meaning="an image can begin: there is a buffer for it, and none is on its way"),
    Bit(name="BUSY", number=1, meaning="an inference is running"),
    Bit(name="RESULT", number=2, meaning="there is a result that was not taken yet"),
    Bit(name="LENGTH", number=3, meaning="an image was refused, because it had not the bytes of an image"),
    Bit(name="EARLY", number=4, meaning="an image was refused, because it began while READY was 0"),
)

#: Bits of the register CONTROL, from bit 0 on.
CONTROL_BITS = (
    Bit(name="TAKE", number=0, meaning="the result was read: RESULT falls, and the next result may come"),
    Bit(name="CLEAR", number=1, meaning="LENGTH and EARLY fall"),
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Register:
    """One register."""

    name: str
    #: Bytes from the base.
    offset: int
    access: Access
    #: What it holds, as a sentence of the tables without its full stop.
    meaning: str
    #: Pixels come through it, where they do not come as a stream.
    takes_pixels: bool = False


#: All registers but the info block and the scores, in the order of their offsets.
REGISTERS = (
    Register(name="VERSION", offset=INFO_BYTES + 0x00, access=Access.READ,
             meaning="version of this table: major in bits 31 to 16, minor in bits 15 to 0"),
    Register(name="IMAGE_BYTES", offset=INFO_BYTES + 0x04, access=Access.READ, meaning="bytes of an image"),
    Register(name="CLASSES", offset=INFO_BYTES + 0x08, access=Access.READ, meaning="number of classes"),
    Register(name="STATUS", offset=INFO_BYTES + 0x0C, access=Access.READ, meaning="bits of the state, see below"),
    Register(name="CONTROL", offset=INFO_BYTES + 0x10, access=Access.WRITE, meaning="bits that act, see below"),
    Register(name="CLASS", offset=INFO_BYTES + 0x14, access=Access.READ,
             meaning="class of the last result, the lowest of those with the largest score"),
    Register(name="CYCLES", offset=INFO_BYTES + 0x18, access=Access.READ,
             meaning="clocks of the last inference, its stalls included"),
    Register(name="STALLS", offset=INFO_BYTES + 0x1C, access=Access.READ,
             meaning="clocks of the last inference that waited for pixels of the next image"),
    Register(name="IMAGES", offset=INFO_BYTES + 0x20, access=Access.READ,
             meaning="results since reset, modulo 2^32"),
    Register(name="REFUSED", offset=INFO_BYTES + 0x24, access=Access.READ,
             meaning="images that were refused since reset, modulo 2^32"),
    Register(name="PIXELS", offset=INFO_BYTES + 0x28, access=Access.WRITE, takes_pixels=True,
             meaning="four bytes of an image, the first in bits 7 to 0"),
    Register(name="PIXELS_LAST", offset=INFO_BYTES + 0x2C, access=Access.WRITE, takes_pixels=True,
             meaning="the last bytes of an image, as many as are left of it after whole words, the first in bits 7 to "
                     "0: ends the image"),
)


def registers_of(*, pixels: bool) -> tuple[Register, ...]:
    """Registers of an accelerator whose pixels come through registers, or through a stream."""
    return tuple(register for register in REGISTERS if pixels or not register.takes_pixels)


def aperture_bytes(classes: int) -> int:
    """Bytes of the address space of an accelerator with so many classes: a power of two."""
    return 1 << (SCORES_OFFSET + 4 * classes - 1).bit_length()
