"""Packing: the routed design becomes a bitstream."""

import dataclasses
import pathlib
import shutil
from collections.abc import Collection, Mapping
from typing import Any

from boards import Board
from gateware.build.steps.step import Step, digests, run_invocation
from support.provenance import tool_versions

__all__ = ["Bitstream", "Pack"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Bitstream:
    """What packing leaves in its folder."""

    #: Name of the file.
    file: str


class Pack(Step[Bitstream]):
    """Make the bitstream of a routed design, which is in the folder ``routed``."""

    kind = name = "pack"

    def __init__(self, board: Board, routed: pathlib.Path):
        self._board = board
        self._routed = routed
        self._invocation = board.fpga.pack()

    def key(self) -> Mapping[str, Any]:
        return {"files": digests(self._routed, self._invocation.inputs), "tool": self._invocation.tool.name,
                "arguments": self._invocation.arguments, "versions": tool_versions(*self._board.fpga.packages)}

    def run(self, folder: pathlib.Path) -> Bitstream:
        for name in self._invocation.inputs:
            shutil.copyfile(self._routed / name, folder / name)
        run_invocation(self._invocation, folder)
        (name,) = self._invocation.outputs
        return Bitstream(file=name)

    def outputs(self, result: Bitstream) -> Collection[str]:
        return (result.file,)

    def load(self, content: dict[str, Any]) -> Bitstream:
        return Bitstream(**content)
