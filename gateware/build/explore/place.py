"""Builds a configuration: place and route by ``python -m gateware.build``, whose folder keeps every step."""

import dataclasses
import pathlib

from arch import network_file
from gateware.build.child import error_of, run_module
from gateware.build.explore.configuration import Configuration
from gateware.build.explore.measure import changed_network
from gateware.build.explore.result import Result
from gateware.reports.build import ReportError
from gateware.reports.folder import REPORT
from gateware.reports.reader import load_report
from sim.report import Weights
from support.command_line import EXIT_INPUT, EXIT_OK
from support.errors import ToolchainError
from support.files import write_atomically

__all__ = ["Placing"]

#: How the error of a build begins that says something of the design (:mod:`gateware.build.steps.place`). With any
#: other, as of a full disk, the same build may end well another time.
_FINDINGS = ("no seed closes ", "the design does not fit ")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Placing:
    """The work of place and route, minutes for each seed; a process of its own may do it."""

    configuration: Configuration
    #: The network's file, and the result of its dry run.
    content: bytes
    planned: Result
    #: Seeds that are placed and routed.
    seeds: int
    #: Folder of the builds, and the folder of this one in it.
    work: str
    name: str

    def __call__(self) -> Result:
        """Build; a design that does not fit, or closes its clock with no seed, is a result, too.

        Raises
        ------
        :exc:`ToolchainError`
            If the build ends in another way: a tool is missing or fails, the disk is full, the folder is in use.
        """
        work = pathlib.Path(self.work)
        work.mkdir(parents=True, exist_ok=True)
        output = work / self.name
        done = run_module("gateware.build", self._arguments(work, output))
        if done.returncode == EXIT_OK:
            return self._routed(output)
        error = error_of(done)
        if done.returncode == EXIT_INPUT and error.startswith(_FINDINGS):
            return dataclasses.replace(self.planned, closes=False, reason=error)
        raise ToolchainError(f"build in {output}: {error}")

    def _arguments(self, work: pathlib.Path, output: pathlib.Path) -> list[str]:
        wanted = self.configuration
        options = ["--board", wanted.board, "--weights", wanted.weights,
                   "--clock", f"{wanted.clock_mhz:g}", "--seeds", str(self.seeds), "--no-simulation", "-o", str(output)]
        if wanted.weights == Weights.FLASH:
            return [*options, "--flash-rate", str(wanted.flash_rate)]
        network = work / f"{self.name}.safetensors"
        write_atomically(network, network_file.dumps(changed_network(self.content, wanted.timesteps)))
        return [*options, "--network", str(network), "--lanes", str(wanted.lanes), "--width", str(wanted.width)]

    def _routed(self, output: pathlib.Path) -> Result:
        """Read the report of the build, which has ended well: a seed closes the clock."""
        try:
            report = load_report(output / REPORT)
        except ReportError as error:
            raise ToolchainError(str(error)) from None
        return dataclasses.replace(self.planned, logic_cells=report.lc, block_rams=report.ebr, cells_evidence="routed",
                                   fmax_mhz=report.fmax_mhz, closes=True)
