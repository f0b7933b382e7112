"""Records what a simulated circuit does while it computes one image, with views of it."""

import dataclasses
import errno
import os
import pathlib
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from reference.engines import Engine
from sim.report import Waveform
from sim.rtl import RtlEngine
from sim.streamed_rtl import StreamedRtlEngine
from sim.verilator import Trace, top_module
from sim.waves.signals import groups_of, signals_of
from sim.waves.views import GTKWAVE_MARK, SURFER_MARK, gtkwave_view, is_as_written, surfer_view
from support.errors import InputError, printable
from support.files import check_output, read_file, write_all, write_with

__all__ = ["CLOCK_UNITS", "Recording", "check_fst"]

_T = TypeVar("_T")

#: Units of a waveform's time that a clock takes.
CLOCK_UNITS = 10
#: Bytes of a length in an FST file.
_LENGTH_BYTES = 8
#: Clocks are below this: beyond, the harness cannot add them.
_MAX_CLOCKS = 2**62
#: Largest view that is read.
_VIEW_BYTES = 1 << 24


def check_fst(path: pathlib.Path) -> None:
    """Check that the file of a waveform is whole.

    Verilator's writer stops if a disk is full, but looks for the last time before it closes the file. An FST file is a
    sequence of blocks: a byte, and the length of what follows it, 8 bytes, the highest first.

    Raises
    ------
    :exc:`OSError`
        If it is not.
    """
    size, end = path.stat().st_size, 0
    with path.open("rb") as file:
        while end < size:
            file.seek(end + 1)
            length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
            if length < _LENGTH_BYTES:
                break
            end += 1 + length
    if end != size or not size:
        raise OSError(errno.ENOSPC, "the waveform could not be written whole, maybe because the disk is full")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A waveform that is to be written: where, how and of which clocks.

    Clocks are counted from the first bit of the frame that carries the image. The waveform ends with the last bit of
    the result.

    Raises
    ------
    :exc:`InputError`
        If nothing can be written, or no clock would be.
    """

    #: File of the waveform, with the suffix of the format, by which viewers tell it; its views are beside it.
    path: pathlib.Path
    trace: Trace
    #: The first clock that is written, from 0, and the first one that is not, if any.
    first: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        if self.path.suffix != f".{self.trace}":
            raise InputError(f"--{self.trace} must name a file that ends in .{self.trace}, not "
                             f"{printable(str(self.path))!r}")
        if self.first < 0:
            raise InputError(f"--from must be 0 or more, not {self.first}")
        if self.end is not None and self.end <= self.first:
            raise InputError(f"--to must be more than --from, which is {self.first}, not {self.end}")
        for option, clock in (("--from", self.first), ("--to", self.end)):
            if clock is not None and clock >= _MAX_CLOCKS:
                raise InputError(f"{option} must be below 2^62, not {clock}")

    @property
    def views(self) -> dict[str, pathlib.Path]:
        """Files of the views, by the mark that their first line has if this module has written them."""
        return {GTKWAVE_MARK: self.path.with_suffix(".gtkw"), SURFER_MARK: self.path.with_suffix(".sucl")}

    def check(self, inputs: Iterable[str | os.PathLike[str]]) -> None:
        """Check, before the work begins, that everything can be written and no one's file is lost.

        Parameters
        ----------
        inputs : files that the command reads

        Raises
        ------
        :exc:`InputError`
            If the waveform cannot be written, or a view that somebody has changed or saved is in the place of one.
        """
        inputs = list(inputs)
        check_output(self.path, inputs=inputs)
        for mark, view in self.views.items():
            check_output(view, inputs=inputs)
            if view.exists() and not is_as_written(read_file(view, limit=_VIEW_BYTES), mark):
                raise InputError(f"{printable(str(view))}: view beside the waveform must be as this command has "
                                 f"written it, and this one was changed or comes from another program: rename it, or "
                                 f"give --{self.trace} another name")

    def write(self, engine: Engine, compute: Callable[[], _T]) -> tuple[Waveform, _T]:
        """Write the waveform of one image, then its views.

        Returns what was written, and what ``compute`` has returned.

        Parameters
        ----------
        engine : the engine, whose design was compiled with :attr:`trace`
        compute : lets the engine compute the image

        Raises
        ------
        :exc:`InputError`
            If the image took fewer clocks than come before the first one that was asked for; nothing is written then.
        :exc:`OSError`, :exc:`sim.verilator.SimulationError`
            If the files cannot be written.
        """
        assert isinstance(engine, RtlEngine | StreamedRtlEngine)
        count = None if self.end is None else self.end - self.first
        computed: list[_T] = []

        def simulate(temporary: pathlib.Path) -> None:
            with engine.tracing(temporary, first=self.first, count=count):
                computed.append(compute())
            # Without a clock, Verilator's writer of FST leaves a file that is not whole.
            if not engine.traced_clocks:
                raise InputError(f"--from must be a clock of the image, of which there are "
                                 f"{engine.image_clocks}, not {self.first}")
            if self.trace is Trace.FST:
                check_fst(temporary)

        write_with(self.path, simulate)
        written = engine.traced_clocks
        self._write_views(engine, self.first + written)
        waveform = Waveform(files=[str(path) for path in (self.path, *self.views.values())], clocks=written,
                            first_clock=self.first, openers=self._openers())
        return waveform, computed[0]

    def _write_views(self, engine: RtlEngine | StreamedRtlEngine, clocks: int) -> None:
        verilog = engine.verilog
        groups, signals, top = groups_of(engine.plan.config), signals_of(verilog), top_module(verilog)
        gtkwave = gtkwave_view(groups, signals, top=top, waveform=self.path.name, units=CLOCK_UNITS * clocks)
        texts = {GTKWAVE_MARK: gtkwave, SURFER_MARK: surfer_view(groups, signals, top=top)}
        write_all({view: texts[mark].encode() for mark, view in self.views.items()})

    def _openers(self) -> Sequence[str]:
        """Return the commands that open the waveform with its view, as a shell takes them."""
        gtkwave, surfer = (view.name for view in self.views.values())
        return (shlex.join(["gtkwave", self.path.name, gtkwave]), shlex.join(["surfer", "-c", surfer, self.path.name]))
