"""Synthesis: the design becomes a netlist."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from boards import Board
from gateware.build.steps.step import Step, digests, run_invocation
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
    board : :class:`boards.Board`
    design : mapping
        Files of the design, as the family has elaborated it, by name.
    """

    kind = name = "synthesise"

    def __init__(self, board: Board, design: Mapping[str, bytes]):
        self._board = board
        self._design = design
        self._invocation = board.fpga.synthesise()

    @property
    def design_digests(self) -> dict[str, str]:
        """SHA-256 of the files of the design, by name."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self._design.items()}

    def key(self) -> Mapping[str, Any]:
        return {"files": self.design_digests, "tool": self._invocation.tool.name,
                "arguments": self._invocation.arguments, "versions": tool_versions(*self._board.fpga.packages)}

    def run(self, folder: pathlib.Path) -> Netlist:
        for name, content in self._design.items():
            (folder / name).write_bytes(content)
        with Progress("synthesise") as progress:
            run_invocation(self._invocation, folder,
                           on_line=lambda line: progress.update(text) if (
                               text := self._board.fpga.progress(line)) else None)
        return Netlist(files=digests(folder, self._board.fpga.place(seed=1, clock_hz=0).inputs))

    def outputs(self, result: Netlist) -> Collection[str]:
        return result.files

    def load(self, content: dict[str, Any]) -> Netlist:
        return Netlist(**content)
