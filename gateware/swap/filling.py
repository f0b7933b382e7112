"""From a placed design with marks in its memories to the bitstream of a network."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping

from arch.link import Info
from boards.families.family import Family, MemoryWords, Pins, SimulatedNetlist
from boards.families.running import run_invocation
from gateware.engine.configuration import EngineConfig
from gateware.mapper.info import info_of
from gateware.mapper.plan import Plan
from gateware.swap.marks import marks_of, words_of

__all__ = ["Filling", "pack_files"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Filling:
    """A network that is to be put into a placed design."""

    #: The network, laid out for the circuit of the design.
    plan: Plan
    #: Clock of the circuit, which the host is told, in Hz.
    clock_hz: float

    @property
    def config(self) -> EngineConfig:
        """The circuit."""
        return self.plan.config

    @property
    def info(self) -> Info:
        """The network on the circuit, as the host is told."""
        return info_of(self.plan, clock_hz=self.clock_hz)

    @property
    def _words(self) -> list[MemoryWords]:
        return words_of(self.config, self.plan.contents, self.info.to_bytes())

    def apply(self, fpga: Family, routed: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Return the routed design with the network in its memories; raises :exc:`boards.BoardError`."""
        return fpga.fill(routed, marks_of(self.config), self._words)

    def simulated_netlist(self, fpga: Family, netlist: Mapping[str, bytes], pins: Pins) -> SimulatedNetlist:
        """Return the netlist of the design for a simulator, with the network in its memories.

        Raises :exc:`boards.BoardError` as :meth:`boards.families.family.Family.simulated_netlist` does.
        """
        return fpga.simulated_netlist(netlist, pins, marks=marks_of(self.config), contents=self._words)

    def digest(self) -> str:
        """SHA-256 of marks and contents: what the filled design depends on beside the routed one."""
        memories = (*marks_of(self.config), *self._words)
        text = repr([(memory.name, memory.width, list(memory.words)) for memory in memories])
        return hashlib.sha256(text.encode()).hexdigest()


def pack_files(fpga: Family, files: Mapping[str, bytes], folder: pathlib.Path) -> str:
    """Make the bitstream of a routed design in a folder; returns its name there.

    Raises
    ------
    :exc:`support.tools.ToolError`
        If the tool fails.
    """
    invocation = fpga.pack()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    run_invocation(invocation, folder)
    (name,) = invocation.outputs
    return name
