"""Talk to a generated design over its UART, simulated clock by clock.

The design is any top module with the ports ``clk``, ``rst``, ``rx`` and ``tx``, compiled by :mod:`sim.verilator`; if it
has the ports of :class:`gateware.flash.bus.FlashBus` under the name ``flash``, a model of a flash is beside it;
memories named at compile time are loaded and read back at run time, so that one program serves every network that fits.
No cocotb: ``sim/harness.cpp`` toggles the clock in C++ and speaks a binary protocol on its stdin and stdout (its first
lines describe it).
"""

import contextlib
import dataclasses
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from sim.declarations import declarations
from sim.verilator import Report, SimulationError, Trace, compiled, top_module

__all__ = ["CompiledDesign", "MemoryShape", "SimulationTransport", "Verilated", "compile_design", "memory_shapes"]

_MEMORY = re.compile(r"\s*reg \[(?P<high>\d+):0\] \\?(?P<name>\S+) +\[(?P<last>\d+):0\];")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryShape:
    """Size of one memory of a design."""

    #: Bits of a row.
    width: int

    #: Number of rows.
    depth: int

    #: Path below the top module in the Verilog, where names may carry a number that Amaranth made them unique with.
    path: str

    #: Module that has the memory, if it is not one of its own that is named by the path, as Amaranth names modules.
    module: str | None = None


def memory_shapes(verilog: str) -> dict[str, MemoryShape]:
    """Find the memories of a design that ``amaranth.back.verilog`` wrote.

    The key is the path of instances below the top module and the memory's name, joined by dots (``link.info``), which
    is how Amaranth names modules. The top module is the first of the file.
    """
    shapes: dict[str, MemoryShape] = {}
    for match, path, name in declarations(verilog, _MEMORY):
        shapes[path if name in shapes else name] = MemoryShape(
            width=int(match["high"]) + 1, depth=int(match["last"]) + 1, path=path)
    return shapes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CompiledDesign:
    """A design as a program, and what has to be known to run it."""

    #: The program. ``PROGRAM --uart CLOCKS_PER_BIT`` joins its UART to stdin and stdout.
    program: Path
    #: Name of the top module.
    top: str
    #: The memories that can be loaded and read back, by the names of :func:`memory_shapes`.
    shapes: Mapping[str, MemoryShape]


def compile_design(verilog: str, *, memories: Sequence[str] = (), shapes: Mapping[str, MemoryShape] | None = None,
                   cache: Path | None = None, trace: Trace | None = None, jobs: int | None = None,
                   report: Report | None = None) -> CompiledDesign:
    """Compile a design, or find that it was compiled before; arguments and errors are those of :class:`Verilated`.

    A design that Amaranth has not written comes with the ``shapes`` of its memories.
    """
    shapes = memory_shapes(verilog) if shapes is None else shapes
    for name in memories:
        if name not in shapes:
            raise ValueError(f"memory must be one of {', '.join(sorted(shapes)) or 'none'}, not {name!r}")
    chosen = {name: shapes[name] for name in memories}
    top = top_module(verilog)
    public = {_place(top, shape) for shape in chosen.values()}
    program = compiled(verilog, sorted(public), folder=cache, trace=trace, jobs=jobs, report=report)
    return CompiledDesign(program=program, top=top, shapes=chosen)


def _place(top: str, shape: MemoryShape) -> tuple[str, str]:
    """Module and variable of a memory."""
    module, _, variable = f"{top}.{shape.path}".rpartition(".")
    return module if shape.module is None else shape.module, variable


class Verilated:
    """A running simulation of one design, clock by clock exact, driven over its UART.

    The design starts with random register contents where the Verilog gives no initial value; memories keep the
    Verilog's initial contents until :meth:`load` or :meth:`fill` replaces them. Use it as a context manager.

    Parameters
    ----------
    design : :class:`str` or :class:`CompiledDesign`
        The design, as :func:`amaranth.back.verilog.convert` writes it, or what :func:`compile_design` has made of that.
        Its first module has ``clk``, ``rst``, ``rx``, ``tx``. The arguments of :func:`compile_design` are for Verilog.
    memories : sequence of :class:`str`
        The memories that can be loaded and read back, as :func:`memory_shapes` names them. Each costs some speed.
    divisor : :class:`float`
        Clocks per bit of the UART.
    cache : :class:`pathlib.Path`
        Where compiled programs are kept (default: ``sterna/verilated`` in the user's cache folder).
    seed : :class:`int`
        Seeds what the Verilog leaves undefined.
    trace : :class:`sim.verilator.Trace`, optional
        Compile with support for :meth:`trace` in this format, which makes the simulation slower.
    jobs : :class:`int`
        Compile with that many processes (default: one per core).
    report : callable
        Told of every step of the compilation, if there is one: its name, the parts done, and all parts.

    Raises
    ------
    :exc:`support.tools.ToolMissingError`
        If Verilator or the C++ compiler is not installed.
    :exc:`sim.verilator.SimulationError`
        If the design does not compile.
    :exc:`ValueError`
        If the design has no memory of a given name.
    """

    def __init__(
        self,
        design: str | CompiledDesign,
        *,
        memories: Sequence[str] = (),
        divisor: float = 4,
        cache: Path | None = None,
        seed: int = 1,
        trace: Trace | None = None,
        jobs: int | None = None,
        report: Report | None = None,
    ) -> None:
        if isinstance(design, str):
            design = compile_design(design, memories=memories, cache=cache, trace=trace, jobs=jobs, report=report)
        self.divisor = divisor
        self.shapes = dict(design.shapes)
        self._program = design.program
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [self._program, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._clocks = 0
        #: Characters on ``tx`` that had no stop bit or too short a start bit, so far.
        self.framing_errors = 0
        self._index: dict[str, int] = {}
        self._row_bytes: dict[str, int] = {}
        try:
            self._command(b"T" + struct.pack("<I", round(divisor * 65536)))
            for name, shape in self.shapes.items():
                self._index[name] = len(self._index)
                path = f"{design.top}.{shape.path}".encode()
                self._command(b"M" + struct.pack("<H", len(path)) + path)
                width, depth, self._row_bytes[name] = struct.unpack("<III", self._reply(12))
                if (width, depth) != (shape.width, shape.depth):
                    raise SimulationError(f"Verilator sees {name} as {depth} rows of {width} bits, not {shape}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation."""
        for file in (self._process.stdin, self._process.stdout):
            if file is not None:
                with contextlib.suppress(BrokenPipeError):
                    file.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    @property
    def clocks(self) -> int:
        """Clocks simulated so far, as of the last :meth:`run`."""
        return self._clocks

    @property
    def program(self) -> Path:
        """The compiled program. ``PROGRAM --uart CLOCKS_PER_BIT`` joins its UART to stdin and stdout."""
        return self._program

    def reset(self, clocks: int = 4) -> None:
        """Hold the design in reset for ``clocks`` clocks. Memories keep their contents."""
        self._command(b"R" + struct.pack("<I", clocks))

    def load(self, name: str, rows: Sequence[int] | np.ndarray, first: int = 0) -> None:
        """Write ``rows`` (unsigned integers) to a memory, beginning with row ``first``."""
        shape = self._shape(name, first, len(rows))
        size = self._row_bytes[name]
        if isinstance(rows, np.ndarray) and size <= 8:
            if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >> shape.width):
                raise ValueError(f"a row of {name} must fit in {shape.width} bits")
            data = rows.astype(f"<u{size}").tobytes()
        else:
            values = [int(row) for row in rows]
            if any(row < 0 or row >> shape.width for row in values):
                raise ValueError(f"a row of {name} must fit in {shape.width} bits")
            data = b"".join(row.to_bytes(size, "little") for row in values)
        self._command(b"L" + struct.pack("<HII", self._index[name], first, len(rows)) + data)

    def read(self, name: str, first: int = 0, count: int | None = None) -> list[int]:
        """Read ``count`` rows of a memory (default: to its end), beginning with row ``first``."""
        count = self.shapes[name].depth - first if count is None else count
        self._shape(name, first, count)
        size = self._row_bytes[name]
        self._command(b"D" + struct.pack("<HII", self._index[name], first, count))
        data = self._reply(size * count)
        return [int.from_bytes(data[at : at + size], "little") for at in range(0, size * count, size)]

    def fill(self, name: str, seed: int) -> None:
        """Fill a memory with random contents."""
        self._shape(name, 0, 0)
        self._command(b"F" + struct.pack("<HQ", self._index[name], seed % 2**64))

    def load_flash(self, address: int, contents: bytes) -> None:
        """Write to the flash beside the design, from ``address`` on; what is never written is erased."""
        self._command(b"B" + struct.pack("<II", address, len(contents)) + contents)

    def send(self, characters: bytes, *, divisor: float | None = None) -> None:
        """Append 8N1 characters to what ``rx`` will receive, at ``divisor`` clocks per bit (default: the design's)."""
        rate = round((divisor or self.divisor) * 65536)
        self._command(b"S" + struct.pack("<II", rate, len(characters)) + characters)

    def wave(self, segments: Iterable[tuple[int, int]]) -> None:
        """Append a waveform to what ``rx`` will receive: pairs of a level and a number of clocks."""
        flat = [number for segment in segments for number in segment]
        count = len(flat) // 2
        self._command(b"W" + struct.pack("<I" + "BI" * count, count, *flat))

    def run(self, *, characters: int = 2**32 - 1, limit: int = 1_000_000) -> bytes:
        """Run until everything was sent and ``characters`` came on ``tx``, or for ``limit`` clocks.

        Returns what came.
        """
        self._command(b"X" + struct.pack("<IQ", characters, limit))
        return self._received()

    def settle(self, idle: int, limit: int) -> tuple[bytes, tuple[int, ...]]:
        """Run until everything was sent and ``tx`` has been silent for ``idle`` clocks, or for ``limit`` clocks.

        Returns the characters that came, and of each the clock in which its start bit began.
        """
        self._command(b"Q" + struct.pack("<IQ", idle, limit))
        characters = self._received()
        count = len(characters)
        return characters, struct.unpack(f"<{count}Q", self._reply(8 * count))

    def _received(self) -> bytes:
        self._clocks, errors, count = struct.unpack("<QII", self._reply(16))
        self.framing_errors += errors
        return self._reply(count)

    def trace(self, path: Path, *, first: int = 0, count: int | None = None) -> None:
        """Write all signals to a file from here on; needs the argument ``trace`` when the design is compiled.

        The times in the file count from here, ten units to a clock, which rises at the fifth.

        Parameters
        ----------
        path : where the file is to be
        first : clocks from here to the first one that is written
        count : clocks that are written (default: all until :meth:`end_trace`)
        """
        name = str(path).encode()
        self._command(b"V" + struct.pack("<H", len(name)) + name +
                      struct.pack("<QQ", first, 2**63 if count is None else count))

    def end_trace(self) -> int:
        """Close the file of :meth:`trace`; returns the clocks that are in it."""
        self._command(b"E")
        return int(struct.unpack("<Q", self._reply(8))[0])

    def _shape(self, name: str, first: int, count: int) -> MemoryShape:
        if name not in self.shapes:
            raise ValueError(f"memory must be one of {', '.join(self.shapes) or 'none'}, not {name!r}")
        shape = self.shapes[name]
        if first < 0 or count < 0 or first + count > shape.depth:
            raise ValueError(f"rows of {name} must end by {shape.depth}, not {first + count}")
        return shape

    def _command(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._stopped() from error

    def _reply(self, size: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(size)
        if len(data) < size:
            raise self._stopped()
        return data

    def _stopped(self) -> SimulationError:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        # Verilator's library says why, and then that it aborts.
        reasons = [line for line in lines if line.startswith("%Error")] or lines[-1:] or ["no message"]
        return SimulationError(f"simulation stopped: {reasons[0]}")


class SimulationTransport:
    """Lets :class:`firmware.host.link.Link` talk to a :class:`Verilated` design as to a serial port.

    Parameters
    ----------
    simulation : :class:`Verilated`
        The design.
    clocks_per_second : :class:`int`
        Converts the link's timeouts to clocks. Simulated time passes only inside :meth:`read`.
    """

    def __init__(self, simulation: Verilated, *, clocks_per_second: int = 1_000_000) -> None:
        self.simulation = simulation
        self.clocks_per_second = clocks_per_second
        self._received = bytearray()

    def write(self, data: bytes) -> None:
        """Send bytes to the design."""
        self.simulation.send(data)

    def read(self, size: int, timeout: float) -> bytes:
        """Return up to ``size`` bytes; none when ``timeout`` seconds pass without one."""
        if not self._received:
            limit = max(1, int(timeout * self.clocks_per_second))
            self._received += self.simulation.run(characters=1, limit=limit)
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def close(self) -> None:
        """Leave the simulation as it is: its owner closes it."""
