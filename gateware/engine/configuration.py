"""Parameters of the accelerator's circuit. Everything that is a width or a depth anywhere follows from these."""

import dataclasses

from arch.flash.circuit import RING_UNIT, SPARE_PLACES, Circuit
from arch.flash.errors import ImageError
from arch.network import NetworkError
from arch.strict_json import short

__all__ = [
    "MAX_ACCUMULATOR_WIDTH",
    "MAX_BLOCKS",
    "MAX_ENTRY_WIDTH",
    "MAX_MEMBRANE_WIDTH",
    "PLANES",
    "ConfigError",
    "EngineConfig",
]

#: Bits of a pixel; each is a bit-plane of the first layer.
PLANES = 8

#: Most bits of an entry of the layer program, when streamed.
MAX_ENTRY_WIDTH = 48

#: Most blocks of timesteps.
MAX_BLOCKS = 8

#: Widest accumulator and membrane of any circuit, in bits.
MAX_ACCUMULATOR_WIDTH, MAX_MEMBRANE_WIDTH = 24, 40

#: Fewest rows of the constant memory, of up to 120 bits: in a layout they are found by what they hold, so no two of
#: them may have to hold the same. Block RAM has more rows anyway.
MIN_CONSTANT_ROWS = 16

#: Largest value of a parameter that counts rows, words, groups or bits: far beyond any FPGA.
_MOST = 1 << 24


class ConfigError(NetworkError):
    """A circuit cannot be built with these parameters, or a network does not fit it."""


def bits_for(maximum: int) -> int:
    """Bits of an unsigned number that reaches ``maximum``; at least one, so that no signal vanishes."""
    return max(1, maximum.bit_length())


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """Geometry of the array and limits of the networks that it can run.

    One circuit runs every network within these limits: weights, constants and program are memory contents.
    """

    #: Output channels computed side by side (P): a power of two, at most ``width``.
    lanes: int = 8
    #: Synapses per lane and clock (W): a power of two, 2 or more.
    width: int = 16
    #: Timesteps computed side by side (T), 1 or more. Pixel input needs a divisor of 8.
    timesteps: int = 4
    #: Pixel input: bit-planes travel through the timesteps, and the dot product can keep its slices apart.
    pixels: bool = True
    #: Bits of an accumulator, unsigned: the largest number of synapses that one neuron sums.
    accumulator_width: int = 12
    #: Bits of a partial sum when streamed: the largest sum of a neuron in one timestep.
    partial_width: int = 16
    #: Bits of a membrane, signed.
    membrane_width: int = 20
    #: Fractional bits F of every membrane; layers with fewer are scaled.
    fraction: int = 4
    #: The PIF unit can reset to zero.
    hard_reset: bool = True
    #: The PIF unit can leak.
    leak: bool = True
    #: Rows of the weight memory; a row is ``lanes x width`` weights.
    weight_rows: int = 256
    #: Groups of ``lanes`` channels for which the constant memory has room.
    channel_groups: int = 32
    #: Words of the spike memory, a power of two: the top bit of an address is the image buffer. A word is ``width``
    #: lanes of ``timesteps`` bits.
    spike_words: int = 16384
    #: Layers of a program.
    layers: int = 16
    #: Most words of one kernel row, or of a fully connected layer's whole map.
    max_run: int = 1024
    #: Largest side of a spike map or image with its padding, in positions.
    max_side: int = 256
    #: Most words of a row of a spike map.
    max_row_words: int = 1024
    #: Most classes of a readout.
    classes: int = 32
    #: Weights, constants and program are streamed from flash, and sums are formed in segments. The memories of weights,
    #: constants and programs are then rings, whose depths are powers of two.
    streamed: bool = False
    #: Most blocks of ``timesteps`` that a network's timesteps are computed in, when streamed.
    blocks: int = 1
    #: Most groups of ``lanes`` channels of one layer, when streamed.
    max_groups: int = 512

    def __post_init__(self) -> None:
        for name in ("lanes", "width", "spike_words"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise ConfigError(f"{name.replace('_', ' ')} must be a power of two, not {value!r}")
        for name in ("lanes", "width", "spike_words", "weight_rows", "channel_groups", "layers", "max_run", "max_side",
                     "max_row_words", "classes", "max_groups", "partial_width"):
            if not 1 <= getattr(self, name) <= _MOST:
                raise ConfigError(f"{name.replace('_', ' ')} must be 1 to 2^24, not {short(getattr(self, name))}")
        if self.width < 2 or self.lanes > self.width:
            raise ConfigError(f"lanes must be at most width and width at least 2, "
                              f"not {self.lanes} and {self.width}")
        if not 1 <= self.timesteps <= 8:
            raise ConfigError(f"timesteps must be 1 to 8, not {self.timesteps!r}")
        if self.pixels:
            if PLANES % self.timesteps:
                raise ConfigError(f"timesteps must divide 8 for pixel input, not be {self.timesteps}")
            # A slice counts its pixels in as many bits as there are timesteps, and the width is a power of two.
            least, most = max(2, self.slices), self.slices << (self.timesteps - 1)
            if not self.streamed and not least <= self.width <= most:
                allowed = str(least) if least == most else f"a power of two from {least} to {most}"
                raise ConfigError(f"width must be {allowed} for pixel input at {self.timesteps} "
                                  f"timestep{'s' if self.timesteps > 1 else ''}, not {self.width}")
        if not 2 <= self.accumulator_width <= MAX_ACCUMULATOR_WIDTH:
            raise ConfigError(f"accumulator width must be 2 to {MAX_ACCUMULATOR_WIDTH} bits, "
                              f"not {self.accumulator_width!r}")
        if self.fraction < 0:
            raise ConfigError(f"fraction must be 0 or more, not {self.fraction!r}")
        if not self.fraction + 2 <= self.membrane_width <= MAX_MEMBRANE_WIDTH:
            raise ConfigError(f"membrane width must be fraction + 2 to {MAX_MEMBRANE_WIDTH} bits, "
                              f"not {self.membrane_width!r}")
        if self.streamed:
            self._check_streamed()
        elif self.blocks != 1:
            raise ConfigError(f"blocks must be 1 for a circuit that is not streamed, not {self.blocks!r}")

    def _check_streamed(self) -> None:
        """Check what a streamed circuit asks for beyond the others."""
        # Half of a ring holds what is in use while the other half is written, spare places included.
        for name, least in (("weight_rows", RING_UNIT), ("channel_groups", 2 * SPARE_PLACES),
                            ("layers", 2 * SPARE_PLACES)):
            value = getattr(self, name)
            if value < least or value & (value - 1):
                raise ConfigError(f"{name} must be a power of two and at least {least} for a streamed circuit, "
                                  f"not {value!r}")
        if not 1 <= self.blocks <= MAX_BLOCKS:
            raise ConfigError(f"blocks must be 1 to {MAX_BLOCKS}, not {self.blocks!r}")
        if self.pixels and self.slices > 2:
            raise ConfigError(f"timesteps must be 4 or 8 for pixel input of a streamed circuit, not {self.timesteps}")
        if self.max_segment < 1:
            raise ConfigError(f"accumulator width must hold the {self.width} synapses of a word, "
                              f"not be {self.accumulator_width} bits")
        try:
            self.flash_circuit()
        except ImageError as error:
            raise ConfigError(f"{error}: no model in flash can be for this circuit") from None
        step = self.slot_address_width + self.x_width + self.side_width + self.row_width + self.run_width + 1
        if step > MAX_ENTRY_WIDTH:
            raise ConfigError(f"a step of the program must be at most {MAX_ENTRY_WIDTH} bits, not {step}: "
                              f"use a smaller max_run, max_side, max_row_words, spike_words or weight_rows")

    def flash_circuit(self, fingerprint: int = 0) -> Circuit:
        """Describe a streamed circuit as models in flash name it.

        Raises
        ------
        :exc:`arch.flash.errors.ImageError`
            If no model can be for it.
        """
        return Circuit(
            lanes=self.lanes, width=self.width, timesteps=self.timesteps, membrane_width=self.membrane_width,
            fraction=self.fraction, ring_rows=self.weight_rows, leak=self.leak, hard_reset=self.hard_reset,
            blocks=self.blocks, spike_width=self.address_width, fingerprint=fingerprint)

    @property
    def slices(self) -> int:
        """Slices of a word in pixel mode: each carries ``timesteps`` of a pixel's 8 bit-planes."""
        return PLANES // self.timesteps if self.pixels else 1

    @property
    def slice_width(self) -> int:
        """Pixels in a word in pixel mode."""
        return self.width // self.slices

    @property
    def slots(self) -> int:
        """Groups of output channels in one spike word."""
        return self.width // self.lanes

    @property
    def sop_per_cycle(self) -> int:
        """Synaptic operations per clock: P x W x T."""
        return self.lanes * self.width * self.timesteps

    @property
    def sum_width(self) -> int:
        """Bits of a dot product: W spikes, or the slices side by side, of which the last needs no more than its count.

        A bit more would always be 0, and synthesis would make a reset of what chooses between it and a sum, which cuts
        the carry chain of the neuron array.
        """
        if not self.pixels or self.streamed:
            return bits_for(self.width)
        return max(bits_for(self.width), (self.slices - 1) * self.timesteps + bits_for(self.slice_width))

    @property
    def current_width(self) -> int:
        """Bits of the sum of a neuron in one timestep."""
        return self.partial_width if self.streamed else self.accumulator_width

    @property
    def max_segment(self) -> int:
        """Most words that an accumulator sums, when streamed."""
        return ((1 << self.accumulator_width) - 1) // self.width

    @property
    def partial_slots(self) -> int:
        """Sums per lane that are kept when streamed: as many as block RAM of 256 words has room for."""
        return max(1, 256 // self.lanes)

    @property
    def address_width(self) -> int:
        """Bits of a spike memory address."""
        return bits_for(self.spike_words - 1)

    @property
    def slot_address_width(self) -> int:
        """Bits of the address of a slot: a group of ``lanes`` channels of a spike word."""
        return self.address_width + (self.slots - 1).bit_length()

    @property
    def advance_width(self) -> int:
        """Bits of the number of slots from one position of a map to the next; when streamed, modulo the address."""
        if self.streamed:
            return self.slot_address_width
        return bits_for(-(-self.channel_groups // self.slots) * self.slots)

    @property
    def row_width(self) -> int:
        """Bits of a weight row number."""
        return bits_for(self.weight_rows - 1)

    @property
    def constant_rows(self) -> int:
        """Rows of the constant memory: one per neuron, and never so few that two bits must hold the same."""
        return max(MIN_CONSTANT_ROWS, self.channel_groups * self.lanes)

    @property
    def group_width(self) -> int:
        """Bits of a group number."""
        return bits_for(self.channel_groups - 1)

    @property
    def groups_width(self) -> int:
        """Bits of a number of groups of one layer, minus one."""
        return bits_for(self.max_groups - 1) if self.streamed else self.group_width

    @property
    def side_width(self) -> int:
        """Bits of a row or column counter, with room for a position before the map (padding)."""
        return bits_for(self.max_side) + 1

    @property
    def x_width(self) -> int:
        """Bits of a position within a map's row, in words, with room for one before the map."""
        return bits_for(self.max_row_words) + 1

    @property
    def run_width(self) -> int:
        """Bits of a counter of the words of a run."""
        return bits_for(self.max_run)

    @property
    def layer_width(self) -> int:
        """Bits of a layer number."""
        return bits_for(self.layers - 1)

    @property
    def score_width(self) -> int:
        """Bits of a score, signed: T times the largest sum; when streamed, what a membrane has of it."""
        width = self.current_width + bits_for(self.timesteps) + 1
        return min(width, self.membrane_width - self.fraction) if self.streamed else width

    @property
    def cooldown_cycles(self) -> int:
        """Least clocks between the ends of two sums: the array hands out one neuron per clock.

        When streamed, between the ends of two segments: a partial sum takes three clocks from memory to memory, and a
        membrane that goes on in the next block of timesteps takes two more than these.
        """
        if not self.streamed:
            return max(self.lanes, 2)
        return max(self.lanes, 3, self.timesteps + 2 if self.blocks > 1 else 0)
