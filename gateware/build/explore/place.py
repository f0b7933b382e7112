"""Builds a configuration: place and route by ``python -m gateware.build``, whose folder keeps every step."""

import dataclasses
import pathlib
import subprocess
import sys

from arch import json_object, network_file, strict_json
from gateware.build.explore.configuration import Configuration
from gateware.build.explore.measure import changed_network
from gateware.build.explore.result import Result
from gateware.reports.folder import REPORT
from sim.report import Weights
from support import parent_death
from support.command_line import EXIT_INPUT, EXIT_OK
from support.errors import ToolchainError, first_line
from support.files import read_file, write_atomically

__all__ = ["Placing"]

#: Largest report that is read.
_REPORT_BYTES = 1 << 24


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Report:
    """What is read of the ``report.json`` of a build."""

    lc: int
    ebr: int
    fmax_mhz: list[float]


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
            If a tool is missing or fails.
        """
        work = pathlib.Path(self.work)
        work.mkdir(parents=True, exist_ok=True)
        output = work / self.name
        done = subprocess.run(parent_death.command(sys.executable, self._arguments(work, output)), capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode == EXIT_INPUT:
            error = next(line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR: "))
            return dataclasses.replace(self.planned, closes=False, reason=error.removeprefix("ERROR: "))
        if done.returncode != EXIT_OK:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise ToolchainError(f"build in {output}: {said[-1].removeprefix('ERROR: ')}")
        return self._routed(output)

    def _arguments(self, work: pathlib.Path, output: pathlib.Path) -> list[str]:
        wanted = self.configuration
        options = ["-m", "gateware.build", "--board", wanted.board, "--weights", wanted.weights,
                   "--clock", f"{wanted.clock_mhz:g}", "--seeds", str(self.seeds), "--no-simulation", "-o", str(output)]
        if wanted.weights == Weights.FLASH:
            return [*options, "--flash-rate", str(wanted.flash_rate)]
        network = work / f"{self.name}.safetensors"
        write_atomically(network, network_file.dumps(changed_network(self.content, wanted.timesteps)))
        return [*options, "--network", str(network), "--lanes", str(wanted.lanes), "--width", str(wanted.width)]

    def _routed(self, output: pathlib.Path) -> Result:
        """Read the report of the build."""
        try:
            values = strict_json.parse(read_file(output / REPORT, limit=_REPORT_BYTES))
            report = json_object.make(_Report, values)
        except ValueError as error:
            raise ToolchainError(f"{output / REPORT}: must be the report of the build: {first_line(error)}") from None
        closes = max(report.fmax_mhz) >= self.configuration.clock_mhz
        return dataclasses.replace(self.planned, logic_cells=report.lc, block_rams=report.ebr, cells_evidence="routed",
                                   fmax_mhz=report.fmax_mhz, closes=closes)
