"""The header of a model: an entry of the directory, 256 bytes.

======  ====  ==========================================================================================
offset  size  field
======  ====  ==========================================================================================
0       16    signature: the circuit that the model is for (:class:`arch.flash.circuit.Circuit`)
16      64    info block (:class:`arch.link.Info`), which the circuit shows to the host; the name is in it
80      32    SHA-256 of the network
112     4     bytes of the stream
116     124   reserved, 0
240     8     what the circuit keeps, below
248     4     reserved, 0
252     4     CRC-32 of bytes 0 to 251; the circuit reads it in the seal of the stream (:data:`SEAL_BYTES`)
======  ====  ==========================================================================================

======  ====  ==========================================================================================
240     1     reserved, 0
241     1     classes, minus one
242     2     words of the spike memory from a slice of the image to the next one
244     2     bytes of an image
246     1     bits 0 to 5: channels of the image, minus one; bit 6: slices of the image, minus one; bit 7: image
              buffers, minus one
247     1     address of the seal of the stream divided by 65,536
======  ====  ==========================================================================================

All integers are little-endian. What the circuit keeps follows from the info block, but for the address and the number
of buffers; it is written out so that the circuit need not compute it. The circuit shifts these bytes through a
register: the one of which it needs few bits comes first.
"""

import dataclasses
import zlib
from typing import Self

from arch.flash.circuit import SIGNATURE_BYTES, Circuit
from arch.flash.errors import ImageError
from arch.link import INFO_BYTES, NAME_BYTES, Info, InputEncoding, LinkError

__all__ = ["BLOCK_BYTES", "CRC_OFFSET", "HEADER_BYTES", "INFO_OFFSET", "KEPT_BYTES", "KEPT_OFFSET",
           "SEAL_BYTES", "ModelHeader", "check_crc", "crc_bytes", "seal_bytes"]

#: Bytes of a header.
HEADER_BYTES = 256
#: Seals and streams begin at multiples of this: the block that programmers erase.
BLOCK_BYTES = 65_536
#: Bytes of a *seal*, the page of flash before a stream: the CRC of the header that belongs to the stream, then FFh.
SEAL_BYTES = 256
#: Where the info block is.
INFO_OFFSET = 16
#: Where what the circuit keeps is, and its size.
KEPT_OFFSET, KEPT_BYTES = 240, 8

_DIGEST_OFFSET, _LENGTH_OFFSET = 80, 112
#: Where the CRC is; what it covers ends before it.
CRC_OFFSET = 252
#: Bits of a pixel, each a bit-plane.
_PLANES = 8
#: Most classes and channels that bytes 241 and 246 can state.
_MOST_CLASSES, _MOST_CHANNELS = 256, 64


def crc_bytes(data: bytes) -> bytes:
    """Return the CRC-32 (IEEE 802.3, as :func:`zlib.crc32`) of ``data``, as it is stored."""
    return zlib.crc32(data).to_bytes(4, "little")


def check_crc(content: bytes, stored: bytes, *, offset: int) -> None:
    """Raise :exc:`ImageError` unless ``stored``, found at ``offset``, is the CRC-32 of ``content``."""
    if stored != crc_bytes(content):
        raise ImageError(f"CRC-32 at {offset:#x} must be {zlib.crc32(content):08x}, "
                         f"not {int.from_bytes(stored, 'little'):08x}: make the image again with python -m export")


def seal_bytes(header: bytes) -> bytes:
    """Make the seal of the stream that belongs to a header, of its 256 bytes."""
    return header[CRC_OFFSET:].ljust(SEAL_BYTES, b"\xff")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModelHeader:
    """What the directory says of a model."""

    #: The circuit that it is for.
    circuit: Circuit
    #: What the host is told; its name has at least one character.
    info: Info
    #: SHA-256 of the network, 32 bytes.
    digest: bytes
    #: Bytes of the stream.
    length: int
    #: Where the seal is in the flash, with the stream behind it: a multiple of 65,536 below 2^24.
    address: int
    #: Image buffers: 1, or 2 if the next image may arrive while one is computed.
    buffers: int

    def __post_init__(self) -> None:
        if not self.name:
            raise ImageError(f"name of a model must be 1 to {NAME_BYTES} bytes of printable UTF-8, not {self.name!r}")
        if len(self.digest) != 32 or self.digest[:8] != self.info.digest:
            raise ImageError("digest of a model must be 32 bytes that begin with those of its info block, "
                             f"not {self.digest.hex()}")
        if self.address % BLOCK_BYTES or not 0 <= self.address < 1 << 24:
            raise ImageError(f"address of a stream must be a multiple of {BLOCK_BYTES} below 2^24, "
                             f"not {self.address:#x}")
        begin = self.address + SEAL_BYTES
        if not 1 <= self.length <= (1 << 24) - begin:
            raise ImageError(f"length of a stream at {begin:#x} must be 1 to {(1 << 24) - begin} bytes, "
                             f"not {self.length}")
        if self.buffers not in (1, 2):
            raise ImageError(f"buffers of a model must be 1 or 2, not {self.buffers!r}")
        self._check_info()

    def _check_info(self) -> None:
        info, circuit = self.info, self.circuit
        array = (info.lanes, info.width, info.circuit_timesteps)
        if array != (circuit.lanes, circuit.width, circuit.timesteps):
            raise ImageError("array of the info block must be that of the signature, "
                             f"{circuit.lanes} x {circuit.width} x {circuit.timesteps}, "
                             f"not {array[0]} x {array[1]} x {array[2]}")
        most = circuit.timesteps * circuit.blocks
        if info.timesteps > most:
            raise ImageError(f"timesteps of a model must be 1 to {most}, {circuit.blocks} blocks of "
                             f"{circuit.timesteps}, not {info.timesteps}")
        if self.slices not in (1, 2):
            raise ImageError(f"image must have 1 or 2 slices of {circuit.timesteps} bits, not {self.slices}")
        if info.classes > _MOST_CLASSES:
            raise ImageError(f"classes of a model in flash must be 1 to {_MOST_CLASSES}, not {info.classes}")
        if info.channels > _MOST_CHANNELS:
            raise ImageError(f"channels of an image must be 1 to {_MOST_CHANNELS}, not {info.channels}")

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.info.name

    @property
    def slices(self) -> int:
        """Groups of T bits in a byte of the image: bit-planes of pixels, or timesteps of events."""
        bits = self.info.timesteps if self.info.encoding is InputEncoding.EVENTS else _PLANES
        return -(-bits // self.circuit.timesteps)

    @property
    def plane_words(self) -> int:
        """Words of the spike memory that a slice of the image takes."""
        return self.info.image_height * self.info.image_width * -(-self.info.channels // self.circuit.width)

    def kept_bytes(self) -> bytes:
        """Encode what the circuit keeps."""
        shape = self.info.channels - 1 | (self.slices - 1) << 6 | (self.buffers - 1) << 7
        return (bytes((0, self.info.classes - 1)) + self.plane_words.to_bytes(2, "little")
                + self.info.image_bytes.to_bytes(2, "little") + bytes((shape, self.address // BLOCK_BYTES)))

    def to_bytes(self) -> bytes:
        """Encode the header."""
        content = (self.circuit.to_bytes() + self.info.to_bytes() + self.digest
                   + self.length.to_bytes(4, "little")).ljust(KEPT_OFFSET, b"\0")
        content = (content + self.kept_bytes()).ljust(CRC_OFFSET, b"\0")
        return content + crc_bytes(content)

    @classmethod
    def from_bytes(cls, data: bytes, *, circuit: Circuit | None = None, offset: int = 0) -> Self:
        """Decode a header.

        Parameters
        ----------
        data
            Its 256 bytes.
        circuit
            The circuit that the model must be for; None accepts any.
        offset
            Where the header is, for messages.

        Raises
        ------
        :exc:`ImageError`
            If it is none, or not what :meth:`to_bytes` writes; every byte counts.
        """
        if len(data) != HEADER_BYTES:
            raise ImageError(f"header at {offset:#x} must have {HEADER_BYTES} bytes, not {len(data)}: "
                             "the image is truncated")
        found = Circuit.from_bytes(data[:SIGNATURE_BYTES])
        if circuit is not None:
            circuit.check_same(found)
        check_crc(data[:CRC_OFFSET], data[CRC_OFFSET:], offset=offset + CRC_OFFSET)
        try:
            info = Info.from_bytes(data[INFO_OFFSET : INFO_OFFSET + INFO_BYTES])
        except LinkError as error:
            raise ImageError(f"info block at {offset + INFO_OFFSET:#x}: {error}") from None
        header = cls(circuit=found, info=info, digest=data[_DIGEST_OFFSET:_LENGTH_OFFSET],
                     length=int.from_bytes(data[_LENGTH_OFFSET : _LENGTH_OFFSET + 4], "little"),
                     address=data[KEPT_OFFSET + 7] * BLOCK_BYTES, buffers=1 + (data[KEPT_OFFSET + 6] >> 7))
        wanted = header.to_bytes()
        for place, (byte, expected) in enumerate(zip(data, wanted, strict=True)):
            if byte != expected:
                raise ImageError(f"byte at {offset + place:#x} must be {expected:#04x}, not {byte:#04x}")
        return header
