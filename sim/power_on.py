"""A board before it is switched on: its compiled circuit, and what its memories and its flash hold."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence

from sim.verilated import CompiledDesign, Verilated

__all__ = ["PowerOn"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PowerOn:
    """All that a simulation starts from; equal ones behave alike to the last clock."""

    design: CompiledDesign
    #: Clocks per bit of the line.
    divisor: int
    #: Memories whose contents are random before anything is loaded, and the seed.
    random: tuple[str, ...]
    seed: int
    #: Rows that are loaded into memories, from row 0 on.
    memories: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    #: Contents of the flash, and the address of their first byte; None without a flash.
    flash: tuple[int, bytes] | None = None
    #: Clocks of the reset, and those after it until the board takes a frame.
    reset_clocks: int = 4
    boot_clocks: int

    def start(self) -> Verilated:
        """Return the simulation, out of reset."""
        simulation = Verilated(self.design, divisor=self.divisor)
        # What interrupts the loading must not leave it running.
        with contextlib.ExitStack() as loading:
            loading.callback(simulation.close)
            for name in self.random:
                simulation.fill(name, self.seed)
            for name, rows in self.memories.items():
                simulation.load(name, rows)
            if self.flash is not None:
                simulation.load_flash(*self.flash)
            simulation.reset(self.reset_clocks)
            simulation.run(limit=self.boot_clocks)
            loading.pop_all()
        return simulation
