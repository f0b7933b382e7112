"""Synthesis: the design becomes a netlist."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from boards.families.running import run_invocation
from gateware.build.request import Target
from gateware.build.steps.step import Step, digests
from support.progress import Progress
from support.provenance import tool_versions

__all__ = ["Netlist", "Synthesise"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Netlist:
    """What synthesis leaves in its folder."""

    #: SHA-256 of the files that place and route reads, by name.
    files: dict[str, str]


class Synthesise(Step[Netlist]):
    """Make the netlist of a design.

    Parameters
    ----------
    target : :class:`Target`
    design : mapping
        Files of the design, as the family has elaborated it, by name.
    """

    kind = name = "synthesise"

    def __init__(self, target: Target, design: Mapping[str, bytes]):
        self._fpga = target.board.fpga
        self._design = design
        self._invocation = self._fpga.synthesise()
        # The inputs of place and route are the same files with every seed.
        self._needed = self._fpga.place(seed=target.seeds_to_try[0], clock_hz=target.clock_hz).inputs

    @property
    def design_digests(self) -> dict[str, str]:
        """SHA-256 of the files of the design, by name."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self._design.items()}

    def key(self) -> Mapping[str, Any]:
        return {"files": self.design_digests, "tool": self._invocation.tool.name,
                "arguments": self._invocation.arguments, "versions": tool_versions(*self._fpga.packages)}

    def run(self, folder: pathlib.Path) -> Netlist:
        for name, content in self._design.items():
            (folder / name).write_bytes(content)
        with Progress("synthesise") as progress:
            run_invocation(self._invocation, folder,
                           on_line=lambda line: progress.update(text) if (
                               text := self._fpga.progress(line)) else None)
        return Netlist(files=digests(folder, self._needed))

    def outputs(self, result: Netlist) -> Collection[str]:
        return result.files

    def load(self, content: dict[str, Any]) -> Netlist:
        return Netlist(**content)
