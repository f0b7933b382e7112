"""The protocol between a host and the accelerator, at byte level.

The line is a full-duplex UART, 8N1 (a start bit, eight data bits with the least significant first, a stop bit), at 1, 3
or 12 Mbaud where the device's clock divides. All integers are little-endian. Both directions carry frames:

======  ====  ================================================================================
offset  size  field
======  ====  ================================================================================
0       1     sync byte, A5h
1       1     command (requests, from the host) or reply code (replies, from the device)
2       1     tag: any value the host chooses; the reply carries the same one
3       2     length of the payload in bytes, 0 to 65,535
5       n     payload
5 + n   2     CRC of bytes 1 to 4 + n (command, tag, length, payload; not the sync byte)
======  ====  ================================================================================

The CRC is CRC-16/MCRF4XX: polynomial x^16 + x^12 + x^5 + 1, bits taken in the order of the line, initial value FFFFh,
no final inversion, low byte first; the CRC of ``123456789`` is 6F91h, and a CRC that runs over the two CRC bytes as
well ends at 0. Every odd number of wrong bits, every burst of up to 16 bits and, up to 4,095 bytes, every pair of wrong
bits is found.

Requests:

* ``01h INFO``, no payload. The reply is ``81h INFO`` with the 32 bytes of the info block, :class:`Info`.
* ``02h CLASSIFY``. The payload is one image: :attr:`Info.image_bytes` bytes in the order row, column, channel. With
  images as input a byte is a pixel's value; with events it is the spikes of one (row, column, channel), bit t that of
  timestep t. The reply is ``82h RESULT`` with ``4 + classes`` 32-bit words: the class; the clocks from the last pixel
  to the class; the clocks in which the engine stood still because a pixel of another image was written; the clocks in
  which it waited for the flash, 0 where the weights are in the bitstream; then the score of each class, in two's
  complement. A second image may be sent before the first result came, a third may not; results come in order.
* ``03h SELECT``, on devices that read models from a flash. The payload is one byte, the number of a model. The device
  reads what the flash says of the model; then the reply is ``81h INFO`` with the model's info block, or an error, and
  then no model is selected. Until that reply a host sends nothing: other frames are swallowed without an answer.

What goes wrong is answered with ``84h ERROR``, one byte of payload:

* 1, bad CRC: the frame was altered on the wire (a missing stop bit counts as that). Its tag may be altered too.
* 2, wrong length for this command (for a CLASSIFY: not one image).
* 3, unknown command; SELECT too, on a device whose network is in the bitstream.
* 4, busy: there was no free image buffer when the frame's header came, or, for a SELECT, an image without a result.
* 5, overrun: the device could not take a pixel in time.
* 6, no model: the flash has none of this number, or none is selected.
* 7, wrong model: it was made for another circuit, or in another version of the format.
* 8, damaged: a CRC in the flash is wrong, or an inference did not end.
* 9, flash: the flash does not answer.

An error is reported at the end of its frame, whose payload is swallowed, and the first of this list that holds is
reported. The last four answer a SELECT that failed, and from then on every INFO and CLASSIFY, whatever the length of
the image, until a SELECT succeeds. They also come in place of a RESULT, in the order of the results and under the tag
of the image, when the flash fails during an inference; the next image is tried again. While an INFO or ERROR reply
waits for its turn on the line, a further reply of these kinds is dropped, and the SELECT that it would answer is not
carried out: a host waits for it.

Resynchronisation: the receiver skips bytes until a sync byte. When 65,536 bit times pass inside a frame without a byte,
the device forgets the frame without an answer and looks for a sync byte again. A host that misses its answer therefore
keeps silent for longer than that, discards what it received, and sends again under a new tag. Frames under a tag that
it does not wait for are the late answers of requests that it gave up: it ignores them.
"""

import binascii
import dataclasses
import enum
from typing import Self

from arch.network import Encoding, Input
from support.errors import InputError

__all__ = [
    "BAUD_RATES", "BYTE_BITS", "CRC_BYTES", "CRC_INIT", "CRC_POLYNOMIAL", "HEADER_BYTES", "INFO_BYTES", "MAGIC",
    "MAX_EVENT_TIMESTEPS", "MAX_IMAGE_BYTES", "MAX_MODEL", "MAX_PAYLOAD_BYTES", "RESULT_HEADER_WORDS", "SYNC",
    "TIMEOUT_BITS", "VERSION", "Command", "ErrorCode", "Frame", "FrameReader", "Info", "InputEncoding", "LinkError",
    "Reply", "Result", "crc16",
]  # fmt: skip

#: First byte of every frame.
SYNC = 0xA5
#: Version of this protocol, in the info block. A device speaks one. Version 2 told the network's timesteps beside those
#: of the circuit (docs/decisions/0013); version 3 has SELECT, and the clocks of the flash in a result
#: (docs/decisions/0015).
VERSION = 3
#: First four bytes of the info block.
MAGIC = b"STRN"
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
#: Largest image that a network on the array may take, in bytes: it must fit in a frame.
MAX_IMAGE_BYTES = MAX_PAYLOAD_BYTES
#: Timesteps of events that fit in a byte of an image.
MAX_EVENT_TIMESTEPS = 8
#: Bytes of the info block.
INFO_BYTES = 32
#: Silence, in bit times, after which a frame is given up by the device.
TIMEOUT_BITS = 65_536
#: Words of a result before the scores: class, cycles, stall cycles, cycles that waited for the flash.
RESULT_HEADER_WORDS = 4
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


class InputEncoding(enum.IntEnum):
    """What a byte of an image means."""

    #: A pixel p of the image, x = p.
    UNSIGNED = 0
    #: A pixel p of the image, x = p - 128.
    OFFSET = 1
    #: Spikes of one position and channel, bit t that of timestep t.
    EVENTS = 2


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


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Info:
    """The info block: what is on the other end of the line.

    ======  ====  ============================================================
    offset  size  field
    ======  ====  ============================================================
    0       4     ``STRN``
    4       1     protocol version
    5       1     P, output channels computed side by side
    6       1     W, synapses per clock and channel
    7       1     T, timesteps that the circuit computes side by side
    8       1     input encoding: 0 unsigned, 1 offset by 128, 2 events
    9       1     channels of the image
    10      2     height of the image
    12      2     width of the image
    14      2     classes
    16      4     clock in kHz
    20      8     first bytes of the network's SHA-256
    28      1     timesteps of the network; more than T are computed in blocks of T
    29      3     reserved, 0
    ======  ====  ============================================================
    """

    #: Output channels computed side by side, 1 to 255.
    lanes: int
    #: Synapses per clock and output channel, 1 to 255.
    width: int
    #: Timesteps that the circuit computes side by side, 1 to 255.
    circuit_timesteps: int
    #: Timesteps of the network, 1 to 255, in blocks of those of the circuit; frames of an image, if it is events.
    timesteps: int
    #: Meaning of an image's bytes.
    encoding: InputEncoding
    #: Channels of the image, 1 to 255.
    channels: int
    #: Rows of the image, 1 to 65,535.
    image_height: int
    #: Columns of the image, 1 to 65,535.
    image_width: int
    #: Number of classes, 1 to 16,379.
    classes: int
    #: Clock of the accelerator in kHz.
    clock_khz: int
    #: First eight bytes of the network's SHA-256.
    digest: bytes
    #: Protocol version.
    version: int = VERSION

    def __post_init__(self) -> None:
        limits = {
            "lanes": 0xFF, "width": 0xFF, "circuit_timesteps": 0xFF, "timesteps": 0xFF,
            "channels": 0xFF, "image_height": 0xFFFF, "image_width": 0xFFFF,
            "classes": MAX_PAYLOAD_BYTES // 4 - RESULT_HEADER_WORDS, "clock_khz": 0xFFFFFFFF,
        }  # fmt: skip
        for name, limit in limits.items():
            if not 1 <= getattr(self, name) <= limit:
                raise LinkError(f"{name} must be 1 to {limit}, not {getattr(self, name)!r}")
        if self.image_bytes > MAX_IMAGE_BYTES:
            raise LinkError(f"image must have at most {MAX_IMAGE_BYTES} bytes, not {self.image_bytes}")
        if self.encoding is InputEncoding.EVENTS and self.timesteps > MAX_EVENT_TIMESTEPS:
            raise LinkError(f"timesteps of events must be 1 to {MAX_EVENT_TIMESTEPS}, not {self.timesteps}")
        if len(self.digest) != 8:
            raise LinkError(f"digest must have 8 bytes, not {len(self.digest)}")

    @property
    def input(self) -> Input:
        """What the device takes, as a network says it; raises :exc:`arch.network.NetworkError` if no network can."""
        return Input(
            encoding=Encoding.EVENTS if self.encoding is InputEncoding.EVENTS else Encoding.PIXELS,
            channels=self.channels, height=self.image_height, width=self.image_width,
            zero_point=128 if self.encoding is InputEncoding.OFFSET else 0)

    @property
    def image_bytes(self) -> int:
        """Payload of a CLASSIFY, in bytes."""
        return self.image_height * self.image_width * self.channels

    @property
    def result_words(self) -> int:
        """Payload of a RESULT, in 32-bit words."""
        return RESULT_HEADER_WORDS + self.classes

    def to_bytes(self) -> bytes:
        """Encode the info block."""
        integers = (
            (self.version, 1), (self.lanes, 1), (self.width, 1), (self.circuit_timesteps, 1), (self.encoding, 1),
            (self.channels, 1), (self.image_height, 2), (self.image_width, 2), (self.classes, 2), (self.clock_khz, 4),
        )  # fmt: skip
        packed = b"".join(value.to_bytes(size, "little") for value, size in integers)
        return MAGIC + packed + self.digest + bytes((self.timesteps, 0, 0, 0))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode an info block.

        Raises
        ------
        :exc:`LinkError`
            If it is not one, has another protocol version, or states an impossible value.
        """
        if len(data) != INFO_BYTES or data[:4] != MAGIC:
            raise LinkError("device does not answer with an info block")
        if data[4] != VERSION:
            raise LinkError(f"protocol version must be {VERSION}, not {data[4]}: build the bitstream and run the host "
                            "program from the same release")
        if data[8] not in tuple(InputEncoding):
            raise LinkError(f"input encoding must be 0, 1 or 2, not {data[8]}")
        return cls(
            version=data[4],
            lanes=data[5],
            width=data[6],
            circuit_timesteps=data[7],
            timesteps=data[28],
            encoding=InputEncoding(data[8]),
            channels=data[9],
            image_height=int.from_bytes(data[10:12], "little"),
            image_width=int.from_bytes(data[12:14], "little"),
            classes=int.from_bytes(data[14:16], "little"),
            clock_khz=int.from_bytes(data[16:20], "little"),
            digest=bytes(data[20:28]),
        )


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
        words = [data[at : at + 4] for at in range(0, size, 4)]
        label, cycles, stalls, flash_stalls = (int.from_bytes(word, "little") for word in words[:RESULT_HEADER_WORDS])
        if label >= classes:
            raise LinkError(f"class must be less than {classes}, not {label}")
        scores = tuple(int.from_bytes(word, "little", signed=True) for word in words[RESULT_HEADER_WORDS:])
        return cls(label=label, cycles=cycles, stalls=stalls, flash_stalls=flash_stalls, scores=scores)
