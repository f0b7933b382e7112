"""What is on the other end of the line: the info block, and the reply INFO, which adds the faults of the line."""

import dataclasses
import enum
from typing import Self

from arch.link.frame import MAX_PAYLOAD_BYTES, LinkError
from arch.link.result import RESULT_HEADER_WORDS
from arch.network import Encoding, Input

__all__ = [
    "INFO_BYTES", "INFO_REPLY_BYTES", "MAGIC", "MAX_COUNT", "MAX_EVENT_TIMESTEPS", "MAX_IMAGE_BYTES", "NAME_BYTES",
    "VERSION", "Info", "InfoReply", "InputEncoding", "LinkCounters", "cut_name",
]  # fmt: skip

#: Version of the protocol, in the info block. A device speaks one. Version 2 told the network's timesteps beside those
#: of the circuit (docs/decisions/0013); version 3 has SELECT, and the clocks of the flash in a result
#: (docs/decisions/0015); version 4 has the name of the network, and counters of faults of the line
#: (docs/decisions/0018).
VERSION = 4
#: First four bytes of the info block.
MAGIC = b"STRN"
#: Bytes of the info block.
INFO_BYTES = 64
#: Bytes of the name in it, in UTF-8, with zeros behind it.
NAME_BYTES = 32
#: Bytes of the reply INFO: the info block, and the counters.
INFO_REPLY_BYTES = INFO_BYTES + 4
#: What a counter stays at.
MAX_COUNT = 0xFF
#: Largest image that a network on the array may take, in bytes: it must fit in a frame.
MAX_IMAGE_BYTES = MAX_PAYLOAD_BYTES
#: Timesteps of events that fit in a byte of an image.
MAX_EVENT_TIMESTEPS = 8

_NAME_OFFSET = INFO_BYTES - NAME_BYTES
#: What to do where two ends do not understand each other.
_REMEDY = "use a bitstream, an image in flash and a host program of the same release"


class InputEncoding(enum.IntEnum):
    """What a byte of an image means."""

    #: A pixel p of the image, x = p.
    UNSIGNED = 0
    #: A pixel p of the image, x = p - 128.
    OFFSET = 1
    #: Spikes of one position and channel, bit t that of timestep t.
    EVENTS = 2


def cut_name(name: str) -> str:
    """Cut a name, behind a character, to what the info block has room for.

    >>> cut_name("the name whose byte 32 is half ü")
    'the name whose byte 32 is half '
    """
    return name.encode(errors="replace")[:NAME_BYTES].decode(errors="ignore")


def _check_version(data: bytes) -> None:
    """Raise :exc:`LinkError` unless an info block of this version begins, whatever its size."""
    if len(data) <= len(MAGIC) or data[:4] != MAGIC:
        raise LinkError("device does not answer with an info block")
    if data[4] != VERSION:
        raise LinkError(f"protocol version must be {VERSION}, not {data[4]}: {_REMEDY}")


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
    32      32    name of the network in UTF-8, filled up with zeros
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
    #: Name of the network, printable and at most 32 bytes of UTF-8; empty if it has none.
    name: str = ""
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
        if not self.name.isprintable() or len(self.name.encode()) > NAME_BYTES:
            raise LinkError(f"name must be at most {NAME_BYTES} bytes of printable UTF-8, not {self.name!r}")

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
        numbers = MAGIC + packed + self.digest + bytes((self.timesteps,))
        return numbers.ljust(_NAME_OFFSET, b"\0") + self.name.encode().ljust(NAME_BYTES, b"\0")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode an info block.

        Raises
        ------
        :exc:`LinkError`
            If it is not one, has another protocol version, or states an impossible value.
        """
        _check_version(data)
        if len(data) != INFO_BYTES:
            raise LinkError(f"info block must have {INFO_BYTES} bytes, not {len(data)}: {_REMEDY}")
        if data[8] not in tuple(InputEncoding):
            raise LinkError(f"input encoding must be 0, 1 or 2, not {data[8]}")
        encoded = bytes(data[_NAME_OFFSET:]).rstrip(b"\0")
        try:
            name = encoded.decode()
        except UnicodeDecodeError:
            raise LinkError(f"name must be UTF-8, not {encoded.hex()}") from None
        return cls(
            name=name,
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
class LinkCounters:
    """Faults of the line that the device has seen since reset; each stays at 255."""

    #: Frames with a bad CRC; a missing stop bit counts as one.
    bad_frames: int = 0
    #: Frames with a pixel that could not be taken in time.
    overruns: int = 0
    #: Frames that were given up after a silence.
    aborted_frames: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not 0 <= getattr(self, field.name) <= MAX_COUNT:
                raise LinkError(f"{field.name} must be 0 to {MAX_COUNT}, not {getattr(self, field.name)!r}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class InfoReply:
    """Payload of the reply INFO.

    ======  ====  ============================================================
    offset  size  field
    ======  ====  ============================================================
    0       64    info block (:class:`Info`)
    64      1     frames with a bad CRC
    65      1     overruns
    66      1     frames that were given up after a silence
    67      1     reserved, 0
    ======  ====  ============================================================
    """

    #: What the device is, and what it runs.
    info: Info
    #: Faults of the line since reset.
    counters: LinkCounters = LinkCounters()

    def to_bytes(self) -> bytes:
        """Encode the payload."""
        counts = dataclasses.astuple(self.counters)
        return (self.info.to_bytes() + bytes(counts)).ljust(INFO_REPLY_BYTES, b"\0")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the payload.

        Raises
        ------
        :exc:`LinkError`
            If it is not one, has another protocol version (whatever its size then is), or states an impossible value.
        """
        _check_version(data)
        if len(data) != INFO_REPLY_BYTES:
            raise LinkError(f"reply INFO must have {INFO_REPLY_BYTES} bytes, not {len(data)}: {_REMEDY}")
        bad_frames, overruns, aborted_frames = data[INFO_BYTES : INFO_BYTES + 3]
        return cls(info=Info.from_bytes(data[:INFO_BYTES]), counters=LinkCounters(
            bad_frames=bad_frames, overruns=overruns, aborted_frames=aborted_frames))
