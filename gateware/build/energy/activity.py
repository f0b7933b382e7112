"""Activity: how many bits of which blocks toggle while an image is computed, counted in a waveform.

The waveform is a VCD of ``python -m sim --vcd``. A net has a name in each module that it goes through, and one code for
all of them; it is counted once, for the module that declares it deepest.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from support.errors import InputError, printable
from support.files import check_regular

__all__ = ["Activity", "read_activity"]

#: Scopes above the blocks: Verilator's own, and the top module of the RTL.
_TOP = ("TOP", "sterna")
#: The module whose blocks are told apart.
_ENGINE = "accelerator"
#: The module that only circuits with weights from a flash have.
_READER = ".".join((*_TOP, "reader", ""))
_CLOCK, _BUSY = ".".join((*_TOP, "clk")), ".".join((*_TOP, "busy"))
#: What counts results: it changes as the last byte of one leaves.
_RESULTS = ".".join((*_TOP, "link", "transmitter", "result_slot"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """What toggles in one image, from the first bit on the line to the last bit of the result."""

    #: Clocks of the inference, and all others.
    inference_clocks: int
    other_clocks: int
    #: Bits that toggle in the inference, and in all other clocks, by the name of the block.
    inference_toggles: Mapping[str, int]
    other_toggles: Mapping[str, int]
    #: Whether the circuit reads its weights from a flash, as the overlay does.
    streamed: bool = False


@dataclasses.dataclass(slots=True)
class _Net:
    block: str
    depth: int
    value: int | None = None


def _block(scopes: Sequence[str]) -> str:
    """Block of a module: of the engine its parts, of the rest what is directly below the top."""
    parts = [re.sub(r"\$\d+$", "", scope) for scope in scopes[len(_TOP):]]
    if not parts:
        return "top"
    return ".".join(parts[:2]) if parts[0] == _ENGINE else parts[0]


def _read_header(lines: Iterator[str]) -> tuple[dict[str, _Net], dict[str, str]]:
    """Read the declarations: nets by their codes, and the codes of signals by their full names."""
    scopes: list[str] = []
    nets: dict[str, _Net] = {}
    codes: dict[str, str] = {}
    for line in lines:
        match line.split():
            case ["$scope", _, name, "$end"]:
                scopes.append(name)
            case ["$upscope", "$end"]:
                scopes.pop()
            case ["$var", _, _, code, name, *_]:
                codes[".".join((*scopes, name))] = code
                known = nets.get(code)
                if known is None or len(scopes) > known.depth:
                    nets[code] = _Net(_block(scopes), len(scopes))
            case ["$enddefinitions", *_]:
                return nets, codes
    raise ValueError("it ends early, before the end of its definitions: record it again" if codes else
                     "it has no definitions of signals")


def _count(lines: Iterator[str]) -> Activity:
    nets, codes = _read_header(lines)
    for name in (_CLOCK, _BUSY, _RESULTS):
        if name not in codes:
            raise ValueError(f"it has no signal {name}")
    clock, busy, results = codes[_CLOCK], codes[_BUSY], codes[_RESULTS]
    toggles = collections.Counter[str](), collections.Counter[str]()
    clocks, computing, began, answered = [0, 0], 0, False, False
    first: int | None = None
    for line in lines:
        if line[0] == "#":
            first = int(line[1:]) if first is None else first
            continue
        digits, code = line[1:].split() if line[0] == "b" else (line[0], line[1:].rstrip("\n"))
        # The clock is no net that toggles: the model has its network apart.
        if code == clock:
            clocks[computing] += digits == "1"
            continue
        net = nets.get(code)
        if net is None or not digits or digits.strip("01"):
            continue
        value = int(digits, 2)
        if code == busy:
            computing, began = value, began or bool(value)
        if code == results:
            answered = began and net.value not in (None, value)
        if net.value is not None:
            toggles[computing][net.block] += (net.value ^ value).bit_count()
        net.value = value
    if first != 0 or computing or not answered:
        raise ValueError("it has not all of an image and its result: record it again, without --from and --to")
    return Activity(inference_clocks=clocks[1], other_clocks=clocks[0], inference_toggles=dict(toggles[1]),
                    other_toggles=dict(toggles[0]), streamed=any(name.startswith(_READER) for name in codes))


def _lines(file: IO[str]) -> Iterator[str]:
    """Yield the lines that are not empty; raises :exc:`ValueError` at one that the file breaks off in."""
    for line in file:
        if not line.endswith("\n"):
            raise ValueError("it ends early, in the middle of a line: record it again")
        if line.strip():
            yield line


def read_activity(path: pathlib.Path) -> Activity:
    """Count the toggles of a waveform.

    Raises
    ------
    :exc:`InputError`
        If the file is no VCD of ``python -m sim --vcd``, or has not all of an image.
    :exc:`OSError`
        If it cannot be read.
    """
    name = printable(str(path))
    check_regular(name, path.stat())
    try:
        with path.open(encoding="ascii") as file:
            return _count(_lines(file))
    except (ValueError, IndexError) as error:
        reason = error if str(error).startswith(("it has ", "it ends ")) else "it is no VCD"
        raise InputError(f"{name}: activity must be a waveform of python -m sim --vcd, but {reason}") from None
