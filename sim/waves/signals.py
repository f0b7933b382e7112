"""The signals of a circuit, and those that a reader of a waveform wants to see, in groups."""

import dataclasses
import enum
import re
from collections.abc import Mapping, Sequence

from gateware.engine.configuration import EngineConfig
from sim.declarations import declarations

__all__ = ["Format", "Group", "Shown", "Signal", "groups_of", "signals_of"]

#: Declaration of a signal in the Verilog that Yosys writes.
_DECLARATION = re.compile(r"\s*(?:input|output|wire|reg) (?:signed )?(?:\[(?P<high>\d+):0\] )?"
                          r"\\?(?P<name>\S+?) ?(?:=.*)?;$")


class Format(enum.Enum):
    """How the value of a signal is written."""

    BINARY = enum.auto()
    HEXADECIMAL = enum.auto()
    UNSIGNED = enum.auto()
    SIGNED = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Signal:
    """A signal of a circuit in Verilog."""

    #: Path below the top module in the Verilog, where names may carry a number that Amaranth made them unique with.
    path: str
    #: Bits.
    width: int


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """A signal of a view."""

    #: Path of instances below the top module and the name of the signal, joined by dots, as the sources have them.
    name: str
    format: Format = Format.BINARY


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Signals that belong together."""

    title: str
    signals: Sequence[Shown]


def signals_of(verilog: str) -> dict[str, Signal]:
    """Find the signals of a design that ``amaranth.back.verilog`` wrote, by the names of :class:`Shown`.

    Of several with one name, the one whose name Amaranth has left as it was.
    """
    found: dict[str, Signal] = {}
    for match, path, name in declarations(verilog, _DECLARATION):
        if name not in found or name == path:
            found[name] = Signal(path, int(match["high"] or 0) + 1)
    return found


def _all(block: str, names: Mapping[str, Format] | Sequence[str]) -> list[Shown]:
    """Signals of one block."""
    formats = names if isinstance(names, Mapping) else dict.fromkeys(names, Format.BINARY)
    return [Shown(f"{block}.{name}" if block else name, format) for name, format in formats.items()]


def groups_of(config: EngineConfig) -> list[Group]:
    """Return the signals that matter, in the order in which an image goes through them."""
    streamed = config.streamed
    bits, hexadecimal, unsigned, signed = Format.BINARY, Format.HEXADECIMAL, Format.UNSIGNED, Format.SIGNED
    engine = "accelerator"
    writer = f"{engine}.image" if streamed else f"{engine}.windows"
    membranes = {f"membrane{step}": signed for step in range(config.timesteps)}
    groups = [
        Group("Host link", [
            *_all("", ["clk", "rx", "tx", "busy"]),
            *_all("link.receiver", {"byte_stb": bits, "byte": hexadecimal}),
            *_all(engine, ["begin", "commit"]),
        ]),
        Group("Image buffer", [
            *_all(engine, {"accept": bits, "i_pixels__valid": bits, "i_pixels__ready": bits,
                           "i_pixels__payload": unsigned}),
            *([] if streamed else _all(f"{engine}.fifo", {"waiting": unsigned})),
            *_all(writer, {"write": bits, "grant": bits, "address": unsigned, "mask": bits}),
            *_all(engine, ["loading", "computing"]),
        ]),
        Group("Sequencer", [
            *_all(f"{engine}.sequencer", {
                "start": bits, "busy": bits, "layer": unsigned, "layer_start": bits, "request": bits, "grant": bits,
                "address": unsigned, "zero": bits, "beat": bits, "done": bits}),
            # The sequencer has a register of the same name, which counts the rows of a map.
            *_all(f"{engine}.weights", {"row": unsigned}),
        ]),
        Group("Array", [
            *_all(f"{engine}.array", {"beat": bits, "word": hexadecimal, "load": bits, "sums": hexadecimal}),
            *(_all(f"{engine}.partial", {"o_load": bits, "sums": hexadecimal}) if streamed else []),
        ]),
        Group("Neurons", [
            *_all(f"{engine}.collector", {"neuron": bits, "lane": unsigned, "group": unsigned}),
            *_all(f"{engine}.pif", {"constants": hexadecimal, **membranes, "spikes": bits}),
        ]),
        Group("Spikes", [
            *_all(f"{engine}.collector", {"window": hexadecimal, "write": bits, "address": unsigned, "mask": bits,
                                          "write_data": hexadecimal}),
            *_all(f"{engine}.spikes", {"enable": bits, "write": bits, "address": unsigned, "read_data": hexadecimal}),
        ]),
        Group("Readout", _all(f"{engine}.readout", {
            "used": bits, "score": signed, "best": signed, "winner": unsigned, "cycles": unsigned,
            "stalls": unsigned, "send": bits, "o_words__valid": bits, "o_words__ready": bits,
            "o_words__payload": hexadecimal})),
    ]
    if streamed:
        groups.insert(2, Group("Weights from flash", [
            *_all("", ["flash__select", "flash__sck"]),
            *_all("reader", {"run": bits, "valid": bits, "byte": hexadecimal}),
            *_all(f"{engine}.sequencer", ["layer_written", "row_written", "release_row", "waiting"]),
            *_all(f"{engine}.readout", {"flash_stalls": unsigned}),
        ]))
    return groups
