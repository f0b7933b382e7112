"""Frames: how requests and replies stand on the line, and how they are found there."""

import binascii
import dataclasses
import enum

from support.errors import InputError

__all__ = [
    "BAUD_RATES", "BYTE_BITS", "CRC_BYTES", "CRC_INIT", "CRC_POLYNOMIAL", "HEADER_BYTES", "MAX_MODEL",
    "MAX_PAYLOAD_BYTES", "SYNC", "TIMEOUT_BITS", "Command", "ErrorCode", "Frame", "FrameReader", "LinkError", "Reply",
    "crc16",
]  # fmt: skip

#: First byte of every frame.
SYNC = 0xA5
#: Rates in baud, of which a board offers the ones that its clock divides into.
BAUD_RATES = (1_000_000, 3_000_000, 12_000_000)
#: Bits of a byte on the line, with start bit and stop bit.
BYTE_BITS = 10
#: Bytes of a frame before the payload.
HEADER_BYTES = 5
#: Bytes of a frame behind the payload.
CRC_BYTES = 2
#: Largest payload that a frame's length can state.
MAX_PAYLOAD_BYTES = 0xFFFF
#: Silence, in bit times, after which a frame is given up by the device.
TIMEOUT_BITS = 65_536
#: Largest number of a model that a SELECT can state.
MAX_MODEL = 0xFF
#: CRC-16/MCRF4XX, in the bit order of the line.
CRC_POLYNOMIAL = 0x8408
CRC_INIT = 0xFFFF
#: Bytes with their bits in the other order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class LinkError(InputError):
    """Bytes do not follow the protocol."""


class Command(enum.IntEnum):
    """What the host asks for."""

    INFO = 0x01
    CLASSIFY = 0x02
    SELECT = 0x03


class Reply(enum.IntEnum):
    """What the device answers."""

    INFO = 0x81
    RESULT = 0x82
    ERROR = 0x84


class ErrorCode(enum.IntEnum):
    """Why a request has no other answer, in order of precedence."""

    BAD_CRC = 1
    WRONG_LENGTH = 2
    UNKNOWN_COMMAND = 3
    BUSY = 4
    OVERRUN = 5
    NO_MODEL = 6
    WRONG_MODEL = 7
    DAMAGED = 8
    FLASH = 9


def crc16(data: bytes, crc: int = CRC_INIT) -> int:
    """Continue a CRC over ``data``.

    >>> f"{crc16(b'123456789'):04X}"
    '6F91'
    """
    # Python's own CRC has the same polynomial and takes bits in the other order: all is reversed before and behind it.
    reversed_crc = binascii.crc_hqx(data.translate(_REVERSED), _reversed16(crc))
    return _reversed16(reversed_crc)


def _reversed16(value: int) -> int:
    return _REVERSED[value & 0xFF] << 8 | _REVERSED[value >> 8]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame, in either direction."""

    #: A :class:`Command` or :class:`Reply`, or a byte that is neither.
    command: int
    #: Chosen by the host, 0 to 255.
    tag: int
    #: At most :data:`MAX_PAYLOAD_BYTES`.
    payload: bytes = b""

    def __post_init__(self) -> None:
        for name in ("command", "tag"):
            if not 0 <= getattr(self, name) <= 0xFF:
                raise LinkError(f"{name} must be 0 to 255, not {getattr(self, name)!r}")
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise LinkError(f"payload must have at most {MAX_PAYLOAD_BYTES} bytes, not {len(self.payload)}")

    def to_bytes(self) -> bytes:
        """Encode the frame as it goes over the line.

        >>> Frame(command=Command.INFO, tag=7).to_bytes().hex(" ")
        'a5 01 07 00 00 9f 93'
        """
        body = bytes((self.command, self.tag)) + len(self.payload).to_bytes(2, "little") + self.payload
        return bytes((SYNC,)) + body + crc16(body).to_bytes(CRC_BYTES, "little")


class FrameReader:
    """Finds frames in a stream of bytes.

    What does not begin with the sync byte is skipped. After a frame with a wrong CRC the search continues behind its
    sync byte, so that a frame whose length was damaged does not take the next one with it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: Frames with a wrong CRC so far.
        self.bad_frames = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take received bytes and return the frames that they complete."""
        self._buffer += data
        frames: list[Frame] = []
        while True:
            start = self._buffer.find(SYNC)
            del self._buffer[: len(self._buffer) if start < 0 else start]
            if len(self._buffer) < HEADER_BYTES:
                return frames
            end = HEADER_BYTES + int.from_bytes(self._buffer[3:5], "little") + CRC_BYTES
            if len(self._buffer) < end:
                return frames
            if crc16(bytes(self._buffer[1:end])):
                self.bad_frames += 1
                del self._buffer[:1]
                continue
            command, tag = self._buffer[1:3]
            frames.append(Frame(command=command, tag=tag, payload=bytes(self._buffer[HEADER_BYTES : end - CRC_BYTES])))
            del self._buffer[:end]

    def reset(self) -> None:
        """Forget an unfinished frame."""
        self._buffer.clear()
