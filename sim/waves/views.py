"""Saved views of a waveform: which signals a viewer shows, in which order and how."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

from sim.waves.signals import Format, Group, Signal

__all__ = ["GTKWAVE_MARK", "SURFER_MARK", "gtkwave_view", "is_as_written", "surfer_view"]

#: How the first lines begin, which say who wrote a view: a viewer that saves one writes another. The SHA-256 of the
#: lines below follows, by which a view is known that somebody has changed.
GTKWAVE_MARK = "[*] Sterna: view of a waveform (docs/waveforms.md)"
SURFER_MARK = "# Sterna: view of a waveform (docs/waveforms.md)"

#: Flags of a trace in GTKWave's save file (analyzer.h of its sources): hexadecimal 2, decimal 4, binary 8,
#: right-justified 20, blank 200, signed 400, begin and end of a group 800000 and 1000000.
_FORMATS = {Format.BINARY: 0x28, Format.HEXADECIMAL: 0x22, Format.UNSIGNED: 0x24, Format.SIGNED: 0x420}
_GROUP_BEGIN, _GROUP_END = 0x80_0200, 0x100_0200
#: Pixels of a window of usual size in which waves are drawn.
_WAVE_PIXELS = 1000
#: Times of the cursor and of the 26 markers, where there are none.
_NO_MARKERS = " ".join(["-1"] * 27)


def _written(mark: str, lines: Iterator[str]) -> str:
    """Return a view: its first line, and ``lines``."""
    below = "".join(f"{line}\n" for line in lines)
    return f"{mark}, sha256 {hashlib.sha256(below.encode()).hexdigest()}\n{below}"


def is_as_written(content: bytes, mark: str) -> bool:
    """Whether the content of a file is a view with the first line ``mark``, as this module has made it."""
    first, _, below = content.partition(b"\n")
    return first == f"{mark}, sha256 {hashlib.sha256(below).hexdigest()}".encode()


def _scoped(top: str, signal: Signal) -> str:
    """Name of a signal in a waveform that Verilator writes."""
    return f"TOP.{top}.{signal.path}"


def gtkwave_view(groups: Sequence[Group], signals: Mapping[str, Signal], *, top: str, waveform: str,
                 units: int) -> str:
    """Return GTKWave's save file.

    Parameters
    ----------
    groups : what is shown
    signals : signals of the design, in which every one that is shown must be
    top : name of the top module
    waveform : name of the file with the waveform, in the folder of the view
    units : time of the whole waveform, in its units
    """
    zoom = -math.log2(max(units, _WAVE_PIXELS) / _WAVE_PIXELS)

    def lines() -> Iterator[str]:
        yield f'[dumpfile] "{waveform}"'
        yield "[timestart] 0"
        yield f"*{zoom:.6f} {_NO_MARKERS}"
        yield "[size] 1600 1000"
        yield "[signals_width] 400"
        for group in groups:
            yield f"@{_GROUP_BEGIN:x}"
            yield f"-{group.title}"
            for shown in group.signals:
                signal = signals[shown.name]
                yield f"@{_FORMATS[shown.format]:x}"
                yield _scoped(top, signal) + (f"[{signal.width - 1}:0]" if signal.width > 1 else "")
            yield f"@{_GROUP_END:x}"
            yield f"-{group.title}"

    return _written(GTKWAVE_MARK, lines())


def surfer_view(groups: Sequence[Group], signals: Mapping[str, Signal], *, top: str) -> str:
    """Return a file of Surfer's commands; parameters as of :func:`gtkwave_view`.

    Surfer has no command that sets the format of a signal by its name, so it shows its own choice.
    """
    def lines() -> Iterator[str]:
        for group in groups:
            # The command takes one word.
            yield f"divider_add {group.title.replace(' ', '_')}"
            for shown in group.signals:
                yield f"variable_add {_scoped(top, signals[shown.name])}"
        yield "zoom_fit"

    return _written(SURFER_MARK, lines())
