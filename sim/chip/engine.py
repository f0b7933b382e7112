"""What the tools have made of a circuit as an engine: the netlist after synthesis, or the bitstream turned back.

The whole top level is simulated: pads, PLL, reset, and the memories as they are after configuration. What such a
simulation leaves out is time: every cell answers within the clock.
"""

import contextlib
import enum
from pathlib import Path
from typing import Any

import numpy.typing as npt

from arch.link import Result
from arch.network import Network
from boards import Board
from boards.families.family import Pins, SimulatedNetlist
from sim.power_on import PowerOn
from sim.session import LayerMaps, SimulatedEngine
from sim.verilated import MemoryShape, compile_design
from sim.verilator import Report, check_simulator, shown_by
from support.progress import Progress

__all__ = ["ChipEngine", "Rung", "pins_of"]

#: Clocks that the chip is held before its PLL locks.
_UNLOCKED_CLOCKS = 100


class Rung(enum.StrEnum):
    """Where on the way from the RTL to the board a chip is looked at."""

    #: After synthesis.
    NETLIST = "netlist"
    #: After place and route: the bits that are written to the board.
    BITSTREAM = "bitstream"


def pins_of(board: Board, *, flash: bool) -> Pins:
    """Return the pins of a top level (:mod:`gateware.top`) by the names that the simulation has for them."""
    both, outputs = {}, {"tx": "uart_0__tx__io"}
    if flash:
        wiring = board.overlay_wiring()
        outputs |= {f"flash_{name}": f"{wiring.resource}_0__{name}__io" for name in ("cs", "clk")}
        both = {f"flash_io{line}": f"{wiring.resource}_0__dq__io_{line}" for line in range(wiring.lines)}
    return Pins(inputs={"clk": f"{board.oscillator}_0__io", "rx": "uart_0__rx__io"}, outputs=outputs, both=both)


class ChipEngine(SimulatedEngine):
    """Runs images on a simulated chip.

    Parameters
    ----------
    network : :class:`arch.network.Network`
        What it computes.
    chip : :class:`boards.families.family.SimulatedNetlist`
        Its cells, with the pins of :func:`pins_of`.
    rung : :class:`Rung`
        What the cells are of.
    divisor : :class:`int`
        Clocks per bit of its host link.
    predicted_cycles : :class:`int`
        Clocks of an inference by the cycle model.
    boot_clocks : :class:`int`
        Clocks after the start until it takes a frame.
    flash : tuple of :class:`int` and :class:`bytes`, optional
        Contents of the flash beside it, and the address of their first byte.
    model : :class:`int`
        Number of the network's model in the flash.
    fill_clocks : :class:`int`
        Clocks that pass before each image, in which weights are read ahead.
    seed : :class:`int`
        Of what is undefined after configuration.
    cache, report
        As of :class:`sim.rtl.RtlEngine`.

    Raises
    ------
    :exc:`support.tools.ToolMissingError`
        If the simulator or the C++ compiler is missing.
    :exc:`sim.session.RtlError`
        If the model cannot be selected.
    """

    def __init__(self, network: Network, chip: SimulatedNetlist, *, rung: Rung, divisor: int, predicted_cycles: int,
                 boot_clocks: int, flash: tuple[int, bytes] | None = None, model: int = 0, fill_clocks: int = 0,
                 seed: int = 1, cache: Path | None = None, report: Report | None = None):
        check_simulator()
        self.name = rung.value
        self.predicted_cycles = predicted_cycles
        self._fill_clocks = fill_clocks
        shapes = {memory.path: MemoryShape(width=memory.width, depth=memory.rows, path=memory.path,
                                           module=memory.module) for memory in chip.memories}
        with contextlib.ExitStack() as stack:
            if report is None:
                report = shown_by(stack.enter_context(Progress(f"simulation of the {rung}", first_seconds=2)))
            design = compile_design(chip.verilog, memories=[*shapes], shapes=shapes, cache=cache, report=report)
        before = PowerOn(
            design=design, divisor=divisor, seed=seed, flash=flash, reset_clocks=_UNLOCKED_CLOCKS,
            boot_clocks=boot_clocks,
            random=tuple(memory.path for memory in chip.memories if memory.contents is None),
            memories={memory.path: memory.contents for memory in chip.memories if memory.contents is not None})
        super().__init__(network, before.start())
        self._select_first(model)

    def result_of(self, image: npt.NDArray[Any]) -> Result:
        """Send one image and wait for its result; see :meth:`sim.session.SimulatedEngine.result_of`."""
        if self._fill_clocks:
            # The answer tells that the model is selected, from which on weights are read.
            self.info()
            self.simulation.run(limit=self._fill_clocks)
        return super().result_of(image)

    def _observe(self, image: npt.NDArray[Any]) -> tuple[Result, LayerMaps, str | None]:
        return self.result_of(image), {}, f"a {self.name} has cells with bits of maps, and no names for them"
