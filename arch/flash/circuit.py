"""The circuit that a model in flash was made for, as the first 16 bytes of its header: the *signature*."""

import dataclasses
from typing import Self

from arch.flash.errors import ImageError

__all__ = ["MAGIC", "RING_UNIT", "SIGNATURE_BYTES", "SPARE_PLACES", "SPARE_ROWS", "VERSION", "Circuit"]

#: First four bytes of a header.
MAGIC = b"STFM"
#: Version of the format of headers and streams. A circuit reads one.
VERSION = 1
#: Bytes of a signature. The hardware compares them with its own: a difference in the first four means that there is no
#: model, one in the others that the model is for another circuit.
SIGNATURE_BYTES = 16
#: Rows of the ring of weights that stay free for the bytes that come after the flash was told to wait.
SPARE_ROWS = 4
#: Places that stay free in the rings of groups and layers: one for what is being written, and one because two are told
#: by fewer bits.
SPARE_PLACES = 2
#: A signature states the rows of the ring of weights in units of so many.
RING_UNIT = 16

#: Places of the fields, one byte each, after the magic and the version.
_FIELDS = ("lanes", "width", "timesteps", "membrane_width", "fraction", "ring_sixteens", "features", "blocks",
           "spike_width")
_LEAK, _HARD_RESET = 0b01, 0b10


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Circuit:
    """Parameters of a circuit on which the meaning of a stream depends.

    ======  ====  ==================================================
    offset  size  field
    ======  ====  ==================================================
    0       4     ``STFM``
    4       1     version of the format
    5       1     P, output channels computed side by side
    6       1     W, synapses per clock and channel
    7       1     T, timesteps computed side by side
    8       1     bits of a membrane
    9       1     fractional bits of a membrane
    10      1     rows of the weight ring divided by 16, minus one
    11      1     bit 0: neurons can leak; bit 1: hard reset
    12      1     most blocks of timesteps
    13      1     bits of an address of the spike memory
    14      2     fingerprint of all parameters, little-endian
    ======  ====  ==================================================
    """

    #: Output channels computed side by side (P).
    lanes: int
    #: Synapses per clock and output channel (W).
    width: int
    #: Timesteps computed side by side (T).
    timesteps: int
    #: Bits of a membrane, at most 21: the constants of a neuron are three numbers of this width in eight bytes.
    membrane_width: int
    #: Fractional bits of a membrane.
    fraction: int
    #: Rows of the ring of weights: a multiple of 16.
    ring_rows: int
    #: Neurons can leak.
    leak: bool
    #: Neurons can be reset to zero.
    hard_reset: bool
    #: Most blocks of timesteps that a network is computed in.
    blocks: int
    #: Bits of an address of the spike memory.
    spike_width: int
    #: Two bytes that stand for all parameters of the circuit: a model is for the circuit whose own they are.
    fingerprint: int

    def __post_init__(self) -> None:
        limits = {"lanes": (1, 0xFF), "width": (1, 0xFF), "timesteps": (1, 8), "membrane_width": (1, 21),
                  "fraction": (0, 0xFF), "blocks": (1, 0xFF), "spike_width": (1, 24), "fingerprint": (0, 0xFFFF)}
        for name, (least, most) in limits.items():
            if not least <= getattr(self, name) <= most:
                raise ImageError(f"{name} of a circuit must be {least} to {most}, not {getattr(self, name)!r}")
        if self.ring_rows % RING_UNIT or not RING_UNIT <= self.ring_rows <= 256 * RING_UNIT:
            raise ImageError(f"ring_rows of a circuit must be a multiple of {RING_UNIT}, {RING_UNIT} to "
                             f"{256 * RING_UNIT}, not {self.ring_rows!r}")
        count = self.lanes * self.width
        if count < 8 or count & (count - 1):
            raise ImageError("lanes x width of a circuit must be a power of two, 8 or more, "
                             f"not {self.lanes} x {self.width}")

    @property
    def part_rows(self) -> int:
        """Most rows of weights that a part of a sum may read: they are in the ring together."""
        return self.ring_rows - SPARE_ROWS

    def _values(self) -> tuple[int, ...]:
        return (self.lanes, self.width, self.timesteps, self.membrane_width, self.fraction,
                self.ring_rows // RING_UNIT - 1, self.leak * _LEAK | self.hard_reset * _HARD_RESET, self.blocks,
                self.spike_width)

    def to_bytes(self) -> bytes:
        """Encode the signature."""
        return MAGIC + bytes((VERSION, *self._values())) + self.fingerprint.to_bytes(2, "little")

    @classmethod
    def from_bytes(cls, signature: bytes) -> Self:
        """Decode a signature.

        Raises
        ------
        :exc:`ImageError`
            If it is none, of another version, or states an impossible value; the message names the byte.
        """
        if len(signature) != SIGNATURE_BYTES:
            raise ImageError(f"signature of a circuit must have {SIGNATURE_BYTES} bytes, not {len(signature)}")
        if signature[:4] != MAGIC:
            raise ImageError(f"bytes 0 to 3 must be {MAGIC.hex(' ')}, not {signature[:4].hex(' ')}: this is no model")
        if signature[4] != VERSION:
            raise ImageError(f"byte 4, the version, must be {VERSION}, not {signature[4]}: "
                             "make the image with the release that made the bitstream")
        values = dict(zip(_FIELDS, signature[5:], strict=False))
        features = values.pop("features")
        if features & ~(_LEAK | _HARD_RESET):
            raise ImageError(f"byte 11, the features, must be 0 to 3, not {features}")
        return cls(leak=bool(features & _LEAK), hard_reset=bool(features & _HARD_RESET),
                   fingerprint=int.from_bytes(signature[14:], "little"),
                   ring_rows=RING_UNIT * (values.pop("ring_sixteens") + 1), **values)

    def check_same(self, other: "Circuit") -> None:
        """Raise :exc:`ImageError` unless a model for ``other`` runs on this circuit: every parameter is the same."""
        for field in dataclasses.fields(self):
            wanted, found = getattr(self, field.name), getattr(other, field.name)
            if wanted != found:
                raise ImageError(f"{field.name} must be {wanted}, not {found}: make the image for this circuit")
