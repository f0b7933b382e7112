"""What the mapper, the top level and the flow ask of a family of FPGAs.

A family is a subclass of :class:`Family` in a file of its own beside this one; an instance is one device of it, with
its size and package. Nothing outside that file knows the family's primitives, tools, options or messages: a further
family is a further file.
"""

import abc
import dataclasses
import enum
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from boards.families.placement import Placement
from support.errors import InputError
from support.tools import Tool

__all__ = ["ArraySize", "BoardError", "CellMemory", "Family", "Invocation", "MemoryWords", "Pins", "Placed",
           "Programmer", "Refusal", "Resources", "SimulatedNetlist"]


class BoardError(InputError):
    """A board, or the FPGA on it, cannot do what is asked of it."""


class Refusal(enum.Enum):
    """Why place and route ended without a layout."""

    #: The design needs more cells of a kind than the device has, whatever the seed.
    TOO_LARGE = "too large"
    #: The placer did not find a legal place for every cell; another seed may.
    NO_PLACEMENT = "no legal placement"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Cells of a device, or those of them that a design takes."""

    #: Logic cells: a look-up table of 4 inputs with its flip-flop and carry.
    logic_cells: int
    #: Block RAMs.
    block_rams: int
    #: Large memories with a single port; 0 in families without.
    single_port_rams: int
    #: Multipliers.
    multipliers: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """One run of a tool, in the folder that has its inputs."""

    tool: Tool
    #: Arguments; files by their names in the folder.
    arguments: tuple[str, ...]
    #: Files that it reads and writes, by name in the folder.
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    #: File of the folder that grows while the tool works; None if only what it prints does.
    log: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """What the report of place and route says."""

    #: The clock that the slowest path allows, in Hz.
    fmax_hz: float
    #: Cells in use.
    used: Resources


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Programmer:
    """What writes a file to the flash of a board."""

    tool: Tool
    #: Arguments before the name of the file.
    arguments: tuple[str, ...] = ()
    #: Option whose value is the address at which the file is written, in bytes: the name that iceprog, icesprog and
    #: openFPGALoader have for it.
    offset_option: str = "-o"
    #: Arguments before the number of bytes that are read from the flash into a file. Given for a programmer that ends
    #: with success though writing failed, so that what it wrote has to be read back and compared.
    read_arguments: tuple[str, ...] | None = None

    def command(self, file: str, *, offset: int = 0) -> list[str]:
        """Return the arguments with which ``file`` is written to the flash from the address ``offset`` on."""
        return [*self.arguments, *self._offset(offset), file]

    def read_command(self, file: str, *, size: int, offset: int = 0) -> list[str] | None:
        """Return the arguments with which ``size`` bytes are read into ``file``; None if that need not be."""
        if self.read_arguments is None:
            return None
        return [*self.read_arguments, str(size), *self._offset(offset), file]

    def _offset(self, offset: int) -> list[str]:
        return [self.offset_option, str(offset)] if offset else []


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryWords:
    """What a memory of a design holds."""

    #: The memory, for messages.
    name: str
    #: Bits of a word.
    width: int
    #: The words from address 0 on.
    words: Sequence[int]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CellMemory:
    """A memory of a simulated netlist: the one in a cell."""

    #: Path below the top module, the module that has it, and bits of a row.
    path: str
    module: str
    width: int
    rows: int
    #: What it holds at first, row by row; None if that is undefined.
    contents: Sequence[int] | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedNetlist:
    """A netlist for a simulator."""

    #: Verilog of the design and of all of its cells. The first module has the ports that were asked for, and ``rst``,
    #: which holds the chip in the state before its clock is stable.
    verilog: str
    memories: Sequence[CellMemory]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pins:
    """Pins of a design, by the names that they get in a simulation.

    A pin of both directions, NAME, becomes three ports: ``NAME_i`` and ``NAME_o``, and ``NAME_oe`` while it is driven.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    both: Mapping[str, str] = dataclasses.field(default_factory=dict)


class ArraySize(Protocol):
    """Numbers of a circuit that an estimate of its logic depends on, named as in the engine's configuration."""

    @property
    def lanes(self) -> int:
        """Output channels at a time, P."""

    @property
    def width(self) -> int:
        """Synapses per clock, W."""

    @property
    def timesteps(self) -> int:
        """Timesteps side by side, T."""

    @property
    def accumulator_width(self) -> int:
        """Bits of a sum."""

    @property
    def membrane_width(self) -> int:
        """Bits of a membrane."""

    @property
    def leak(self) -> bool:
        """Whether membranes can leak."""


class Family(abc.ABC):
    """One device of a family of FPGAs."""

    #: The device, as its vendor writes it, with the package.
    device: str
    #: What the device has.
    resources: Resources
    #: Python packages whose versions decide what comes out, for the record of how it was made.
    packages: tuple[str, ...]
    #: Geometries of the array that the mapper tries, largest first: output channels and synapses per clock.
    geometries: tuple[tuple[int, int], ...]
    #: Timesteps that the array computes side by side.
    timesteps: int
    #: Words of the spike memory, each of ``width * timesteps`` bits.
    spike_words: int
    #: Rows of the weight memory.
    weight_rows: int
    #: Makes the spike memory of the family's large memories: a :class:`gateware.engine.spike_memory.RamFactory`. None
    #: where the tools make it of block RAM.
    large_ram: Callable[..., Any] | None
    #: Makes small memories that are written bit by bit: a :class:`gateware.engine.masked_ram.MaskedRamFactory`. None
    #: where the tools make them of block RAM.
    masked_ram: Callable[..., Any] | None
    #: Makes pairs of adders with registers before and behind them: a
    #: :class:`gateware.engine.adder_pair.AdderPairFactory`. None where they are made of logic cells.
    adder_pair: Callable[..., Any] | None

    # ---- clock

    @abc.abstractmethod
    def clocks(self, oscillator_hz: float) -> Iterator[float]:
        """Yield every clock that can be made of an oscillator exactly, in Hz, rising, each once."""

    @abc.abstractmethod
    def add_clock(self, m: Any, platform: Any, *, oscillator: str, oscillator_hz: float, clock_hz: float) -> None:
        """Add the domain ``sync`` to a module.

        Its reset is held until the clock is stable and every memory of the device can be read.

        Parameters
        ----------
        m : :class:`amaranth.hdl.Module`
        platform
            Gives the pin of the oscillator.
        oscillator : :class:`str`
            Name of the pin's resource.
        oscillator_hz, clock_hz : :class:`float`
            Frequency at the pin, and that of the domain.

        Raises
        ------
        :exc:`BoardError`
            If ``clock_hz`` is not one of :meth:`clocks`.
        """

    def check_clock(self, oscillator_hz: float, clock_hz: float) -> None:
        """Raise :exc:`BoardError` unless ``clock_hz`` is one of :meth:`clocks`."""
        if not math.isfinite(clock_hz) or clock_hz not in self.clocks(oscillator_hz):
            raise BoardError(f"clock must be one that the PLL makes of {oscillator_hz / 1e6:g} MHz, "
                             f"not {clock_hz / 1e6:.12g} MHz")

    # ---- what a circuit takes, before synthesis

    @abc.abstractmethod
    def block_rams(self, width: int, depth: int) -> int:
        """Count the block RAMs of a memory of ``depth`` words of ``width`` bits."""

    @abc.abstractmethod
    def logic_cells(self, circuit: ArraySize) -> int:
        """Estimate the logic cells of a circuit; the docstring says how well."""

    # ---- from a design to a bitstream, all in one folder

    @abc.abstractmethod
    def design_files(self, platform: Any, design: Any) -> Mapping[str, bytes]:
        """Elaborate a design; returns the files that :meth:`synthesise` and :meth:`place` read, by name."""

    def design_digest(self, files: Mapping[str, bytes]) -> str:
        """SHA-256 of the files of a design, the same for the same design wherever its sources are."""
        digest = hashlib.sha256()
        for name, content in sorted(files.items()):
            digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
        return digest.hexdigest()

    @abc.abstractmethod
    def synthesise(self) -> Invocation:
        """How the netlist is made of the files of a design."""

    @abc.abstractmethod
    def place(self, *, seed: int, clock_hz: float) -> Invocation:
        """How the netlist is placed and routed."""

    @abc.abstractmethod
    def read_placed(self, files: Callable[[str], bytes]) -> Placed | None:
        """Read what :meth:`place` reports; ``files`` reads a file of the folder by name.

        None if there is no report. A design that misses its clock has one.
        """

    def read_layout(self, files: Callable[[str], bytes]) -> Placement | None:
        """Read where :meth:`place` has put the cells; ``files`` reads a file of the folder, an input of :meth:`pack`.

        None if that is not known of the device, as by default: then no page shows it.
        """
        return None

    @abc.abstractmethod
    def refusal(self, log: str) -> Refusal | None:
        """Say why place and route refused the design, by what it printed; None if it is no question of size."""

    @abc.abstractmethod
    def fill(self, routed: Mapping[str, bytes], marks: Sequence[MemoryWords],
             contents: Sequence[MemoryWords]) -> Mapping[str, bytes]:
        """Replace what memories of a routed design hold; returns the inputs of :meth:`pack`.

        Parameters
        ----------
        routed : mapping
            The inputs of :meth:`pack` for the routed design, by name.
        marks : sequence of :class:`MemoryWords`
            What these memories hold in it: any bit of 16 words or more from a multiple of 256 on, or of every second,
            fourth or eighth of them, tells by what it holds which it is.
        contents : sequence of :class:`MemoryWords`
            What they are to hold, in the same order and with the same widths; words left out are zero.

        Raises
        ------
        :exc:`BoardError`
            If the tools have made something of a memory whose contents cannot be replaced.
        """

    @abc.abstractmethod
    def simulated_netlist(self, netlist: Mapping[str, bytes], pins: Pins, *, marks: Sequence[MemoryWords] = (),
                          contents: Sequence[MemoryWords] = ()) -> SimulatedNetlist:
        """Translate a netlist into Verilog for a simulator.

        Parameters
        ----------
        netlist : mapping
            The inputs of :meth:`place`, by name.
        pins : :class:`Pins`
        marks, contents
            As of :meth:`fill`; without marks, the memories hold what the netlist says.

        Raises
        ------
        :exc:`BoardError`
            If it has a cell that cannot be simulated, or a memory whose contents cannot be replaced.
        """

    @abc.abstractmethod
    def unpack(self) -> Invocation:
        """How the bitstream is turned into what :meth:`simulated_bitstream` reads; its only input is the bitstream."""

    @abc.abstractmethod
    def check_unpacked(self) -> None:
        """Check that what knows the meaning of the bits is installed; raises a ToolMissingError if not."""

    @abc.abstractmethod
    def simulated_bitstream(self, unpacked: Mapping[str, bytes], netlist: Mapping[str, bytes],
                            pins: Pins) -> SimulatedNetlist:
        """Turn a bitstream back into cells, as Verilog for a simulator.

        Parameters
        ----------
        unpacked : mapping
            The outputs of :meth:`unpack`, by name.
        netlist : mapping
            The inputs of :meth:`place`, by name: of them, the names of the pins are taken, and nothing else.
        pins : :class:`Pins`

        Raises
        ------
        :exc:`BoardError`
            If the bits make something that cannot be simulated.
        :exc:`support.tools.ToolMissingError`
            If what knows the meaning of the bits is not installed.
        """

    @abc.abstractmethod
    def pack(self) -> Invocation:
        """How the bitstream is made of the routed design; its only output is the bitstream."""

    @abc.abstractmethod
    def progress(self, line: str) -> str | None:
        """Say in a few words what a line of a tool's log means for somebody who waits; None if nothing."""
